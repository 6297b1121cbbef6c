"""Reading the configs: what differs from an agent's defaults by scenario, and which cells make a suite.

YAML by the safe loader into strict records: unknown keys are errors, and nothing is evaluated as code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from agents import AGENTS, agent_class
from agents.agent import AgentError, parsed
from blockenv.scenarios import Record, get
from blockenv.scenarios.yaml_text import ERRORS, parse_yaml

AnyRecord = TypeVar("AnyRecord", bound=Record)

ROOT = Path(__file__).resolve().parent.parent
AGENT_CONFIGS = ROOT / "configs" / "agents"


class ConfigError(ValueError):
    """A config file that cannot be; the message names file, field and reason."""


class Suite(Record):
    """A benchmark: every agent meets the same held-out customers of every scenario."""

    title: str = Field(min_length=1)
    scenarios: list[str] = Field(min_length=1, description="names of the canon, or .yaml files")
    agents: list[str] = Field(min_length=1, description="names of `agents.AGENTS`, or package.module:Class")
    seeds: int = Field(default=3, ge=1, description="training seeds of every agent that learns")
    customers: int = Field(default=2048, ge=2, description="held-out customers")
    days: int | None = Field(default=None, ge=1, description="days served; the scenario's window if not given")
    settings: dict[str, dict[str, Any]] = Field(default={}, description="by agent, on top of configs/agents")

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        for field, names in (("scenarios", self.scenarios), ("agents", self.agents)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{field}: {twice} listed more than once")
        unused = sorted(set(self.settings) - set(self.agents))
        if unused:
            raise ValueError(f"settings: {unused} are not among the agents {self.agents}")
        return self


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: it cannot be read, is no YAML, or holds something else.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, *ERRORS) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}, expected a mapping")
    return content


def read_record(kind: type[AnyRecord], path: Path) -> AnyRecord:
    """A YAML file as a strict record.

    Raises:
        ConfigError: it cannot be read, or a field is unknown, missing or cannot be; the message names file and field.
    """
    try:
        return kind.model_validate(read_yaml(path))
    except ValidationError as error:
        reasons = []
        for part in error.errors():
            field = ".".join(map(str, part["loc"]))
            given = f" (got {part['input']!r:.80})" if field and part["type"] != "missing" else ""
            reasons.append(f"{field}: {part['msg']}{given}" if field else part["msg"].removeprefix("Value error, "))
        raise ConfigError(f"{path}: {'; '.join(reasons)}") from error


def suite(path: Path) -> Suite:
    """The suite in a file, with all its scenarios, agents and settings looked up.

    Raises:
        ConfigError: a field, agent, scenario or setting that does not exist or cannot be.
    """
    found = read_record(Suite, path)
    try:
        worlds = [get(scenario) for scenario in found.scenarios]
        names = [world.name for world in worlds]
        if len(set(names)) < len(names):
            raise ConfigError(f"scenarios: {found.scenarios} are called {names}, expected a name of its own for each")
        for agent in found.agents:
            for name in names:
                agent_settings(agent, name, found.settings.get(agent))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def agent_settings(agent: str, scenario: str, changes: Mapping[str, Any] | None = None) -> Any:
    """Settings of `agent` for `scenario`: its defaults, then configs/agents/AGENT.yaml, then `changes`.

    The file has a mapping `default` and one for each scenario that needs something else.

    Raises:
        ConfigError: the file cannot be read, or has a section that is no scenario, or a setting that cannot be.
        AgentError: no such agent, or a change that does not exist or cannot be.
    """
    kind = agent_class(agent)
    if not hasattr(kind, "Settings"):
        raise AgentError(f"agent: {agent!r} has no Settings, expected a class as `agents.agent.Agent` describes")
    path = AGENT_CONFIGS / f"{agent}.yaml"
    values: dict[str, Any] = {}
    if agent in AGENTS and path.exists():
        sections = _sections(path)
        values = sections.get("default", {}) | sections.get(scenario, {})
        try:
            parsed(kind.Settings, values, f"{path}: {scenario if scenario in sections else 'default'}")
        except AgentError as error:
            raise ConfigError(str(error)) from error
    return parsed(kind.Settings, values | dict(changes or {}), f"settings of {agent}")


def assignments(words: list[str]) -> dict[str, Any]:
    """`key=value` words as a mapping, values read as YAML.

    Raises:
        AgentError: a word without `=`, or a value that is no YAML.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise AgentError(f"--set {word!r}: expected key=value")
        try:
            found[key] = parse_yaml(value)
        except ERRORS as error:
            raise AgentError(f"--set {word!r}: the value is not YAML ({error})") from error
    return found


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    sections = read_yaml(path)
    for section, content in sections.items():
        if section != "default":
            try:
                get(section)
            except ValueError as error:
                raise ConfigError(f"{path}: {error}") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: {section}: holds {type(content).__name__}, expected a mapping")
    return sections
