"""One day in the life of customers: what a message does to opening, blocking, buying, goodwill and leaving.

Pure functions over arrays of any library that speaks the Python array API: no array is created, no random number
drawn, nothing written in place, no name of a channel or segment known. The simulator, the planner and the
calibration all call these same functions.

Shapes: N customers, C channels, H slots, Y styles, P products, A actions. Tables of a customer keep the customers
last, (C, N), so that every operation runs along the customers in memory. The probability functions are elementwise
and broadcast: a simulator passes (N,), a planner (N, 1, A) against (1, S, 1).
"""

from typing import Any, NamedTuple

import array_api_compat

Array = Any  # an array of NumPy, PyTorch, JAX or any other library of the Python array API

_NAMESPACES: dict[type, Any] = {}


def array_namespace(array: Array) -> Any:
    """The array API of an array's library; remembered by type, as it is asked some twenty times a day."""
    kind = type(array)
    if kind not in _NAMESPACES:
        _NAMESPACES[kind] = array_api_compat.array_namespace(array)
    return _NAMESPACES[kind]


class Traits(NamedTuple):
    """What a customer is, fixed for life."""

    segment: Array  # (N,) int
    joined: Array  # (N,) int, day of the calendar on which the customer's day 0 falls, 0..363
    hints: Array  # (N, S) covariates that hint at the segment, standardised; laid out as they are observed
    opted_in: Array  # (C, N) bool, reachable on the first day
    open_logit: Array  # (C, N)
    buy_logit: Array  # (C, N)
    block_log_rate: Array  # (C, N) frailty included
    background_block: Array  # (C, N) probability a day of blocking without a message
    slot_block: Array  # (H, N)
    style_block: Array  # (Y, N)
    style_buy: Array  # (Y, N)
    relevance: Array  # (P, N) in [0, 1]
    weekend_block: Array  # (N,)
    ideal_load: Array  # (N,) fatigue units
    reactance: Array  # (N,) log-hazard a unit above the ideal
    reciprocity: Array  # (N,) log-hazard a unit below the ideal
    churn_contact: Array  # (N,) log-hazard of churn on a day with contact
    resting_bond: Array  # (N,) in [0, 1]
    organic_rate: Array  # (N,) orders a day at bond 1/2
    order_log_value: Array  # (N,) log of the median order, money


class State(NamedTuple):
    """How a customer is today."""

    fatigue: Array  # (N,) int level of the fatigue ladder
    bond: Array  # (N,) int level of the bond ladder
    reachable: Array  # (C, N) bool, the channel is open
    alive: Array  # (N,) bool


class Today(NamedTuple):
    """What the date does."""

    weekend: Array  # (N,) 1 on a day of the weekend, else 0
    demand: Array  # (N,) factor on organic orders
    drift: Array  # (N,) log change of tolerance


class Message(NamedTuple):
    """What an action means to the customer who would get it; silence has zero load, cost and discount."""

    sends: Array  # bool
    channel: Array  # int, 0 for silence
    load: Array  # fatigue units
    cost: Array  # money
    discount: Array  # share of the order's value
    relevance: Array  # in [0, 1]
    open_logit: Array  # at bond 1/2, within the ideal load
    block_log_rate: Array  # at bond 1/2, at the ideal load, on a weekday
    buy_logit: Array  # after an open, at bond 1/2, within the ideal load


class Rules(NamedTuple):
    """The numbers of a scenario that all customers share, as plain floats and small tables."""

    fatigue_decay: float
    fatigue_step: float
    fatigue_levels: int
    bond_decay: float
    bond_step: float
    bond_levels: int
    open_bond: float
    open_relevance: float
    open_fatigue: float
    open_slot: float
    block_relevance: float
    block_bond: float
    buy_relevance: float
    buy_bond: float
    buy_fatigue: float
    organic_bond: float
    churn_log_rate: float
    churn_bond: float
    churn_overload: float
    spill_over: float  # probability
    win_back_bond: float
    win_back_order: float
    bond_relevant_open: float
    bond_neutral_relevance: float
    bond_overload: float
    bond_order: float
    bond_block: float
    order_log_sd: float
    margin: float
    season: float
    tolerance_drift: float
    drift_days: int
    win_back: bool  # whether any channel can reopen
    win_back_log_rate: Array  # (C, 1)
    channels: Array  # (C, 1) int, 0..C-1
    sends: Array  # (A,) bool, this and the following by action
    channel_of: Array  # (A,) int, 0 for silence
    slot_of: Array  # (A,) int
    style_of: Array  # (A,) int
    product_of: Array  # (A,) int
    load_of: Array  # (A,)
    cost_of: Array  # (A,)
    discount_of: Array  # (A,)


