"""The files a log comes in: Parquet or CSV, found, looked into, and offered to the database as numbered rows.

This file must never judge a value; it only says which columns there are and where a row stands in its file.
"""

import csv
import difflib
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from calibration.logs.engine import FILE_ERRORS, listed, literal, quoted, told
from calibration.logs.schema import MISSING_WORDS, LogError

PARQUET, TEXT = (".parquet", ".pq"), (".csv", ".tsv", ".txt")
DELIMITERS = ",;\t|"
_LENIENT = ", store_rejects = true"


class Column(NamedTuple):
    """A column as SQL names it, and the database's type."""

    sql: str
    type: str


class Source(NamedTuple):
    """One file of a table."""

    path: Path
    columns: dict[str, Column]  # by the name in the file
    scan: str  # what SQL reads it with; malformed lines of a text are set aside, see `keep_malformed`
    number: str  # SQL of the row's number in the file, from 1; malformed rows are not counted
    is_text: bool

    @property
    def strict(self) -> str:
        """What SQL reads it with if malformed lines are to be errors."""
        return self.scan.replace(_LENIENT, "")


Paths = str | Path | Sequence[str | Path]


def find(paths: Paths) -> list[Path]:
    """The files meant by a file, a folder of files, or a list of these, folders sorted by name.

    Raises:
        LogError: nothing there, or a file of another kind.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[Path] = []
    for each in map(Path, given):
        inside = [path for path in sorted(each.rglob("*")) if _kind(path)] if each.is_dir() else [each]
        if not inside or not inside[0].is_file():
            raise LogError(f"{each}: no such file, or a folder without {', '.join((*PARQUET, *TEXT))} files")
        found += inside
    for path in found:
        if not _kind(path):
            raise LogError(f"{path}: expected one of {', '.join((*PARQUET, *TEXT))}, text also with .gz")
    doubled = sorted({str(path) for path in found if found.count(path) > 1})
    if doubled:
        raise LogError(f"{doubled[0]}: named twice")
    return found


def look(connection: duckdb.DuckDBPyConnection, path: Path) -> Source:
    """Learn the columns of a file.

    Raises:
        LogError: the file is empty, no table, or has two columns of one name.
    """
    if path.stat().st_size == 0:
        raise LogError(f"{path}: is empty")
    return _text(path) if _kind(path) == "text" else _parquet(connection, path)


def missing_column(source: Source, wanted: str, field: str) -> LogError:
    """The error that a column is not there, with the names that come close."""
    close = difflib.get_close_matches(wanted, source.columns, n=3, cutoff=0.6)
    close = close or [name for name in source.columns if name.lower() == wanted.lower()]
    hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
    return LogError(
        f"{source.path}: column {wanted!r} for the field {field!r} is missing{hint} "
        f"(found {', '.join(source.columns)}; other names go into the mapping file)"
    )


def keep_malformed(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Write the lines that the last scan of a text could not split to `path`, as (row, value); how many.

    `row` counts all rows below the header, malformed ones included.
    """
    connection.execute(
        "COPY (SELECT line - 1 AS row, any_value(csv_line) AS value FROM reject_errors GROUP BY line ORDER BY line) "
        f"TO {literal(path)} (FORMAT parquet)"
    )
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
    ((count,),) = connection.execute(f"SELECT count(*) FROM read_parquet({literal(path)})").fetchall()
    return int(count)


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] == [".gz"]:
        return "text" if suffixes[0] in TEXT else ""
    last = "".join(suffixes[-1:])
    return "parquet" if last in PARQUET else "text" if last in TEXT else ""


def _parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> Source:
    scan = f"read_parquet({literal(path)}, hive_partitioning = false)"
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
        ((count,),) = connection.execute(f"SELECT count(*) FROM {scan}").fetchall()
    except FILE_ERRORS as error:
        raise LogError(f"{path}: cannot be read as Parquet ({told(error)})") from error
    if not count:
        raise LogError(f"{path}: has no rows")
    columns = {name: Column(quoted(name), kind) for name, kind, *_ in rows}
    return Source(path, columns, scan, "file_row_number + 1", is_text=False)


def _text(path: Path) -> Source:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            header, second = file.readline(), file.read(1)
        first = header.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise LogError(f"{path}: cannot be read as text ({error})") from error
    delimiter = max(DELIMITERS, key=first.count)
    names = next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter), [])
    if not any(names):
        raise LogError(f"{path}: has no header line")
    if not second:
        raise LogError(f"{path}: has no rows below the header {', '.join(names)}")
    _refuse_doubled(path, names)
    # Named by place: names that differ in case alone are one to the database.
    places = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(names)))
    scan = (
        f"read_csv({literal(path)}, auto_detect = false, header = true, columns = {{{places}}}, "
        f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', nullstr = {listed(MISSING_WORDS)}"
        f"{_LENIENT})"
    )
    columns = {name: Column(f"c{place}", "VARCHAR") for place, name in enumerate(names)}
    return Source(path, columns, scan, "row_number() OVER ()", is_text=True)


def _refuse_doubled(path: Path, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise LogError(f"{path}: column {name!r} stands twice in the header")
        seen.add(name)
