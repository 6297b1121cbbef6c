"""One row for every customer: recency, frequency and money, tenure, messages and what was done about them.

Sums of what the log holds, up to the end of each customer's watch. This file must never score or group customers.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb

from blockenv.scenarios.records import Record
from calibration.logs.derived import derive
from calibration.logs.engine import MEMORY, literal
from calibration.logs.log import Log

TABLE = "profiles"


class _NoSettings(Record):
    """There are none."""


def derive_profiles(
    log: Log,
    *,
    memory: str = MEMORY,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make the table `profiles` of a log, unless it is there.

    Columns: customer; began_at, joining or else the first event, observed_until, and the tenure between, days;
    messages delivered and failed, opens (a click is an open as well), clicks; first_message_at, last_message_at;
    blocks and first_block_at; orders, spend, margin, first_order_at, last_order_at; recency, days from the last order
    to the end of the watch, null without orders; monetary, mean amount of an order. For models of purchase processes:
    repeats, days with an order after the first such day; repeat_days from the first to the last of them; and
    order_days_watched from the first to the end of the watch, all null without orders.

    Args:
        progress: called with the number of shards done and of all.
    """

    def write(connection: duckdb.DuckDBPyConnection, shard: int, path: Path) -> None:
        tables = ("messages", "orders", "customers", "blocks")
        parts = {table: f"read_parquet({literal(log.path(table, shard))})" for table in tables}
        connection.execute(f"COPY ({_ROWS.format(**parts)}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")

    derive(log, TABLE, _NoSettings(), write, memory, threads, progress)


_ROWS = """
WITH sent AS (
  SELECT customer, count(*) FILTER (delivered) AS messages, count(*) FILTER (NOT delivered) AS failed,
    count(*) FILTER (opened OR clicked) AS opens, count(*) FILTER (clicked) AS clicks,
    min(sent_at) AS first_message_at, max(sent_at) AS last_message_at
  FROM {messages} GROUP BY customer
), bought AS (
  SELECT customer, count(*) AS orders, sum(amount) AS spend, sum(margin) AS margin, min("at") AS first_order_at,
    max("at") AS last_order_at, count(DISTINCT CAST("at" AS DATE)) - 1 AS repeats
  FROM {orders} GROUP BY customer
), lost AS (
  SELECT customer, count(*) AS blocks, min("at") AS first_block_at FROM {blocks} GROUP BY customer
), dated AS (
  SELECT people.customer, observed_until, sent.* EXCLUDE (customer), lost.* EXCLUDE (customer),
    bought.* EXCLUDE (customer), coalesce(joined_at, least(first_message_at, first_order_at, first_block_at)) AS began_at
  FROM {customers} AS people LEFT JOIN sent USING (customer) LEFT JOIN bought USING (customer)
    LEFT JOIN lost USING (customer)
)
SELECT customer, began_at, observed_until, epoch(observed_until - began_at) / 86400 AS tenure,
  coalesce(messages, 0) AS messages, coalesce(failed, 0) AS failed, coalesce(opens, 0) AS opens,
  coalesce(clicks, 0) AS clicks, first_message_at, last_message_at, coalesce(blocks, 0) AS blocks, first_block_at,
  coalesce(orders, 0) AS orders, coalesce(spend, 0.0) AS spend, CASE WHEN orders IS NULL THEN 0.0 ELSE margin END AS margin,
  first_order_at, last_order_at, epoch(observed_until - last_order_at) / 86400 AS recency, spend / orders AS monetary,
  repeats, date_diff('day', first_order_at, last_order_at) AS repeat_days,
  date_diff('day', first_order_at, observed_until) AS order_days_watched
FROM dated ORDER BY customer
"""
