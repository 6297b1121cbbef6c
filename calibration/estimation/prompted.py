"""What customers buy after an opened message, beyond what they would have bought that day anyway.

Orders carry no mark of what prompted them, so an order on the day of an opened message counts as prompted only as far
as the customer's own rate does not explain it. This file must never attribute an order by its date alone.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from blockenv.scenarios import Scenario
from calibration.estimation.fitting import JointFit
from calibration.estimation.orders import Organic
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.parameters import contrasts
from calibration.sources import Estimate, normal_estimate

_STEP = 1e-4
_START_PRECISION, _STYLE_PRECISION = (
    0.1,
    1.0,
)  # of weak normal priors; styles of a class that hardly buys stay near zero


@dataclass(frozen=True)
class Prompted:
    """Logits of ordering after an open: by channel, and what style (by class) and relevance add."""

    channels: tuple[Estimate, ...]
    styles: tuple[tuple[Estimate, ...], ...]  # by class
    relevance: Estimate
    orders: float  # expected number of prompted orders in the log


def fit_prompted(panel: Panel, fit: JointFit, organic: Organic, courses: list[Floats], given: Scenario) -> Prompted:
    """Maximum likelihood over opened messages; slopes on bond and overload are given, not estimated.

    Intervals are clustered by customer (the sandwich of Huber 1967 and White 1982) and take the classes for known.
    """
    model = _Opened(panel, fit, organic, courses, given)
    found = minimize(model.loss, model.start, jac=True, method="L-BFGS-B")
    point = np.asarray(found.x, np.float64)
    covariance = model.covariance(point)
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    styles = []
    for each in range(model.classes):
        part = model.style_places(each)
        spread = np.sqrt(np.maximum(np.diag(model.basis @ covariance[part, part] @ model.basis.T), 0.0))
        values = model.basis @ point[part]
        styles.append(tuple(normal_estimate(float(v), float(e)) for v, e in zip(values, spread, strict=True)))
    by_channel, relevance = slice(model.channels), model.channels
    return Prompted(
        tuple(normal_estimate(float(v), float(e)) for v, e in zip(point[by_channel], error[by_channel], strict=True)),
        tuple(styles),
        normal_estimate(float(point[relevance]), float(error[relevance])),
        model.expected(point),
    )


class _Opened:
    """Opened messages, R of them, and the likelihood of an order on their days.

    Unknowns: a logit for each channel, a slope on relevance, contrasts of the styles for each class.
    """

    def __init__(self, panel: Panel, fit: JointFit, organic: Organic, courses: list[Floats], given: Scenario) -> None:
        rows = np.flatnonzero(panel.opened)
        self._size = panel.size
        self._customer, day = panel.customer[rows], panel.day[rows]
        self._channel, self._style = panel.channel[rows], panel.style[rows]
        self._ordered = panel.by_day(panel.order_customer, panel.order_day)[self._customer, day] > 0
        self._posterior, response = fit.evaluation.posterior[self._customer], given.response
        self.classes, self.channels = self._posterior.shape[1], len(panel.channels)
        self.basis = contrasts(len(panel.styles))
        self._relevance, self._by_bond, self._own = [], [], []
        for each in range(self.classes):
            bond = courses[each][self._customer, day] - 0.5
            ideal = float(np.exp(fit.layout.of_class(fit.theta, "log_ideal_load", each)[0]))
            load = np.maximum(panel.load_before[rows] - ideal, 0.0)
            self._relevance.append(fit.layout.of_class(fit.theta, "relevance", each)[panel.product[rows]])
            self._by_bond.append(response.buy_bond * bond - response.buy_fatigue * load)
            self._own.append(-organic.own[self._customer] * np.exp(response.organic_bond * bond))
        usual = max(float(self._ordered.mean()) - float(np.mean(-self._own[0])), 1e-4) if len(rows) else 1e-4
        self.start = np.zeros(self.channels + 1 + self.classes * self.basis.shape[1])
        self.start[: self.channels], self.start[self.channels] = logit(min(usual, 0.5)), response.buy_relevance
        self._precision = np.full(len(self.start), _STYLE_PRECISION)
        self._precision[: self.channels + 1] = _START_PRECISION

    def style_places(self, each: int) -> slice:
        """Where the contrasts of a class stand."""
        width = self.basis.shape[1]
        return slice(self.channels + 1 + each * width, self.channels + 1 + (each + 1) * width)

    def loss(self, point: Floats) -> tuple[float, Floats]:
        """Minus the log posterior density, and its slope."""
        value, slope = 0.0, np.zeros_like(point)
        for each in range(self.classes):
            none, pull = self._pull(point, each)
            chance = np.where(self._ordered, np.maximum(1.0 - none, 1e-12), none)
            value -= float((self._posterior[:, each] * np.log(chance)).sum())
            slope[: self.channels] -= np.bincount(self._channel, pull, self.channels)
            slope[self.channels] -= pull @ self._relevance[each]
            by_style = np.bincount(self._style, pull, len(self.basis))
            slope[self.style_places(each)] -= by_style @ self.basis
        away = point - self.start
        return value + 0.5 * float(away @ (self._precision * away)), slope + self._precision * away

    def expected(self, point: Floats) -> float:
        """How many orders were prompted."""
        each = [self._posterior[:, number] @ expit(self._logits(point, number)) for number in range(self.classes)]
        return float(sum(each))

    def covariance(self, point: Floats) -> Floats:
        """Of the unknowns, clustered by customer."""
        curvature = np.empty((len(point), len(point)))
        for place in range(len(point)):
            move = np.zeros_like(point)
            move[place] = _STEP
            curvature[place] = (self.loss(point + move)[1] - self.loss(point - move)[1]) / (2 * _STEP)
        bread = np.linalg.pinv(0.5 * (curvature + curvature.T))
        scores = self._scores(point)
        return np.asarray(bread @ (scores.T @ scores + np.diag(self._precision)) @ bread)

    def _scores(self, point: Floats) -> Floats:
        """(N, P) slopes of each customer's log-likelihood."""
        found, styles = np.zeros((self._size, len(point))), len(self.basis)
        by_channel, by_style = self._customer * self.channels + self._channel, self._customer * styles + self._style
        for each in range(self.classes):
            _, pull = self._pull(point, each)
            found[:, : self.channels] += np.bincount(by_channel, pull, self._size * self.channels).reshape(
                self._size, -1
            )
            found[:, self.channels] += np.bincount(self._customer, pull * self._relevance[each], self._size)
            sums = np.bincount(by_style, pull, self._size * styles).reshape(self._size, -1)
            found[:, self.style_places(each)] += sums @ self.basis
        return found

    def _logits(self, point: Floats, each: int) -> Floats:
        style = self.basis @ point[self.style_places(each)]
        base = point[self._channel] + style[self._style] + self._by_bond[each]
        return np.asarray(base + point[self.channels] * self._relevance[each])

    def _pull(self, point: Floats, each: int) -> tuple[Floats, Floats]:
        """(R,) chance of no order, and slope of the log-likelihood by the logit."""
        through = expit(self._logits(point, each))
        none = (1.0 - through) * np.exp(self._own[each])
        odds = np.where(self._ordered, none / np.maximum(1.0 - none, 1e-12), -1.0)
        return none, odds * through * self._posterior[:, each]
