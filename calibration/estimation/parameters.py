"""The unknowns of the joint model of blocking and opening, by name, in one vector.

This file must never look at data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from calibration.estimation.panel import Floats

COMMON, BY_CLASS = "common", "by class"


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

    def words(self, names: Mapping[str, tuple[str, ...]]) -> list[str]:
        """A name for every place of the vector; `names`: unknown -> names of its parts."""
        found = []
        for place, where in self.places.items():
            base = place.rpartition(".")[0] if place not in self.common else place
            parts = names.get(base, ())
            size = where.stop - where.start
            found += [f"{place}.{parts[part]}" if len(parts) == size > 1 else place for part in range(size)]
        return found


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
