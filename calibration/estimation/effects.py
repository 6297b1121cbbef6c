"""What frequency, timing, style and product do to blocking, averaged over the population, with intervals.

Each effect is an average over customers of a difference of log hazards at equal bond, so that it can be computed from a
fit and, where customers' traits are known, from these; the two definitions stand side by side here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from calibration.estimation.fitting import JointFit
from calibration.estimation.panel import Floats
from calibration.estimation.parameters import contrasts
from calibration.sources import NORMAL_95

LOADS = (4.0, 8.0)  # fatigue units, between which the effect of frequency is told


class Effect(NamedTuple):
    """A number with its 95 % interval; `kind` is frequency, timing, style or product."""

    kind: str
    name: str
    value: float
    low: float
    high: float

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Hazard ratio, with its interval."""
        value, low, high = np.exp(np.clip([self.value, self.low, self.high], -50.0, 50.0)).tolist()
        return value, low, high


def delta(fit: JointFit, function: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Value and standard error, (R,) each, of a function of the unknowns, by the delta method."""
    here = function(fit.theta)
    slopes = np.empty((len(here), len(fit.theta)))
    for place in range(len(fit.theta)):
        move = np.zeros_like(fit.theta)
        move[place] = 1e-5
        slopes[:, place] = (function(fit.theta + move) - function(fit.theta - move)) / 2e-5
    variance = np.einsum("ij,jk,ik->i", slopes, fit.covariance, slopes)
    return here, np.sqrt(np.maximum(variance, 0.0))


def population_effects(fit: JointFit) -> list[Effect]:
    """All of them: slots, styles and products against their own mean, weekend, and load 8 against load 4."""
    names = effect_names(fit)
    value, error = delta(fit, lambda theta: _effects(fit, theta))
    rows = zip(names, value, error, strict=True)
    return [
        Effect(kind, name, float(v), float(v - NORMAL_95 * e), float(v + NORMAL_95 * e)) for (kind, name), v, e in rows
    ]


def effect_names(fit: JointFit) -> list[tuple[str, str]]:
    """Kind and name of each population effect."""
    panel = fit.panel
    found = [("frequency", f"load {LOADS[1]:g} against {LOADS[0]:g}")]
    found += [("timing", f"slot {name}") for name in panel.slots if len(panel.slots) > 1]
    found += [("timing", "weekend")]
    found += [("style", f"style {name}") for name in panel.styles if len(panel.styles) > 1]
    return found + [("product", f"product {name}") for name in panel.products if len(panel.products) > 1]


def _effects(fit: JointFit, theta: Floats) -> Floats:
    layout, panel = fit.layout, fit.panel
    weight = layout.table(theta, "log_weight")[:, 0]
    share = np.exp(weight - weight.max())
    share = share / share.sum()
    found = [share @ np.array([load_effect(fit, theta, each) for each in range(layout.classes)])]
    if len(panel.slots) > 1:
        found += list(share @ layout.table(theta, "slot_block") @ contrasts(len(panel.slots)).T)
    found.append(share @ layout.table(theta, "weekend_block")[:, 0])
    if len(panel.styles) > 1:
        found += list(share @ layout.table(theta, "style_block") @ contrasts(len(panel.styles)).T)
    if len(panel.products) > 1:
        relevance = share @ layout.table(theta, "relevance")
        found += list(-layout.common_of(theta, "block_relevance")[0] * (relevance - relevance.mean()))
    return np.array(found)


def load_effect(fit: JointFit, theta: Floats, each: int, loads: tuple[float, float] = LOADS) -> float:
    """Difference of log hazards of a class between two loads."""
    ideal = float(np.exp(fit.layout.of_class(theta, "log_ideal_load", each)[0]))
    above, below, _ = fit.model.hinges(ideal, np.array(loads))
    up, down = (float(fit.layout.of_class(theta, name, each)[0]) for name in ("reactance", "reciprocity"))
    return float(up * (above[1] - above[0]) + down * (below[1] - below[0]))


def true_effects(fit: JointFit, truth: pd.DataFrame, block_relevance: float) -> Floats:
    """The same effects of the customers themselves, in the order of `effect_names`.

    Args:
        truth: what `calibration.logs.truth` wrote, a row for each customer of the panel.
        block_relevance: the slope of the true scenario, which all its customers share.
    """
    panel = fit.panel
    mean = truth.mean(numeric_only=True)

    def hinge(load: float) -> float:
        away = load - truth["ideal_load"]
        return float(
            (truth["reactance"] * away.clip(lower=0.0) + truth["reciprocity"] * (-away).clip(lower=0.0)).mean()
        )

    def centred(table: str, names: tuple[str, ...]) -> list[float]:
        values = np.array([mean[f"{table}_{name}"] for name in names])
        return list(values - values.mean()) if len(names) > 1 else []

    found = [hinge(LOADS[1]) - hinge(LOADS[0]), *centred("slot_block", panel.slots), float(mean["weekend_block"])]
    found += centred("style_block", panel.styles)
    return np.array([*found, *(-block_relevance * each for each in centred("relevance", panel.products))])
