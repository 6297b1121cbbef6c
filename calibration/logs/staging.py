"""First pass over the files of a log: every row typed and judged, on disk, before anything is left out.

This file must never lose a row: what is staged and what is malformed together are all rows of a file.
"""

import hashlib
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from calibration.logs import files, schema
from calibration.logs.engine import FILE_ERRORS, literal, told
from calibration.logs.files import Source
from calibration.logs.mapping import Mapping
from calibration.logs.parsing import parse
from calibration.logs.partial import Partial
from calibration.logs.schema import LogError, Reason, TableName

_PARQUET = "(FORMAT parquet, COMPRESSION lz4)"


class Staged(NamedTuple):
    """A file after the first pass."""

    table: TableName
    number: int  # of the file, in the order given, over all tables
    path: str
    bytes: int
    sha256: str
    rows: int
    passed_over: int
    malformed: int
    reasons: list[Reason]
    has_id: bool

    def scan(self, scratch: Path) -> str:
        """What SQL reads the typed rows with."""
        return f"read_parquet({literal(scratch / f'stage-{self.number}.parquet')})"


def stage(
    connection: duckdb.DuckDBPyConnection,
    half: Partial,
    table: TableName,
    number: int,
    path: Path,
    mapping: Mapping,
    latest: date,
) -> Staged:
    """Type and judge the rows of one file, unless that was done before."""
    step = f"stage-{number}"
    facts: dict[str, Any] | None = half.found(step)
    if facts is None:
        source = files.look(connection, path)
        lookup = _lookup(connection, mapping) if table == "messages" else None
        parsed = parse(table, source, mapping, latest, lookup)
        done, before = half.scratch / f"{step}.parquet", half.scratch / f"{step}.unnumbered.parquet"
        # The numbers of a text's rows are counted as they come; those of Parquet stand in the file.
        connection.execute(f"SET preserve_insertion_order = {str(source.is_text).lower()}")
        try:
            connection.execute(
                f"COPY (SELECT {number} AS file, * FROM ({parsed.query})) TO {literal(before)} {_PARQUET}"
            )
        except FILE_ERRORS as error:
            raise LogError(f"{path}: cannot be read ({told(error)})") from error
        malformed, lines = 0, half.scratch / f"malformed-{number}.parquet"
        if source.is_text:
            malformed = files.keep_malformed(connection, lines)
        if malformed:
            _renumber(connection, before, lines, done)
        else:
            before.replace(done)
        rows = staged = _count(connection, f"read_parquet({literal(done)})")
        if table == "orders" and mapping.orders.where is not None:
            # Only a count of all rows tells how many were passed over.
            rows = _count(connection, source.scan)
            if source.is_text:
                files.keep_malformed(connection, lines)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts = {
            "rows": rows + malformed,
            "passed_over": rows - staged,
            "malformed": malformed,
            "sha256": digest,
            "bytes": path.stat().st_size,
            "reasons": parsed.reasons,
            "has_id": parsed.has_id,
        }
        half.finish(step, facts)
    reasons = [Reason(*each) for each in facts["reasons"]]
    return Staged(table=table, number=number, path=str(path), **(facts | {"reasons": reasons}))


