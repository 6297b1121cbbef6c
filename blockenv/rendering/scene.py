"""What there is to see of a population on one day, and the colours and words that all panels share.

Plain numbers only: nothing here knows a cohort or draws.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Okabe & Ito 2008, told apart with every common colour blindness; the order keeps neighbours in a stack apart.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
BETTER, WORSE, NEUTRAL, INK, FAINT = "#0072B2", "#D55E00", "#8A8A8A", "#262626", "#E4E4E4"
DASHES = (0, (4, 2))
NOW: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markevery": [-1], "clip_on": False}  # where a line has got to
NAMED = 6  # segments drawn one by one


class Scene(NamedTuple):
    """What there is to see; D days, W weeks begun, C channels, N rows, D' days of comparison with silence."""

    name: str
    days: int
    channels: tuple[str, ...]
    segments: tuple[str, ...]
    reach: NDArray[np.float32]  # (D + 1, C) share of customers reachable
    alive: NDArray[np.float32]  # (D + 1,) share of customers
    messages: NDArray[np.float64]  # (W, C) a week and living customer
    blocks: NDArray[np.float64]  # (W, C) a week and 100 living customers
    value: NDArray[np.float64]  # (D' + 1,) money a customer, discounted, cumulated
    silent: NDArray[np.float64]  # (D' + 1,)
    gain: NDArray[np.float64]  # (N,) money, value less silent
    segment: NDArray[np.int32]  # (N,) of the rows' first customers
    standing: NDArray[np.int64]  # (F, B) living customers by fatigue and bond level
    fatigue_step: float
    bond_step: float
    ideal_load: float | None  # median of the living, fatigue units
    tiles: NDArray[np.int64]  # (N,) open channels; -1 has left, C + 1 blocked one today
    kind: NDArray[np.int32]  # (N,) segment of the customers now in the rows


def colours(scene: Scene) -> list[tuple[str, str]]:
    """Every channel with its colour."""
    return list(zip(scene.channels, PALETTE, strict=False))


def short(name: str, limit: int) -> str:
    """A name for the eye, of at most `limit` characters."""
    words = name.replace("_", " ")
    return words if len(words) <= limit else words[: limit - 1] + "…"


def money(value: float, sign: str = "") -> str:
    """An amount with as many digits as can be read; `sign="+"` signs what is gained."""
    digits = 2 if abs(value) < 100.0 else 1 if abs(value) < 1000.0 else 0
    return f"{value:{sign},.{digits}f}".replace("-", "\N{MINUS SIGN}")
