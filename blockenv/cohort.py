"""A batch of customers being served day by day: the one place where traits, state, log and luck meet.

Environments and the evaluation loop are both thin shells around a `Cohort`. It holds arrays and replaces them; it
never computes a probability itself and never decides when a customer's time is up.
"""

import functools
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, observation, population
from blockenv.dynamics import Array, Outcome, State, Traits
from blockenv.history import History
from blockenv.scenarios.schema import Scenario

_RESERVE = 4  # customers of a row drawn ahead: a draw has a price of its own, so few draws of many are cheap
GENERATION = 2**32  # the customer who follows customer k in the same row is k + GENERATION


class Cohort:
    """N rows, each serving one customer at a time.

    The customers of row i are first + i, then first + i + GENERATION, and so on: an endless queue of its own, so
    that what happens in a row never depends on another row, on the batch, or on the policy elsewhere.

    Attributes (the cohort's own, overwritten by `step` and `replace`: copy what you keep):
        customer: (N,) int64 numbers of the customers now in the rows.
        traits, state, log: see `dynamics.Traits`, `dynamics.State`, `history.History`.
    """

    traits: Traits
    state: State
    log: History

    def __init__(
        self,
        scenario: Scenario,
        seed: NDArray[np.uint64],
        customer: NDArray[np.int64],
        dtype: type = np.float32,
    ) -> None:
        """Draw the customers `customer` (N,) int64 that belong to `seed` (N,) uint64."""
        _keep_freed_memory()
        self.scenario = scenario
        self.rules = population.rules(scenario, dtype)
        self.columns = observation.layout(scenario)
        self._ledger = history.ledger(scenario, dtype)
        self._view = observation.view(scenario, dtype)
        self._dtype = dtype
        self._seed = np.array(seed, np.uint64)
        self._row = np.arange(len(customer))
        self._segments = np.arange(len(scenario.segments))[:, None]
        self._space = noise.workspace(len(customer), len(scenario.channels))
        self.customer = np.array(customer, np.int64)
        self.traits, self.state, self.log, self._key = self._arrivals(seed, self.customer)
        self._reserve: _Arrivals | None = None  # the next customers of every row, drawn together when needed
        self._used = np.zeros(len(customer), np.int64)  # of each row's reserve
        self._legal: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.customer)

    def step(self, action: NDArray[np.integer[Any]]) -> Outcome:
        """Live one day under `action` (N,) int in 0..A-1."""
        luck = noise.luck(self._key, self.log.day, self._space)
        known = self.log.known_reachable
        self.state, outcome = dynamics.step(self.rules, self.traits, self.state, self.log.day, action, luck, self._row)
        self.log = history.update(self._ledger, self.log, action, outcome)
        self._refresh_legal(np.any(known != self.log.known_reachable, axis=0))
        return outcome

    def replace(self, rows: NDArray[np.bool_]) -> None:
        """Put the next customer of its queue into each of `rows` (N,) bool, in place."""
        index = np.flatnonzero(rows)
        if self._reserve is None:
            everybody = np.arange(len(self))
            self._reserve = self._followers(everybody)
            self._used[:] = 0
        elif (self._used[index] >= _RESERVE).any():
            # A draw costs the same for one customer as for a hundred, so everybody who has been used is redrawn.
            again = np.flatnonzero(self._used)
            places = np.concatenate([again + number * len(self) for number in range(_RESERVE)])
            _place(self._reserve, self._followers(again), places, np.arange(len(places)))
            self._used[again] = 0
        source = index + len(self) * self._used[index]
        _place((self.traits, self.state, self.log, self._key), self._reserve, index, source)
        self.customer[index] += GENERATION
        self._used[index] += 1
        self._refresh_legal(rows)

    def restart(self, rows: NDArray[np.bool_], seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> None:
        """Put the customers `customer` (M,) of `seed` (M,) into the M rows that are True in `rows`, in place."""
        index = np.flatnonzero(rows)
        arrivals = self._arrivals(seed, customer)
        _place((self.traits, self.state, self.log, self._key), arrivals, index, np.arange(len(index)))
        self._seed[index], self.customer[index] = seed, customer
        self._reserve = None
        self._refresh_legal(rows)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Go on with `rows` (N,) bool alone; as luck is addressed, it makes no difference to their lives."""
        index = np.flatnonzero(rows)
        self.traits, self.state = _pick(self.traits, index), _pick(self.state, index)
        self.log = _pick(self.log, index)
        self.customer, self._seed, self._key = self.customer[index], self._seed[index], self._key[index]
        self._row = np.arange(len(index))
        self._space = noise.workspace(len(index), len(self.scenario.channels))
        self._reserve, self._legal, self._used = None, None, np.zeros(len(index), np.int64)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that `restore` needs, as copies of plain arrays."""
        arrays = {f"{record}.{name}": np.array(values) for record, name, values in self._record_fields()}
        return arrays | {"seed": self._seed.copy(), "customer": self.customer.copy()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot` of a cohort of the same size and scenario.

        Raises:
            KeyError, ValueError: an array is missing or of another shape.
        """
        fresh: dict[str, dict[str, Any]] = {"traits": {}, "state": {}, "log": {}}
        for record, name, values in self._record_fields():
            stored = arrays[f"{record}.{name}"]
            if stored.shape != values.shape or stored.dtype != values.dtype:
                found, expected = f"{stored.dtype}{stored.shape}", f"{values.dtype}{values.shape}"
                raise ValueError(f"{record}.{name}: {found}, expected {expected}")
            fresh[record][name] = stored.copy()
        self.traits, self.state, self.log = Traits(**fresh["traits"]), State(**fresh["state"]), History(**fresh["log"])
        self._seed, self.customer = arrays["seed"].copy(), arrays["customer"].copy()
        self._key = noise.address(self._seed, noise.LUCK, self.customer)
        self._reserve, self._legal = None, None

    def observe(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.floating[Any]]:
        """What the sender sees this morning of everybody, or of `rows` (N,) bool: (N, D), a new array."""
        traits, state, log = self.traits, self.state, self.log
        if rows is not None:
            index = np.flatnonzero(rows)
            traits, state, log = _pick(traits, index), _pick(state, index), _pick(log, index)
        seen = observation.observe(self._view, log, traits)
        if self.scenario.observe == "full":
            hidden = observation.observe_hidden(self.rules, self._view, state, traits, self._segments)
            seen = np.concatenate([seen, hidden], axis=1)
        return np.asarray(seen)

    def legal_actions(self) -> NDArray[np.bool_]:
        """(N, A) bool, kept up to date row by row: copy it before you hand it to somebody who may write."""
        if self._legal is None:
            self._legal = np.asarray(observation.legal_actions(self.rules, self.log.known_reachable))
        return self._legal

    def fatigue(self) -> Array:
        """(N,) fatigue units."""
        return dynamics.fatigue_of(self.rules, self.traits, self.state.fatigue)

    def bond(self) -> Array:
        """(N,) in [0, 1]."""
        return dynamics.bond_of(self.rules, self.traits, self.state.bond)

    def _record_fields(self) -> Iterator[tuple[str, str, Array]]:
        yield from (("traits", name, getattr(self.traits, name)) for name in Traits._fields)
        yield from (("state", name, getattr(self.state, name)) for name in State._fields)
        yield from (("log", name, getattr(self.log, name)) for name in History._fields)

    def _followers(self, rows: NDArray[np.intp]) -> "_Arrivals":
        """The next customers of `rows` (M,): first the next of each, then the one after, (_RESERVE x M)."""
        generations = np.repeat(np.arange(1, _RESERVE + 1), len(rows))
        customer = np.tile(self.customer[rows], _RESERVE) + GENERATION * generations
        return self._arrivals(np.tile(self._seed[rows], _RESERVE), customer)

    def _arrivals(self, seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> "_Arrivals":
        traits = population.draw(self.scenario, seed, customer, self._dtype)
        state = population.newcomers(self.scenario, traits)
        log = history.begin(self._ledger, traits.opted_in, self._dtype)
        return traits, state, log, noise.address(seed, noise.LUCK, customer)

    def _refresh_legal(self, rows: NDArray[np.bool_]) -> None:
        if self._legal is not None and rows.any():
            index = np.flatnonzero(rows)
            self._legal[index] = observation.legal_actions(self.rules, self.log.known_reachable[:, index])


@functools.cache
def _keep_freed_memory() -> None:
    """Let the allocator hold on to what a step frees, for the next step to use.

    A step frees megabytes that the next one needs again. glibc returns blocks of that size to the system, and
    getting fresh pages costs more than the arithmetic; once it has seen a large block freed it keeps them (its
    thresholds are dynamic, up to 32 MiB). Other allocators ignore this.
    """
    np.ones(31 * 2**20, np.uint8)


T = TypeVar("T", Traits, State, History)
_Arrivals = tuple[Traits, State, History, NDArray[np.uint64]]
_CUSTOMERS_FIRST = {"hints", "sent", "recent", "opened", "prompted"}


def _place(rows: _Arrivals, arrivals: _Arrivals, to: NDArray[np.intp], source: NDArray[np.intp]) -> None:
    """Write the customers `source` of `arrivals` into `rows` at `to`."""
    records: tuple[tuple[Any, Any], ...] = tuple(zip(rows[:3], arrivals[:3], strict=True))
    for old, new in records:
        for name in old._fields:
            values, fresh = getattr(old, name), getattr(new, name)
            if name in _CUSTOMERS_FIRST:
                values[to] = fresh[source]
            else:
                values[..., to] = fresh[..., source]
    rows[3][to] = arrivals[3][source]


def _pick(record: T, index: NDArray[np.intp]) -> T:
    """The customers `index` of a record, as copies."""
    return record._replace(
        **{
            name: values[index] if name in _CUSTOMERS_FIRST else values[..., index]
            for name, values in zip(record._fields, record, strict=True)
        }
    )
