"""Second pass: right rows of each table brought together by customer, and cut into shards of whole customers.

A shard is a range of the hash of the customer's name, so that it is a random sample of customers and fits into
memory. This file must never judge a row.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from calibration.logs.engine import literal, quoted
from calibration.logs.manifest import Shard
from calibration.logs.partial import Partial
from calibration.logs.schema import TableName
from calibration.logs.staging import Staged

KINDS = ("channel", "slot", "style", "product")
Names = dict[str, dict[str, str]]  # kind -> name in the files -> name here
_SCRATCH = "(FORMAT parquet, COMPRESSION lz4)"
_FINAL = "(FORMAT parquet, COMPRESSION zstd)"
_HASHES = 2**64

# What a table looks like to the shards where the log has no file of it.
_EMPTY: dict[TableName, str] = {
    "messages": "",
    "orders": 'NULL::TIMESTAMP AS "at", NULL::DOUBLE AS amount, NULL::DOUBLE AS margin, NULL::DOUBLE AS discount',
    "customers": "NULL::TIMESTAMP AS joined_at, NULL::TIMESTAMP AS observed_until, NULL::DOUBLE AS send_probability",
    "blocks": 'NULL::TIMESTAMP AS "at", NULL::VARCHAR AS channel, NULL::VARCHAR AS message',
}


def sort(
    connection: duckdb.DuckDBPyConnection, half: Partial, table: TableName, staged: list[Staged], names: Names
) -> None:
    """Write the right rows of one table, once each, in the order of their customers' hashes."""
    step = f"sorted-{table}"
    if half.found(step) is not None:
        return
    path = literal(half.scratch / f"{step}.parquet")
    if not staged:
        nobody = "0::UBIGINT AS hashed, ''::VARCHAR AS customer, 0::SMALLINT AS file, 0::BIGINT AS row"
        connection.execute(f"COPY (SELECT {nobody}, {_EMPTY[table]} WHERE false) TO {path} {_SCRATCH}")
        half.finish(step, {})
        return
    rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {each.scan(half.scratch)} WHERE fault IS NULL" for each in staged)
    doubled = f"read_parquet({literal(half.scratch / f'doubled-{table}.parquet')})"
    kinds = [kind for kind in KINDS if table == "messages" or (table == "blocks" and kind == "channel")]
    drop = [name for name in ("fault", "value", "id" if table in ("messages", "orders") else "") if name]
    translated = ", ".join(f"{kind}_name.place AS {kind}" for kind in kinds)
    joins = "".join(f" JOIN {_places(kind, names)} AS {kind}_name ON {kind}_name.given = rows.{kind}" for kind in kinds)
    connection.execute(
        f"COPY (SELECT hash(customer) AS hashed, rows.* EXCLUDE ({', '.join([*drop, *kinds])})"
        f"{', ' + translated if kinds else ''} FROM ({rows}) AS rows{joins} "
        f"WHERE (file, row) NOT IN (SELECT (file, row) FROM {doubled}) ORDER BY hashed) TO {path} {_SCRATCH}"
    )
    half.finish(step, {})


def cut(
    connection: duckdb.DuckDBPyConnection,
    half: Partial,
    number: int,
    count: int,
    first: int,
    last: datetime,
    names: Names,
    has_blocks: bool,
) -> Shard:
    """Write the final files of shard `number` of `count`, whose customers are numbered from `first` on."""
    step = f"shard-{number}"
    facts: dict[str, Any] | None = half.found(step)
    if facts is None:
        files = {table: half.folder / table / f"part-{number:05}.parquet" for table in _EMPTY}
        for path in files.values():
            path.parent.mkdir(exist_ok=True)
        facts = _shard(connection, half, _between(number, count), first, last, names, has_blocks, files)
        half.finish(step, facts)
    return Shard(first_customer=first, **facts)


