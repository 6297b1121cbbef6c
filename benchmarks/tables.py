"""The leaderboard in words and as numbers: Markdown for people, comma-separated values for programs.

It only writes down what a `Board` holds.
"""

import csv
import io
from collections.abc import Sequence

from benchmarks.attainable import Line
from benchmarks.leaderboard import MEASURES, Board, Entry, Failed
from benchmarks.statistics import Estimate

ATTAINABLE = "attainable line"  # what stands in an agent's place in the table of numbers
LINES = {"oracle": "full information", "belief": ATTAINABLE}  # what these agents stand for in the tables


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
