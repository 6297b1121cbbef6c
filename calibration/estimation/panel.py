"""A message log as arrays by customer and day: what was sent, what the load was then, and what the customer did.

The basis of every estimate. This file must never fit anything, and never read a truth file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from blockenv.scenarios import SCENARIOS, Channel
from calibration.estimation.people import Covariates, column, opted_in, people_columns, standardised
from calibration.logs.exposures import ExposureSettings, derive_exposures
from calibration.logs.log import Log
from calibration.logs.profiles import derive_profiles
from calibration.logs.schema import LogError

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Bools = NDArray[np.bool_]

CANON = SCENARIOS["Omnichannel-v0"]  # where what a log cannot tell is taken from
MOST_CUSTOMERS = 20_000
_COLUMNS = (
    "customer",
    "sent_at",
    "channel",
    "slot",
    "style",
    "product",
    "propensity",
    "is_weekend",
    "hour",
    "weekday",
    "load_after",
    "load_before",
    "opened",
    "blocked",
)


@dataclass(frozen=True)
class Panel:
    """M delivered messages to N customers who were watched for at most D days; rows stand by customer and time.

    `customer` to `blocked` are (M,); `watched` (N,) days; `opted_in` (N, C); `hints` (N, S) standardised covariates,
    named in `covariates`; orders one by one in `order_...`, blocks in `block_...`; `send_probability` (N,), NaN
    where it is not known. Names are those of the log.
    """

    channels: tuple[str, ...]
    slots: tuple[str, ...]
    styles: tuple[str, ...]
    products: tuple[str, ...]
    names: NDArray[Any]
    watched: Places
    opted_in: Bools
    hints: Floats
    covariates: Covariates
    send_probability: Floats
    customer: Places
    day: Places
    channel: Places
    slot: Places
    style: Places
    product: Places
    hour: Places
    weekday: Places
    weekend: Floats
    load_before: Floats
    load_after: Floats
    opened: Bools
    blocked: Bools
    propensity: Floats
    order_customer: Places
    order_day: Places
    order_amount: Floats
    order_margin: Floats
    order_discount: Floats
    block_customer: Places
    block_day: Places
    block_channel: Places
    block_by_message: Bools

    @property
    def size(self) -> int:
        """Customers."""
        return len(self.watched)

    @property
    def days(self) -> int:
        """The longest watch, days."""
        return int(self.watched.max())

    def by_day(self, customer: Places, day: Places, weight: Floats | Bools | None = None) -> Floats:
        """(N, D) sums of events."""
        cells = customer * self.days + np.clip(day, 0, self.days - 1)
        sums = np.bincount(cells, None if weight is None else weight.astype(np.float64), self.size * self.days)
        return np.asarray(sums, np.float64).reshape(self.size, self.days)

    def last_sign(self) -> Places:
        """(N,) the last day on which the customer opened, ordered or blocked anything; 0 where never."""
        last = np.zeros(self.size, np.int64)
        signs = (
            (self.customer[self.opened], self.day[self.opened]),
            (self.order_customer, self.order_day),
            (self.block_customer, self.block_day),
        )
        for customer, day in signs:
            np.maximum.at(last, customer, day)
        return np.minimum(last, self.watched - 1)


def loads_of(channels: Sequence[str]) -> dict[str, float]:
    """Channel -> load of a message: the canon's where it has the channel, else 1. A log cannot tell them."""
    return {name: canon_channel(name).load if canon_channel(name).name == name else 1.0 for name in channels}


def canon_channel(name: str) -> Channel:
    """The canon's channel of this name, or its e-mail for one it does not have."""
    by_name = {channel.name: channel for channel in CANON.channels}
    return by_name.get(name, by_name["email"])