def _shard(
    connection: duckdb.DuckDBPyConnection,
    half: Partial,
    between: str,
    first: int,
    last: datetime,
    names: Names,
    has_blocks: bool,
    files: dict[TableName, Path],
) -> dict[str, int]:
    for table in files:
        scan = f"read_parquet({literal(half.scratch / f'sorted-{table}.parquet')})"
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW own_{table} AS SELECT * EXCLUDE (hashed) FROM {scan} WHERE {between}"
        )
    everybody = " UNION ".join(f"SELECT customer FROM own_{table}" for table in files)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE people AS SELECT {first} + row_number() OVER (ORDER BY customer) - 1 AS number, "
        f"customer AS name FROM ({everybody})"
    )

    def write(table: TableName, select: str, order: str) -> int:
        query = f"SELECT {select} FROM own_{table} JOIN people ON name = own_{table}.customer ORDER BY {order}"
        return _write(connection, query, files[table])

    named = ", ".join(f"{_given(kind, names)}[own_messages.{kind}] AS {kind}" for kind in KINDS)
    source = "file AS source_file, row AS source_row"
    messages = write(
        "messages",
        f"number AS customer, sent_at, {named}, delivered, opened, opened_at, clicked, clicked_at, blocked, blocked_at, "
        f"propensity, {source}",
        "number, sent_at, file, row",
    )
    orders = write("orders", f'number AS customer, "at", amount, margin, discount, {source}', 'number, "at", file, row')
    if has_blocks:
        channel = f"{_given('channel', names)}[own_blocks.channel]"
        by_message = "message IS NOT NULL AS by_message"
        write(
            "blocks",
            f'number AS customer, "at", {channel} AS channel, {by_message}',
            'number, "at", own_blocks.channel',
        )
    else:
        blocked = (
            'SELECT customer, coalesce(blocked_at, sent_at) AS "at", channel, true AS by_message '
            f"FROM read_parquet({literal(files['messages'])}) WHERE blocked ORDER BY ALL"
        )
        _write(connection, blocked, files["blocks"])
    until = f"coalesce(observed_until, TIMESTAMP {literal(last.isoformat())}) AS observed_until"
    people = (
        f"SELECT number AS customer, name, joined_at, {until}, own.* EXCLUDE (customer, joined_at, observed_until, file, row) "
        "FROM people LEFT JOIN own_customers AS own ON own.customer = name ORDER BY number"
    )
    customers = _write(connection, people, files["customers"])
    return {"customers": customers, "messages": messages, "orders": orders}


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    ((rows,),) = connection.execute(f"COPY ({query}) TO {literal(path)} {_FINAL}").fetchall()
    return int(rows)


def _between(number: int, count: int) -> str:
    width = -(-_HASHES // count)
    above = "" if number == count - 1 else f" AND hashed < {(number + 1) * width}::UBIGINT"
    return f"hashed >= {number * width}::UBIGINT{above}"


def listing(kind: str, names: Names) -> list[str]:
    """The names here of one kind, in the order of their places."""
    return sorted(set(names[kind].values()))


def _places(kind: str, names: Names) -> str:
    """The places of names, for rows that are sorted to carry a small number instead of a text."""
    order = listing(kind, names)
    rows = ", ".join(f"({literal(given)}, {order.index(name) + 1})" for given, name in names[kind].items())
    return f"(SELECT * FROM (VALUES {rows}) AS named(given, place))"


def _given(kind: str, names: Names) -> str:
    return "[" + ", ".join(literal(name) for name in listing(kind, names)) + "]"


def distinct(connection: duckdb.DuckDBPyConnection, scratch: Path, staged: list[Staged], kind: str) -> set[str]:
    """The different values of one kind in the right rows of these files."""
    rows = " UNION ALL ".join(
        f"SELECT {quoted(kind)} AS value FROM {each.scan(scratch)} WHERE fault IS NULL" for each in staged
    )
    return {value for (value,) in connection.execute(f"SELECT DISTINCT value FROM ({rows}) LIMIT 100000").fetchall()}
