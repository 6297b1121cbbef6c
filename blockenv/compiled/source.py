"""Writes recorded operations out as C: one function that goes through the customers in blocks that fit the cache.

Every operation becomes the same operation in C, on single precision, in the same order; it adds, drops and reorders
nothing. What is stored where is decided by `day`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv.compiled.expressions import C_TYPES, Argument, Writer, number
from blockenv.compiled.recording import FLOAT, INT, Node, Pieces, Recorded, Rows
from blockenv.compiled.stages import Sink, loop, staged
from blockenv.compiled.wide import Wide, row_loops

BLOCK = 64  # customers at a time: what a block needs in between stays in the first level of cache


@dataclass
class Store:
    """A recorded value and where it goes."""

    value: Recorded | Rows | Pieces
    name: str


def function(name: str, known: Mapping[str, Argument], stores: list[Store], before: list[str], by_index: bool) -> str:
    """A C function over n customers that takes the addresses of all known arrays in order.

    Args:
        name: of the function.
        known: the arrays that there are.
        stores: what is computed and where it goes; columns of (N, D) go to one array, customers first.
        before: statements that fill the block's own arrays, with `first` and `count` known.
        by_index: the function goes through the customers listed in the array `index` instead of all.
    """
    writer = Writer(name, known)
    wide: list[Wide] = []
    columns: list[str] = []
    runs: list[str] = []
    sinks: list[Sink] = []
    for store in stores:
        if isinstance(store.value, Recorded):
            width = store.value.nodes.size
            if store.value.across == -2:
                runs += [
                    f"memset({store.name} + i * {width} + {start}, {writer.block(node)}, {length});"
                    for node, start, length in _runs(store.value)
                ]
                continue
            for number, node in enumerate(store.value.nodes.flat):
                place, value = f"{number} * n + i" if width > 1 else "i", writer.name_of(node)
                sinks.append(Sink(writer.output(known[store.name], place, value), value))
        elif isinstance(store.value, Rows):
            wide.append(Wide(store.value, store.name, f"i * {store.value.width}", True))
        else:
            total, start, row = width_of(store.value), 0, "(first + j)" if by_index else "i"
            for piece in store.value.pieces:
                if isinstance(piece, Rows):
                    wide.append(Wide(piece, store.name, f"{row} * {total} + {start}", False))
                    start += piece.width
                    continue
                for node in piece.nodes.flat:
                    value = writer.name_of(node)
                    sinks.append(Sink(f"column{len(columns)}[j] = {value};", value))
                    columns.append(f"{store.name}[{row} * {total} + {start}]")
                    start += 1
    row_by_row = list(row_loops(wide, writer))
    sinks += [Sink(f"{kept} = {value};", value) for value, kept in writer.kept.items()]
    place = "index[first + j]" if by_index else "first + j"
    between, loops = staged(writer.statements, sinks, place)
    of_block = [("float", "column", columns), ("int32_t", "chosen", writer.kept), ("int32_t", "result", writer.results)]
    body = [
        *(f"{kind} {word}{number}[{BLOCK}];" for kind, word, values in of_block for number in range(len(values))),
        *(f"int32_t {each}[{BLOCK}];" for each in writer.converted),
        *(f"{kind} {each}[{BLOCK}];" for each, kind in between.items()),
        *before,
        *(line for each in writer.converted.values() for line in loop(place, [each])),
        *loops,
        *(line for each in writer.results for line in loop(place, [each])),
        *loop(
            place, [*(f"{target} = column{number}[j];" for number, target in enumerate(columns)), *row_by_row, *runs]
        ),
    ]
    words = set(re.findall(r"\w+", "\n".join(body)))
    pointers = [
        f"{'' if known[each].written else 'const '}{known[each].c_type} *const {each} = memory[{place}];"
        for place, each in enumerate(known)
        if each in words
    ]
    text = [
        *(_table_text(table, values) for table, values in writer.tables.values()),
        *(_table_text(pack.name, pack.values) for pack in writer.packs),
        f"void {name}(const long n, const long length, void *const *const memory) {{",
        *pointers,
        f"for (long first = 0; first < length; first += {BLOCK}) {{",
        f"const long count = length - first < {BLOCK} ? length - first : {BLOCK};",
        *body,
        "}",
        "}",
    ]
    return "\n".join(text)


def width_of(pieces: Pieces) -> int:
    """Columns of tables side by side."""
    return sum(each.width if isinstance(each, Rows) else each.nodes.size for each in pieces.pieces)


def _runs(values: Recorded) -> Iterator[tuple[Node, int, int]]:
    """Neighbouring columns of (N, A) that hold the same value: it, the first of them, and how many there are."""
    start, nodes = 0, list(values.nodes.flat)
    for end in range(1, len(nodes) + 1):
        if end == len(nodes) or _meaning(nodes[end]) != _meaning(nodes[start]):
            yield nodes[start], start, end - start
            start = end


def _meaning(node: Node) -> Any:
    """The same for nodes that stand for the same value."""
    return node.operation, *(_meaning(each) if isinstance(each, Node) else each for each in node.operands)


def _table_text(name: str, values: NDArray[Any]) -> str:
    kind = FLOAT if values.dtype.kind == "f" else INT
    numbers = ", ".join(number(each, kind) for each in np.asarray(values).ravel())
    return f"static const {C_TYPES[kind]} {name}[{values.size}] = {{{numbers}}};"
