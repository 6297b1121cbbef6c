"""What a caller may pass to an environment: refuses what cannot be, and says what was expected.

It draws nothing and resets nobody.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

RENDER_MODES = ["rgb_array", "human", "ansi"]
REWARDS = {"realised": "reward", "expected": "expected_reward"}  # fields of an outcome


def whole_number(name: str, number: Any, least: int) -> int:
    """`number`, if it is a whole one of at least `least`.

    Raises:
        ValueError: it is not.
    """
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise ValueError(f"{name}: {number!r}, expected a whole number of at least {least}")
    return int(number)


def reward_field(reward: str) -> str:
    """The field of an outcome that a kind of reward is in.

    Raises:
        ValueError: no such kind.
    """
    if reward not in REWARDS:
        raise ValueError(f"reward: {reward!r}, expected one of {', '.join(REWARDS)}")
    return REWARDS[reward]


def check_render_mode(mode: str | None) -> None:
    """Raise a ValueError if there is no such mode."""
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"render_mode: {mode!r}, expected one of {', '.join(RENDER_MODES)} or None")


def known_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """A mode by its name or itself.

    Raises:
        ValueError: no such mode.
    """
    try:
        return AutoresetMode(mode)
    except ValueError:
        expected = ", ".join(repr(each.value) for each in AutoresetMode)
        raise ValueError(f"autoreset_mode: {mode!r}, expected one of {expected}") from None


def reset_mask(options: Mapping[str, Any] | None, rows: int) -> NDArray[np.bool_]:
    """(N,) the rows to reset, all by default.

    Raises:
        TypeError, ValueError: a mask of wrong type or shape, or without any row.
    """
    mask = None if options is None else options.get("reset_mask")
    if mask is None:
        return np.ones(rows, bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        found = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"options['reset_mask']: {found}, expected a NumPy array of bool")
    if mask.shape != (rows,):
        raise ValueError(f"options['reset_mask']: shape {mask.shape}, expected ({rows},)")
    if not mask.any():
        raise ValueError("options['reset_mask']: all False, expected at least one row to reset")
    return mask


def row_seeds(seed: Any, rows: int, draw: Callable[[], int]) -> NDArray[np.uint64] | None:
    """(N,) seeds of a sequence, those left open by `draw`; None if `seed` is no sequence.

    Raises:
        ValueError: another number of seeds than rows, or one that cannot be.
    """
    if not isinstance(seed, Sequence | np.ndarray):
        return None
    if len(seed) != rows:
        raise ValueError(f"seed: {len(seed)} seeds for {rows} rows")
    return np.array([one_seed(each, draw) for each in seed], np.uint64)


def one_seed(seed: Any, draw: Callable[[], int]) -> int:
    """A seed as it was given, or `draw()` for None.

    Raises:
        ValueError: one that cannot be.
    """
    if seed is None:
        return draw()
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed: {seed!r}, expected a whole number in 0..2^63-1")
    return int(seed)


def first_limits(customers: NDArray[np.int64], horizon: int, stagger: bool) -> NDArray[np.int64]:
    """(N,) days after which the first episodes of rows end: the horizon, or spread over 1..horizon.

    Spread by customer number, so that a row's clock does not depend on the batch it is in; the factor is 2^32 by the
    golden ratio, so that neighbours are far apart whatever the horizon.
    """
    limits = np.full(len(customers), horizon)
    return limits - ((customers * 0x9E3779B9 % 2**32) * horizon >> 32) if stagger else limits
