"""Micro-segments by recency, frequency and monetary value: the marketer's own, to stand beside the estimated ones.

This file must never know the estimated classes; it only sorts customers by what they bought.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.estimation.panel import Panel

MARKS = 3


def micro_segments(panel: Panel) -> NDArray[np.str_]:
    """(N,) three marks from 1 to 3 such as 312: recency, frequency, monetary; 000 for those who never ordered.

    Thirds of those who ordered; many with one order each share a mark, so that thirds may be uneven.
    """
    days = panel.by_day(panel.order_customer, panel.order_day)
    count = days.sum(axis=1)
    spend = np.bincount(panel.order_customer, panel.order_amount, panel.size)
    last = np.where(days > 0, np.arange(panel.days), -1).max(axis=1)
    recency = (panel.watched - 1 - last).astype(np.float64)
    buys = count > 0
    marks = np.zeros((panel.size, 3), np.int64)
    for place, value in enumerate((-recency, count, spend / np.maximum(count, 1.0))):
        own = pd.Series(value[buys]).rank(method="average").to_numpy()  # equals get equal marks
        marks[buys, place] = np.ceil(own / max(len(own), 1) * MARKS).astype(np.int64)
    return np.array(["".join(map(str, each)) for each in marks.tolist()])


def table(panel: Panel) -> pd.DataFrame:
    """By micro-segment: customers, orders, blocks and messages a customer."""
    frame = pd.DataFrame(
        {
            "micro_segment": micro_segments(panel),
            "orders": np.bincount(panel.order_customer, minlength=panel.size),
            "blocks": np.bincount(panel.block_customer, minlength=panel.size),
            "messages": np.bincount(panel.customer, minlength=panel.size),
        }
    )
    grouped = frame.groupby("micro_segment")
    return grouped.mean().assign(customers=grouped.size()).reset_index()
