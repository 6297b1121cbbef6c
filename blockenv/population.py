"""Who the customers are: traits drawn from a scenario's segments, the same for a (seed, customer) whoever asks.

Traits never depend on how many customers are drawn together, in which order, or by whom; nothing here knows what
happens to a customer afterwards.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import noise
from blockenv.dynamics import Rules, State, Traits
from blockenv.scenarios.schema import Scenario, Segment

Float = NDArray[np.float64]

NEVER = 1e-30  # stands for probability 0 where its logarithm is taken
_GAMMA_TRIES = 8  # one try fails in at most 5 % of cases, so all eight in fewer than one of 10^10


def draw(scenario: Scenario, seed: NDArray[np.uint64], customer: NDArray[np.int64], dtype: type = np.float32) -> Traits:
    """The traits of the given customers.

    Args:
        scenario: the world they live in.
        seed: (N,) uint64, the seed each belongs to.
        customer: (N,) int64, their numbers.
        dtype: of the real-valued traits.

    Returns:
        Traits of NumPy arrays, customers last.
    """
    source = _Source(noise.address(seed, noise.TRAITS, customer))
    spread = scenario.spread
    weights = np.array([segment.weight for segment in scenario.segments])
    segment = np.searchsorted(np.cumsum(weights / weights.sum())[:-1], source.uniform(1)[0], side="right")

    def centre(value: Callable[[Segment], float]) -> Float:
        return np.asarray(np.array([value(each) for each in scenario.segments])[segment])

    def effects(table: str, names: tuple[str, ...], missing: float, deviation: float) -> Float:
        centres = np.array([[_get(each, table).get(name, missing) for name in names] for each in scenario.segments])
        # A table with one entry has nothing to differ in: its effect is part of the base rates.
        deviation = deviation if len(names) > 1 else 0.0
        return np.asarray(centres[segment].T + deviation * source.normal(len(names)))

    def by_channel(field: str) -> Float:
        return np.array([[getattr(channel, field)] for channel in scenario.channels])

    channels = len(scenario.channels)
    styles = tuple(style.name for style in scenario.styles)
    base = np.log(np.maximum(-np.log1p(-by_channel("block_probability")), NEVER))
    frailty = spread.frailty * source.normal(1)
    block_log_rate = base + frailty + spread.channel_block * source.normal(channels)
    signal = (np.arange(len(scenario.segments))[:, None] == segment) + scenario.hint_noise * source.normal(
        len(scenario.segments)
    )
    real: dict[str, Float] = {
        "hints": np.clip(signal / math.hypot(1.0, scenario.hint_noise), -3.0, 3.0).T,
        "open_logit": by_channel("open_logit") + spread.open_logit * source.normal(channels),
        "buy_logit": by_channel("buy_logit") + spread.buy_logit * source.normal(channels),
        "block_log_rate": block_log_rate,
        # Not expm1: where a block probability of 0 stands as a tiny rate, this must be exactly 0, as luck can be 0.
        "background_block": 1.0 - np.exp(-by_channel("background_share") * np.exp(block_log_rate)),
        "slot_block": effects("slot_block", scenario.slots, 0.0, spread.effect),
        "style_block": effects("style_block", styles, 0.0, spread.effect),
        "style_buy": effects("style_buy", styles, 0.0, spread.effect),
        "relevance": np.clip(effects("relevance", scenario.products, 0.5, spread.relevance), 0.0, 1.0),
        "weekend_block": centre(lambda each: each.weekend_block) + spread.weekend * source.normal(1)[0],
        "ideal_load": centre(lambda each: each.ideal_load) * np.exp(spread.ideal_load * source.normal(1)[0]),
        "reactance": centre(lambda each: each.reactance),
        "reciprocity": centre(lambda each: each.reciprocity),
        "churn_contact": centre(lambda each: each.churn_contact) + spread.churn_contact * source.normal(1)[0],
        "resting_bond": np.clip(
            centre(lambda each: each.resting_bond) + spread.resting_bond * source.normal(1)[0], 0.0, 1.0
        ),
        "organic_rate": centre(lambda each: each.organic_rate) * source.gamma(spread.organic_shape),
        "order_log_value": math.log(scenario.commerce.order_value) + spread.order_value * source.normal(1)[0],
    }
    return Traits(
        segment=segment.astype(np.int32),
        joined=np.minimum(source.uniform(1)[0] * 364, 363).astype(np.int64),
        opted_in=source.uniform(channels) < by_channel("opt_in"),
        **{name: np.ascontiguousarray(value, dtype) for name, value in real.items()},
    )


def hint_likelihoods(scenario: Scenario, hints: NDArray[np.floating[Any]]) -> Float:
    """Likelihood (N, S) of each segment given covariates `hints` (N, S) as observed, the largest of a row being 1."""
    noise_there = max(scenario.hint_noise, 1e-3)
    signal = np.asarray(hints, np.float64) * math.hypot(1.0, scenario.hint_noise)
    apart = ((signal[:, None, :] - np.eye(len(scenario.segments))) ** 2).sum(axis=2)
    return np.asarray(np.exp(0.5 * (apart.min(axis=1, keepdims=True) - apart) / noise_there**2))


def newcomers(scenario: Scenario, traits: Traits) -> State:
    """The state of customers on their first day: everybody starts alike, reachable where opted in."""
    count = len(traits.segment)
    fatigue, bond = scenario.fatigue, scenario.bond
    return State(
        fatigue=np.full(count, round(fatigue.start / fatigue.top * (fatigue.levels - 1)), np.int32),
        bond=np.full(count, round(bond.start * (bond.levels - 1)), np.int32),
        reachable=np.array(traits.opted_in, bool),
        alive=np.ones(count, bool),
    )


def rules(scenario: Scenario, dtype: type = np.float32) -> Rules:
    """The numbers that all customers of `scenario` share, tables as NumPy arrays."""
    fatigue, bond, response = scenario.fatigue, scenario.bond, scenario.response
    parts = np.array(
        [
            (channel, slot, style, product)
            for channel in range(len(scenario.channels))
            for slot in range(len(scenario.slots))
            for style in range(len(scenario.styles))
            for product in range(len(scenario.products))
        ]
    )
    channel_of, slot_of, style_of, product_of = np.vstack([np.zeros((1, 4), np.int64), parts]).T.copy()
    sends = np.arange(scenario.actions) > 0

    def by_action(values: list[float], index: NDArray[np.int64]) -> NDArray[Any]:
        return np.where(sends, np.array(values)[index], 0.0).astype(dtype)

    win_back = np.array([[channel.win_back_rate] for channel in scenario.channels])
    return Rules(
        fatigue_decay=0.5 ** (1.0 / fatigue.half_life),
        fatigue_step=fatigue.top / (fatigue.levels - 1),
        fatigue_levels=fatigue.levels,
        bond_decay=0.5 ** (1.0 / bond.half_life),
        bond_step=1.0 / (bond.levels - 1),
        bond_levels=bond.levels,
        open_bond=response.open_bond,
        open_relevance=response.open_relevance,
        open_fatigue=response.open_fatigue,
        open_slot=response.open_slot,
        block_relevance=response.block_relevance,
        block_bond=response.block_bond,
        buy_relevance=response.buy_relevance,
        buy_bond=response.buy_bond,
        buy_fatigue=response.buy_fatigue,
        organic_bond=response.organic_bond,
        churn_log_rate=math.log(max(-math.log1p(-response.churn_probability), NEVER)),
        churn_bond=response.churn_bond,
        churn_overload=response.churn_overload,
        spill_over=-math.expm1(-response.spill_over),
        win_back_bond=response.win_back_bond,
        win_back_order=response.win_back_order,
        bond_relevant_open=bond.relevant_open,
        bond_neutral_relevance=bond.neutral_relevance,
        bond_overload=bond.overload,
        bond_order=bond.order,
        bond_block=bond.block,
        order_log_sd=scenario.commerce.order_log_sd,
        margin=scenario.commerce.margin,
        season=scenario.calendar.season,
        tolerance_drift=scenario.calendar.tolerance_drift,
        drift_days=scenario.calendar.drift_days,
        win_back=bool(win_back.any()),
        win_back_log_rate=np.log(np.maximum(-np.log1p(-win_back), NEVER)).astype(dtype),
        channels=np.arange(len(scenario.channels))[:, None],
        sends=sends,
        channel_of=channel_of,
        slot_of=slot_of,
        style_of=style_of,
        product_of=product_of,
        load_of=by_action([channel.load for channel in scenario.channels], channel_of),
        cost_of=by_action([channel.cost for channel in scenario.channels], channel_of),
        discount_of=by_action([style.discount for style in scenario.styles], style_of),
    )


class _Source:
    """Deals a customer's uniforms out one after the other; the order of the calls in `draw` is part of a version."""

    def __init__(self, key: NDArray[np.uint64]) -> None:
        self._key = key
        self._calls = 0

    def uniform(self, count: int) -> Float:
        """(count, N) in (0, 1)."""
        self._calls += 1
        return noise.uniforms(noise.branch(self._key, self._calls), count)

    def normal(self, count: int) -> Float:
        """(count, N) standard normal (Box & Muller 1958)."""
        radius, angle = np.split(self.uniform(2 * count), 2)
        return _normal(radius, angle)

    def gamma(self, shape: float) -> Float:
        """(N,) Gamma with the given shape and mean 1 (Marsaglia & Tsang 2000, with their boost for shapes below 1)."""
        boosted = shape + 1.0 if shape < 1.0 else shape
        d = boosted - 1.0 / 3.0
        radius, angle = np.split(self.uniform(2 * _GAMMA_TRIES), 2)
        uniform = self.uniform(_GAMMA_TRIES)

        def attempts(tries: slice, who: Any) -> tuple[Float, NDArray[np.bool_]]:
            """What some tries give, and whether it is accepted."""
            normal = _normal(radius[tries, who], angle[tries, who])
            cube = (1.0 + normal / math.sqrt(9.0 * d)) ** 3
            positive = np.maximum(cube, NEVER)
            log_accepted = 0.5 * normal**2 + d - d * positive + d * np.log(positive)
            return d * positive, (cube > 0.0) & (np.log(uniform[tries, who]) < log_accepted)

        value, accepted = (each[0] for each in attempts(slice(1), slice(None)))
        again = np.flatnonzero(~accepted)  # few, so that the other tries cost next to nothing
        values, accepted = attempts(slice(None), again)
        value[again] = np.take_along_axis(values, np.argmax(accepted, axis=0)[None], axis=0)[0]
        boost = self.uniform(1)[0]
        return np.asarray(value * (boost ** (1.0 / shape) if shape < 1.0 else 1.0) / shape)


def _normal(radius: Float, angle: Float) -> Float:
    """Standard normal numbers from two uniforms (Box & Muller 1958)."""
    return np.asarray(np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle))


def _get(segment: Segment, table: str) -> Mapping[str, float]:
    effects: Mapping[str, float] = getattr(segment, table)
    return effects
