"""The leaderboard's error bars hold what they promise: scipy's known answers, and cover by simulation."""

from collections.abc import Callable, Sequence
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchmarks.statistics import (
    Estimate,
    mean_estimate,
    paired_difference,
    ranks,
    relative,
)
from tests.made_up_rows import CUSTOMERS, GOOD, HOLED, MEAN, world

DETERMINISTIC = settings(deadline=None, derandomize=True, max_examples=60)

# Standard error of a difference of rules in `world`, the unit for "large" seed variance.
CUSTOMER_ERROR = (2 / CUSTOMERS) ** 0.5


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


# --- known answers ---


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("customers", [2, 3, 30, 5000])
def test_two_rules_get_the_paired_t_interval(customers: int, level: float) -> None:
    a, b = np.random.default_rng(1).lognormal(size=(2, 1, customers))
    expected = stats.ttest_rel(a[0], b[0]).confidence_interval(level)
    estimate = paired_difference(a, b, level)
    assert estimate.mean == pytest.approx(a.mean() - b.mean())
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.standard_error == pytest.approx(stats.sem(a[0] - b[0]))


@pytest.mark.parametrize(("seeds_a", "seeds_b"), [(2, 2), (3, 2), (3, 5), (10, 4)])
def test_where_all_customers_are_alike_learners_get_the_welch_interval(seeds_a: int, seeds_b: int) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal(seeds_a), 3 * rng.standard_normal(seeds_b)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    estimate = paired_difference(np.repeat(a[:, None], 40, axis=1), np.repeat(b[:, None], 40, axis=1))
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_a_mean_has_the_one_sample_interval_over_customers_or_over_seeds() -> None:
    sample = np.random.default_rng(3).standard_normal(7)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    for table in (sample[None, :], np.repeat(sample[:, None], 50, axis=1)):
        estimate = mean_estimate(table)
        assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_pairing_removes_what_customers_have_in_common() -> None:
    rng = np.random.default_rng(4)
    a, b = world(rng, [1, 1], 0, 0)
    paired, unpaired = paired_difference(a, b), paired_difference(a, rng.permutation(b, axis=1))
    assert paired.standard_error < 0.5 * unpaired.standard_error


@DETERMINISTIC
@given(st.integers(1, 4), st.integers(1, 4), st.floats(-50, 50), st.floats(0.1, 50), st.integers(0, 2**32))
def test_difference_is_antisymmetric_and_follows_the_currency(
    seeds_a: int, seeds_b: int, gift: float, exchange: float, seed: int
) -> None:
    a, b = world(np.random.default_rng(seed), [seeds_a, seeds_b], 0.3, 1.0)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert back == pytest.approx((-there.mean, -there.high, -there.low, there.standard_error))
    moved = paired_difference(exchange * (a + gift), exchange * (b + gift))
    assert moved == pytest.approx(tuple(exchange * part for part in there), rel=1e-6, abs=1e-9)


# --- cover, by simulation ---


