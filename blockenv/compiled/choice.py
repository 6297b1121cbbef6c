"""Whether compiled functions take over from NumPy: only where they pay, and only if they do exactly the same.

Whoever is served notices nothing but the speed: what is compiled must agree with NumPy to the last bit on customers
drawn for the comparison, or it is not used.
"""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, observation, population
from blockenv.compiled import library
from blockenv.compiled.day import People, Program, World, program
from blockenv.compiled.tied import CompiledDay, Tied
from blockenv.dynamics import State
from blockenv.scenarios.schema import Scenario

_CUSTOMERS, _DAYS = 200, 12  # of the comparison
_STEP_SECONDS, _CUSTOMER_SECONDS = 8e-4, 6e-7  # about what a day costs in NumPy: however many, and for each of them
_KEPT_SECONDS, _NEW_SECONDS = 0.1, 2.0  # of NumPy before what is kept is loaded, and before something is compiled
_MOST_CUSTOMERS = 2**24  # numbers of entries, of which a customer has up to a hundred, are of 32 bits there
Comparisons = Iterator[tuple[str, NDArray[Any], NDArray[Any]]]
_UNKNOWN = (TypeError, AttributeError)  # what recording says of what it does not know
_log = logging.getLogger(__name__)
_ready: dict[str, CompiledDay | None] = {}  # by scenario, as text; None where it is of no use


class Choice:
    """Decides for one cohort, and for each day anew."""

    def __init__(self, scenario: Scenario, world: World, wanted: bool | None) -> None:
        """`wanted` is True for compiled functions from the first day on, False for none, None for what pays."""
        self._scenario, self._world, self._wanted = scenario, world, wanted
        self._name = scenario.model_dump_json() if wanted is not False else ""
        self._spent = 0.0
        self._program: Program | None = None

    def hurry(self) -> None:
        """Do not wait until compiled functions have paid: many days are to come."""
        self._spent = _NEW_SECONDS

    def today(self, people: People) -> CompiledDay | None:
        """The compiled functions, if the cohort should be served by them today.

        Raises:
            CompilerError: they are wanted, and there is no compiler, it fails, or what it makes does something else.
        """
        if self._wanted is False:
            return None
        if people.state.alive.size >= _MOST_CUSTOMERS:
            return None
        if self._name not in _ready:
            self._spent += _STEP_SECONDS + _CUSTOMER_SECONDS * people.state.alive.size
            if self._wanted is None and not self._pays(people):
                return None
            try:
                _ready[self._name] = self._made(people)
            except (library.CompilerError, *_UNKNOWN) as error:
                if self._wanted:
                    raise library.CompilerError(f"{self._scenario.name}: {error}") from error
                _log.info("%s is served by NumPy: %s", self._scenario.name, error)
                _ready[self._name] = None
        found = _ready[self._name]
        if found is None and self._wanted:
            raise library.CompilerError(f"{self._scenario.name}: what was compiled is of no use on this machine")
        return found

    def _pays(self, people: People) -> bool:
        if self._spent < _KEPT_SECONDS:
            return False
        if library.compiler() is None:
            self._wanted = False
            return False
        if self._spent >= _NEW_SECONDS:
            return True
        if self._program is None:
            try:
                self._program = program(self._world, people)
            except _UNKNOWN as error:
                _log.info("%s is served by NumPy: %s", self._scenario.name, error)
                self._wanted = False
                return False
            return library.is_kept(self._program.text)
        return False

    def _made(self, people: People) -> CompiledDay:
        compiled = CompiledDay(self._program or program(self._world, people))
        different = disagreement(self._scenario, self._world, compiled)
        if different is not None:
            raise library.CompilerError(f"compiled code gives another {different} than NumPy")
        return compiled


def disagreement(scenario: Scenario, world: World, compiled: CompiledDay) -> str | None:
    """The first array that is not the same to the last bit after some days of random actions; None if all are."""
    for field, found, expected in comparisons(scenario, world, compiled):
        if found.dtype != expected.dtype or not np.array_equal(found, expected):
            return field
    return None


def comparisons(scenario: Scenario, world: World, compiled: CompiledDay, days: int = _DAYS) -> Comparisons:
    """Names of arrays, as compiled functions and as NumPy compute them, for some days of some customers."""
    rng = np.random.default_rng(7)
    seed, customer = np.full(_CUSTOMERS, 5, np.uint64), np.arange(_CUSTOMERS)
    traits = population.draw(scenario, seed, customer)
    state = State(
        fatigue=rng.integers(0, world.rules.fatigue_levels, _CUSTOMERS).astype(np.int32),
        bond=rng.integers(0, world.rules.bond_levels, _CUSTOMERS).astype(np.int32),
        reachable=traits.opted_in & (rng.random(traits.opted_in.shape) < 0.9),
        alive=rng.random(_CUSTOMERS) < 0.9,
    )
    log = history.begin(world.ledger, traits.opted_in)
    log = log._replace(day=rng.integers(0, 500, _CUSTOMERS))
    key, space = noise.address(seed, noise.LUCK, customer), noise.workspace(_CUSTOMERS, len(state.reachable))
    tied = Tied(compiled, People(traits, _copies(state), _copies(log)), key)
    for _ in range(days):
        action = rng.integers(0, scenario.actions, _CUSTOMERS)
        luck = noise.luck(key, log.day, space)
        state, outcome = dynamics.step(world.rules, traits, state, log.day, action, luck, customer)
        log = history.update(world.ledger, log, action, outcome)
        evening = tied.step(action)
        for found, expected in ((evening.state, state), (evening.log, log), (evening.outcome, outcome)):
            yield from zip(expected._fields, found, expected, strict=True)
        seen = observation.observe_all(world.rules, world.view, log, state, traits, world.segments, world.full)
        yield "observation", tied.observe(), seen
        some = np.flatnonzero(rng.random(_CUSTOMERS) < 0.2)
        yield "observation of some", tied.observe(some), seen[some]
        yield "legal actions", tied.legal_actions(), observation.legal_actions(world.rules, log.known_reachable)


def _copies(record: Any) -> Any:
    return record._replace(**{name: values.copy() for name, values in record._asdict().items()})
