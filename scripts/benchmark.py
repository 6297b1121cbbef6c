"""Make the leaderboard of a suite: `python -m scripts.benchmark configs/suites/quick.yaml`."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.cli import bar, command, console, say, table

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def benchmark(
    suite: Annotated[Path, typer.Argument(help="A suite of configs/suites.")],
    out: Annotated[Path | None, typer.Option(help="Folder of rows and tables; runs/SUITE if not given.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of one thread each; one a core if not given.", min=1)
    ] = None,
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Also take rows that other code has made, instead of running them again.")
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only say what would be run.")] = False,
) -> None:
    """Train every agent of a suite, play all on the same held-out customers, and rank them.

    Killed and started again it goes on where it stopped and gives the same rows; after a change of the code it runs
    everything again.
    """
    from agents.agent import write_whole
    from benchmarks import configs, experiment, leaderboard

    plan = configs.suite(suite)
    folder = out or Path("runs") / suite.stem
    wanted = experiment.cells(plan)
    stored = experiment.stored(wanted, folder, any_code)
    missing = [cell for cell, row in zip(wanted, stored.rows, strict=True) if row is None]
    processes = max(1, min(workers or _cores(), len(missing)))
    say(
        f"{plan.title}: {len(plan.scenarios)} scenarios x {len(plan.agents)} agents make {len(wanted)} cells, "
        f"{len(wanted) - len(missing)} done before, {len(missing)} to run on {processes} "
        f"{'worker' if processes == 1 else 'workers'}, into {folder}"
    )
    if stored.other_code:
        fate = "taken all the same" if any_code else "run again (--any-code would take the rows as they are)"
        say(f"cells with rows of other code only: {stored.other_code}, {fate}")
    if plan_only:
        for cell in missing:
            say(f"  {cell}")
        return
    started = time.perf_counter()
    with bar() as progress:
        watcher = _watcher(progress, plan.title, len(wanted), len(wanted) - len(missing))
        try:
            rows = experiment.run(plan, folder, processes, watcher, any_code)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "the rows of finished cells are kept, the same command goes on from there"
            ) from None
    boards = leaderboard.boards(rows, folder)
    for board in boards:
        title = f"{board.scenario}: {board.customers:,} held-out customers, {board.days:,} days"
        rows_of = [leaderboard.cells_of(entry) for entry in board.entries]
        console.print(table(title, leaderboard.header(), rows_of))
        if board.remark:
            say(board.remark)
    write_whole(folder / "leaderboard.md", leaderboard.markdown(boards, plan.title).encode())
    write_whole(folder / "leaderboard.csv", leaderboard.csv_text(boards).encode())
    say(
        f"{len(missing)} cells in {time.perf_counter() - started:.0f} s; rows in {folder / 'rows.jsonl'}, "
        f"tables in {folder / 'leaderboard.md'} and {folder / 'leaderboard.csv'}"
    )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _watcher(progress: Any, title: str, total: int, done: int) -> Any:
    """Shows the cells that are running and what came of the last; where there is no terminal, a line for each cell."""
    from benchmarks.experiment import Cell, Watcher

    class Shown(Watcher):
        def __init__(self) -> None:
            self._running: list[str] = []
            self._done, self._last = done, ""
            self._task = progress.add_task(title, total=total, completed=done, note="")

        def started(self, cell: Cell) -> None:
            self._running.append(str(cell))
            self._update()

        def finished(self, cell: Cell, row: dict[str, Any]) -> None:
            self._ended(cell, f"{cell}: CLV {row['value']:.2f}, {row['training_seconds']:.0f} s of training")

        def failed(self, cell: Cell, reason: str) -> None:
            self._ended(cell, f"{cell} failed: {reason}")

        def _ended(self, cell: Cell, words: str) -> None:
            self._done += 1
            self._running.remove(str(cell))
            say(f"{self._done}/{total} {words}")
            self._update()

        def _update(self) -> None:
            progress.update(self._task, completed=self._done, note=f"running {', '.join(self._running) or 'nothing'}")

    return Shown()


if __name__ == "__main__":
    app()
