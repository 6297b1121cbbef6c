"""Write the log that a firm would have if its customers were those of a scenario: messages, orders, blocks.

The truth about the customers goes into a file of its own, which no estimate may read. This file must never decide
what to send; that is the policy's affair.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from blockenv import population
from blockenv.scenarios import Scenario
from blockenv.scenarios.records import Record
from blockenv.scenarios.yaml_text import yaml_text
from calibration.logs.engine import engine, listed, literal
from calibration.logs.events import NOTHING, Arrays, Visibility, record, slot_hours
from calibration.logs.partial import partial, write_whole
from calibration.logs.policies import LoggingPolicy, streams
from calibration.logs.schema import LogError
from calibration.logs.truth import hidden, people

ANCHOR = date(2001, 1, 1)  # a Monday: the calendar's day 0, on which week and year begin
BATCH = 4096  # customers at a time; also a shard of the work that a restart goes on with
FILE = "log.json"
MAPPING = "mapping.yaml"
FORMATS = {"parquet": "(FORMAT parquet, COMPRESSION zstd)", "csv": "(FORMAT csv, HEADER)"}


class Settings(Record):
    """How a log is written."""

    customers: int = Field(ge=1, le=2**31)
    days: int = Field(ge=1, le=36_400, description="each customer is watched for as many, from joining on")
    seed: int = Field(default=0, ge=0, lt=2**63)
    format: Literal["parquet", "csv"] = "parquet"
    visibility: Visibility = Field(default="all", description="`firm` leaves out blocks that the firm cannot notice")
    after_leaving: Literal["stop", "send"] = Field(
        default="stop", description="`send` goes on writing to customers who have left, as a firm would"
    )
    decisions: bool = Field(default=False, description="also a row for every customer and day")
    reveal_propensity: bool = Field(default=True, description="write down how likely each message was")


def checked_settings(**values: Any) -> Settings:
    """Settings from plain values.

    Raises:
        LogError: a value that cannot be; the message names the field.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        reasons = [f"{part['loc'][0]}: {part['msg']} (got {part['input']!r})" for part in error.errors()]
        raise LogError("; ".join(reasons)) from error


class Written(NamedTuple):
    """What `simulate_log` has made: rows by table."""

    folder: Path
    rows: dict[str, int]


