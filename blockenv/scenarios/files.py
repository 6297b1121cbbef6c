"""Read a scenario of the user's own from a file or a dictionary, and write one.

Files are data: YAML goes through the safe loader into strict records, and nothing is ever evaluated as code.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blockenv.scenarios.canon import SCENARIOS
from blockenv.scenarios.schema import Scenario
from blockenv.scenarios.yaml_text import ERRORS, parse_yaml, yaml_text

ScenarioLike = Scenario | str | Path | Mapping[str, Any]


class ScenarioError(ValueError):
    """A scenario that does not exist or cannot be; the message names field, value and expectation."""


def get(scenario: ScenarioLike) -> Scenario:
    """The scenario meant by a `Scenario`, a canon name (with or without `blockenv/`), a file or a plain dict.

    Raises:
        ScenarioError: unknown name, unreadable file, or a field that is misspelt or out of range.
    """
    if isinstance(scenario, Scenario):
        return scenario
    if isinstance(scenario, Mapping):
        return _parse(scenario, "scenario")
    text = str(scenario)
    if Path(text).suffix in {".yaml", ".yml", ".json"}:
        return load(text)
    name = text.removeprefix("blockenv/")
    if name not in SCENARIOS:
        raise ScenarioError(f"scenario: {text!r} is neither a .yaml file nor one of {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def load(path: str | Path) -> Scenario:
    """Read a scenario file (YAML, of which JSON is a part).

    Raises:
        ScenarioError: the file cannot be read, is not YAML, or fails the schema; the message names file and field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a null in the path
        raise ScenarioError(f"{path}: cannot be read as a scenario file ({error})") from error
    try:
        content = parse_yaml(text)
    except ERRORS as error:
        raise ScenarioError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(content, Mapping):
        raise ScenarioError(f"{path}: holds {type(content).__name__}, expected a mapping of scenario fields")
    return _parse(content, str(path))


def save(scenario: Scenario, path: str | Path) -> None:
    """Write `scenario` as YAML; the file appears whole or not at all.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    text = yaml_text(scenario.model_dump(mode="json"))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _parse(content: Mapping[str, Any], where: str) -> Scenario:
    """`base: Omnichannel-v0` starts from a scenario of the canon; every other key replaces one of its fields."""
    fields = dict(content)
    base = fields.pop("base", None)
    if base is not None:
        if not isinstance(base, str) or base not in SCENARIOS:
            raise ScenarioError(f"{where}: base: {base!r} is not one of {', '.join(SCENARIOS)}")
        fields = _overlay(SCENARIOS[base].model_dump(), fields)
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, part['loc'])) or 'scenario'}: {part['msg']} (got {part['input']!r:.120})"
            for part in error.errors()
        ]
        raise ScenarioError(f"{where}: " + "; ".join(reasons)) from error


def _overlay(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _overlay(merged[key], value)
        else:
            merged[key] = value
    return merged
