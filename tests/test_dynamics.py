"""One day of a customer: every equation against a second reckoning, and every event as often as it should happen."""

import math
from functools import cache
from typing import Any, NamedTuple

import annotated_types
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from blockenv import dynamics, noise, population
from blockenv.dynamics import Message, Outcome, Rules, State, Today, Traits
from blockenv.scenarios import SCENARIOS, Record, Scenario, get

DETERMINISTIC = settings(deadline=None, derandomize=True, max_examples=200)
NAMES = list(SCENARIOS)
LIMIT = 5.5  # standard errors: one false alarm in 25 million comparisons
Float = NDArray[np.float64]

# Everything that can happen, often: what is rare in the canon is frequent here, so that a sample shows it.
BUSY: dict[str, Any] = {
    "name": "Busy-v0",
    "isolates": "frequent events of every kind",
    "channels": [
        {"name": "push", "load": 1.0, "cost": 0.3, "block_probability": 0.1, "open_logit": 0.2, "buy_logit": -1.0,
         "opt_in": 0.8, "background_share": 0.4, "win_back_rate": 0.1, "visibility": "next_send"},
        {"name": "sms", "load": 1.7, "cost": 1.1, "block_probability": 0.2, "open_logit": 1.0, "buy_logit": -1.5,
         "opt_in": 0.6, "background_share": 0.3, "win_back_rate": 0.05},
        {"name": "email", "load": 0.6, "cost": 0.1, "block_probability": 0.05, "open_logit": -0.5, "buy_logit": -0.5,
         "background_share": 0.8, "win_back_rate": 0.2, "visibility": "never"},
    ],
    "slots": ["morning", "evening"],
    "styles": [{"name": "promo", "discount": 0.3}, {"name": "info"}],
    "products": ["books", "music"],
    "segments": [
        {"name": "fond", "weight": 1, "ideal_load": 4.0, "reactance": 0.3, "reciprocity": 0.3, "churn_contact": -0.8,
         "resting_bond": 0.7, "organic_rate": 0.15, "weekend_block": -0.8, "relevance": {"books": 0.9, "music": 0.2},
         "style_block": {"promo": -0.6}, "slot_block": {"morning": 0.8}, "style_buy": {"promo": 0.7}},
        {"name": "shy", "weight": 1, "ideal_load": 1.0, "reactance": 0.6, "reciprocity": 0.0, "churn_contact": 0.8,
         "resting_bond": 0.2, "organic_rate": 0.05, "weekend_block": 0.8, "relevance": {"books": 0.1, "music": 0.8},
         "style_block": {"promo": 0.6}, "slot_block": {"morning": -0.8}, "style_buy": {"promo": -0.7}},
    ],
    "response": {"churn_probability": 0.05, "spill_over": 0.7, "win_back_order": 4.0, "open_fatigue": 0.3,
                 "buy_fatigue": 0.6},
    "calendar": {"season": 0.5, "tolerance_drift": 0.6, "drift_days": 100},
    "commerce": {"order_value": 20.0, "margin": 0.5},
}  # fmt: skip


class Village(NamedTuple):
    """Customers in the middle of their lives."""

    rules: Rules
    traits: Traits
    state: State
    day: NDArray[np.int64]
    action: NDArray[np.int64]
    row: NDArray[np.int64]
    key: NDArray[np.uint64]

    def live(self, day_of_luck: int = 0) -> tuple[State, Outcome]:
        channels = len(self.traits.opted_in)
        space = noise.workspace(len(self.row), channels)
        luck = noise.luck(self.key, np.full(len(self.row), day_of_luck), space)
        return dynamics.step(self.rules, self.traits, self.state, self.day, self.action, luck, self.row)


