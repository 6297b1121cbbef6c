"""Customers live the same life whoever else is there, whenever they come, and whatever was done before."""

import copy
import functools
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blockenv import SCENARIOS, observation
from blockenv.cohort import GENERATION, Cohort
from blockenv.compiled import choice
from tests.test_compiled import needs_compiler, same_rounding

CUSTOMER, DAYS = 7777, 90


def serving(scenario: str, seed: int, customers: Any) -> Cohort:
    numbers = np.atleast_1d(np.array(customers, np.int64))
    return Cohort(SCENARIOS[scenario], np.full(len(numbers), seed, np.uint64), numbers)


def schedule(cohort: Cohort) -> NDArray[np.int64]:
    """An action for everybody that depends on nothing but the customer's number and day."""
    mixed = (cohort.customer % 2**31) * 40503 + cohort.log.day * 2654435761 + cohort.customer // 2**31
    return np.asarray((mixed % 1000003) % cohort.scenario.actions)


def snapshot(cohort: Cohort, row: int, outcome: Any = None) -> list[Any]:
    """Everything there is to know about the customer in `row`."""
    records = [cohort.traits, cohort.state, *([] if outcome is None else [outcome])]
    known = [cohort.observe()[row], cohort.legal_actions()[row], cohort.customer[row], cohort.log.day[row]]
    known += [cohort.traits.hints[row]]
    return known + [values[..., row] for each in records for name, values in each._asdict().items() if name != "hints"]


def biography(cohort: Cohort, customer: int, days: int = DAYS) -> list[Any]:
    row = int(np.flatnonzero(cohort.customer == customer)[0])
    days_of_life = [snapshot(cohort, row)]
    for _ in range(days):
        days_of_life.append(snapshot(cohort, row, cohort.step(schedule(cohort))))
    return days_of_life


def digest(days_of_life: list[Any]) -> str:
    parts = [np.ascontiguousarray(part).tobytes() for day in days_of_life for part in day]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@functools.cache
def eventful_seed() -> int:
    """The first seed whose customer opens, orders and blocks while being watched, so that equality means something."""
    for seed in range(2**41 + 20, 2**41 + 220):
        cohort = serving("Omnichannel-v0", seed, CUSTOMER)
        seen = [cohort.step(schedule(cohort)) for _ in range(DAYS)]
        if all(sum(int(getattr(day, event).sum()) for day in seen) for event in ("opened", "ordered", "blocked")):
            return seed
    raise LookupError("nobody opened, ordered and blocked: look at the scenario's numbers")


SEED = eventful_seed()


@pytest.fixture(scope="module")
def alone() -> list[Any]:
    return biography(serving("Omnichannel-v0", SEED, CUSTOMER), CUSTOMER)


def test_other_addresses_are_other_lives(alone: list[Any]) -> None:
    assert digest(biography(serving("Omnichannel-v0", SEED, CUSTOMER), CUSTOMER)) == digest(alone)
    for seed, customer in ((SEED + 1, CUSTOMER), (SEED, CUSTOMER + 1), (SEED, CUSTOMER + GENERATION)):
        assert digest(biography(serving("Omnichannel-v0", seed, customer), customer)) != digest(alone)


@pytest.mark.parametrize(
    "customers",
    [np.arange(10_000), np.arange(7000, 8000), np.arange(9000)[::-1], [7777, 7778], [7776, 7777, 7777 + GENERATION]],
    ids=["batch", "shard", "reversed", "first of two", "among its successor"],
)
def test_a_life_does_not_depend_on_the_company(alone: list[Any], customers: Any) -> None:
    np.testing.assert_equal(biography(serving("Omnichannel-v0", SEED, customers), CUSTOMER), alone)


def test_a_life_does_not_depend_on_seeds_of_others(alone: list[Any]) -> None:
    numbers = np.array([3, CUSTOMER, 9], np.int64)
    cohort = Cohort(SCENARIOS["Omnichannel-v0"], np.array([1, SEED, 2**63 - 1], np.uint64), numbers)
    np.testing.assert_equal(biography(cohort, CUSTOMER), alone)


def test_a_life_does_not_depend_on_what_was_played_before(alone: list[Any]) -> None:
    cohort = serving("Omnichannel-v0", SEED, np.arange(7700, 7800))
    for _ in range(20):
        cohort.step(np.full(100, 1))
    assert not np.array_equal(cohort.state.fatigue, np.zeros(100))
    cohort.restart(np.ones(100, bool), np.full(100, SEED, np.uint64), np.arange(7700, 7800))
    np.testing.assert_equal(biography(cohort, CUSTOMER), alone)


