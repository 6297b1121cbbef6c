"""What a row of the leaderboard keeps of a play beside its customers' values: means, courses over time, and by segment.

Only sums up; a figure that can be had from the customers' values is not kept twice, but for the mean.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import Scenario
from blockenv.rollout import Result

PERIOD = 28  # days between two points of a course
_DIGITS = 5  # that are significant in a course


def summary(result: Result, world: Scenario) -> dict[str, Any]:
    """The measures of a leaderboard row that can be read without the customers' values."""
    days, messages = float(result.days.sum()), float(result.messages.sum())
    channels = [channel.name for channel in world.channels]
    return {
        "value": float(result.value.mean()),
        "realised": float(result.realised.mean()),
        "messages_a_week": 7.0 * messages / days,
        "blocks_per_1000_messages": 1e3 * float(result.blocks.sum()) / messages if messages else None,
        "blocks": float(result.blocks.mean()),
        "reach_after_year": dict(zip(channels, _reach(result), strict=True)),
        "alive_at_end": float(result.daily_alive[-1]),
        "cost": float(result.cost.mean()),
        "relevant_contacts": float(result.relevant.mean()),
        "overloaded_contacts": float(result.overloaded.mean()),
        "courses": courses(result, world.discount, channels),
        "segments": by_segment(result, [segment.name for segment in world.segments]),
    }


def courses(result: Result, discount: float, channels: list[str]) -> dict[str, Any]:
    """Points every four weeks and at the end, each about the whole population, the departed included.

    `day` is how many days have passed. `value` (discounted money), `messages` and `blocks` are sums a customer up to
    there; `alive` and `reach`, by channel, are shares in the morning of that day, or of the last.
    """
    days = len(result.daily_value)
    day = np.unique([*range(0, days, PERIOD), days])
    morning = np.minimum(day, days - 1)
    factors = discount ** np.arange(days)
    return {
        "day": day.tolist(),
        "value": _short(_sums(factors * result.daily_value, day)),
        "messages": _short(_sums(result.daily_messages, day)),
        "blocks": _short(_sums(result.daily_blocks, day)),
        "alive": _short(result.daily_alive[morning]),
        "reach": {name: _short(result.daily_reach[morning, place]) for place, name in enumerate(channels)},
    }


def by_segment(result: Result, names: list[str]) -> dict[str, dict[str, float]]:
    """Means a customer of each segment that somebody is in, and the share of opted-in channels open after a year."""
    found = {}
    for number, name in enumerate(names):
        own = result.segment == number
        if own.any():
            found[name] = {
                "customers": int(own.sum()),
                "value": float(result.value[own].mean()),
                "messages": float(result.messages[own].mean()),
                "blocks": float(result.blocks[own].mean()),
                "relevant": float(result.relevant[own].mean()),
                "overloaded": float(result.overloaded[own].mean()),
                "reach": float(result.reach_after_year[:, own].sum() / max(result.opted_in[:, own].sum(), 1)),
            }
    return found


def _reach(result: Result) -> list[float]:
    """By channel, those open after a year as a share of those opted in to."""
    shares: list[float] = (result.reach_after_year.sum(axis=1) / np.maximum(result.opted_in.sum(axis=1), 1)).tolist()
    return shares


def _sums(daily: NDArray[np.float64], day: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sum of what came before each of the days."""
    return np.asarray(np.concatenate([[0.0], daily.cumsum()])[day])


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
