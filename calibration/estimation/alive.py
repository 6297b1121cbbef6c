"""Who is probably still there: customers who open, order and block nothing any more may have left without a word.

A message to somebody who has left says nothing about messages, so every later step weighs messages by this. This file
must never look at anything that came after a sign of life to doubt it.
"""

from typing import NamedTuple

import numpy as np

from calibration.estimation.panel import Floats, Panel
from calibration.sources import NORMAL_95

ROUNDS = 15


class Alive(NamedTuple):
    """How likely each customer was there."""

    by_day: Floats  # (N, D) probability of being a customer on the morning of the day; 0 after the watch
    leaving: float  # probability a day of leaving, with its 95 % interval
    leaving_low: float
    leaving_high: float

    def of_messages(self, panel: Panel) -> Floats:
        """(M,) probability that the message found a customer."""
        return np.asarray(self.by_day[panel.customer, panel.day])


def find_alive(panel: Panel, open_probability: Floats, order_probability: Floats, stops: bool = False) -> Alive:
    """Expectation-maximisation (Dempster, Laird & Rubin 1977) of a constant daily chance of leaving.

    After the last sign of life, silence is either bad luck or absence.

    Args:
        open_probability: (M,) of each message, of a living customer.
        order_probability: (N,) a day, of a living customer.
        stops: the firm writes to nobody who has left, so a message is a sign of life and days without are silence.
    """
    size, days = panel.size, panel.days
    columns = np.arange(days)
    last = panel.last_sign()
    silence = np.repeat(np.log1p(-np.clip(order_probability, 0.0, 0.9))[:, None], days, axis=1)
    if stops:
        newest = np.zeros(size, np.int64)
        np.maximum.at(newest, panel.customer, panel.day)
        sent = panel.by_day(panel.customer, panel.day) > 0
        share = (sent.sum(axis=1) + 0.5) / (newest + 2.0)
        silence += np.log1p(-np.minimum(share, 0.9))[:, None] * ~sent
        last = np.maximum(last, newest)
    silence += panel.by_day(panel.customer, panel.day, np.log1p(-np.clip(open_probability, 0.0, 0.999)))
    after = (columns > last[:, None]) & (columns < panel.watched[:, None])
    quiet = np.cumsum(np.where(after, silence, 0.0), axis=1)
    # A customer who leaves at the end of day s has been silent of their own accord up to s.
    candidate = (columns >= last[:, None]) & (columns < panel.watched[:, None])
    leaving, left_by_day = 0.001, np.zeros((size, days))
    for _ in range(ROUNDS):
        age = columns + 1.0
        stay = np.log1p(-leaving)
        gone = np.where(candidate, quiet + (age - 1.0) * stay + np.log(leaving), -np.inf)
        still = quiet[:, -1] + panel.watched * stay
        top = np.maximum(gone.max(axis=1), still)
        weight = np.exp(gone - top[:, None])
        total = weight.sum(axis=1) + np.exp(still - top)
        left_by_day = weight / total[:, None]
        morning = 1.0 - np.concatenate([np.zeros((size, 1)), np.cumsum(left_by_day, axis=1)[:, :-1]], axis=1)
        morning = np.where(columns < panel.watched[:, None], np.clip(morning, 0.0, 1.0), 0.0)
        leaving = float(np.clip(left_by_day.sum() / morning.sum(), 1e-7, 0.5))
    # Information on the logarithm by the outer product of the customers' scores.
    scores = left_by_day.sum(axis=1) - leaving * morning.sum(axis=1)
    error = NORMAL_95 / max(float((scores**2).sum()), 1.0) ** 0.5
    return Alive(morning, leaving, leaving * float(np.exp(-error)), leaving * float(np.exp(error)))


def first_guess(panel: Panel, stops: bool = False) -> Alive:
    """From pooled open rates by channel and each customer's own, before anything is known about customers."""
    opened = panel.opened.astype(np.float64)
    recent = (panel.day <= panel.last_sign()[panel.customer]).astype(np.float64)
    channels = len(panel.channels)
    sent = np.bincount(panel.channel, minlength=channels).astype(np.float64)
    rate = np.bincount(panel.channel, opened, channels) / np.maximum(sent, 1.0)
    for _ in range(2):
        expected = np.bincount(panel.customer, recent * rate[panel.channel], panel.size)
        own = (np.bincount(panel.customer, opened, panel.size) + 3.0) / (expected + 3.0)
        probability = np.clip(rate[panel.channel] * own[panel.customer], 1e-4, 0.98)
        orders = np.bincount(panel.order_customer, minlength=panel.size)
        mean = orders.sum() / panel.watched.sum()
        order_rate = (1.0 + orders) / (1.0 / max(mean, 1e-6) + panel.watched)
        alive = find_alive(panel, probability, np.minimum(order_rate, 0.5), stops)
        weight = alive.of_messages(panel)
        rate = np.bincount(panel.channel, opened, channels) / np.maximum(
            np.bincount(panel.channel, weight, channels), 1.0
        )
        recent = weight
    return alive
