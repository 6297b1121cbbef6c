"""What customers were like at one moment, as plain arrays that can be kept in a file.

It never keeps what can be derived again, and never fills a record with arrays of another shape or type.
"""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from blockenv.dynamics import State, Traits
from blockenv.history import History

Records = tuple[Traits, State, History]
_NAMES = ("traits", "state", "log")


def taken(records: Records, seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Copies of the arrays of N customers, by record and field; `seed` and `customer` (N,) tell who they are."""
    arrays = {
        f"{record}.{name}": np.array(values)
        for record, fields in zip(_NAMES, cast(tuple[Any, ...], records), strict=True)
        for name, values in fields._asdict().items()
    }
    return arrays | {"seed": seed.copy(), "customer": customer.copy()}


def put_back(arrays: dict[str, NDArray[Any]], records: Records) -> Records:
    """The records that were `taken`, as copies.

    Args:
        arrays: what `taken` gave; further entries are ignored.
        records: of customers of the same number and scenario, to compare shapes and types with.

    Raises:
        KeyError, ValueError: an array is missing or of another shape or type.
    """
    fresh: list[Any] = []
    for record, fields in zip(_NAMES, cast(tuple[Any, ...], records), strict=True):
        stored = {name: arrays[f"{record}.{name}"].copy() for name in fields._fields}
        for name, values in fields._asdict().items():
            if stored[name].shape != values.shape or stored[name].dtype != values.dtype:
                found, expected = (f"{each.dtype}{each.shape}" for each in (stored[name], values))
                raise ValueError(f"{record}.{name}: {found}, expected {expected}")
        fresh.append(type(fields)(**stored))
    return fresh[0], fresh[1], fresh[2]
