"""What customers buy: of their own accord, after an opened message, and for how much.

Orders carry no mark of what prompted them, so an order on the day of an opened message counts as prompted only as far
as the customer's own rate does not explain it. This file must never attribute an order by its date alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln, logit

from blockenv.scenarios import Scenario
from calibration.estimation.alive import Alive
from calibration.estimation.fitting import JointFit
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.parameters import contrasts
from calibration.purchase_models import (
    BgNbd,
    GammaGamma,
    RepeatHistory,
    SpendSpread,
    fit_bg_nbd,
    fit_gamma_gamma,
    spend_spread,
)
from calibration.sources import Estimate, normal_estimate, positive_estimate

_STEP = 1e-4
Found = TypeVar("Found")


@dataclass(frozen=True)
class Organic:
    """Orders a day at bond 1/2, by class, and the shape of their Gamma distribution within a class."""

    rates: tuple[Estimate, ...]
    shape: Estimate
    own: Floats  # (N,) each customer's expected rate, given their orders


@dataclass(frozen=True)
class Prompted:
    """Logits of ordering after an open: by channel, and what style (by class) and relevance add."""

    channels: tuple[Estimate, ...]
    styles: tuple[tuple[Estimate, ...], ...]  # by class
    relevance: Estimate
    orders: float  # expected number of prompted orders in the log


@dataclass(frozen=True)
class Money:
    """What an order is worth; None where the log cannot tell."""

    spread: SpendSpread | None
    margin: Estimate | None
    discounts: dict[str, Estimate]
    bg_nbd: BgNbd | None
    gamma_gamma: GammaGamma | None


def fit_organic(panel: Panel, fit: JointFit, alive: Alive, courses: list[Floats], given: Scenario) -> Organic:
    """Negative binomial of orders on days without an opened message; intervals by the curvature."""
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
        shape, mean = np.exp(point[-1]), np.exp(point[:-1]) * exposure
        log_p = gammaln(shape + count[:, None]) - gammaln(shape) - gammaln(1.0 + count[:, None])
        log_p = log_p + shape * np.log(shape / (shape + mean)) + count[:, None] * np.log(mean / (shape + mean))
        return -float((posterior * log_p).sum())

    pooled = np.log(max(count.sum(), 1.0) / (posterior * exposure).sum())
    point, error = _maximum(loss, np.append(np.full(classes, pooled), 0.0))
    rate, shape = np.exp(point[:-1]), float(np.exp(point[-1]))
    own = (posterior * (shape + count[:, None]) / (shape / rate + exposure)).sum(axis=1)
    estimates = tuple(positive_estimate(float(p), float(e)) for p, e in zip(point, error, strict=True))
    return Organic(estimates[:-1], estimates[-1], own)


def fit_prompted(panel: Panel, fit: JointFit, organic: Organic, courses: list[Floats], given: Scenario) -> Prompted:
    """Maximum likelihood over opened messages; slopes on bond and overload are given, not estimated."""
    rows = np.flatnonzero(panel.opened)
    customer, day = panel.customer[rows], panel.day[rows]
    ordered = panel.by_day(panel.order_customer, panel.order_day)[customer, day] > 0
    posterior, response = fit.evaluation.posterior[customer], given.response
    classes, channels, basis = posterior.shape[1], len(panel.channels), contrasts(len(panel.styles))
    relevance, by_bond, own = [], [], []
    for each in range(classes):
        taste = fit.layout.of_class(fit.theta, "relevance", each)
        bond = courses[each][customer, day] - 0.5
        ideal = float(np.exp(fit.layout.of_class(fit.theta, "log_ideal_load", each)[0]))
        load = np.maximum(panel.load_before[rows] - ideal, 0.0)
        relevance.append(taste[panel.product[rows]])
        by_bond.append(response.buy_bond * bond - response.buy_fatigue * load)
        own.append(-organic.own[customer] * np.exp(response.organic_bond * bond))
    width = basis.shape[1]

    def logits(point: Floats, each: int) -> Floats:
        style = basis @ point[channels + 1 + each * width : channels + 1 + (each + 1) * width]
        base = point[panel.channel[rows]] + style[panel.style[rows]] + by_bond[each]
        return np.asarray(base + point[channels] * relevance[each])

    def loss(point: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros_like(point)
        for each in range(classes):
            through = expit(logits(point, each))
            none = (1.0 - through) * np.exp(own[each])
            value -= float((posterior[:, each] * np.log(np.where(ordered, np.maximum(1.0 - none, 1e-12), none))).sum())
            pull = np.where(ordered, none / np.maximum(1.0 - none, 1e-12), -1.0) * through * posterior[:, each]
            slope[:channels] -= np.bincount(panel.channel[rows], pull, channels)
            slope[channels] -= pull @ relevance[each]
            by_style = np.bincount(panel.style[rows], pull, len(panel.styles))
            slope[channels + 1 + each * width : channels + 1 + (each + 1) * width] -= by_style @ basis
        # As weak as a customer's word: styles of a class that hardly buys stay near zero.
        styles = point[channels + 1 :]
        slope[channels + 1 :] += styles
        away = point[: channels + 1] - start[: channels + 1]
        slope[: channels + 1] += 0.1 * away
        return value + 0.5 * float(styles @ styles) + 0.05 * float(away @ away), slope

    usual = max(float(ordered.mean()) - float(np.mean(-own[0])), 1e-4)
    start = np.zeros(channels + 1 + classes * width)
    start[:channels], start[channels] = logit(min(usual, 0.5)), response.buy_relevance
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    point = np.asarray(found.x, np.float64)
    curvature = np.empty((len(point), len(point)))
    for place in range(len(point)):
        move = np.zeros_like(point)
        move[place] = _STEP
        curvature[place] = (loss(point + move)[1] - loss(point - move)[1]) / (2 * _STEP)
    covariance = np.linalg.pinv(0.5 * (curvature + curvature.T))
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    styles = []
    for each in range(classes):
        part = slice(channels + 1 + each * width, channels + 1 + (each + 1) * width)
        spread = np.sqrt(np.maximum(np.diag(basis @ covariance[part, part] @ basis.T), 0.0))
        styles.append(
            tuple(normal_estimate(float(v), float(e)) for v, e in zip(basis @ point[part], spread, strict=True))
        )
    prompted = sum(float((posterior[:, each] * expit(logits(point, each))).sum()) for each in range(classes))
    by_channel = tuple(normal_estimate(float(v), float(e)) for v, e in zip(point[:channels], error, strict=False))
    return Prompted(
        by_channel, tuple(styles), normal_estimate(float(point[channels]), float(error[channels])), prompted
    )


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
        return fit()
    except (RuntimeError, ValueError, FloatingPointError):
        return None


def _margin(panel: Panel, full: Floats, paid: NDArray[Any]) -> Estimate | None:
    told = paid & np.isfinite(panel.order_margin)
    if told.sum() < 2:
        return None
    shares = (panel.order_margin + panel.order_discount)[told] / full[told]
    return normal_estimate(float(shares.mean()), float(shares.std() / np.sqrt(told.sum())))


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
        own = share[style == place]
        if len(own) > 1:
            found[name] = normal_estimate(float(own.mean()), float(own.std() / np.sqrt(len(own))))
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
    mean = np.bincount(customer[repeat], value[repeat], panel.size) / np.maximum(count, 1.0)
    return count[mean > 0], mean[mean > 0]


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
