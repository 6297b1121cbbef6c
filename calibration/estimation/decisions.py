"""Customer-days on which a firm could have written, and whether it did: what a choice or a coin is judged by.

Which days count may not depend on what happened on them or later: a block, an open or an order that the message caused
would otherwise decide whether its day is looked at. This file must never use who is probably still there.
"""

import numpy as np

from calibration.estimation.panel import Bools, Panel, Places


def sampled_days(
    panel: Panel, draws: int, rng: np.random.Generator, stops: bool, first: int = 0
) -> tuple[Places, Places]:
    """Customers and days, (K,) each, among `draws` drawn evenly and none twice: watched, and reachable in the morning.

    Args:
        stops: the firm writes to nobody who has left, so only days before a customer's last message are known to count.
        first: days before this one are left out.
    """
    blocked_on = np.full((panel.size, len(panel.channels)), panel.days)
    np.minimum.at(blocked_on, (panel.block_customer, panel.block_channel), panel.block_day)
    end = panel.watched
    if stops:
        end = np.zeros(panel.size, np.int64)
        np.maximum.at(end, panel.customer, panel.day)
    first = min(first, panel.days - 1)
    cells = panel.size * (panel.days - first)
    customer, day = np.divmod(rng.choice(cells, min(draws, cells), replace=False), panel.days - first)
    day += first
    reachable = (panel.opted_in[customer] & (blocked_on[customer] >= day[:, None])).any(axis=1)
    kept = reachable & (day < end[customer])
    return customer[kept], day[kept]


def sent_on(panel: Panel, customer: Places, day: Places) -> Bools:
    """(K,) whether a message was delivered to these customers on these days."""
    return np.asarray(panel.by_day(panel.customer, panel.day)[customer, day] > 0)
