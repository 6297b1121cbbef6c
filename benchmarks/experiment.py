"""Run a suite: every cell is one agent, trained with one seed, on one scenario, played on the held-out customers.

A cell whose row is there is not run again, so a suite that was killed goes on where it stopped and gives the same
rows. Never trains on evaluation customers.
"""

import hashlib
import json
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents import agent_class
from agents.agent import Metrics, learns
from benchmarks import provenance, store
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

    def __str__(self) -> str:
        return f"{self.world.name} {self.agent} seed {self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """All that tells the cell from others, as plain values; the scenario by its name and digest."""
        rest = {name: value for name, value in self._asdict().items() if name != "world"}
        return {"scenario": self.world.name, "digest": self.world.digest, **rest}

    @property
    def key(self) -> str:
        """Sixteen hex digits that change with anything in `identity`; the code itself is not part of it."""
        content = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


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
            seeds = suite.seeds if learns(agent_class(agent)) else 1
            found += [Cell(world, agent, seed, suite.customers, days, settings) for seed in range(seeds)]
    return sorted(found, key=lambda cell: -_weight(cell))


def missing(wanted: list[Cell], folder: Path) -> list[Cell]:
    """The cells that have no row in `folder` yet."""
    have = {row["key"] for row in store.read_rows(folder)}
    return [cell for cell in wanted if cell.key not in have]


def run(suite: Suite, folder: Path, workers: int, watcher: Watcher | None = None) -> list[dict[str, Any]]:
    """Run what is missing of a suite in `workers` processes of one thread each, and return all its rows.

    Rows come in the order of the suite: by scenario, then agent, then seed.

    Raises:
        OSError: `folder` cannot be written.
        ExperimentError: a cell failed, after all others have been run.
    """
    watcher = watcher or Watcher()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = cells(suite)
    failures = []
    for cell, answer in work(partial(run_cell, folder=folder), missing(wanted, folder), workers, watcher.started):
        if isinstance(answer, Failure):
            failures.append(_told(cell, answer, folder))
            watcher.failed(cell, answer.reason)
        else:
            watcher.finished(cell, answer)
    if failures:
        raise ExperimentError("; ".join(failures))
    rows = {row["key"]: row for row in store.read_rows(folder)}
    agents = {name: place for place, name in enumerate(suite.agents)}
    worlds = {get(name).name: place for place, name in enumerate(suite.scenarios)}
    wanted.sort(key=lambda cell: (worlds[cell.world.name], agents[cell.agent], cell.seed))
    return [rows[cell.key] for cell in wanted]


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