class Outcome(NamedTuple):
    """What happened on one day. Dead customers have zeros."""

    sent: Array  # (N,) bool, the firm tried to send
    delivered: Array  # (N,) bool, the channel was open
    opened: Array  # (N,) bool
    ordered: Array  # (N,) bool
    prompted: Array  # (N,) bool, the order came through the message
    blocked: Array  # (C, N) bool, channels blocked today
    reopened: Array  # (C, N) bool, channels won back today
    churned: Array  # (N,) bool
    order_value: Array  # (N,) money
    margin: Array  # (N,) money, before discount and cost
    discount: Array  # (N,) money
    cost: Array  # (N,) money
    reward: Array  # (N,) margin - discount - cost
    expected_reward: Array  # (N,) mean of the reward given state and action
    churn_probability: Array  # (N,) of today's leaving, given state and action
    overload: Array  # (N,) load above the ideal after a delivered message, fatigue units
    relevance: Array  # (N,) of a delivered message, else 0


def today(rules: Rules, traits: Traits, day: Array) -> Today:
    """The calendar for customers on their own `day` (N,) int; a year is 364 days, weeks and seasons align."""
    xp = array_namespace(day)
    kind = traits.ideal_load.dtype
    date = day + traits.joined
    weekend = xp.astype(date % 7 >= 5, kind)
    drift = weekend * 0.0
    if rules.tolerance_drift != 0.0:
        drifted = xp.astype(xp.where(day < rules.drift_days, day, rules.drift_days), kind)
        drift = drifted * (rules.tolerance_drift / rules.drift_days)
    if rules.season == 0.0:
        return Today(weekend, weekend * 0.0 + 1.0, drift)
    angle = xp.astype(date % 364, kind) * (2.0 * 3.141592653589793 / 364.0)
    return Today(weekend, 1.0 + rules.season * xp.sin(angle), drift)


def message(rules: Rules, traits: Traits, action: Array, row: Array) -> Message:
    """The message of each customer's own `action` (N,) int; `row` (N,) int is 0..N-1, for the look-up."""
    xp = array_namespace(traits.ideal_load)
    customers = traits.ideal_load.shape[0]

    def cell(part_of: Array) -> Array:
        return xp.take(part_of, action) * customers + row

    def own(table: Array, cells: Array) -> Array:
        return xp.take(xp.reshape(table, (-1,)), cells)

    def shared(table: Array) -> Array:
        return xp.take(table, action)

    return _message(rules, traits, cell, own, shared)


def messages(rules: Rules, traits: Traits) -> Message:
    """Every message to every customer, fields (A, N), or (A, 1) where customers agree: what a planner chooses from."""
    xp = array_namespace(traits.ideal_load)

    def cell(part_of: Array) -> Array:
        return part_of

    def own(table: Array, cells: Array) -> Array:
        return xp.take(table, cells, axis=0)

    def shared(table: Array) -> Array:
        return xp.reshape(table, (-1, 1))

    return _message(rules, traits, cell, own, shared)


