"""Single values as C: each operation becomes one expression on single precision, and each value one statement.

Nothing is added, dropped or reordered, and nothing is known of loops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from blockenv.compiled.recording import BOOL, FLOAT, INT, Node

C_TYPES = {FLOAT: "float", INT: "int32_t", BOOL: "int32_t"}
_NATURAL = {"float", "int32_t"}  # of one width, so that a vector holds as many of each
_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "equal": "==", "not_equal": "!=", "and": "&", "or": "|",
}  # fmt: skip
_CALLS = {"exp": "exponential", "log": "logarithm", "cos": "cosine", "sin": "sine", "sqrt": "sqrtf", "floor": "floorf"}


@dataclass(frozen=True)
class Argument:
    """An array handed to the function."""

    name: str
    c_type: str  # of an entry
    written: bool = False
    rows: int = 1  # of (rows, N)


@dataclass
class Writer:
    """Statements in order; each value is written once, however often it is used."""

    function: str
    arguments: Mapping[str, Argument]
    tables: dict[int, tuple[str, NDArray[Any]]]
    names: dict[Any, str] = field(default_factory=dict)
    keys: dict[int, tuple[Node, str]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    converted: dict[str, str] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)  # names of values by their place in the block

    def name_of(self, node: Node) -> str:
        """The C expression for a node: a number, or a variable whose statement has been written."""
        if id(node) in self.keys:
            return self.keys[id(node)][1]
        text = self._expression(node)
        if node.operation != "constant":
            key = (node.kind, text)
            if key not in self.names:
                self.names[key] = f"v{len(self.names)}"
                self.lines.append(f"const {C_TYPES[node.kind]} {self.names[key]} = {text};")
            text = self.names[key]
        self.keys[id(node)] = node, text
        return text

    def _expression(self, node: Node) -> str:
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
            return f"{operands[0]}[{self.name_of(operands[1])}]"
        if operation == "shared":
            return f"{self.table(operands[0])}[{self.name_of(operands[1])}]"
        return combine(operation, [self.name_of(each) for each in operands])

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


def combine(operation: str, operands: list[str]) -> str:
    """The C expression of an elementwise operation.

    Raises:
        TypeError: an operation that is not known.
    """
    if operation in _INFIX:
        return f"{operands[0]} {_INFIX[operation]} {operands[1]}"
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
