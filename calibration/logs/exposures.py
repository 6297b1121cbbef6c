"""One row for every delivered message: what the customer had been through before it, and what came after.

The basis of estimation. Nothing in a row's past comes from its own answer or from anything later, and a message that
is known to have failed is no exposure. This file must never fit anything.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from blockenv.scenarios.records import Name, Record
from calibration.logs.decay import Places, before, counts_before, decayed_sums, since
from calibration.logs.derived import derive
from calibration.logs.engine import MEMORY, listed, literal
from calibration.logs.log import Log
from calibration.logs.schema import LogError

TABLE = "exposures"
MESSAGE, OPEN, ORDER, BLOCK = 0, 1, 2, 3  # what happens at one moment happens in this order
_DAY = 86_400_000  # milliseconds

Events = dict[str, NDArray[Any]]


class ExposureSettings(Record):
    """With which memory the past is summed up, and for how long a message is followed by what is after it."""

    load_half_life: float = Field(default=7.0, gt=0, le=3650, description="days")
    long_half_life: float = Field(default=60.0, gt=0, le=3650, description="days, of the ..._weighted counts")
    whole_days: bool = Field(default=False, description="the past wears off at midnight, as in `blockenv`; else evenly")
    loads: dict[Name, float] = Field(default={}, description="channel -> load of a message; 1 where not given")
    attribution_days: float = Field(default=7.0, gt=0, le=365, description="orders within so many days are ..._after")


def derive_exposures(
    log: Log,
    settings: ExposureSettings | None = None,
    *,
    memory: str = MEMORY,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExposureSettings:
    """Make the table `exposures` of a log, unless it is there with the same settings, and tell the settings.

    Columns: customer, sent_at; day and tenure, days since the customer's first message and since joining; hour,
    weekday (0 is Monday), is_weekend; channel, slot, style, product, propensity. Then, of the time before:
    load_before and load_after, the worn-off loads without and with this message; channel_load_before, of messages
    on this channel alone; messages_, opens_, orders_, spend_weighted with the long half-life; messages_, opens_,
    orders_, spend_before since ever; messages_week and messages_month, in the last 7 and 28 days;
    days_since_message, _open, _order, null where there was none; was_blocked, this channel had been. The answer:
    opened (a click is an open as well), clicked, blocked. And of the time after: orders_after and spend_after within
    the attribution window, days_to_next null where no message follows, days_followed until the customer was no longer
    watched. Days are of 24 hours.

    Args:
        progress: called with the number of shards done and of all.

    Raises:
        LogError: a load of a channel that the log does not have.
    """
    settings = settings or ExposureSettings()
    channels = list(log.manifest.channels)
    unknown = sorted(set(settings.loads) - set(channels))
    if unknown:
        raise LogError(f"loads: {unknown} not among the channels {channels}")
    loads = np.array([settings.loads.get(channel, 1.0) for channel in channels])

    def write(connection: duckdb.DuckDBPyConnection, shard: int, path: Path) -> None:
        parts = {table: f"read_parquet({literal(log.path(table, shard))})" for table in _READ}
        events = connection.execute(_EVENTS.format(place=f"list_position({listed(channels)}, channel) - 1", **parts))
        arrays = {name: np.asarray(values) for name, values in events.fetchnumpy().items()}
        found = pd.DataFrame(history(arrays, loads, settings))
        connection.register("found", found)
        connection.execute(f"COPY ({_ROWS.format(**parts)}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")
        connection.unregister("found")

    derive(log, TABLE, settings, write, memory, threads, progress)
    return settings


def history(events: Events, loads: NDArray[np.float64], settings: ExposureSettings) -> Events:
    """Past and future of every message among the events of some customers.

    Args:
        events: (N,) arrays, by customer, time and kind: customer; at, milliseconds; kind, one of MESSAGE, OPEN, ORDER,
            BLOCK; channel, its place, 0 for orders; number, of the row; amount of orders, else 0.
        loads: (C,) of a message by channel.

    Returns:
        (M,) arrays of the M messages, with their `number`.
    """
    kind, customer, at = events["kind"], events["customer"], events["at"]
    channel, amount, first = events["channel"], events["amount"], _first(customer)
    days = (at - at[first]) / _DAY
    worn = np.asarray(at // _DAY - at[first] // _DAY, np.float64) if settings.whole_days else days
    is_, mail = {each: kind == each for each in (MESSAGE, OPEN, ORDER, BLOCK)}, np.flatnonzero(kind == MESSAGE)

    load = np.where(is_[MESSAGE], loads[np.where(is_[MESSAGE], channel, 0)], 0.0)[None]
    short = settings.load_half_life
    load_before = before(decayed_sums(load, worn, first, short), worn, first, short)
    sums = np.stack([is_[MESSAGE], is_[OPEN], is_[ORDER], np.where(is_[ORDER], amount, 0.0)]).astype(np.float64)
    long = settings.long_half_life
    weighted = before(decayed_sums(sums, worn, first, long), worn, first, long)
    plain = [counts_before(each, first) for each in sums]

    # The same, for each of a customer's channels as if it were a customer.
    by_channel = np.lexsort((np.arange(len(at)), np.where(is_[ORDER], -1, channel), customer))
    own_first = _first(customer[by_channel], np.where(is_[ORDER], -1, channel)[by_channel])
    own_days = worn[by_channel]
    own_sums = decayed_sums(load[:, by_channel], own_days, own_first, short)
    own_load, blocks_before = np.zeros(len(at)), np.zeros(len(at))
    own_load[by_channel] = before(own_sums, own_days, own_first, short)[0]
    blocks_before[by_channel] = counts_before(is_[BLOCK][by_channel].astype(np.float64), own_first)

    windows = _windows(customer, at, mail, np.flatnonzero(is_[ORDER]), amount, settings.attribution_days)
    day_one = _first(customer[mail])
    return {
        "number": events["number"][mail],
        "day": days[mail] - days[mail][day_one],
        "load_before": load_before[0, mail],
        "load_after": load_before[0, mail] + load[0, mail],
        "channel_load_before": own_load[mail],
        **{f"{name}_weighted": each[mail] for name, each in zip(_SUMMED, weighted, strict=True)},
        **{f"{name}_before": each[mail] for name, each in zip(_SUMMED, plain, strict=True)},
        **{f"days_since_{name}": since(is_[each], days, first)[mail] for name, each in _RECENT.items()},
        "was_blocked": blocks_before[mail] > 0,
        **windows,
    }


_SUMMED = ("messages", "opens", "orders", "spend")
_RECENT = {"message": MESSAGE, "open": OPEN, "order": ORDER}
_READ = ("messages", "orders", "customers", "blocks")


def _first(*groups: NDArray[Any]) -> Places:
    """(N,) the place of the first row of each row's group; rows of a group stand together."""
    begins = np.ones(len(groups[0]), bool)
    begins[1:] = np.logical_or.reduce([group[1:] != group[:-1] for group in groups])
    return np.asarray(np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0)))


