"""Make the leaderboard of a suite: `python -m scripts.benchmark configs/suites/quick.yaml`."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.cli import bar, command, console

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def benchmark(
    suite: Annotated[Path, typer.Argument(help="A suite of configs/suites.")],
    out: Annotated[Path | None, typer.Option(help="Folder of rows and tables; runs/SUITE if not given.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of one thread each; one a core if not given.", min=1)
    ] = None,
) -> None:
    """Train every agent of a suite, play all on the same held-out customers, and rank them.

    Killed and started again it goes on where it stopped and gives the same rows.
    """
    from agents.agent import write_whole
    from benchmarks import configs, experiment, leaderboard

    plan = configs.suite(suite)
    folder = out or Path("runs") / suite.stem
    processes = workers or os.cpu_count() or 1
    started = time.perf_counter()
    with bar() as progress:
        task = progress.add_task(plan.title, total=len(experiment.cells(plan)), note=f"{processes} workers")
        rows = experiment.run(plan, folder, processes, _Shown(progress, task))
        progress.update(task, completed=len(rows), note="")
    order = {name: place for place, name in enumerate(plan.scenarios)}
    rows.sort(key=lambda row: order.get(row["scenario"], len(order)))
    boards = leaderboard.boards(rows, folder)
    for board in boards:
        console.print(_table(board))
    write_whole(folder / "leaderboard.md", leaderboard.markdown(boards, plan.title).encode())
    write_whole(folder / "leaderboard.csv", leaderboard.csv_text(boards).encode())
    console.print(
        f"{len(rows)} cells in {time.perf_counter() - started:.0f} s on {processes} workers; "
        f"rows, Markdown and CSV in [bold]{folder}[/]"
    )


class _Shown:
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task

    def finished(self, row: dict[str, Any], done: int, total: int) -> None:
        note = f"{row['scenario']} {row['agent']} seed {row['seed']}: CLV {row['value']:.1f}"
        self._progress.update(self._task, completed=done, total=total, note=note)


def _table(board: Any) -> Any:
    from rich.table import Table

    from benchmarks.leaderboard import cells_of, header

    table = Table(title=f"{board.scenario}: {board.customers:,} held-out customers, {board.days:,} days")
    for name in header():
        table.add_column(name, justify="left" if name == "agent" else "right")
    for entry in board.entries:
        table.add_row(*cells_of(entry))
    return table


if __name__ == "__main__":
    app()
