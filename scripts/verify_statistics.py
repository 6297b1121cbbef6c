"""Measure whether the leaderboard's intervals are honest: `python -m scripts.verify_statistics`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    from benchmarks.honesty import Measured

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

ROOT = Path(__file__).resolve().parents[1]


@app.command()
@command
def verify_statistics(
    repeats: Annotated[int, typer.Option(help="Made-up tables for each case.", min=1)] = 2000,
    slow_repeats: Annotated[int, typer.Option(help="The same for what is drawn anew.", min=1)] = 500,
    seed: Annotated[int, typer.Option(help="Of the made-up tables.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Where the figures go.", show_default=False)] = (
        ROOT / "benchmarks" / "results" / "statistics.json"
    ),
) -> None:
    """How often 95 % intervals hold the truth, and how often "A beats B" is said of equal agents, by simulation.

    Writes the figures that the page and the README show.
    """
    from agents.agent import write_whole
    from benchmarks import honesty

    with bar() as progress:
        task = progress.add_task("cases", total=len(honesty.cases()) + len(honesty.slow_cases()), note="")

        def told(each: "Measured") -> None:
            progress.update(task, advance=1, note=each.name)

        found = honesty.measure(repeats, slow_repeats, seed, told)
    write_whole(out, json.dumps(honesty.report(found, seed), indent=1).encode() + b"\n")
    rows = [[each.name, each.what, f"{100 * each.share:.1f} %", each.expected, f"{each.repeats:,}"] for each in found]
    console.print(
        table("Made-up tables whose truth is known", ("case", "what", "measured", "should be", "tables"), rows)
    )
    say(f"wrote {out}")


if __name__ == "__main__":
    app()
