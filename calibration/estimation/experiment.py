"""A real randomised experiment, row by row, through the same code as a log: Hillstrom's e-mails.

This file must never write the rows of the source out; see `calibration.hillstrom` for what the source is.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.estimation.uplift import Trial
from calibration.hillstrom import ARMS, CATEGORIES, COLUMNS, FILE, NUMBERS
from calibration.sources import read_table

Email = Literal["mens", "womens"]


def read_trial(folder: Path, email: Email, outcome: str) -> tuple[Trial, dict[str, NDArray[np.bool_]]]:
    """One e-mail against none, and which customers had bought what in the past year.

    Args:
        outcome: `visit`, `conversion` or `spend`.

    Raises:
        SourceError: the file is missing or wrong.
    """
    table = read_table(folder / FILE, COLUMNS, NUMBERS)
    arm = table["segment"].map(ARMS)
    rows = table[arm.isin([email, "none"])]
    treated = np.asarray(arm[rows.index] == email, np.float64)
    channels = pd.get_dummies(rows["channel"]).to_numpy(np.float64)
    known = rows[["recency", "history", "mens", "womens"]].to_numpy(np.float64)
    size = len(rows)
    trial = Trial(
        np.column_stack([known, channels]),
        treated,
        rows[outcome].to_numpy(np.float64),
        np.full(size, treated.mean()),
        np.arange(size),
    )
    mens, womens = (rows[name].to_numpy() > 0 for name in ("mens", "womens"))
    groups = dict(zip(CATEGORIES, (mens & ~womens, womens & ~mens, mens & womens), strict=True))
    return trial, groups
