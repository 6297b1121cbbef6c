"""From rows to a table: who is worth how much, who beats whom, and what the customers went through.

Every number comes from the stored rows and values; nothing is played or learned here.
"""

import csv
import io
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
ATTAINABLE = "attainable line"  # what stands in an agent's place in the table of numbers
LINES = {"oracle": "full information", "belief": "attainable line"}  # what these agents stand for in the tables


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


def header() -> list[str]:
    """Column titles of the table."""
    return ["rank", "agent", "CLV", "over silence", "score", "over cap", "uplift", *MEASURES.values()]


def cells_of(entry: Entry) -> list[str]:
    """An entry in words, one a column. Ranks that cannot be told apart share a range, as 2-4."""
    low, high = entry.rank.low, entry.rank.high
    return [
        f"{low}" if low == high else f"{low}-{high}",
        labelled(entry.agent) + (f" ({entry.seeds} seeds)" if entry.seeds > 1 else ""),
        f"{entry.value.mean:.1f}",
        _signed(entry.over_silence),
        "" if entry.score is None else f"{entry.score.mean:z.0f} [{entry.score.low:z.0f}, {entry.score.high:z.0f}]",
        _signed(entry.over_cap),
        "" if entry.uplift is None else f"{100 * entry.uplift.mean:+z.1f} %",
        *(_plain(name, entry.measures[name]) for name in MEASURES),
    ]


def failed_cells_of(failed: Failed) -> list[str]:
    """A failed agent in words, one a column."""
    return ["failed", labelled(failed.agent), failed.reason, *[""] * (len(header()) - 3)]


def labelled(agent: str) -> str:
    """The agent's name, with the line that it draws if it is a reference."""
    return f"{agent}, {LINES[agent]}" if agent in LINES else agent


def in_words(line: Line) -> str:
    """What the attainable line says, in a sentence."""
    score = line.score
    return (
        "Attainable line: a planner that knows the population and the rules of a day, but not the customer, earns "
        f"{_signed(line.over_silence)} over silence, a score of {score.mean:z.0f} [{score.low:z.0f}, {score.high:z.0f}]; "
        "the rest is the price of information, or lost by planning as if all doubt ended tomorrow."
    )


def _signed(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.mean:+z.1f} [{estimate.low:+z.1f}, {estimate.high:+z.1f}]"


def _plain(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name in ("reach", "alive_at_end"):
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if name == "messages_a_week" else f"{value:.1f}"


def markdown(found: Sequence[Board], title: str) -> str:
    """The boards as a Markdown page."""
    lines = [
        f"# {title}",
        "",
        "Discounted customer lifetime value in money a customer. Brackets: 95 % intervals of paired differences, "
        "over customers and training seeds. Agents share a range of ranks where the Holm-corrected comparison of "
        "the pair cannot tell them apart. Score: 0 is silence, 100 what a sender would earn who knew each customer's "
        "traits and state, reckoned exactly; the interval covers both.",
    ]
    for board in found:
        lines += ["", f"## {board.scenario}", ""]
        world = f"{board.customers:,} held-out customers, {board.days:,} days, scenario {board.digest}"
        lines += [f"{world}, code {', '.join(board.commits)}.", ""]
        lines += [f"{board.remark}.", ""] if board.remark else []
        lines += [in_words(board.line), ""] if board.line else []
        lines += ["| " + " | ".join(header()) + " |", "|" + "---|" * len(header())]
        rows = [*map(cells_of, board.entries), *map(failed_cells_of, board.failed)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in rows]
    return "\n".join(lines) + "\n"


def csv_text(found: Sequence[Board]) -> str:
    """The boards as one table of numbers."""
    memory = io.StringIO()
    names = ["scenario", "digest", "customers", "days", "rank_low", "rank_high", "letters", "agent", "seeds"]
    for estimate in ("value", "over_silence", "score", "over_cap", "uplift"):
        names += [estimate, f"{estimate}_low", f"{estimate}_high"]
    writer = csv.writer(memory, lineterminator="\n")
    writer.writerow([*names, *MEASURES, "failed"])
    for board in found:
        world, no_place = [board.scenario, board.digest, board.customers, board.days], ["", "", ""]
        for entry in board.entries:
            numbers = _numbers(entry.value, entry.over_silence, entry.score, entry.over_cap, entry.uplift)
            place = [entry.rank.low, entry.rank.high, entry.rank.letters, entry.agent, entry.seeds]
            writer.writerow([*world, *place, *numbers, *(entry.measures[name] for name in MEASURES), ""])
        if board.line is not None:
            numbers = _numbers(None, board.line.over_silence, board.line.score, None, None)
            writer.writerow([*world, *no_place, ATTAINABLE, 1, *numbers, *[""] * len(MEASURES), ""])
        for each in board.failed:
            writer.writerow([*world, *no_place, each.agent, "", *[""] * (15 + len(MEASURES)), each.reason])
    return memory.getvalue()


def _numbers(*estimates: Estimate | None) -> list[float | str]:
    """Mean and ends of each interval, empty where there is none."""
    found: list[float | str] = []
    for estimate in estimates:
        found += ["", "", ""] if estimate is None else [estimate.mean, estimate.low, estimate.high]
    return found
