"""Tables of customers' values, made up so that the truth behind them is known."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CUSTOMERS = 100
MEAN = 10.0

GOOD = np.ones((2, 4))
HOLED = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, np.nan, 7.0, np.inf]])


def world(
    rng: np.random.Generator, seeds: Sequence[int], seed_spread: float, rest_spread: float
) -> list[NDArray[np.float64]]:
    """Agents of equal true mean that meet the same customers; one row is a rule, without luck in training."""
    customers = 3 * rng.standard_normal(CUSTOMERS)
    agents = []
    for rows in seeds:
        table = MEAN + customers + rng.standard_normal((1, CUSTOMERS))
        if rows > 1:
            table = table + seed_spread * rng.standard_normal((rows, 1))
            table = table + rest_spread * rng.standard_normal((rows, CUSTOMERS))
        agents.append(table)
    return agents