def village(scenario: Scenario, customers: int, seed: int = 1, alive: float = 1.0, dtype: type = np.float64) -> Village:
    """Customers in random states on random days with random actions."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(customers)
    seeds = np.full(customers, seed, np.uint64)
    rules, traits = population.rules(scenario, dtype), population.draw(scenario, seeds, numbers, dtype)
    return Village(
        rules=rules,
        traits=traits,
        state=State(
            fatigue=rng.integers(0, rules.fatigue_levels, customers).astype(np.int32),
            bond=rng.integers(0, rules.bond_levels, customers).astype(np.int32),
            reachable=(rng.random((len(scenario.channels), customers)) < 0.7) & traits.opted_in,
            alive=rng.random(customers) < alive,
        ),
        day=rng.integers(0, 400, customers),
        action=rng.integers(0, scenario.actions, customers),
        row=numbers,
        key=noise.address(seeds, noise.LUCK, numbers),
    )


def one(value: float) -> Float:
    return np.array([float(value)])


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


def logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -700 else 0.0


def above(value: float) -> float:
    return max(value, 0.0)


def hazard(log_rate: float) -> float:
    return -math.expm1(-math.exp(min(log_rate, 30.0)))


@cache
def busy_rules() -> Rules:
    return population.rules(get(BUSY), np.float64)


@cache
def busy_traits() -> Traits:
    return population.draw(get(BUSY), np.array([3], np.uint64), np.array([0]), np.float64)


def customer(**changes: float) -> Traits:
    return busy_traits()._replace(**{name: one(value) for name, value in changes.items()})


def mail(**changes: float) -> Message:
    silence = {"sends": np.array([True]), "channel": np.array([0])}
    zeros = {name: one(0.0) for name in Message._fields if name not in silence}
    return Message(**{**silence, **zeros, **{name: one(value) for name, value in changes.items()}})


UNIT, LOAD, LOGIT, LOG_RATE, SLOPE = numbers(0, 1), numbers(0, 20), numbers(-12, 12), numbers(-12, 3), numbers(0, 5)


def close(expected: Any) -> Any:
    """Equal but for the rounding of double precision."""
    return pytest.approx(expected, rel=1e-10, abs=1e-14)


# --- each equation against a second reckoning with plain numbers ---


@DETERMINISTIC
@given(LOGIT, UNIT, LOAD, LOAD, SLOPE, SLOPE)
def test_open_probability(
    logit: float, bond: float, fatigue: float, ideal: float, by_bond: float, by_load: float
) -> None:
    rules = busy_rules()._replace(open_bond=by_bond, open_fatigue=by_load)
    found = dynamics.open_probability(rules, one(fatigue), one(bond), one(ideal), mail(open_logit=logit))
    expected = logistic(logit + by_bond * (bond - 0.5) - by_load * above(fatigue - ideal))
    assert found[0] == close(expected)


@DETERMINISTIC
@given(LOGIT, UNIT, LOAD, LOAD, SLOPE, SLOPE)
def test_prompted_probability(
    logit: float, bond: float, fatigue: float, ideal: float, by_bond: float, by_load: float
) -> None:
    rules = busy_rules()._replace(buy_bond=by_bond, buy_fatigue=by_load)
    found = dynamics.prompted_probability(rules, one(fatigue), one(bond), one(ideal), mail(buy_logit=logit))
    expected = logistic(logit + by_bond * (bond - 0.5) - by_load * above(fatigue - ideal))
    assert found[0] == close(expected)


@DETERMINISTIC
@given(LOG_RATE, UNIT, LOAD, LOAD, numbers(0, 3), numbers(0, 1), numbers(-3, 3), st.booleans(), numbers(0, 3), SLOPE)
def test_block_probability(
    log_rate: float,
    bond: float,
    load: float,
    ideal: float,
    reactance: float,
    reciprocity: float,
    weekend_effect: float,
    weekend: bool,
    drift: float,
    by_bond: float,
) -> None:
    rules = busy_rules()._replace(block_bond=by_bond)
    traits = customer(reactance=reactance, reciprocity=reciprocity, weekend_block=weekend_effect)
    now = Today(weekend=one(weekend), demand=one(1), drift=one(drift))
    found = dynamics.block_probability(
        rules, traits, now, one(load), one(bond), one(ideal), mail(block_log_rate=log_rate)
    )
    expected = hazard(
        log_rate
        + reactance * above(load - ideal)
        + reciprocity * above(ideal - load)
        + (weekend_effect if weekend else 0.0)
        + drift
        - by_bond * (bond - 0.5)
    )
    assert found[0] == close(expected)


@DETERMINISTIC
@given(numbers(0, 1), UNIT, numbers(0, 2), SLOPE)
def test_organic_probability(rate: float, bond: float, demand: float, by_bond: float) -> None:
    rules, now = busy_rules()._replace(organic_bond=by_bond), Today(one(0), one(demand), one(0))
    found = dynamics.organic_probability(rules, customer(organic_rate=rate), now, one(bond))
    assert found[0] == close(-math.expm1(-rate * demand * math.exp(by_bond * (bond - 0.5))))


@DETERMINISTIC
@given(LOG_RATE, UNIT, st.booleans(), LOAD, numbers(-3, 3), SLOPE, SLOPE)
def test_churn_probability(
    log_rate: float, bond: float, contact: bool, overload: float, by_contact: float, by_bond: float, by_load: float
) -> None:
    rules = busy_rules()._replace(churn_log_rate=log_rate, churn_bond=by_bond, churn_overload=by_load)
    found = dynamics.churn_probability(
        rules, customer(churn_contact=by_contact), one(bond), one(contact), one(overload)
    )
    expected = hazard(log_rate - by_bond * (bond - 0.5) + (by_contact if contact else 0.0) + by_load * overload)
    assert found[0] == close(expected)


@DETERMINISTIC
@given(st.tuples(LOG_RATE, LOG_RATE, LOG_RATE), UNIT, st.booleans(), SLOPE, numbers(1, 100))
def test_win_back_probability(
    log_rates: tuple[float, ...], bond: float, ordered: bool, by_bond: float, by_order: float
) -> None:
    rules = busy_rules()._replace(
        win_back_log_rate=np.array(log_rates)[:, None], win_back_bond=by_bond, win_back_order=by_order
    )
    found = dynamics.win_back_probability(rules, one(bond), one(ordered))
    factor = by_order if ordered else 1.0
    expected = [-math.expm1(-factor * math.exp(each + by_bond * (bond - 0.5))) for each in log_rates]
    assert found[:, 0].tolist() == close(expected)


@DETERMINISTIC
@given(LOAD, numbers(0, 5), UNIT)
def test_fatigue_after(fatigue: float, load: float, decay: float) -> None:
    rules = busy_rules()._replace(fatigue_decay=decay)
    assert dynamics.fatigue_after(rules, one(fatigue), one(load))[0] == pytest.approx(decay * fatigue + load)


@DETERMINISTIC
@given(
    UNIT, UNIT, UNIT, st.booleans(), st.booleans(), st.booleans(), LOAD, st.tuples(UNIT, UNIT, UNIT, UNIT, UNIT, UNIT)
)
def test_bond_after(
    bond: float,
    resting: float,
    relevance: float,
    opened: bool,
    ordered: bool,
    blocked: bool,
    overload: float,
    weights: tuple[float, ...],
) -> None:
    decay, by_open, neutral, by_overload, by_order, by_block = weights
    rules = busy_rules()._replace(
        bond_decay=decay,
        bond_relevant_open=by_open,
        bond_neutral_relevance=neutral,
        bond_overload=by_overload,
        bond_order=by_order,
        bond_block=by_block,
    )
    found = dynamics.bond_after(
        rules,
        customer(resting_bond=resting),
        one(bond),
        one(relevance),
        one(opened),
        one(ordered),
        one(blocked),
        one(overload),
    )
    expected = resting + decay * (bond - resting) - by_overload * overload
    expected += by_open * (relevance - neutral) if opened else 0.0
    expected += by_order if ordered else 0.0
    expected -= by_block if blocked else 0.0
    assert found[0] == pytest.approx(expected, rel=1e-10, abs=1e-12)


@DETERMINISTIC
@given(UNIT, UNIT, UNIT, numbers(-5, 15), numbers(0, 3), numbers(0.01, 1), numbers(0, 0.9), numbers(0, 10))
def test_expected_reward(
    organic: float,
    opens: float,
    prompted: float,
    log_value: float,
    sd: float,
    margin: float,
    discount: float,
    cost: float,
) -> None:
    """By listing who opens, who buys anyway and who is prompted, instead of by formula."""
    rules = busy_rules()._replace(order_log_sd=sd, margin=margin)
    traits, message = customer(order_log_value=log_value), mail(cost=cost, discount=discount)
    found = dynamics.expected_reward(rules, traits, message, one(organic), one(opens), one(prompted))
    value = math.exp(log_value + sd**2 / 2)
    expected = -cost
    for opened in (False, True):
        for anyway in (False, True):
            for through in (False, True):
                chance = (opens if opened else 1 - opens) * (organic if anyway else 1 - organic)
                chance *= prompted if through else 1 - prompted
                if anyway or (opened and through):
                    expected += chance * value * (margin - (discount if opened else 0.0))
    assert found[0] == pytest.approx(expected, rel=1e-9, abs=1e-9 * value)


@DETERMINISTIC
@given(numbers(0, 1 - 2**-24), numbers(0, 1), numbers(0, 3))
def test_order_value(radius: float, angle: float, sd: float) -> None:
    rules = busy_rules()._replace(order_log_sd=sd)
    found = dynamics.order_value(rules, customer(order_log_value=2.0), one(radius), one(angle))
    normal = math.sqrt(-2.0 * math.log1p(-radius)) * math.cos(2.0 * math.pi * angle)
    assert found[0] == pytest.approx(math.exp(2.0 + sd * normal), rel=1e-7)


@DETERMINISTIC
@given(st.integers(0, 2000), st.integers(0, 363), numbers(0, 0.99), numbers(0, 3), st.integers(1, 1000))
def test_today(day: int, joined: int, season: float, drift: float, drift_days: int) -> None:
    rules = busy_rules()._replace(season=season, tolerance_drift=drift, drift_days=drift_days)
    traits = busy_traits()._replace(joined=np.array([joined]), ideal_load=one(3.0))
    now = dynamics.today(rules, traits, np.array([day]))
    assert now.weekend[0] == ((day + joined) % 7 in (5, 6))
    assert now.demand[0] == pytest.approx(1.0 + season * math.sin(2 * math.pi * (day + joined) / 364), abs=1e-12)
    assert now.drift[0] == pytest.approx(drift * min(1.0, day / drift_days))
    assert dynamics.ideal_load(traits, now)[0] == pytest.approx(3.0 * math.exp(-now.drift[0]))


def test_union_is_at_least_one_of_two_independent_events() -> None:
    first, second = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 11))
    np.testing.assert_allclose(dynamics.union(first, second), 1 - (1 - first) * (1 - second), atol=1e-15)


# --- messages ---


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_the_sum_of_its_parts(name: str) -> None:
    """Looked up word by word, without the tables."""
    scenario = SCENARIOS[name]
    place = village(scenario, 150, seed=5)
    rules, traits, response = place.rules, place.traits, scenario.response
    found = dynamics.message(rules, traits, place.action, place.row)
    channels, styles = [each.name for each in scenario.channels], [each.name for each in scenario.styles]
    for row, action in enumerate(place.action):
        assert found.sends[row] == (action > 0)
        if action == 0:
            assert found.load[row] == found.cost[row] == found.discount[row] == 0.0
            continue
        words = scenario.message_name(int(action)).split("/")
        channel, slot = channels.index(words[0]), scenario.slots.index(words[1])
        style, product = styles.index(words[2]), scenario.products.index(words[3])
        relevance, at_slot = traits.relevance[product, row], traits.slot_block[slot, row]
        expected = {
            "channel": channel,
            "load": scenario.channels[channel].load,
            "cost": scenario.channels[channel].cost,
            "discount": scenario.styles[style].discount,
            "relevance": relevance,
            "open_logit": traits.open_logit[channel, row]
            + response.open_relevance * (relevance - 0.5)
            - response.open_slot * at_slot,
            "block_log_rate": traits.block_log_rate[channel, row]
            + at_slot
            + traits.style_block[style, row]
            - response.block_relevance * (relevance - 0.5),
            "buy_logit": traits.buy_logit[channel, row]
            + traits.style_buy[style, row]
            + response.buy_relevance * (relevance - 0.5),
        }
        for field, value in expected.items():
            assert getattr(found, field)[row] == pytest.approx(value), field


@pytest.mark.parametrize("name", [*NAMES, "Busy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_own_messages_are_columns_of_all_messages(name: str, dtype: type) -> None:
    scenario = get(BUSY) if name == "Busy" else SCENARIOS[name]
    place = village(scenario, 7, seed=2, dtype=dtype)
    table = dynamics.messages(place.rules, place.traits)
    for action in range(scenario.actions):
        own = dynamics.message(place.rules, place.traits, np.full(7, action), place.row)
        for field, values, all_values in zip(Message._fields, own, table, strict=True):
            assert all_values.shape in ((scenario.actions, 7), (scenario.actions, 1)), field
            expected = np.broadcast_to(all_values, (scenario.actions, 7))[action]
            assert np.array_equal(np.broadcast_to(values, (7,)), expected), field
            assert values.dtype == all_values.dtype, field


# --- the shape of blocking ---


@DETERMINISTIC
@given(numbers(-9, -1), UNIT, numbers(0.1, 10), numbers(0, 8), numbers(0.05, 2), numbers(0.01, 1), numbers(0.01, 0.5))
def test_reactance_above_and_reciprocity_below_the_ideal(
    log_rate: float, bond: float, ideal: float, gap: float, further: float, reactance: float, reciprocity: float
) -> None:
    traits, now = customer(reactance=reactance, reciprocity=reciprocity), Today(one(0), one(1), one(0))

    def at(load: float, who: Traits = traits) -> float:
        found = dynamics.block_probability(
            busy_rules(), who, now, one(load), one(bond), one(ideal), mail(block_log_rate=log_rate)
        )
        return float(found[0])

    resting = at(ideal)
    assume(at(ideal + gap + further) < 0.999)
    assert resting <= at(ideal + gap) < at(ideal + gap + further)
    lower = max(ideal - gap, 0.0)
    assume(lower - further >= 0.0)
    assert resting <= at(lower) < at(lower - further)
    unmoved = traits._replace(reciprocity=one(0.0))
    assert at(lower, unmoved) == at(lower - further, unmoved) == pytest.approx(resting)


@DETERMINISTIC
@given(UNIT, UNIT, UNIT, UNIT)
def test_blocking_falls_with_relevance_and_with_bond(
    low: float, high: float, bond_low: float, bond_high: float
) -> None:
    (low, high), (bond_low, bond_high) = sorted((low, high)), sorted((bond_low, bond_high))
    assume(low + 1e-3 < high and bond_low + 1e-3 < bond_high)
    now = Today(one(0), one(1), one(0))

    def at(relevance: float, bond: float) -> float:
        traits = busy_traits()._replace(relevance=np.array([[relevance], [0.5]]))
        message = dynamics.message(busy_rules(), traits, np.array([1]), np.array([0]))
        found = dynamics.block_probability(busy_rules(), traits, now, one(2.0), one(bond), one(2.0), message)
        return float(found[0])

    assert at(high, bond_low) < at(low, bond_low)
    assert at(low, bond_high) < at(low, bond_low)


def test_probabilities_move_with_bond_relevance_and_fatigue_as_told() -> None:
    rules, traits, now = busy_rules(), busy_traits(), Today(one(0), one(1), one(0))
    rising, message = np.linspace(0.0, 1.0, 21), mail(open_logit=-1, buy_logit=-2)
    load, zero = np.linspace(0.0, 12.0, 49), np.zeros(21)
    ideal = one(3.0)
    for upward in (
        dynamics.open_probability(rules, one(2.0), rising, ideal, message),
        dynamics.prompted_probability(rules, one(2.0), rising, ideal, message),
        dynamics.organic_probability(rules, traits, now, rising),
        *dynamics.win_back_probability(rules, rising, zero),
        *dynamics.win_back_probability(rules, one(0.5), np.array([0.0, 1.0])),
        -dynamics.churn_probability(rules, traits, rising, zero, zero),
        dynamics.churn_probability(rules, traits, one(0.5), one(1), load),
    ):
        assert np.all(np.diff(upward) > 0)
    for falling in (
        dynamics.open_probability(rules, load, one(0.5), ideal, message),
        dynamics.prompted_probability(rules, load, one(0.5), ideal, message),
    ):
        steps = np.diff(falling)
        assert np.all(steps[load[1:] <= 3.0] == 0.0)
        assert np.all(steps[load[1:] > 3.0] < 0.0)
    for sign in (-1.0, 1.0):
        at_contact = dynamics.churn_probability(
            rules, customer(churn_contact=sign), one(0.5), np.array([0.0, 1.0]), one(0)
        )
        assert np.sign(at_contact[1] - at_contact[0]) == sign


# --- stochastic rounding ---


@DETERMINISTIC
@given(numbers(-30, 30), numbers(0.01, 3), st.integers(2, 200))
def test_rounding_is_to_a_neighbour_and_has_no_bias(value: float, step: float, levels: int) -> None:
    lower, upper_p = dynamics.neighbours(one(value), step, levels)
    place = min(max(value / step, 0.0), levels - 1.0)
    assert 0 <= lower[0] <= levels - 1
    assert 0.0 <= upper_p[0] < 1.0
    assert upper_p[0] == 0.0 or lower[0] + 1 <= levels - 1
    mean = (1.0 - upper_p[0]) * lower[0] + upper_p[0] * (lower[0] + 1)
    assert mean == pytest.approx(place, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [2, 11, 17, 50, 200])
def test_a_level_stays_where_it_is_and_the_ends_hold(levels: int, dtype: type) -> None:
    step = 1.0 / (levels - 1)
    lower, upper_p = dynamics.neighbours(np.arange(levels).astype(dtype) * dtype(step), step, levels)
    assert lower + upper_p == pytest.approx(np.arange(levels), abs=1e-4)
    assert lower.dtype == np.int32
    ends: NDArray[Any] = np.array([-1e9, -1e-9, 1.0, 1.0 + 1e-6, 1e9], dtype)
    lower, upper_p = dynamics.neighbours(ends, step, levels)
    assert (lower + upper_p).tolist() == pytest.approx([0, 0, levels - 1, levels - 1, levels - 1], abs=1e-4)
    assert np.all(lower + (upper_p > 0) <= levels - 1)


# --- a whole day: how often things happen ---


class Day(NamedTuple):
    """A day of many customers with the probabilities of all that could happen, reckoned beside `step`."""

    place: Village
    tomorrow: State
    outcome: Outcome
    contact: NDArray[np.bool_]
    overload: Float
    open_p: Float
    block_p: Float
    organic_p: Float
    prompted_p: Float
    churn_p: Float


@cache
def busy_day() -> Day:
    place = village(get(BUSY), 100_000, seed=8, alive=0.9)
    rules, traits, state, row = place.rules, place.traits, place.state, place.row
    tomorrow, outcome = place.live()
    message = dynamics.message(rules, traits, place.action, row)
    now = dynamics.today(rules, traits, place.day)
    ideal = dynamics.ideal_load(traits, now)
    fatigue, bond = state.fatigue * rules.fatigue_step, state.bond * rules.bond_step
    contact = (place.action > 0) & state.alive & state.reachable[message.channel, row]
    loaded = dynamics.fatigue_after(rules, fatigue, np.where(contact, message.load, 0.0))
    overload = np.where(contact, np.maximum(loaded - ideal, 0.0), 0.0)
    return Day(
        place,
        tomorrow,
        outcome,
        contact,
        overload,
        dynamics.open_probability(rules, fatigue, bond, ideal, message),
        dynamics.block_probability(rules, traits, now, loaded, bond, ideal, message),
        dynamics.organic_probability(rules, traits, now, bond),
        dynamics.prompted_probability(rules, fatigue, bond, ideal, message),
        dynamics.churn_probability(rules, traits, bond, contact.astype(float), overload),
    )


def as_often(events: NDArray[np.bool_], probability: Float, least: int = 300) -> None:
    """Check that events happen as often as they should, overall and among the likely and the unlikely ones."""
    assert events.shape == probability.shape
    order = np.argsort(probability, kind="stable")
    for part in (order, *np.array_split(order, 6)):
        expected, variance = probability[part].sum(), (probability[part] * (1 - probability[part])).sum()
        assert abs(events[part].sum() - expected) < LIMIT * math.sqrt(variance)
    assert min(events.sum(), (~events).sum()) > least, "too rare in this sample to show anything"


def test_messages_are_delivered_where_the_channel_is_open() -> None:
    day = busy_day()
    assert np.array_equal(day.outcome.sent, (day.place.action > 0) & day.place.state.alive)
    assert np.array_equal(day.outcome.delivered, day.contact)


def test_a_delivered_message_tells_its_overload_and_relevance() -> None:
    day, place = busy_day(), busy_day().place
    np.testing.assert_allclose(day.outcome.overload, day.overload)
    assert np.any(day.overload > 0)
    relevance = place.traits.relevance[place.rules.product_of[place.action], place.row]
    assert np.array_equal(day.outcome.relevance, np.where(day.contact, relevance, 0.0))


def test_opens_happen_as_often_as_they_should() -> None:
    day = busy_day()
    as_often(day.outcome.opened[day.contact], day.open_p[day.contact])
    assert not np.any(day.outcome.opened[~day.contact])


def test_organic_orders_happen_as_often_as_they_should() -> None:
    day = busy_day()
    quiet = day.place.state.alive & ~day.outcome.opened
    as_often(day.outcome.ordered[quiet], day.organic_p[quiet])


def test_prompted_orders_happen_as_often_as_they_should() -> None:
    day, opened = busy_day(), busy_day().outcome.opened
    as_often(day.outcome.prompted[opened], day.prompted_p[opened])
    either = 1 - (1 - day.organic_p[opened]) * (1 - day.prompted_p[opened])
    as_often(day.outcome.ordered[opened], either)
    assert not np.any(day.outcome.prompted & ~day.outcome.opened)
    assert not np.any(day.outcome.prompted & ~day.outcome.ordered)


def test_blocks_by_a_message_happen_as_often_as_they_should() -> None:
    day, rows = busy_day(), np.flatnonzero(busy_day().contact)
    channel = day.place.rules.channel_of[day.place.action[rows]]
    background = day.place.traits.background_block[channel, rows]
    as_often(day.outcome.blocked[channel, rows], 1 - (1 - background) * (1 - day.block_p[rows]))


def blocked_by_message(day: Day) -> NDArray[np.bool_]:
    channel = day.place.rules.channel_of[day.place.action]
    found: NDArray[np.bool_] = day.contact & day.outcome.blocked[channel, day.place.row]
    return found


@pytest.mark.parametrize("spilled", [False, True])
def test_blocks_in_the_background_and_by_spill_over_happen_as_often_as_they_should(spilled: bool) -> None:
    day = busy_day()
    state, traits, rules = day.place.state, day.place.traits, day.place.rules
    rows = state.alive & (blocked_by_message(day) == spilled)
    addressed = (np.arange(3)[:, None] == rules.channel_of[day.place.action]) & (day.place.action > 0)
    elsewhere = state.reachable & rows & ~addressed
    spill = 1 - math.exp(-BUSY["response"]["spill_over"]) if spilled else 0.0
    as_often(day.outcome.blocked[elsewhere], 1 - (1 - traits.background_block[elsewhere]) * (1 - spill))


def test_win_backs_happen_as_often_as_they_should() -> None:
    day = busy_day()
    state, rules = day.place.state, day.place.rules
    closed = ~state.reachable & state.alive & day.place.traits.opted_in
    probability = dynamics.win_back_probability(rules, state.bond * rules.bond_step, day.outcome.ordered.astype(float))
    as_often(day.outcome.reopened[closed], probability[closed])
    assert not np.any(day.outcome.reopened & ~closed)


def test_churn_happens_as_often_as_it_should() -> None:
    day, alive = busy_day(), busy_day().place.state.alive
    as_often(day.outcome.churned[alive], day.churn_p[alive])


def test_order_values_are_log_normal() -> None:
    day, ordered = busy_day(), busy_day().outcome.ordered
    normal = (np.log(day.outcome.order_value[ordered]) - day.place.traits.order_log_value[ordered]) / 0.5
    assert stats.kstest(normal, "norm").pvalue > 1e-6
    assert not np.any(day.outcome.order_value[~ordered])


def rounded_up(day: Day) -> dict[str, tuple[NDArray[np.bool_], Float]]:
    """Whether fatigue and bond were rounded up, with the probabilities of it."""
    rules, traits, state, outcome = day.place.rules, day.place.traits, day.place.state, day.outcome
    message = dynamics.message(rules, traits, day.place.action, day.place.row)
    values = {
        "fatigue": rules.fatigue_decay * state.fatigue * rules.fatigue_step + np.where(day.contact, message.load, 0.0),
        "bond": dynamics.bond_after(
            rules,
            traits,
            state.bond * rules.bond_step,
            message.relevance,
            outcome.opened,
            outcome.ordered,
            outcome.blocked.any(axis=0),
            day.overload,
        ),
    }
    found = {}
    for name, value in values.items():
        lower, upper_p = dynamics.neighbours(value, getattr(rules, f"{name}_step"), getattr(rules, f"{name}_levels"))
        steps = getattr(day.tomorrow, name) - lower
        assert set(np.unique(steps)) == {0, 1}
        found[name] = (steps == 1, upper_p)
    return found


@pytest.mark.parametrize("ladder", ["fatigue", "bond"])
def test_ladders_are_climbed_as_often_as_they_should(ladder: str) -> None:
    as_often(*rounded_up(busy_day())[ladder])


def test_events_of_a_day_are_independent_of_each_other() -> None:
    """No two events share a uniform: what is left of each, given its probability, does not correlate."""
    day, contact = busy_day(), busy_day().contact
    channel = day.place.rules.channel_of[day.place.action]
    background = day.place.traits.background_block[channel, day.place.row]
    block = 1 - (1 - background) * (1 - day.block_p)
    order = 1 - (1 - day.organic_p) * (1 - np.where(day.outcome.opened, day.prompted_p, 0.0))
    events = {
        "open": (day.outcome.opened, day.open_p),
        "order": (day.outcome.ordered, order),
        "block": (blocked_by_message(day), block),
        "churn": (day.outcome.churned, day.churn_p),
        **rounded_up(day),
    }
    residuals = {name: ((event - p)[contact], (p * (1 - p))[contact]) for name, (event, p) in events.items()}
    for first, (one_left, one_variance) in residuals.items():
        for second, (other_left, other_variance) in residuals.items():
            if first < second:
                score = (one_left * other_left).sum() / math.sqrt((one_variance * other_variance).sum())
                assert abs(score) < LIMIT, (first, second)


# --- reward ---


@pytest.mark.parametrize("name", [*NAMES, "Busy"])
def test_the_expected_reward_is_the_mean_of_the_realised_one(name: str) -> None:
    scenario = get(BUSY) if name == "Busy" else SCENARIOS[name]
    place = village(scenario, 20_000, seed=4, alive=0.95, dtype=np.float32)
    difference, square, days = np.zeros(len(place.row)), np.zeros(len(place.row)), 12
    for day in range(days):
        outcome = place.live(day)[1]
        surprise = outcome.reward.astype(np.float64) - outcome.expected_reward
        difference, square = difference + surprise, square + surprise**2
    addressed = np.where(place.action > 0, place.rules.channel_of[place.action], -1)
    everybody = np.ones(len(place.row), bool)
    for group in (everybody, *(addressed == channel for channel in range(-1, len(scenario.channels)))):
        assert abs(difference[group].sum()) < 5.0 * math.sqrt(square[group].sum())


@pytest.mark.parametrize("name", [*NAMES, "Busy"])
def test_the_reward_is_what_its_parts_say(name: str) -> None:
    scenario = get(BUSY) if name == "Busy" else SCENARIOS[name]
    place = village(scenario, 5000, seed=6, alive=0.9)
    outcome = place.live()[1]
    cost = np.where(outcome.sent, place.rules.cost_of[place.action], 0.0)
    share = np.where(outcome.opened, place.rules.discount_of[place.action], 0.0)
    np.testing.assert_allclose(outcome.cost, cost)
    np.testing.assert_allclose(outcome.margin, scenario.commerce.margin * outcome.order_value)
    np.testing.assert_allclose(outcome.discount, share * outcome.order_value)
    np.testing.assert_allclose(outcome.reward, outcome.margin - outcome.discount - outcome.cost)


# --- who cannot do what ---


@pytest.mark.parametrize("name", NAMES)
def test_a_customer_who_left_does_nothing_costs_nothing_and_never_returns(name: str) -> None:
    place = village(SCENARIOS[name], 500, seed=3, alive=0.5, dtype=np.float32)
    gone, rng = ~place.state.alive, np.random.default_rng(1)
    reachable = place.state.reachable[:, gone]
    for day in range(60):
        state, outcome = place.live(day)
        for field, values in outcome._asdict().items():
            assert not np.any(values[..., gone]), field
        assert not np.any(state.alive[gone])
        assert np.array_equal(state.reachable[:, gone], reachable)
        action = rng.integers(0, SCENARIOS[name].actions, len(gone))
        place = place._replace(state=state._replace(alive=~gone), day=place.day + 1, action=action)


def test_whoever_churns_is_gone_tomorrow() -> None:
    day = busy_day()
    assert np.array_equal(day.tomorrow.alive, day.place.state.alive & ~day.outcome.churned)


def test_a_message_to_a_blocked_channel_costs_and_does_nothing_else() -> None:
    place = village(get(BUSY), 3000, seed=9)
    closed = place._replace(state=place.state._replace(reachable=np.zeros_like(place.state.reachable)))
    state, outcome = closed.live()
    quiet_state, quiet = closed._replace(action=np.zeros_like(closed.action)).live()
    sends = place.action > 0
    assert sends.any()
    assert np.array_equal(outcome.sent, sends)
    assert np.array_equal(outcome.cost, place.rules.cost_of[place.action])
    assert np.all(outcome.cost[sends] > 0)
    changed = {"sent", "cost", "reward", "expected_reward"}
    for field in set(Outcome._fields) - changed:
        assert np.array_equal(getattr(outcome, field), getattr(quiet, field)), field
    np.testing.assert_allclose(outcome.reward, quiet.reward - outcome.cost)
    np.testing.assert_allclose(outcome.expected_reward, quiet.expected_reward - outcome.cost)
    for field, values, expected in zip(State._fields, state, quiet_state, strict=True):
        assert np.array_equal(values, expected), field


def extreme_luck(value: float, customers: int, channels: int) -> noise.Noise:
    events = {name: np.full(customers, value, np.float32) for name in noise.SCALARS}
    return noise.Noise(**events, channel=np.full((channels, customers), value, np.float32))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0 - 2.0**-24])
@pytest.mark.parametrize("name", [*NAMES, "Busy"])
def test_a_channel_is_never_blocked_and_reopened_on_one_day(name: str, value: float) -> None:
    scenario = get(BUSY) if name == "Busy" else SCENARIOS[name]
    place = village(scenario, 2000, seed=5, alive=0.9, dtype=np.float32)
    luck = extreme_luck(value, len(place.row), len(scenario.channels))
    for state, outcome in (
        place.live(),
        dynamics.step(place.rules, place.traits, place.state, place.day, place.action, luck, place.row),
    ):
        assert not np.any(outcome.blocked & outcome.reopened)
        assert not np.any(outcome.blocked & ~place.state.reachable)
        assert not np.any(outcome.reopened & place.state.reachable)
        assert np.array_equal(state.reachable, place.state.reachable & ~outcome.blocked | outcome.reopened)


def test_with_the_worst_luck_everything_possible_happens_and_nothing_impossible() -> None:
    place = village(get(BUSY), 500, seed=5)
    luck = extreme_luck(0.0, 500, 3)
    state, outcome = dynamics.step(place.rules, place.traits, place.state, place.day, place.action, luck, place.row)
    assert np.array_equal(outcome.opened, outcome.delivered)
    assert np.array_equal(outcome.blocked, place.state.reachable)
    assert np.array_equal(outcome.reopened, ~place.state.reachable & place.traits.opted_in)
    assert outcome.churned.all()
    calm = get(
        {
            **BUSY,
            "channels": [{**each, "block_probability": 0.0, "win_back_rate": 0.0} for each in BUSY["channels"]],
            "segments": [{**each, "organic_rate": 0.0} for each in BUSY["segments"]],
            "response": {"churn_probability": 0.0},
        }
    )
    place = village(calm, 500, seed=5, dtype=np.float32)
    for silent in (False, True):
        action = place.action * (not silent)
        state, outcome = dynamics.step(place.rules, place.traits, place.state, place.day, action, luck, place.row)
        assert not np.any(outcome.blocked | outcome.reopened | outcome.churned)
        assert np.array_equal(outcome.ordered, outcome.prompted)
        assert np.array_equal(state.reachable, place.state.reachable)


@settings(DETERMINISTIC, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=3, max_size=3), st.integers(0, 1000), st.booleans())
def test_only_a_channel_that_was_opted_in_to_is_ever_open(opt_in: list[float], seed: int, lucky: bool) -> None:
    """Winning back undoes a block; a consent that was never given is not one."""
    channels = [{**each, "opt_in": share} for each, share in zip(BUSY["channels"], opt_in, strict=True)]
    place = village(get({**BUSY, "channels": channels}), 60, seed=seed)
    luck, reopened = extreme_luck(0.0, 60, 3), np.zeros((3, 60), bool)
    for day in range(15):
        if lucky:  # whatever can reopen does
            state, outcome = dynamics.step(
                place.rules, place.traits, place.state, place.day, place.action, luck, place.row
            )
            state = state._replace(alive=place.state.alive)
        else:
            state, outcome = place.live(day)
        assert not np.any(state.reachable & ~place.traits.opted_in)
        assert not np.any(outcome.reopened & ~place.traits.opted_in)
        reopened |= outcome.reopened
        place = place._replace(state=state, day=place.day + 1)
    if lucky:
        assert np.array_equal(reopened, place.traits.opted_in)


def test_nobody_blocks_without_blocking() -> None:
    """In the ablation nothing is ever blocked, not even with the worst luck there is."""
    scenario = SCENARIOS["NoBlocking-v0"]
    place = village(scenario, 2000, seed=5, dtype=np.float32)
    luck = extreme_luck(0.0, 2000, len(scenario.channels))
    outcome = dynamics.step(place.rules, place.traits, place.state, place.day, place.action, luck, place.row)[1]
    assert outcome.delivered.any()
    assert not outcome.blocked.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_day_keeps_shapes_and_kinds_and_leaves_its_inputs_alone(dtype: type) -> None:
    place = village(get(BUSY), 40, seed=5, dtype=dtype)
    before = [values.copy() for record in (place.traits, place.state) for values in record]
    state, outcome = place.live()
    assert all(np.array_equal(a, b) for a, b in zip(before, [*place.traits, *place.state], strict=True))
    for values, expected in zip(state, place.state, strict=True):
        assert (values.shape, values.dtype) == (expected.shape, expected.dtype)
    tables, events = {"blocked", "reopened"}, {"sent", "delivered", "opened", "ordered", "prompted", "churned"}
    for field, values in outcome._asdict().items():
        assert values.shape == ((3, 40) if field in tables else (40,)), field
        assert values.dtype == (np.bool_ if field in tables | events else dtype), field


# --- a user's extreme numbers ---


def extremes(record: Record, choose: Any) -> dict[str, Any]:
    """`record` with every number at an end of its range, or as it was."""
    plain = record.model_dump()
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if isinstance(value, Record):
            plain[name] = extremes(value, choose)
        elif isinstance(value, tuple) and value and isinstance(value[0], Record):
            plain[name] = [extremes(each, choose) for each in value]
        elif isinstance(value, dict) and name != "provenance":
            low, high = (0.0, 1.0) if name == "relevance" else (-10.0, 10.0)
            plain[name] = {key: choose([low, high, number]) for key, number in value.items()}
        elif field.annotation in (int, float):
            plain[name] = choose([value, *ends(field.metadata, field.annotation is int)])
    if "top" in plain:
        plain["start"] = min(plain["start"], plain["top"])
    return plain


def ends(rules: list[Any], whole: bool) -> list[float]:
    found: list[float] = []
    for rule in rules:
        if isinstance(rule, annotated_types.Ge):
            found.append(rule.ge)  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Le):
            found.append(rule.le)  # type: ignore[arg-type]
        elif isinstance(rule, annotated_types.Gt):
            found.append(np.nextafter(rule.gt, np.inf))  # type: ignore[call-overload]
        elif isinstance(rule, annotated_types.Lt):
            found.append(np.nextafter(rule.lt, -np.inf))  # type: ignore[call-overload]
    return [int(end) if whole else float(end) for end in found]


@settings(DETERMINISTIC, max_examples=100)
@given(st.sampled_from([*NAMES, "Busy"]), st.randoms(use_true_random=False))
def test_extreme_numbers_overflow_nowhere(name: str, dice: Any) -> None:
    scenario = get(extremes(get(BUSY) if name == "Busy" else SCENARIOS[name], dice.choice))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        place = village(scenario, 50, seed=dice.randrange(1000), dtype=np.float32)
        for day in range(3):
            state, outcome = place.live(day)
            for field, values in outcome._asdict().items():
                assert np.all(np.isfinite(values)), field
            assert np.all((state.fatigue >= 0) & (state.fatigue < place.rules.fatigue_levels))
            assert np.all((state.bond >= 0) & (state.bond < place.rules.bond_levels))
            place = place._replace(state=state, day=place.day + 1)
        for field, values in dynamics.messages(place.rules, place.traits)._asdict().items():
            assert np.all(np.isfinite(values)), field
