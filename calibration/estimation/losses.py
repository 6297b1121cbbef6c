"""Channels lost without a message on them: by the day, and along with a block elsewhere.

This file must never count a block that a message on that channel provoked.
"""

import numpy as np

from calibration.estimation.alive import Alive
from calibration.estimation.fitting import JointFit
from calibration.estimation.panel import Panel
from calibration.estimation.rates import ratio
from calibration.sources import Estimate


def fit_losses(panel: Panel, fit: JointFit, alive: Alive) -> tuple[Estimate, Estimate]:
    """Background share of a message's hazard a day, and hazard of the other open channels on the day of a block."""
    end = np.full((panel.size, len(panel.channels)), panel.days)
    np.minimum.at(end, (panel.block_customer, panel.block_channel), panel.block_day)
    still = np.cumsum(alive.by_day, axis=1)
    last = np.minimum(end, panel.watched[:, None] - 1)
    days = np.take_along_axis(still, last, axis=1) * panel.opted_in
    base = np.exp(fit.layout.common_of(fit.theta, "block_log_rate"))
    level = np.exp(fit.layout.table(fit.theta, "level")[:, 0])
    frail = (fit.evaluation.posterior * fit.evaluation.frailty * level).sum(axis=1)
    expected = (days * base).sum(axis=1) * frail
    customer, day, by_message = panel.block_customer, panel.block_day, panel.block_by_message
    provoked = np.zeros((panel.size, panel.days), bool)
    provoked[customer[by_message], day[by_message]] = True
    along = provoked[customer, day] & ~by_message
    open_then = (panel.opted_in[customer] & (end[customer] >= day[:, None])).sum(axis=1)
    others = np.maximum(open_then - 1, 0) * by_message
    alone, beside, exposed = (
        np.bincount(customer, each, panel.size).astype(np.float64) for each in (~by_message & ~along, along, others)
    )
    return ratio(alone, expected), _hazard(ratio(beside, exposed))


def _hazard(share: Estimate) -> Estimate:
    """Of a probability, cut off where it has none."""
    value, low, high = (None if end is None else float(-np.log1p(-min(end, 0.999))) for end in share[:3])
    return Estimate(value or 0.0, low, high)
