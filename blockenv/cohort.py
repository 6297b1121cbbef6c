"""A batch of customers being served day by day: the one place where traits, state, log and luck meet.

Environments and the evaluation loop are both thin shells around a `Cohort`. It holds arrays and replaces them; it
never computes a probability itself and never decides when a customer's time is up.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import compiled, dynamics, history, noise, observation, population, snapshots
from blockenv.arrivals import GENERATION, Arrivals, Queues, arrive, contiguous, pick, place
from blockenv.dynamics import Array, Outcome, State, Traits
from blockenv.history import History
from blockenv.scenarios.schema import Scenario

__all__ = ["GENERATION", "Cohort"]


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
        compiled_code: bool | None = None,
    ) -> None:
        """Draw the customers `customer` (N,) int64 that belong to `seed` (N,) uint64.

        With `compiled_code` left open, compiled functions take over from NumPy when that pays, as they do the same
        to the last bit; False says never, True at once.

        Raises:
            CompilerError: `compiled_code` is True, and there is none or it is not the same; raised by the first step.
        """
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
        self._queues: Queues | None = None  # made when somebody is replaced
        self._legal: NDArray[np.bool_] | None = None
        self._legal_is_old = False
        world = compiled.World(self.rules, self._ledger, self._view, self._segments, scenario.observe == "full")
        self._choice = compiled.Choice(scenario, world, compiled_code if dtype is np.float32 else False)
        self._tied: compiled.Tied | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tied": None}  # a copy has arrays of its own

    def __len__(self) -> int:
        return len(self.customer)

    def step(self, action: NDArray[np.integer[Any]]) -> Outcome:
        """Live one day under `action` (N,) int in 0..A-1."""
        tied = self._compiled_today()
        if tied is not None:
            evening = tied.step(np.ascontiguousarray(action, np.int64))
            self.state, self.log = evening.state, evening.log
            self._legal_is_old = True
            return evening.outcome
        luck = noise.luck(self._key, self.log.day, self._space)
        known = self.log.known_reachable
        self.state, outcome = dynamics.step(self.rules, self.traits, self.state, self.log.day, action, luck, self._row)
        self.log = history.update(self._ledger, self.log, action, outcome)
        self._refresh_legal(np.any(known != self.log.known_reachable, axis=0))
        return outcome

    def replace(self, rows: NDArray[np.bool_]) -> None:
        """Put the next customer of its queue into each of `rows` (N,) bool, in place."""
        index = np.flatnonzero(rows)
        if self._queues is None:
            self._queues = Queues(self._arrivals, self._seed, self.customer)
        source = self._queues.next_of(index)
        tied = self._tied_now()
        if tied is not None:
            tied.place(self._queues.waiting, index, source)
        else:
            place((self.traits, self.state, self.log, self._key), self._queues.waiting, index, source)
        self.customer[index] += GENERATION
        self._refresh_legal(rows)

    def restart(self, rows: NDArray[np.bool_], seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> None:
        """Put the customers `customer` (M,) of `seed` (M,) into the M rows that are True in `rows`, in place."""
        index = np.flatnonzero(rows)
        arrivals = self._arrivals(seed, customer)
        place((self.traits, self.state, self.log, self._key), arrivals, index, np.arange(len(index)))
        self._seed[index], self.customer[index] = seed, customer
        self._queues = None
        self._refresh_legal(rows)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Go on with `rows` (N,) bool alone; as luck is addressed, it makes no difference to their lives."""
        index = np.flatnonzero(rows)
        self.traits, self.state = pick(self.traits, index), pick(self.state, index)
        self.log = pick(self.log, index)
        self.customer, self._seed, self._key = self.customer[index], self._seed[index], self._key[index]
        self._row = np.arange(len(index))
        self._space = noise.workspace(len(index), len(self.scenario.channels))
        self._queues, self._legal = None, None

    def expect_many_days(self) -> None:
        """Let compiled functions take over at once, if they can, instead of waiting until they have paid."""
        self._choice.hurry()

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that `restore` needs, as copies of plain arrays."""
        return snapshots.taken((self.traits, self.state, self.log), self._seed, self.customer)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot` of a cohort of the same size and scenario.

        Raises:
            KeyError, ValueError: an array is missing or of another shape.
        """
        self.traits, self.state, self.log = snapshots.put_back(arrays, (self.traits, self.state, self.log))
        self._seed, self.customer = arrays["seed"].copy(), arrays["customer"].copy()
        self._key = noise.address(self._seed, noise.LUCK, self.customer)
        self._queues, self._legal = None, None

    def observe(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.floating[Any]]:
        """What the sender sees this morning of everybody, or of `rows` (N,) bool: (N, D), a new array."""
        traits, state, log = self.traits, self.state, self.log
        index = None if rows is None else np.flatnonzero(rows)
        tied = self._tied_now()
        if tied is not None:
            return tied.observe(index)
        if index is not None:
            traits, state, log = pick(traits, index), pick(state, index), pick(log, index)
        full = self.scenario.observe == "full"
        return np.asarray(observation.observe_all(self.rules, self._view, log, state, traits, self._segments, full))

    def legal_actions(self) -> NDArray[np.bool_]:
        """(N, A) bool, kept up to date row by row: copy it before you hand it to somebody who may write."""
        if self._legal is None:
            self._legal = self._new_legal_actions()
        elif self._legal_is_old:
            self._legal[...] = self._new_legal_actions()
        self._legal_is_old = False
        return self._legal

    def copy_of_legal_actions(self) -> NDArray[np.bool_]:
        """(N, A) bool, a new array."""
        return self.legal_actions().copy() if self._tied_now() is None else self._new_legal_actions()

    def fatigue(self) -> Array:
        """(N,) fatigue units."""
        return dynamics.fatigue_of(self.rules, self.traits, self.state.fatigue)

    def bond(self) -> Array:
        """(N,) in [0, 1]."""
        return dynamics.bond_of(self.rules, self.traits, self.state.bond)

    def _new_legal_actions(self) -> NDArray[np.bool_]:
        tied = self._tied_now()
        if tied is not None:
            return tied.legal_actions()
        return np.asarray(observation.legal_actions(self.rules, self.log.known_reachable))

    def _compiled_today(self) -> compiled.Tied | None:
        """Compiled functions on the arrays of this morning, if they are to be used."""
        found = self._choice.today(compiled.People(self.traits, self.state, self.log))
        if found is None:
            return None
        if self._tied_now() is None:
            # Only now, as arrays picked out of others may lie in memory the wrong way round.
            self.traits, self.state, self.log = contiguous(self.traits), contiguous(self.state), contiguous(self.log)
            self._tied = compiled.Tied(found, compiled.People(self.traits, self.state, self.log), self._key)
        return self._tied

    def _tied_now(self) -> compiled.Tied | None:
        """What was tied to the arrays of this morning; None if they are other arrays now."""
        tied = self._tied
        return tied if tied is not None and tied.holds(self.traits, self.state, self.log, self._key) else None

    def _arrivals(self, seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> Arrivals:
        return arrive(self.scenario, self._ledger, seed, customer, self._dtype)

    def _refresh_legal(self, rows: NDArray[np.bool_]) -> None:
        if self._legal is not None and not self._legal_is_old and rows.any():
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
