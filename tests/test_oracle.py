"""The oracle earns in the simulator what the optimum is worth on paper."""

from pathlib import Path

import numpy as np
import pytest

from agents.agent import AgentError, Unwatched
from agents.oracle import Oracle, OracleSettings
from blockenv import mdp, play, population
from blockenv.cohort import Cohort
from blockenv.scenarios import Scenario, changed, get
from tests.test_mdp import TINY

SEED, CUSTOMERS = 5, 160
TINY_WINDOW = changed(TINY, evaluation_days=21)


def optimum(world: Scenario, customers: int) -> np.ndarray:
    traits = population.draw(world, np.full(customers, SEED, np.uint64), np.arange(customers), np.float64)
    return np.asarray(
        mdp.together(
            (batch, mdp.at(mdp.optimal_value(batch, world.evaluation_days), mdp.newcomers(world, batch)))
            for batch in mdp.batches(world, traits)
        )
    )


@pytest.mark.parametrize("horizon", ["window", "endless"])
def test_it_earns_what_the_optimum_is_worth(horizon: str) -> None:
    oracle = Oracle(TINY_WINDOW, OracleSettings(horizon=horizon))
    earned = play(oracle, TINY_WINDOW, SEED, CUSTOMERS).value
    exact = optimum(TINY_WINDOW, CUSTOMERS)
    error = (earned - exact).std(ddof=1) / CUSTOMERS**0.5
    gap = abs(float((earned - exact).mean()))
    # Without an end it ignores that bond and reach are worth nothing after the last day.
    assert gap < 2.6 * error if horizon == "window" else gap < 2.6 * error + 0.1 * exact.mean()


def test_the_dead_may_be_left_out_and_batches_may_differ() -> None:
    world = changed(TINY, evaluation_days=70)
    whole = play(Oracle(world), world, SEED, 120)
    assert whole.daily_alive[-1] < 0.8, "somebody has to be left out"
    kept = play(Oracle(world), world, SEED, 120, compact=False)
    parts = play(Oracle(world), world, SEED, 120, batch=50)
    np.testing.assert_array_equal(whole.value, kept.value)
    np.testing.assert_array_equal(whole.value, parts.value)


def test_days_are_planned_one_by_one_where_that_fits() -> None:
    world = get("Frequency-v0")
    few = Oracle(world, OracleSettings(memory=0.01))
    assert few.plans_by_day(8)
    assert not few.plans_by_day(4096)
    assert Oracle(world, OracleSettings(horizon="window")).plans_by_day(10**9)


def test_it_only_acts_for_customers_whose_first_day_it_has_seen(tmp_path: Path) -> None:
    world = get("Frequency-v0")
    oracle = Oracle(world, OracleSettings(horizon="endless"))
    oracle.fit(0, Unwatched())
    cohort = Cohort(world, np.full(3, 1, np.uint64), np.arange(3))
    with pytest.raises(AgentError, match="plays in"):
        oracle.act(cohort.observe(), cohort.legal_actions(), np.random.default_rng(0))
    cohort.step(np.zeros(3, np.int64))
    with pytest.raises(AgentError, match="first day"):
        oracle.meet(cohort)
    oracle.save(tmp_path)
    assert Oracle.load(tmp_path, world).settings == oracle.settings
