"""One training run in a folder of its own: configuration, curves, evaluations, best and last policy, checkpoints.

A run that was killed at any moment goes on from its last checkpoint with the same result. It judges itself on
validation customers; the customers of the leaderboard are never played here.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import Field

from agents import agent_class, checkpoints
from agents.agent import Agent, AgentError, Metrics, parsed, training_seed, write_whole
from benchmarks import provenance
from benchmarks.configs import ConfigError, agent_settings, read_record
from benchmarks.curves import EVALUATIONS, PROGRESS, Curves
from blockenv import EVALUATION_SEED, Result, Scenario, play
from blockenv.scenarios import Record, get
from blockenv.scenarios.yaml_text import yaml_text

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


class RunConfig(Record):
    """All that decides a run; the content of its config.yaml."""

    agent: str
    scenario: dict[str, Any] = Field(description="all its numbers, so that a run stays what it was")
    digest: str = Field(description="of the scenario")
    seed: int
    settings: dict[str, Any]
    eval_freq: int = Field(ge=1, description="customer-days between evaluations")
    eval_customers: int = Field(ge=2, description="validation customers")
    save_freq: int = Field(ge=1, description="customer-days between checkpoints")


class Run:
    """A run folder and the monitor that fills it while the agent learns."""

    def __init__(self, folder: Path, config: RunConfig, show: Show | None = None) -> None:
        self.folder = folder
        self.config = config
        self.scenario: Scenario = get(config.scenario)
        kind = agent_class(config.agent)
        self.agent: Agent = kind(self.scenario, parsed(kind.Settings, config.settings, f"settings of {config.agent}"))
        self.show = show or (lambda *_: None)
        self._curves: Any = None
        self._silence: Result | None = None
        self._next_evaluation, self._next_checkpoint = config.eval_freq, config.save_freq
        self._best = float("-inf")
        self._clock = time.perf_counter()
        self._steps = 0

    @classmethod
    def create(
        cls,
        log_folder: Path,
        agent: str,
        scenario: str,
        seed: int = 0,
        changes: Mapping[str, Any] | None = None,
        *,
        eval_freq: int | None = None,
        eval_customers: int = 2048,
        save_freq: int | None = None,
        show: Show | None = None,
    ) -> Self:
        """A new run in LOG_FOLDER/AGENT/SCENARIO_K, with K counting up; nothing is ever overwritten.

        Raises:
            AgentError, ConfigError, ScenarioError: no such agent or scenario, or settings that cannot be.
            OSError: the folder cannot be written; none is left behind.
        """
        world = get(scenario)
        training_seed(seed)
        settings = agent_settings(agent, world.name, changes)
        total = int(getattr(settings, "steps", 0))
        config = RunConfig(
            agent=agent,
            scenario=world.model_dump(mode="json"),
            digest=world.digest,
            seed=seed,
            settings=settings.model_dump(mode="json"),
            eval_freq=eval_freq or max(total // 4, 1),
            eval_customers=eval_customers,
            save_freq=save_freq or max(total // 10, 1),
        )
        run = cls(Path(), config, show)  # what cannot be is found before there is a folder
        run.folder = _new_folder(log_folder / agent.replace(":", "-").replace(".", "-"), world.name)
        try:
            metadata = json.dumps(_metadata(world), indent=1)
            write_whole(run.folder / "metadata.json", metadata.encode())
            content = yaml_text(config.model_dump())
            write_whole(run.folder / "config.yaml", content.encode())
        except BaseException:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise
        return run

    @classmethod
    def open(cls, folder: Path, show: Show | None = None) -> Self:
        """A run that exists, to go on with or to evaluate.

        Raises:
            ConfigError: the folder holds no run, or its configuration is damaged or was changed by hand.
        """
        path = folder / "config.yaml"
        if not path.exists():
            raise ConfigError(f"{folder}: is no run folder (it has no config.yaml)")
        config = read_record(RunConfig, path)
        try:
            run = cls(folder, config, show)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
        if run.scenario.digest != config.digest:
            raise ConfigError(
                f"{path}: digest: {config.digest}, but the scenario's is {run.scenario.digest}; was it edited?"
            )
        return run

    def train(self) -> Metrics:
        """Learn to the end, from the last checkpoint if there is one, keep the final policy, and judge it."""
        checkpoint = self.folder / "checkpoint"
        if isinstance(self.agent, Resumable) and (checkpoint.exists() or (self.folder / ".checkpoint.old").exists()):
            self.agent.resume(checkpoint)
            self._steps = checkpoints.steps(checkpoint)
        _sweep(self.folder)
        self._curves = Curves(self.folder, self._steps)
        self._best = max(self._curves.column(EVALUATIONS, "eval/mean_reward"), default=self._best)
        self._plan()
        self._clock = time.perf_counter()
        try:
            self.agent.fit(self.config.seed, self)
            final = self._evaluate(self._steps)
            self._keep("policy")
            self.show(self._steps, self._steps, final)
        finally:
            self._curves.close()
        return final

    def finished(self) -> bool:
        """Whether the final policy has been kept."""
        return (self.folder / "policy").exists()

    def trained_agent(self, which: str = "policy") -> Agent:
        """The `policy` or the `best` agent of the run.

        Raises:
            AgentError: there is none yet, or it cannot be read.
        """
        if not (self.folder / which).exists():
            other = "; --best has one" if which != "best" and (self.folder / "best").exists() else ""
            raise AgentError(f"{self.folder}: has no {which!r} yet, go on with --resume{other}")
        return type(self.agent).load(self.folder / which, self.scenario)

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        """Note how learning goes; evaluate and keep a checkpoint when it is time."""
        before, self._steps = self._steps, steps
        if metrics:
            speed = (steps - before) / max(time.perf_counter() - self._clock, 1e-9)
            metrics = {**metrics, "time/fps": speed}
            self._curves.add(PROGRESS, steps, metrics)
        if metrics and steps < total and isinstance(self.agent, Resumable):  # what is due at the end follows anyway
            evaluates, keeps = steps >= self._next_evaluation, steps >= self._next_checkpoint
            self._plan()
            if evaluates:
                metrics = {**metrics, **self._evaluate(steps)}
            if keeps:
                self._curves.flush()
                self.agent.checkpoint(self.folder / "checkpoint")
                self.agent.export(self.folder / "model.zip")
        self._clock = time.perf_counter()
        self.show(steps, total, metrics)

    def _plan(self) -> None:
        """When to evaluate and to keep a checkpoint next, from the steps alone, so that a resumed run does the same."""
        self._next_evaluation = (self._steps // self.config.eval_freq + 1) * self.config.eval_freq
        self._next_checkpoint = (self._steps // self.config.save_freq + 1) * self.config.save_freq

    def _evaluate(self, steps: int) -> Metrics:
        customers = self.config.eval_customers
        if self._silence is None:
            quiet = agent_class("silence")(self.scenario)
            self._silence = play(quiet, self.scenario, VALIDATION_SEED, customers)
        result = play(self.agent, self.scenario, VALIDATION_SEED, customers)
        gain = result.value - self._silence.value
        found = {
            "eval/mean_reward": float(result.value.mean()),
            "eval/over_silence": float(gain.mean()),
            "eval/over_silence_se": float(gain.std(ddof=1) / customers**0.5),
            "eval/messages_a_week": 7.0 * float(result.daily_messages.sum() / result.daily_alive.sum()),
            "eval/block_rate": float(result.blocks.sum() / max(result.messages.sum(), 1)),
            "eval/alive_at_end": float(result.daily_alive[-1]),
        }
        for channel, open_share in zip(self.scenario.channels, result.reach_after_year.mean(axis=1), strict=True):
            found[f"eval/reach_{channel.name}"] = float(open_share)
        self._curves.add(EVALUATIONS, steps, found)
        if found["eval/mean_reward"] > self._best:
            self._best = found["eval/mean_reward"]
            self._keep("best")
        return found

    def _keep(self, which: str) -> None:
        """The agent as it is now, in a folder that appears whole or not at all."""
        fresh, old = self.folder / f".{which}.new", self.folder / f".{which}.old"
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
        self.agent.save(fresh)
        if (self.folder / which).exists():
            (self.folder / which).rename(old)
        fresh.rename(self.folder / which)
        shutil.rmtree(old, ignore_errors=True)


def _metadata(world: Scenario) -> dict[str, Any]:
    return {
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "commit": provenance.commit(),
        "scenario": world.name,
        "digest": world.digest,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


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


def _sweep(folder: Path) -> None:
    """Take away what a kill left half-written: names that begin with a dot."""
    for path in folder.glob(".*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