def simulate_log(
    scenario: Scenario,
    policy: LoggingPolicy,
    name: str,
    out: str | Path,
    settings: Settings,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Make the folder `out`, whole or not at all: tables, `mapping.yaml` to read them with, `log.json` about them.

    The same scenario, policy and settings give the same files. After a kill the same call goes on.

    Args:
        name: of the policy, for `log.json`.
        progress: called with the number of customer-days just finished.

    Raises:
        LogError: `out` is there already, or the policy cannot write to customers who have left.
    """
    out = Path(out)
    if settings.after_leaving == "send" and policy.reads_log:
        raise LogError(f"after_leaving: {name!r} goes by the log, which stands still for customers who have left")
    about = {
        "scenario": scenario.name,
        "digest": scenario.digest,
        "policy": {"name": name, **policy.settings()},
        "settings": settings.model_dump(mode="json"),
        "anchor": ANCHOR.isoformat(),
        "engine": f"duckdb {duckdb.__version__}",
    }
    fingerprint = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    # One thread: with several, the order of rows in a file would depend on who is first.
    with partial(out, fingerprint) as half, engine(threads=1, spill=half.scratch / "spill") as connection:
        writer = _Writer(connection, scenario, settings)
        batches = range(0, settings.customers, BATCH)
        for number, start in enumerate(batches):
            size = min(BATCH, settings.customers - start)
            if half.found(f"batch-{number}") is None:
                numbers = np.arange(start, start + size)
                tables = _play(scenario, policy, settings, numbers, progress)
                writer.write(tables, half.scratch, number)
                half.finish(f"batch-{number}", {})
            elif progress is not None:
                progress(size * settings.days)
        rows = {table: writer.join(table, half.scratch, half.folder, len(batches)) for table in writer.queries}
        write_whole(half.folder / MAPPING, yaml_text(mapping_of(scenario)))
        write_whole(half.folder / FILE, json.dumps(about | {"rows": rows}, indent=1))
    return Written(out, rows)


def mapping_of(scenario: Scenario) -> dict[str, Any]:
    """The mapping that a log of `scenario` is read with, as plain values."""
    return {
        "channels": {channel.name: channel.name for channel in scenario.channels},
        "slots": {slot: list(hours) for slot, hours in slot_hours(scenario).items()},
        "customers": {
            "opted_in": {channel.name: f"opted_in_{channel.name}" for channel in scenario.channels},
            "covariates": [f"hint_{number}" for number, _ in enumerate(scenario.segments, start=1)],
        },
    }


def _play(
    scenario: Scenario,
    policy: LoggingPolicy,
    settings: Settings,
    numbers: NDArray[np.int64],
    progress: Callable[[int], None] | None,
) -> dict[str, Arrays]:
    tables, left = record(
        scenario,
        policy,
        settings.seed,
        numbers,
        settings.days,
        visibility=settings.visibility,
        after_leaving=settings.after_leaving,
        decisions=settings.decisions,
        progress=progress,
    )
    traits = population.draw(scenario, np.full(len(numbers), settings.seed, np.uint64), numbers)
    chance = policy.send_probability(streams(settings.seed, numbers)) if settings.reveal_propensity else None
    tables["customers"] = people(scenario, traits, numbers, settings.days, chance)
    tables["truth"] = hidden(scenario, traits, numbers, left)
    return tables


class _Writer:
    """Names and dates put to arrays of numbers, batch by batch, then one file of each table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, scenario: Scenario, settings: Settings) -> None:
        self._connection, self._format = connection, settings.format
        named = {
            "channel": [channel.name for channel in scenario.channels],
            "slot": list(scenario.slots),
            "style": [style.name for style in scenario.styles],
            "product": list(scenario.products),
        }
        words = {kind: f"{listed(names)}[{kind} + 1]" for kind, names in named.items()}
        parts = ", ".join(f"{word} AS {kind}" for kind, word in words.items())
        spoken = ", ".join(f"CASE WHEN NOT is_silent THEN {word} END AS {kind}" for kind, word in words.items())
        segments = listed([segment.name for segment in scenario.segments])
        identity = "customer || '-' || day"
        told = "CASE WHEN NOT isnan(propensity) THEN propensity END" if settings.reveal_propensity else "NULL::DOUBLE"
        self.queries = {
            "messages": f"SELECT customer, {identity} AS id, {_moment('sent_at')}, {parts}, delivered, "
            f"{_moment('opened_at')}, NULL::TIMESTAMP AS clicked_at, {_moment('blocked_at')}, {told} AS propensity "
            "FROM rows ORDER BY customer, day",
            "orders": f"SELECT customer, {identity} AS id, {_moment('at')}, amount, margin, discount "
            "FROM rows ORDER BY customer, day",
            "blocks": f"SELECT customer, {_moment('at')}, {words['channel']} AS channel, "
            f"CASE WHEN by_message THEN {identity} END AS message FROM rows ORDER BY ALL",
            "customers": f"SELECT * REPLACE ({_moment('joined_at')}, {_moment('observed_until')}) "
            "FROM rows ORDER BY customer",
            "truth": f"SELECT * REPLACE ({segments}[segment + 1] AS segment, {_moment('left_at')}) "
            "FROM rows ORDER BY customer",
        }
        if settings.decisions:
            self.queries["decisions"] = (
                f"SELECT customer, DATE {literal(ANCHOR.isoformat())} + date::INTEGER AS date, {spoken}, {told} "
                "AS propensity FROM rows ORDER BY customer, date"
            )

    def write(self, tables: dict[str, Arrays], scratch: Path, number: int) -> None:
        """One batch of every table; a table without rows has no file."""
        for table, query in self.queries.items():
            if tables[table]:
                self._connection.register("rows", pd.DataFrame(tables[table]))
                path = literal(scratch / f"{table}-{number:06}.parquet")
                self._connection.execute(f"COPY ({query}) TO {path} (FORMAT parquet)")
                self._connection.unregister("rows")

    def join(self, table: str, scratch: Path, folder: Path, batches: int) -> int:
        """All batches in one file; how many rows. No file where there is not one row."""
        paths = [scratch / f"{table}-{number:06}.parquet" for number in range(batches)]
        paths = [path for path in paths if path.is_file()]
        if not paths:
            return 0
        target = literal(folder / f"{table}.{self._format}")
        scan = f"read_parquet({listed([str(path) for path in paths])})"
        ((rows,),) = self._connection.execute(
            f"COPY (SELECT * FROM {scan}) TO {target} {FORMATS[self._format]}"
        ).fetchall()
        return int(rows)


def _moment(column: str) -> str:
    """Seconds since the calendar's first day as a time, null for NOTHING."""
    day = f"TIMESTAMP {literal(ANCHOR.isoformat())}"
    return f'CASE WHEN "{column}" <> {NOTHING} THEN {day} + to_seconds("{column}") END AS "{column}"'
