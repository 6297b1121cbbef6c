"""One planner, whichever library holds the arrays and at whichever precision."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blockenv import mdp
from blockenv.scenarios import SCENARIOS, get
from tests.test_mdp import TINY, drawn

# Between them all the code there is: seasons and drift with and without win-back, weekends, long and short menus.
SEASON = get({"base": "Opposites-v0", "name": "Season-v0", "calendar": {"season": 0.4}})
WORLDS = {"Tiny": TINY, "Season": SEASON, "Omnichannel": SCENARIOS["Omnichannel-v0"], "Drift": SCENARIOS["Drift-v0"]}
CUSTOMERS, DAYS = 4, 10


def torch_array(values: NDArray[Any]) -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return torch.from_numpy(np.array(values))


def results(name: str, dtype: type, asarray: Callable[[NDArray[Any]], Any]) -> dict[str, NDArray[Any]]:
    """Everything that the planner says of some customers."""
    scenario = WORLDS[name]
    batches = mdp.batches(scenario, drawn(scenario, CUSTOMERS, dtype=dtype), 3, asarray)
    found: dict[str, list[Any]] = {}

    def keep(what: str, batch: mdp.Batch, table: Any) -> None:
        assert type(table) is type(asarray(np.zeros(1)))
        found.setdefault(what, []).append((batch, mdp.at(table, mdp.newcomers(scenario, batch))))

    for batch in batches:
        plan = mdp.Plan(batch, DAYS)
        cap = mdp.fatigue_cap(1, 2.0)(batch)
        keep("optimum", batch, plan.value)
        keep("cap", batch, mdp.policy_value(batch, cap, DAYS))
        keep("myopic", batch, mdp.policy_value(batch, mdp.myopic()(batch), DAYS))
        keep("greedy", batch, mdp.policy_value(batch, lambda day, plan=plan: mdp.optimal_table(plan, day), DAYS))
        if scenario.discount < 0.99:  # elsewhere it takes seconds, and has nothing new to show
            keep("stationary", batch, mdp.Stationary(batch, tolerance=1e-3).week[0])
        course = mdp.occupancy(batch, cap, DAYS, mdp.newcomers(scenario, batch))
        for field, values in course._asdict().items():
            found.setdefault(field, []).append((batch, values.sum(axis=0).T))
    return {what: mdp.together(parts) for what, parts in found.items()}


@cache
def reference(name: str) -> dict[str, NDArray[Any]]:
    return results(name, np.float64, np.asarray)


@pytest.mark.parametrize("name", WORLDS)
def test_pytorch_says_what_numpy_says(name: str) -> None:
    found = results(name, np.float64, torch_array)
    for what, expected in reference(name).items():
        assert found[what].dtype == np.float64
        np.testing.assert_allclose(found[what], expected, rtol=2e-3 if what == "stationary" else 1e-11, atol=1e-12)


@pytest.mark.parametrize("library", [np.asarray, torch_array])
@pytest.mark.parametrize("name", WORLDS)
def test_single_precision_is_close(name: str, library: Callable[[NDArray[Any]], Any]) -> None:
    found = results(name, np.float32, library)
    for what, expected in reference(name).items():
        assert found[what].dtype == np.float32
        np.testing.assert_allclose(found[what], expected, rtol=2e-3 if what == "stationary" else 1e-4, atol=1e-6)


def test_the_error_of_single_precision_over_three_years_is_below_what_is_stated() -> None:
    scenario = SCENARIOS["Frequency-v0"]
    values = {
        dtype: mdp.optimal_value(mdp.batches(scenario, drawn(scenario, 16, dtype=dtype), 16)[0], 1092)
        for dtype in (np.float32, np.float64)
    }
    error = np.abs(values[np.float32] / values[np.float64] - 1.0).max()
    assert 1e-7 < error < 2e-4