def _count(connection: duckdb.DuckDBPyConnection, scan: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {scan}").fetchall()
    return int(count)


def _renumber(connection: duckdb.DuckDBPyConnection, before: Path, malformed: Path, after: Path) -> None:
    """Add to each row's number the malformed rows above it, which the scan did not count."""
    connection.execute(
        "COPY (SELECT staged.* REPLACE (staged.row + coalesce(above.place, 0) AS row) "
        f"FROM read_parquet({literal(before)}) AS staged ASOF LEFT JOIN ("
        "SELECT place, row - place AS good FROM (SELECT row, row_number() OVER (ORDER BY row) AS place "
        f"FROM read_parquet({literal(malformed)}))) AS above ON staged.row > above.good) TO {literal(after)} {_PARQUET}"
    )
    before.unlink()


def _lookup(connection: duckdb.DuckDBPyConnection, mapping: Mapping) -> Source | None:
    table = mapping.messages.lookup
    if table is None:
        return None
    path = Path(table.file)
    if not path.is_file():
        raise LogError(f"messages.lookup.file: {path} is no file")
    lookup = files.look(connection, path)
    for there in table.match.values():
        if there not in lookup.columns:
            raise files.missing_column(lookup, there, "lookup.match")
    keys = ", ".join(lookup.columns[there].sql for there in table.match.values())
    query = f"SELECT {keys} FROM {lookup.strict} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
    try:
        doubled = connection.execute(query).fetchone()
    except FILE_ERRORS as error:
        raise LogError(f"{path}: cannot be read ({told(error)})") from error
    if doubled is not None:
        raise LogError(
            f"{path}: {' = '.join([', '.join(table.match.values()), ', '.join(map(str, doubled))])} stands twice"
        )
    return lookup


def malformed_scan(staged: list[Staged], scratch: Path) -> str | None:
    """What SQL reads the malformed lines of all files with, as (file, row, value); None where there are none."""
    parts = [
        f"SELECT {each.number} AS file, row, value FROM read_parquet({literal(scratch / f'malformed-{each.number}.parquet')})"
        for each in staged
        if each.malformed
    ]
    return " UNION ALL ".join(parts) or None


def duplicates(connection: duckdb.DuckDBPyConnection, half: Partial, staged: list[Staged], mapping: Mapping) -> None:
    """Write which right rows of one table repeat an earlier one to `doubled-TABLE.parquet` (file, row, value)."""
    table = staged[0].table
    if half.found(f"doubled-{table}") is not None:
        return
    rows = " UNION ALL BY NAME ".join(f"SELECT * FROM {each.scan(half.scratch)} WHERE fault IS NULL" for each in staged)
    key = repeat_key(staged, mapping)
    path = half.scratch / f"doubled-{table}.parquet"
    if key is None:
        connection.execute(
            f"COPY (SELECT file, row, '' AS value FROM ({rows}) WHERE false) TO {literal(path)} {_PARQUET}"
        )
    else:
        # Two passes: few hashes are doubled, so that whole keys need to be compared among few rows only.
        seen = f"SELECT hash({key}) AS hashed FROM ({rows}) WHERE {key} IS NOT NULL"
        twice = f"SELECT hashed FROM ({seen}) GROUP BY hashed HAVING count(*) > 1"
        again = f"row_number() OVER (PARTITION BY {key} ORDER BY file, row)"
        connection.execute(
            f"COPY (SELECT file, row, value FROM (SELECT file, row, CAST({key} AS VARCHAR) AS value, {again} AS place "
            f"FROM ({rows}) WHERE {key} IS NOT NULL AND hash({key}) IN ({twice})) WHERE place > 1) "
            f"TO {literal(path)} {_PARQUET}"
        )
    half.finish(f"doubled-{table}", {})


def repeat_key(staged: list[Staged], mapping: Mapping) -> str | None:
    """By what a table's rows are known to be repeated, as SQL; None where they may be."""
    table = staged[0].table
    if table == "customers":
        return "customer"
    if any(each.has_id for each in staged):
        return "id"
    if mapping.keep_repeated:
        return None
    return f"row({', '.join(_SAME[table])})"


def repeat_reason(staged: list[Staged]) -> Reason:
    """What a repeated row of a table is called in the list of rejects."""
    if staged[0].table == "customers":
        return Reason(schema.DUPLICATE, "customer")
    return Reason(schema.DUPLICATE, "id") if any(each.has_id for each in staged) else Reason(schema.REPEATED, "")


_SAME: dict[TableName, tuple[str, ...]] = {
    "messages": ("customer", "sent_at", "channel", "slot", "style", "product"),
    "orders": ("customer", '"at"', "amount", "margin", "discount"),
    "blocks": ("customer", '"at"', "channel"),
}
