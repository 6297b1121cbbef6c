"""Read a firm's message log into a tidy folder: typed, checked, sorted by customer, in shards, with a manifest.

The folder appears whole or not at all; what a kill leaves behind is gone on with by the next call. A row that cannot
be right is never dropped silently: it stands in `rejects.csv` with its file, row number and reason.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from calibration.logs import manifest, schema
from calibration.logs.engine import MEMORY, engine, listed, literal
from calibration.logs.files import Paths, find
from calibration.logs.manifest import Input, Manifest, Rejected, Shard, Table
from calibration.logs.mapping import Mapping, load
from calibration.logs.names import renamed, tidy_names
from calibration.logs.partial import Partial, partial, write_whole
from calibration.logs.schema import LogError, TableName
from calibration.logs.sorting import KINDS, Names, cut, distinct, listing, sort
from calibration.logs.staging import Staged, duplicates, malformed_scan, repeat_reason, stage

SHARD_ROWS = 1_000_000
MOST_SHARDS = 1000
REJECTS = "rejects.csv"
Progress = Callable[[str, int, int], None]  # what is begun, steps done, steps known of


def ingest(
    out: str | Path,
    messages: Paths,
    orders: Paths | None = None,
    customers: Paths | None = None,
    blocks: Paths | None = None,
    mapping: Mapping | str | Path | None = None,
    *,
    memory: str = MEMORY,
    threads: int | None = None,
    shard_rows: int = SHARD_ROWS,
    progress: Progress | None = None,
) -> Manifest:
    """Make the folder `out` of a log in Parquet or CSV files.

    Args:
        out: must not exist; but if it holds this very log already, its manifest is returned.
        messages, orders, customers, blocks: a file, a folder of files, or a list of these. Without `orders` there are
            none; without `blocks` they are those of the messages.
        mapping: other names for columns and channels, time zone and slots; or the file that says so.
        memory: limit of the database, the rest is spilled beside `out`.
        threads: all cores if not given.
        shard_rows: messages and orders in a shard, about.

    Raises:
        LogError: a file, column or value that cannot be used; the message names it.
        OSError: `out` cannot be written, or the disk is full.
    """
    out = Path(out)
    mapping = mapping if isinstance(mapping, Mapping) else Mapping() if mapping is None else load(mapping)
    if shard_rows < 1:
        raise LogError(f"shard_rows: {shard_rows}, expected at least 1")
    given: dict[TableName, Paths | None] = {
        "messages": messages, "orders": orders, "customers": customers, "blocks": blocks,
    }  # fmt: skip
    files: list[tuple[TableName, Path]] = [
        (table, path) for table, paths in given.items() if paths is not None for path in find(paths)
    ]
    fingerprint = _fingerprint(files, mapping, shard_rows)
    if (out / manifest.FILE).is_file() and (old := manifest.read(out)).fingerprint == fingerprint:
        return old
    with partial(out, fingerprint) as half, engine(memory, threads, half.scratch / "spill") as connection:
        return _Ingest(connection, half, mapping, fingerprint, progress).run(files, shard_rows)


def _fingerprint(files: list[tuple[TableName, Path]], mapping: Mapping, shard_rows: int) -> str:
    """What decides the result, as far as it can be known without reading the files."""
    seen = [(table, str(path), path.stat().st_size, path.stat().st_mtime_ns) for table, path in files]
    lookup = mapping.messages.lookup
    if lookup is not None and (told := Path(lookup.file)).is_file():
        seen.append(("messages", str(told), told.stat().st_size, told.stat().st_mtime_ns))
    parts = [manifest.VERSION, duckdb.__version__, seen, mapping.model_dump(mode="json"), shard_rows]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class _Ingest:
    """One run over the files, step by step; finished steps are passed over."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        half: Partial,
        mapping: Mapping,
        fingerprint: str,
        progress: Progress | None,
    ) -> None:
        self.connection, self.half, self.mapping, self.fingerprint = connection, half, mapping, fingerprint
        self._progress, self._done, self._steps = progress, 0, 0

    def run(self, files: list[tuple[TableName, Path]], shard_rows: int) -> Manifest:
        tables = list(dict.fromkeys(table for table, _ in files))
        self._steps = len(files) + 2 * len(tables)
        latest = self.mapping.latest or (datetime.now(UTC) + timedelta(days=1)).date()
        staged: dict[TableName, list[Staged]] = {table: [] for table in schema.FIELDS}
        for number, (table, path) in enumerate(files):
            self._say(f"reading {path.name}")
            staged[table].append(stage(self.connection, self.half, table, number, path, self.mapping, latest))
        self.connection.execute("SET preserve_insertion_order = false")  # whoever wants an order says so
        for table in tables:
            self._say(f"looking for repeated {table}")
            duplicates(self.connection, self.half, staged[table], self.mapping)
        counts = {table: self._count(staged[table]) for table in tables}
        if not counts["messages"].accepted:
            raise LogError(f"no row of the messages can be used; {_most(counts['messages'])}")
        self._write_rejects([each for some in staged.values() for each in some])
        names = self._names(staged)
        for table in staged:
            if table in tables:
                self._say(f"sorting {table}")
            sort(self.connection, self.half, table, staged[table], names)
        rows = sum(counts[table].accepted for table in tables if table in ("messages", "orders"))
        number = min(max(math.ceil(rows / shard_rows), 1), MOST_SHARDS)
        self._steps += number
        first, last = self._span(staged)
        done: list[Shard] = []
        for place in range(number):
            self._say(f"writing shard {place + 1} of {number}")
            customers = sum(shard.customers for shard in done)
            has_blocks = bool(staged["blocks"])
            done.append(cut(self.connection, self.half, place, number, customers, last, names, has_blocks))
        for table, rows_written in (
            ("messages", [each.messages for each in done]),
            ("orders", [each.orders for each in done]),
        ):
            told = counts[table].accepted if table in counts else 0
            if sum(rows_written) != told:
                raise AssertionError(f"{table}: {sum(rows_written)} rows written, {told} accepted")
        self._say("done")
        covariates = self.mapping.customers if staged["customers"] else None
        result = Manifest(
            engine=f"duckdb {duckdb.__version__}",
            fingerprint=self.fingerprint,
            mapping=self.mapping,
            inputs=tuple(
                Input(table=each.table, path=each.path, bytes=each.bytes, sha256=each.sha256)
                for some in staged.values()
                for each in some
            ),
            tables=dict(counts),
            first=first,
            last=last,
            customers=sum(shard.customers for shard in done),
            **{f"{kind}s": tuple(listing(kind, names)) for kind in KINDS},
            renamed={kind: changes for kind, mine in names.items() if (changes := renamed(mine))},
            opted_in=tuple(covariates.opted_in) if covariates else (),
            covariates=covariates.covariates if covariates else (),
            has_propensities=self._has_propensities(staged["messages"]),
            shards=tuple(done),
        )
        write_whole(self.half.folder / manifest.FILE, result.model_dump_json(indent=1))
        return result

    def _say(self, what: str) -> None:
        if self._progress is not None:
            self._progress(what, self._done, self._steps)
        self._done += 1

    def _rows(self, staged: list[Staged], columns: str) -> str:
        """The right rows of these files, repeated ones included."""
        return " UNION ALL ".join(
            f"SELECT {columns} FROM {each.scan(self.half.scratch)} WHERE fault IS NULL" for each in staged
        )

    def _rejects(self, staged: list[Staged]) -> str:
        """All rejected rows of these files: table, file, row, reason, field, value."""
        parts = []
        for each in staged:
            reasons, fields = (
                listed([each.reason for each in each.reasons]),
                listed([each.field for each in each.reasons]),
            )
            parts.append(
                f"SELECT '{each.table}' AS tab, file, row, {reasons}[fault] AS reason, {fields}[fault] AS field, value "
                f"FROM {each.scan(self.half.scratch)} WHERE fault IS NOT NULL"
            )
        for table in dict.fromkeys(each.table for each in staged):
            own = [each for each in staged if each.table == table]
            reason = repeat_reason(own)
            doubled = literal(self.half.scratch / f"doubled-{table}.parquet")
            parts.append(
                f"SELECT '{table}', file, row, {literal(reason.reason)}, {literal(reason.field)}, value FROM read_parquet({doubled})"
            )
            lines = malformed_scan(own, self.half.scratch)
            if lines is not None:
                parts.append(f"SELECT '{table}', file, row, {literal(schema.MALFORMED)}, '', value FROM ({lines})")
        return " UNION ALL ".join(parts)

    def _count(self, staged: list[Staged]) -> Table:
        rows, passed_over = sum(each.rows for each in staged), sum(each.passed_over for each in staged)
        paths = {each.number: each.path for each in staged}
        found = self.connection.execute(
            "SELECT reason, field, count(*) AS n, min((file, row)) AS place, arg_min(value, (file, row)) "
            f"FROM ({self._rejects(staged)}) GROUP BY reason, field ORDER BY n DESC, reason, field"
        ).fetchall()
        reasons = tuple(
            Rejected(
                reason=reason, field=field, rows=count, file=paths[place[0]], row=place[1], value=value and value[:200]
            )
            for reason, field, count, place, value in found
        )
        rejected = sum(each.rows for each in reasons)
        accepted = rows - passed_over - rejected
        return Table(rows=rows, accepted=accepted, rejected=rejected, passed_over=passed_over, reasons=reasons)

    def _write_rejects(self, staged: list[Staged]) -> None:
        paths = listed([each.path for each in sorted(staged, key=lambda each: each.number)])
        told = f'SELECT tab AS "table", {paths}[file + 1] AS file, row, reason, field, value'
        rows = f"SELECT * FROM ({self._rejects(staged)}) ORDER BY file, row"
        path = literal(self.half.folder / REJECTS)
        self.connection.execute(f"COPY ({told} FROM ({rows})) TO {path} (FORMAT csv, HEADER)")

    def _names(self, staged: dict[TableName, list[Staged]]) -> Names:
        names: Names = {}
        for kind in KINDS:
            where = [*staged["messages"], *staged["blocks"]] if kind == "channel" else staged["messages"]
            values = distinct(self.connection, self.half.scratch, where, kind)
            if kind == "channel" and self.mapping.channels is not None:
                names[kind] = {value: self.mapping.channels[value] for value in sorted(values)}
            else:
                names[kind] = tidy_names(kind, values)
        return names

    def _span(self, staged: dict[TableName, list[Staged]]) -> tuple[datetime, datetime]:
        parts = [self._rows(staged["messages"], "sent_at AS moment")]
        parts += [self._rows(staged[table], '"at" AS moment') for table in ("orders", "blocks") if staged[table]]
        ((first, last),) = self.connection.execute(
            f"SELECT min(moment), max(moment) FROM ({' UNION ALL '.join(parts)})"
        ).fetchall()
        return first, last

    def _has_propensities(self, staged: list[Staged]) -> bool:
        ((count,),) = self.connection.execute(
            f"SELECT count(p) FROM ({self._rows(staged, 'propensity AS p')})"
        ).fetchall()
        return bool(count)


def _most(table: Table) -> str:
    told = Counter({f"{each.reason} ({each.field})".replace(" ()", ""): each.rows for each in table.reasons})
    (reason, rows), worst = told.most_common(1)[0], table.reasons[0]
    return f"{rows:,} of {table.rows:,}: {reason}, first {worst.value!r} in row {worst.row} of {worst.file}"
