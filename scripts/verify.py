"""Make rows of a leaderboard again: `python -m scripts.verify benchmarks/results/quick --cell "Style-v0/cap"`."""

import random
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from scripts.cli import bar, command, console, say, table

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def verify(
    rows: Annotated[Path, typer.Argument(help="A folder with rows.jsonl, or the file itself.")],
    cell: Annotated[
        list[str] | None,
        typer.Option(help="Rows to make again, SCENARIO/AGENT or SCENARIO/AGENT/SEED, with * and ?; may be repeated."),
    ] = None,
    sample: Annotated[int | None, typer.Option(help="Only so many of them, drawn at random.", min=1)] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="A .yaml file of a scenario outside the canon; may be repeated.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(help="Money by which a value may differ, for other machines; else all figures must agree.", min=0),
    ] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes of one thread each.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="Keep what was made in this folder.")] = None,
    time_limit: Annotated[
        float, typer.Option(help="Seconds a cell, for policies of somebody's own.", min=0.1)
    ] = 1800.0,
    memory_limit: Annotated[int, typer.Option(help="Megabytes, for policies of somebody's own.", min=64)] = 4096,
) -> None:
    """Train and play cells of a table again, and say which of their figures come out the same.

    Ends with 1 if any row differs or cannot be made again.
    """
    from benchmarks import verification
    from benchmarks.submissions import Limits
    from blockenv.scenarios import get

    wanted = verification.chosen(verification.read_table(rows), cell or ())
    if sample is not None and sample < len(wanted):
        wanted = random.SystemRandom().sample(wanted, sample)
    worlds = [get(each) for each in scenario or ()]
    with tempfile.TemporaryDirectory() as scratch, bar() as progress:
        task = progress.add_task("rows", total=len(wanted), note="")
        found = []
        for each in verification.verify(
            wanted,
            out or Path(scratch),
            workers,
            worlds=worlds,
            tolerance=tolerance,
            limits=Limits(time_limit, memory_limit),
            started=lambda cell: progress.update(task, note=str(cell)),
        ):
            found.append(each)
            progress.advance(task)
    cells = [
        [
            f"{each.row['scenario']}/{each.row['agent']}/{each.row['seed']}",
            each.verdict,
            f"{each.row['value']:.4f}",
            "" if each.value is None else f"{each.value:.4f}",
            each.words,
        ]
        for each in found
    ]
    console.print(table(str(rows), ("cell", "verdict", "value", "again", "what"), cells))
    agree = sum(each.verdict == "agrees" for each in found)
    say(f"{agree} of {len(found)} rows agree")
    if agree < len(found):
        sys.exit(1)


if __name__ == "__main__":
    app()
