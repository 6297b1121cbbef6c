"""Rules do exactly what their one sentence says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from agents.agent import Unwatched
from agents.rules import (
    Greedy,
    ProfitSettings,
    Random,
    Silence,
    Weekly,
    finite,
    immediate_profit,
    random_legal,
    weekday_of,
)
from blockenv import observation, play
from blockenv.cohort import Cohort
from blockenv.scenarios import get

RNG = np.random.default_rng(0)


def cohort_of(world: str, customers: int = 500) -> Cohort:
    return Cohort(get(world), np.full(customers, 9, np.uint64), np.arange(customers))


def test_weekdays_are_those_of_the_calendar() -> None:
    cohort = cohort_of("Frequency-v0")
    columns = observation.layout(cohort.scenario)
    met = set()
    for day in range(15):
        seen = cohort.observe()
        weekday = weekday_of(columns, seen)
        np.testing.assert_array_equal(weekday, (cohort.traits.joined + day) % 7)
        np.testing.assert_array_equal(weekday >= 5, seen[:, columns["date"].start] == 1.0)
        met |= set(weekday.tolist())
        cohort.step(np.zeros(500, np.int64))
    assert met == set(range(7))


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 9))), st.integers(0, 99))
def test_random_actions_are_legal(mask: NDArray[np.bool_], seed: int) -> None:
    mask[:, 0] = True
    actions = random_legal(mask, np.random.default_rng(seed))
    assert mask[np.arange(len(mask)), actions].all()


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 9))), st.integers(0, 99))
def test_a_random_action_is_the_legal_one_of_the_rank_that_was_drawn(mask: NDArray[np.bool_], seed: int) -> None:
    mask[:, 0] = True
    drawn = np.random.default_rng(seed).random(len(mask))
    expected = [np.flatnonzero(row)[int(rank * row.sum())] for row, rank in zip(mask, drawn, strict=True)]
    np.testing.assert_array_equal(random_legal(mask, np.random.default_rng(seed)), expected)


def test_random_actions_are_uniform_over_the_legal_ones() -> None:
    mask = np.tile([True, False, True, True, False, True], (40_000, 1))
    mask[20_000:] = [True, True, False, False, False, False]
    actions = random_legal(mask, np.random.default_rng(1))
    for rows, legal in ((actions[:20_000], [0, 2, 3, 5]), (actions[20_000:], [0, 1])):
        counts = np.bincount(rows, minlength=6)
        expected = len(rows) / len(legal)
        assert counts[legal].sum() == len(rows)
        chi_square = ((counts[legal] - expected) ** 2 / expected).sum()
        assert chi_square < 16.3  # 0.999 quantile for 3 degrees of freedom


def test_random_agent_draws_from_the_stream_it_is_given() -> None:
    agent, mask = Random(get("Style-v0")), np.ones((50, 7), bool)
    first, second, other = (agent.act(np.zeros((50, 1)), mask, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_silence_never_sends() -> None:
    result = play(Silence(get("Style-v0")), "Style-v0", customers=100, days=30)
    assert result.messages.sum() == 0
    assert result.cost.sum() == 0


@pytest.mark.parametrize("kind", [Greedy, Weekly])
def test_knowing_nothing_greedy_is_silent(kind: Any) -> None:
    agent = Greedy(get("Style-v0"))
    cohort = cohort_of("Style-v0")
    agent.profit = np.append(0.0, -np.arange(1.0, 7.0))
    assert (agent.act(cohort.observe(), cohort.legal_actions(), RNG) == 0).all()
    agent.profit = np.zeros(7)
    assert (agent.act(cohort.observe(), cohort.legal_actions(), RNG) == 0).all()


def test_greedy_takes_the_best_legal_profit() -> None:
    agent = Greedy(get("Style-v0"))
    agent.profit = np.array([0.0, -1.0, 3.0, 2.0, 1.0, -2.0, 0.5])
    mask = np.ones((4, 7), bool)
    mask[1, 2] = mask[2, 2:5] = False
    mask[3, 1:] = False
    np.testing.assert_array_equal(agent.act(np.zeros((4, 1)), mask, RNG), [2, 3, 6, 0])


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(float, 7, elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])),
    arrays.arrays(bool, st.tuples(st.integers(1, 20), st.just(7))),
)
def test_greedy_takes_the_first_of_the_best(profit: NDArray[np.float64], mask: NDArray[np.bool_]) -> None:
    agent = Greedy(get("Style-v0"))
    agent.profit, mask[:, 0] = profit, True
    best = np.where(mask, profit, -np.inf).argmax(axis=1)
    np.testing.assert_array_equal(agent.act(np.zeros((len(mask), 1)), mask, RNG), best)


def test_immediate_profit_is_what_a_message_adds_to_the_day() -> None:
    """Against the mean of the day's expected reward when everybody gets one message, without regression."""
    world = get("Style-v0")
    found = immediate_profit(world, 0, 2048, 3)
    assert found.shape == (world.actions,)
    assert found[0] == 0.0
    means = []
    for action in range(world.actions):
        cohort = cohort_of("Style-v0", 4000)
        means.append(cohort.step(np.full(4000, action)).expected_reward.mean())
    direct = np.array(means) - means[0]
    # Additive in its parts, so it need not be equal; but it orders messages alike and is of the same size.
    assert np.corrcoef(found[1:], direct[1:])[0, 1] > 0.95
    np.testing.assert_allclose(found, direct, atol=0.35 * np.abs(direct).max())


