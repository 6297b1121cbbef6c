"""What is kept of customers is all there is of them, comes back as it was, and is never taken for something else."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blockenv import snapshots
from blockenv.cohort import Cohort
from blockenv.scenarios import get

N, SEED = 30, 5


def lived(days: int, scenario: str = "Winback-v0", customers: int = N) -> Cohort:
    cohort = Cohort(get(scenario), np.full(customers, SEED, np.uint64), np.arange(customers), compiled_code=False)
    for day in range(days):
        cohort.step(np.full(customers, day % cohort.scenario.actions))
    return cohort


def records(cohort: Cohort) -> snapshots.Records:
    return cohort.traits, cohort.state, cohort.log


def kept(cohort: Cohort) -> dict[str, NDArray[Any]]:
    return snapshots.taken(records(cohort), np.full(len(cohort), SEED, np.uint64), cohort.customer)


def assert_same(found: snapshots.Records, expected: snapshots.Records) -> None:
    pairs: list[tuple[Any, Any]] = list(zip(found, expected, strict=True))
    for one, other in pairs:
        assert type(one) is type(other)
        for name, values in other._asdict().items():
            again = getattr(one, name)
            assert again.dtype == values.dtype, name
            np.testing.assert_array_equal(again, values, err_msg=name)


@pytest.mark.parametrize("scenario", ["Winback-v0", "Omnichannel-v0"])
def test_what_was_taken_is_put_back(scenario: str) -> None:
    then, now = lived(20, scenario), lived(3, scenario)
    found = snapshots.put_back(kept(then), records(now))
    assert_same(found, records(then))
    assert any((one != other).any() for one, other in zip(found[1], now.state, strict=True)), "it was another state"


def test_every_array_is_named_by_its_record_and_tells_who_it_is() -> None:
    cohort = lived(2)
    arrays = kept(cohort)
    fields: dict[str, Any] = {"traits": cohort.traits, "state": cohort.state, "log": cohort.log}
    names = {f"{record}.{name}" for record, values in fields.items() for name in values._fields}
    assert arrays.keys() == names | {"seed", "customer"}
    np.testing.assert_array_equal(arrays["customer"], np.arange(N))
    assert (arrays["seed"] == SEED).all()


def test_copies_are_nobody_else_s() -> None:
    cohort = lived(5)
    arrays = kept(cohort)
    before = {name: values.copy() for name, values in arrays.items()}
    found = snapshots.put_back(arrays, records(cohort))
    for each in found:
        for name, values in each._asdict().items():
            assert not any(np.shares_memory(values, other) for other in arrays.values()), name
    for _ in range(5):
        cohort.step(np.ones(N, np.int64))
    cohort.replace(np.ones(N, bool))
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)


def test_a_file_gives_back_the_same(tmp_path: Any) -> None:
    cohort = lived(7)
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **kept(cohort))
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as file:
        assert_same(snapshots.put_back(dict(file), records(lived(0))), records(cohort))


def test_further_entries_are_ignored() -> None:
    cohort = lived(2)
    assert_same(snapshots.put_back(kept(cohort) | {"somebody's": np.zeros(3)}, records(cohort)), records(cohort))


@pytest.mark.parametrize("name", ["traits.hints", "traits.segment", "state.bond", "log.sent", "log.day"])
def test_what_is_missing_is_named(name: str) -> None:
    cohort = lived(1)
    arrays = kept(cohort)
    del arrays[name]
    with pytest.raises(KeyError, match=name):
        snapshots.put_back(arrays, records(cohort))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("traits.segment", lambda values: values[:-1], r"traits\.segment: int32\(29,\), expected int32\(30,\)"),
        ("traits.hints", lambda values: values.T, r"traits\.hints: float32\(4, 30\), expected float32\(30, 4\)"),
        ("state.alive", lambda values: values.astype(np.int8), r"state\.alive: int8\(30,\), expected bool\(30,\)"),
        ("log.day", lambda values: values.astype(float), r"log\.day: float64\(30,\), expected int64\(30,\)"),
        ("log.orders", lambda values: values[0], r"log\.orders: float32\(\), expected float32\(30,\)"),
    ],
)
def test_another_shape_or_type_is_named_with_what_was_expected(name: str, change: Any, message: str) -> None:
    cohort = lived(1)
    arrays = kept(cohort)
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=message):
        snapshots.put_back(arrays, records(cohort))


@pytest.mark.parametrize("changes", [{"customers": N + 1}, {"scenario": "Frequency-v0"}])
def test_customers_of_another_number_or_scenario_do_not_fit(changes: Any) -> None:
    with pytest.raises(ValueError, match=r"traits\.\w+: \w+\(.*\), expected \w+\(.*\)"):
        snapshots.put_back(kept(lived(1, **changes)), records(lived(1)))


def test_a_cohort_that_could_not_be_restored_is_what_it_was() -> None:
    cohort, other = lived(3), lived(3)
    arrays = lived(6).snapshot()
    del arrays["log.day"]
    with pytest.raises(KeyError, match=r"log\.day"):
        cohort.restore(arrays)
    assert_same(records(cohort), records(other))
    outcomes = [each.step(np.ones(N, np.int64)) for each in (cohort, other)]
    for one, two in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(one, two)
