"""The optimum without an end: against long horizons, weekday by weekday, and its own certificate."""

import numpy as np
import pytest

from blockenv import mdp
from blockenv.scenarios import SCENARIOS, get
from tests.test_mdp import drawn


def test_the_stationary_optimum_is_what_a_long_horizon_comes_to() -> None:
    scenario = get({"base": "Opposites-v0", "name": "Short-v0", "discount": 0.95})
    for batch in mdp.batches(scenario, drawn(scenario, 6))[:2]:
        forever = mdp.Stationary(batch, tolerance=1e-9)
        assert forever.bound <= 1e-9
        assert len(forever.week) == 7
        days = 7 * 60
        np.testing.assert_allclose(forever.week[0], mdp.optimal_value(batch, days), rtol=1e-8)
        tables = [mdp.optimal_table(forever, day) for day in range(7)]
        played = mdp.policy_value(batch, lambda day, tables=tables: tables[day % 7], days)
        np.testing.assert_allclose(played, forever.week[0], rtol=1e-8)
        for day in range(14):
            morning = forever.best.value(forever.calendar(day), forever.later(day))
            np.testing.assert_allclose(morning, forever.later(day + 6), rtol=1e-8)  # a week before: the day itself


def test_without_weekends_one_table_serves_all_days_and_drift_is_over() -> None:
    scenario = get({"base": "Drift-v0", "name": "Drifted-v0", "discount": 0.95, "calendar": {
        "tolerance_drift": 0.7, "drift_days": 30, "season": 0.3}})  # fmt: skip
    batch = mdp.batches(scenario, drawn(scenario, 4))[0]
    forever = mdp.Stationary(batch, tolerance=1e-8)
    assert len(forever.week) == 1
    assert forever.calendar(0) >= 30
    calm = batch._replace(rules=batch.rules._replace(season=0.0))
    plan = mdp.Plan(calm, 35 + 7 * 60)
    np.testing.assert_allclose(forever.week[0], plan.later(34), rtol=1e-7)


def test_a_customer_who_never_leaves_and_an_undiscounted_future_have_no_stationary_optimum() -> None:
    scenario = get(
        {"base": "Frequency-v0", "name": "Endless-v0", "discount": 1.0, "response": {"churn_probability": 0.0}}
    )
    batch = mdp.batches(scenario, drawn(scenario, 2))[0]
    with pytest.raises(ValueError, match="discount: 1"):
        mdp.Stationary(batch)
    with pytest.raises(ValueError, match="not reached in 3 weeks"):
        mdp.Stationary(mdp.batches(SCENARIOS["Frequency-v0"], drawn(SCENARIOS["Frequency-v0"], 2))[0], 1e-6, 3)
