"""Who is better than whom, in one world and over all: the comparisons that need the customers' own values.

Nothing is played or learned here, and no generator is read that is not made from `SEED`.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents import KNOWN, REFERENCES, agent_class
from agents.agent import learns
from benchmarks import references
from benchmarks.exact import OPTIMUM
from benchmarks.leaderboard import BASELINE, RIVAL, Board
from benchmarks.profiles import performance_profile
from benchmarks.references import Reference, ReferencesError
from benchmarks.resampling import probability_of_improvement
from benchmarks.statistics import Estimate, mean_estimate, paired_difference, ranks
from benchmarks.tables import labelled

Tables = dict[str, NDArray[np.float64]]  # by agent, (S, N) a customer's value in each training
SEED = 20_240  # of the resampling; any number does
DRAWS = 1000
THRESHOLDS = np.arange(-40, 101, 5)


def neighbours(agents: Sequence[str], joint: Tables, strata: Sequence[Tables]) -> list[dict[str, Any]]:
    """Each agent beside the next one below, and beside the tuned cap: by how much, and how often, it is better."""
    rng = np.random.default_rng(SEED)
    pairs = list(itertools.pairwise(agents))
    pairs += [(agent, RIVAL) for agent in agents if RIVAL in agents and agent != RIVAL and (agent, RIVAL) not in pairs]
    found = []
    for one, other in pairs:
        chance = probability_of_improvement(
            [tables[one] for tables in strata], [tables[other] for tables in strata], rng, draws=DRAWS
        )
        difference = paired_difference(joint[one], joint[other])
        found.append({"better": one, "than": other, "chance": triple(chance), "difference": triple(difference)})
    return found


def reference_of(board: Board, folder: Path) -> Reference | None:
    """The exact values that go with a board, if there are any."""
    try:
        return references.fitting(board.scenario, board.digest, board.days, folder)
    except ReferencesError:
        return None


def scores_of(tables: Tables, reference: Reference | None) -> Tables | None:
    """(S, N) a customer's share of the score in each training, so that its mean is the agent's score."""
    if reference is None or BASELINE not in tables:
        return None
    silence = tables[BASELINE].mean(axis=0)
    return {agent: 100 * (table - silence) / float(reference.gap.mean()) for agent, table in tables.items()}


def regrets(board: Board, tables: Tables, reference: Reference | None) -> dict[str, Estimate]:
    """By agent, the money a customer that it is short of full information, on the customers of the exact values."""
    if reference is None:
        return {}
    shared = min(len(reference.gap), board.customers)
    best = reference.values[OPTIMUM][None, :shared]
    return {agent: paired_difference(best, table[:, :shared]) for agent, table in tables.items()}


def overall(scores: Mapping[str, Tables | None]) -> dict[str, Any]:
    """Mean scores over the scenarios that have any, for the agents that are in all of these.

    Customer i has the same luck in all scenarios and training seed s the same number, so scores are averaged customer
    by customer and seed by seed before their spread is measured. The error of the two ends of the scale is left out.
    """
    known = {name: tables for name, tables in scores.items() if tables is not None}
    agents = [agent for agent in next(iter(known.values()), {}) if all(agent in tables for tables in known.values())]
    shapes = {tables[agent].shape[1] for tables in known.values() for agent in agents}
    if not agents or len(shapes) > 1:
        return {"scenarios": [], "entries": [], "neighbours": [], "thresholds": THRESHOLDS.tolist()}
    joint = {agent: _averaged([tables[agent] for tables in known.values()]) for agent in agents}
    agents.sort(key=lambda agent: -float(joint[agent].mean()))
    rng = np.random.default_rng(SEED)
    entries = []
    for agent, rank in zip(agents, ranks([joint[agent] for agent in agents]), strict=True):
        runs = [tables[agent].mean(axis=1) for tables in known.values()]
        entries.append(
            {
                "agent": agent,
                "label": labelled(agent),
                "kind": kind_of(agent),
                "seeds": len(joint[agent]),
                "score": triple(mean_estimate(joint[agent])) if agent != BASELINE else [0.0, 0.0, 0.0],
                "rank": [rank.low, rank.high],
                "letters": rank.letters,
                "profile": [triple(each) for each in performance_profile(runs, THRESHOLDS, rng, draws=DRAWS)],
            }
        )
    return {
        "scenarios": list(known),
        "entries": entries,
        "neighbours": neighbours(agents, joint, list(known.values())),
        "thresholds": THRESHOLDS.tolist(),
    }


def _averaged(tables: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(S, N) the mean over scenarios; an agent with one row in some scenario has that row in all its trainings."""
    seeds = max(len(table) for table in tables)
    if any(len(table) not in (1, seeds) for table in tables):
        seeds = min(len(table) for table in tables)
    return np.asarray(np.mean([np.broadcast_to(table[:seeds], (seeds, table.shape[1])) for table in tables], axis=0))


def kind_of(agent: str) -> str:
    """What kind of agent it is, in a word."""
    if agent not in KNOWN:
        return "submission"
    if agent in REFERENCES:
        return "reference"
    return "learner" if learns(agent_class(agent)) else "rule"


def triple(estimate: Estimate | None) -> list[float] | None:
    """Mean, low, high, to six digits."""
    return None if estimate is None else [float(f"{part:.6g}") for part in estimate[:3]]
