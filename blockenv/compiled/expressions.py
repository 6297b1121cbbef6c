"""Single values as C: each operation becomes one expression on single precision, and each value one statement.

Nothing is added, dropped or reordered, and nothing is known of loops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.compiled.recording import BOOL, FLOAT, INT, Node

C_TYPES = {FLOAT: "float", INT: "int32_t", BOOL: "int32_t"}
INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "equal": "==", "not_equal": "!=", "and": "&", "or": "|",
}  # fmt: skip
_NATURAL = {"float", "int32_t"}  # of one width, so that a vector holds as many of each
_SERIES = {"exp": "exponential", "log": "logarithm", "cos": "cosine", "sin": "sine"}
_CALLS = {**_SERIES, "sqrt": "sqrtf", "floor": "floorf"}
_FEW = 8  # rows up to which choosing among all of them costs less than looking one up
_BITS = 31  # of a packed entry


@dataclass(frozen=True)
class Argument:
    """An array handed to the function."""

    name: str
    c_type: str  # of an entry
    written: bool = False
    rows: int = 1  # of (rows, N)


class Statement(NamedTuple):
    """A value of one customer."""

    c_type: str
    text: str  # the expression
    needs: tuple[str, ...]  # names of other statements
    long: bool  # one operation waits for the other for dozens of cycles


@dataclass
class Packed:
    """Tables of small whole numbers that are looked up at the same place, in one table of their bits."""

    index: str
    name: str
    bits: int = 0
    tables: list[tuple[NDArray[Any], int]] = field(default_factory=list)  # and the first bit of each

    @property
    def values(self) -> NDArray[np.int32]:
        """The table."""
        found: NDArray[np.int32] = sum(values.astype(np.int32) << first for values, first in self.tables)  # type: ignore[assignment]
        return found


@dataclass
class Writer:
    """Statements in order; each value is written once, however often it is used."""

    function: str
    arguments: Mapping[str, Argument]
    tables: dict[int, tuple[str, NDArray[Any]]] = field(default_factory=dict)
    packs: list[Packed] = field(default_factory=list)
    statements: dict[str, Statement] = field(default_factory=dict)  # by name
    converted: dict[str, str] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)  # names of values by their place in the block
    _names: dict[Any, str] = field(default_factory=dict)
    _keys: dict[int, tuple[Node, str]] = field(default_factory=dict)

    def name_of(self, node: Node) -> str:
        """The C expression for a node: a number, or a variable whose statement has been written."""
        if id(node) in self._keys:
            return self._keys[id(node)][1]
        names = [self.name_of(each) for each in self._parts(node)]
        text = self._expression(node, names)
        if node.operation != "constant":
            key = (node.kind, text)
            if key not in self._names:
                name = self._names[key] = f"v{len(self._names)}"
                needs = tuple(each for each in names if each in self.statements)
                self.statements[name] = Statement(C_TYPES[node.kind], text, needs, node.operation in _SERIES)
            text = self._names[key]
        self._keys[id(node)] = node, text
        return text

    def _parts(self, node: Node) -> list[Node]:
        """The nodes that the expression of a node names."""
        if node.operation == "own":
            array = self.arguments[node.operands[0]]
            row = _row_chosen(node.operands[1])
            if row is not None and node.kind == FLOAT and array.rows <= _FEW:
                return [row, *(Node("input", FLOAT, (array.name, each)) for each in range(array.rows))]
        if node.operation == "shared" and node.kind != FLOAT and _small(node.operands[0]):
            return [Node("packed", INT, node.operands)]
        return [each for each in node.operands if isinstance(each, Node)]

    def _expression(self, node: Node, names: list[str]) -> str:
        operation, operands = node.operation, node.operands
        if operation == "constant":
            return number(operands[0], node.kind)
        if operation == "input":
            return self.input(self.arguments[operands[0]], operands[1])
        if operation == "block":
            return f"{operands[0]}[{operands[1]}][j]"
        if operation == "place":
            return "(int32_t)i"
        if operation == "count":
            return "(int32_t)n"
        if operation == "own":
            if len(names) == 1:
                return f"{operands[0]}[{names[0]}]"
            row, *values = names
            return (
                f"from_bits({' | '.join(f'(bits_of({each}) & ONLY({row} == {k}))' for k, each in enumerate(values))})"
            )
        if operation == "shared":
            if not _small(operands[0]) or node.kind == FLOAT:
                return f"{self.table(operands[0])}[{names[0]}]"
            _, first = self._pack(operands[0], self.name_of(operands[1]))
            return f"({names[0]} >> {first}) & {2 ** _bits(operands[0]) - 1}"
        if operation == "packed":
            pack, _ = self._pack(operands[0], names[0])
            return f"{pack.name}[{names[0]}]"
        return combine(operation, names)

    def _pack(self, values: NDArray[Any], index: str) -> tuple[Packed, int]:
        """Where a table of small whole numbers stands that is looked up at `index`."""
        for pack in self.packs:
            for table, first in pack.tables:
                if pack.index == index and table is values:
                    return pack, first
        for pack in self.packs:
            if pack.index == index and len(pack.values) == len(values) and pack.bits + _bits(values) <= _BITS:
                break
        else:
            pack = Packed(index, f"{self.function}_packed{len(self.packs)}")
            self.packs.append(pack)
        pack.tables.append((values, pack.bits))
        pack.bits += _bits(values)
        return pack, pack.tables[-1][1]

    def input(self, array: Argument, row: int) -> str:
        """A customer's own entry of an array; those not of 32 bits are widened or narrowed block by block first."""
        place = f"{row} * n + " if array.rows > 1 else ""
        if array.c_type in _NATURAL:
            return f"{array.name}[{place}i]"
        name = f"{array.name}_{row}"
        self.converted.setdefault(name, f"{name}[j] = (int32_t){array.name}[{place}i];")
        return f"{name}[j]"

    def output(self, array: Argument, place: str, value: str) -> str:
        """The statement that stores a value; what is not of 32 bits waits in an array of the block."""
        if array.c_type in _NATURAL:
            return f"{array.name}[{place}] = {value};"
        name = f"result{len(self.results)}"
        self.results.append(f"{array.name}[{place}] = ({array.c_type}){name}[j];")
        return f"{name}[j] = {value};"

    def block(self, node: Node) -> str:
        """A value kept for the whole block, for what comes after the loop over its customers."""
        name = self.name_of(node)
        self.kept.setdefault(name, f"chosen{len(self.kept)}[j]")
        return self.kept[name]

    def table(self, values: NDArray[Any]) -> str:
        """The name of a table that all customers share."""
        return self.tables.setdefault(id(values), (f"{self.function}_table{len(self.tables)}", values))[0]


