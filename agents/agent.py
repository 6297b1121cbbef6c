"""What every agent is: it chooses messages for a batch of customers, learns from training customers, and can be kept.

An agent is one file with one class; it never sees evaluation customers while it learns, and never the hidden state.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from blockenv.scenarios import Record, Scenario

Metrics = Mapping[str, float]


class AgentSettings(Record):
    """The numbers of an agent: frozen, and strict about names and numbers."""


class AgentError(ValueError):
    """An agent that does not exist, cannot be set up so, or cannot be read back; the message says which and why."""


class Monitor(Protocol):
    """Whoever watches an agent learn: a progress bar, a log, a run folder."""

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        """Called after each stretch of learning with customer-days so far, those planned, and what was measured."""
        ...


class Unwatched:
    """A monitor that looks away."""

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        """Nothing."""


class Counter:
    """A monitor that only remembers how much was learned from."""

    steps = 0  # customer-days

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        """Take note."""
        self.steps = int(steps)


@runtime_checkable
class Agent(Protocol):
    """The interface of every entry in `agents.AGENTS`.

    A class may say `learns = False`: then one training seed stands for all of them on a leaderboard.
    """

    Settings: ClassVar[type[Any]]
    scenario: Scenario

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        """An agent for one scenario, with its default settings if none are given."""
        ...

    def act(
        self, observation: NDArray[np.floating[Any]], action_mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.integer[Any]]:
        """Choose an action for each customer, see `blockenv.Policy`."""
        ...

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn from training customers; the same seed gives the same agent. Rules that need no learning return."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into `folder`, each file whole or not at all."""
        ...

    @classmethod
    def load(cls, folder: Path, scenario: Scenario) -> Self:
        """Read an agent back.

        Raises:
            AgentError: a file is missing or damaged, or belongs to another scenario's shape.
        """
        ...


def parsed(kind: type[AgentSettings], values: Mapping[str, Any], where: str) -> Any:
    """Settings of `kind` from plain values, or an AgentError that names the field and what is wrong with it."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        known = ", ".join(kind.model_fields) or "none"
        reasons = "; ".join(
            f"{'.'.join(map(str, part['loc']))}: {part['msg']} (got {part['input']!r:.80})" for part in error.errors()
        )
        raise AgentError(f"{where}: {reasons}. Settings are: {known}") from error


def learns(kind: type[Agent]) -> bool:
    """Whether agents of `kind` differ by their training seed; true unless the class says otherwise."""
    return bool(getattr(kind, "learns", True))


def training_seed(seed: int, purpose: int = 0) -> int:
    """The population seed of training run `seed`: disjoint from `blockenv.EVALUATION_SEED`, whatever the number.

    Raises:
        AgentError: a seed outside 0..2^31-1.
    """
    if not 0 <= seed < 2**31:
        raise AgentError(f"seed: {seed}, expected 0..{2**31 - 1}")
    return seed * 64 + purpose


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all.

    Raises:
        OSError: the folder is missing, cannot be written, or is full.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_record(folder: Path, agent: Agent, learned: Mapping[str, Any], settings: AgentSettings) -> None:
    """Keep an agent whose whole knowledge fits into a small JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "agent": type(agent).__name__,
        "scenario": agent.scenario.name,
        "digest": agent.scenario.digest,
        "settings": settings.model_dump(mode="json"),
        "learned": dict(learned),
    }
    write_whole(folder / "agent.json", json.dumps(content, indent=1).encode())


def load_record(folder: Path, name: str, kind: type[AgentSettings]) -> tuple[Any, dict[str, Any]]:
    """Settings and learned values of an agent kept by `save_record`.

    Raises:
        AgentError: the file is missing, damaged, or another agent's.
    """
    path = folder / "agent.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AgentError(f"{path}: cannot be read as a saved agent ({error})") from error
    if not isinstance(content, dict) or content.get("agent") != name:
        found = content.get("agent") if isinstance(content, dict) else type(content).__name__
        raise AgentError(f"{path}: holds {found!r}, expected an agent {name!r}")
    if not isinstance(content.get("settings"), dict) or not isinstance(content.get("learned"), dict):
        raise AgentError(f"{path}: 'settings' and 'learned' must be mappings")
    return parsed(kind, content["settings"], str(path)), content["learned"]
