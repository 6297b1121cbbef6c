"""Do agents keep their order in another world: Kendall's rank correlation, with customers and trainings drawn anew.

It must never read a file, or draw from a generator that was not handed in.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.resampling import percentiles, resampled_means
from benchmarks.statistics import ROUNDING, Estimate, as_tables, check_sizes

Floats = NDArray[np.float64]


def rank_agreement(
    here: Sequence[ArrayLike],
    there: Sequence[ArrayLike],
    rng: np.random.Generator,
    *,
    draws: int = 1000,
    level: float = 0.95,
) -> Estimate:
    """Kendall's tau-b between the orders of the agents' mean values in two worlds: 1 is the same order, -1 the reverse.

    `here[k]` (S_k, N) and `there[k]` (T_k, N) are agent k on the same customers. Ties in means, as of agents that act
    alike, are corrected for (Kendall 1945). The interval is a percentile one: customers are drawn jointly for all
    agents and both worlds, trainings within each agent, the same for both worlds where their numbers are equal.

    Raises:
        ValueError: fewer than two agents, another number of them in the two worlds, tables as in `statistics` or of
            different customers, or too few draws.
    """
    check_sizes(level, draws)
    if len(here) != len(there) or len(here) < 2:
        raise ValueError(f"here, there: {len(here)} and {len(there)} agents; expected the same number, at least two")
    names = [f"here[{k}]" for k in range(len(here))] + [f"there[{k}]" for k in range(len(there))]
    tables = as_tables([*here, *there], names)
    rounding = ROUNDING * max(float(np.abs(table).max()) for table in tables)
    count = len(here)
    starts = np.cumsum([0, *(len(table) for table in tables)])
    rows = resampled_means(np.concatenate(tables), rng, draws)
    drawn = np.empty((draws, 2 * count))
    for k in range(count):
        one, other = tables[k], tables[count + k]
        picks = rng.integers(len(one), size=(draws, len(one)))
        again = picks if len(other) == len(one) else rng.integers(len(other), size=(draws, len(other)))
        drawn[:, k] = np.take_along_axis(rows[:, starts[k] :], picks, axis=1).mean(axis=1)
        drawn[:, count + k] = np.take_along_axis(rows[:, starts[count + k] :], again, axis=1).mean(axis=1)
    means = np.array([[table.mean() for table in tables]])
    point = _tau(means[:, :count], means[:, count:], rounding)[0]
    return percentiles(point, _tau(drawn[:, :count], drawn[:, count:], rounding), level)


def _tau(a: Floats, b: Floats, rounding: float) -> Floats:
    """(D,) tau-b of each row of a and b (D, K); 0 where all of one side tie."""
    upper = np.triu_indices(a.shape[1], 1)

    def signs(values: Floats) -> Floats:
        lead = values[:, upper[0]] - values[:, upper[1]]
        return np.where(np.abs(lead) <= rounding, 0.0, np.sign(lead))

    one, other = signs(a), signs(b)
    scale = np.sqrt(np.abs(one).sum(axis=1) * np.abs(other).sum(axis=1))
    return np.asarray((one * other).sum(axis=1) / np.maximum(scale, 1e-300))
