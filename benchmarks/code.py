"""Which code made a row: a short hash that changes with what can change a result, and with nothing else.

Comments, docstrings and formatting do not count, nor does what only draws pictures or tests others. Nothing of what
is hashed is executed.
"""

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("agents", "blockenv")
# The numbers of a scenario are in its digest, which every row has.
NO_PART = (
    "blockenv/rendering/",
    "blockenv/testing/",
    "blockenv/scenarios/canon.py",
    "blockenv/scenarios/retail.py",
)
UNKNOWN = "unknown"  # of rows that do not say


def code_of(kind: type) -> str:
    """Sixteen hex digits of the code that an agent of this class learns and plays by.

    An agent of somebody else's own counts with the module it is in, but not with what that imports.
    """
    source = getattr(sys.modules.get(kind.__module__), "__file__", None)
    own = None if source is None else Path(source).resolve()
    if own is None or any(own.is_relative_to(ROOT / room) for room in ROOMS):
        return _digest_of_rooms()
    return hashlib.sha256(f"{_digest_of_rooms()} {digest({own.name: own})}".encode()).hexdigest()[:16]


def with_modules(code: str, names: Iterable[str]) -> str:
    """The code of an agent together with modules of this room that decide how it is played; itself without any."""
    files = {name: Path(__file__).resolve().parent / name for name in names}
    return hashlib.sha256(f"{code} {digest(files)}".encode()).hexdigest()[:16] if files else code


def digest(files: dict[str, Path]) -> str:
    """Sixteen hex digits of Python files, under the names given."""
    content = [(name, _shape_of(files[name])) for name in sorted(files)]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@functools.cache
def _digest_of_rooms() -> str:
    paths: Iterable[Path] = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    names = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return digest({name: path for name, path in names.items() if not name.startswith(NO_PART)})


def _shape_of(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    try:
        return _shape(ast.parse(text))
    except SyntaxError:  # somebody is writing it; what is imported has none
        return text


def _shape(node: Any) -> Any:
    """A syntax tree as nested tuples, without docstrings and empty fields; much the same for all Python versions."""
    if isinstance(node, list):
        return [_shape(each) for each in node if not _is_docstring(each)]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, _shape(value)) for name, value in ast.iter_fields(node))
    return type(node).__name__, *(field for field in fields if field[1] not in (None, []))


def _is_docstring(node: Any) -> bool:
    """Whether it is a statement that only holds a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
