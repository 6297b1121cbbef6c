"""The `info` of a step or a reset: what happened, and how everybody is now, with a mask beside each entry.

Laid out as Gymnasium's vector environments do; it computes nothing and keeps nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome

Info = dict[str, Any]

OUTCOMES = {
    "margin": "margin",
    "discount": "discount",
    "message_cost": "cost",
    "expected_reward": "expected_reward",
    "churn_probability": "churn_probability",
    "order_value": "order_value",
    "sent": "sent",
    "delivered": "delivered",
    "opened": "opened",
    "ordered": "ordered",
    "blocked": "blocked",
    "reopened": "reopened",
}


def of_step(cohort: Cohort, outcome: Outcome, rows: NDArray[np.bool_] | None) -> Info:
    """What happened in `rows`, None for all, and how everybody is now."""
    info: Info = {}
    everybody = _everybody(len(cohort))
    idle = None if rows is None else np.flatnonzero(~rows)  # few: cheaper by number than by mask
    for name, field in OUTCOMES.items():
        values = getattr(outcome, field).T  # made by this step and kept by nobody else
        if rows is not None:
            values[idle] = 0
        info[name], info[f"_{name}"] = values, everybody if rows is None else rows.copy()
    info.update(_of_state(cohort))
    return info


def of_reset(cohort: Cohort, rows: NDArray[np.bool_]) -> Info:
    """How everybody is after a reset of `rows`."""
    info = _of_state(cohort)
    return {name: rows.copy() if name.startswith("_") else values for name, values in info.items()}


def handed_over(cohort: Cohort, info: Info, final_seen: Any, done: NDArray[np.bool_]) -> Info:
    """The info of a step after which the rows `done` have been replaced: what was goes into final_obs and final_info."""
    final = {name: values & done if name.startswith("_") else values for name, values in info.items()}
    fresh: Info = {}
    gone = np.flatnonzero(done)
    for name in OUTCOMES:  # a reset has no outcome
        values = info[name].copy()
        values[gone] = 0
        fresh[name], fresh[f"_{name}"] = values, info[f"_{name}"] & ~done
    fresh.update(_of_state(cohort))
    return {
        **fresh,
        "final_obs": final_seen,
        "_final_obs": done.copy(),
        "final_info": final,
        "_final_info": done.copy(),
    }


def of_one(info: Info) -> Info:
    """The info of a single row, without masks and the axis of rows."""
    return {name: values[0] for name, values in info.items() if not name.startswith("_")}


def _of_state(cohort: Cohort) -> Info:
    everybody = _everybody(len(cohort))
    info = {
        "action_mask": cohort.legal_actions().copy().view(np.int8),
        "customer": cohort.customer.copy(),
        "day": cohort.log.day.copy(),
        "segment": cohort.traits.segment.copy(),
        "fatigue": cohort.fatigue(),
        "bond": cohort.bond(),
        "reachable": cohort.state.reachable.T.copy(),
        "alive": cohort.state.alive.copy(),
    }
    return info | {f"_{name}": everybody for name in info}


def _everybody(rows: int) -> NDArray[np.bool_]:
    """All True, read-only and without memory of its own, so that the masks of info cost nothing."""
    return np.broadcast_to(np.True_, rows)
