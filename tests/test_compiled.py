"""Compiled functions do what NumPy does, to the last bit, and are not used where they would not."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blockenv import compiled, observation
from blockenv.arrivals import CUSTOMERS_FIRST
from blockenv.cohort import Cohort
from blockenv.compiled import choice, day, expressions, functions, library, recording
from blockenv.envs import PopulationEnv
from blockenv.scenarios import Scenario, get
from tests.test_backends import EVERYTHING
from tests.test_same_lives import ELEMENTARY, digest, elementary, in_order

FULL = get({**EVERYTHING.model_dump(), "name": "Full-v0", "observe": "full"})
FEW, MANY = get("Frequency-v0"), FULL  # between them all the code there is
N = 300

pytestmark = pytest.mark.usefixtures("own_cache")
needs_compiler = pytest.mark.skipif(library.compiler() is None, reason="no C compiler on this machine")
same_rounding = pytest.mark.skipif(
    digest(elementary()) != ELEMENTARY, reason="NumPy's elementary functions round differently on this machine"
)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_ready", {})


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Iterator[None]:
    monkeypatch.setenv("CC", "there-is-no-such-compiler")
    library.compiler.cache_clear()
    yield
    library.compiler.cache_clear()


def serving(scenario: Scenario, compiled_code: bool | None, customers: int = N) -> Cohort:
    return Cohort(scenario, np.full(customers, 9, np.uint64), np.arange(customers), compiled_code=compiled_code)


def everything(cohort: Cohort, outcome: Any) -> list[Any]:
    records = (cohort.traits, cohort.state, cohort.log, outcome)
    arrays = [values.copy() for record in records for values in record]
    return [
        *arrays,
        cohort.observe(),
        cohort.copy_of_legal_actions(),
        cohort.legal_actions().copy(),
        cohort.customer.copy(),
    ]


def live(cohort: Cohort, days: int, events: bool = True) -> list[Any]:
    """All there is to see of some days with random messages, replacements, restarts and departures."""
    rng = np.random.default_rng(4)
    found = []
    for each in range(days):
        size = len(cohort)
        outcome = cohort.step(rng.integers(0, cohort.scenario.actions, size))
        if events and each % 3 == 0:
            cohort.replace(rng.random(size) < 0.3)
        if events and each == 7:
            some = rng.random(size) < 0.1
            cohort.restart(some, np.full(some.sum(), 33, np.uint64), np.arange(some.sum()))
        if events and each == 11:
            cohort.keep(rng.random(size) < 0.7)
            outcome = cohort.step(np.zeros(len(cohort), np.int64))
        found += everything(cohort, outcome)
        found.append(cohort.observe(rng.random(len(cohort)) < 0.2))
    return found


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@needs_compiler
@same_rounding
@pytest.mark.parametrize("scenario", [FEW, MANY], ids=["few", "many"])
def test_compiled_customers_live_the_same_lives(scenario: Scenario) -> None:
    cohort = serving(scenario, True)
    found = live(cohort, 30)
    assert cohort._tied_now() is not None
    assert_same(found, live(serving(scenario, False), 30))


@needs_compiler
@same_rounding
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_compiled_population_is_the_same(mode: str) -> None:
    def days(compiled_code: bool) -> Iterator[Any]:
        env = PopulationEnv(N, MANY, 9, mode, stagger=True, compiled_code=compiled_code)
        rng = np.random.default_rng(1)
        yield env.reset(seed=4)[0]
        for _ in range(40):
            *arrays, info = env.step(rng.integers(0, MANY.actions, N))
            yield from arrays
            yield from in_order(info)
        yield from in_order(env.snapshot())

    for found, expected in zip(days(True), days(False), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@needs_compiler
@same_rounding
def test_compiled_functions_take_over_unnoticed(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    monkeypatch.setattr(choice, "_KEPT_SECONDS", 8 * (choice._STEP_SECONDS + N * choice._CUSTOMER_SECONDS))
    monkeypatch.setattr(choice, "_NEW_SECONDS", 12 * (choice._STEP_SECONDS + N * choice._CUSTOMER_SECONDS))
    cohort = serving(FEW, None)
    found = live(cohort, 5)
    assert cohort._tied_now() is None
    found += live(cohort, 9)
    assert cohort._tied_now() is not None
    expected = serving(FEW, False)
    assert_same(found, live(expected, 5) + live(expected, 9))


@needs_compiler
def test_what_a_step_returned_is_never_overwritten() -> None:
    cohort = serving(FEW, True)
    outcome = cohort.step(np.ones(N, np.int64))
    log = [getattr(cohort.log, name) for name in cohort.log._fields if name not in CUSTOMERS_FIRST]
    kept = [*cohort.state, *log, *outcome, cohort.observe(), cohort.copy_of_legal_actions()]
    before = [values.copy() for values in kept]
    for _ in range(3):
        cohort.step(np.ones(N, np.int64))
        cohort.observe()
    for now, then in zip(kept, before, strict=True):
        np.testing.assert_array_equal(now, then)


@needs_compiler
def test_a_copy_goes_on_by_itself() -> None:
    cohort = serving(FEW, True)
    cohort.step(np.ones(N, np.int64))
    other = copy.deepcopy(cohort)
    kept = cohort.snapshot()
    other.step(np.ones(N, np.int64))
    for name, values in cohort.snapshot().items():
        np.testing.assert_array_equal(values, kept[name])
    cohort.step(np.ones(N, np.int64))
    for name, values in cohort.snapshot().items():
        np.testing.assert_array_equal(values, other.snapshot()[name])


@needs_compiler
def test_restored_customers_go_on_as_before() -> None:
    cohort = serving(FEW, True)
    cohort.step(np.ones(N, np.int64))
    kept = cohort.snapshot()
    first = cohort.step(np.ones(N, np.int64)).reward.copy()
    cohort.restore(kept)
    np.testing.assert_array_equal(cohort.step(np.ones(N, np.int64)).reward, first)


def test_without_a_compiler_numpy_goes_on(no_compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_KEPT_SECONDS", 0.0)
    monkeypatch.setattr(choice, "_NEW_SECONDS", 0.0)
    cohort = serving(FEW, None)
    assert_same(live(cohort, 5), live(serving(FEW, False), 5))
    assert cohort._tied_now() is None
    with pytest.raises(compiled.CompilerError, match="no C compiler found"):
        serving(FEW, True).step(np.ones(N, np.int64))


@needs_compiler
def test_code_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    monkeypatch.setattr(choice, "_KEPT_SECONDS", 0.0)
    monkeypatch.setattr(choice, "_NEW_SECONDS", 0.0)
    monkeypatch.setitem(expressions.INFIX, "subtract", "+ 1e-6f -")
    cohort = serving(FEW, None)
    cohort.step(np.ones(N, np.int64))
    assert cohort._tied_now() is None
    monkeypatch.setattr(choice, "_ready", {})
    with pytest.raises(compiled.CompilerError, match="than NumPy"):
        serving(FEW, True).step(np.ones(N, np.int64))


@needs_compiler
@pytest.mark.parametrize("unknown", ["log", "remainder"])
def test_equations_that_cannot_be_recorded_stay_in_numpy(
    unknown: str, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    monkeypatch.setattr(choice, "_KEPT_SECONDS", 0.0)
    monkeypatch.setattr(choice, "_NEW_SECONDS", 0.0)
    if unknown == "log":
        monkeypatch.delattr(functions, "log")
    else:
        monkeypatch.delattr(recording.Recorded, "__mod__")
    cohort = serving(FEW, None)
    assert_same(live(cohort, 3), live(serving(FEW, False), 3))
    assert cohort._tied_now() is None


@needs_compiler
def test_a_compiler_that_fails_is_quoted() -> None:
    with pytest.raises(compiled.CompilerError, match="error"):
        library.load("this is not C")


@needs_compiler
def test_what_was_compiled_is_kept(own_cache: Path) -> None:
    text = "int number(void) { return 41; }"
    assert not library.is_kept(text)
    assert library.load(text).number() == 41
    assert library.is_kept(text)
    assert list((own_cache / "blockenv").glob("*.so"))
    assert not library.is_kept(text + " ")


@needs_compiler
def test_a_folder_open_to_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "blockenv").mkdir()
    (tmp_path / "blockenv").chmod(0o777)
    with pytest.raises(compiled.CompilerError, match="others can write"):
        library.load("int number(void) { return 41; }")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda real, whole, table: real + whole,  # kinds do not mix
        lambda real, whole, table: table + real,  # a column by customer to a table by row
        lambda real, whole, table: functions.any(real > 0.0, axis=1),
        lambda real, whole, table: functions.reshape(real + 1.0, (-1,)),
        lambda real, whole, table: functions.take(real, whole),
        lambda real, whole, table: real * np.ones((3, 5), np.float32),
        lambda real, whole, table: table + recording.table("other", 4),
    ],
)
def test_what_cannot_be_recorded_is_refused(wrong: Any) -> None:
    real, whole = recording.customers("real", recording.FLOAT, 3), recording.customers("whole", recording.INT)
    with pytest.raises(TypeError):
        wrong(real, whole, recording.table("table", 6))


def test_an_unknown_operation_is_not_written() -> None:
    with pytest.raises(TypeError, match="cube root"):
        expressions.combine("cube root", ["x"])


def test_every_field_of_an_outcome_is_told() -> None:
    assert set(day.REAL) | set(day.EVENTS) | set(day.BY_CHANNEL) == set(day.Outcome._fields)


def test_recording_calls_the_equations_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is changed in an equation is changed in the C text."""
    cohort = serving(FEW, False, 4)
    world = day.World(cohort.rules, cohort._ledger, cohort._view, cohort._segments, False)
    people = day.People(cohort.traits, cohort.state, cohort.log)
    before = day.program(world, people).text
    assert day.program(world, people).text == before
    monkeypatch.setattr(observation, "TENURE_DAYS", 365)
    assert day.program(world, people).text != before
