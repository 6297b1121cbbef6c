"""Rank agreement is Kendall's, and its interval knows which customers and trainings are the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.stability import rank_agreement
from tests.made_up_rows import GOOD, HOLED, world


def flat(means: list[float]) -> list[np.ndarray[Any, Any]]:
    return [np.full((1, 4), mean) for mean in means]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=8))
def test_it_is_tau_b(pairs: list[tuple[int, int]]) -> None:
    here, there = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = rank_agreement(flat(here), flat(there), np.random.default_rng(0), draws=100)
    expected = stats.kendalltau(here, there).statistic
    assert found.mean == pytest.approx(0.0 if np.isnan(expected) else expected)
    assert found.low == found.high == pytest.approx(found.mean)


def test_a_world_agrees_with_itself_for_certain() -> None:
    tables = world(np.random.default_rng(1), [1, 3, 3, 1], 0.5, 1.0)
    found = rank_agreement(tables, tables, np.random.default_rng(2))
    assert found[:3] == (1.0, 1.0, 1.0)


def test_agents_that_are_close_leave_the_order_open() -> None:
    rng = np.random.default_rng(3)
    close = rank_agreement(world(rng, [1, 1, 1], 0, 0), world(rng, [1, 1, 1], 0, 0), rng)
    assert close.high - close.low > 0.6
    apart = [table + 50 * k for k, table in enumerate(world(rng, [1, 3, 1], 0.1, 0.1))]
    assert rank_agreement(apart, apart[::-1], rng)[:3] == (-1.0, -1.0, -1.0)


@pytest.mark.parametrize(
    ("here", "there", "more", "reason"),
    [
        ([GOOD], [GOOD], {}, "1 and 1 agents"),
        ([GOOD, GOOD], [GOOD], {}, "2 and 1 agents"),
        ([GOOD, HOLED], [GOOD, GOOD], {}, r"here\[1\]: 2 entries not finite"),
        ([GOOD, GOOD], [GOOD, np.ones((1, 5))], {}, r"there\[1\]: 5 customers"),
        ([GOOD, GOOD], [GOOD, GOOD], {"draws": 5}, "draws: 5"),
    ],
)
def test_bad_calls_are_named(here: Any, there: Any, more: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rank_agreement(here, there, np.random.default_rng(0), **more)
