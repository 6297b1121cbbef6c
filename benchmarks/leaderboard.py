"""From rows to a table: who is worth how much, who beats whom, and what the customers went through.

Every number comes from the stored rows and values; nothing is played or learned here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import attainable, references
from benchmarks.attainable import Line
from benchmarks.references import Reference, ReferencesError
from benchmarks.statistics import Estimate, Rank, mean_estimate, paired_difference, ranks, relative
from benchmarks.store import read_values

BASELINE, RIVAL = "silence", "cap"


class Entry(NamedTuple):
    """One agent on one scenario."""

    agent: str
    seeds: int
    value: Estimate  # money a customer, discounted
    over_silence: Estimate | None  # paired; none for silence itself, or where it was not played
    score: Estimate | None  # 0 is silence, 100 full information; none for silence itself, or without references
    over_cap: Estimate | None  # paired, likewise
    uplift: Estimate | None  # share of silence; none also where silence is not surely worth something
    rank: Rank
    measures: dict[str, float | None]  # means over training seeds


class Failed(NamedTuple):
    """A policy of somebody's own that gave no row for at least one training seed."""

    agent: str
    reason: str  # one line


class Board(NamedTuple):
    """All agents on one scenario, best first."""

    scenario: str
    digest: str
    customers: int
    days: int
    commits: list[str]  # of the code that made the rows
    entries: list[Entry]
    remark: str  # why there are no scores; empty where there are
    failed: list[Failed] = []  # agents without a place, and why
    line: Line | None = None  # what can be attained without knowing the customer; none without references


MEASURES = {
    "messages_a_week": "messages a week",
    "blocks_per_1000_messages": "blocks per 1,000",
    "reach": "reach after a year",
    "alive_at_end": "alive at the end",
    "overloaded_contacts": "over-contacts",
    "training_seconds": "training s",
}


def boards(rows: Sequence[Mapping[str, Any]], folder: Path, reference_folder: Path = references.FOLDER) -> list[Board]:
    """A board for every scenario in `rows`, in the order of their first appearance.

    Args:
        rows: of any number of scenarios.
        folder: where the customers' values are.
        reference_folder: where the exact values are that scores are made of. A board has no scores where there are
            none for the scenario, or only stale ones; its remark tells which.

    Raises:
        ValueError: rows of one scenario come from different worlds, customers or windows, or rows of one agent
            from different settings or twice from one seed.
    """
    found = []
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        mine = [row for row in rows if row["scenario"] == scenario]
        for field in ("digest", "customers", "days"):
            different = {row[field] for row in mine}
            if len(different) > 1:
                raise ValueError(f"{scenario}: rows of different {field} {sorted(different)} cannot share a board")
        _check_seeds(scenario, mine)
        found.append(_board(scenario, mine, folder, reference_folder))
    return found


def _check_seeds(scenario: str, rows: list[Mapping[str, Any]]) -> None:
    by_agent: dict[str, dict[int, Any]] = {}
    for row in rows:
        seeds = by_agent.setdefault(row["agent"], {})
        if row["settings"] != next(iter(seeds.values()), row["settings"]):
            raise ValueError(f"{scenario} {row['agent']}: rows of different settings cannot share a board")
        if row["seed"] in seeds:
            raise ValueError(f"{scenario} {row['agent']}: seed {row['seed']} has two rows, expected one")
        seeds[row["seed"]] = row["settings"]


def _board(scenario: str, rows: list[Mapping[str, Any]], folder: Path, reference_folder: Path) -> Board:
    first, remark, reference = rows[0], "", None
    try:
        reference = references.fitting(scenario, first["digest"], first["days"], reference_folder)
        remark = "" if reference else f"{scenario}: no reference values, hence no scores"
    except ReferencesError as error:
        remark = f"{error}; hence no scores"
    failed = _failed(rows)
    agents = [agent for agent in dict.fromkeys(row["agent"] for row in rows) if agent not in failed]
    by_agent = {
        agent: sorted((row for row in rows if row["agent"] == agent), key=lambda row: row["seed"]) for agent in agents
    }
    values = {agent: np.stack([read_values(folder, row) for row in mine]) for agent, mine in by_agent.items()}
    places = dict(zip(agents, ranks([values[agent] for agent in agents]) if agents else [], strict=True))
    entries = [
        Entry(
            agent=agent,
            seeds=len(by_agent[agent]),
            value=mean_estimate(values[agent]),
            over_silence=_difference(values, agent, BASELINE),
            score=_score(values, agent, reference),
            over_cap=_difference(values, agent, RIVAL),
            uplift=_uplift(values, agent),
            rank=places[agent],
            measures=_measures(by_agent[agent]),
        )
        for agent in agents
    ]
    entries.sort(key=lambda entry: -entry.value.mean)
    commits = sorted({str(row.get("commit", "unknown")) for row in rows})
    return Board(
        scenario, first["digest"], first["customers"], first["days"], commits, entries, remark,
        list(failed.values()), attainable.line(reference),
    )  # fmt: skip


def _failed(rows: list[Mapping[str, Any]]) -> dict[str, Failed]:
    """Agents with a cell that failed: those that survived their other seeds would flatter them."""
    seeds = {agent: sum(row["agent"] == agent for row in rows) for agent in (row["agent"] for row in rows)}
    found: dict[str, Failed] = {}
    for row in rows:
        if "failed" in row and row["agent"] not in found:
            seed = f"seed {row['seed']}: " if seeds[row["agent"]] > 1 else ""
            found[row["agent"]] = Failed(row["agent"], f"{seed}{row['failed']}")
    return found


def _difference(values: Mapping[str, NDArray[np.float64]], agent: str, other: str) -> Estimate | None:
    if other not in values or agent == other:
        return None
    return paired_difference(values[agent], values[other])


def _score(values: Mapping[str, NDArray[np.float64]], agent: str, reference: Reference | None) -> Estimate | None:
    over_silence = _difference(values, agent, BASELINE)
    if over_silence is None or reference is None:
        return None
    profile = values[agent].mean(axis=0) - values[BASELINE].mean(axis=0)
    return references.score(over_silence, profile, reference.gap)


def _uplift(values: Mapping[str, NDArray[np.float64]], agent: str) -> Estimate | None:
    if BASELINE not in values or agent == BASELINE or mean_estimate(values[BASELINE]).low <= 0:
        return None
    return relative(values[agent], values[BASELINE])


def _measures(rows: list[Mapping[str, Any]]) -> dict[str, float | None]:
    def mean(name: str) -> float | None:
        found = [row[name] for row in rows if row.get(name) is not None]
        return float(np.mean(found)) if found else None

    reach = [float(np.mean(list(row["reach_after_year"].values()))) for row in rows]
    return {name: float(np.mean(reach)) if name == "reach" else mean(name) for name in MEASURES}
