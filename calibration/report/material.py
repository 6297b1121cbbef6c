"""All that a report shows, as one record.

This file must never decide how it is shown.
"""

from typing import NamedTuple

from blockenv.scenarios import Scenario
from calibration.estimation.check import Check
from calibration.estimation.confounding import Confounding
from calibration.estimation.effects import Effect
from calibration.estimation.findings import Findings
from calibration.estimation.scores import Scores
from calibration.estimation.uplift import Curve
from calibration.logs.manifest import Manifest
from calibration.sources import Estimate


class Material(NamedTuple):
    """All that the report shows; `incremental` and `curves` are empty where no chance was told."""

    manifest: Manifest
    findings: Findings
    world: Scenario
    pooled: list[Effect]
    confounding: Confounding
    incremental: Estimate | None
    curves: dict[str, Curve]
    scores: Scores
    check: Check
    rand_index: float | None
    micro_segments: int
