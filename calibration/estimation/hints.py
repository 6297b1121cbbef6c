"""From a firm's covariates to the hints of an estimated world, so that a policy learned there can serve real customers.

A scenario has one hint for each segment, whatever covariates the firm has. This file must never look at behaviour: what
customers do reaches a policy through the log.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from calibration.estimation.findings import Findings
from calibration.estimation.ordering import segment_order
from calibration.estimation.panel import Floats

HINTS = "hints.json"
NO_HINT, LEAST_NOISE, MOST_HINT = 100.0, 0.01, 3.0
FIELDS = ("covariates", "matrix", "constant")


class HintMap(NamedTuple):
    """hints = clip(matrix @ covariates + constant, -3, 3); a hint for each segment."""

    covariates: tuple[str, ...]
    matrix: Floats  # (K, S)
    constant: Floats  # (K,)

    def hints(self, covariates: NDArray[Any]) -> Floats:
        """(N, K) from (N, S) covariates in the order of their names; a missing one counts as its mean."""
        return np.clip(np.asarray(covariates, np.float64) @ self.matrix.T + self.constant, -MOST_HINT, MOST_HINT)

    def text(self) -> str:
        """As JSON."""
        values = (list(self.covariates), self.matrix.tolist(), self.constant.tolist())
        return json.dumps(dict(zip(FIELDS, values, strict=True)), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `text` gave.

        Raises:
            ValueError: the file is not such a map.
        """
        try:
            found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            names, matrix, constant = (found[field] for field in FIELDS)
            numbers = np.array(matrix, np.float64).reshape(len(constant), len(names))
            return cls(tuple(map(str, names)), numbers, np.array(constant, np.float64))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected {', '.join(FIELDS)} as scripts.calibrate writes them") from error


def hint_noise(findings: Findings) -> float:
    """Noise of the world's hints that sets its classes as far apart as the covariates do, in squared distance.

    The mean over pairs of classes, weighed by their shares; `NO_HINT` without covariates or with one class.
    """
    place, _ = _whitened(findings)
    share = findings.joint.shares[segment_order(findings)]
    pairs = np.triu_indices(len(place), 1)
    if not len(pairs[0]) or not place.shape[1]:
        return NO_HINT
    apart = ((place[pairs[0]] - place[pairs[1]]) ** 2).sum(axis=1)
    squared = float(np.average(apart, weights=share[pairs[0]] * share[pairs[1]]))
    return float(np.clip(np.sqrt(2.0 / max(squared, 1e-12)), LEAST_NOISE, NO_HINT))


def hint_map(findings: Findings, noise: float) -> HintMap:
    """Hints that say of a customer's class exactly what the covariates say, by the fitted classes.

    With normal covariates the log odds of two classes are linear in them; in a world of hint noise v they are
    (h_j - h_k) sqrt(1 + v^2) / v^2. Equating the two fixes the hints but for their mean, which is set to the world's.

    Args:
        noise: the world's `hint_noise`.
    """
    place, scale = _whitened(findings)
    covariates = findings.panel.covariates
    stretch = noise**2 / np.sqrt(1.0 + noise**2)
    slope, level = place / scale, -0.5 * (place**2).sum(axis=1)
    slope, level = slope - slope.mean(axis=0), level - level.mean()
    deviations = np.array(covariates.deviations)
    matrix = stretch * slope / deviations
    constant = stretch * level - matrix @ np.array(covariates.means) + 1.0 / (len(place) * np.sqrt(1.0 + noise**2))
    return HintMap(covariates.names, matrix, constant)


def _whitened(findings: Findings) -> tuple[Floats, Floats]:
    """(K, S) means of the covariates by class, in the world's order, in units of their noise (S,)."""
    layout, theta = findings.joint.layout, findings.joint.theta
    noise = np.exp(layout.common_of(theta, "log_hint_noise"))
    return layout.table(theta, "hint")[segment_order(findings)] / noise, noise
