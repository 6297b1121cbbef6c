"""Customers who can be reckoned together, because they opted in to equally many channels and share their weekends.

A customer's own channels are its places 0..k-1, so that it has 2^k masks of open channels instead of 2^C: bit j of a
mask says that place j is open. Everything here is bookkeeping in NumPy; nothing knows a probability.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from blockenv import population
from blockenv.dynamics import Array, Rules, State, Traits
from blockenv.scenarios.schema import Scenario

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
AsArray = Callable[[NDArray[Any]], Array]


class Batch(NamedTuple):
    """N customers with k channels of their own each, to be reckoned at one go."""

    rules: Rules  # tables in NumPy
    traits: Traits  # in NumPy, customers last
    discount: float  # a day
    members: NDArray[np.intp]  # (N,) where these customers stand among all
    channels: NDArray[np.int64]  # (N, k) the scenario's number of each place
    asarray: AsArray  # to the library, device and nothing else; the precision is that of the traits

    @property
    def size(self) -> int:
        """Customers."""
        return len(self.members)

    @property
    def places(self) -> int:
        """Channels that each customer opted in to."""
        return int(self.channels.shape[1])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a table over states: customers, fatigue levels, bond levels, masks."""
        return self.size, self.rules.fatigue_levels, self.rules.bond_levels, 2**self.places


class Cells(NamedTuple):
    """Where customers stand in a table over states."""

    fatigue: NDArray[np.int64]  # (N,) level
    bond: NDArray[np.int64]  # (N,) level
    mask: NDArray[np.int64]  # (N,) open places
    alive: NDArray[np.bool_]  # (N,)


def batches(scenario: Scenario, traits: Traits, tile: int = 16, asarray: AsArray = np.asarray) -> list[Batch]:
    """Split customers into batches of at most `tile`.

    Args:
        scenario: the world they live in.
        traits: from `population.draw`, NumPy; float64 for the last digits, float32 for speed.
        tile: customers at a time, see the package for the memory of one. On a CPU more than 32 do not make it faster,
            on a GPU the more the better.
        asarray: makes an array of the library and on the device that shall do the arithmetic, for example
            `lambda values: torch.from_numpy(values).cuda()`.

    Raises:
        ValueError: a tile below 1.
    """
    if tile < 1:
        raise ValueError(f"tile: {tile}, expected at least 1")
    rules = population.rules(scenario, traits.ideal_load.dtype.type)
    counts = traits.opted_in.sum(axis=0)
    weekdays = traits.joined % 7 if traits.weekend_block.any() else np.zeros_like(traits.joined)
    found = []
    for kind in np.unique(np.stack([counts, weekdays]), axis=1).T:
        alike = np.flatnonzero((counts == kind[0]) & (weekdays == kind[1]))
        for start in range(0, len(alike), tile):
            index = alike[start : start + tile]
            channels = np.nonzero(traits.opted_in[:, index].T)[1].reshape(len(index), int(kind[0]))
            found.append(Batch(rules, only(traits, index), scenario.discount, index, channels, asarray))
    return found


def only(traits: Traits, index: NDArray[np.intp]) -> Traits:
    """The traits of some customers, contiguous; `index` may repeat a customer."""
    return Traits(
        *(
            np.ascontiguousarray(values[index] if name == "hints" else values[..., index])
            for name, values in traits._asdict().items()
        )
    )


def newcomers(scenario: Scenario, batch: Batch) -> Cells:
    """Where the batch stands on its first day."""
    return cells(batch, population.newcomers(scenario, batch.traits), np.arange(batch.size))


def cells(batch: Batch, state: State, index: NDArray[np.intp] | None = None) -> Cells:
    """Where the customers of a batch stand, from the state of all customers (or from the rows `index` of it)."""
    rows = batch.members if index is None else index
    reachable = np.take_along_axis(np.asarray(state.reachable)[:, rows].T, batch.channels, axis=1)
    return Cells(
        fatigue=np.asarray(state.fatigue)[rows].astype(np.int64),
        bond=np.asarray(state.bond)[rows].astype(np.int64),
        mask=(reachable << np.arange(batch.places)).sum(axis=1).astype(np.int64),
        alive=np.asarray(state.alive)[rows],
    )


def at(table: Array, where: Cells) -> NDArray[Any]:
    """The entries (N,) of a table (N, F, B, M) at the customers' cells; zero for the dead."""
    entries = to_host(table)[np.arange(len(where.mask)), where.fatigue, where.bond, where.mask]
    return np.asarray(np.where(where.alive, entries, np.zeros((), entries.dtype)))


def open_masks(places: int, place: int) -> NDArray[np.int64]:
    """The masks in which `place` is open, ascending: (2^(k-1),)."""
    masks = np.arange(2**places)
    return np.asarray(masks[(masks >> place) & 1 == 1])


def among_open(mask: Ints, place: int) -> NDArray[np.int64]:
    """Where a mask in which `place` is open stands in `open_masks`; with any mask, where it would were the place open."""
    return np.asarray((mask >> (place + 1) << place) + (mask & (2**place - 1)))


def together(parts: Iterable[tuple[Batch, NDArray[Any]]]) -> NDArray[Any]:
    """Results by customer (N, ...) of several batches, in the order of all customers."""
    known = list(parts)
    order = np.concatenate([batch.members for batch, _ in known])
    values = np.concatenate([part for _, part in known])
    joined = np.empty_like(values)
    joined[order] = values
    return joined


def to_host(array: Array) -> NDArray[Any]:
    """An array of any library as NumPy."""
    return np.asarray(array_api_compat.to_device(array, "cpu"))
