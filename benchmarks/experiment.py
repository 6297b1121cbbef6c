"""Run a suite: every cell is one agent, trained with one seed, on one scenario, played on the held-out customers.

Rows go to an append-only file and the customers' values beside it; a cell that is there is not run again, so a
suite that was killed goes on where it stopped and gives the same rows. Never trains on evaluation customers.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agents import agent_class
from agents.agent import Metrics
from benchmarks import provenance
from benchmarks.configs import Suite, agent_settings
from blockenv import play
from blockenv.rollout import EVALUATION_SEED, Result
from blockenv.scenarios import get

LEARNERS_WITHOUT_SEED = ("silence", "random", "greedy", "weekly", "cap", "rfm")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Cell(NamedTuple):
    """One entry of the table of results."""

    scenario: str
    agent: str
    seed: int
    customers: int
    days: int
    settings: dict[str, Any]
    digest: str

    @property
    def key(self) -> str:
        """Sixteen hex digits that change with anything that can change the result."""
        content = json.dumps(self._asdict(), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


class Watcher(Protocol):
    """Whoever watches a suite run."""

    def finished(self, row: dict[str, Any], done: int, total: int) -> None:
        """Called when a cell's row has been written."""
        ...


def cells(suite: Suite) -> list[Cell]:
    """The cells of a suite, long ones first so that parallel workers end together."""
    found = []
    for scenario in suite.scenarios:
        world = get(scenario)
        for agent in suite.agents:
            settings = agent_settings(agent, world.name, suite.settings.get(agent))
            seeds = 1 if agent in LEARNERS_WITHOUT_SEED else suite.seeds
            for seed in range(seeds):
                days = suite.days or world.evaluation_days
                plain = settings.model_dump(mode="json")
                found.append(Cell(world.name, agent, seed, suite.customers, days, plain, world.digest))
    return sorted(found, key=lambda cell: -_weight(cell))


def run(suite: Suite, folder: Path, workers: int, watcher: Watcher) -> list[dict[str, Any]]:
    """Run what is missing of a suite in `workers` processes of one thread each, and return all its rows.

    Raises:
        OSError: `folder` cannot be written.
        RuntimeError: a cell failed; the rows of the others are kept, and the message names the cell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = cells(suite)
    have = {row["key"] for row in read_rows(folder)}
    missing = [cell for cell in wanted if cell.key not in have]
    done, total = len(wanted) - len(missing), len(wanted)
    failures: list[str] = []
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for row in _completed(pool, missing, folder, failures, workers):
            done += 1
            watcher.finished(row, done, total)
    if failures:
        raise RuntimeError("; ".join(failures))
    keys = {cell.key for cell in wanted}
    return [row for row in read_rows(folder) if row["key"] in keys]


def run_cell(cell: Cell, folder: Path) -> dict[str, Any]:
    """Train and play one cell, and write its row and values into `folder`."""
    scenario = get(cell.scenario)
    kind = agent_class(cell.agent)
    agent = kind(scenario, kind.Settings.model_validate(cell.settings))
    started = time.perf_counter()
    counter = _Counter()
    agent.fit(cell.seed, counter)
    trained = time.perf_counter()
    result = play(agent, scenario, EVALUATION_SEED, cell.customers, days=cell.days)
    row = {
        "key": cell.key,
        **cell._asdict(),
        "training_days": counter.steps,
        "training_seconds": round(trained - started, 2),
        "playing_seconds": round(time.perf_counter() - trained, 2),
        **summary(result, [channel.name for channel in scenario.channels]),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    _write_values(folder / "values" / f"{cell.key}.npy", result.value)
    _append(folder / "rows.jsonl", row)
    return row


def summary(result: Result, channels: list[str]) -> dict[str, Any]:
    """The measures of a leaderboard row that can be read without the customers' values."""
    days, messages = float(result.days.sum()), float(result.messages.sum())
    opted_in = np.maximum(result.opted_in.sum(axis=1), 1)
    return {
        "value": float(result.value.mean()),
        "realised": float(result.realised.mean()),
        "messages_a_week": 7.0 * messages / days,
        "blocks_per_1000_messages": 1e3 * float(result.blocks.sum()) / messages if messages else None,
        "blocks": float(result.blocks.mean()),
        "reach_after_year": dict(zip(channels, (result.reach_after_year.sum(axis=1) / opted_in).tolist(), strict=True)),
        "alive_at_end": float(result.daily_alive[-1]),
        "cost": float(result.cost.mean()),
        "relevant_contacts": float(result.relevant.mean()),
        "overloaded_contacts": float(result.overloaded.mean()),
    }


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All whole rows of a store, the first of each key; a last line cut off by a kill is left out."""
    path = folder / "rows.jsonl"
    if not path.exists():
        return []
    rows: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if (folder / "values" / f"{row['key']}.npy").exists():
            rows.setdefault(row["key"], row)
    return list(rows.values())


def read_values(folder: Path, row: Mapping[str, Any]) -> NDArray[np.float64]:
    """(N,) the customers' values of a row."""
    values = np.load(folder / "values" / f"{row['key']}.npy", allow_pickle=False)
    return np.asarray(values, np.float64)


class _Counter:
    """A monitor that only remembers how much was learned from."""

    steps = 0

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        self.steps = steps


def _completed(
    pool: ProcessPoolExecutor, missing: list[Cell], folder: Path, failures: list[str], workers: int
) -> Iterator[dict[str, Any]]:
    """Rows as they come; only as many cells wait in the pool as keep it busy, so that an interrupt is heard."""
    queue = list(missing)
    running: dict[Future[dict[str, Any]], Cell] = {}
    while queue or running:
        while queue and len(running) < workers:
            cell = queue.pop(0)
            running[pool.submit(run_cell, cell, folder)] = cell
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            cell = running.pop(future)
            try:
                yield future.result()
            except Exception as error:  # whatever an agent raises costs its own row only
                failures.append(f"{cell.scenario} {cell.agent} seed {cell.seed}: {type(error).__name__}: {error}")


def _weight(cell: Cell) -> float:
    """A guess at how long a cell takes, in customer-days of learning; only the order depends on it."""
    steps = cell.settings.get("steps", 0) + cell.settings.get("customers", 0) * cell.settings.get("days", 0)
    return float(steps * len(cell.settings.get("prices", [0])) + cell.customers * cell.days)


class _one_thread_each:  # noqa: N801 - reads as a statement
    """Processes started inside use one thread each: more threads than cores wait for each other by spinning."""

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _append(path: Path, row: dict[str, Any]) -> None:
    """One line in one write under a lock: two writers never mix, and a kill leaves at most an unfinished last line."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = json.dumps(row, sort_keys=True).encode() + b"\n"
        if file.tell() and not _ends_with_newline(path):
            line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _write_values(path: Path, values: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, values.astype(np.float32))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
