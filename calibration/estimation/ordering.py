"""In which order an estimated world names its parts, so that it can be compared with another.

This file must never change a number.
"""

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from blockenv.scenarios import Scenario
from calibration.estimation.findings import Findings


def in_order_of(world: Scenario, like: Scenario) -> Scenario:
    """The same world with channels, slots, styles and products in the order of another, so that actions agree.

    Raises:
        ValueError: the two have different names.
    """
    fields: dict[str, Any] = dict(world)
    for kind in ("channels", "slots", "styles", "products"):
        own = {each if isinstance(each, str) else each.name: each for each in getattr(world, kind)}
        wanted = [each if isinstance(each, str) else each.name for each in getattr(like, kind)]
        if set(own) != set(wanted):
            raise ValueError(
                f"{kind}: {sorted(own)} in {world.name}, {sorted(wanted)} in {like.name}; expected the same"
            )
        fields[kind] = tuple(own[each] for each in wanted)
    return Scenario.model_validate(fields)


def segment_order(findings: Findings) -> list[int]:
    """Classes by the covariate that points to each, where there is one for each; else the largest first."""
    hints = findings.joint.layout.table(findings.joint.theta, "hint")
    if hints.shape[1] == hints.shape[0] > 1:
        covariate, each = linear_sum_assignment(-hints.T)
        return [int(place) for place in each[np.argsort(covariate)]]
    return [int(place) for place in np.argsort(-findings.joint.shares)]
