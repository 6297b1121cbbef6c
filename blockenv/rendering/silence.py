"""What the same customers would have been worth had nobody ever written to them.

A reference line for pictures: it never touches the customers it is compared with.
"""

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome


class Silence:
    """The first customer of every row, beside a twin with the same traits and luck who gets no messages.

    Luck is addressed, so the two differ by what the messages did and by nothing else: by exactly zero as long as
    there is none. Only the customers whom the rows held at the start are compared, each over the days of one episode:

    - a customer who leaves earns nothing from then on, while the twin goes on to the end of the episode, even where
      a newcomer has the row by then: what a message drove away is missed;
    - when the episode is over, both sides of the row stand still, and later customers of the row do not count;
    - if a living customer is taken away before that, the comparison ends for everybody that day: going on with the
      others would compare twins of those who left, but no longer those who stayed.

    Attributes:
        value: (N,) discounted expected margin net of discounts and costs so far, money.
        silent: (N,) the same of the twins.
        segment: (N,) int.
        days: how many have been compared.
    """

    def __init__(self, cohort: Cohort, limit: NDArray[np.integer[Any]] | None = None) -> None:
        """Begin with the customers now in `cohort`; `limit` (N,) is the day of life on which each episode ends."""
        size = len(cohort)
        self.value, self.silent = np.zeros(size), np.zeros(size)
        self.segment = cohort.traits.segment.copy()
        self.days = 0
        self._first, self._born = cohort.customer.copy(), cohort.log.day.copy()
        self._limit = np.full(size, np.iinfo(np.int64).max) if limit is None else np.array(limit, np.int64)
        self._open = cohort.log.day < self._limit
        self._left = ~cohort.state.alive
        self._twin = copy.deepcopy(cohort)
        self._nothing = np.zeros(size, np.int64)

    def record(self, cohort: Cohort, outcome: Outcome) -> None:
        """Add the day that `cohort` has just lived, before anybody is replaced."""
        if not self._open.any():
            return
        evening = self._born + self.days + 1
        open_today = self._open & (evening <= self._limit)
        # A customer of the same number can also come back by a reset, but is younger then.
        same = (cohort.customer == self._first) & (cohort.log.day == evening)
        if not open_today.any() or (open_today & ~same & ~self._left).any():
            self._open[:] = False
            return
        factor = cohort.scenario.discount**self.days
        without = self._twin.step(self._nothing)
        self.value += factor * np.where(open_today & same, outcome.expected_reward, 0.0)
        self.silent += factor * np.where(open_today, without.expected_reward, 0.0)
        self._left |= same & outcome.churned
        self._open = open_today
        self.days += 1
