"""Take apart what vector environments return, row by row, and find the first thing in which two of them differ.

Never judges: what a difference means is for the checks to say.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

Entries = dict[str, Any]


class Step(NamedTuple):
    """What one step returned, by row, as copies."""

    ends: list[Any]  # the observation each row's action led to: final_obs where it finished in SAME_STEP mode
    observations: list[Any]
    reward: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    info: list[Entries]

    def life(self, row: int) -> Entries:
        """What the row's action led to, whatever comes next in the row."""
        return {
            "observation": self.ends[row],
            "reward": self.reward[row],
            "terminated": self.terminated[row],
            "truncated": self.truncated[row],
        }

    def everything(self, row: int) -> Entries:
        """All that was returned of the row."""
        return {**self.life(row), "next observation": self.observations[row], "info": self.info[row]}

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,) bool, rows whose episode ended."""
        return self.terminated | self.truncated


def step_of(env: VectorEnv[Any, Any, Any], mode: AutoresetMode, returned: Any) -> Step:
    """The five things that `env.step` returned, by row."""
    observations, reward, terminated, truncated, info = copied(returned)
    rows = list(iterate(env.observation_space, observations))
    ends = list(rows)
    if mode is AutoresetMode.SAME_STEP:
        for row in indices(terminated | truncated):
            ends[row] = entry(info["final_obs"], row)
    return Step(ends, rows, reward, terminated, truncated, info_rows(info, env.num_envs))


def info_rows(info: Entries, num_envs: int) -> list[Entries]:
    """What info says of each row, by its masks."""
    rows: list[Entries] = [{} for _ in range(num_envs)]
    for key, value in info.items():
        if key.startswith("_"):
            continue
        nested = info_rows(value, num_envs) if isinstance(value, dict) and key != "final_obs" else None
        for row in indices(info.get(f"_{key}", ())):
            rows[row][key] = entry(value, row) if nested is None else nested[row]
    return rows


def indices(rows: Any) -> list[int]:
    """The numbers of the rows that are True in a mask (N,) bool."""
    return [int(row) for row in np.flatnonzero(rows)]


def entry(value: Any, row: int) -> Any:
    """The part of one row, of an array or of a dictionary of arrays."""
    return {key: entry(each, row) for key, each in value.items()} if isinstance(value, dict) else value[row]


def numeric(entries: Entries) -> Entries:
    """The entries that are numbers or truth values, or arrays of them."""
    kept = {key: numeric(value) if isinstance(value, dict) else value for key, value in entries.items()}
    return {
        key: value for key, value in kept.items() if isinstance(value, dict) or np.asarray(value).dtype.kind in "biufc"
    }


def copied(value: Any) -> Any:
    """A copy that shares no array with `value`."""
    if isinstance(value, np.ndarray):
        copy = value.copy()
        if value.dtype == object:
            for row, each in enumerate(value):
                copy[row] = copied(each)
        return copy
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return type(value)(copied(each) for each in value) if type(value) in (tuple, list) else value


def difference(first: Entries, second: Entries, close: bool = False) -> str | None:
    """The path of the first entry that differs or is missing on one side; None if there is none.

    Numbers must be equal, or with `close` equal up to the rounding of float32.
    """
    for key in [*first, *(key for key in second if key not in first)]:
        if key not in first or key not in second:
            return key
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            inner = difference(first[key], second[key], close)
            if inner is not None:
                return f"{key}/{inner}"
        elif not equal(first[key], second[key], close):
            return key
    return None


def at(entries: Entries, path: str) -> Any:
    """The entry at a path of `difference`."""
    value: Any = entries
    for key in path.split("/"):
        value = value.get(key, "absent")
    return value


def equal(first: Any, second: Any, close: bool = False) -> bool:
    """Whether two trees of arrays are equal; see `difference`."""
    if isinstance(first, dict) and isinstance(second, dict):
        return difference(first, second, close) is None
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(equal(one, other, close) for one, other in pairs)
    one, other = np.asarray(first), np.asarray(second)
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fc" or other.dtype.kind not in "fc":
        return bool(np.all(one == other))
    if close:
        return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool(np.array_equal(one, other, equal_nan=True))


def arrays(value: Any, name: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Every array in `value`, with its path."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, dict | tuple | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from arrays(each, f"{name}/{key}".removeprefix("/"))


def leaves(space: gym.Space[Any], value: Any, name: str) -> Iterator[tuple[str, gym.Space[Any], Any]]:
    """The parts of an observation whose space has a dtype and a shape."""
    if isinstance(space, gym.spaces.Dict):
        for key, each in space.spaces.items():
            yield from leaves(each, value[key], f"{name}[{key!r}]")
    elif isinstance(space, gym.spaces.Tuple):
        for index, each in enumerate(space.spaces):
            yield from leaves(each, value[index], f"{name}[{index}]")
    elif isinstance(space, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        yield name, space, value


def kind(value: Any) -> str:
    """What a value is, in a few words."""
    return f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
