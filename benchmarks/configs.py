"""Reading the configs: what differs from an agent's defaults by scenario, and which cells make a suite.

YAML by the safe loader into strict records: unknown keys are errors, and nothing is evaluated as code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents import AGENTS, agent_class
from agents.agent import AgentError, parsed
from blockenv.scenarios import get

ROOT = Path(__file__).resolve().parent.parent
AGENT_CONFIGS = ROOT / "configs" / "agents"


class ConfigError(ValueError):
    """A config file that cannot be; the message names file, field and reason."""


class Suite(BaseModel):
    """A benchmark: every agent meets the same held-out customers of every scenario."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    scenarios: list[str] = Field(min_length=1)
    agents: list[str] = Field(min_length=1)
    seeds: int = Field(default=3, ge=1, description="training seeds of every agent that learns")
    customers: int = Field(default=2048, ge=2, description="held-out customers")
    days: int | None = Field(default=None, ge=1, description="days served; the scenario's window if not given")
    settings: dict[str, dict[str, Any]] = Field(default={}, description="by agent, on top of configs/agents")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: it cannot be read, is no YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}, expected a mapping")
    return content


def suite(path: Path) -> Suite:
    """The suite in a file.

    Raises:
        ConfigError: a field, agent or scenario that does not exist.
    """
    try:
        found = Suite.model_validate(read_yaml(path))
        for agent in found.agents:
            agent_class(agent)
        for scenario in found.scenarios:
            get(scenario)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise ConfigError(f"{path}: {reasons}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    unused = sorted(set(found.settings) - set(found.agents))
    if unused:
        raise ConfigError(f"{path}: settings: {unused} are not among its agents {found.agents}")
    return found


def agent_settings(agent: str, scenario: str, changes: Mapping[str, Any] | None = None) -> Any:
    """Settings of `agent` for `scenario`: its defaults, then configs/agents/AGENT.yaml, then `changes`.

    The file has a mapping `default` and one for each scenario that needs something else.

    Raises:
        ConfigError: the file cannot be read, or has a section that is no scenario.
        AgentError: no such agent, or a setting that does not exist or cannot be.
    """
    kind = agent_class(agent)
    path = AGENT_CONFIGS / f"{agent}.yaml"
    values: dict[str, Any] = {}
    if agent in AGENTS and path.exists():
        sections = read_yaml(path)
        for section, content in sections.items():
            if section != "default":
                try:
                    get(section)
                except ValueError as error:
                    raise ConfigError(f"{path}: {error}") from error
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: {section}: holds {type(content).__name__}, expected a mapping")
        values |= sections.get("default", {}) | sections.get(scenario, {})
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
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise AgentError(f"--set {word!r}: the value is not YAML ({error})") from error
    return found