@needs_compiler
@same_rounding
def test_where_many_days_are_expected_compiled_functions_live_them_from_the_first(
    alone: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_ready", {})
    patient, hurried = (serving("Omnichannel-v0", SEED, [CUSTOMER, 3]) for _ in range(2))
    refusing = Cohort(hurried.scenario, np.array([SEED], np.uint64), np.array([CUSTOMER]), compiled_code=False)
    for each in (hurried, refusing):
        each.expect_many_days()
    for each in (patient, refusing):
        each.step(schedule(each))
        assert each._tied_now() is None
    np.testing.assert_equal(biography(hurried, CUSTOMER), alone)
    assert hurried._tied_now() is not None


def test_a_life_does_not_depend_on_the_process(alone: list[Any]) -> None:
    code = (
        "import tests.test_cohort as here\n"
        "cohort = here.serving('Omnichannel-v0', here.SEED, range(7770, 7790))\n"
        "print(here.digest(here.biography(cohort, here.CUSTOMER)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert run.stdout.strip() == digest(alone)


def test_keep_does_not_change_the_lives_of_those_who_stay() -> None:
    whole = serving("Winback-v0", 3, np.arange(40))
    part = copy.deepcopy(whole)
    rows = np.arange(40)
    for day in range(30):
        if day % 7 == 3:
            chosen = np.random.default_rng(day).random(len(rows)) < 0.8
            part.keep(chosen)
            rows = rows[chosen]
        one, other = whole.step(schedule(whole)), part.step(schedule(part))
        assert len(part) == len(rows)
        for name, values in one._asdict().items():
            np.testing.assert_array_equal(values[..., rows], getattr(other, name), err_msg=name)
        np.testing.assert_array_equal(whole.observe()[rows], part.observe())
        np.testing.assert_array_equal(whole.legal_actions()[rows], part.legal_actions())
    assert 5 < len(rows) < 35


def test_customers_of_a_row_come_from_a_queue_of_its_own() -> None:
    cohort = serving("Winback-v0", 3, np.arange(4))
    for day in range(12):
        cohort.step(schedule(cohort))
        cohort.replace((np.arange(4) == 2) | ((np.arange(4) == 0) & (day % 4 == 1)))
    assert cohort.customer.tolist() == [3 * GENERATION, 1, 2 + 12 * GENERATION, 3]
    assert cohort.log.day.tolist() == [2, 12, 0, 12]


def test_a_successor_lives_as_if_there_had_been_no_predecessor() -> None:
    successor = 2 + 3 * GENERATION
    late = serving("Winback-v0", 3, np.arange(4))
    for _ in range(3):
        late.step(schedule(late))
        late.replace(np.arange(4) == 2)
    np.testing.assert_equal(biography(late, successor), biography(serving("Winback-v0", 3, successor), successor))


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["step", "step", "step", "replace", "restart", "keep"]), st.integers(0, 2**16 - 1)),
    min_size=3,
    max_size=12,
)


@example(operations=[("replace", 1), ("restart", 6), ("replace", 2), ("step", 0)], scenario="Winback-v0")
@example(operations=[("restart", 3), ("replace", 3), ("step", 0), ("replace", 1)], scenario="Winback-v0")
@example(operations=[("replace", 1), ("keep", 54), ("replace", 63), ("step", 0)], scenario="Winback-v0")
@given(operations=OPERATIONS, scenario=st.sampled_from(["Winback-v0", "Silent-v0"]))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_after_any_operations_every_row_is_its_customer_living_alone(operations: Any, scenario: str) -> None:
    cohort = serving(scenario, 11, np.arange(6))
    seeds = np.full(6, 11, np.uint64)
    for operation, number in operations:
        rows = (number >> np.arange(len(cohort)) & 1).astype(bool)
        if operation == "step":
            cohort.step(schedule(cohort))
        elif operation == "replace":
            cohort.replace(rows)
        elif operation == "restart":
            fresh = np.full(int(rows.sum()), number, np.uint64)
            cohort.restart(rows, fresh, np.arange(len(fresh)) + number % 100)
            seeds[rows] = fresh
        elif rows.any():
            cohort.keep(rows)
            seeds = seeds[rows]
    for row in range(len(cohort)):
        lone = Cohort(SCENARIOS[scenario], seeds[row : row + 1], cohort.customer[row : row + 1])
        for _ in range(int(cohort.log.day[row])):
            lone.step(schedule(lone))
        np.testing.assert_equal(snapshot(cohort, row), snapshot(lone, 0))
    legal = observation.legal_actions(cohort.rules, cohort.log.known_reachable)
    np.testing.assert_array_equal(cohort.legal_actions(), legal)


def test_restart_leaves_other_rows_alone() -> None:
    cohort, other = serving("Winback-v0", 3, np.arange(4)), serving("Winback-v0", 3, np.arange(4))
    for each in (cohort, other):
        each.step(schedule(each))
    rows = np.array([False, True, False, True])
    cohort.restart(rows, np.array([8, 9], np.uint64), np.array([100, 200]))
    assert cohort.customer.tolist() == [0, 100, 2, 200]
    for row in (0, 2):
        np.testing.assert_equal(snapshot(cohort, row), snapshot(other, row))
    cohort.replace(rows)
    assert cohort.customer.tolist() == [0, 100 + GENERATION, 2, 200 + GENERATION]


def test_observe_of_some_rows_is_a_part_of_observe_of_all() -> None:
    for name in ("Omnichannel-v0", "Winback-v0"):
        cohort = serving(name, 1, np.arange(9))
        for _ in range(10):
            cohort.step(schedule(cohort))
        rows = np.arange(9) % 3 == 1
        np.testing.assert_array_equal(cohort.observe(rows), cohort.observe()[rows])
        assert cohort.observe().dtype == np.float32


def test_fatigue_and_bond_are_in_their_units() -> None:
    cohort = serving("Frequency-v0", 1, np.arange(50))
    fatigue, bond = cohort.scenario.fatigue, cohort.scenario.bond
    np.testing.assert_allclose(cohort.fatigue(), fatigue.start)
    np.testing.assert_allclose(cohort.bond(), bond.start, atol=0.5 / (bond.levels - 1))
    for _ in range(60):
        cohort.step(np.ones(50, np.int64))
    rest = cohort.scenario.channels[0].load / (1 - 0.5 ** (1 / fatigue.half_life))
    reached = cohort.fatigue()[cohort.state.alive & cohort.state.reachable[0]]
    assert len(reached) > 10
    assert abs(reached.mean() - rest) < 1.0  # daily messages rest at load / (1 - decay)
    assert cohort.bond().min() >= 0
    assert cohort.bond().max() <= 1
