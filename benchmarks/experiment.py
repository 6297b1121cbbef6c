"""Run a suite: every cell is one agent, trained with one seed, on one scenario, played on the held-out customers.

A cell whose row is there, made by the same code, is not run again, so a suite that was killed goes on where it stopped
and gives the same rows. Somebody's own policy that fails costs its row, and is tried again. Never trains on evaluation
customers.
"""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import online, provenance, store
from benchmarks.cells import Cell, cells, stored
from benchmarks.configs import Suite, place_of, world_and_law
from benchmarks.laws import LAWS, Bent
from benchmarks.schooling import trained
from benchmarks.submissions import Limits, Submission, SubmissionError, is_submission
from benchmarks.summaries import summary
from benchmarks.workers import Failure, work
from blockenv import play
from blockenv.policies import Policy
from blockenv.rollout import EVALUATION_SEED, Result


class ExperimentError(RuntimeError):
    """Cells that failed; the message names each and why. The rows of the others are kept."""


class Watcher:
    """Whoever watches a suite run; this one looks away."""

    def started(self, cell: Cell) -> None:
        """Called when a cell has been handed to a worker."""

    def finished(self, cell: Cell, row: dict[str, Any]) -> None:
        """Called when a cell's row has been written."""

    def failed(self, cell: Cell, reason: str) -> None:
        """Called when a cell gave no row."""


def run(
    suite: Suite,
    folder: Path,
    workers: int,
    watcher: Watcher | None = None,
    any_code: bool = False,
    limits: Limits | None = None,
) -> list[dict[str, Any]]:
    """Run what is missing of a suite in `workers` processes of one thread each, and return all its rows.

    Rows come in the order of the suite: by scenario, then agent, then seed. Those that other code has made are run
    again, or taken as they are if `any_code`. A cell of somebody's own policy that failed gives a row without values,
    which says why under `failed`; it is kept in the store's `failures.jsonl`, and the cell is run again next time.

    Args:
        suite: what is wanted.
        folder: the store.
        workers: processes.
        watcher: is told of every cell.
        any_code: take rows that other code has made.
        limits: what somebody's own policy may use for one cell.

    Raises:
        OSError: `folder` cannot be written.
        ExperimentError: a cell of an agent of this project failed, after all others have been run.
    """
    watcher, limits = watcher or Watcher(), limits or Limits()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = cells(suite)
    missing = [cell for cell, row in zip(wanted, stored(wanted, folder, any_code).rows, strict=True) if row is None]
    failures: dict[str, dict[str, Any]] = {}
    bugs = []

    def fail(cell: Cell, failure: Failure) -> None:
        told = _told(cell, failure, folder)
        if is_submission(cell.agent):
            failures[cell.key] = _failed_row(cell, failure, limits)
            store.write_failure(folder, failures[cell.key])
        else:
            bugs.append(told)
        watcher.failed(cell, failure.reason)

    for cell in missing:
        if cell.trouble:
            fail(cell, Failure(cell.trouble, ""))
    sound = [cell for cell in missing if not cell.trouble]
    for cell, answer in work(partial(run_cell, folder=folder, limits=limits), sound, workers, watcher.started):
        if isinstance(answer, Failure):
            fail(cell, answer)
        else:
            watcher.finished(cell, answer)
    if bugs:
        raise ExperimentError("; ".join(bugs))
    agents = {name: place for place, name in enumerate(suite.agents)}
    worlds = {place_of(*world_and_law(name)): number for number, name in enumerate(suite.scenarios)}
    wanted.sort(key=lambda cell: (worlds[cell.place], agents[cell.agent], cell.seed))
    rows = (
        failures.get(cell.key, row) for cell, row in zip(wanted, stored(wanted, folder, any_code).rows, strict=True)
    )
    return [row for row in rows if row is not None]


def run_cell(cell: Cell, folder: Path, limits: Limits | None = None) -> dict[str, Any] | Failure:
    """Train and play one cell, and keep its row and values in `folder`; a policy of somebody's own may fail."""
    started = time.perf_counter()
    if cell.online:
        return _served(cell, folder, limits or Limits())
    if not is_submission(cell.agent):
        agent, steps = trained(cell, folder)
        learned = time.perf_counter()
        result = play(_among(agent, cell), cell.world, EVALUATION_SEED, cell.customers, days=cell.days)
        return _kept(cell, folder, result, steps, (started, learned, time.perf_counter()), {})
    limits = limits or Limits()
    try:
        with Submission(cell.agent, limits) as guest:
            started = time.perf_counter()
            guest.make(cell.home or cell.world, cell.settings)
            steps = guest.fit(cell.seed)
            learned = time.perf_counter()
            result = play(_among(guest, cell), cell.world, EVALUATION_SEED, cell.customers, days=cell.days)
    except SubmissionError as error:
        return Failure(str(error), error.details)
    return _kept(cell, folder, result, steps, (started, learned, time.perf_counter()), {"limits": limits._asdict()})


def _served(cell: Cell, folder: Path, limits: Limits) -> dict[str, Any] | Failure:
    """The row of a cell of the online track, where learning is playing."""
    started = time.perf_counter()
    if not is_submission(cell.agent):
        result = online.serve(_among(online.newcomer(cell), cell), cell)
        return _kept(cell, folder, result, 0, (started, started, time.perf_counter()), {})
    try:
        with online.guest_of(cell, limits) as guest:
            guest.make(cell.world, cell.settings)
            result = online.serve(_among(guest, cell), cell)
    except SubmissionError as error:
        return Failure(str(error), error.details)
    return _kept(cell, folder, result, 0, (started, started, time.perf_counter()), {"limits": limits._asdict()})


def _among(policy: Policy, cell: Cell) -> Policy:
    """The policy among the customers of the cell, who may live by a law of their own."""
    return Bent(policy, LAWS[cell.law](cell.world, cell.customers)) if cell.law else policy


def _kept(
    cell: Cell, folder: Path, result: Result, steps: int, times: tuple[float, float, float], more: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of a cell, now in the store."""
    started, learned, played = times
    row = {
        "key": cell.key,
        "code": cell.code,
        **cell.identity,
        "training_days": steps,
        "training_seconds": round(learned - started, 2),
        "playing_seconds": round(played - learned, 2),
        **summary(result, cell.world),
        **more,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    store.write(folder, row, result.value)
    return row


def _failed_row(cell: Cell, failure: Failure, limits: Limits) -> dict[str, Any]:
    return {
        "key": cell.key,
        "code": cell.code,
        **cell.identity,
        "failed": failure.reason,
        "limits": limits._asdict(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def _told(cell: Cell, failure: Failure, folder: Path) -> str:
    """A failure in one line; where there is a traceback, it is kept in a file of its own."""
    if not failure.details:
        return f"{cell}: {failure.reason}"
    path = folder / "failures" / f"{cell.key}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{cell}\n{failure.details}", encoding="utf-8")
    return f"{cell}: {failure.reason} (traceback in {path})"
