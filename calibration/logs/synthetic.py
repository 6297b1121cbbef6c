"""Large message logs made of nothing, to measure how reading them grows with their size.

Rows look like a firm's, a few of them wrong in every common way; nothing in them follows any model, so that this file
must never be used for estimation.
"""

from pathlib import Path

from calibration.logs.engine import engine, literal
from calibration.logs.schema import LogError

MESSAGES_EACH = 50  # a customer
ORDERS_SHARE = 20  # messages an order
WRONG_SHARE = 1000  # rows a wrong row
SUFFIXES = {
    "parquet": "(FORMAT parquet)",
    "csv": "(FORMAT csv, HEADER)",
    "csv.gz": "(FORMAT csv, HEADER, COMPRESSION gzip)",
}


def synthesise(folder: Path, rows: int, suffix: str = "csv", threads: int | None = None) -> tuple[Path, Path]:
    """Write `rows` messages, and orders, into `folder`; the paths of the two files.

    Raises:
        LogError: no rows, or a format that is not written.
    """
    if rows < 1 or suffix not in SUFFIXES:
        raise LogError(f"rows {rows}, format {suffix!r}: expected at least 1, and one of {', '.join(SUFFIXES)}")
    folder.mkdir(parents=True, exist_ok=True)
    messages, orders = folder / f"messages.{suffix}", folder / f"orders.{suffix}"
    with engine(threads=threads, spill=folder / "spill") as connection:
        for path, query in ((messages, _MESSAGES), (orders, _ORDERS)):
            text = query.format(
                rows=rows, orders=max(rows // ORDERS_SHARE, 1), people=max(rows // MESSAGES_EACH, 1), wrong=WRONG_SHARE
            )
            connection.execute(f"COPY ({text}) TO {literal(path)} {SUFFIXES[suffix]}")
    return messages, orders


_MESSAGES = """
SELECT CASE WHEN number % {wrong} <> 1 THEN 'customer-' || hash(number * 7 + 1) % {people} END AS customer,
  CASE WHEN number % {wrong} = 2 THEN 'the same' ELSE md5(number::VARCHAR) END AS id,
  CASE WHEN number % {wrong} = 3 THEN 'yesterday' ELSE strftime(sent, '%Y-%m-%d %H:%M:%S') END AS sent_at,
  CASE WHEN number % {wrong} = 4 THEN NULL ELSE ['push', 'email', 'sms'][(hash(number + 3) % 3)::INTEGER + 1] END
    AS channel,
  ['morning', 'noon', 'evening'][(hash(number + 4) % 3)::INTEGER + 1] AS slot,
  ['promo', 'info'][(hash(number + 5) % 2)::INTEGER + 1] AS style,
  ['shoes', 'coats', 'hats'][(hash(number + 6) % 3)::INTEGER + 1] AS product, hash(number + 7) % 100 > 1 AS delivered,
  CASE WHEN hash(number + 7) % 100 > 85 THEN sent + to_seconds(600) END AS opened_at,
  CASE WHEN hash(number + 8) % 300 = 0 THEN sent + to_seconds(CASE number % 10 WHEN 5 THEN -900 ELSE 900 END) END
    AS blocked_at
FROM (SELECT range AS number, TIMESTAMP '2021-01-01' + to_seconds((hash(range) % 31536000)::BIGINT) AS sent
  FROM range({rows}))
"""

_ORDERS = """
SELECT 'customer-' || hash(range * 11 + 5) % {people} AS customer, md5(range::VARCHAR) AS id,
  TIMESTAMP '2021-01-01' + to_seconds((hash(range + 9) % 31536000)::BIGINT) AS "at",
  CASE WHEN range % {wrong} = 1 THEN -1 ELSE 1 END * (10 + hash(range + 1) % 9000 / 100.0) AS amount,
  3 + hash(range + 2) % 3000 / 100.0 AS margin
FROM range({orders})
"""
