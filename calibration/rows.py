"""The rows of a calibration card: a simulated figure with its interval, a published one with its band, a verdict.

This file must never know what is simulated nor what has been published.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from blockenv.scenarios.schema import Scenario
from calibration.published import Band
from calibration.sources import NORMAL_95, Label
from calibration.tally import Tally, Timetable, joined, tally_groups

Verdict = Literal["pass", "fail", "no data"]
GROUPS = 8
T = TypeVar("T")


class Row(NamedTuple):
    """One figure: simulated with its 95 % interval, published with its pass band. None where there is none."""

    name: str
    simulated: float | None
    simulated_low: float | None
    simulated_high: float | None
    published: float | None
    low: float | None
    high: float | None
    unit: str
    label: Label
    source: str
    verdict: Verdict


class Interval(NamedTuple):
    """A simulated number and its 95 % interval, None where it has none; NaN where nothing happened to count."""

    value: float
    low: float | None = None
    high: float | None = None


class Sample:
    """The customers of a card in groups, for intervals by the jackknife."""

    def __init__(
        self, scenario: Scenario, customers: int, seed: int, progress: Callable[[int], None] | None = None
    ) -> None:
        """`customers`: in all, at least `GROUPS`; `ValueError` below. `progress`: see `tally`."""
        if customers < GROUPS:
            raise ValueError(f"customers: {customers} is below {GROUPS}")
        self.scenario = scenario
        self._customers, self._seed, self._progress = customers, seed, progress

    def play(self, timetable: Timetable, days: int, **options: Any) -> list[Tally]:
        """A tally of each group; `options` as in `tally`."""
        return tally_groups(
            self.scenario, timetable, self._seed, self._customers, days, GROUPS, progress=self._progress, **options
        )


def estimate(groups: Sequence[Tally], figure: Callable[[Tally], float]) -> Interval:
    """A figure of the customers of all groups together, and its interval."""
    return jackknife(groups, lambda some: figure(joined(some)))


def jackknife(groups: Sequence[T], figure: Callable[[Sequence[T]], float]) -> Interval:
    """A figure of all groups; interval by deleting one group at a time (Tukey 1958)."""
    value = figure(groups)
    without = [figure([*groups[:out], *groups[out + 1 :]]) for out in range(len(groups))]
    error = ((len(groups) - 1) * float(np.var(without))) ** 0.5
    return Interval(value, value - NORMAL_95 * error, value + NORMAL_95 * error)


def share(events: str, of: str, channel: int) -> Callable[[Tally], float]:
    """The figure "so many of these a message", by the names of two counts of a tally; NaN where there were none."""

    def figure(counts: Tally) -> float:
        whole = float(getattr(counts, of)[channel].sum())
        return float(getattr(counts, events)[channel].sum()) / whole if whole > 0.0 else float("nan")

    return figure


def verdict(value: float | None, band: Band) -> Verdict:
    """Whether a simulated number lies in the band."""
    if value is None or (band.low is None and band.high is None):
        return "no data"
    inside = (band.low is None or value >= band.low) and (band.high is None or value <= band.high)
    return "pass" if inside else "fail"


def row(name: str, simulated: Interval, unit: str, band: Band) -> Row:
    """A line of the card."""
    value, low, high = (None if end is None or not np.isfinite(end) else end for end in simulated)
    return Row(
        name, value, low, high, band.value, band.low, band.high, unit, band.label, band.source, verdict(value, band)
    )
