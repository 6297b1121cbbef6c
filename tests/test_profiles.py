"""The performance profile counts trainings right, and its band is as wide as the luck of training."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.profiles import performance_profile


def test_shares_are_counted_within_scenarios_and_averaged_over_them() -> None:
    found = performance_profile([[10.0, 30.0], [20.0]], [5, 10, 20, 25, 40], np.random.default_rng(0))
    assert [each.mean for each in found] == [1.0, 1.0, 0.75, 0.25, 0.0]
    assert found[0][:3] == (1, 1, 1)
    assert (found[3].low, found[3].high) == (0.0, 0.5)


def test_one_training_a_scenario_has_no_band() -> None:
    for each in performance_profile([[10.0], [20.0]], [0, 15, 30], np.random.default_rng(0)):
        assert each.low == each.mean == each.high


def test_the_band_has_the_binomial_spread() -> None:
    scores = np.repeat([0.0, 1.0], 10)
    (found,) = performance_profile([scores], [0.5], np.random.default_rng(1), draws=4000)
    assert found.standard_error == pytest.approx((0.25 / 20) ** 0.5, rel=0.05)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.lists(st.floats(-50, 100), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 99))
def test_a_profile_never_rises(scores: list[list[float]], seed: int) -> None:
    found = performance_profile(scores, np.linspace(-60, 110, 30), np.random.default_rng(seed), draws=100)
    means = [each.mean for each in found]
    assert means == sorted(means, reverse=True)
    assert (means[0], means[-1]) == (1.0, 0.0)
    assert all(each.low <= each.mean + 1e-12 and each.mean <= each.high + 1e-12 for each in found)


@pytest.mark.parametrize(
    ("scores", "marks", "more", "reason"),
    [
        ([], [1.0], {}, "scores: shapes"),
        ([[]], [1.0], {}, "scores: shapes"),
        ([[np.nan]], [1.0], {}, "finite"),
        ([[1.0]], [np.inf], {}, "finite"),
        ([[1.0]], [1.0], {"draws": 99}, "draws: 99"),
        ([[1.0]], [1.0], {"level": 95}, "level: 95"),
    ],
)
def test_bad_calls_are_named(scores: Any, marks: Any, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        performance_profile(scores, marks, np.random.default_rng(0), **more)