@pytest.mark.parametrize(
    ("seeds", "seed_spread", "rest_spread", "floor"),
    [
        ((1, 1), 0.0, 0.0, 0.95),
        ((3, 1), 0.0, 0.0, 0.95),
        ((3, 1), 0.0, 2.0, 0.95),
        ((3, 1), 2 * CUSTOMER_ERROR, 1.0, 0.94),
        ((3, 1), 20 * CUSTOMER_ERROR, 1.0, 0.93),
        ((3, 3), 0.0, 1.0, 0.95),
        ((3, 3), 20 * CUSTOMER_ERROR, 1.0, 0.95),
        ((5, 1), 0.0, 1.0, 0.95),
        ((5, 1), 20 * CUSTOMER_ERROR, 1.0, 0.95),
        ((5, 3), 2 * CUSTOMER_ERROR, 1.0, 0.95),
        ((5, 5), 20 * CUSTOMER_ERROR, 1.0, 0.95),
    ],
)
def test_interval_covers_customers_and_training_luck(
    seeds: tuple[int, int], seed_spread: float, rest_spread: float, floor: float
) -> None:
    rng, repeats = np.random.default_rng(5), 800
    pairs = (world(rng, seeds, seed_spread, rest_spread) for _ in range(repeats))
    estimates = [paired_difference(a, b) for a, b in pairs]
    tolerance = 3 * (0.95 * 0.05 / repeats) ** 0.5
    assert floor - tolerance <= np.mean([covers(estimate, 0.0) for estimate in estimates])
    # No wider than honesty needs: a variance that counted something twice would be spent in vain.
    spent = np.mean([estimate.standard_error**2 for estimate in estimates])
    needed = np.var([estimate.mean for estimate in estimates])
    assert 0.85 < spent / needed < 1.25
    # "A beats B" for equal agents, in either direction.
    assert np.mean([estimate.low > 0 for estimate in estimates]) <= 0.05 + tolerance
    assert np.mean([estimate.high < 0 for estimate in estimates]) <= 0.05 + tolerance


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_mean_and_uplift_cover_the_truth(seeds: int) -> None:
    rng, repeats, uplift = np.random.default_rng(6), 500, 0.3
    hits = np.zeros(2)
    for _ in range(repeats):
        values, silence = world(rng, [seeds, 1], 5 * CUSTOMER_ERROR, 1.0)
        mean, gain = mean_estimate(values), relative((1 + uplift) * values, silence)
        hits += covers(mean, MEAN), covers(gain, uplift)
    assert (hits / repeats >= 0.93 - 3 * (0.95 * 0.05 / repeats) ** 0.5).all()


def test_any_false_verdict_among_equal_agents_is_rarer_than_one_in_twenty() -> None:
    rng, repeats = np.random.default_rng(7), 400
    verdicts = [ranks(world(rng, [1, 1, 3, 5, 5], CUSTOMER_ERROR, 1.0)) for _ in range(repeats)]
    false = np.mean([any(rank.low > 1 for rank in verdict) for verdict in verdicts])
    assert false <= 0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5


# --- uplift ---


def test_uplift_of_a_fixed_share_is_known_exactly_thanks_to_pairing() -> None:
    silence = np.random.default_rng(8).lognormal(size=(1, 50))
    assert relative(1.3 * silence, silence) == pytest.approx((0.3, 0.3, 0.3, 0.0))
    assert relative(silence, silence) == Estimate(0.0, 0.0, 0.0, 0.0)


def test_uplift_over_a_reference_that_may_be_zero_is_refused() -> None:
    values = np.random.default_rng(9).standard_normal((1, 50))
    with pytest.raises(ValueError, match=r"reference: mean .* expected one above zero"):
        relative(values + 1, values - values.mean() + 0.1)


# --- ranks ---


def test_clear_order_is_told_and_equal_agents_tie() -> None:
    rng = np.random.default_rng(10)
    base = rng.standard_normal((3, 200))
    middle = 5 + rng.standard_normal((1, 200))
    found = ranks([base, 10 + base, middle, middle.copy()])
    assert [(rank.low, rank.high, rank.tied_with_best, rank.letters) for rank in found] == [
        (4, 4, False, "c"),
        (1, 1, True, "a"),
        (2, 3, False, "b"),
        (2, 3, False, "b"),
    ]


def test_an_agent_between_two_groups_carries_both_letters() -> None:
    # By customer: best beats last clearly, the one between is noisy and beats or loses to nobody.
    noise = np.tile([1.0, -1.0], 50)
    found = ranks([(2 + 0.1 * noise)[None], (1 + 10 * noise)[None], (0.1 * np.roll(noise, 1))[None]])
    assert [rank.letters for rank in found] == ["a", "ab", "b"]
    assert [(rank.low, rank.high) for rank in found] == [(1, 2), (1, 3), (2, 3)]
    assert [rank.tied_with_best for rank in found] == [True, True, False]


def test_a_learner_that_collapsed_into_a_rule_ties_with_it_in_spite_of_rounding() -> None:
    rule = np.random.default_rng(11).lognormal(size=(1, 3001))
    for seeds in (3, 5, 7, 10):
        collapsed = np.repeat(rule, seeds, axis=0)
        assert paired_difference(collapsed, rule).mean == 0
        assert {rank.letters for rank in ranks([collapsed, rule])} == {"a"}