def read_panel(log: Log, most_customers: int = MOST_CUSTOMERS) -> Panel:
    """The first shards of a log, a random sample of customers, as arrays; derived tables are made where missing.

    Args:
        most_customers: about; whole shards are read, and the rest of the last one is left out.

    Raises:
        LogError: fewer than 100 customers were written to.
    """
    manifest = log.manifest
    settings = ExposureSettings(
        load_half_life=CANON.fatigue.half_life, whole_days=True, loads=loads_of(manifest.channels)
    )
    derive_exposures(log, settings)
    derive_profiles(log)
    shards, known = [], 0
    for number, shard in enumerate(manifest.shards):
        if known < most_customers:
            shards.append(number)
            known += shard.customers
    profiles = log.frame("profiles", ["customer", "began_at", "observed_until", "messages"], shards)
    profiles = profiles[profiles["messages"] > 0].head(most_customers).reset_index(drop=True)
    if len(profiles) < 100:
        raise LogError(f"messages: {len(profiles)} customers were written to; expected at least 100 to estimate from")
    place = pd.Series(np.arange(len(profiles)), index=profiles["customer"])
    began = profiles["began_at"].dt.normalize().to_numpy()
    watched = (profiles["observed_until"].to_numpy() - began) / np.timedelta64(1, "D")
    days = np.maximum(np.ceil(watched), 1).astype(np.int64)

    def rows(table: str, columns: list[str]) -> pd.DataFrame:
        found = log.frame(table, columns, shards)
        return found[found["customer"].isin(place.index)]

    def who(found: pd.DataFrame) -> Places:
        return np.asarray(place.loc[found["customer"]], np.int64)

    def since(found: pd.DataFrame, column: str, customer: Places) -> Places:
        passed = np.asarray(
            (found[column].dt.normalize().to_numpy() - began[customer]) / np.timedelta64(1, "D"), np.int64
        )
        return np.clip(passed, 0, days[customer] - 1)

    sent = rows("exposures", list(_COLUMNS))
    orders = rows("orders", _present(log, "orders", ["customer", "at", "amount", "margin", "discount"]))
    lost = rows("blocks", ["customer", "at", "channel", "by_message"])
    people = rows("customers", _present(log, "customers", people_columns(log.manifest))).set_index("customer")
    people = people.reindex(profiles["customer"])
    hints, covariates = standardised(people, manifest.covariates)
    customer, order_customer, block_customer = who(sent), who(orders), who(lost)
    amount = orders["amount"].fillna(0.0).to_numpy(np.float64)
    return Panel(
        channels=manifest.channels,
        slots=manifest.slots,
        styles=manifest.styles,
        products=manifest.products,
        names=people["name"].to_numpy(),
        watched=days,
        opted_in=opted_in(people, manifest.channels, _codes(sent["channel"]), customer),
        hints=hints,
        covariates=covariates,
        send_probability=column(people, "send_probability"),
        customer=customer,
        day=since(sent, "sent_at", customer),
        channel=_codes(sent["channel"]),
        slot=_codes(sent["slot"]),
        style=_codes(sent["style"]),
        product=_codes(sent["product"]),
        hour=sent["hour"].to_numpy(np.int64),
        weekday=sent["weekday"].to_numpy(np.int64),
        weekend=sent["is_weekend"].to_numpy(np.float64),
        load_before=sent["load_before"].to_numpy(np.float64),
        load_after=sent["load_after"].to_numpy(np.float64),
        opened=sent["opened"].fillna(False).to_numpy(bool),
        blocked=sent["blocked"].fillna(False).to_numpy(bool),
        propensity=sent["propensity"].to_numpy(np.float64),
        order_customer=order_customer,
        order_day=since(orders, "at", order_customer),
        order_amount=amount,
        order_margin=column(orders, "margin"),
        order_discount=np.nan_to_num(column(orders, "discount")),
        block_customer=block_customer,
        block_day=since(lost, "at", block_customer),
        block_channel=_codes(lost["channel"]),
        block_by_message=lost["by_message"].fillna(False).to_numpy(bool),
    )


def _present(log: Log, table: str, columns: list[str]) -> list[str]:
    """Those of the columns that the table has."""
    with log.connect() as connection:
        there = set(connection.view(table).columns)
    return [column for column in columns if column in there]


def _codes(column: "pd.Series[Any]") -> Places:
    """Places among the log's names."""
    return np.asarray(column.cat.codes, np.int64)