def _row_chosen(index: Node) -> Node | None:
    """The row that an index into a flattened array (C, N) names, if the place is the customer's own: row * N + place."""
    if index.operation != "add" or index.operands[1].operation != "place":
        return None
    product: Node = index.operands[0]
    if product.operation != "multiply" or product.operands[1].operation != "count":
        return None
    row: Node = product.operands[0]
    return row


def _small(values: NDArray[Any]) -> bool:
    return bool(values.min() >= 0) and _bits(values) <= _BITS // 2


def _bits(values: NDArray[Any]) -> int:
    return max(1, int(values.max()).bit_length())


def combine(operation: str, operands: list[str]) -> str:
    """The C expression of an elementwise operation.

    Raises:
        TypeError: an operation that is not known.
    """
    if operation in INFIX:
        return f"{operands[0]} {INFIX[operation]} {operands[1]}"
    if operation in _CALLS:
        return f"{_CALLS[operation]}({operands[0]})"
    match operation:
        case "negative":
            return f"-{operands[0]}"
        case "not":
            return f"{operands[0]} ^ 1"
        case "minimum":
            return f"{operands[0]} < {operands[1]} ? {operands[0]} : {operands[1]}"
        case "maximum":
            return f"{operands[0]} > {operands[1]} ? {operands[0]} : {operands[1]}"
        case "where":
            return f"{operands[0]} ? {operands[1]} : {operands[2]}"
        case "remainder":  # of dates and the like, which are never negative
            return f"(int32_t)((uint32_t){operands[0]} % (uint32_t){operands[1]})"
        case "as_float" | "as_int":
            return f"({C_TYPES[operation.removeprefix('as_')]}){operands[0]}"
    raise TypeError(f"{operation}: not known in C")


def number(value: float, kind: str) -> str:
    """A constant, exactly."""
    return f"{float(value).hex()}f" if kind == FLOAT else str(int(value))
