"""Arrays without numbers that write down what is done to them, so that it can be done again by compiled code.

They speak as much of the Python array API as `dynamics`, `history` and `observation` use, and refuse everything else
with a TypeError. Nothing is computed here, and no equation is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FLOAT, INT, BOOL = "float", "int", "bool"  # kinds of a value


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One value of one customer: an operation on other values."""

    operation: str
    kind: str
    operands: tuple[Any, ...]  # nodes; names and rows of inputs; shared tables; numbers of constants


class Recorded:
    """An array (..., N, ...) of all customers, as an array of nodes with length 1 along the customers."""

    __array_ufunc__ = None  # NumPy's own arrays leave operators to this class

    def __init__(self, nodes: NDArray[Any], across: int | None) -> None:
        """`across` is the axis of the customers, counted from the end; None if the value is the same for all."""
        self.nodes = nodes
        self.across = across

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        from blockenv.compiled import functions  # it needs these classes itself

        return functions

    @property
    def dtype(self) -> str:
        """The kind of the values."""
        return _kind(self.nodes)

    @property
    def shape(self) -> tuple[Any, ...]:
        """Lengths of the axes; the number of customers is itself a recorded value."""
        axis = None if self.across is None else self.nodes.ndim + self.across
        return tuple(COUNT if place == axis else length for place, length in enumerate(self.nodes.shape))

    @property
    def T(self) -> "Recorded":  # noqa: N802 - the array API's own name
        """The transposed array."""
        if self.nodes.ndim != 2 or self.across is None:
            raise TypeError(f"a transposed array has 2 dimensions, not {self.nodes.ndim}")
        return Recorded(self.nodes.T, -3 - self.across)

    def __neg__(self) -> "Recorded":
        found: Recorded = apply("negative", self.dtype, self)
        return found

    def __invert__(self) -> "Recorded":
        found: Recorded = apply("not", BOOL, self)
        return found


class Rows:
    """An array (N, K) with the customers first, too wide to be written down value by value: one node for a row."""

    __array_ufunc__ = None

    def __init__(self, node: Node, width: int) -> None:
        self.node = node
        self.width = width
        self.dtype = node.kind

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        from blockenv.compiled import functions  # it needs these classes itself

        return functions


class Pieces(NamedTuple):
    """Columns side by side, (N, D)."""

    pieces: tuple[Recorded | Rows, ...]


class Flat(NamedTuple):
    """An input (C, N) seen as (C N,), to be looked up in."""

    name: str
    kind: str


COUNT = Recorded(np.array(Node("count", INT, ()), object), None)


def customers(name: str, kind: str, rows: int | None = None) -> Recorded:
    """An input array (N,), or (rows, N)."""
    if rows is None:
        return Recorded(np.array([Node("input", kind, (name, 0))], object), -1)
    nodes = [[Node("input", kind, (name, row))] for row in range(rows)]
    return Recorded(np.array(nodes, object), -1)


def table(name: str, width: int) -> Rows:
    """An input array (N, width) of real numbers with the customers first."""
    return Rows(Node("row", FLOAT, (name,)), width)


def row_number() -> Recorded:
    """(N,) 0..N-1."""
    return Recorded(np.array([Node("place", INT, ())], object), -1)


