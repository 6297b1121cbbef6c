"""The leaderboard in the README and what is known of its statistics, made from the committed results.

Nothing is typed by hand: the sections are whatever the results say, and a test compares the two.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.page.build import read_findings
from benchmarks.tables import ATTAINABLE, labelled

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "benchmarks" / "results" / "quick" / "leaderboard.csv"
STATISTICS = ROOT / "benchmarks" / "results" / "statistics.json"
CANON = ROOT / "benchmarks" / "results" / "canon"


def with_leaderboard(text: str, table: Path = TABLE, statistics: Path = STATISTICS, canon: Path = CANON) -> str:
    """`text` with what stands between its marks replaced by what the results say.

    Args:
        text: of the README.
        table: the leaderboard.
        statistics: what its statistics are worth.
        canon: the folder of results on the whole canon.

    Raises:
        ValueError: a mark is missing, or findings cannot be read.
        OSError: the table or the statistics cannot be read.
    """
    words = str(json.loads(statistics.read_text(encoding="utf-8"))["words"])
    text = between(between(text, "leaderboard", section(table)), "statistics", f"{words}\n")
    return between(text, "canon", over_canon(read_findings(canon)))


def over_canon(findings: Mapping[str, Any]) -> str:
    """Mean scores over all scenarios, and which neighbours in that order can be told apart."""
    entries, first = findings["overall"]["entries"], findings["scenarios"][0]
    scores = (
        f"{entry['label']} {entry['score'][0]:z.0f} [{entry['score'][1]:z.0f}, {entry['score'][2]:z.0f}]"
        for entry in entries
    )
    told: dict[bool, list[str]] = {True: [], False: []}
    in_order = pairwise(entry["agent"] for entry in entries)
    compared = {(each["better"], each["than"]): each["difference"] for each in findings["overall"]["neighbours"]}
    for better, than in in_order:
        lead, low, high = compared[better, than]
        pair = f"{labelled(better)} and {labelled(than)} ({lead:+.1f} [{low:+.1f}, {high:+.1f}])"
        told[low > 0.0].append(pair)
    seeds = max(entry["seeds"] for entry in entries)
    lines = [
        f"Mean scores over {len(findings['scenarios'])} scenarios, {first['customers']:,} held-out customers and {seeds} "
        f"training seeds, with 95 % intervals: {', '.join(scores)}."
    ]
    if told[False]:
        lines.append(f"Neighbours in this order whose difference may be nothing: {', '.join(told[False])}.")
    if told[True]:
        lines.append(f"Told apart: {', '.join(told[True])}.")
    return "\n".join(lines) + "\n"


def between(text: str, name: str, content: str) -> str:
    """`text` with `content` between the two marks of that name.

    Raises:
        ValueError: a mark is missing.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"README: expected the marks {begin} and {end}")
    return f"{before}{begin}\n{content}{end}{after}"


def section(table: Path = TABLE) -> str:
    """One row an agent, one column a scenario: value over silence with its place, scores, and what is over the cap."""
    with table.open(newline="", encoding="utf-8") as file:
        everything = list(csv.DictReader(file))
    rows = [row for row in everything if row["agent"] != ATTAINABLE]
    line = {row["scenario"]: row for row in everything if row["agent"] == ATTAINABLE}
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    found = {(row["scenario"], row["agent"]): row for row in rows}
    agents = list(dict.fromkeys(row["agent"] for row in rows))
    mean = {
        agent: sum(_number(found[scenario, agent], "over_silence") for scenario in scenarios) / len(scenarios)
        for agent in agents
    }
    agents.sort(key=lambda agent: -mean[agent])
    silence = " · ".join(f"{name} {float(found[name, 'silence']['value']):.1f}" for name in scenarios)
    lines = [
        "Discounted three-year value over silence, money a customer, with the range of ranks among "
        f"{len(agents)} agents; silence itself is worth {silence}. {int(rows[0]['customers']):,} held-out customers, "
        f"{int(rows[0]['days']):,} days, {max(int(row['seeds']) for row in rows)} training seeds.",
        "",
        "| agent | " + " | ".join(scenarios) + " |",
        "|---|" + "---:|" * len(scenarios),
    ]
    for agent in agents:
        cells = (_cell(found[scenario, agent]) for scenario in scenarios)
        lines.append(f"| {labelled(agent)} | " + " | ".join(cells) + " |")
    if all(found[scenario, agent].get("score") for scenario in scenarios for agent in agents if agent != "silence"):
        lines += _scores(agents, scenarios, found, line)
    lines += ["", "Over the tuned cap, with 95 % intervals:", "", "| agent | " + " | ".join(scenarios) + " |"]
    lines.append("|---|" + "---:|" * len(scenarios))
    for agent in agents[: agents.index("cap")]:
        cells = (_interval(found[scenario, agent]) for scenario in scenarios)
        lines.append(f"| {labelled(agent)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _scores(
    agents: Sequence[str],
    scenarios: Sequence[str],
    found: Mapping[tuple[str, str], Mapping[str, str]],
    line: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """The table of scores, best mean first; the attainable line is among them where all scenarios have one."""
    named = {
        labelled(agent): [found[scenario, agent] for scenario in scenarios] for agent in agents if agent != "silence"
    }
    drawn = set(scenarios) <= set(line)
    if drawn:
        named[f"*{ATTAINABLE}*"] = [line[scenario] for scenario in scenarios]
    mean = {name: sum(_number(row, "score") for row in rows) / len(scenarios) for name, rows in named.items()}
    words = "; the attainable line is what a planner earns who knows the population and the rules, but not the customer"
    lines = [
        "",
        "Scores with 95 % intervals: 0 is silence, 100 what a sender would earn who knew each customer's traits and state"
        + (f"{words}:" if drawn else ":"),
        "",
        "| agent | mean | " + " | ".join(scenarios) + " |",
        "|---|---:|" + "---:|" * len(scenarios),
    ]
    for name in sorted(named, key=lambda each: -mean[each]):
        cells = (
            f"{float(row['score']):z.0f} [{float(row['score_low']):z.0f}, {float(row['score_high']):z.0f}]"
            for row in named[name]
        )
        lines.append(f"| {name} | {mean[name]:z.0f} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: Mapping[str, str]) -> str:
    low, high = row["rank_low"], row["rank_high"]
    return f"{_number(row, 'over_silence'):+.1f} ({low if low == high else f'{low}-{high}'})"


def _interval(row: Mapping[str, str]) -> str:
    if not row["over_cap"]:
        return ""
    return f"{float(row['over_cap']):+.1f} [{float(row['over_cap_low']):+.1f}, {float(row['over_cap_high']):+.1f}]"


def _number(row: Mapping[str, str], name: str) -> float:
    return float(row[name]) if row[name] else 0.0