def _message(rules: Rules, traits: Traits, cell: Any, own: Any, shared: Any) -> Message:
    channel, style = cell(rules.channel_of), cell(rules.style_of)
    relevance = own(traits.relevance, cell(rules.product_of))
    slot = own(traits.slot_block, cell(rules.slot_of))
    fit = relevance - 0.5
    return Message(
        sends=shared(rules.sends),
        channel=shared(rules.channel_of),
        load=shared(rules.load_of),
        cost=shared(rules.cost_of),
        discount=shared(rules.discount_of),
        relevance=relevance,
        open_logit=own(traits.open_logit, channel) + rules.open_relevance * fit - rules.open_slot * slot,
        block_log_rate=own(traits.block_log_rate, channel)
        + slot
        + own(traits.style_block, style)
        - rules.block_relevance * fit,
        buy_logit=own(traits.buy_logit, channel) + own(traits.style_buy, style) + rules.buy_relevance * fit,
    )


def fatigue_of(rules: Rules, traits: Traits, level: Array) -> Array:
    """Fatigue units of a ladder level."""
    return array_namespace(level).astype(level, traits.ideal_load.dtype) * rules.fatigue_step


def bond_of(rules: Rules, traits: Traits, level: Array) -> Array:
    """Bond in [0, 1] of a ladder level."""
    return array_namespace(level).astype(level, traits.ideal_load.dtype) * rules.bond_step


def ideal_load(traits: Traits, now: Today) -> Array:
    """Ideal load on this day; tolerance that drifts shrinks it."""
    return traits.ideal_load * array_namespace(now.drift).exp(-now.drift)


def open_probability(rules: Rules, fatigue: Array, bond: Array, ideal: Array, mail: Message) -> Array:
    """Probability that a delivered message is opened; `fatigue` is the load before it."""
    xp = array_namespace(fatigue)
    return _logistic(
        mail.open_logit + rules.open_bond * (bond - 0.5) - rules.open_fatigue * _above(xp, fatigue - ideal)
    )


def block_probability(
    rules: Rules, traits: Traits, now: Today, loaded: Array, bond: Array, ideal: Array, mail: Message
) -> Array:
    """Probability that a delivered message makes the customer block its channel; `loaded` is the load after it.

    Complementary log-log in the ideal-point form of Godfrey, Seiders & Voss 2011: reciprocity below, reactance above.
    """
    xp = array_namespace(loaded)
    log_rate = (
        mail.block_log_rate
        + traits.reactance * _above(xp, loaded - ideal)
        + traits.reciprocity * _above(xp, ideal - loaded)
        + traits.weekend_block * now.weekend
        + now.drift
        - rules.block_bond * (bond - 0.5)
    )
    return _within_a_day(xp, log_rate)


def organic_probability(rules: Rules, traits: Traits, now: Today, bond: Array) -> Array:
    """Probability of an order that no message prompted."""
    xp = array_namespace(bond)
    return 1.0 - xp.exp(-traits.organic_rate * now.demand * xp.exp(rules.organic_bond * (bond - 0.5)))


def prompted_probability(rules: Rules, fatigue: Array, bond: Array, ideal: Array, mail: Message) -> Array:
    """Probability that an opened message brings an order; `fatigue` is the load before it."""
    xp = array_namespace(fatigue)
    return _logistic(mail.buy_logit + rules.buy_bond * (bond - 0.5) - rules.buy_fatigue * _above(xp, fatigue - ideal))


def churn_probability(rules: Rules, traits: Traits, bond: Array, delivered: Array, overload: Array) -> Array:
    """Probability of leaving for ever; `delivered` is 1 on a day with contact, else 0."""
    xp = array_namespace(bond)
    log_rate = (
        rules.churn_log_rate
        - rules.churn_bond * (bond - 0.5)
        + traits.churn_contact * delivered
        + rules.churn_overload * overload
    )
    return _within_a_day(xp, log_rate)


def win_back_probability(rules: Rules, bond: Array, ordered: Array) -> Array:
    """Probability (C, N) that a blocked channel reopens; `ordered` is 1 on the day of an order, else 0."""
    xp = array_namespace(bond)
    factor = 1.0 + (rules.win_back_order - 1.0) * ordered
    return 1.0 - xp.exp(-xp.exp(rules.win_back_log_rate + rules.win_back_bond * (bond - 0.5)) * factor)


def fatigue_after(rules: Rules, fatigue: Array, load: Array) -> Array:
    """Fatigue units after a day with `load` delivered, before it is rounded to a level."""
    return rules.fatigue_decay * fatigue + load


