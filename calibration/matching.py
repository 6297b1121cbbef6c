"""Find the numbers with which a simulated shop counts what a real one counted.

Generic: this file must never know a scenario or a source.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

Floats = NDArray[np.float64]


def match(
    residuals: Callable[[Floats], Floats],
    start: Sequence[float],
    steps: Sequence[float],
    lowest: Sequence[float],
    highest: Sequence[float],
    rounds: int,
) -> Floats:
    """The numbers (P,) whose residuals (R,), R >= P, have the least sum of squares.

    Gauss-Newton; the slopes are differences over `steps` at the start and follow by secants after that (Broyden
    1965), so it calls `residuals` 1 + P + `rounds` times. Deterministic where `residuals` is, as it must be:
    simulate with the same luck every time. No step goes beyond four of `steps`, nor leaves [lowest, highest].
    """
    here, step = np.array(start, np.float64), np.array(steps, np.float64)
    least, most = np.array(lowest, np.float64), np.array(highest, np.float64)
    miss = residuals(here)
    slopes = np.empty((miss.size, here.size))
    for column, size in enumerate(step):
        # Towards the inside, so that no slope is taken beyond a limit.
        signed = size if here[column] + size <= most[column] else -size
        moved = here.copy()
        moved[column] += signed
        slopes[:, column] = (residuals(moved) - miss) / signed
    best, best_miss = here, miss
    for _ in range(rounds):
        # In steps; what lies at a limit already may still move inwards, so the box is never empty.
        room = np.maximum((least - here) / step, -4.0) - 1e-9, np.minimum((most - here) / step, 4.0) + 1e-9
        move = np.clip(here + lsq_linear(slopes * step, -miss, bounds=room).x * step, least, most) - here
        if not np.any(np.abs(move) > 1e-6 * step):
            break
        there = here + move
        after = residuals(there)
        scaled = move / step
        slopes += np.outer(after - miss - slopes @ move, scaled / step) / float(scaled @ scaled)
        here, miss = there, after
        if miss @ miss < best_miss @ best_miss:
            best, best_miss = here, miss
    return best