def test_certain_difference_without_any_spread_is_a_verdict() -> None:
    assert [rank.low for rank in ranks([np.zeros((1, 5)), np.ones((1, 5))])] == [2, 1]


agents_of_all_kinds = st.tuples(
    st.integers(0, 2**32), st.lists(st.tuples(st.integers(1, 4), st.floats(0, 2)), min_size=1, max_size=8)
)


def drawn_agents(seed: int, kinds: Sequence[tuple[int, float]]) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return [table + shift for table, (_, shift) in zip(world(rng, [k for k, _ in kinds], 0.1, 1.0), kinds, strict=True)]


@DETERMINISTIC
@given(agents_of_all_kinds)
def test_letters_and_rank_intervals_tell_the_same_story(drawn: tuple[int, list[tuple[int, float]]]) -> None:
    tables = drawn_agents(*drawn)
    found = ranks(tables)
    best = int(np.argmax([table.mean() for table in tables]))
    assert found[best].tied_with_best
    assert "a" in found[best].letters
    for i, rank in enumerate(found):
        sharing = [j for j in range(len(found)) if j != i and set(rank.letters) & set(found[j].letters)]
        assert rank.high - rank.low == len(sharing)
        assert rank.tied_with_best == (rank.low == 1)
    groups = [{i for i, rank in enumerate(found) if letter in rank.letters} for letter in "abcdefgh"]
    assert not any(one and one < other for one in groups for other in groups)


@DETERMINISTIC
@given(agents_of_all_kinds, st.randoms(use_true_random=False))
def test_the_order_in_which_agents_are_listed_does_not_matter(
    drawn: tuple[int, list[tuple[int, float]]], shuffler: Random
) -> None:
    tables = drawn_agents(*drawn)
    order = list(range(len(tables)))
    shuffler.shuffle(order)
    found, shuffled = ranks(tables), ranks([tables[i] for i in order])
    assert shuffled == [found[i] for i in order]


@DETERMINISTIC
@given(st.integers(0, 2**32), st.integers(2, 7), st.sampled_from([0.8, 0.95, 0.99]))
def test_verdicts_on_rules_are_holms(seed: int, count: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    rules = rng.standard_normal((count, 1, 30)) + rng.uniform(0, 1, size=(count, 1, 1))
    pairs = list(combinations(range(count), 2))
    chances = np.array([stats.ttest_rel(rules[i][0], rules[j][0]).pvalue for i, j in pairs])
    order = np.argsort(chances)
    adjusted = np.maximum.accumulate(chances[order] * np.arange(len(pairs), 0, -1))
    expected = np.zeros(count, dtype=int)
    for k in order[adjusted <= 1 - level]:
        expected[list(pairs[k])] += 1
    found = ranks(list(rules), level)
    assert [count - 1 - (rank.high - rank.low) for rank in found] == expected.tolist()


# --- errors ---


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (HOLED, r"2 entries not finite, first at seed 1, customer 1"),
        (np.ones(4), r"shape \(4,\)"),
        (np.ones((2, 2, 4)), r"shape \(2, 2, 4\)"),
        (np.ones((0, 4)), r"shape \(0, 4\)"),
        (np.ones((2, 1)), r"shape \(2, 1\)"),
        ([[1.0, 2.0], [3.0]], r"not a table of numbers"),
    ],
)
def test_bad_tables_are_named(wrong: ArrayLike, reason: str) -> None:
    with pytest.raises(ValueError, match="values: .*" + reason):
        mean_estimate(wrong)
    with pytest.raises(ValueError, match="values_b: .*" + reason):
        paired_difference(GOOD, wrong)
    with pytest.raises(ValueError, match="reference: .*" + reason):
        relative(GOOD, wrong)
    with pytest.raises(ValueError, match=r"values\[1\]: .*" + reason):
        ranks([GOOD, wrong])


def test_unpaired_customers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values_b: 5 customers; expected the 4 of values_a"):
        paired_difference(GOOD, np.ones((2, 5)))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: mean_estimate(GOOD, level=95), r"level: 95"),
        (lambda: ranks([GOOD], level=0), r"level: 0"),
        (lambda: ranks([]), r"values: no agents"),
    ],
)
def test_bad_calls_are_named(call: Callable[[], object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call()
