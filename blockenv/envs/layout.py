"""Observations as Gymnasium has them: one flat array, or a dictionary of named features.

Both hold the same numbers; nothing is added or left out here.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from blockenv import observation
from blockenv.scenarios import Scenario

Observation = Any  # (N, D) float32, or a dict of (N, width) float32


def space(scenario: Scenario, dict_obs: bool) -> gym.Space[Any]:
    """The space of what is seen of one customer."""
    low, high = observation.bounds(scenario)
    if not dict_obs:
        return gym.spaces.Box(low, high, dtype=np.float32)
    columns = observation.layout(scenario)
    return gym.spaces.Dict(
        {name: gym.spaces.Box(low[each], high[each], dtype=np.float32) for name, each in columns.items()}
    )


def named(flat: NDArray[Any], columns: dict[str, slice]) -> dict[str, NDArray[Any]]:
    """A flat observation (N, D) as a dictionary of its features."""
    return {name: flat[:, each].copy() for name, each in columns.items()}


def only(seen: Observation, rows: NDArray[np.bool_]) -> Observation:
    """The observations of `rows`, zero elsewhere; zeroed memory costs nothing where it is not written."""
    if isinstance(seen, dict):
        return {name: only(values, rows) for name, values in seen.items()}
    kept = np.zeros_like(seen)
    kept[rows] = seen[rows]
    return kept


def overwrite(seen: Observation, rows: NDArray[np.bool_], fresh: Observation) -> None:
    """Put the observations `fresh` of `rows` into `seen`, in place."""
    if isinstance(seen, dict):
        for name, values in seen.items():
            values[rows] = fresh[name]
    else:
        seen[rows] = fresh


def row_of(seen: Observation) -> Observation:
    """The first row, without the axis of rows."""
    return {name: values[0].copy() for name, values in seen.items()} if isinstance(seen, dict) else seen[0].copy()
