"""The `info` of a step or a reset: what happened, and how everybody is now, with a mask beside each entry.

Laid out as Gymnasium's vector environments do; it computes nothing and keeps nothing.
"""

import functools
import operator
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
_NAMES = [(name, f"_{name}") for name in OUTCOMES]
_fields = operator.attrgetter(*OUTCOMES.values())


def of_step(cohort: Cohort, outcome: Outcome, rows: NDArray[np.bool_] | None) -> Info:
    """What happened in `rows`, None for all, and how everybody is now."""
    counts = _everybody(len(cohort))
    if rows is not None:
        _clear(outcome, np.flatnonzero(~rows))
        counts = _read_only(rows.copy())
    info: Info = {}
    for (name, mask), field in zip(_NAMES, _fields(outcome), strict=True):
        info[name], info[mask] = field.T, counts  # made by this step and kept by nobody else
    info.update(_of_state(cohort))
    return info


def of_reset(cohort: Cohort, rows: NDArray[np.bool_]) -> Info:
    """How everybody is after a reset of `rows`."""
    info = _of_state(cohort)
    return {name: rows.copy() if name.startswith("_") else values for name, values in info.items()}


def handed_over(cohort: Cohort, info: Info, final_seen: Any, done: NDArray[np.bool_]) -> Info:
    """The info of a step after which the rows `done` have been replaced: what was goes into final_obs and final_info."""
    final: Info = dict(info)
    fresh: Info = {}
    gone = np.flatnonzero(done)
    went_on, ended = _read_only(info[f"_{next(iter(OUTCOMES))}"] & ~done), _read_only(done.copy())
    for name in info:
        if name.startswith("_"):
            final[name] = ended  # all of them were there that day
    for name in OUTCOMES:  # a reset has no outcome
        values = info[name].copy()
        values[gone] = 0
        fresh[name], fresh[f"_{name}"] = values, went_on
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
        "action_mask": cohort.copy_of_legal_actions().view(np.int8),
        "customer": cohort.customer.copy(),
        "day": cohort.log.day.copy(),
        "segment": cohort.traits.segment.copy(),
        "fatigue": cohort.fatigue(),
        "bond": cohort.bond(),
        "reachable": cohort.state.reachable.copy().T,
        "alive": cohort.state.alive.copy(),
    }
    info.update({f"_{name}": everybody for name in info})
    return info


def _clear(outcome: Outcome, rows: NDArray[np.intp]) -> None:
    """Nothing happened in `rows`, which are few: cheaper by number than by mask, and by block where fields share one."""
    blocks = {id(block): block for block in (each if each.base is None else each.base for each in _fields(outcome))}
    for block in blocks.values():
        block[..., rows] = 0


def _read_only(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same mask, which many entries can then share."""
    rows.flags.writeable = False
    return rows


@functools.lru_cache(maxsize=8)
def _everybody(rows: int) -> NDArray[np.bool_]:
    """All True, read-only and without memory of its own, so that the masks of info cost nothing."""
    return np.broadcast_to(np.True_, rows)
