"""Everything that a table of results says, as plain values that a page can show without the customers' own values.

Every number comes from rows, values and reference values; nothing is played or learned here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import references
from benchmarks.comparisons import (
    DRAWS,
    SEED,
    Tables,
    kind_of,
    neighbours,
    overall,
    reference_of,
    regrets,
    scores_of,
    triple,
)
from benchmarks.laws import LAWS
from benchmarks.leaderboard import BASELINE, Board, Entry, boards
from benchmarks.stability import rank_agreement
from benchmarks.statistics import Estimate, mean_estimate, paired_difference
from benchmarks.store import read_values
from benchmarks.tables import in_words, labelled
from blockenv import EVALUATION_SEED, population
from blockenv.scenarios import SCENARIOS, Scenario


def findings(
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    title: str,
    command: str = "",
    reference_folder: Path = references.FOLDER,
    worlds: Sequence[Scenario] = (),
) -> dict[str, Any]:
    """All that can be said of rows with values, as what JSON can hold.

    Args:
        rows: of any number of scenarios.
        folder: where the customers' values are.
        title: of the table.
        command: by which the rows are made.
        reference_folder: where the exact values are that scores are made of.
        worlds: scenarios that are not of the canon.

    Raises:
        ValueError: as `leaderboard.boards`.
    """
    scenarios: list[dict[str, Any]] = []
    first: Tables = {}
    scores: dict[str, Tables | None] = {}
    by_scenario: dict[str, Tables] = {}
    for board in boards(rows, folder, reference_folder):
        mine = [row for row in rows if row["scenario"] == board.scenario]
        tables = by_scenario[board.scenario] = _tables(mine, [entry.agent for entry in board.entries], folder)
        reference = reference_of(board, reference_folder)
        short, changed = regrets(board, tables, reference), _changes(first, tables)
        scenarios.append(_scenario(board, mine, tables, worlds, short, changed))
        first = first or tables
        scores[board.scenario] = scores_of(tables, reference)
    return {
        "title": title,
        "command": command,
        "scenarios": scenarios,
        "overall": overall(scores) | {"failed": _failed(scenarios)},
        "stability": _stability(by_scenario),
    }


def _stability(by_scenario: Mapping[str, Tables]) -> list[dict[str, Any]]:
    """How far each other world keeps the order that the agents have in the first."""
    rng = np.random.default_rng(SEED)
    base, *others = by_scenario or [""]
    found = []
    for name in others:
        here, there = by_scenario[base], by_scenario[name]
        agents = [agent for agent in here if agent in there]
        if len(agents) >= 3 and here[agents[0]].shape[1] == there[agents[0]].shape[1]:
            tau = rank_agreement([here[each] for each in agents], [there[each] for each in agents], rng, draws=DRAWS)
            found.append({"base": base, "scenario": name, "agents": len(agents), "tau": triple(tau)})
    return found


def _changes(here: Tables, there: Tables) -> dict[str, Estimate]:
    """By agent, its value over silence in this world less that in the first: the same customers, training by training."""
    if BASELINE not in here or BASELINE not in there:
        return {}
    silence = there[BASELINE].mean(axis=0) - here[BASELINE].mean(axis=0)
    shared = [agent for agent in there if agent in here and agent != BASELINE]
    return {
        agent: mean_estimate(there[agent] - here[agent] - silence)
        for agent in shared
        if there[agent].shape == here[agent].shape
    }


def _failed(scenarios: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Agents that failed somewhere, with where and why the first time."""
    where: dict[str, list[str]] = {}
    why: dict[str, str] = {}
    for scenario in scenarios:
        for each in scenario["failed"]:
            where.setdefault(each["agent"], []).append(scenario["name"])
            why.setdefault(each["agent"], each["reason"])
    return [{"agent": agent, "reason": f"{', '.join(where[agent])}: {why[agent]}"} for agent in where]


def _tables(rows: Sequence[Mapping[str, Any]], agents: Sequence[str], folder: Path) -> Tables:
    return {
        agent: np.stack(
            [
                read_values(folder, row)
                for row in sorted(rows, key=lambda row: int(row["seed"]))
                if row["agent"] == agent
            ]
        )
        for agent in agents
    }


