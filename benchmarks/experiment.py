"""Run a suite: every cell is one agent, trained with one seed, on one scenario, played on the held-out customers.

A cell whose row is there, made by the same code, is not run again, so a suite that was killed goes on where it stopped
and gives the same rows. Never trains on evaluation customers.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents import agent_class
from agents.agent import Metrics, learns
from benchmarks import provenance, store
from benchmarks.code import UNKNOWN, code_of
from benchmarks.configs import Suite, agent_settings
from benchmarks.workers import Failure, work
from blockenv import Scenario, play
from blockenv.rollout import EVALUATION_SEED, Result
from blockenv.scenarios import get


class ExperimentError(RuntimeError):
    """Cells that failed; the message names each and why. The rows of the others are kept."""


class Cell(NamedTuple):
    """One entry of the table of results."""

    world: Scenario
    agent: str
    seed: int
    customers: int
    days: int
    settings: dict[str, Any]
    code: str = UNKNOWN  # see `benchmarks.code`

    def __str__(self) -> str:
        return f"{self.world.name} {self.agent} seed {self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """All that is asked for, as plain values; the scenario by its name and digest."""
        rest = {name: value for name, value in self._asdict().items() if name not in ("world", "code")}
        return {"scenario": self.world.name, "digest": self.world.digest, **rest}

    @property
    def key(self) -> str:
        """Sixteen hex digits that change with anything in `identity`, and with the code."""
        content = json.dumps({**self.identity, "code": self.code}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def wants(self, row: Mapping[str, Any]) -> bool:
        """Whether a row answers what is asked for, by whatever code."""
        return all(row.get(name) == value for name, value in self.identity.items())


class Stored(NamedTuple):
    """What a store has of the cells that are wanted."""

    rows: list[dict[str, Any] | None]  # one a cell, in their order
    other_code: int  # cells that have rows of other code only, whether these are taken or left aside


class Watcher:
    """Whoever watches a suite run; this one looks away."""

    def started(self, cell: Cell) -> None:
        """Called when a cell has been handed to a worker."""

    def finished(self, cell: Cell, row: dict[str, Any]) -> None:
        """Called when a cell's row has been written."""

    def failed(self, cell: Cell, reason: str) -> None:
        """Called when a cell gave no row."""


def cells(suite: Suite) -> list[Cell]:
    """The cells of a suite, long ones first so that parallel workers end together."""
    found = []
    for scenario in suite.scenarios:
        world = get(scenario)
        days = suite.days or world.evaluation_days
        for agent in suite.agents:
            settings = agent_settings(agent, world.name, suite.settings.get(agent)).model_dump(mode="json")
            kind = agent_class(agent)
            seeds, code = suite.seeds if learns(kind) else 1, code_of(kind)
            found += [Cell(world, agent, seed, suite.customers, days, settings, code) for seed in range(seeds)]
    return sorted(found, key=lambda cell: -_weight(cell))


def stored(wanted: list[Cell], folder: Path, any_code: bool = False) -> Stored:
    """The rows in `folder` that answer the cells; those of other code only if `any_code`, and then the latest.

    Rows that do not say by which code they were made count as made by other code.
    """
    kept = store.read_rows(folder)
    by_key = {row["key"]: row for row in kept}
    rows: list[dict[str, Any] | None] = []
    other_code = 0
    for cell in wanted:
        others = [] if cell.key in by_key else [row for row in kept if cell.wants(row)]
        other_code += bool(others)
        rows.append(others[-1] if others and any_code else by_key.get(cell.key))
    return Stored(rows, other_code)


def run(
    suite: Suite, folder: Path, workers: int, watcher: Watcher | None = None, any_code: bool = False
) -> list[dict[str, Any]]:
    """Run what is missing of a suite in `workers` processes of one thread each, and return all its rows.

    Rows come in the order of the suite: by scenario, then agent, then seed. Those that other code has made are run
    again, or taken as they are if `any_code`.

    Raises:
        OSError: `folder` cannot be written.
        ExperimentError: a cell failed, after all others have been run.
    """
    watcher = watcher or Watcher()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = cells(suite)
    missing = [cell for cell, row in zip(wanted, stored(wanted, folder, any_code).rows, strict=True) if row is None]
    failures = []
    for cell, answer in work(partial(run_cell, folder=folder), missing, workers, watcher.started):
        if isinstance(answer, Failure):
            failures.append(_told(cell, answer, folder))
            watcher.failed(cell, answer.reason)
        else:
            watcher.finished(cell, answer)
    if failures:
        raise ExperimentError("; ".join(failures))
    agents = {name: place for place, name in enumerate(suite.agents)}
    worlds = {get(name).name: place for place, name in enumerate(suite.scenarios)}
    wanted.sort(key=lambda cell: (worlds[cell.world.name], agents[cell.agent], cell.seed))
    return [row for row in stored(wanted, folder, any_code).rows if row is not None]


def run_cell(cell: Cell, folder: Path) -> dict[str, Any]:
    """Train and play one cell, and keep its row and values in `folder`."""
    kind = agent_class(cell.agent)
    agent = kind(cell.world, kind.Settings.model_validate(cell.settings))
    started = time.perf_counter()
    counter = _Counter()
    agent.fit(cell.seed, counter)
    trained = time.perf_counter()
    result = play(agent, cell.world, EVALUATION_SEED, cell.customers, days=cell.days)
    row = {
        "key": cell.key,
        "code": cell.code,
        **cell.identity,
        "training_days": counter.steps,
        "training_seconds": round(trained - started, 2),
        "playing_seconds": round(time.perf_counter() - trained, 2),
        **summary(result, [channel.name for channel in cell.world.channels]),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    store.write(folder, row, result.value)
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


class _Counter:
    """A monitor that only remembers how much was learned from."""

    steps = 0

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        self.steps = steps


def _told(cell: Cell, failure: Failure, folder: Path) -> str:
    """A failure in one line; where there is a traceback, it is kept in a file of its own."""
    if not failure.details:
        return f"{cell}: {failure.reason}"
    path = folder / "failures" / f"{cell.key}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{cell}\n{failure.details}", encoding="utf-8")
    return f"{cell}: {failure.reason} (traceback in {path})"


def _weight(cell: Cell) -> float:
    """A guess at how long a cell takes, in customer-days; only the order depends on it."""
    own = {name: value for name, value in cell.settings.items() if isinstance(value, int | float)}
    learning = own.get("steps", 0) + own.get("customers", 0) * own.get("days", 0)
    prices = cell.settings.get("prices")
    return float(learning * (len(prices) if isinstance(prices, list) else 1) + cell.customers * cell.days)
