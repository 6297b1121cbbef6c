"""How long a suite will take, from how long its like has taken before; said before anything is run.

Never runs a cell. The guess is as good as the rows it is made from: other sizes are taken to cost in proportion.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.cells import Cell, customer_days
from benchmarks.store import parse_rows

ROOT = Path(__file__).resolve().parent.parent
KNOWN = ROOT / "benchmarks" / "results" / "quick" / "rows.jsonl"


class Rates(NamedTuple):
    """Seconds of one core a customer-day, in learning and in playing, by scenario and agent as far as known."""

    learning: dict[tuple[str, str], float]
    playing: dict[tuple[str, str], float]


class Hours(NamedTuple):
    """A guess at what cells will take."""

    total: float  # hours on the clock
    by_agent: dict[str, float]  # hours of one core
    guessed: list[str]  # agents of which nothing is known; they are taken for the mean of the others


def rates(rows: Iterable[Mapping[str, Any]]) -> Rates:
    """What rows took; means where there are several of one agent in one scenario."""
    learning: dict[tuple[str, str], list[float]] = defaultdict(list)
    playing: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if "training_seconds" in row:
            place = str(row["scenario"]).partition("+")[0], str(row["agent"])
            units = customer_days(row["settings"])
            learning[place].append(row["training_seconds"] / units if units else row["training_seconds"])
            playing[place].append(row["playing_seconds"] / (row["customers"] * row["days"]))
    return Rates(
        {place: mean(found) for place, found in learning.items()},
        {place: mean(found) for place, found in playing.items()},
    )


def known_rates(*more: Sequence[Mapping[str, Any]]) -> Rates:
    """Rates of the committed rows, and of others that are at hand."""
    committed = parse_rows(KNOWN.read_bytes()) if KNOWN.exists() else []
    return rates([*committed, *(row for rows in more for row in rows)])


def hours(cells: Sequence[Cell], known: Rates, workers: int) -> Hours:
    """What the cells will take on so many workers.

    An agent that plays where it did not learn learns once for all worlds. Where an agent is unknown in a scenario, its
    mean over the others counts; where it is unknown altogether, the mean of all agents, and it is named.
    """
    by_agent: dict[str, float] = defaultdict(float)
    learned: set[tuple[str, str, int]] = set()
    names = {agent for _, agent in known.playing}
    for cell in cells:
        school = (cell.home or cell.world).name
        units = customer_days(cell.settings)
        playing = _rate(known.playing, cell.world.name, cell.agent) * cell.customers * cell.days
        learning = _rate(known.learning, school, cell.agent) * (units or 1.0)
        if (school, cell.agent, cell.seed) in learned and cell.home is not None:
            learning = 0.0
        learned.add((school, cell.agent, cell.seed))
        by_agent[cell.agent] += (playing + learning) / 3600
    guessed = sorted(agent for agent in by_agent if agent not in names)
    longest = sorted(by_agent.items(), key=lambda item: -item[1])
    return Hours(sum(by_agent.values()) / max(1, min(workers, len(cells))), dict(longest), guessed)


def in_words(found: Hours, workers: int) -> str:
    """The guess in a line."""
    parts = ", ".join(f"{agent} {_time(each)}" for agent, each in list(found.by_agent.items())[:5])
    unknown = f"; nothing is known of {', '.join(found.guessed)}" if found.guessed else ""
    return (
        f"about {_time(found.total)} on {workers} {'worker' if workers == 1 else 'workers'}, by the times of earlier "
        f"rows (of one core: {parts}{unknown})"
    )


def _time(hours_: float) -> str:
    return f"{hours_:.1f} h" if hours_ >= 1 else f"{60 * hours_:.0f} min" if hours_ >= 1 / 60 else "less than a minute"


def _rate(known: Mapping[tuple[str, str], float], scenario: str, agent: str) -> float:
    if (scenario, agent) in known:
        return known[scenario, agent]
    same = [each for (_, other), each in known.items() if other == agent]
    return mean(same or known.values()) if known else 0.0
