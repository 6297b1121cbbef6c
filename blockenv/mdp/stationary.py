"""The best a sender could do for ever: the optimum without an end, whose choices depend on the weekday only.

The week is treated exactly, as a cycle of seven days. Where a scenario has a season the year's mean demand stands for
it, and where tolerance drifts the state after the drift; so on such days the plan is not the optimum. What it loses over
a horizon is `policy_value` of its tables against `optimal_value`.
"""

import itertools
from typing import Any

import array_api_compat
import numpy as np

from blockenv import dynamics
from blockenv.dynamics import Array
from blockenv.mdp.batches import Batch
from blockenv.mdp.optimum import Best

_WEEK = 7
_MEMORY = 6  # weeks that are mixed


class Stationary:
    """The stationary optimum of a batch.

    Value iteration over weeks, mixed by Anderson's method (Walker & Ni 2011): the next guess is the combination of the
    last weeks whose change over a week would be smallest. It takes tens of weeks where plain iteration takes a
    thousand; the answer does not rest on it, as it is judged by its own change over one more week.

    Attributes:
        week: the value (N, F, B, M) on each morning of the week that starts on a customer's day 0, or one for all.
        bound: largest error of `week` anywhere, relative to the largest value: from the change over the last week and
            the discount of a week, churn included.
        weeks: how many were computed.
    """

    def __init__(self, batch: Batch, tolerance: float = 1e-6, most_weeks: int = 2000) -> None:
        """Solve until `bound` is at most `tolerance`, for which float32 is too coarse below about 1e-4.

        Raises:
            ValueError: with neither discount nor churn there is no such optimum, or it was not reached.
        """
        rules = batch.rules._replace(season=0.0)
        drift = rules.drift_days if rules.tolerance_drift != 0.0 else 0
        self._start = -(-drift // _WEEK) * _WEEK
        self.best = Best(batch._replace(rules=rules))
        decay = _decay(batch) ** _WEEK
        if decay >= 1.0:
            raise ValueError("discount: 1 and nobody ever leaves, expected a discount below 1 or some churn")
        self._weekly = bool(batch.traits.weekend_block.any())
        guess, mixing = batch.asarray(np.zeros(batch.shape, batch.traits.ideal_load.dtype)), _Mixing(batch)
        self.bound, self.weeks = np.inf, 0
        while self.bound > tolerance:
            if self.weeks == most_weeks:
                raise ValueError(f"tolerance: {tolerance} not reached in {most_weeks} weeks, only {self.bound:.1e}")
            week = self._before(guess)
            self.weeks += 1
            self.bound, guess = mixing.improved(guess, week[0], decay)
        self.week: list[Array] = week if self._weekly else week[:1]

    def calendar(self, day: int) -> int:
        """A day of the same weekday after all drift."""
        return self._start + day % _WEEK

    def later(self, day: int) -> Array:
        """Value (N, F, B, M) of the states on the morning after `day`."""
        return self.week[(day + 1) % len(self.week)]

    def _before(self, end: Array) -> list[Array]:
        """The values on the mornings of a week from those on the morning after it."""
        mornings = [end]
        for day in range(_WEEK - 1, -1, -1):
            mornings.append(self.best.value(self._start + day, mornings[-1]))
        return mornings[:0:-1]


class _Mixing:
    """Anderson's method for each customer of a batch by itself."""

    def __init__(self, batch: Batch) -> None:
        self._guesses: list[Array] = []
        self._changes: list[Array] = []

    def improved(self, guess: Array, result: Array, decay: float) -> tuple[float, Array]:
        """The error bound of `result`, which a week made of `guess`, and the next guess."""
        xp = dynamics.array_namespace(guess)
        change = result - guess
        largest = xp.max(xp.abs(result), axis=(1, 2, 3))
        error = xp.max(xp.abs(change), axis=(1, 2, 3)) * (decay / (1.0 - decay))
        bound = float(xp.max(error / xp.where(largest > 0.0, largest, 1.0)))
        self._guesses, self._changes = [*self._guesses, guess][-_MEMORY:], [*self._changes, change][-_MEMORY:]
        if len(self._changes) == 1:
            return bound, result
        flat = [xp.reshape(each, (each.shape[0], -1)) for each in self._changes]
        steps = xp.stack([later - before for before, later in itertools.pairwise(flat)], axis=2)
        moves = [xp.reshape(later - before, flat[0].shape) for before, later in itertools.pairwise(self._guesses)]
        share = _least_squares(xp, steps, flat[-1])
        correction = xp.matmul(steps + xp.stack(moves, axis=2), share)
        return bound, result - xp.reshape(correction, result.shape)


def _least_squares(xp: Any, columns: Array, target: Array) -> Array:
    """(N, m, 1) that brings columns (N, S, m) closest to the target (N, S); columns that say nothing new get none."""
    size = xp.sqrt(xp.sum(columns * columns, axis=1, keepdims=True))
    unit = columns / xp.where(size > 0.0, size, 1.0)
    products = xp.matmul(xp.matrix_transpose(unit), unit)
    count, ridge = columns.shape[2], 100.0 * float(xp.finfo(columns.dtype).eps)
    there = xp.expand_dims(target, axis=2)
    identity = xp.reshape(
        xp.eye(count, dtype=columns.dtype, device=array_api_compat.device(columns)), (1, count, count)
    )
    share = xp.linalg.solve(products + ridge * identity, xp.matmul(xp.matrix_transpose(unit), there))
    return share / xp.reshape(xp.where(size > 0.0, size, 1.0), (-1, count, 1))


def _decay(batch: Batch) -> float:
    """Largest discount of a day, that of a customer who is least likely to leave included."""
    rules, traits = batch.rules, batch.traits
    bond = dynamics.bond_of(rules, traits, np.arange(rules.bond_levels)).reshape(-1, 1)
    leaving = [dynamics.churn_probability(rules, traits, bond, contact, 0.0).min() for contact in (0.0, 1.0)]
    return float(batch.discount * (1.0 - min(leaving)))
