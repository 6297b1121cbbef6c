"""One set of equations, whichever library holds the arrays: the same customers live the same days everywhere."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, observation, population
from blockenv.dynamics import Message, Outcome, Rules, State, Traits
from blockenv.history import History, Ledger
from blockenv.observation import View
from blockenv.scenarios import SCENARIOS, get

# Between them all the code there is: every visibility, win-back or none, a season or none, small and large tables.
EVERYTHING = get(
    {
        "base": "Winback-v0",
        "name": "Everything-v0",
        "calendar": {"season": 0.3, "tolerance_drift": 0.5},
        "channels": [
            {
                **SCENARIOS["Winback-v0"].channels[0].model_dump(),
                "name": visibility,
                "visibility": visibility,
                "opt_in": 0.8,
            }
            for visibility in ("at_once", "next_send", "never")
        ],
    }
)
WORLDS = {"Everything": EVERYTHING, "Frequency": SCENARIOS["Frequency-v0"]}
CUSTOMERS, DAYS = 150, 20
T = TypeVar("T", bound=NamedTuple)


class Backend(NamedTuple):
    """An array library at one precision."""

    make: Callable[[NDArray[Any]], Any]  # from a NumPy array of the right precision
    library: str  # the top module of the arrays it makes
    dtype: type
    compiled: Callable[[Any], Any] = lambda function: function
    days: int = DAYS  # fewer where every operation is compiled anew for every shape


def numpy_backend(dtype: type) -> Backend:
    return Backend(np.array, "numpy", dtype)


def strict_backend(dtype: type) -> Backend:
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    return Backend(strict.asarray, "array_api_strict", dtype)


def torch_backend(dtype: type) -> Backend:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return Backend(lambda values: torch.from_numpy(values.copy()), "torch", dtype)


def jax_backend(dtype: type, jit: bool = False) -> Backend:
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    if jit:
        return Backend(jax.numpy.asarray, "jaxlib", dtype, jax.jit)
    return Backend(jax.numpy.asarray, "jaxlib", dtype, days=2)


BACKENDS: dict[str, Callable[[], Backend]] = {
    "numpy-float32": lambda: numpy_backend(np.float32),
    "numpy-float64": lambda: numpy_backend(np.float64),
    "strict-float32": lambda: strict_backend(np.float32),
    "strict-float64": lambda: strict_backend(np.float64),
    "torch-float32": lambda: torch_backend(np.float32),
    "torch-float64": lambda: torch_backend(np.float64),
    "jax-eager": lambda: jax_backend(np.float32),
    "jax-jit": lambda: jax_backend(np.float32, jit=True),
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    made = BACKENDS[request.param]()
    with strict_version() if made.library == "array_api_strict" else nullcontext():
        yield made


def strict_version() -> Any:
    import array_api_strict

    return array_api_strict.ArrayAPIStrictFlags(api_version="2024.12")


def moved(record: T, backend: Backend) -> T:
    """The same record with its NumPy arrays as arrays of the backend; plain numbers stay what they are."""
    return record._replace(
        **{
            name: array(values, backend) if isinstance(values, np.ndarray) else values
            for name, values in record._asdict().items()
        }
    )


def array(values: NDArray[Any], backend: Backend) -> Any:
    real = np.issubdtype(values.dtype, np.floating)
    return backend.make(values.astype(backend.dtype) if real else values)


def back(values: Any) -> NDArray[Any]:
    found: NDArray[Any] = np.asarray(values)
    return found


class Day(NamedTuple):
    """One morning's inputs and the evening's results, in NumPy."""

    state: State
    log: History
    action: NDArray[np.int64]
    luck: noise.Noise
    tomorrow: State
    outcome: Outcome
    evening: History
    seen: NDArray[Any]
    hidden: NDArray[Any]
    legal: NDArray[np.bool_]


class Life(NamedTuple):
    """Customers of a scenario for some days, in NumPy."""

    rules: Rules
    traits: Traits
    ledger: Ledger
    view: View
    row: NDArray[np.int64]
    segments: NDArray[np.int64]
    days: tuple[Day, ...]
    messages: Message


@cache
def life(name: str, dtype: type) -> Life:
    scenario, row = WORLDS[name], np.arange(CUSTOMERS)
    seeds = np.full(CUSTOMERS, 6, np.uint64)
    rules, ledger, view = (
        population.rules(scenario, dtype),
        history.ledger(scenario, dtype),
        observation.view(scenario, dtype),
    )
    traits = population.draw(scenario, seeds, row, dtype)
    segments = np.arange(len(scenario.segments))[:, None]
    key, rng = noise.address(seeds, noise.LUCK, row), np.random.default_rng(2)
    state = State(
        fatigue=rng.integers(0, rules.fatigue_levels, CUSTOMERS).astype(np.int32),
        bond=rng.integers(0, rules.bond_levels, CUSTOMERS).astype(np.int32),
        reachable=traits.opted_in & (rng.random(traits.opted_in.shape) < 0.8),
        alive=rng.random(CUSTOMERS) < 0.9,
    )
    log = history.begin(ledger, traits.opted_in, dtype)
    days = []
    for _ in range(DAYS):
        action = rng.integers(0, scenario.actions, CUSTOMERS)
        drawn = noise.luck(key, log.day, noise.workspace(CUSTOMERS, len(scenario.channels)))
        luck = drawn._replace(**{event: values.astype(dtype) for event, values in drawn._asdict().items()})
        tomorrow, outcome = dynamics.step(rules, traits, state, log.day, action, luck, row)
        evening = history.update(ledger, log, action, outcome)
        seen = observation.observe(view, evening, traits)
        hidden = observation.observe_hidden(rules, view, tomorrow, traits, segments)
        legal = observation.legal_actions(rules, evening.known_reachable)
        days.append(Day(state, log, action, luck, tomorrow, outcome, evening, seen, hidden, legal))
        state, log = tomorrow, evening
    return Life(rules, traits, ledger, view, row, segments, tuple(days), dynamics.messages(rules, traits))


class Check:
    """Collects comparisons: real numbers must be close, and discrete ones equal.

    In single precision a uniform may fall between two roundings of the same probability, so a handful of discrete
    differences among the thousands of customer-days is forgiven there, and none in double precision.
    """

    def __init__(self, dtype: type) -> None:
        self.single = dtype is np.float32
        self.differing = np.zeros(CUSTOMERS, bool)
        self.forgiven = 0

    def record(self, found: NamedTuple, expected: NamedTuple, customers_first: frozenset[str] = frozenset()) -> None:
        for name, values in expected._asdict().items():
            self.array(back(getattr(found, name)), values, name, name in customers_first)

    def array(self, found: NDArray[Any], expected: NDArray[Any], name: str, customers_first: bool = False) -> None:
        assert found.shape == expected.shape, name
        assert found.dtype.kind == expected.dtype.kind, name
        if found.dtype.kind == "f":
            close = np.isclose(
                found, expected, rtol=2e-4 if self.single else 1e-11, atol=2e-5 if self.single else 1e-12
            )
            close |= self._columns(self.differing, found.ndim, customers_first)
            assert np.all(close), f"{name}: {found[~close][:3]} is not {expected[~close][:3]}"
        else:
            unequal = found != expected
            if unequal.ndim > 1:
                unequal = np.any(unequal, axis=1 if customers_first else 0)
            self.differing |= unequal

    def _columns(self, rows: NDArray[np.bool_], dimensions: int, customers_first: bool) -> NDArray[np.bool_]:
        return rows[:, None] if dimensions > 1 and customers_first else rows

    def end_of_day(self) -> None:
        self.forgiven += int(self.differing.sum())
        assert self.forgiven <= (3 if self.single else 0)
        self.differing = np.zeros(CUSTOMERS, bool)


LOG_TABLES = frozenset({"sent", "recent", "opened", "prompted"})


@pytest.mark.parametrize("name", WORLDS)
def test_a_day_is_the_same_on_every_backend(name: str, backend: Backend) -> None:
    there = life(name, backend.dtype)
    rules, traits = moved(there.rules, backend), moved(there.traits, backend)
    ledger, view = moved(there.ledger, backend), moved(there.view, backend)
    row, segments = array(there.row, backend), array(there.segments, backend)

    @backend.compiled
    def one_day(traits: Traits, state: State, log: History, action: Any, luck: noise.Noise, row: Any) -> Any:
        tomorrow, outcome = dynamics.step(rules, traits, state, log.day, action, luck, row)
        evening = history.update(ledger, log, action, outcome)
        seen = observation.observe(view, evening, traits)
        hidden = observation.observe_hidden(rules, view, tomorrow, traits, segments)
        return tomorrow, outcome, evening, seen, hidden, observation.legal_actions(rules, evening.known_reachable)

    check = Check(backend.dtype)
    for day in there.days[: backend.days]:
        tomorrow, outcome, evening, *views = one_day(
            traits,
            moved(day.state, backend),
            moved(day.log, backend),
            array(day.action, backend),
            moved(day.luck, backend),
            row,
        )
        assert type(outcome.reward).__module__.split(".")[0] == backend.library
        # Discrete fields first: real ones may differ in rows where an event was decided by rounding.
        check.record(tomorrow, day.tomorrow)
        for found, expected in discrete_and_real(outcome, day.outcome):
            check.record(found, expected)
        check.record(evening, day.evening, LOG_TABLES)
        for seen, wanted in zip(views, (day.seen, day.hidden, day.legal), strict=True):
            check.array(back(seen), wanted, "view", customers_first=True)
        check.end_of_day()
    everything = [day.outcome for day in there.days]
    for event in ("sent", "delivered", "opened", "ordered"):
        assert any(getattr(each, event).any() for each in everything), f"{event}: never happened, so nothing was shown"


def discrete_and_real(found: Outcome, expected: Outcome) -> list[tuple[Any, Any]]:
    """Two pairs of records with the discrete and the real fields of an outcome."""
    real = {name: values.dtype.kind == "f" for name, values in expected._asdict().items()}
    pairs = []
    for kind in (False, True):
        names = [name for name in Outcome._fields if real[name] is kind]
        part = NamedTuple("part", [(name, Any) for name in names])  # type: ignore[misc]
        pairs.append(tuple(part(*(getattr(each, name) for name in names)) for each in (found, expected)))
    return pairs  # type: ignore[return-value]


@pytest.mark.parametrize("name", WORLDS)
def test_every_message_is_the_same_on_every_backend(name: str, backend: Backend) -> None:
    there = life(name, backend.dtype)
    rules, traits = moved(there.rules, backend), moved(there.traits, backend)
    tolerance = 1e-5 if backend.dtype is np.float32 else 1e-12
    found = backend.compiled(lambda traits: dynamics.messages(rules, traits))(traits)
    for field, values, expected in zip(Message._fields, found, there.messages, strict=True):
        np.testing.assert_allclose(back(values), expected, rtol=tolerance, atol=tolerance, err_msg=field)


def test_probabilities_broadcast_over_actions_on_every_backend(backend: Backend) -> None:
    """As the planner asks: all messages (A, N) against one state of each customer (N,)."""
    there = life("Everything", backend.dtype)
    day = there.days[3]

    def probabilities(rules: Rules, traits: Traits, state: State, date: Any, mail: Message) -> tuple[Any, ...]:
        now = dynamics.today(rules, traits, date)
        ideal = dynamics.ideal_load(traits, now)
        fatigue, bond = dynamics.fatigue_of(rules, traits, state.fatigue), dynamics.bond_of(rules, traits, state.bond)
        loaded = dynamics.fatigue_after(rules, fatigue, mail.load)
        return (
            dynamics.open_probability(rules, fatigue, bond, ideal, mail),
            dynamics.block_probability(rules, traits, now, loaded, bond, ideal, mail),
            dynamics.prompted_probability(rules, fatigue, bond, ideal, mail),
            *dynamics.neighbours(loaded, rules.fatigue_step, rules.fatigue_levels),
        )

    expected = probabilities(there.rules, there.traits, day.state, day.log.day, there.messages)
    rules = moved(there.rules, backend)
    found = backend.compiled(lambda *inputs: probabilities(rules, *inputs))(
        moved(there.traits, backend),
        moved(day.state, backend),
        array(day.log.day, backend),
        moved(there.messages, backend),
    )
    tolerance = 1e-5 if backend.dtype is np.float32 else 1e-12
    for values, wanted in zip(found, expected, strict=True):
        assert wanted.shape == (len(there.rules.sends), CUSTOMERS)
        np.testing.assert_allclose(back(values), wanted, rtol=tolerance, atol=tolerance)


def test_nothing_is_written_into_the_inputs(backend: Backend) -> None:
    there = life("Everything", backend.dtype)
    day = there.days[0]
    records: list[Any] = [
        moved(each, backend)
        for each in (there.rules, there.traits, there.ledger, there.view, day.state, day.log, day.luck)
    ]
    arrays = [array(each, backend) for each in (day.action, there.row, there.segments)]

    def contents() -> list[NDArray[Any]]:
        values = [each for record in records for each in record if not isinstance(each, int | float)]
        return [back(each).copy() for each in [*values, *arrays]]

    rules, traits, ledger, view, state, log, luck = records
    action, row, segments = arrays
    before = contents()
    tomorrow, outcome = dynamics.step(rules, traits, state, log.day, action, luck, row)
    history.update(ledger, log, action, outcome)
    observation.observe(view, log, traits)
    observation.observe_hidden(rules, view, tomorrow, traits, segments)
    observation.legal_actions(rules, log.known_reachable)
    dynamics.messages(rules, traits)
    assert all(np.array_equal(now, then) for now, then in zip(contents(), before, strict=True))


@pytest.mark.parametrize("library", ["strict-float64", "torch-float64"])
def test_a_life_is_the_same_without_ever_returning_to_numpy(library: str) -> None:
    backend = BACKENDS[library]()
    with strict_version() if backend.library == "array_api_strict" else nullcontext():
        there = life("Everything", np.float64)
        rules, traits, ledger = moved(there.rules, backend), moved(there.traits, backend), moved(there.ledger, backend)
        state, log = moved(there.days[0].state, backend), moved(there.days[0].log, backend)
        row = array(there.row, backend)
        for day in there.days:
            action = array(day.action, backend)
            state, outcome = dynamics.step(
                rules, traits, state, log.day, action, moved(day.luck, backend), row
            )  # fmt: skip
            log = history.update(ledger, log, action, outcome)
        check = Check(np.float64)
        check.record(state, there.days[-1].tomorrow)
        check.record(log, there.days[-1].evening, LOG_TABLES)
        check.end_of_day()
