"""How often something happens by message, in bands of load or of messages before: what the log says without a model.

Customers, not messages, are the sample, so every interval is clustered by customer. This file must never adjust for
anything.
"""

from typing import NamedTuple

import numpy as np

from calibration.estimation.panel import Bools, Floats, Panel, Places
from calibration.sources import NORMAL_95, Estimate, normal_estimate, positive_estimate

EXPOSURE_EDGES = np.array([0, 5, 10, 15, 20, 30, 40, 60, 80, 120])
LOAD_EDGES = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0])


class Rates(NamedTuple):
    """Events a message in each band, with 95 % intervals; all (B,). `messages` counts those that found a customer."""

    events: Floats
    messages: Floats
    rate: Floats
    low: Floats
    high: Floats


def rates_by_load(panel: Panel, alive: Floats) -> tuple[Rates, Rates]:
    """Blocks, and orders on the day of the message, between `LOAD_EDGES`; `alive` (M,) weighs messages."""
    band = np.clip(np.searchsorted(LOAD_EDGES, panel.load_after, side="right") - 1, 0, len(LOAD_EDGES) - 2)
    ordered = panel.by_day(panel.order_customer, panel.order_day)[panel.customer, panel.day] > 0
    blocks, orders = (_rates(panel, band, len(LOAD_EDGES) - 1, each, alive) for each in (panel.blocked, ordered))
    return blocks, orders


def rates_by_messages_before(panel: Panel, alive: Floats) -> Rates:
    """Blocks by how many messages the customer had had before, from each of `EXPOSURE_EDGES` on."""
    # Rows stand by customer and time.
    number = np.arange(len(panel.customer)) - np.searchsorted(panel.customer, panel.customer)
    band = np.searchsorted(EXPOSURE_EDGES, number, side="right") - 1
    return _rates(panel, band, len(EXPOSURE_EDGES), panel.blocked, alive)


def ratio(events: Floats, expected: Floats) -> Estimate:
    """Sum of events over what was expected, both (N,) by customer; the interval is clustered by customer.

    Without events, the upper end is that of the rule of three.
    """
    happened, whole = float(events.sum()), float(expected.sum())
    if whole <= 0.0 or happened <= 0.0:
        return Estimate(0.0, 0.0, 3.0 / whole if whole > 0.0 else None)
    found = happened / whole
    return positive_estimate(float(np.log(found)), float(np.sqrt(((events - found * expected) ** 2).sum())) / happened)


def mean(values: Floats, customer: Places) -> Estimate:
    """The mean of values (K,) that belong to customers (K,); the interval is clustered by customer."""
    centre = float(values.mean())
    by_customer = np.bincount(customer, values - centre)
    return normal_estimate(centre, float(np.sqrt((by_customer**2).sum())) / len(values))


def _rates(panel: Panel, band: Places, bands: int, events: Bools, weight: Floats) -> Rates:
    cell, cells = panel.customer * bands + band, panel.size * bands
    happened, whole = (
        np.bincount(cell, each.astype(np.float64), cells).reshape(-1, bands) for each in (events, weight)
    )
    messages = whole.sum(axis=0)
    rate = happened.sum(axis=0) / np.maximum(messages, 1e-9)
    half = NORMAL_95 * np.sqrt(((happened - rate * whole) ** 2).sum(axis=0)) / np.maximum(messages, 1e-9)
    return Rates(happened.sum(axis=0), messages, rate, np.maximum(rate - half, 0.0), rate + half)
