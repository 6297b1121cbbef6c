"""Write a scenario down as Python source, as the canon holds it; only fields that differ from their defaults.

This file must never execute what it writes.
"""

import os
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from blockenv.scenarios.schema import Scenario

WIDTH = 120
INDENT = "    "


def source(scenario: Scenario, variable: str, docstring: str, comment: str) -> str:
    """The text of a module with the scenario under the name `variable`; `comment` follows the docstring."""
    names = sorted(_classes(scenario))
    imports = ",\n".join(f"{INDENT}{name}" for name in names)
    return (
        f'"""{docstring}"""\n\n# {comment}\n\n'
        f"from blockenv.scenarios.schema import (\n{imports},\n)\n\n"
        f"{variable} = {_literal(scenario, 0)}\n"
    )


def write(text: str, path: Path) -> None:
    """Put `text` at `path`, whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def differences(first: Scenario, second: Scenario) -> dict[str, tuple[Any, Any]]:
    """Field path -> the two values, where the scenarios differ; channels and segments go by their names."""
    here, there = _flat(first.model_dump(mode="json")), _flat(second.model_dump(mode="json"))
    paths = [*here, *(path for path in there if path not in here)]
    return {path: (here.get(path), there.get(path)) for path in paths if here.get(path) != there.get(path)}


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if isinstance(content, Mapping):
        parts: Iterable[tuple[Any, Any]] = content.items()
    elif isinstance(content, list):
        parts = [(each["name"] if isinstance(each, Mapping) else place, each) for place, each in enumerate(content)]
    else:
        return {path: content}
    flat: dict[str, Any] = {}
    for key, value in parts:
        flat |= _flat(value, f"{path}.{key}" if path else str(key))
    return flat


def _classes(value: Any) -> set[str]:
    if isinstance(value, BaseModel):
        found = {type(value).__name__}
        for _, own in _told(value):
            found |= _classes(own)
        return found
    if isinstance(value, Mapping):
        return set().union(*(_classes(own) for own in value.values()), set())
    if isinstance(value, tuple):
        return set().union(*(_classes(own) for own in value), set())
    return set()


def _told(record: BaseModel) -> list[tuple[str, Any]]:
    """The fields that a reader must be told."""
    fields = type(record).model_fields
    return [(name, value) for name, value in record if fields[name].is_required() or value != fields[name].default]


def _literal(value: Any, depth: int) -> str:
    inner = INDENT * (depth + 1)
    if isinstance(value, BaseModel):
        lines = [f"{inner}{name}={_literal(own, depth + 1)},\n" for name, own in _told(value)]
        return f"{type(value).__name__}(\n{''.join(lines)}{INDENT * depth})"
    if isinstance(value, Mapping) and any(isinstance(own, BaseModel) for own in value.values()):
        lines = [f'{inner}"{key}": {_literal(own, depth + 1)},\n' for key, own in value.items()]
        return f"{{\n{''.join(lines)}{INDENT * depth}}}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {_literal(own, depth)}' for key, own in value.items()) + "}"
    if isinstance(value, tuple) and any(isinstance(own, BaseModel) for own in value):
        lines = [f"{inner}{_literal(own, depth + 1)},\n" for own in value]
        return f"(\n{''.join(lines)}{INDENT * depth})"
    if isinstance(value, tuple):
        return "(" + ", ".join(_literal(own, depth) for own in value) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, str):
        return _text(value, depth)
    return repr(value)


def _text(text: str, depth: int) -> str:
    """A string, over several lines where it does not fit into one."""
    if len(INDENT) * depth + len("isolates=") + len(_quoted(text)) + 1 <= WIDTH:
        return _quoted(text)
    pieces = textwrap.wrap(text, WIDTH - len(INDENT) * (depth + 1) - 2, drop_whitespace=False, break_long_words=False)
    inner = INDENT * (depth + 1)
    return "(\n" + "".join(f"{inner}{_quoted(piece)}\n" for piece in pieces) + INDENT * depth + ")"


def _quoted(text: str) -> str:
    return "'" + text + "'" if '"' in text else '"' + text.replace("\\", "\\\\") + '"'
