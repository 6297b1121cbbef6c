"""The tuned cap that a trained run is compared with, kept in the run's folder so that it is tuned only once.

Never takes a cap that was tuned for another scenario, with other settings or by other code.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from agents.agent import Unwatched, write_whole
from agents.caps import FrequencyCap
from benchmarks.code import code_of
from benchmarks.configs import agent_settings
from blockenv import Scenario

FILE = "cap.json"
SEED = 0  # of the training customers it is tuned on


def tuned_cap(scenario: Scenario, folder: Path) -> FrequencyCap:
    """The cap for `scenario`, as it was kept in `folder`, or else tuned now and kept there if that can be done."""
    settings = agent_settings("cap", scenario.name)
    cap = FrequencyCap(scenario, settings)
    made_for = {
        "digest": scenario.digest,
        "seed": SEED,
        "settings": settings.model_dump(mode="json"),
        "code": code_of(FrequencyCap),
    }
    path = folder / FILE
    if not _recalled(cap, path, made_for):
        cap.fit(SEED, Unwatched())
        with contextlib.suppress(OSError):  # a folder that cannot be written is no reason not to judge what is in it
            write_whole(path, json.dumps({"made_for": made_for, "learned": cap.learned()}, indent=1).encode())
    return cap


def _recalled(cap: FrequencyCap, path: Path, made_for: dict[str, Any]) -> bool:
    """Whether the cap could take back what the file holds; one that is missing, damaged or another's is no cap."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["made_for"] != made_for:
            return False
        cap.recall(kept["learned"])
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return False
    return True