def test_messages_without_effect_are_worth_minus_their_cost() -> None:
    world = get("Style-v0")
    dear = [channel.model_copy(update={"cost": 2.0, "buy_logit": -20.0, "opt_in": 1.0}) for channel in world.channels]
    styles = [style.model_copy(update={"discount": 0.0}) for style in world.styles]
    world = world.model_copy(update={"channels": tuple(dear), "styles": tuple(styles)})
    agent = Greedy(world, ProfitSettings(customers=512, days=4))
    agent.fit(0, Unwatched())
    np.testing.assert_allclose(agent.profit[1:], -2.0, atol=0.1)
    result = play(agent, world, customers=50, days=10)
    assert result.messages.sum() == 0


def test_weekly_sends_once_a_week_on_each_channel_s_weekday() -> None:
    world = get("Style-v0")
    agent = Weekly(world, ProfitSettings(customers=256, days=4))
    agent.fit(0, Unwatched())
    cohort = cohort_of("Style-v0")
    best = [1 + agent.profit[1:4].argmax(), 4 + agent.profit[4:7].argmax()]
    week = np.zeros((2, 500), np.int64)
    for day in range(21):
        mask = cohort.legal_actions().copy()
        actions = agent.act(cohort.observe(), mask, RNG)
        weekday = (cohort.traits.joined + day) % 7
        for channel in range(2):
            on_channel = actions == best[channel]
            np.testing.assert_array_equal(on_channel, (weekday == channel) & mask[:, best[channel]])
            week[channel] += on_channel
        assert np.isin(actions, [0, *best]).all()
        cohort.step(actions)
        if day % 7 == 6:
            assert week.max() == 1
            week[:] = 0
    assert not mask.all(), "somebody has to have blocked"


def test_days_since_the_last_message_are_read_back() -> None:
    agent, cohort = Silence(get("Frequency-v0")), cohort_of("Frequency-v0", 8)
    assert (agent.days_since_send(cohort.observe()) > 900).all()
    cohort.step(np.ones(8, np.int64))
    for days in range(60):
        np.testing.assert_allclose(agent.days_since_send(cohort.observe()), days, atol=1e-3 * (days + 1))
        cohort.step(np.zeros(8, np.int64))


@pytest.mark.parametrize("values", [[1.0], [1.0, np.nan], [np.inf, 0.0], [[1.0, 2.0]], "text", None, [1.0, "a"]])
def test_values_that_are_not_finite_numbers_of_the_shape(values: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        finite(values, (2,))


def test_finite_values() -> None:
    np.testing.assert_array_equal(finite([1, 2.5], (2,)), [1.0, 2.5])