def overload_after(loaded: Array, ideal: Array, delivered: Array) -> Array:
    """Load above the ideal, fatigue units; `delivered` is 1 on a day with contact, else 0, and so is the overload."""
    return _above(array_namespace(loaded), loaded - ideal) * delivered


def bond_after(
    rules: Rules,
    traits: Traits,
    bond: Array,
    relevance: Array,
    opened: Array,
    ordered: Array,
    blocked: Array,
    overload: Array,
) -> Array:
    """Bond after the day, before it is clipped and rounded to a level; the events are 1 or 0.

    Goodwill that decays to its resting level (Nerlove & Arrow 1962), built by relevant opens and by orders.
    """
    return (
        rules.bond_decay * bond
        + (1.0 - rules.bond_decay) * traits.resting_bond
        + rules.bond_relevant_open * opened * (relevance - rules.bond_neutral_relevance)
        - rules.bond_overload * overload
        + rules.bond_order * ordered
        - rules.bond_block * blocked
    )


def neighbours(value: Array, step: float, levels: int) -> tuple[Array, Array]:
    """The lower ladder level next to `value`, and the probability of the upper one: stochastic rounding.

    The mean over the two levels is the value itself, so a ladder costs noise but no bias, and linear interpolation
    in a dynamic programme is the true expectation.
    """
    xp = array_namespace(value)
    place = xp.minimum(xp.maximum(value * (1.0 / step), 0.0), float(levels - 1))
    lower = xp.floor(place)
    return xp.astype(lower, xp.int32), place - lower


def step(
    rules: Rules, traits: Traits, state: State, day: Array, action: Array, noise: Any, row: Array
) -> tuple[State, Outcome]:
    """One day for N customers.

    Args:
        rules, traits, state: the world, the customers, how they are this morning.
        day: (N,) int, each customer's own day.
        action: (N,) int in 0..A-1, 0 is silence.
        noise: the day's uniforms, see `noise.Noise`.
        row: (N,) int, 0..N-1.

    Returns:
        The state tomorrow morning and what happened today.
    """
    xp = array_namespace(traits.ideal_load)
    kind = traits.ideal_load.dtype
    alive = state.alive
    now = today(rules, traits, day)
    ideal = ideal_load(traits, now)
    mail = message(rules, traits, action, row)
    fatigue = fatigue_of(rules, traits, state.fatigue)
    bond = bond_of(rules, traits, state.bond)

    sent = mail.sends & alive
    to_channel = (rules.channels == mail.channel) & sent
    delivered = xp.any(to_channel & state.reachable, axis=0)
    contact = xp.astype(delivered, kind)
    loaded = fatigue_after(rules, fatigue, mail.load * contact)
    overload = overload_after(loaded, ideal, contact)

    open_p = open_probability(rules, fatigue, bond, ideal, mail) * contact
    block_p = block_probability(rules, traits, now, loaded, bond, ideal, mail) * contact
    organic_p = organic_probability(rules, traits, now, bond)
    prompted_p = prompted_probability(rules, fatigue, bond, ideal, mail)

    opened = noise.open < open_p
    prompted = opened & (noise.message_order < prompted_p)
    ordered = (prompted | (noise.order < organic_p)) & alive

    blocked, reopened = _channels_after(rules, traits, state, to_channel, block_p, bond, ordered, noise.channel)
    churn_p = churn_probability(rules, traits, bond, contact, overload) * xp.astype(alive, kind)
    churned = noise.churn < churn_p

    sold = xp.astype(ordered, kind)
    value = sold * order_value(rules, traits, noise.value_radius, noise.value_angle)
    margin = rules.margin * value
    discount = mail.discount * value * xp.astype(opened, kind)
    cost = mail.cost * xp.astype(sent, kind)

    bond_next = bond_after(
        rules,
        traits,
        bond,
        mail.relevance,
        xp.astype(opened, kind),
        sold,
        xp.astype(xp.any(blocked, axis=0), kind),
        overload,
    )
    tomorrow = State(
        fatigue=_rounded(xp, loaded, rules.fatigue_step, rules.fatigue_levels, noise.fatigue),
        bond=_rounded(xp, bond_next, rules.bond_step, rules.bond_levels, noise.bond),
        reachable=(state.reachable & ~blocked) | reopened,
        alive=alive & ~churned,
    )
    expected = expected_reward(rules, traits, mail, organic_p, open_p, prompted_p) * xp.astype(alive, kind)
    return tomorrow, Outcome(
        sent=sent,
        delivered=delivered,
        opened=opened,
        ordered=ordered,
        prompted=prompted,
        blocked=blocked,
        reopened=reopened,
        churned=churned,
        order_value=value,
        margin=margin,
        discount=discount,
        cost=cost,
        reward=margin - discount - cost,
        expected_reward=expected,
        churn_probability=churn_p,
        overload=overload,
        relevance=mail.relevance * contact,
    )