def _scenario(
    board: Board,
    rows: Sequence[Mapping[str, Any]],
    tables: Tables,
    worlds: Sequence[Scenario],
    short: Mapping[str, Estimate],
    changed: Mapping[str, Estimate],
) -> dict[str, Any]:
    name, _, law = board.scenario.partition("+")
    world = _world(name, board.digest, worlds)
    segments = _segments(board, world)
    return {
        "name": board.scenario,
        "isolates": "; ".join([*([world.isolates] if world else []), *([LAWS[law].says] if law in LAWS else [])]),
        "digest": board.digest,
        "customers": board.customers,
        "days": board.days,
        "commits": board.commits,
        "remark": board.remark,
        "track": rows[0].get("track", "offline"),
        "trained_on": (rows[0].get("trained_on") or {}).get("scenario"),
        "line": in_words(board.line) if board.line else "",
        "failed": [each._asdict() for each in board.failed],
        "entries": [
            _entry(entry, [row for row in rows if row["agent"] == entry.agent], tables, segments)
            | {"regret": triple(short.get(entry.agent)), "change": triple(changed.get(entry.agent))}
            for entry in board.entries
        ],
        "neighbours": neighbours([entry.agent for entry in board.entries], tables, [tables]),
    }


def _entry(
    entry: Entry, rows: Sequence[Mapping[str, Any]], tables: Tables, segments: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Any]:
    return {
        "agent": entry.agent,
        "label": labelled(entry.agent),
        "kind": kind_of(entry.agent),
        "seeds": entry.seeds,
        "rank": [entry.rank.low, entry.rank.high],
        "letters": entry.rank.letters,
        "value": triple(entry.value),
        "over_silence": triple(entry.over_silence),
        "score": triple(entry.score),
        "over_cap": triple(entry.over_cap),
        "uplift": triple(entry.uplift),
        "measures": entry.measures | _customer_side(rows),
        "segments": _by_segment(entry.agent, rows, tables, segments),
        "courses": _mean_of([row["courses"] for row in rows if "courses" in row]),
        "rows": [
            {"key": row["key"], "seed": row["seed"], "value": row["value"], "code": row.get("code", "unknown")}
            for row in sorted(rows, key=lambda row: int(row["seed"]))
        ],
    }


def _customer_side(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """What customers went through, means a customer over training seeds."""

    def mean(name: str) -> float | None:
        found = [row[name] for row in rows if row.get(name) is not None]
        return float(np.mean(found)) if found else None

    return {name: mean(name) for name in ("relevant_contacts", "blocks", "cost")}


def _segments(board: Board, world: Scenario | None) -> dict[str, NDArray[np.bool_]]:
    """Who of the held-out customers is in which segment; nothing for worlds that are not known."""
    if world is None:
        return {}
    everybody = np.arange(board.customers)
    traits = population.draw(world, np.full(board.customers, EVALUATION_SEED, np.uint64), everybody)
    own = {segment.name: np.asarray(traits.segment == place) for place, segment in enumerate(world.segments)}
    return {name: who for name, who in own.items() if who.sum() >= 2}  # fewer have no interval


def _by_segment(
    agent: str, rows: Sequence[Mapping[str, Any]], tables: Tables, segments: Mapping[str, NDArray[np.bool_]]
) -> list[dict[str, Any]]:
    means = _mean_of([row["segments"] for row in rows if "segments" in row]) or {}
    found = []
    for name, own in segments.items():
        over = None
        if agent != BASELINE and BASELINE in tables:
            over = triple(paired_difference(tables[agent][:, own], tables[BASELINE][:, own]))
        value = float(tables[agent][:, own].mean())
        found.append(
            {"name": name, "customers": int(own.sum()), "value": value, "over_silence": over}
            | {key: each for key, each in means.get(name, {}).items() if key not in ("customers", "value")}
        )
    return found


def _world(name: str, digest: str, worlds: Sequence[Scenario]) -> Scenario | None:
    """The scenario of that name, given or of the canon, if it has these numbers."""
    known = [*worlds, *SCENARIOS.values()]
    return next((world for world in known if (world.name, world.digest) == (name, digest)), None)


def _mean_of(parts: Sequence[Any]) -> Any:
    """The mean of equally built mappings and lists, number by number; None of none."""
    if not parts:
        return None
    first = parts[0]
    if isinstance(first, Mapping):
        return {name: _mean_of([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        return [_mean_of(list(each)) for each in zip(*parts, strict=True)]
    return float(f"{np.mean(parts):.6g}")
