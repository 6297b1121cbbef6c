"""How many messages readers of a daily newsletter bear before they opt out, and how much they must differ.

The totals were published, the readers' own rows were not: this file must never pretend to more than the
totals below.

Many readers leave early and the rest hardly ever do. Nothing but differences between readers is needed for
that. Two ways to write such differences are fitted by least squares to the share of readers still subscribed
after 16, 87 and 313 messages:

- shifted-beta-geometric (Fader & Hardie 2007): a reader's block probability per message is Beta(a, b);
- normal frailty, as `blockenv` has it: block probability 1 - exp(-exp(b + u)) per message with u ~ Normal(0,
  sd) for life, so that a reader is left after n messages with probability exp(-n exp(b + u)).

The second comes about five times closer to the points. But there are three points for two parameters, they
are themselves an approximate Kaplan-Meier curve, and beyond 313 messages the two fits part: either is an
extrapolation there. The frailty is the whole difference between readers over about a year: where a model has
fatigue, bond and tastes besides, those hold part of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import betaln, roots_hermitenorm

from calibration.sources import Figure, Label, figure

Floats = NDArray[np.float64]
SOURCE = "third-party aggregate of a daily book newsletter, 2014-06 to 2017-04"
SUBSCRIBERS = 705_144  # FOUND
OPT_OUTS = 186_133  # FOUND; contains one mass opt-out of 2016-04-14, probably a cleaning of the list
MESSAGES_BEFORE_OPT_OUT = (16, 87, 313)  # FOUND: quartiles among those who opted out
DAYS_BEFORE_OPT_OUT = (13, 74, 269)  # FOUND: quartiles among those who opted out
SURVIVAL = (0.935, 0.868, 0.786)  # DERIVED: share left after so many messages, approximate Kaplan-Meier
HAZARDS = (0.0042, 0.00105, 0.00044)  # DERIVED: opt-outs per message between those points

PARAMETER_UNITS = {
    "a": "dimensionless",
    "b": "dimensionless",
    "base_log_rate": "log of blocks per message",
    "frailty_sd": "log units",
}
QUADRATURE_NODES = 256  # within 1e-6 of adaptive integration for a frailty sd up to 4
TOLERANCE = 1e-12  # of the least squares, in steps, cost and gradient


@dataclass(frozen=True)
class CurveFit:
    """A fitted survival curve.

    `parameters`: a and b, or base_log_rate and frailty_sd. `survival`, `residuals` (fitted minus target): at
    the fitted points. `hazards`: mean log survival lost per message between the points, the first from
    message 0. `first_message_block_probability` and `survival_after_1000` are implied, the latter an
    extrapolation.
    """

    parameters: Mapping[str, float]
    survival: tuple[float, ...]
    residuals: tuple[float, ...]
    hazards: tuple[float, ...]
    first_message_block_probability: float
    survival_after_1000: float

    @property
    def largest_error(self) -> float:
        """How far off the curve is at its worst fitted point, in share of readers."""
        return max(abs(residual) for residual in self.residuals)


@dataclass(frozen=True)
class Newsletter:
    """The published totals and the two fits."""

    subscribers: int
    opt_outs: int
    messages_before_opt_out: tuple[int, ...]
    days_before_opt_out: tuple[int, ...]
    survival: tuple[float, ...]
    hazards: tuple[float, ...]
    shifted_beta_geometric: CurveFit
    normal_frailty: CurveFit


def beta_geometric_survival(a: float, b: float, messages: ArrayLike) -> Floats:
    """Share still subscribed after `messages` (any shape): B(a, b + n) / B(a, b), B the beta function."""
    counts = np.asarray(messages, dtype=np.float64)
    return np.asarray(np.exp(betaln(a, b + counts) - betaln(a, b)), dtype=np.float64)


def frailty_survival(base_log_rate: float, frailty_sd: float, messages: ArrayLike) -> Floats:
    """Share still subscribed after `messages` (any shape): E[exp(-n exp(b + u))] over u by Gauss-Hermite."""
    nodes, weights = roots_hermitenorm(QUADRATURE_NODES)
    rates = np.exp(base_log_rate + frailty_sd * nodes)
    survivors = np.exp(-np.asarray(messages, dtype=np.float64)[..., None] * rates)
    return np.asarray(survivors @ (weights / weights.sum()), dtype=np.float64)


def fit_shifted_beta_geometric(messages: ArrayLike, survival: ArrayLike) -> CurveFit:
    """Least squares on survival points for a and b.

    `messages`, `survival`: shape (P,), P >= 2; `ValueError` where the points are no survival curve.
    """
    logs = _least_squares(_of_logs, ([-12.0, -7.0], [-2.0, 2.0], [9.0, 12.0]), messages, survival)
    a, b = (float(part) for part in np.exp(logs))
    return _described({"a": a, "b": b}, partial(beta_geometric_survival, a, b), messages, survival)


def _of_logs(log_a: float, log_b: float, messages: ArrayLike) -> Floats:
    return beta_geometric_survival(float(np.exp(log_a)), float(np.exp(log_b)), messages)


def fit_normal_frailty(messages: ArrayLike, survival: ArrayLike) -> CurveFit:
    """Least squares on survival points for the base log-rate and the frailty's standard deviation.

    `messages`, `survival`: shape (P,), P >= 2; `ValueError` where the points are no survival curve.
    """
    found = _least_squares(frailty_survival, ([-30.0, 0.0], [-7.0, 1.0], [5.0, 8.0]), messages, survival)
    base, deviation = (float(part) for part in found)
    parameters = {"base_log_rate": base, "frailty_sd": deviation}
    return _described(parameters, partial(frailty_survival, base, deviation), messages, survival)


def _least_squares(
    curve: Callable[[float, float, ArrayLike], Floats],
    range_and_start: tuple[list[float], list[float], list[float]],
    messages: ArrayLike,
    survival: ArrayLike,
) -> Floats:
    """The two parameters (2,) between lowest and highest that bring the curve closest to the points."""
    counts, targets = np.asarray(messages, dtype=np.float64), np.asarray(survival, dtype=np.float64)
    if counts.ndim != 1 or counts.shape != targets.shape or counts.size < 2:
        raise ValueError(f"messages {counts.shape}, survival {targets.shape}; expected one shape (P,), P >= 2")
    if counts[0] <= 0 or np.any(np.diff(counts) <= 0):
        raise ValueError(f"messages {counts.tolist()}; expected positive numbers in rising order")
    if targets[0] >= 1 or targets[-1] <= 0 or np.any(np.diff(targets) > 0):
        raise ValueError(f"survival {targets.tolist()}; expected shares between 0 and 1 that never rise")

    def errors(guess: Floats) -> Floats:
        return curve(float(guess[0]), float(guess[1]), counts) - targets

    lowest, start, highest = range_and_start
    best = least_squares(
        errors, np.array(start), bounds=(lowest, highest), xtol=TOLERANCE, ftol=TOLERANCE, gtol=TOLERANCE
    )
    return np.asarray(best.x, dtype=np.float64)


def _described(
    parameters: Mapping[str, float],
    curve: Callable[[ArrayLike], Floats],
    messages: ArrayLike,
    survival: ArrayLike,
) -> CurveFit:
    fitted, counts = curve(messages), np.asarray(messages, dtype=np.float64)
    hazards = -np.diff(np.log(fitted), prepend=0.0) / np.diff(counts, prepend=0.0)
    return CurveFit(
        parameters=parameters,
        survival=tuple(fitted.tolist()),
        residuals=tuple((fitted - np.asarray(survival)).tolist()),
        hazards=tuple(hazards.tolist()),
        first_message_block_probability=float(1.0 - curve(1.0)),
        survival_after_1000=float(curve(1000.0)),
    )


def measure() -> Newsletter:
    """The record of this source; there is no file to read."""
    return Newsletter(
        subscribers=SUBSCRIBERS,
        opt_outs=OPT_OUTS,
        messages_before_opt_out=MESSAGES_BEFORE_OPT_OUT,
        days_before_opt_out=DAYS_BEFORE_OPT_OUT,
        survival=SURVIVAL,
        hazards=HAZARDS,
        shifted_beta_geometric=fit_shifted_beta_geometric(MESSAGES_BEFORE_OPT_OUT, SURVIVAL),
        normal_frailty=fit_normal_frailty(MESSAGES_BEFORE_OPT_OUT, SURVIVAL),
    )


def figures() -> list[Figure]:
    """What a calibration card may show of this source."""
    record, share = measure(), "share of subscribers"
    lines = [
        _line("subscribers", record.subscribers, "subscribers", "FOUND"),
        _line("opt-outs", record.opt_outs, "subscribers", "FOUND"),
        _line("opt-out share", record.opt_outs / record.subscribers, share),
    ]
    quartiles = zip(("first quartile", "median", "third quartile"), record.messages_before_opt_out, strict=True)
    lines += [_line(f"messages before opt-out, {name}", value, "messages", "FOUND") for name, value in quartiles]
    for messages, survival in zip(record.messages_before_opt_out, record.survival, strict=True):
        lines.append(_line(f"survival after {messages} messages", survival, share))
    for (start, end), hazard in zip(pairwise((0, *record.messages_before_opt_out)), record.hazards, strict=True):
        lines.append(_line(f"hazard, messages {start + 1} to {end}", hazard, "per message"))
    fits = {"shifted-beta-geometric": record.shifted_beta_geometric, "normal frailty": record.normal_frailty}
    for name, fit in fits.items():
        lines += [_line(f"{name} {part}", value, PARAMETER_UNITS[part]) for part, value in fit.parameters.items()]
        lines += [
            _line(f"{name} largest error", fit.largest_error, share),
            _line(f"{name} implied block at message 1", fit.first_message_block_probability, "per message"),
            _line(f"{name} extrapolated survival after 1000", fit.survival_after_1000, share),
        ]
    return lines


def _line(name: str, value: float, unit: str, label: Label = "DERIVED") -> Figure:
    return figure(f"newsletter {name}", value, unit, label, SOURCE)
