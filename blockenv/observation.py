"""What the sender may see: the firm's own log as named, bounded numbers, and which messages are still legal.

Never the hidden state or the traits, unless the scenario says `observe="full"` for the sake of analysis.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.dynamics import Array, Rules, State, Traits, array_namespace
from blockenv.history import LONG, RECENT, History, part_names
from blockenv.population import NEVER
from blockenv.scenarios.schema import Scenario

TENURE_DAYS = 364  # tenure saturates after a year, so that longer evaluations show nothing unseen in training
_BELOW_ONE = 1.0 - 1e-6  # a window filled to its limit must not round above the bound
_PRIOR_OPENS, _PRIOR_SENDS = 0.4, 2.0


class View(NamedTuple):
    """The tables an observation is made with."""

    dates: Array  # (364, 5) weekend, weekday and season as points on circles
    reference_value: float  # money, a typical order
    channels: NDArray[np.floating[Any]]  # (3, C, 1) open logit, buy logit and log rate of blocking of each channel


class Feature(NamedTuple):
    """One named group of columns of the observation."""

    width: Callable[[Scenario], int]
    low: float
    high: float
    meaning: str


def _channels(scenario: Scenario) -> int:
    return len(scenario.channels)


def _parts(scenario: Scenario) -> int:
    return len(part_names(scenario))


def _one(scenario: Scenario) -> int:
    return 1


FEATURES: dict[str, Feature] = {
    "reachable": Feature(_channels, 0, 1, "1 for a channel not known to be blocked"),
    "sent": Feature(_parts, 0, 1, "root of the share of days with a message of this channel, slot, style, product"),
    "recent": Feature(_channels, 0, 1, "share of recent days with a message on the channel"),
    "open_rate": Feature(_parts, 0, 1, "opens by messages, shrunk towards one in five"),
    "prompted": Feature(_parts, 0, 1, "root of the orders through messages, saturating at four"),
    "recency": Feature(lambda scenario: 3, 0, 1, "1 / (1 + days / scale) since the last send, open and order"),
    "orders": Feature(_one, 0, 1, "root of the orders in the long window, saturating at twenty"),
    "order_value": Feature(_one, 0, 1, "mean order value v as v / (v + typical order), 1/2 without orders"),
    "tenure": Feature(_one, 0, 1, "days since joining, up to a year"),
    "date": Feature(lambda scenario: 5, -1, 1, "weekend; weekday and season as sine and cosine"),
    "hints": Feature(
        lambda scenario: len(scenario.segments), -3, 3, "covariates that hint at the segment, standardised"
    ),
}

HIDDEN: dict[str, Feature] = {
    "true_fatigue": Feature(_one, 0, 1, "fatigue by the top of its ladder"),
    "true_bond": Feature(_one, 0, 1, "bond"),
    "true_reachable": Feature(_channels, 0, 1, "1 for an open channel"),
    "true_segment": Feature(lambda scenario: len(scenario.segments), 0, 1, "1 for the customer's segment"),
    "true_worth": Feature(
        lambda scenario: 2, -5, 5, "log of the organic orders a year, log of the median order against the typical one"
    ),
    "true_temper": Feature(
        lambda scenario: 4,
        -5,
        5,
        "ideal load / 4, effects of contact on churn and of weekends on blocking, resting bond",
    ),
    "true_open_logit": Feature(_channels, -5, 5, "logit of opening, against the channel's"),
    "true_buy_logit": Feature(_channels, -5, 5, "logit of buying after an open, against the channel's"),
    "true_block_log_rate": Feature(_channels, -5, 5, "log rate of blocking, against the channel's"),
    "true_slot_block": Feature(lambda scenario: len(scenario.slots), -5, 5, "effects of slots on blocking"),
    "true_style_block": Feature(lambda scenario: len(scenario.styles), -5, 5, "effects of styles on blocking"),
    "true_style_buy": Feature(lambda scenario: len(scenario.styles), -5, 5, "effects of styles on buying"),
    "true_relevance": Feature(lambda scenario: len(scenario.products), 0, 1, "relevance of the products"),
}


def layout(scenario: Scenario) -> dict[str, slice]:
    """Columns of each feature in the flat observation, in order."""
    columns, start = {}, 0
    for name, feature in _features(scenario).items():
        columns[name] = slice(start, start + feature.width(scenario))
        start = columns[name].stop
    return columns


def bounds(scenario: Scenario) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest value of every column, (D,) float32 each."""
    features = _features(scenario).values()
    low = np.concatenate([np.full(each.width(scenario), each.low, np.float32) for each in features])
    high = np.concatenate([np.full(each.width(scenario), each.high, np.float32) for each in features])
    return low, high


def _features(scenario: Scenario) -> dict[str, Feature]:
    return FEATURES | HIDDEN if scenario.observe == "full" else FEATURES


