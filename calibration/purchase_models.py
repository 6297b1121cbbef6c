"""How fast customers buy and when they stop, and how much they spend, as models fitted to lists of orders.

This file must never read a file or know one particular shop: arrays in, frozen records out.

Coming back follows BG/NBD (Fader, Hardie & Lee 2005, "Counting your customers" the easy way): while active a
customer orders at a Poisson rate, Gamma(r, alpha) between customers, and after any repeat order stops for
ever with a probability that is Beta(a, b) between customers. Spending is told twice: as gamma-gamma (Fader,
Hardie & Lee 2005, RFM and CLV) and as `blockenv` has it, log-normal within a customer around a log-mean of
the customer's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from calibration.sources import Estimate, normal_estimate, positive_estimate

Floats = NDArray[np.float64]
JACKKNIFE_GROUPS = 50
CURVATURE_STEP = 1e-3  # in the logarithm of a parameter


class RepeatHistory(NamedTuple):
    """What BG/NBD needs of each customer over a period of observation, times in weeks.

    `repeats`: orders after the first; `recency`: from the first to the last order; `age`: from the first
    order to the end of the period; all of shape (N,).
    """

    repeats: Floats
    recency: Floats
    age: Floats


@dataclass(frozen=True)
class BgNbd:
    """Parameters (alpha in weeks) and what they imply: order rates while active, dropout after a repeat."""

    r: Estimate
    alpha: Estimate
    a: Estimate
    b: Estimate
    alpha_days: Estimate
    mean_rate_per_week: Estimate
    mean_rate_per_day: Estimate
    rate_cv: Estimate
    mean_dropout: Estimate


@dataclass(frozen=True)
class GammaGamma:
    """Order values are Gamma(p, nu) within a customer, nu is Gamma(q, gamma) between them; gamma in money."""

    p: Estimate
    q: Estimate
    gamma: Estimate


@dataclass(frozen=True)
class SpendSpread:
    """Log order values: mean over customers of their log-means, spread between them and within one.

    `count_correlation` is between a customer's mean log value and log number of orders; a model in which
    spending does not depend on frequency takes it to be 0.
    """

    customer_log_mean: Estimate
    between_log_sd: Estimate
    within_log_sd: Estimate
    count_correlation: Estimate


def fit_bg_nbd(history: RepeatHistory) -> BgNbd:
    """Maximum likelihood; intervals are normal in the log of a parameter, by the curvature there.

    Raises `RuntimeError` where the likelihood has no clear maximum.
    """
    repeats, recency, age = history
    earlier = np.maximum(repeats, 1.0) - 1.0  # the dropout term is only used where there was a repeat

    def loss(logs: Floats) -> float:
        r, alpha, a, b = np.exp(logs)
        purchase = gammaln(r + repeats) - gammaln(r) + r * np.log(alpha)
        survival = betaln(a, b + repeats) - betaln(a, b)
        active = -(r + repeats) * np.log(alpha + age)
        stopped = np.log(a) - np.log(b + earlier) - (r + repeats) * np.log(alpha + recency)
        ending = np.where(repeats > 0, np.logaddexp(active, stopped), active)
        return -float((purchase + survival + ending).sum())

    logs, covariance = _maximum_likelihood(loss, 4, repeats.size, "BG/NBD")

    def implied(log_value: float, *gradient: float) -> Estimate:
        direction = np.array(gradient)
        return positive_estimate(log_value, float(direction @ covariance @ direction) ** 0.5)

    log_r, log_alpha, log_a, log_b = (float(log) for log in logs)
    log_week = float(np.log(7.0))
    log_dropout = log_a - float(np.logaddexp(log_a, log_b))
    stay = 1.0 - float(np.exp(log_dropout))
    return BgNbd(
        r=implied(log_r, 1.0, 0.0, 0.0, 0.0),
        alpha=implied(log_alpha, 0.0, 1.0, 0.0, 0.0),
        a=implied(log_a, 0.0, 0.0, 1.0, 0.0),
        b=implied(log_b, 0.0, 0.0, 0.0, 1.0),
        alpha_days=implied(log_alpha + log_week, 0.0, 1.0, 0.0, 0.0),
        mean_rate_per_week=implied(log_r - log_alpha, 1.0, -1.0, 0.0, 0.0),
        mean_rate_per_day=implied(log_r - log_alpha - log_week, 1.0, -1.0, 0.0, 0.0),
        rate_cv=implied(-0.5 * log_r, -0.5, 0.0, 0.0, 0.0),
        mean_dropout=implied(log_dropout, 0.0, 0.0, stay, -stay),
    )


def expected_purchases(model: BgNbd, history: RepeatHistory, weeks: float) -> Floats:
    """Expected orders, (N,), in the `weeks` after the period (Fader, Hardie & Lee 2005, equation 10)."""
    repeats, recency, age = history
    r, alpha, a, b = model.r.value, model.alpha.value, model.a.value, model.b.value
    reach = alpha + age + weeks
    series = hyp2f1(r + repeats, b + repeats, a + b + repeats - 1, weeks / reach)
    growth = 1 - ((alpha + age) / reach) ** (r + repeats) * series
    while_active = (a + b + repeats - 1) / (a - 1) * growth
    stopped_odds = a / (b + np.maximum(repeats, 1.0) - 1) * ((alpha + age) / (alpha + recency)) ** (r + repeats)
    return np.asarray(while_active / (1 + np.where(repeats > 0, stopped_odds, 0.0)), dtype=np.float64)


def fit_gamma_gamma(repeats: Floats, mean_value: Floats) -> GammaGamma:
    """Maximum likelihood from each customer's number of repeat orders and their mean value, (N,), above 0.

    Raises `RuntimeError` where the likelihood has no clear maximum.
    """

    def loss(logs: Floats) -> float:
        p, q, gamma = np.exp(logs)
        shape, total = p * repeats, repeats * mean_value
        density = q * np.log(gamma) + shape * np.log(total) - np.log(mean_value) - betaln(shape, q)
        return -float((density - (shape + q) * np.log(total + gamma)).sum())

    logs, covariance = _maximum_likelihood(loss, 3, repeats.size, "gamma-gamma")
    errors = np.sqrt(np.diag(covariance))
    p, q, gamma = (positive_estimate(float(log), float(error)) for log, error in zip(logs, errors, strict=True))
    return GammaGamma(p=p, q=q, gamma=gamma)


def _maximum_likelihood(loss: Callable[[Floats], float], size: int, customers: int, name: str) -> tuple[Floats, Floats]:
    """Logs of the positive parameters (size,) at the least loss, and their covariance (size, size)."""

    def mean_loss(logs: Floats) -> float:
        return loss(logs) / customers

    # Two-point gradients are too rough along the ridge of p and gamma: the line search gives up on some samples.
    found = minimize(mean_loss, np.zeros(size), method="L-BFGS-B", jac="3-point", options={"ftol": 1e-13, "gtol": 1e-7})
    logs = np.asarray(found.x, dtype=np.float64)
    steps = CURVATURE_STEP * np.eye(size)
    curvature = np.empty((size, size))
    for row, down in enumerate(steps):
        for column, across in enumerate(steps):
            rising = loss(logs + down + across) + loss(logs - down - across)
            falling = loss(logs + down - across) + loss(logs - down + across)
            curvature[row, column] = (rising - falling) / (4 * CURVATURE_STEP**2)
    if not found.success or np.linalg.eigvalsh(curvature).min() <= 0:
        raise RuntimeError(f"{name}: no clear maximum of the likelihood near {np.exp(logs)} ({found.message})")
    return logs, np.asarray(np.linalg.inv(curvature), dtype=np.float64)


def spend_spread(values: Floats, owners: NDArray[np.intp]) -> SpendSpread:
    """Spread of log order values by one-way analysis of variance, errors by jackknife over 50 customer groups.

    `values`: shape (M,), positive; `owners`: shape (M,), whose order it is, as numbers 0 to N-1 without a
    gap. Raises `ValueError` where there are fewer customers than groups or nobody ordered twice.
    """
    counts = np.bincount(owners).astype(np.float64)
    if counts.size < JACKKNIFE_GROUPS or counts.max() < 2:
        raise ValueError(
            f"{counts.size} customers with at most {counts.max(initial=0.0):.0f} orders each; "
            f"expected at least {JACKKNIFE_GROUPS} customers, some with 2 orders or more"
        )
    logs = np.log(values)
    means = np.bincount(owners, weights=logs) / counts
    squares = np.bincount(owners, weights=(logs - means[owners]) ** 2).astype(np.float64)
    groups = np.arange(counts.size) % JACKKNIFE_GROUPS
    partial = [
        _spread(counts[kept], means[kept], squares[kept]) for kept in (groups != out for out in range(JACKKNIFE_GROUPS))
    ]
    errors = np.sqrt((JACKKNIFE_GROUPS - 1) * np.var(partial, axis=0))
    whole = _spread(counts, means, squares)
    return SpendSpread(*(normal_estimate(value, float(error)) for value, error in zip(whole, errors, strict=True)))


def _spread(counts: Floats, means: Floats, squares: Floats) -> tuple[float, float, float, float]:
    orders, customers = float(counts.sum()), counts.size
    within = float(squares.sum()) / (orders - customers)
    among = float(counts @ (means - counts @ means / orders) ** 2) / (customers - 1)
    typical_count = (orders - float((counts**2).sum()) / orders) / (customers - 1)
    between = max((among - within) / typical_count, 0.0)
    correlation = float(np.corrcoef(means, np.log(counts))[0, 1])
    return float(means.mean()), between**0.5, within**0.5, correlation
