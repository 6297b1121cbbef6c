"""The functions of the array API that the equations use, for recorded arrays.

They write down and compute nothing; what they cannot write down they refuse with a TypeError.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from blockenv.compiled.recording import (
    BOOL,
    FLOAT,
    INT,
    Flat,
    Node,
    Pieces,
    Recorded,
    Rows,
    apply,
    apply_leaf,
    combine,
    common_kind,
    kind_of_dtype,
    lift,
)

int32 = INT


def astype(values: Any, kind: str) -> Any:
    """The same values as another kind."""
    return values if values.dtype == kind else apply(f"as_{kind}", kind, values)


def where(condition: Recorded, yes: Any, no: Any) -> Recorded:
    """`yes` where the condition holds, else `no`."""
    kind = common_kind(yes, no)
    found: Recorded = apply("where", kind, condition, lift(yes, kind), lift(no, kind))
    return found


def minimum(first: Any, second: Any) -> Any:
    """The smaller."""
    return combine("minimum", False, first, second)


def maximum(first: Any, second: Any) -> Any:
    """The larger."""
    return combine("maximum", False, first, second)


def any(values: Recorded, axis: int) -> Recorded:
    """Whether any is true, along the first axis."""
    if axis != 0 or values.nodes.ndim != 2 or values.across != -1:
        raise TypeError("any: only along the first axis of (C, N)")
    found = Recorded(values.nodes[0], -1)
    for row in values.nodes[1:]:
        found = apply("or", BOOL, found, Recorded(row, -1))
    return found


def take(values: Any, index: Any, axis: int | None = None) -> Any:
    """Values by number: of a shared table, or a customer's own from a flat table."""
    if isinstance(values, Flat):
        return apply_leaf("own", values.kind, (values.name,), index)
    if isinstance(values, np.ndarray) and isinstance(index, Recorded):
        if values.ndim == 1:
            return apply_leaf("shared", kind_of_dtype(values.dtype), (values,), index)
        if values.ndim == 2 and axis == 0:
            return Rows(Node("shared_row", FLOAT, (values, index.nodes.item())), values.shape[1])
    if isinstance(values, Recorded) and isinstance(index, np.ndarray) and axis == 1 and values.across == -2:
        return Recorded(np.take(values.nodes, index, axis=1), -2)
    raise TypeError(f"take: cannot record {type(values).__name__} by {type(index).__name__} along {axis}")


def reshape(values: Recorded, shape: tuple[int, ...]) -> Flat:
    """An input (C, N) as (C N,)."""
    first: Node = values.nodes.flat[0]
    if shape != (-1,) or first.operation != "input" or values.across != -1:
        raise TypeError(f"reshape: only inputs (C, N) to (-1,), not to {shape}")
    return Flat(first.operands[0], first.kind)


def expand_dims(values: Recorded, axis: int) -> Recorded:
    """(N,) as (N, 1)."""
    if axis != 1 or values.nodes.ndim != 1:
        raise TypeError("expand_dims: only (N,) to (N, 1)")
    return Recorded(values.nodes[:, None], -2)


def stack(columns: Sequence[Recorded], axis: int) -> Recorded:
    """Columns (N,) side by side, (N, K)."""
    if axis != 1:
        raise TypeError("stack: only along axis 1")
    return Recorded(np.stack([each.nodes for each in columns], axis=1), -2)


def concat(pieces: Iterable[Any], axis: int) -> Pieces:
    """Tables (N, ...) side by side, (N, D)."""
    if axis != 1:
        raise TypeError("concat: only along axis 1")
    return Pieces(tuple(one for each in pieces for one in (each.pieces if isinstance(each, Pieces) else (each,))))


def exp(values: Any) -> Any:
    """Elementwise."""
    return apply("exp", values.dtype, values)


def log(values: Any) -> Any:
    """Elementwise."""
    return apply("log", values.dtype, values)


def sqrt(values: Any) -> Any:
    """Elementwise."""
    return apply("sqrt", values.dtype, values)


def sin(values: Any) -> Any:
    """Elementwise."""
    return apply("sin", values.dtype, values)


def cos(values: Any) -> Any:
    """Elementwise."""
    return apply("cos", values.dtype, values)


def floor(values: Any) -> Any:
    """Elementwise."""
    return apply("floor", values.dtype, values)
