"""One training run in a folder of its own: configuration, curves, evaluations, best and last policy, checkpoints.

A run that was killed at any moment goes on from its last checkpoint with the same result. It judges itself on
validation customers; the customers of the leaderboard are never played here.
"""

import csv
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

from agents import agent_class
from agents.agent import Agent, Metrics, parsed, write_whole
from benchmarks import provenance
from benchmarks.configs import ConfigError, agent_settings, read_yaml
from blockenv import EVALUATION_SEED, Result, Scenario, play
from blockenv.scenarios import get

VALIDATION_SEED = EVALUATION_SEED + 1
Show = Callable[[int, int, Metrics], None]


@runtime_checkable
class Resumable(Protocol):
    """An agent that learns long enough to be worth interrupting."""

    def checkpoint(self, folder: Path) -> None:
        """Write all that `resume` needs."""
        ...

    def resume(self, folder: Path) -> None:
        """Let the next `fit` go on from a checkpoint."""
        ...

    def export(self, path: Path) -> None:
        """Write the model for users of its library."""
        ...


class Run:
    """A run folder and the monitor that fills it while the agent learns."""

    def __init__(self, folder: Path, config: Mapping[str, Any], show: Show) -> None:
        self.folder = folder
        self.config = dict(config)
        self.scenario: Scenario = get(config["scenario"])
        kind = agent_class(config["agent"])
        self.agent: Agent = kind(self.scenario, parsed(kind.Settings, config["settings"], f"{folder}/config.yaml"))
        self._show = show
        self._curves: Any = None
        self._silence: Result | None = None
        self._next_evaluation = int(config["eval_freq"])
        self._next_checkpoint = int(config["save_freq"])
        self._best = float("-inf")
        self._clock = time.perf_counter()
        self._steps_before = 0

    @classmethod
    def create(
        cls,
        log_folder: Path,
        agent: str,
        scenario: str,
        seed: int,
        changes: Mapping[str, Any],
        options: Mapping[str, Any],
        show: Show,
    ) -> "Run":
        """A new run in LOG_FOLDER/AGENT/SCENARIO_K, with K counting up; nothing is ever overwritten.

        Raises:
            AgentError, ConfigError, ScenarioError: no such agent or scenario, or settings that cannot be.
            OSError: the folder cannot be written.
        """
        world = get(scenario)
        settings = agent_settings(agent, world.name, changes)
        total = int(getattr(settings, "steps", 0))
        config = {
            "agent": agent,
            "scenario": world.model_dump(mode="json"),
            "digest": world.digest,
            "seed": seed,
            "settings": settings.model_dump(mode="json"),
            "eval_freq": options.get("eval_freq") or max(total // 4, 1),
            "eval_customers": options["eval_customers"],
            "save_freq": options.get("save_freq") or max(total // 10, 1),
        }
        folder = _new_folder(log_folder / agent.replace(":", "-").replace(".", "-"), world.name)
        write_whole(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        metadata = {
            "versions": provenance.versions(),
            "hardware": provenance.hardware(),
            "commit": provenance.commit(),
            "scenario": world.name,
            "digest": world.digest,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        write_whole(folder / "metadata.json", json.dumps(metadata, indent=1).encode())
        return cls(folder, config, show)

    @classmethod
    def open(cls, folder: Path, show: Show) -> "Run":
        """A run that exists, to go on with or to evaluate.

        Raises:
            ConfigError: the folder holds no run, or its configuration is damaged.
        """
        config = read_yaml(folder / "config.yaml")
        needed = ("agent", "scenario", "digest", "seed", "settings", "eval_freq", "eval_customers", "save_freq")
        missing = [name for name in needed if name not in config]
        if missing:
            raise ConfigError(f"{folder / 'config.yaml'}: {missing} missing; is this a run folder?")
        run = cls(folder, config, show)
        if run.scenario.digest != config["digest"]:
            raise ConfigError(
                f"{folder / 'config.yaml'}: the scenario was changed by hand (digest {run.scenario.digest})"
            )
        return run

    def train(self) -> Agent:
        """Learn to the end, from the last checkpoint if there is one, and keep the final policy."""
        checkpoint = self.folder / "checkpoint"
        resumed_at = 0
        if isinstance(self.agent, Resumable) and (checkpoint.exists() or (self.folder / ".checkpoint.old").exists()):
            self.agent.resume(checkpoint)
            resumed_at = int(json.loads((checkpoint / "state.json").read_text())["counters"]["num_timesteps"])
        self._rewind(resumed_at)
        self._curves = _curves(self.folder, resumed_at)
        self._clock, self._steps_before = time.perf_counter(), resumed_at
        try:
            self.agent.fit(int(self.config["seed"]), self)
            final = self._evaluate(int(self.config["settings"].get("steps", 0)))
            self.agent.save(self.folder / "policy")
            self._show(1, 1, final)
        finally:
            self._curves.close()
        return self.agent

    def finished(self) -> bool:
        """Whether the final policy has been kept."""
        return (self.folder / "policy" / "agent.json").exists()

    def trained_agent(self, which: str = "policy") -> Agent:
        """The `policy` or the `best` agent of the run.

        Raises:
            AgentError: there is none yet, or it cannot be read.
        """
        return type(self.agent).load(self.folder / which, self.scenario)

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        """Note how learning goes; evaluate and keep a checkpoint when it is time."""
        if metrics:
            now = time.perf_counter()
            speed = (steps - self._steps_before) / max(now - self._clock, 1e-9)
            self._clock, self._steps_before = now, steps
            metrics = {**metrics, "time/fps": speed}
            _append_csv(self.folder / "progress.csv", {"steps": steps, **metrics})
            for name, value in metrics.items():
                self._curves.add_scalar(name, value, steps)
        if isinstance(self.agent, Resumable) and metrics:
            if steps >= self._next_evaluation:
                self._next_evaluation = (steps // self.config["eval_freq"] + 1) * self.config["eval_freq"]
                metrics = {**metrics, **self._evaluate(steps)}
            if steps >= self._next_checkpoint:
                self._next_checkpoint = (steps // self.config["save_freq"] + 1) * self.config["save_freq"]
                self.agent.checkpoint(self.folder / "checkpoint")
                self.agent.export(self.folder / "model.zip")
            self._clock = time.perf_counter()
        self._show(steps, total, metrics)

    def _evaluate(self, steps: int) -> Metrics:
        customers = int(self.config["eval_customers"])
        if self._silence is None:
            quiet = agent_class("silence")(self.scenario)
            self._silence = play(quiet, self.scenario, VALIDATION_SEED, customers)
        result = play(self.agent, self.scenario, VALIDATION_SEED, customers)
        gain = result.value - self._silence.value
        alive = result.daily_alive.sum()
        found = {
            "eval/mean_reward": float(result.value.mean()),
            "eval/over_silence": float(gain.mean()),
            "eval/over_silence_se": float(gain.std(ddof=1) / customers**0.5) if customers > 1 else 0.0,
            "eval/messages_a_week": 7.0 * float(result.daily_messages.sum() / alive),
            "eval/block_rate": float(result.blocks.sum() / max(result.messages.sum(), 1)),
            "eval/alive_at_end": float(result.daily_alive[-1]),
        }
        for channel, open_share in zip(self.scenario.channels, result.reach_after_year.mean(axis=1), strict=True):
            found[f"eval/reach_{channel.name}"] = float(open_share)
        _append_csv(self.folder / "evaluations.csv", {"steps": steps, **found})
        for name, value in found.items():
            self._curves.add_scalar(name, value, steps)
        if found["eval/mean_reward"] > self._best:
            self._best = found["eval/mean_reward"]
            self.agent.save(self.folder / "best")
        return found

    def _rewind(self, steps: int) -> None:
        """Forget what was written after the checkpoint, so that the files look as if nothing had happened."""
        for name in ("progress.csv", "evaluations.csv"):
            path = self.folder / name
            if path.exists():
                rows = [row for row in _read_csv(path) if int(row["steps"]) <= steps]
                path.unlink()
                for row in rows:
                    _append_csv(path, row)
        if (self.folder / "evaluations.csv").exists():
            values = [float(row["eval/mean_reward"]) for row in _read_csv(self.folder / "evaluations.csv")]
            self._best = max(values, default=self._best)
        self._next_evaluation = (steps // self.config["eval_freq"] + 1) * self.config["eval_freq"]
        self._next_checkpoint = (steps // self.config["save_freq"] + 1) * self.config["save_freq"]


def _new_folder(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / f"{name}_{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        return folder


def _curves(folder: Path, purge_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # takes two seconds to import

    return SummaryWriter(str(folder / "tb"), purge_step=purge_step or None)


def _append_csv(path: Path, row: Mapping[str, Any]) -> None:
    """One more row; columns that turn up later rewrite the file with the wider header."""
    rows = _read_csv(path) if path.exists() else []
    names = list(rows[0]) if rows else []
    wider = [*names, *(name for name in row if name not in names)]
    if rows and wider == names:
        with path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, names).writerow(row)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, wider, restval="")
        writer.writeheader()
        writer.writerows([*rows, row])


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.get("steps", "").isdigit()]
