"""Tables with the customers first, written down column by column for one customer after another.

It knows no customer but the one of number i, the j-th of its block.
"""

from collections.abc import Iterator
from typing import NamedTuple

from blockenv.compiled.expressions import C_TYPES, INFIX, Writer, combine, number
from blockenv.compiled.recording import Node, Rows

_VECTORS = {8: "eight", 4: "four"}  # numbers beside each other that are one value to a processor
_ON_VECTORS = {"constant", "row", "shared_row", "add", "subtract", "multiply", "divide"}


class Wide(NamedTuple):
    """A table, and where it goes."""

    table: Rows
    name: str  # of the array
    place: str  # of the row's first entry there
    in_place: bool  # the array is one of those that are read


def row_loops(wide: list[Wide], writer: Writer) -> Iterator[str]:
    """The columns of all tables for one customer; tables of one width together, as they may share values."""
    for width in sorted({each.table.width for each in wide}):
        these = [each for each in wide if each.table.width == width]
        lanes = next((each for each in _VECTORS if each <= width), 0)
        # Columns in windows of as many as a vector holds; the last two may overlap, and then some are computed twice.
        starts = [*range(0, width - lanes, lanes), width - lanes] if lanes else []
        if not any(each.in_place for each in these):
            for start in starts or [0]:
                yield from _loop(these, writer, start, start + (lanes or width))
        elif starts and all(_on_vectors(each.table.node) for each in these):
            yield from _vectors(these, writer, starts, lanes)
        else:
            yield from _loop(these, writer, 0, width)


def _loop(wide: list[Wide], writer: Writer, first: int, end: int) -> Iterator[str]:
    lines: list[str] = []
    names: dict[str, str] = {}

    def name_of(node: Node) -> str:
        if node.operation == "constant":
            return number(node.operands[0], node.kind)
        if node.operation in ("row", "shared_row"):
            text = f"{_row(node, writer, wide[0].table.width)}[k]"
        else:
            text = combine(node.operation, [name_of(each) for each in node.operands])
        if text not in names:
            names[text] = f"w{len(names)}"
            lines.append(f"const {C_TYPES[node.kind]} {names[text]} = {text};")
        return names[text]

    stores = [f"{each.name}[{each.place} + k] = {name_of(each.table.node)};" for each in wide]
    yield from [f"INDEPENDENT for (long k = {first}; k < {end}; k++) {{", *lines, *stores, "}"]


def _on_vectors(node: Node) -> bool:
    parts = [each for each in node.operands if isinstance(each, Node)] if node.operation in INFIX else []
    return node.operation in _ON_VECTORS and all(_on_vectors(each) for each in parts)


def _vectors(wide: list[Wide], writer: Writer, starts: list[int], lanes: int) -> Iterator[str]:
    """All windows are read before any is written, as where they overlap one would read what another has written."""
    kind, names = _VECTORS[lanes], dict[str, str]()
    lines: list[str] = []

    def name_of(node: Node, start: int) -> str:
        if node.operation == "constant":
            text = f"ALL_{kind.upper()}({number(node.operands[0], node.kind)})"
        elif node.operation in ("row", "shared_row"):
            text = f"*(const {kind} *)({_row(node, writer, wide[0].table.width)} + {start})"
        else:
            text = combine(node.operation, [name_of(each, start) for each in node.operands])
        if text not in names:
            names[text] = f"w{len(names)}"
            lines.append(f"const {kind} {names[text]} = {text};")
        return names[text]

    stores = [
        f"*({kind} *)({each.name} + {each.place} + {start}) = {name_of(each.table.node, start)};"
        for start in starts
        for each in wide
    ]
    yield from ["{", *lines, *stores, "}"]


def _row(node: Node, writer: Writer, width: int) -> str:
    """The C expression of where the row of a table begins."""
    if node.operation == "row":
        return f"({node.operands[0]} + i * {width})"
    return f"({writer.table(node.operands[0])} + {writer.block(node.operands[1])} * {width})"