def _windows(
    customer: NDArray[Any],
    at: NDArray[np.int64],
    mail: Places,
    bought: Places,
    amount: NDArray[np.float64],
    attribution_days: float,
) -> Events:
    """Messages shortly before each message, orders shortly after it, and the time to the next."""
    if not len(mail):
        return {name: np.zeros(0) for name in ("messages_week", "messages_month", *_AFTER, "days_to_next")}
    window = round(attribution_days * _DAY)
    place = np.cumsum(np.diff(customer, prepend=customer[0]) != 0)
    # One line of time for all, each customer's far enough from the next one's.
    line = place * (int(np.ptp(at)) + window + 1) + (at - at.min())
    sent, first = line[mail], _first(customer[mail])
    own = np.arange(len(mail))
    lately = {
        name: own - np.maximum(np.searchsorted(sent, sent - days * _DAY, side="left"), first)
        for name, days in (("messages_week", 7), ("messages_month", 28))
    }
    spent = np.concatenate([[0.0], np.cumsum(amount[bought])])
    begin = np.searchsorted(line[bought], sent, side="right")
    end = np.searchsorted(line[bought], sent + window, side="right")
    has_next = np.append(first[1:] == first[:-1], False)
    until = np.where(has_next, np.append(np.diff(sent), 0) / _DAY, np.nan)
    return {**lately, "orders_after": end - begin, "spend_after": spent[end] - spent[begin], "days_to_next": until}


_AFTER = ("orders_after", "spend_after")

_EVENTS = """
SELECT customer, epoch_ms("at") AS "at", kind, coalesce(place, 0) AS channel, number, amount FROM (
  SELECT customer, sent_at AS "at", 0 AS kind, {place} AS place, file_row_number AS number, 0.0 AS amount
    FROM {messages} WHERE delivered
  UNION ALL SELECT customer, coalesce(least(opened_at, clicked_at), sent_at), 1, {place}, file_row_number, 0.0
    FROM {messages} WHERE delivered AND (opened OR clicked)
  UNION ALL SELECT customer, "at", 2, 0, file_row_number, coalesce(amount, 0.0) FROM {orders}
  UNION ALL SELECT customer, "at", 3, {place}, file_row_number, 0.0 FROM {blocks}
) ORDER BY customer, "at", kind, number
"""

_ROWS = """
SELECT sent.customer, sent_at, day::FLOAT AS day,
  (epoch(sent_at - coalesce(joined_at, began)) / 86400)::FLOAT AS tenure,
  hour(sent_at)::TINYINT AS hour, (isodow(sent_at) - 1)::TINYINT AS weekday, isodow(sent_at) >= 6 AS is_weekend,
  channel, slot, style, product, propensity, load_before::FLOAT AS load_before, load_after::FLOAT AS load_after,
  channel_load_before::FLOAT AS channel_load_before, messages_weighted::FLOAT AS messages_weighted,
  opens_weighted::FLOAT AS opens_weighted, orders_weighted::FLOAT AS orders_weighted,
  spend_weighted::FLOAT AS spend_weighted, messages_before::INTEGER AS messages_before,
  opens_before::INTEGER AS opens_before, orders_before::INTEGER AS orders_before, spend_before::FLOAT AS spend_before,
  messages_week::INTEGER AS messages_week, messages_month::INTEGER AS messages_month,
  days_since_message::FLOAT AS days_since_message, days_since_open::FLOAT AS days_since_open,
  days_since_order::FLOAT AS days_since_order, was_blocked, opened OR clicked AS opened, clicked, blocked,
  orders_after::INTEGER AS orders_after, spend_after::FLOAT AS spend_after, days_to_next::FLOAT AS days_to_next,
  (epoch(observed_until - sent_at) / 86400)::FLOAT AS days_followed
FROM (SELECT *, file_row_number AS number, min(sent_at) OVER (PARTITION BY customer) AS began FROM {messages}) AS sent
JOIN found USING (number) JOIN {customers} AS people ON people.customer = sent.customer
ORDER BY sent.customer, sent_at, number
"""
