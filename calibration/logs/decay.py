"""Exponentially weighted sums over events at uneven times, for many customers at once.

Each sum is built from factors of at most 1, so that neither a short half-life nor a long log can overflow; what has
worn off underflows to nothing. This file must never know what the events are.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def decayed_sums(weights: Floats, days: Floats, first: Places, half_life: float) -> Floats:
    """For every event the weights of the customer's events so far, itself included, each worn off since it happened.

    A scan by doubling (Hillis & Steele 1986): pass k adds what lies 2^k to 2^(k+1) - 1 events back, so that a
    customer of a thousand events takes ten passes.

    Args:
        weights: (K, N) of K kinds of sums.
        days: (N,) times in days, not decreasing within a customer.
        first: (N,) the place of the customer's first event; customers stand together.
        half_life: days, above 0.

    Returns:
        (K, N) sums.
    """
    place = np.arange(len(days))
    behind = place - first
    sums = np.array(weights, np.float64)
    step, longest = 1, int(behind.max(initial=0))
    while step <= longest:
        rows = np.flatnonzero(behind >= step)
        sums[:, rows] += sums[:, rows - step] * np.exp2((days[rows - step] - days[rows]) / half_life)
        step *= 2
    return sums


def before(sums: Floats, days: Floats, first: Places, half_life: float) -> Floats:
    """(K, N) what of `decayed_sums` is left just before each event, the event itself not counted."""
    rows = np.flatnonzero(np.arange(len(days)) > first)
    left = np.zeros_like(sums)
    left[:, rows] = sums[:, rows - 1] * np.exp2((days[rows - 1] - days[rows]) / half_life)
    return left


def since(happened: NDArray[np.bool_], days: Floats, first: Places) -> Floats:
    """(N,) days from the customer's last event with `happened`, before this one; NaN where there was none."""
    place = np.arange(len(days))
    last = np.maximum.accumulate(np.where(happened, place, -1))
    last = np.concatenate([[-1], last[:-1]]) if len(days) else last
    return np.where(last >= first, days - days[last], np.nan)


def counts_before(weights: Floats, first: Places) -> Floats:
    """(N,) plain sum of the customer's weights before each event."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    return np.asarray(total[:-1] - total[first])
