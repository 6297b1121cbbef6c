"""Makes rows of a table again and says which of them come out the same.

Nothing of the table is changed: what is made again goes to a store of its own. A row is taken at its word on what it
was made with (settings, seed, customers, days), not on the figures.
"""

import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agents import agent_class
from benchmarks import store
from benchmarks.cells import Cell, played_by
from benchmarks.code import UNKNOWN, code_of
from benchmarks.experiment import run_cell
from benchmarks.laws import LAWS
from benchmarks.submissions import Limits, SubmissionError, described, is_submission
from benchmarks.workers import Failure, work
from blockenv import Scenario
from blockenv.scenarios import ScenarioError, get

# Whatever may differ from run to run, or says by whom and when.
NO_FIGURES = frozenset(
    (
        "key",
        "code",
        "commit",
        "versions",
        "training_seconds",
        "playing_seconds",
        "limits",
        "agent",
        "scenario",
        "digest",
    )
)
ROUNDING = 1e-9  # share of a figure that the order of a sum may change

Verdict = Literal["agrees", "differs", "cannot be made again"]


class Verified(NamedTuple):
    """What became of one row."""

    row: Mapping[str, Any]
    verdict: Verdict
    value: float | None  # made again, money a customer
    words: str  # in what it differs, or why it could not be made


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a store, by its folder or its `rows.jsonl`; the customers' values are not needed.

    Raises:
        ValueError: there is no such file, or no row in it.
    """
    file = path / "rows.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{path}: expected a folder with rows.jsonl, or such a file")
    rows = store.parse_rows(file.read_bytes())
    if not rows:
        raise ValueError(f"{file}: holds no rows")
    return rows


def chosen(rows: Sequence[dict[str, Any]], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of these cells, SCENARIO/AGENT or SCENARIO/AGENT/SEED with * and ?; all rows without patterns.

    Raises:
        ValueError: a pattern that no row answers to.
    """
    if not patterns:
        return list(rows)
    found: dict[int, dict[str, Any]] = {}
    for pattern in patterns:
        hits = {place: row for place, row in enumerate(rows) if _matches(row, pattern)}
        if not hits:
            known = ", ".join(dict.fromkeys(f"{row['scenario']}/{row['agent']}" for row in rows))
            raise ValueError(f"--cell {pattern}: no such row; there are {known:.600}")
        found |= hits
    return [found[place] for place in sorted(found)]


def verify(
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    workers: int = 1,
    *,
    worlds: Sequence[Scenario] = (),
    tolerance: float = 0.0,
    limits: Limits | None = None,
    started: Callable[[Cell], None] = lambda _: None,
) -> Iterator[Verified]:
    """Make rows again, and compare all their figures; in the order of completion.

    Args:
        rows: of a store.
        folder: where the rows that are made go.
        workers: processes.
        worlds: scenarios that are not of the canon.
        tolerance: money by which the value may differ; then the other figures are not compared.
        limits: for policies of somebody's own.
        started: called with each cell when it begins.
    """
    cells: list[Cell] = []
    by_cell: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        try:
            cell = _cell(row, worlds)
        except (ValueError, SubmissionError) as error:
            yield Verified(row, "cannot be made again", None, str(error))
        else:
            cells.append(cell)
            by_cell[cell.key] = row
    for cell, answer in work(partial(run_cell, folder=folder, limits=limits), cells, workers, started):
        row = by_cell[cell.key]
        if isinstance(answer, Failure):
            yield Verified(row, "cannot be made again", None, answer.reason)
            continue
        different = _differences(row, answer, tolerance)
        words = "; ".join([*different[:3], *([f"{len(different) - 3} more"] if len(different) > 3 else [])])
        if different:
            words += _circumstances(row, answer)
        yield Verified(row, "differs" if different else "agrees", float(answer["value"]), words)


def _cell(row: Mapping[str, Any], worlds: Sequence[Scenario]) -> Cell:
    """The cell of a row, by the code of today."""
    name, _, law = str(row["scenario"]).partition("+")
    if law and law not in LAWS:
        raise ValueError(f"{row['scenario']}: no such law, there are {sorted(LAWS)}")
    world, school = _world(name, row["digest"], worlds), row.get("trained_on")
    home = _world(school["scenario"], school["digest"], worlds) if school else None
    agent, settings = row["agent"], dict(row["settings"])
    own = described(agent, settings).code if is_submission(agent) else code_of(agent_class(agent))
    online = row.get("track") == "online"
    return Cell(
        world,
        agent,
        int(row["seed"]),
        int(row["customers"]),
        int(row["days"]),
        settings,
        played_by(own, law, online),
        home=home,
        law=law,
        online=online,
    )


def _world(name: str, digest: str, worlds: Sequence[Scenario]) -> Scenario:
    """The scenario of a name, if its numbers are still those of the row."""
    own = {world.name: world for world in worlds}
    try:
        world = own.get(name) or get(name)
    except ScenarioError as error:
        raise ValueError(f"{name}: not of the canon; give its file by --scenario") from error
    if world.digest != digest:
        raise ValueError(f"{name} has other numbers now: digest {world.digest}, not {digest}")
    return world


def _matches(row: Mapping[str, Any], pattern: str) -> bool:
    names = f"{row['scenario']}/{row['agent']}", f"{row['scenario']}/{row['agent']}/{row['seed']}"
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _differences(row: Mapping[str, Any], again: Mapping[str, Any], tolerance: float) -> list[str]:
    """In words, every figure of the row that did not come out the same."""
    if tolerance > 0:
        gap = abs(float(again["value"]) - float(row["value"]))
        return [] if gap <= tolerance else [f"value {row['value']:.6g}, again {again['value']:.6g}"]
    names = [name for name in row if name not in NO_FIGURES]
    return [
        f"{name} {_brief(row[name])}, again {_brief(again.get(name))}"
        for name in sorted(names, key=lambda name: name != "value")
        if not _same(row[name], again.get(name))
    ]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING)
    return bool(one == other)


def _brief(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{value!s:.40}"


def _circumstances(row: Mapping[str, Any], again: Mapping[str, Any]) -> str:
    """What is not as it was when the row was made, as the likely reason."""
    before, now = row.get("versions", {}), again["versions"]
    found = [f"{name} {before[name]} -> {now.get(name)}" for name in before if before[name] != now.get(name)]
    if row.get("code", UNKNOWN) != again["code"]:
        found.insert(0, "made by other code")
    return f" ({', '.join(found)})" if found else ""