def order_value(rules: Rules, traits: Traits, radius: Array, angle: Array) -> Array:
    """A log-normal order value from two uniforms (Box & Muller 1958), money."""
    xp = array_namespace(radius)
    normal = xp.sqrt(-2.0 * xp.log(1.0 - radius)) * xp.cos((2.0 * 3.141592653589793) * angle)
    return xp.exp(traits.order_log_value + rules.order_log_sd * normal)


def expected_reward(
    rules: Rules, traits: Traits, mail: Message, organic_p: Array, open_p: Array, prompted_p: Array
) -> Array:
    """Mean of the day's reward, money; `open_p` is zero where nothing is delivered.

    A living customer is charged for every attempt, delivered or not. A discount is redeemed by everybody who opened
    it and orders that day, also by those who would have ordered anyway.
    """
    xp = array_namespace(organic_p)
    mean_value = xp.exp(traits.order_log_value + 0.5 * rules.order_log_sd**2)
    order_if_opened = 1.0 - (1.0 - organic_p) * (1.0 - prompted_p)
    order_p = (1.0 - open_p) * organic_p + open_p * order_if_opened
    return mean_value * (rules.margin * order_p - mail.discount * open_p * order_if_opened) - mail.cost


def _channels_after(
    rules: Rules,
    traits: Traits,
    state: State,
    to_channel: Array,
    block_p: Array,
    bond: Array,
    ordered: Array,
    uniform: Array,
) -> tuple[Array, Array]:
    """Channels blocked and reopened today, (C, N) bool each.

    Only the living decide about their channels, and only what they once opted in to can be won back.
    """
    xp = array_namespace(bond)
    kind = bond.dtype
    able = state.reachable & state.alive
    by_message = able & to_channel & (uniform < union(traits.background_block, block_p))
    spill = rules.spill_over * xp.astype(xp.any(by_message, axis=0), kind)
    elsewhere = able & ~to_channel & (uniform < union(traits.background_block, spill))
    reopened = ~state.reachable & state.alive
    if rules.win_back:
        reopened = reopened & traits.opted_in & (uniform < win_back_probability(rules, bond, xp.astype(ordered, kind)))
    else:
        reopened = reopened & ~reopened
    return by_message | elsewhere, reopened


def union(first: Array, second: Array) -> Array:
    """Probability that at least one of two independent events happens."""
    return first + second - first * second


def _rounded(xp: Any, value: Array, size: float, levels: int, uniform: Array) -> Array:
    lower, upper_p = neighbours(value, size, levels)
    return lower + xp.astype(uniform < upper_p, xp.int32)


def _within_a_day(xp: Any, log_rate: Array) -> Array:
    """Complementary log-log link; beyond e^30 the event is certain, and float32 would overflow."""
    return 1.0 - xp.exp(-xp.exp(xp.minimum(log_rate, 30.0)))


def _above(xp: Any, value: Array) -> Array:
    return xp.maximum(value, 0.0)


def _logistic(value: Array) -> Array:
    """Logistic function; beyond e^-80 the event is impossible, and float32 would overflow."""
    xp = array_namespace(value)
    return 1.0 / (1.0 + xp.exp(xp.minimum(-value, 80.0)))
