"""Numbers on their way into a scenario, each with a word on where it is from.

This file must never decide what a number is.
"""

from typing import Any

from blockenv.scenarios.schema import Provenance
from calibration.estimation.panel import CANON
from calibration.sources import Estimate


class Numbers:
    """Collects numbers with their provenance."""

    def __init__(self, log: str) -> None:
        self._log = log
        self.provenance: dict[str, Provenance] = {}

    def derived(self, path: str, value: float, low: float | None, high: float | None) -> float:
        """Note an estimate; the value is rounded to four digits."""
        interval = "" if low is None or high is None else f", 95 % interval {low:.4g}..{high:.4g}"
        self.provenance[path] = Provenance(label="DERIVED", source=f"estimated from {self._log}{interval}")
        return float(f"{value:.4g}")

    def estimate(self, path: str, found: Estimate) -> float:
        """The same of a record."""
        return self.derived(path, found.value, found.low, found.high)

    def assumed(self, path: str, value: Any) -> Any:
        """Note a number that the log cannot tell."""
        self.provenance[path] = Provenance(label="ASSUMED", source=f"not identified by {self._log}; as in {CANON.name}")
        return value