def view(scenario: Scenario, dtype: type = np.float32) -> View:
    """The tables for observing customers of `scenario`, as NumPy arrays."""
    date = np.arange(364)
    week, year = 2 * math.pi * date / 7, 2 * math.pi * date / 364
    dates = np.stack([date % 7 >= 5, np.sin(week), np.cos(week), np.sin(year), np.cos(year)], axis=1)
    channels = [
        (each.open_logit, each.buy_logit, math.log(max(-math.log1p(-each.block_probability), NEVER)))
        for each in scenario.channels
    ]
    return View(
        dates=dates.astype(dtype),
        reference_value=scenario.commerce.order_value,
        channels=np.array(channels, dtype).T[:, :, None],
    )


def observe(tables: View, log: History, traits: Traits) -> Array:
    """The flat observation (N, D) of customers with this log; of the traits only `joined` and `hints` are read."""
    xp = array_namespace(log.sent)
    kind = log.sent.dtype
    long_top, recent_top = 1.0 / (1.0 - 0.5 ** (1.0 / LONG)), 1.0 / (1.0 - 0.5 ** (1.0 / RECENT))
    value = log.lifetime_spend + tables.reference_value * xp.astype(log.lifetime_orders == 0.0, kind)
    typical = tables.reference_value * xp.maximum(log.lifetime_orders, 1.0)
    tenure = xp.astype(log.day, kind) / TENURE_DAYS
    single = xp.stack(
        [
            1.0 / (1.0 + log.since_send / 7.0),
            1.0 / (1.0 + log.since_open / 14.0),
            1.0 / (1.0 + log.since_order / 30.0),
            _at_most_one(xp, xp.sqrt(log.orders / 20.0)),
            value / (value + typical),
            _at_most_one(xp, tenure),
        ],
        axis=1,
    )
    return xp.concat(
        [
            xp.astype(log.known_reachable.T, kind),
            xp.sqrt(log.sent * (_BELOW_ONE / long_top)),
            log.recent * (_BELOW_ONE / recent_top),
            (log.opened + _PRIOR_OPENS) / (log.sent + _PRIOR_SENDS),
            _at_most_one(xp, xp.sqrt(log.prompted) * 0.5),
            single,
            xp.take(tables.dates, (log.day + traits.joined) % 364, axis=0),
            traits.hints,
        ],
        axis=1,
    )


def observe_hidden(rules: Rules, tables: View, state: State, traits: Traits, segments: Array) -> Array:
    """The columns of `HIDDEN` (N, D'), for scenarios with `observe="full"`; `segments` is (S, 1) int, 0..S-1."""
    xp = array_namespace(traits.ideal_load)
    kind = traits.ideal_load.dtype

    def column(value: Array) -> Array:
        return xp.expand_dims(xp.astype(value, kind), axis=1)

    def bounded(value: Array) -> Array:
        return column(xp.minimum(xp.maximum(value, -5.0), 5.0))

    def by_row(table: Array) -> Array:
        return xp.minimum(xp.maximum(table.T, -5.0), 5.0)

    return xp.concat(
        [
            column(state.fatigue) / (rules.fatigue_levels - 1),
            column(state.bond) * rules.bond_step,
            xp.astype(state.reachable.T, kind),
            xp.astype((segments == traits.segment).T, kind),
            bounded(xp.log(traits.organic_rate * TENURE_DAYS + 1e-6)),
            bounded(traits.order_log_value - math.log(tables.reference_value)),
            bounded(traits.ideal_load * 0.25),
            bounded(traits.churn_contact),
            bounded(traits.weekend_block),
            bounded(traits.resting_bond),
            by_row(traits.open_logit - tables.channels[0, ...]),
            by_row(traits.buy_logit - tables.channels[1, ...]),
            by_row(traits.block_log_rate - tables.channels[2, ...]),
            by_row(traits.slot_block),
            by_row(traits.style_block),
            by_row(traits.style_buy),
            by_row(traits.relevance),
        ],
        axis=1,
    )


def observe_all(
    rules: Rules, tables: View, log: History, state: State, traits: Traits, segments: Array, full: bool
) -> Array:
    """What a scenario shows, (N, D or D + D'): the log, and the hidden columns as well if it is `full`."""
    seen = observe(tables, log, traits)
    if not full:
        return seen
    hidden = observe_hidden(rules, tables, state, traits, segments)
    return array_namespace(log.sent).concat([seen, hidden], axis=1)


def legal_actions(rules: Rules, known_reachable: Array) -> Array:
    """(N, A) bool: silence, and every message on a channel not known to be blocked."""
    xp = array_namespace(known_reachable)
    on_channel = xp.take(known_reachable.T, rules.channel_of, axis=1)
    return on_channel | ~rules.sends


def _at_most_one(xp: Any, value: Array) -> Array:
    return xp.minimum(value, 1.0)
