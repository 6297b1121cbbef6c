"""How often customers of a real shop come back, when they stop and what they spend: CDNOW, 1997.

Source: CDNOW data of Fader & Hardie: all purchases until June 1998 of the 23,570 customers who first bought
in early 1997. This file must never write its rows out, only the summaries below, and must never fit to
purchases after the calibration period: they are there to check the fit.

All purchases of a customer on one day are one order. Orders for nothing (80 of 67,591) count as orders but
have no log value. Time is in weeks, with rates per day beside. Nothing is known of messages these customers
may have got.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from calibration.purchase_models import (
    BgNbd,
    Floats,
    GammaGamma,
    RepeatHistory,
    SpendSpread,
    expected_purchases,
    fit_bg_nbd,
    fit_gamma_gamma,
    spend_spread,
)
from calibration.sources import (
    Estimate,
    Figure,
    Label,
    LogMoments,
    SourceError,
    figure,
    log_moments,
    normal_estimate,
    proportion,
    read_days,
    read_table,
)

FILE = "CDNOW_master.txt"
SOURCE = "CDNOW master data (Fader & Hardie), 1997-01 to 1998-06"
COLUMNS = ("customer_id", "date", "dollar_value")
CALIBRATION_END = pd.Timestamp(1997, 9, 30)  # 39 weeks from the first day; 39 more are held out
MOST_REPEATS = 7  # customers with more are counted together in the check


@dataclass(frozen=True)
class HoldOut:
    """Orders per customer after calibration, of those with so many `repeats` in it ("all", "0", ...)."""

    repeats: str
    customers: int
    observed: Estimate
    predicted: float


@dataclass(frozen=True)
class Purchases:
    """The shop in figures; `hold_out` has all customers first, then groups by the number of repeats.

    `order_value` is over orders, so that frequent buyers weigh more; `spend` tells customers apart.
    """

    customers: int
    repeat_share: Estimate
    bg_nbd: BgNbd
    gamma_gamma: GammaGamma
    order_value: LogMoments
    spend: SpendSpread
    hold_out_weeks: float
    hold_out_zero_share: Estimate
    hold_out: tuple[HoldOut, ...]


def measure(folder: Path) -> Purchases:
    """The record of this source, read in `folder`; `SourceError` where the file is missing or wrong."""
    orders = _read_orders(folder / FILE)
    early = orders[orders["date"] <= CALIBRATION_END]
    days = early.groupby("customer_id")["date"].agg(["min", "max", "size"])
    history = RepeatHistory(
        repeats=_floats(days["size"] - 1),
        recency=_floats((days["max"] - days["min"]).dt.days / 7),
        age=_floats((CALIBRATION_END - days["min"]).dt.days / 7),
    )
    model = fit_bg_nbd(history)
    later = orders[orders["date"] > CALIBRATION_END].groupby("customer_id")["date"].count()
    observed = _floats(later.reindex(days.index, fill_value=0))
    weeks = (orders["date"].max() - CALIBRATION_END).days / 7
    # To repeat orders, as the authors of gamma-gamma do: the first order is how a customer came to be one.
    repeats = early[early["date"] > early["customer_id"].map(days["min"])].groupby("customer_id")["value"]
    repeat_means, repeat_counts = _floats(repeats.mean()), _floats(repeats.count())
    paid = early[early["value"] > 0]
    values, owners = _floats(paid["value"]), pd.factorize(paid["customer_id"])[0]
    return Purchases(
        customers=len(days),
        repeat_share=proportion(float((history.repeats > 0).sum()), len(days)),
        bg_nbd=model,
        gamma_gamma=fit_gamma_gamma(repeat_counts[repeat_means > 0], repeat_means[repeat_means > 0]),
        order_value=log_moments(values),
        spend=spend_spread(values, owners),
        hold_out_weeks=weeks,
        hold_out_zero_share=proportion(float((observed == 0).sum()), len(days)),
        hold_out=_compared(history.repeats, observed, expected_purchases(model, history, weeks)),
    )


def _read_orders(path: Path) -> pd.DataFrame:
    """One row per customer and day: customer_id, date, value in dollars."""
    table = read_table(path, COLUMNS, ["dollar_value"], whitespace_separated=True)
    dates = read_days(path, table["date"], "%Y%m%d")
    if not dates.min() < CALIBRATION_END < dates.max():
        raise SourceError(
            f"{path}: column 'date' runs from {dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}; "
            f"expected days before and after the end of calibration, {CALIBRATION_END:%Y-%m-%d}"
        )
    by_day = table.assign(date=dates).groupby(["customer_id", "date"])["dollar_value"].sum()
    return by_day.rename("value").reset_index()


def _floats(column: "pd.Series[float] | pd.Series[int]") -> Floats:
    return np.asarray(column, dtype=np.float64)


def _compared(repeats: Floats, observed: Floats, predicted: Floats) -> tuple[HoldOut, ...]:
    groups = {"all": np.ones(repeats.size, dtype=bool)}
    groups |= {str(count): repeats == count for count in range(MOST_REPEATS)}
    groups[f"{MOST_REPEATS} or more"] = repeats >= MOST_REPEATS
    compared = []
    for name, members in groups.items():
        size = int(members.sum())
        if size >= 2:  # below that there is no standard error
            error = float(observed[members].std(ddof=1)) / size**0.5
            mean = normal_estimate(float(observed[members].mean()), error)
            compared.append(HoldOut(name, size, mean, float(predicted[members].mean())))
    return tuple(compared)


def figures(folder: Path) -> list[Figure]:
    """What a calibration card may show of this source; `SourceError` where the file is missing or wrong."""
    record = measure(folder)
    model, money, spend = record.bg_nbd, record.gamma_gamma, record.spend
    lines = [
        _line("customers", Estimate(record.customers), "customers", "FOUND"),
        _line("repeat buyers in 39 weeks", record.repeat_share, "share of customers", "FOUND"),
        _line("BG/NBD r", model.r, "dimensionless"),
        _line("BG/NBD alpha in weeks", model.alpha, "weeks"),
        _line("BG/NBD alpha in days", model.alpha_days, "days"),
        _line("BG/NBD a", model.a, "dimensionless"),
        _line("BG/NBD b", model.b, "dimensionless"),
        _line("order rate while active, mean per week", model.mean_rate_per_week, "orders per week"),
        _line("order rate while active, mean per day", model.mean_rate_per_day, "orders per day"),
        _line("order rate while active, coefficient of variation", model.rate_cv, "ratio"),
        _line("dropout after a repeat order, mean", model.mean_dropout, "probability"),
        _line("order value, log-mean over orders", record.order_value.log_mean, "log dollars", "FOUND"),
        _line("order value, log-sd over orders", record.order_value.log_sd, "log dollars", "FOUND"),
        _line("order value, log-mean over customers", spend.customer_log_mean, "log dollars"),
        _line("order value, log-sd between customers", spend.between_log_sd, "log dollars"),
        _line("order value, log-sd within a customer", spend.within_log_sd, "log dollars"),
        _line(
            "order value against number of orders, correlation of logs",
            spend.count_correlation,
            "correlation",
        ),
        _line("gamma-gamma p", money.p, "dimensionless"),
        _line("gamma-gamma q", money.q, "dimensionless"),
        _line("gamma-gamma gamma", money.gamma, "dollars"),
        _line(
            "customers without an order in the hold-out",
            record.hold_out_zero_share,
            "share of customers",
            "FOUND",
        ),
    ]
    unit = f"orders per customer in {record.hold_out_weeks:g} weeks"
    for group in record.hold_out:
        who = "all customers" if group.repeats == "all" else f"customers with {group.repeats} repeats"
        lines.append(_line(f"hold-out orders of {who}, observed", group.observed, unit, "FOUND"))
        lines.append(_line(f"hold-out orders of {who}, predicted", Estimate(group.predicted), unit))
    return lines


def _line(name: str, estimate: Estimate, unit: str, label: Label = "DERIVED") -> Figure:
    return figure(f"CDNOW {name}", estimate, unit, label, SOURCE)
