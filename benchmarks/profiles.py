"""How often an agent reaches a score: the performance profile over all scenarios and trainings.

It must never read a file, or draw from a generator that was not handed in.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.statistics import Estimate, check_sizes


def performance_profile(
    scores: Sequence[ArrayLike],
    thresholds: ArrayLike,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    level: float = 0.95,
) -> list[Estimate]:
    """Share of trainings that end at a score of at least each threshold, every scenario weighing the same.

    The score distribution of Agarwal et al. (2021, rliable), after the profiles of Dolan & More (2002). The band is a
    percentile interval with trainings drawn anew within each scenario: it says how much the luck of training moves the
    profile. Pointwise; with one training a scenario it has no width.

    Args:
        scores: `scores[m]` (S_m,) one score a training in scenario m.
        thresholds: (T,) scores to be reached.
        rng: draws the trainings.
        draws: resamples, at least 100.
        level: of the interval.

    Raises:
        ValueError: no scenario, one without trainings, scores or thresholds that are not finite, or too few draws.
    """
    runs = [np.asarray(each, np.float64) for each in scores]
    marks = np.asarray(thresholds, np.float64)
    if not runs or any(each.ndim != 1 or len(each) == 0 for each in runs):
        raise ValueError(
            f"scores: shapes {[each.shape for each in runs]}; expected one score a training, in a scenario"
        )
    if marks.ndim != 1 or not np.isfinite(marks).all() or not all(np.isfinite(each).all() for each in runs):
        raise ValueError("scores, thresholds: expected finite numbers, thresholds (T,)")
    check_sizes(level, draws)
    shares = np.mean([_reached(each[None], marks)[0] for each in runs], axis=0)
    drawn = [_reached(each[rng.integers(len(each), size=(draws, len(each)))], marks) for each in runs]
    resampled = np.mean(drawn, axis=0)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    errors = resampled.std(axis=0, ddof=1)
    return [Estimate(*map(float, each)) for each in zip(shares, low, high, errors, strict=True)]


def _reached(scores: NDArray[np.float64], marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, T) share of each row of scores (R, S) at or above each mark."""
    return np.asarray((scores[:, :, None] >= marks).mean(axis=1))
