"""Print the calibration card of a scenario: `python -m scripts.card Retail-v0`.

Shows what `calibration.card` found and judges nothing itself.
"""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from agents.agent import write_whole
from blockenv.scenarios import SCENARIOS
from calibration.card import Card
from calibration.card import card as card_of
from calibration.rows import GROUPS, Verdict
from scripts.cli import bar, command, console, say

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

COLOURS: dict[Verdict, str] = {"pass": "green", "fail": "red", "no data": "dim"}


@app.command()
@command
def card(
    scenario: Annotated[str | None, typer.Argument(help="A scenario of the canon, or a .yaml file.")] = None,
    customers: Annotated[int, typer.Option(min=GROUPS, help="Customers in every play.")] = 4096,
    every: Annotated[bool, typer.Option("--all", help="All scenarios of the canon.")] = False,
    to_json: Annotated[Path | None, typer.Option("--json", help="Also write the cards here.")] = None,
) -> None:
    """Play a scenario by plain timetables and compare it with what has been published."""
    if every == (scenario is not None):
        raise ValueError("scenario: name one, or ask for --all, and not for both")
    cards = []
    with bar() as progress:
        for name in SCENARIOS if scenario is None else (scenario,):
            task = progress.add_task(name, total=None, note="")
            found = card_of(name, customers, progress=partial(progress.advance, task))
            progress.remove_task(task)
            console.print(_table(found))
            for number, source in enumerate(_sources(found), start=1):
                say(f"{number}. {source}")
            cards.append(found)
    if to_json is not None:
        content = [each._asdict() | {"rows": [line._asdict() for line in each.rows]} for each in cards]
        write_whole(to_json, json.dumps(content, indent=1).encode())


def _table(found: Card) -> Table:
    verdicts = [line.verdict for line in found.rows]
    title = f"{found.scenario} {found.digest}, {found.customers} customers: " + ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in COLOURS
    )
    table = Table(title=title, show_lines=True)
    table.add_column("row", min_width=24)
    for heading in ("simulated", "published", "verdict", "source"):
        table.add_column(heading, no_wrap=True)
    sources = _sources(found)
    for line in found.rows:
        table.add_row(
            f"{line.name} [dim]({line.unit})[/]",
            f"{_number(line.simulated)}\n[dim]{_range(line.simulated_low, line.simulated_high)}[/]",
            f"{_number(line.published)}\n[dim]{_range(line.low, line.high)}[/]",
            f"[{COLOURS[line.verdict]}]{line.verdict}[/]",
            str(sources.index(f"{line.label} {line.source}") + 1),
        )
    table.caption = "below a simulated figure its 95 % interval, below a published one the pass band"
    return table


def _sources(found: Card) -> list[str]:
    """What the rows cite, each once, in order."""
    return list(dict.fromkeys(f"{line.label} {line.source}" for line in found.rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None and high is None else f"{_number(low)} .. {_number(high)}"


if __name__ == "__main__":
    app()
