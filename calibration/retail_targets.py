"""What real shops counted, as far as `Retail-v0` is made of it: targets of the matching, and what needs none.

This file must never write rows of a source out, and never simulate.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration import hillstrom, newsletter, purchases, rees46
from calibration.retail_world import three_digits
from calibration.sources import read_days, read_table

Floats = NDArray[np.float64]
YEAR, QUARTER = 364, 91


class Targets(NamedTuple):
    """What real shops counted; shares are per message unless said otherwise."""

    email_block: float  # REES46 bulk e-mail
    event_ratio: float  # block rate relative to a sale e-mail
    service_ratio: float
    email_open: float
    push_open: float
    push_lost: float  # share of later push broadcasts that found a lost token
    survival: tuple[float, ...]  # newsletter, after newsletter.MESSAGES_BEFORE_OPT_OUT
    effect_mens: float  # Hillstrom: orders caused by an e-mail
    effect_womens: float
    on_to_off: float  # effect of the women's e-mail, on target relative to off target (visits)
    orders_year: float  # CDNOW: orders in the 52 weeks after the first
    orders_cv: float  # their coefficient of variation between customers
    orders_quarter: float  # orders in the 13 weeks after those


class Constants(NamedTuple):
    """What needs no matching."""

    base_days: int  # REES46: days the inflow takes to fill the e-mail base
    email_gap: int  # days between two bulk e-mails
    push_gap: int  # days between two push broadcasts
    frailty: float
    weekend_block: float
    womens_share: float
    order_value: float
    order_value_between: float
    order_value_within: float


def measure(folder: Path) -> tuple[Targets, Constants]:
    """The figures of all sources; `SourceError` where a file in `folder` is missing or wrong."""
    shop, trial, buyers = rees46.measure(folder), hillstrom.measure(folder), purchases.measure(folder)
    year, later = _orders_by_tenure(folder)
    days, email_gap, push_gap = _cadence(folder)
    mens, womens = trial.effects["mens"], trial.effects["womens"]
    targets = Targets(
        email_block=shop.by_kind_and_channel["bulk email"].block.value,
        event_ratio=shop.style_block_ratio["event"].value,
        service_ratio=shop.style_block_ratio["transactional"].value,
        email_open=shop.by_kind_and_channel["bulk email"].open.value,
        push_open=shop.push_later.open.value,
        push_lost=shop.push_later.block.value,
        survival=newsletter.SURVIVAL,
        effect_mens=mens.conversion.value,
        effect_womens=womens.conversion.value,
        on_to_off=trial.matched_to_mismatched["womens"].value,
        orders_year=float(year.mean()),
        orders_cv=float(year.std() / year.mean()),
        orders_quarter=float(later.mean()),
    )
    spend = buyers.spend
    table = read_table(folder / hillstrom.FILE, ("womens",), ("womens",))
    constants = Constants(
        base_days=days,
        email_gap=email_gap,
        push_gap=push_gap,
        frailty=three_digits(newsletter.measure().normal_frailty.parameters["frailty_sd"]),
        weekend_block=round(_weekend(shop), 3),
        womens_share=three_digits(float(table["womens"].mean())),
        order_value=three_digits(math.exp(spend.customer_log_mean.value)),
        order_value_between=three_digits(spend.between_log_sd.value),
        order_value_within=three_digits(spend.within_log_sd.value),
    )
    return targets, constants


def _cadence(folder: Path) -> tuple[int, int, int]:
    """Days of inflow in the e-mail base, and days between bulk e-mails and between push broadcasts."""
    path = folder / rees46.FILE
    names = ("campaign_type", "message_channel", "topic", "date", "total_messages_sent")
    table = read_table(path, names, names[-1:])
    table = table.assign(date=read_days(path, table["date"], "%Y-%m-%d"))
    on_email = table["message_channel"] == "email"
    welcome = table[on_email & (table["topic"] == rees46.WELCOME)]
    span = (table["date"].max() - table["date"].min()).days + 1
    inflow = float(welcome["total_messages_sent"].sum()) / span
    bulk = table[table["campaign_type"] == "bulk"].groupby(["message_channel", "date"])["total_messages_sent"].sum()
    email, push = bulk["email"], bulk["mobile_push"]
    base = float(email.max())
    large = email[email >= rees46.LEAST_MESSAGES].index
    each = float(email.sum()) / base
    email_gap = round(((large.max() - large.min()).days + 1) / each)
    # Broadcasts to the full push base come first and are ten times larger than any later send.
    full = push[push >= push.max() / 2].index.sort_values()
    push_gap = round((full[-1] - full[0]).days / (len(full) - 1))
    return round(base / inflow), email_gap, push_gap


def _weekend(shop: rees46.Rees46) -> float:
    """Log block rate of trigger e-mails at weekends relative to weekdays."""
    days = shop.trigger_email_by_weekday
    rates = []
    for group in (rees46.WEEKDAYS[5:], rees46.WEEKDAYS[:5]):
        sent = sum(days[day].messages for day in group)
        rates.append(sum(days[day].block.value * days[day].messages for day in group) / sent)
    return math.log(rates[0] / rates[1])


def _orders_by_tenure(folder: Path) -> tuple[Floats, Floats]:
    """Orders (N,) of each customer in the year after the first order, and in the quarter after that."""
    path = folder / purchases.FILE
    table = read_table(path, purchases.COLUMNS, purchases.COLUMNS[-1:], whitespace_separated=True)
    table = table.assign(date=read_days(path, table["date"], "%Y%m%d")).drop_duplicates(["customer_id", "date"])
    customer = pd.factorize(table["customer_id"])[0]
    tenure = (table["date"] - table.groupby("customer_id")["date"].transform("min")).dt.days.to_numpy()
    count = int(customer.max()) + 1

    def orders(first: int, last: int) -> Floats:
        inside = (tenure >= first) & (tenure <= last)
        return np.bincount(customer[inside], minlength=count).astype(np.float64)

    return orders(1, YEAR), orders(YEAR + 1, YEAR + QUARTER)
