"""The leaderboard in the README, made from the committed table of the quick suite.

Nothing is typed by hand: the section is whatever the table says, and a test compares the two.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.leaderboard import LINES, labelled

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "benchmarks" / "results" / "quick" / "leaderboard.csv"
BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"


def with_leaderboard(text: str, table: Path = TABLE) -> str:
    """`text` with what stands between the two marks replaced by the leaderboard of `table`.

    Raises:
        ValueError: a mark is missing.
        OSError: the table cannot be read.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README: expected the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section(table)}{END}{after}"


def section(table: Path = TABLE) -> str:
    """One row an agent, one column a scenario: value over silence with its place, scores, and what is over the cap."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
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
        lines += _scores(agents, scenarios, found)
    lines += ["", "Over the tuned cap, with 95 % intervals:", "", "| agent | " + " | ".join(scenarios) + " |"]
    lines.append("|---|" + "---:|" * len(scenarios))
    for agent in agents[: agents.index("cap")]:
        cells = (_interval(found[scenario, agent]) for scenario in scenarios)
        lines.append(f"| {labelled(agent)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _scores(
    agents: Sequence[str], scenarios: Sequence[str], found: Mapping[tuple[str, str], Mapping[str, str]]
) -> list[str]:
    """The table of scores, best mean first."""
    mean = {
        agent: sum(_number(found[scenario, agent], "score") for scenario in scenarios) / len(scenarios)
        for agent in agents
    }
    lines = [
        "",
        "Scores with 95 % intervals: 0 is silence, 100 what a sender would earn who knew each customer's traits and state"
        + (f"; {LINES['belief']}: who knows the population but not the customer:" if "belief" in agents else ":"),
        "",
        "| agent | mean | " + " | ".join(scenarios) + " |",
        "|---|---:|" + "---:|" * len(scenarios),
    ]
    for agent in sorted((each for each in agents if each != "silence"), key=lambda each: -mean[each]):
        rows = [found[scenario, agent] for scenario in scenarios]
        cells = (
            f"{float(row['score']):z.0f} [{float(row['score_low']):z.0f}, {float(row['score_high']):z.0f}]"
            for row in rows
        )
        lines.append(f"| {labelled(agent)} | {mean[agent]:z.0f} | " + " | ".join(cells) + " |")
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
