"""Climb to the maximum of the joint model, step by step, and say how sure every number is.

This file must never know what the unknowns mean beyond where to start them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logit
from sklearn.mixture import GaussianMixture

from blockenv.scenarios import Scenario
from calibration.estimation.bond import class_course
from calibration.estimation.joint import Evaluation, JointModel
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.parameters import Layout, layout_of, prior

ENOUGH = 0.02  # expected gain of log-likelihood of another step
MOST_STEPS = 60
BOND_ROUNDS = 2


@dataclass(frozen=True)
class JointFit:
    """The maximum, with the covariance of `theta` (P, P) by the outer product of scores, clustered by customer."""

    panel: Panel
    layout: Layout
    theta: Floats
    covariance: Floats
    evaluation: Evaluation
    model: JointModel
    log_likelihood: float
    bic: float

    @property
    def shares(self) -> Floats:
        """(K,) of the population."""
        weights = self.layout.table(self.theta, "log_weight")[:, 0]
        share = np.exp(weights - weights.max())
        return np.asarray(share / share.sum())


def fit_joint(
    panel: Panel,
    alive: Floats,
    classes: int,
    given: Scenario,
    start: JointFit | None = None,
    progress: Callable[[int], None] | None = None,
) -> JointFit:
    """Fit K classes; the steps are those of Berndt, Hall, Hall & Hausman (1974), halved until they climb.

    Args:
        alive: (M,) probability that a message found a customer.
        start: a fit of one class to start from; found if not given.
        progress: called with the number of steps taken.
    """
    layout = layout_of(
        classes,
        channels=len(panel.channels),
        slots=len(panel.slots),
        styles=len(panel.styles),
        products=len(panel.products),
        hints=panel.hints.shape[1],
    )
    if classes > 1:
        start = start or fit_joint(panel, alive, 1, given, progress=progress)
        theta = _split(panel, layout, start)
    else:
        theta = _plain(panel, layout, alive)
    model = JointModel(panel, layout, alive, _bonds(panel, layout, theta, given))
    found = model.evaluate(theta)
    for round_ in range(BOND_ROUNDS + 1):
        theta, found = _climb(model, theta, found, 1.0 if round_ < BOND_ROUNDS else ENOUGH, progress)
        if round_ < BOND_ROUNDS:
            model.bonds = _bonds(panel, layout, theta, given)
            found = model.evaluate(theta)
    _, _, curvature = prior(model.layout, theta)
    information = found.scores.T @ found.scores - np.diag(curvature)
    covariance = np.asarray(np.linalg.pinv(information), np.float64)
    log_likelihood = float(found.log_likelihood.sum())
    # The level of all classes together and of all log-weights is no unknown.
    unknowns = layout.size - 2
    bic = unknowns * np.log(panel.size) - 2.0 * log_likelihood
    return JointFit(panel, layout, theta, covariance, found, model, log_likelihood, float(bic))


def _climb(
    model: JointModel, theta: Floats, found: Evaluation, enough: float, progress: Callable[[int], None] | None
) -> tuple[Floats, Evaluation]:
    taken = 0
    value = float(found.log_likelihood.sum()) + prior(model.layout, theta)[0]
    while taken < MOST_STEPS:
        _, slope, curvature = prior(model.layout, theta)
        gradient = found.scores.sum(axis=0) + slope
        information = found.scores.T @ found.scores - np.diag(curvature)
        information += 1e-6 * np.eye(len(theta)) * np.trace(information) / len(theta) + 1e-8 * np.eye(len(theta))
        step = np.linalg.solve(information, gradient)
        if float(step @ gradient) < enough:
            break
        step *= min(1.0, 1.0 / float(np.abs(step).max()))
        for _ in range(8):
            there = theta + step
            after = model.evaluate(there)
            higher = float(after.log_likelihood.sum()) + prior(model.layout, there)[0]
            if higher > value:
                break
            step = 0.5 * step
        else:
            break
        theta, found, value = there, after, higher
        taken += 1
        if progress is not None:
            progress(1)
    return theta, found


def _bonds(panel: Panel, layout: Layout, theta: Floats, given: Scenario) -> list[Floats]:
    """K arrays (M,): the bond at each message, for each class."""
    courses = (class_course(panel, given, layout, theta, each) for each in range(layout.classes))
    return [course[panel.customer, panel.day] for course in courses]


def _plain(panel: Panel, layout: Layout, alive: Floats) -> Floats:
    """Pooled rates, no effects."""
    theta = np.zeros(layout.size)
    channels = len(panel.channels)
    sent = np.bincount(panel.channel, alive, channels) + 1.0
    blocked = np.bincount(panel.channel, panel.blocked, channels) + 0.5
    opened = np.bincount(panel.channel, panel.opened, channels) + 0.5
    values = {
        "block_log_rate": np.log(blocked / sent) - 1.0,
        "block_bond": 2.0,
        "block_relevance": 1.0,
        "log_frailty": np.log(0.8),
        "open_logit": logit(np.clip(opened / sent, 0.001, 0.999)),
        "open_bond": 0.8,
        "open_fatigue": 0.05,
        "open_slot": 0.3,
        "log_open_spread": np.log(0.5),
        "log_ideal_load.0": 1.0,
        "reactance.0": 0.3,
    }
    for place, value in values.items():
        theta[layout.places[place]] = value
    return theta


def _split(panel: Panel, layout: Layout, start: JointFit) -> Floats:
    """Copies of the one class, told apart by covariates, or else by what customers open and by luck."""
    theta = np.zeros(layout.size)
    for name in layout.common:
        theta[layout.places[name]] = start.layout.common_of(start.theta, name)
    features = panel.hints if panel.hints.shape[1] else _tastes(panel)
    mixture = GaussianMixture(layout.classes, covariance_type="diag", n_init=4, random_state=0, reg_covar=1e-3).fit(
        features
    )
    share = mixture.predict_proba(features)
    usual = np.bincount(panel.product, panel.opened, len(panel.products)) / np.maximum(
        np.bincount(panel.product, minlength=len(panel.products)), 1
    )
    for each in range(layout.classes):
        for name in layout.by_class:
            theta[layout.places[f"{name}.{each}"]] = start.layout.of_class(start.theta, name, 0)
        theta[layout.places[f"log_weight.{each}"]] = np.log(mixture.weights_[each])
        weight = share[panel.customer, each]
        opens = np.bincount(panel.product, weight * panel.opened, len(panel.products))
        rate = opens / np.maximum(np.bincount(panel.product, weight, len(panel.products)), 1.0)
        theta[layout.places[f"relevance.{each}"]] += logit(np.clip(rate, 0.01, 0.99)) - logit(
            np.clip(usual, 0.01, 0.99)
        )
        if panel.hints.shape[1]:
            theta[layout.places[f"hint.{each}"]] = mixture.means_[each]
    if panel.hints.shape[1]:
        theta[layout.places["log_hint_noise"]] = 0.5 * np.log(mixture.weights_ @ mixture.covariances_)
    return theta


def _tastes(panel: Panel) -> Floats:
    """(N, P) each customer's opens by product beyond what is usual, shrunk."""
    products = len(panel.products)
    cell = panel.customer * products + panel.product
    opened = np.bincount(cell, panel.opened, panel.size * products).reshape(-1, products)
    usual = np.bincount(panel.channel, panel.opened) / np.maximum(np.bincount(panel.channel), 1)
    expected = np.bincount(cell, usual[panel.channel], panel.size * products).reshape(-1, products)
    return np.asarray(np.log((opened + 2.0) / (expected + 2.0)))
