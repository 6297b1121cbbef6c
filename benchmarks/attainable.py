"""The attainable line: what a planner earns who knows the population and the rules of a day, but not the customer.

It is played, not reckoned: on the first held-out customers of a reference, against silence under the same luck. It is
a bound from below: nobody knows how much better one could do without being told who a customer is.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.agent import Metrics, write_whole
from agents.belief import Belief, BeliefSettings
from agents.rules import Silence
from benchmarks import references
from benchmarks.code import code_of
from benchmarks.exact import decoded, encoded
from benchmarks.references import Reference
from benchmarks.statistics import Estimate, mean_estimate
from blockenv import EVALUATION_SEED
from blockenv.rollout import play
from blockenv.scenarios import Scenario

AGENT, SEED = "belief", 0
_BATCH = 256  # customers whose particles are kept at once

Told = Callable[[str, int, int], None]


class Line(NamedTuple):
    """The attainable line of one scenario."""

    over_silence: Estimate  # money a customer
    score: Estimate  # 0 is silence, 100 full information


def attained(scenario: Scenario, customers: int, days: int, settings: BeliefSettings, told: Told) -> dict[str, Any]:
    """What goes into a reference: gains over silence by customer, and how they were made.

    Args:
        scenario: the world.
        customers: held-out customers, from number 0 on.
        days: the window.
        settings: of the planner.
        told: called with what is being done, how much of it is, and of how much.
    """

    class Watching:
        def advance(self, steps: int, total: int, metrics: Metrics) -> None:
            told("planning", steps, total)

    planner = Belief(scenario, settings)
    planner.fit(SEED, Watching())
    done = 0

    def played(days_served: int) -> None:
        nonlocal done
        done += days_served
        told("playing", done, customers * days)

    quiet = play(Silence(scenario), scenario, EVALUATION_SEED, customers, days=days)
    own = play(planner, scenario, EVALUATION_SEED, customers, days=days, batch=_BATCH, progress=played)
    assert planner.prototypes is not None
    gain = own.value - quiet.value
    return {
        "agent": AGENT,
        "code": code_of(Belief),
        "seed": SEED,
        "settings": planner.chosen.model_dump(mode="json") | {"prototypes": len(planner.prototypes.traits.segment)},
        "mean": references.mean_of(gain),
        "messages_a_week": round(7 * float(own.messages.sum() / own.days.sum()), 3),
        "over_silence": encoded(gain, "<f4"),
    }


def write(reference: Reference, facts: dict[str, Any], folder: Path) -> None:
    """Put the line into the file of its reference."""
    path = references.path_of(reference.scenario, folder)
    content = json.loads(path.read_text(encoding="utf-8")) | {references.ATTAINED: facts}
    write_whole(path, json.dumps(content, indent=1).encode() + b"\n")


def line(reference: Reference | None) -> Line | None:
    """The line of a reference; None where it has none.

    Raises:
        ReferencesError: it cannot be read.
    """
    if reference is None or references.ATTAINED not in reference.facts:
        return None
    try:
        gain: NDArray[np.float64] = decoded(reference.facts[references.ATTAINED]["over_silence"], "<f4")
    except (KeyError, TypeError, ValueError) as error:
        raise references.ReferencesError(
            f"{reference.scenario}: the attainable line cannot be read ({error})"
        ) from error
    over = mean_estimate(gain[None])
    return Line(over, references.score(over, gain, reference.gap))
