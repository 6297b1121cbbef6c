"""Reading the configs: what differs from an agent's defaults by scenario, and which cells make a suite.

YAML by the safe loader into strict records: unknown keys are errors, and nothing is evaluated as code.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from agents import AGENTS, agent_class
from agents.agent import AgentError, learns, parsed
from agents.bandits import LinearBandit
from benchmarks.laws import LAWS
from benchmarks.submissions import SubmissionError, described, is_submission
from blockenv.observation import layout
from blockenv.scenarios import Record, Scenario, get
from blockenv.scenarios.yaml_text import ERRORS, parse_yaml

AnyRecord = TypeVar("AnyRecord", bound=Record)

ROOT = Path(__file__).resolve().parent.parent
AGENT_CONFIGS = ROOT / "configs" / "agents"


class ConfigError(ValueError):
    """A config file that cannot be; the message names file, field and reason."""


class Suite(Record):
    """A benchmark: every agent meets the same held-out customers of every scenario."""

    title: str = Field(min_length=1)
    scenarios: list[str] = Field(
        min_length=1, description="names of the canon or .yaml files, each with +LAW where another law is to hold"
    )
    agents: list[str] = Field(min_length=1, description="names of `agents.AGENTS`, or package.module:Class")
    seeds: int = Field(default=3, ge=1, description="training seeds of every agent that learns")
    customers: int = Field(default=2048, ge=2, description="held-out customers")
    days: int | None = Field(default=None, ge=1, description="days served; the scenario's window if not given")
    settings: dict[str, dict[str, Any]] = Field(default={}, description="by agent, on top of configs/agents")
    track: Literal["offline", "online"] = Field(
        default="offline", description="online: learn on the held-out customers"
    )
    trained_on: str | None = Field(
        default=None, description="the scenario that all learn on; each its own if not given"
    )

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


def suite(path: Path, more_agents: Sequence[str] = ()) -> Suite:
    """The suite in a file, with all its scenarios, agents and settings looked up.

    Args:
        path: of the YAML file.
        more_agents: to be ranked beside those of the file.

    Raises:
        ConfigError: a field, agent, scenario or setting that does not exist or cannot be.
    """
    found = read_record(Suite, path)
    if more_agents:
        twice = sorted(agent for agent in set(more_agents) if [*found.agents, *more_agents].count(agent) > 1)
        if twice:
            raise ConfigError(f"{path}: agents: {twice} listed more than once")
        found = found.model_copy(update={"agents": [*found.agents, *more_agents]})
    # Files of scenarios lie where the suite says, as seen from the suite.
    found = found.model_copy(
        update={
            "scenarios": [_beside(path, name) for name in found.scenarios],
            "trained_on": None if found.trained_on is None else _beside(path, found.trained_on),
        }
    )
    try:
        worlds = [world_and_law(scenario)[0] for scenario in found.scenarios]
        names = [place_of(*world_and_law(scenario)) for scenario in found.scenarios]
        if len(set(names)) < len(names):
            raise ConfigError(f"scenarios: {found.scenarios} are called {names}, expected a name of its own for each")
        if found.trained_on is not None and found.track == "online":
            raise ConfigError("trained_on: nobody is trained before the online track")
        if found.trained_on is not None:
            home = get(found.trained_on)
            for world in worlds:
                if not alike(home, world):
                    raise ConfigError(
                        f"trained_on: {home.name} has other actions or features than {world.name}, expected the same"
                    )
        for agent in found.agents:
            if is_submission(agent):
                # One that fails on being imported costs its row, not the suite.
                with contextlib.suppress(SubmissionError):
                    described(agent, found.settings.get(agent))
                continue
            for world in worlds:
                settings = found.settings.get(agent)
                if found.track == "online":
                    settings_while_serving(agent, world, found.customers, found.days, settings)
                else:
                    agent_settings(agent, world.name, settings)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def on_device(found: Suite, device: str) -> Suite:
    """The suite with the learners that can choose a device on this one; whether it exists is seen when they learn."""
    kinds = {agent: agent_class(agent) for agent in found.agents if not is_submission(agent)}
    deep = [agent for agent, kind in kinds.items() if "device" in kind.Settings.model_fields]
    changes = {agent: {**found.settings.get(agent, {}), "device": device} for agent in deep}
    return found.model_copy(update={"settings": {**found.settings, **changes}})


def world_and_law(name: str) -> tuple[Scenario, str]:
    """The scenario that an entry of a suite means, and the law of `benchmarks.laws` behind its plus; none is empty.

    Raises:
        ConfigError: no such law.
        ScenarioError: no such scenario.
    """
    scenario, plus, law = name.partition("+")
    if plus and law not in LAWS:
        raise ConfigError(f"scenarios: {name!r}: no law {law!r}, there are {', '.join(LAWS)}")
    return get(scenario), law


def place_of(world: Scenario, law: str) -> str:
    """What tables call a world under a law."""
    return f"{world.name}+{law}" if law else world.name


def _beside(path: Path, scenario: str) -> str:
    """A scenario's file as seen from the suite's folder, if there is one; else as it is."""
    name, plus, law = scenario.partition("+")
    beside = path.parent / name
    found = beside.suffix in (".yaml", ".yml", ".json") and beside.is_file()
    return f"{beside if found else name}{plus}{law}"


def alike(home: Scenario, world: Scenario) -> bool:
    """Whether a policy made for one scenario can play in the other: same messages, same columns."""
    names = [scenario.message_name(action) for scenario in (home, world) for action in range(scenario.actions)]
    half = len(names) // 2
    return names[:half] == names[half:] and layout(home) == layout(world)


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


def settings_while_serving(
    agent: str, world: Scenario, customers: int, days: int | None, changes: Mapping[str, Any] | None = None
) -> Any:
    """Settings of `agent` on the online track: as `agent_settings`, but for those that the track itself sets.

    Raises:
        ConfigError, AgentError: as `agent_settings`; or the agent cannot learn while it serves, or not with its settings.
    """
    kind, found = agent_class(agent), agent_settings(agent, world.name, changes)
    if not hasattr(found, "while_serving"):
        if learns(kind) and not issubclass(kind, LinearBandit):
            raise ConfigError(f"agent: {agent!r} cannot learn while it serves, expected a rule, a bandit, ppo or dqn")
        return found
    no_choice = sorted(found.SERVING & set(changes or {}))
    if no_choice:
        raise ConfigError(f"settings of {agent}: {no_choice} given, expected none that the online track sets itself")
    try:
        return found.while_serving(customers, days or world.evaluation_days)
    except AgentError as error:
        raise ConfigError(f"agent: {agent!r} cannot learn while it serves ({error})") from error


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
