"""What the sources of real data share: strict reading, uncertainty, and lines of the calibration card.

This file must never know one particular source by its columns, fill in a missing number, or write rows of a
source anywhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Label = Literal["FOUND", "DERIVED", "RECALLED", "ASSUMED"]
NORMAL_95 = 1.959963984540054


class SourceError(ValueError):
    """A file is missing or does not hold what it should; the message names file, column and expectation."""


class Estimate(NamedTuple):
    """A number measured in data; `low` and `high` bound its 95 % interval, None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None


class Figure(NamedTuple):
    """One line of a calibration card.

    `label` says where the number is from: FOUND (a total, mean or share as the source holds it), DERIVED (a
    fit, ratio or other arithmetic on found numbers), RECALLED (from memory), ASSUMED (a choice without a
    number behind it). `low` and `high` bound the 95 % interval and are None where there is none.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    label: Label
    source: str


def figure(name: str, estimate: Estimate | float, unit: str, label: Label, source: str) -> Figure:
    """An estimate, or a number without an interval, as a line of the card."""
    value, low, high, _ = estimate if isinstance(estimate, Estimate) else Estimate(float(estimate))
    return Figure(name, value, low, high, unit, label, source)


def read_table(
    path: Path, columns: Sequence[str], numbers: Sequence[str] = (), *, whitespace_separated: bool = False
) -> pd.DataFrame:
    """The named columns of a table with a header line, as text, but those in `numbers` as float64.

    Raises `SourceError` where the file is missing or empty, a column is missing, or a value of `numbers` is
    not a finite number of at least 0. Cells of other columns may be empty (NaN).
    """
    wanted = ", ".join(columns)
    if not path.is_file():
        raise SourceError(f"{path}: no such file; expected a table with the columns {wanted}")
    try:
        table = pd.read_csv(path, sep=r"\s+" if whitespace_separated else ",", dtype=str)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a table ({error}); expected the columns {wanted}") from error
    for column in columns:
        if column not in table.columns:
            raise SourceError(
                f"{path}: column {column!r} is missing; expected {wanted}; found {', '.join(table.columns)}"
            )
    if table.empty:
        raise SourceError(f"{path}: no rows below the header {wanted}; expected at least one")
    table = table[list(columns)]
    return table.assign(**{column: _numbers(path, table[column]) for column in numbers})


def _numbers(path: Path, texts: "pd.Series[str]") -> "pd.Series[float]":
    values = pd.to_numeric(texts, errors="coerce").astype("float64")
    wrong = np.flatnonzero(~(np.isfinite(values.to_numpy()) & (values.to_numpy() >= 0.0)))
    if wrong.size:
        row = int(wrong[0])
        raise SourceError(
            f"{path}: column {texts.name!r} holds {texts.iloc[row]!r} in data row {row + 1}; "
            "expected a finite number of at least 0"
        )
    return values


def read_days(path: Path, texts: "pd.Series[str]", layout: str) -> "pd.Series[pd.Timestamp]":
    """A column of days, written as `layout` says (as `strptime`); `SourceError` where one is not."""
    days = pd.to_datetime(texts, format=layout, errors="coerce")
    wrong = np.flatnonzero(days.isna().to_numpy())
    if wrong.size:
        row = int(wrong[0])
        raise SourceError(
            f"{path}: column {texts.name!r} holds {texts.iloc[row]!r} in data row {row + 1}; "
            f"expected {layout} as strptime reads it"
        )
    return days


def proportion(count: float, total: float) -> Estimate:
    """The share `count / total` and its 95 % interval by Wilson (1927), right even where the count is 0.

    Raises `ValueError` unless 0 <= count <= total and total > 0.
    """
    if not (total > 0 and 0 <= count <= total):
        raise ValueError(f"a proportion of {count} in {total}; expected 0 <= count <= total and total > 0")
    share, spread = count / total, NORMAL_95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = (spread * (share * (1 - share) + spread / 4)) ** 0.5 / (1 + spread)
    standard_error = (share * (1 - share) / total) ** 0.5
    # At the two ends the interval touches the share itself, which rounding would miss.
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == total else centre + half
    return Estimate(share, low, high, standard_error)


def normal_estimate(value: float, standard_error: float) -> Estimate:
    """A number whose error is about normal: the interval is 1.96 standard errors to each side."""
    half = NORMAL_95 * standard_error
    return Estimate(float(value), float(value - half), float(value + half), float(standard_error))


def positive_estimate(log_value: float, log_standard_error: float) -> Estimate:
    """A positive number whose logarithm has a normal error: the interval is symmetric in the logarithm."""
    middle, half = float(np.exp(log_value)), NORMAL_95 * log_standard_error
    low, high = float(np.exp(log_value - half)), float(np.exp(log_value + half))
    return Estimate(middle, low, high, middle * float(log_standard_error))


class LogMoments(NamedTuple):
    """Mean and standard deviation of the logarithm of positive amounts."""

    log_mean: Estimate
    log_sd: Estimate


def log_moments(amounts: NDArray[np.float64]) -> LogMoments:
    """The moments of log(amounts), (N,), N >= 2, all above 0; the errors allow for heavy tails.

    Raises `ValueError` where an amount is not positive or fewer than two are given.
    """
    if amounts.size < 2 or not np.all(amounts > 0):
        raise ValueError(
            f"{amounts.size} amounts, least {amounts.min(initial=np.inf)}; expected at least 2, all above 0"
        )
    logs = np.log(amounts)
    count, deviation = logs.size, float(logs.std(ddof=1))
    mean = normal_estimate(float(logs.mean()), deviation / count**0.5)
    if deviation == 0.0:
        return LogMoments(mean, normal_estimate(0.0, 0.0))
    kurtosis = float(((logs - logs.mean()) ** 4).mean()) / deviation**4
    return LogMoments(mean, normal_estimate(deviation, deviation * (max(kurtosis - 1.0, 0.0) / (4 * count)) ** 0.5))
