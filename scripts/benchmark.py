"""Make the leaderboard of a suite: `python -m scripts.benchmark configs/suites/quick.yaml`."""

import json
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
    agent: Annotated[
        list[str] | None,
        typer.Option(help="A policy of your own, my_package.my_module:MyPolicy, to be ranked too; may be repeated."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or cuda:1, for the agents that can choose; as their settings say.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(help="Seconds that a policy of your own may take for one cell.", min=0.1)
    ] = 1800.0,
    memory_limit: Annotated[
        int, typer.Option(help="Megabytes that the process of a policy of your own may use.", min=64)
    ] = 4096,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only say what would be run.")] = False,
) -> None:
    """Train every agent of a suite, play all on the same held-out customers, and rank them.

    Killed and started again it goes on where it stopped and gives the same rows; after a change of the code it runs
    everything again.

    A policy of your own needs `act(observation, action_mask, rng)`; it may have `__init__(scenario)` and `fit(seed)`.
    It runs in a process of its own: if it crashes, hangs or sends what is no action, its row says so and nothing else
    is lost.
    """
    from agents.agent import write_whole
    from benchmarks import cells, configs, experiment, hours, leaderboard, tables
    from benchmarks.findings import findings
    from benchmarks.page.build import NAME
    from benchmarks.submissions import Limits

    plan = configs.suite(suite, agent or ())
    plan = configs.on_device(plan, device) if device else plan
    folder = out or Path("runs") / suite.stem
    wanted = cells.cells(plan)
    stored = cells.stored(wanted, folder, any_code)
    missing = [cell for cell, row in zip(wanted, stored.rows, strict=True) if row is None]
    processes = max(1, min(workers or _cores(), len(missing)))
    say(
        f"{plan.title}: {len(plan.scenarios)} scenarios x {len(plan.agents)} agents make {len(wanted)} cells, "
        f"{len(wanted) - len(missing)} done before, {len(missing)} to run on {processes} "
        f"{'worker' if processes == 1 else 'workers'}, into {folder}"
    )
    if missing:
        known = hours.known_rates([row for row in stored.rows if row is not None])
        say(hours.in_words(hours.hours(missing, known, processes), processes))
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
            rows = experiment.run(plan, folder, processes, watcher, any_code, Limits(time_limit, memory_limit))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "the rows of finished cells are kept, the same command goes on from there"
            ) from None
    boards = leaderboard.boards(rows, folder)
    for board in boards:
        title = f"{board.scenario}: {board.customers:,} held-out customers, {board.days:,} days"
        rows_of = [tables.cells_of(entry) for entry in board.entries]
        if rows_of:
            console.print(table(title, tables.header(), rows_of))
        for each in board.failed:
            say(f"no place for {each.agent} on {board.scenario}: {each.reason}")
        if board.remark:
            say(board.remark)
    write_whole(folder / "leaderboard.md", tables.markdown(boards, plan.title).encode())
    write_whole(folder / "leaderboard.csv", tables.csv_text(boards).encode())
    words = ["python -m scripts.benchmark", str(suite), *(f"--agent {each}" for each in agent or ())]
    worlds = [configs.world_and_law(each)[0] for each in plan.scenarios]
    found = findings(rows, folder, plan.title, " ".join(words), worlds=worlds)
    write_whole(folder / NAME, json.dumps(found, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    say(
        f"{len(missing)} cells in {time.perf_counter() - started:.0f} s; rows in {folder / 'rows.jsonl'}, "
        f"tables in {folder / 'leaderboard.md'} and {folder / 'leaderboard.csv'}"
    )
    say(f"next: python -m scripts.page {folder}")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _watcher(progress: Any, title: str, total: int, done: int) -> Any:
    """Shows the cells that are running and what came of the last; where there is no terminal, a line for each cell."""
    from benchmarks.cells import Cell
    from benchmarks.experiment import Watcher

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
            if str(cell) in self._running:  # one that could not even be imported never ran
                self._running.remove(str(cell))
            say(f"{self._done}/{total} {words}")
            self._update()

        def _update(self) -> None:
            progress.update(self._task, completed=self._done, note=f"running {', '.join(self._running) or 'nothing'}")

    return Shown()


if __name__ == "__main__":
    app()
