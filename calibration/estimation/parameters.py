"""The unknowns of the joint model of blocking and opening, by name, in one vector.

This file must never look at data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calibration.estimation.panel import Floats

# Of weak normal priors; what is not named has none.
_PRIOR_SD = {
    "level": 3.0,
    "slot_block": 3.0,
    "style_block": 3.0,
    "weekend_block": 3.0,
    "reactance": 1.0,
    "reciprocity": 0.3,
    "relevance": 1.0,
    "log_ideal_load": 1.0,
    "block_bond": 2.0,
    "open_bond": 2.0,
    "block_relevance": 2.0,
    "open_slot": 1.0,
    "open_fatigue": 0.5,
}
_PRIOR_MEAN = {"log_ideal_load": 1.0, "block_bond": 2.0, "open_bond": 0.8, "block_relevance": 1.0}


@dataclass(frozen=True)
class Layout:
    """Where each unknown stands.

    `common`: name -> size; `by_class`: name -> size for each of `classes` classes. Common ones come first.
    """

    classes: int
    common: Mapping[str, int]
    by_class: Mapping[str, int]
    places: dict[str, slice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = 0
        for name, size in self.common.items():
            self.places[name] = slice(start, start + size)
            start += size
        for each in range(self.classes):
            for name, size in self.by_class.items():
                self.places[f"{name}.{each}"] = slice(start, start + size)
                start += size

    @property
    def size(self) -> int:
        """Unknowns."""
        return sum(self.common.values()) + self.classes * sum(self.by_class.values())

    def common_of(self, theta: Floats, name: str) -> Floats:
        """A common unknown, (size,)."""
        return theta[self.places[name]]

    def of_class(self, theta: Floats, name: str, each: int) -> Floats:
        """An unknown of a class, (size,)."""
        return theta[self.places[f"{name}.{each}"]]

    def table(self, theta: Floats, name: str) -> Floats:
        """(K, size) an unknown of all classes."""
        return np.stack([self.of_class(theta, name, each) for each in range(self.classes)])


def prior(layout: Layout, theta: Floats) -> tuple[float, Floats, Floats]:
    """Log density of the weak priors, its slope (P,) and its curvature (P,), negative."""
    slope, curvature, value = np.zeros_like(theta), np.zeros_like(theta), 0.0
    for place, where in layout.places.items():
        name = place if place in layout.common else place.rpartition(".")[0]
        if name in _PRIOR_SD:
            away = theta[where] - _PRIOR_MEAN.get(name, 0.0)
            precision = 1.0 / _PRIOR_SD[name] ** 2
            value -= 0.5 * precision * float(away @ away)
            slope[where] -= precision * away
            curvature[where] -= precision
    return value, slope, curvature


def contrasts(levels: int) -> Floats:
    """(levels, levels - 1) orthonormal effects that add up to zero, so that none of the levels is special."""
    basis = np.zeros((levels, levels - 1))
    for column in range(levels - 1):
        basis[: column + 1, column] = 1.0
        basis[column + 1, column] = -(column + 1.0)
        basis[:, column] /= np.linalg.norm(basis[:, column])
    return basis


def layout_of(classes: int, channels: int, slots: int, styles: int, products: int, hints: int) -> Layout:
    """The layout of a log with so many names of each kind."""
    return Layout(
        classes,
        {
            "block_log_rate": channels,
            "block_bond": 1,
            "block_relevance": 1,
            "log_frailty": 1,
            "open_logit": channels,
            "open_bond": 1,
            "open_fatigue": 1,
            "open_slot": 1,
            "log_open_spread": 1,
            "log_hint_noise": hints,
        },
        {
            "log_weight": 1,
            "level": 1,
            "slot_block": slots - 1,
            "style_block": styles - 1,
            "weekend_block": 1,
            "log_ideal_load": 1,
            "reactance": 1,
            "reciprocity": 1,
            "relevance": products,
            "hint": hints,
        },
    )
