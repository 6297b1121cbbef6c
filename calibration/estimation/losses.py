"""Channels lost without a message on them: by the day, and along with a block elsewhere.

This file must never count a block that a message on that channel provoked.
"""

import numpy as np

from calibration.estimation.alive import Alive
from calibration.estimation.fitting import JointFit
from calibration.estimation.panel import Floats, Panel
from calibration.sources import Estimate, positive_estimate


def open_days(panel: Panel, alive: Alive) -> Floats:
    """(N, C) expected days on which each channel was open and the customer there."""
    still = np.cumsum(alive.by_day, axis=1)
    end = np.tile(panel.watched[:, None] - 1, len(panel.channels))
    np.minimum.at(end, (panel.block_customer, panel.block_channel), panel.block_day)
    return np.asarray(np.take_along_axis(still, np.maximum(end, 0), axis=1) * panel.opted_in)


def fit_losses(panel: Panel, fit: JointFit, alive: Alive) -> tuple[Estimate, Estimate]:
    """Background share of a message's hazard a day, and hazard of the other channels on the day of a block."""
    days = open_days(panel, alive)
    base = np.exp(fit.layout.common_of(fit.theta, "block_log_rate"))
    level = np.exp(fit.layout.table(fit.theta, "level")[:, 0])
    frail = (fit.evaluation.posterior * fit.evaluation.frailty * level).sum(axis=1)
    expected = float((days * base * frail[:, None]).sum())
    provoked = np.zeros((panel.size, panel.days), bool)
    by_message = panel.block_by_message
    provoked[panel.block_customer[by_message], panel.block_day[by_message]] = True
    along = provoked[panel.block_customer, panel.block_day] & ~by_message
    alone = float((~by_message & ~along).sum())
    lost = float(by_message.sum())
    others = lost * max(float((days > 0).sum(axis=1).mean()) - 1.0, 0.0)
    background = _rate(alone, expected)
    return background, _rate(float(along.sum()), others)


def _rate(events: float, expected: float) -> Estimate:
    if expected <= 0.0 or events <= 0.0:
        return Estimate(0.0, 0.0, 3.0 / expected if expected > 0.0 else None)
    return positive_estimate(float(np.log(events / expected)), events**-0.5)
