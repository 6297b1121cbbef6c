"""What a firm knows of each customer beforehand: whom it can reach where, and covariates on one scale.

This file must never look at what a customer did.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.logs.manifest import Manifest


class Covariates(NamedTuple):
    """Numeric covariates in use, and what brings them to mean 0 and standard deviation 1; each has length S."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]


def people_columns(manifest: Manifest) -> list[str]:
    """Columns of the table of customers that a panel needs."""
    told = [f"opted_in_{channel}" for channel in manifest.opted_in]
    return ["customer", "name", "send_probability", *told, *manifest.covariates]


def column(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Numbers of a column, NaN where missing; all NaN without the column."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return frame[name].to_numpy(np.float64, na_value=np.nan)


def opted_in(
    people: pd.DataFrame, channels: Sequence[str], channel: NDArray[np.int64], customer: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(N, C) who could be reached: as told, else whoever was ever written to; `channel`, `customer` of messages."""
    reached = np.zeros((len(people), len(channels)), bool)
    reached[customer, channel] = True
    for place, name in enumerate(channels):
        if f"opted_in_{name}" in people.columns:
            reached[:, place] |= people[f"opted_in_{name}"].fillna(False).to_numpy(bool)
    return reached


def standardised(people: pd.DataFrame, covariates: Sequence[str]) -> tuple[NDArray[np.float64], Covariates]:
    """(N, S) numeric covariates on one scale; what is missing is 0, constants and words are left out."""
    found: list[tuple[str, float, float]] = []
    columns: list[NDArray[Any]] = []
    for name in covariates:
        if name in people.columns and pd.api.types.is_numeric_dtype(people[name]):
            values = column(people, name)
            mean, spread = (float(of(values)) for of in (np.nanmean, np.nanstd)) if values.size else (0.0, 0.0)
            if spread > 0.0:
                found.append((name, mean, spread))
                columns.append(np.nan_to_num((values - mean) / spread))
    names, means, spreads = zip(*found, strict=True) if found else ((), (), ())
    hints = np.stack(columns, axis=1) if columns else np.zeros((len(people), 0))
    return hints, Covariates(tuple(names), tuple(means), tuple(spreads))
