import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.n_step import Stretches, Transition

GAMMA = 0.9


def lives(rows: int, days: int, seed: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "observation": rng.random((rows, 2), np.float32),
            "action": rng.integers(5, size=rows),
            "reward": rng.random(rows, np.float32),
            "leaving": rng.random(rows, np.float32) / 2,
            "next_observation": rng.random((rows, 2), np.float32),
            "ended": np.flatnonzero(rng.random(rows) < 0.3),
        }
        for _ in range(days)
    ]


def expected(days: list[dict[str, np.ndarray]], begun: int, length: int, row: int) -> tuple[float, float, np.ndarray]:
    """Reward, discount and last observation of a stretch, day by day, by the definition."""
    reward, discount = 0.0, 1.0
    for day in days[begun : begun + length]:
        reward += discount * float(day["reward"][row])
        discount *= GAMMA * (1.0 - float(day["leaving"][row]))
        after = day["next_observation"][row]
        if row in day["ended"]:
            break
    return reward, discount, after


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 5), length=st.integers(1, 6), seed=st.integers(0, 1000))
def test_a_stretch_is_the_discounted_sum_of_a_customers_own_days(rows: int, length: int, seed: int) -> None:
    days = lives(rows, 12, seed)
    stretches = Stretches(length, GAMMA)
    done = [stretches.add(**day) for day in days]  # type: ignore[arg-type]
    assert all(each is None for each in done[: length - 1])
    assert all(isinstance(each, Transition) for each in done[length - 1 :])
    for begun, transition in enumerate(done[length - 1 :]):
        assert transition is not None
        np.testing.assert_array_equal(transition.observation, days[begun]["observation"])
        np.testing.assert_array_equal(transition.action, days[begun]["action"])
        for row in range(rows):
            reward, discount, after = expected(days, begun, length, row)
            assert transition.reward[row] == pytest.approx(reward, rel=1e-5)
            assert transition.discount[row] == pytest.approx(discount, rel=1e-5)
            np.testing.assert_array_equal(transition.next_observation[row], after)


def test_stretches_go_on_from_a_snapshot() -> None:
    days = lives(4, 20, 1)
    whole, first, second = Stretches(4, GAMMA), Stretches(4, GAMMA), Stretches(4, GAMMA)
    undisturbed = [whole.add(**day) for day in days]  # type: ignore[arg-type]
    for day in days[:9]:
        first.add(**day)  # type: ignore[arg-type]
    second.restore(first.snapshot())
    for day, before in zip(days[9:], undisturbed[9:], strict=True):
        after = second.add(**day)  # type: ignore[arg-type]
        assert after is not None
        assert before is not None
        for ours, theirs in zip(after, before, strict=True):
            np.testing.assert_array_equal(ours, theirs)
