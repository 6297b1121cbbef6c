"""What a regression over all messages says that takes customers for alike: the usual estimate, and its bias.

Customers who bear much stay, so pooled effects are drawn towards zero, and under a policy that favours the engaged they
may even change sign. This file must never be the basis of a scenario.
"""

from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray

from calibration.estimation.effects import LOADS, Effect
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.parameters import contrasts
from calibration.sources import NORMAL_95

KNOTS = (2.0, 4.0, 6.0)  # fatigue units, where the slope of the load may change


def pooled_effects(panel: Panel, alive: Floats, most_customers: int = 10_000) -> list[Effect]:
    """Complementary log-log regression, errors clustered by customer; effects as in `effects.population_effects`.

    Args:
        alive: (M,) probability that a message found a customer; its logarithm is an offset.
        most_customers: the first so many are used.
    """
    rows = np.flatnonzero((panel.customer < most_customers) & ((alive > 0.02) | panel.blocked))
    design, names = _design(panel, rows)
    family = sm.families.Binomial(link=sm.families.links.CLogLog())
    weight = np.where(panel.blocked[rows] | panel.opened[rows], 1.0, alive[rows])
    model = sm.GLM(panel.blocked[rows].astype(np.float64), design, family=family, offset=np.log(weight))
    start = np.zeros(design.shape[1])
    start[: len(panel.channels)] = np.log(max(float(panel.blocked.mean()), 1e-6))
    fit = model.fit(start_params=start, cov_type="cluster", cov_kwds={"groups": panel.customer[rows]})
    wanted, readings = _readings(panel, names)
    value = readings @ fit.params
    error = np.sqrt(np.einsum("ij,jk,ik->i", readings, np.asarray(fit.cov_params()), readings))
    return [
        Effect(kind, name, float(v), float(v - NORMAL_95 * e), float(v + NORMAL_95 * e))
        for (kind, name), v, e in zip(wanted, value, error, strict=True)
    ]


def _design(panel: Panel, rows: NDArray[np.int64]) -> tuple[Floats, list[str]]:
    columns: list[Any] = [(panel.channel[rows] == place).astype(np.float64) for place in range(len(panel.channels))]
    names = [f"channel {name}" for name in panel.channels]
    load = panel.load_after[rows]
    columns.append(load)
    names.append("load 0")
    for knot in KNOTS:
        columns.append(np.maximum(load - knot, 0.0))
        names.append(f"load {knot:g}")
    for kind, code, levels in _factors(panel):
        basis = contrasts(len(levels))
        for part in range(basis.shape[1]):
            columns.append(basis[code[rows], part])
            names.append(f"{kind} {part}")
    columns.append(panel.weekend[rows])
    names.append("weekend")
    return np.column_stack(columns), names


def _factors(panel: Panel) -> list[tuple[str, NDArray[np.int64], tuple[str, ...]]]:
    return [
        ("slot", panel.slot, panel.slots),
        ("style", panel.style, panel.styles),
        ("product", panel.product, panel.products),
    ]


def _readings(panel: Panel, names: list[str]) -> tuple[list[tuple[str, str]], Floats]:
    """Which combinations of coefficients the effects are."""
    place = {name: number for number, name in enumerate(names)}
    wanted, rows = [], []

    def add(kind: str, name: str, parts: dict[str, float]) -> None:
        row = np.zeros(len(names))
        for part, weight in parts.items():
            row[place[part]] = weight
        wanted.append((kind, name))
        rows.append(row)

    low, high = LOADS
    add(
        "frequency",
        f"load {high:g} against {low:g}",
        {f"load {knot:g}": max(high - knot, 0.0) - max(low - knot, 0.0) for knot in (0.0, *KNOTS)},
    )
    kinds = {"slot": "timing", "style": "style", "product": "product"}
    for factor, _, levels in _factors(panel):
        basis = contrasts(len(levels))
        for number, level in enumerate(levels if len(levels) > 1 else ()):
            add(
                kinds[factor],
                f"{factor} {level}",
                {f"{factor} {part}": basis[number, part] for part in range(basis.shape[1])},
            )
        if factor == "slot":
            add("timing", "weekend", {"weekend": 1.0})
    return wanted, np.array(rows)
