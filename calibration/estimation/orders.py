"""What customers buy of their own accord, and for how much.

This file must never count an order on a day on which a message was opened as the customer's own; see `prompted`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

from blockenv.scenarios import Scenario
from calibration.estimation.alive import Alive
from calibration.estimation.fitting import JointFit
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.rates import mean
from calibration.purchase_models import (
    BgNbd,
    GammaGamma,
    RepeatHistory,
    SpendSpread,
    fit_bg_nbd,
    fit_gamma_gamma,
    spend_spread,
)
from calibration.sources import Estimate, positive_estimate

Found = TypeVar("Found")


@dataclass(frozen=True)
class Organic:
    """Orders a day at bond 1/2, by class, and the shape of their Gamma distribution within a class."""

    rates: tuple[Estimate, ...]
    shape: Estimate
    own: Floats  # (N,) each customer's expected rate, given their orders


@dataclass(frozen=True)
class Money:
    """What an order is worth; None where the log cannot tell."""

    spread: SpendSpread | None
    margin: Estimate | None
    discounts: dict[str, Estimate]
    bg_nbd: BgNbd | None
    gamma_gamma: GammaGamma | None


def fit_organic(panel: Panel, fit: JointFit, alive: Alive, courses: list[Floats], given: Scenario) -> Organic:
    """Negative binomial of orders on days without an opened message; a customer is one count.

    Intervals are by the curvature and take the classes for known.
    """
    opened = panel.by_day(panel.customer[panel.opened], panel.day[panel.opened]) > 0
    orders = np.minimum(panel.by_day(panel.order_customer, panel.order_day), 1.0)
    count = (orders * ~opened).sum(axis=1)
    days = alive.by_day * ~opened
    slope = given.response.organic_bond
    exposure = np.stack([(days * np.exp(slope * (course - 0.5))).sum(axis=1) for course in courses], axis=1)
    exposure = np.maximum(exposure, 1e-3)
    posterior = fit.evaluation.posterior
    classes = posterior.shape[1]

    def loss(point: Floats) -> float:
        shape, usual = np.exp(point[-1]), np.exp(point[:-1]) * exposure
        log_p = gammaln(shape + count[:, None]) - gammaln(shape) - gammaln(1.0 + count[:, None])
        log_p = log_p + shape * np.log(shape / (shape + usual)) + count[:, None] * np.log(usual / (shape + usual))
        return -float((posterior * log_p).sum())

    pooled = np.log(max(count.sum(), 1.0) / (posterior * exposure).sum())
    point, error = _maximum(loss, np.append(np.full(classes, pooled), 0.0))
    rate, shape = np.exp(point[:-1]), float(np.exp(point[-1]))
    own = (posterior * (shape + count[:, None]) / (shape / rate + exposure)).sum(axis=1)
    estimates = tuple(positive_estimate(float(p), float(e)) for p, e in zip(point, error, strict=True))
    return Organic(estimates[:-1], estimates[-1], own)


def fit_money(panel: Panel) -> Money:
    """Order values before discount, margins, discounts by style, and the usual models of purchase histories."""
    full = panel.order_amount + panel.order_discount
    paid = full > 0
    return Money(
        _tried(lambda: spend_spread(full[paid], np.unique(panel.order_customer[paid], return_inverse=True)[1])),
        _margin(panel, full, paid),
        _discounts(panel, full),
        _tried(lambda: fit_bg_nbd(_history(panel))),
        _tried(lambda: fit_gamma_gamma(*_repeat_values(panel, full))),
    )


def _tried(fit: Callable[[], Found]) -> Found | None:
    """What a fit finds, or None where there are too few orders for it or its likelihood has no clear maximum."""
    try:
        with np.errstate(all="ignore"):  # a search that runs away ends in an error of its own
            return fit()
    except (RuntimeError, ValueError, FloatingPointError):
        return None


def _margin(panel: Panel, full: Floats, paid: NDArray[Any]) -> Estimate | None:
    told = paid & np.isfinite(panel.order_margin)
    if told.sum() < 2:
        return None
    return mean((panel.order_margin + panel.order_discount)[told] / full[told], panel.order_customer[told])


def _discounts(panel: Panel, full: Floats) -> dict[str, Estimate]:
    """Share of the value taken off orders on the day of an opened message, by its style."""
    if not panel.order_discount.any():
        return {}
    style_of = np.full((panel.size, panel.days), -1)
    style_of[panel.customer[panel.opened], panel.day[panel.opened]] = panel.style[panel.opened]
    style = style_of[panel.order_customer, panel.order_day]
    share = panel.order_discount / np.maximum(full, 1e-9)
    found = {}
    for place, name in enumerate(panel.styles):
        own = style == place
        if own.sum() > 1:
            found[name] = mean(share[own], panel.order_customer[own])
    return found


def _history(panel: Panel) -> RepeatHistory:
    """Repeat orders by day in weeks, of customers who ordered."""
    ordered = panel.by_day(panel.order_customer, panel.order_day) > 0
    buys = ordered.any(axis=1)
    first, last = ordered.argmax(axis=1)[buys], panel.days - 1 - ordered[:, ::-1].argmax(axis=1)[buys]
    repeats = ordered.sum(axis=1)[buys] - 1.0
    return RepeatHistory(repeats, (last - first) / 7.0, np.maximum(panel.watched[buys] - first, 1) / 7.0)


def _repeat_values(panel: Panel, full: Floats) -> tuple[Floats, Floats]:
    order = np.lexsort((panel.order_day, panel.order_customer))
    customer, value = panel.order_customer[order], full[order]
    repeat = np.append(False, customer[1:] == customer[:-1])
    count = np.bincount(customer[repeat], minlength=panel.size).astype(np.float64)
    average = np.bincount(customer[repeat], value[repeat], panel.size) / np.maximum(count, 1.0)
    return count[average > 0], average[average > 0]


def _maximum(loss: Callable[[Floats], float], start: Floats) -> tuple[Floats, Floats]:
    """The least loss and standard errors by its curvature."""
    found = minimize(loss, start, method="L-BFGS-B", jac="3-point")
    point = np.asarray(found.x, np.float64)
    step = 1e-3 * np.eye(len(point))
    curvature = np.array(
        [
            [loss(point + a + b) + loss(point - a - b) - loss(point + a - b) - loss(point - a + b) for b in step]
            for a in step
        ]
    )
    covariance = np.linalg.pinv(curvature / 4e-6)
    return point, np.sqrt(np.maximum(np.diag(covariance), 0.0))
