import numpy as np
import pytest

from calibration.estimation.alive import find_alive, first_guess
from calibration.estimation.bond import bond_course
from calibration.estimation.effects import population_effects, true_effects
from calibration.estimation.fitting import _bonds, fit_joint
from calibration.estimation.joint import JointModel
from calibration.estimation.panel import CANON
from calibration.estimation.parameters import contrasts, layout_of
from calibration.estimation.pooled import pooled_effects
from tests import estimated_logs as logs


def test_contrasts_add_up_to_zero_and_are_orthonormal() -> None:
    for levels in (2, 3, 5):
        basis = contrasts(levels)
        assert np.allclose(basis.sum(axis=0), 0.0)
        assert np.allclose(basis.T @ basis, np.eye(levels - 1))
    assert contrasts(1).shape == (1, 0)


def test_every_unknown_has_a_place_of_its_own() -> None:
    layout = layout_of(3, 5, 3, 3, 4, 2)
    places = np.concatenate([np.arange(layout.size)[where] for where in layout.places.values()])
    assert sorted(places) == list(range(layout.size))


def test_scores_are_the_slopes_of_the_likelihood() -> None:
    panel = logs.panel()
    layout = layout_of(2, 5, 3, 3, 3, 4)
    rng = np.random.default_rng(0)
    theta = 0.1 * rng.normal(size=layout.size)
    theta[layout.places["block_log_rate"]] = -4.0
    model = JointModel(panel, layout, np.full(len(panel.customer), 0.9), _bonds(panel, layout, theta, CANON))
    scores = model.evaluate(theta).scores.sum(axis=0)
    for place in rng.choice(layout.size, 25, replace=False):
        move = np.zeros(layout.size)
        move[place] = 1e-4
        there, back = (model.evaluate(theta + side * move).log_likelihood.sum() for side in (1.0, -1.0))
        assert scores[place] == pytest.approx((there - back) / 2e-4, rel=1e-3, abs=0.02)


def test_hinges_differ_by_the_distance_and_are_sharp_far_away() -> None:
    panel = logs.panel()
    layout = layout_of(1, 5, 3, 3, 3, 4)
    model = JointModel(panel, layout, np.ones(len(panel.customer)), [np.full(len(panel.customer), 0.5)])
    above, below, _ = model.hinges(3.0, np.array([0.0, 3.0, 9.0]))
    assert np.allclose(above - below, [-3.0, 0.0, 6.0])
    assert above[0] == pytest.approx(0.0, abs=1e-3)
    assert below[2] == pytest.approx(0.0, abs=1e-3)


def test_who_has_left_is_found_on_average() -> None:
    panel, truth = logs.panel(), logs.truth()
    people = logs.log().frame("customers", ["customer", "name", "joined_at"]).set_index("name")
    joined = people.loc[panel.names, "joined_at"].to_numpy()
    left = (truth["left_at"].to_numpy() - joined) / np.timedelta64(1, "D")
    there = ~(left[panel.customer] < panel.day)
    weight = first_guess(panel).of_messages(panel)
    assert weight.mean() == pytest.approx(there.mean(), abs=0.02)
    assert weight[there].mean() > weight[~there].mean() + 0.3


def test_signs_of_life_are_never_doubted() -> None:
    panel = logs.panel()
    alive = first_guess(panel)
    assert (alive.by_day[panel.customer[panel.opened], panel.day[panel.opened]] == 1.0).all()
    assert (np.diff(alive.by_day, axis=1) <= 1e-12).all()
    assert alive.leaving_low < alive.leaving < alive.leaving_high


def test_a_firm_that_stops_writing_makes_messages_a_sign_of_life() -> None:
    panel = logs.panel()
    quiet = np.full(len(panel.customer), 0.2)
    alive = find_alive(panel, quiet, np.full(panel.size, 0.01), stops=True)
    assert (alive.of_messages(panel) == 1.0).all()


def test_the_bond_rises_with_opens_and_falls_to_its_rest() -> None:
    panel = logs.panel()
    warm, cold = (bond_course(panel, CANON, np.full(3, relevance), 4.0, 0.2) for relevance in (1.0, 0.0))
    assert warm.mean() > cold.mean()
    assert ((warm >= 0.0) & (warm <= 1.0)).all()
    assert (warm[:, 0] == CANON.bond.start).all()


def test_one_class_gives_effects_near_the_truth() -> None:
    panel, truth = logs.panel(), logs.truth()
    weight = first_guess(panel).of_messages(panel)
    fit = fit_joint(panel, weight, 1, CANON)
    found, true = population_effects(fit), true_effects(fit, truth, 1.0)
    errors = [(effect.high - effect.low) / 3.92 for effect in found]
    distance = [(effect.value - value) / error for effect, value, error in zip(found, true, errors, strict=True)]
    assert max(map(abs, distance)) < 5.0
    frequency = found[0]
    assert frequency.low > 0.0
    pooled = pooled_effects(panel, weight)
    assert [effect.name for effect in pooled] == [effect.name for effect in found]
    assert pooled[0].value < frequency.value  # sorting draws the pooled effect towards zero


def test_two_classes_fit_better_than_one() -> None:
    findings = logs.findings()
    assert findings.joint.bic < findings.criteria[1]
    assert findings.joint.shares.sum() == pytest.approx(1.0)
    assert np.allclose(findings.joint.evaluation.posterior.sum(axis=1), 1.0)


def test_no_extreme_opens_better_than_the_likely() -> None:
    """About zero instead of its maximum, Laplace's method once rewarded absurdly low open rates without limit."""
    panel = logs.panel()
    layout = layout_of(1, 5, 3, 3, 3, 4)
    theta = np.zeros(layout.size)
    theta[layout.places["block_log_rate"]] = -4.0
    theta[layout.places["open_logit"]] = -1.0
    theta[layout.places["log_open_spread"]] = 1.0
    bonds = [np.full(len(panel.customer), 0.5)]
    likely = JointModel(panel, layout, np.ones(len(panel.customer)), bonds).evaluate(theta).log_likelihood
    theta[layout.places["open_logit"]] = -8.0
    extreme = JointModel(panel, layout, np.ones(len(panel.customer)), bonds).evaluate(theta).log_likelihood
    assert extreme.sum() < likely.sum()
