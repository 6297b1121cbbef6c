"""Who comes next in each row: customers drawn ahead in large numbers, as a draw has a price of its own.

It never decides who leaves, and a row's queue depends on nothing but the row's own seed and customer number.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from blockenv import history, noise, population
from blockenv.dynamics import State, Traits
from blockenv.history import History, Ledger
from blockenv.scenarios.schema import Scenario

GENERATION = 2**32  # the customer who follows customer k in the same row is k + GENERATION
FEW_ROWS = 2**11  # up to which eight are drawn ahead for each; with more rows, four are many enough to draw together

Arrivals = tuple[Traits, State, History, NDArray[np.uint64]]  # of M customers; the last are keys of their luck
Draw = Callable[[NDArray[np.uint64], NDArray[np.int64]], Arrivals]
R = TypeVar("R", Traits, State, History)
CUSTOMERS_FIRST = {"hints", "sent", "recent", "opened", "prompted"}


def arrive(
    scenario: Scenario, ledger: Ledger, seed: NDArray[np.uint64], customer: NDArray[np.int64], dtype: type = np.float32
) -> Arrivals:
    """The customers `customer` (M,) of `seed` (M,) on their first morning."""
    traits = population.draw(scenario, seed, customer, dtype)
    state, log = population.newcomers(scenario, traits), history.begin(ledger, traits.opted_in, dtype)
    return traits, state, log, noise.address(seed, noise.LUCK, customer)


class Queues:
    """The next customers of N rows.

    Attributes:
        waiting: the customers drawn ahead, four or eight for each row; `next_of` tells where.
    """

    waiting: Arrivals

    def __init__(self, draw: Draw, seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> None:
        """Draw the followers of `customer` (N,), who belong to `seed` (N,)."""
        self._draw = draw
        self._seed, self._first = seed.copy(), customer.copy()
        self._ahead = 8 if len(customer) <= FEW_ROWS else 4
        self._taken: NDArray[np.int64] = np.zeros(len(customer), np.int64)  # of each row since the beginning
        self._drawn: NDArray[np.int64] = np.full(len(customer), self._ahead)
        rows = np.tile(np.arange(len(customer)), self._ahead)
        self.waiting = self._followers(rows, np.repeat(np.arange(self._ahead), len(customer)))

    def next_of(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """The places in `waiting` of the next customers of `rows` (M,), who are then taken."""
        if (self._taken[rows] == self._drawn[rows]).any():
            self._refill()
        places = rows + len(self._first) * (self._taken[rows] % self._ahead)
        self._taken[rows] += 1
        return places

    def _refill(self) -> None:
        """Draw as many as have been taken, whichever row they were taken from."""
        short = self._ahead - (self._drawn - self._taken)
        rows = np.repeat(np.arange(len(short)), short)
        number = self._drawn[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(short) - short, short)
        places = rows + len(short) * (number % self._ahead)
        place(self.waiting, self._followers(rows, number), places, np.arange(len(rows)))
        self._drawn += short

    def _followers(self, rows: NDArray[np.intp], number: NDArray[np.int64]) -> Arrivals:
        return self._draw(self._seed[rows], self._first[rows] + GENERATION * (number + 1))


def place(rows: Arrivals, arrivals: Arrivals, to: NDArray[np.intp], source: NDArray[np.intp]) -> None:
    """Write the customers `source` of `arrivals` into `rows` at `to`, in place."""
    records: tuple[tuple[Any, Any], ...] = tuple(zip(rows[:3], arrivals[:3], strict=True))
    for old, new in records:
        for name in old._fields:
            values, fresh = getattr(old, name), getattr(new, name)
            if name in CUSTOMERS_FIRST:
                values[to] = fresh[source]
            else:
                values[..., to] = fresh[..., source]
    rows[3][to] = arrivals[3][source]


def pick(record: R, index: Any) -> R:
    """The customers `index` (M,) of a record of arrays or tensors, as copies."""
    return record._replace(
        **{
            name: values[index] if name in CUSTOMERS_FIRST else values[..., index]
            for name, values in zip(record._fields, record, strict=True)
        }
    )


def contiguous(record: R) -> R:
    """The same record with its arrays laid out in one piece each."""
    return record._replace(
        **{name: np.ascontiguousarray(values) for name, values in zip(record._fields, record, strict=True)}
    )
