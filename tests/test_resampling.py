"""The bootstrap agrees with the closed forms where there are any, and the chance of winning is counted right."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.resampling import probability_of_improvement, stratified_bootstrap
from benchmarks.statistics import Estimate, paired_difference, relative
from tests.made_up_rows import GOOD, HOLED, world

# --- bootstrap ---


def difference(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((means[..., 0] - means[..., 1]).mean(axis=-1))


@pytest.mark.parametrize("seeds", [(1, 1), (5, 1), (4, 10)])
@pytest.mark.parametrize(("seed_spread", "rest_spread"), [(0.0, 2.0), (0.5, 3.0), (1.0, 2.0)])
def test_bootstrap_has_the_closed_forms_variance(
    seeds: tuple[int, int], seed_spread: float, rest_spread: float
) -> None:
    a, b = world(np.random.default_rng(12), seeds, seed_spread, rest_spread)
    closed = paired_difference(a, b)
    drawn = stratified_bootstrap([[a, b]], difference, np.random.default_rng(13), draws=4000)
    assert drawn.mean == pytest.approx(closed.mean)
    assert drawn.standard_error == pytest.approx(closed.standard_error, rel=0.05)


def test_bootstrap_of_the_uplift_agrees_with_the_delta_method() -> None:
    values, silence = world(np.random.default_rng(14), [5, 1], 0.2, 1.0)
    drawn = stratified_bootstrap(
        [[values, silence]], lambda m: m[:, 0, 0] / m[:, 0, 1] - 1, np.random.default_rng(15), draws=4000
    )
    delta = relative(values, silence)
    assert (drawn.mean, drawn.standard_error) == pytest.approx((delta.mean, delta.standard_error), rel=0.05)


def test_scenarios_are_strata_that_may_differ_in_customers() -> None:
    rng = np.random.default_rng(16)
    first, second = world(rng, [1, 1], 0, 0), [3 * table[:, :60] for table in world(rng, [1, 1], 0, 0)]
    errors = [paired_difference(a, b).standard_error for a, b in (first, second)]
    drawn = stratified_bootstrap([first, second], difference, rng, draws=4000)
    assert drawn.standard_error == pytest.approx(float(np.linalg.norm(errors)) / 2, rel=0.05)
    assert drawn.low < drawn.mean < drawn.high


def test_the_generator_decides_everything() -> None:
    pair = world(np.random.default_rng(17), [3, 2], 0.5, 1.0)

    def draw(seed: int) -> tuple[Estimate, Estimate]:
        rng = np.random.default_rng(seed)
        drawn = stratified_bootstrap([pair], difference, rng)
        return drawn, probability_of_improvement(pair[:1], pair[1:], rng)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_large_tables_are_resampled_in_pieces_to_the_same_end() -> None:
    a, b = np.random.default_rng(18).standard_normal((2, 1, 30_000))
    drawn = stratified_bootstrap([[a, b]], difference, np.random.default_rng(19), draws=500)
    assert drawn.standard_error == pytest.approx(paired_difference(a, b).standard_error, rel=0.15)


# --- probability of improvement ---


def flat(*means: float) -> NDArray[np.float64]:
    return np.repeat(np.array(means)[:, None], 4, axis=1)


def test_probability_of_improvement_counts_pairs_of_trainings() -> None:
    rng = np.random.default_rng(20)
    assert probability_of_improvement([flat(1, 3, 5)], [flat(2, 3)], rng).mean == pytest.approx(3.5 / 6)
    two_scenarios = probability_of_improvement([flat(1, 3, 5), flat(1)], [flat(2, 3), flat(0)], rng)
    assert two_scenarios.mean == pytest.approx((3.5 / 6 + 1) / 2)
    assert probability_of_improvement([flat(4, 5)], [flat(1, 2)], rng)[:3] == (1, 1, 1)


def test_probability_of_improvement_draws_the_seeds_of_either_side() -> None:
    # Against a fixed middle, two seeds drawn with replacement win a binomial share of one half.
    for a, b in [(flat(2), flat(1, 3)), (flat(1, 3), flat(2))]:
        estimate = probability_of_improvement([a], [b], np.random.default_rng(23), draws=4000)
        assert estimate[:3] == (0.5, 0, 1)
        assert estimate.standard_error == pytest.approx((0.25 / 2) ** 0.5, rel=0.05)


def test_probability_of_improvement_of_two_close_rules_is_not_called_certain() -> None:
    a, b = world(np.random.default_rng(21), [1, 1], 0, 0)
    a += b.mean() - a.mean() + 0.01
    estimate = probability_of_improvement([a], [b], np.random.default_rng(22))
    assert estimate[:3] == (1, 0, 1)
    back = probability_of_improvement([b], [a], np.random.default_rng(22))
    assert back.mean + estimate.mean == 1


def test_a_learner_that_collapsed_into_a_rule_wins_half_the_time_in_spite_of_rounding() -> None:
    rule = np.random.default_rng(11).lognormal(size=(1, 3001))
    for seeds in (3, 5, 7, 10):
        collapsed = np.repeat(rule, seeds, axis=0)
        even = probability_of_improvement([collapsed * (1 + 1e-15)], [rule], np.random.default_rng(0))
        assert even == (0.5, 0.5, 0.5, 0.0)


# --- errors ---


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [(HOLED, r"2 entries not finite, first at seed 1, customer 1"), (np.ones((2, 1)), r"shape \(2, 1\)")],
)
def test_bad_tables_are_named(wrong: NDArray[np.float64], reason: str) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"strata\[0\]\[1\]: .*" + reason):
        stratified_bootstrap([[GOOD, wrong]], difference, rng)
    with pytest.raises(ValueError, match=r"values_a\[0\]: .*" + reason):
        probability_of_improvement([wrong], [GOOD], rng)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda rng: stratified_bootstrap([[GOOD]], lambda m: m[:, 0, 0], rng, draws=99), r"draws: 99"),
        (lambda rng: stratified_bootstrap([], difference, rng), r"strata: \[\] agents"),
        (
            lambda rng: stratified_bootstrap([[GOOD], [GOOD, GOOD]], difference, rng),
            r"strata: \[1, 2\] agents",
        ),
        (lambda rng: stratified_bootstrap([[GOOD]], np.mean, rng), r"statistic: shape \(\)"),
        (lambda rng: stratified_bootstrap([[GOOD]], lambda m: m[:, 0, 0] * np.nan, rng), r"0 finite"),
        (lambda rng: probability_of_improvement([], [], rng), r"0 and 0 scenarios"),
        (lambda rng: probability_of_improvement([GOOD], [GOOD, GOOD], rng), r"1 and 2 scenarios"),
        (lambda rng: probability_of_improvement([GOOD], [GOOD], rng, draws=1), r"draws: 1"),
    ],
)
def test_bad_calls_are_named(call: Callable[[np.random.Generator], object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call(np.random.default_rng(0))