def _binary(operation: str, to_bool: bool = False) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator and its reflection."""

    def forward(self: Any, other: Any) -> Any:
        return combine(operation, to_bool, self, other)

    def backward(self: Any, other: Any) -> Any:
        return combine(operation, to_bool, other, self)

    return forward, backward


def combine(operation: str, to_bool: bool, first: Any, second: Any) -> Any:
    """An operation on two arrays, or an array and a number, of one kind."""
    kind = common_kind(first, second)
    found = BOOL if to_bool else kind
    if isinstance(first, Rows) or isinstance(second, Rows):
        return apply_rows(operation, found, kind, first, second)
    return apply(operation, found, lift(first, kind), lift(second, kind))


for _name, _operation, _to_bool in (
    ("add", "add", False),
    ("sub", "subtract", False),
    ("mul", "multiply", False),
    ("truediv", "divide", False),
    ("mod", "remainder", False),
    ("and", "and", False),
    ("or", "or", False),
):
    for _class in (Recorded, Rows):
        _forward, _backward = _binary(_operation, _to_bool)
        setattr(_class, f"__{_name}__", _forward)
        setattr(_class, f"__r{_name}__", _backward)
for _name, _operation in (("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal")):
    setattr(Recorded, f"__{_name}__", _binary(_operation, True)[0])
for _name, _operation in (("eq", "equal"), ("ne", "not_equal")):
    setattr(Recorded, f"__{_name}__", _binary(_operation, True)[0])


def apply(operation: str, kind: str, *operands: Any) -> Any:
    """An operation on every value, with the broadcasting of NumPy."""
    if isinstance(operands[0], Rows):
        return Rows(Node(operation, kind, tuple(each.node for each in operands)), operands[0].width)
    across = {each.across for each in operands} - {None}
    if len(across) > 1:
        raise TypeError(f"{operation}: the customers are on different axes, {sorted(across)}")
    make = np.frompyfunc(lambda *nodes: Node(operation, kind, nodes), len(operands), 1)
    nodes = np.asarray(make(*(each.nodes for each in operands)), object)
    axis = next(iter(across), None)
    if axis is not None and nodes.shape[axis] != 1:
        raise TypeError(f"{operation}: a table of {nodes.shape[axis]} entries along the customers")
    return Recorded(nodes, axis)


def apply_leaf(operation: str, kind: str, leaves: tuple[Any, ...], index: Recorded) -> Recorded:
    """A look-up by every value of `index`."""
    make = np.frompyfunc(lambda node: Node(operation, kind, (*leaves, node)), 1, 1)
    return Recorded(np.asarray(make(index.nodes), object), index.across)


def apply_rows(operation: str, found: str, kind: str, first: Any, second: Any) -> Rows:
    """An operation on tables (N, K), or one of them and a number."""
    widths = {each.width for each in (first, second) if isinstance(each, Rows)}
    if len(widths) > 1:
        raise TypeError(f"{operation}: tables of {sorted(widths)} columns")
    nodes = []
    for each in (first, second):
        if isinstance(each, Rows):
            nodes.append(each.node)
        elif isinstance(each, int | float):
            nodes.append(_constant(each, kind))
        else:
            raise TypeError(f"{operation}: a table (N, K) with {type(each).__name__}")
    return Rows(Node(operation, found, tuple(nodes)), widths.pop())


def lift(value: Any, kind: str) -> Recorded:
    """A number or a table that all customers share as a recorded array."""
    if isinstance(value, Recorded):
        return value
    return Recorded(np.asarray(np.frompyfunc(lambda each: _constant(each, kind), 1, 1)(np.array(value)), object), None)


def _constant(value: Any, kind: str) -> Node:
    # As NumPy does it: a Python number becomes a number of the array's own precision first.
    return Node("constant", kind, (float(np.float32(value)) if kind == FLOAT else int(value),))


def common_kind(first: Any, second: Any) -> str:
    """The kind of two operands; numbers take that of the array beside them.

    Raises:
        TypeError: two kinds, or two numbers.
    """
    kinds = {
        each.dtype if isinstance(each, Recorded | Rows) else kind_of_dtype(each.dtype)
        for each in (first, second)
        if isinstance(each, Recorded | Rows | np.ndarray)
    }
    if len(kinds) != 1:
        raise TypeError(f"values of {' and '.join(sorted(kinds))} together")
    return kinds.pop()


def _kind(nodes: NDArray[Any]) -> str:
    first: Node = nodes.flat[0]
    return first.kind


def kind_of_dtype(dtype: np.dtype[Any]) -> str:
    """The kind of a NumPy array's entries."""
    kinds = {"f": FLOAT, "i": INT, "u": INT, "b": BOOL}
    return kinds[dtype.kind]
