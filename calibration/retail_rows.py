"""The rows of the card of `Retail-v0`: what it was matched on, what it was not, and figures other cards share.

This file must never read data: what was measured stands in `published`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from calibration import published
from calibration.newsletter import MESSAGES_BEFORE_OPT_OUT
from calibration.retail import TWO_WEEKS, action
from calibration.retail_targets import QUARTER, YEAR
from calibration.retail_world import EVENT, MENS, SALE, SERVICE, WOMENS
from calibration.rows import GROUPS, Interval, Row, Sample, estimate, row, share
from calibration.tally import Floats, Tally, Timetable, joined

WEEK, MONTH = 7, 28
MESSAGE = "share of delivered"
BANDS, CONSTANTS = published.RETAIL, published.CONSTANTS


def orders_in_a_year(counts: Tally) -> float:
    """Orders a customer before day `YEAR`."""
    return float((counts.orders - counts.late_orders).mean())


def variation(counts: Tally) -> float:
    """Coefficient of variation of the orders before day `YEAR`."""
    year = counts.orders - counts.late_orders
    return float(year.std() / year.mean()) if year.any() else float("nan")


def churn_a_month(counts: Tally) -> float:
    """Share of customers leaving in a month, from the days lived in a year and a quarter."""
    lost = float((counts.days < YEAR + QUARTER).sum()) / float(counts.days.sum())
    return float(-np.expm1(-lost * YEAR / 12))


def hazard(counts: Tally, channel: int) -> Floats:
    """(D,) share of a day's deliveries on the channel that were followed by a block."""
    return counts.daily_blocked[:, channel] / np.maximum(counts.daily_delivered[:, channel], 1.0)


def yearly(weekly: Sequence[Tally], channel: int, name: str) -> Row:
    """Customers who have blocked the channel after a year of weekly messages, as far as the firm finds out."""

    def blocked(counts: Tally) -> float:
        reached = counts.sent[channel] > 0
        if not reached.any():
            return float("nan")
        return float(((counts.blocked[channel] + counts.failed[channel]) > 0)[reached].mean())

    what = f"{name}: customers blocking in a year of weekly messages"
    return row(what, estimate(weekly, blocked), "share of reached", published.YEARLY)


def demand(sample: Sample) -> Iterator[Row]:
    """Orders and churn of customers nobody writes to."""
    silent = sample.play(Timetable([], 1), YEAR + QUARTER, late=YEAR)
    unit = "orders a customer"
    yield row("orders in the first year, silence", estimate(silent, orders_in_a_year), unit, BANDS["orders_year"])
    yield row("coefficient of variation of these", estimate(silent, variation), "ratio", BANDS["orders_cv"])
    later = estimate(silent, lambda counts: float(counts.late_orders.mean()))
    yield row("orders in the quarter after it, silence", later, unit, BANDS["orders_quarter"])
    yield row("churn a month, silence", estimate(silent, churn_a_month), "share of customers", published.CHURN)


def messages(sample: Sample) -> Iterator[Row]:
    """What messages do, each under the timetable of its source."""
    email = {style: action(sample.scenario, "email", style, MENS) for style in (SALE, EVENT, SERVICE)}
    bulk = sample.play(Timetable([email[SALE]], CONSTANTS.email_gap), CONSTANTS.base_days, expect=True)
    block = estimate(bulk, _expected(2, email[SALE]))
    yield row("email: block a message, weekly sale", block, MESSAGE, BANDS["email_block"])
    for style, band in ((EVENT, "event_ratio"), (SERVICE, "service_ratio")):

        def ratio(counts: Tally, other: int = email[style]) -> float:
            return float(counts.expected[2, other].sum() / counts.expected[2, email[SALE]].sum())

        yield row(f"email: block rate of {style} relative to sale", estimate(bulk, ratio), "ratio", BANDS[band])
    yield row("email: open a message", estimate(bulk, _expected(0, email[SALE])), MESSAGE, BANDS["email_open"])
    yield row(
        "email: order a message, against attributed orders",
        estimate(bulk, _expected(1, email[SALE])),
        MESSAGE,
        BANDS["attributed"],
    )
    yield from _experiment(sample, email[SALE], action(sample.scenario, "email", SALE, WOMENS))
    yield from _push(sample, action(sample.scenario, "push", SALE, MENS))
    yield yearly(sample.play(Timetable([email[SALE]], WEEK), YEAR), 0, "email")


def _expected(kind: int, message: int) -> Callable[[Tally], float]:
    """Probability of an open (0), order (1) or block (2) by an e-mail, over all deliveries."""
    return lambda counts: float(counts.expected[kind, message].sum() / counts.expected_delivered[:, 0].sum())


def _experiment(sample: Sample, mens_email: int, womens_email: int) -> Iterator[Row]:
    trial = sample.play(Timetable([mens_email], TWO_WEEKS), YEAR, expect=True)
    is_womens = np.array([segment.name.endswith(f"_{WOMENS}") for segment in sample.scenario.segments])

    def on_to_off(counts: Tally) -> float:
        orders, sent = counts.expected[1, womens_email], counts.expected_delivered[:, 0]
        on, off = (orders[group].sum() / sent[group].sum() for group in (is_womens, ~is_womens))
        return float(on / off)

    mens, womens = (estimate(trial, _expected(1, message)) for message in (mens_email, womens_email))
    yield row("email: orders caused by the men's", mens, MESSAGE, BANDS["effect_mens"])
    yield row("email: orders caused by the women's", womens, MESSAGE, BANDS["effect_womens"])
    effect = estimate(trial, on_to_off)
    yield row("email: effect of the women's, on target to off target", effect, "ratio", BANDS["on_to_off"])


def _push(sample: Sample, message: int) -> Iterator[Row]:
    push = sample.play(Timetable([message], CONSTANTS.push_gap), CONSTANTS.base_days)
    opened, lost = (estimate(push, share(*names, 1)) for names in (("opened", "delivered"), ("failed", "sent")))
    yield row("push: open a message", opened, MESSAGE, BANDS["push_open"])
    yield row("push: lost tokens a broadcast", lost, "share of sent", BANDS["push_lost"])
    # A silent base of mixed tenures that gets its first broadcast.
    tenures = range(MONTH // 2, CONSTANTS.base_days, MONTH)
    first = [sample.play(Timetable([message], 1, first=tenure), tenure + 1) for tenure in tenures]
    mixed = [joined([tenure[group] for tenure in first]) for group in range(GROUPS)]
    stock: Interval = estimate(mixed, share("failed", "sent", 1))
    yield row("push: lost tokens found by a first broadcast", stock, "share of sent", BANDS["push_stock"])


def survival(sample: Sample) -> Iterator[Row]:
    """Subscribers left after so many daily e-mails."""
    message = action(sample.scenario, "email", EVENT, MENS)
    daily = sample.play(Timetable([message], 1), MESSAGES_BEFORE_OPT_OUT[-1])
    for exposure, band in zip(MESSAGES_BEFORE_OPT_OUT, published.survival_bands(), strict=True):

        def left(counts: Tally, exposure: int = exposure) -> float:
            return float(np.prod(1.0 - hazard(counts, 0)[:exposure]))

        yield row(f"email: left after {exposure} daily messages", estimate(daily, left), "share of reached", band)
