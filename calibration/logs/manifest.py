"""What is said about an ingested log: where it came from, how many rows, over which time, and what was rejected.

This file must never count; it holds counts, checks that they add up, and writes them down.
"""

from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from blockenv.scenarios.records import Record
from calibration.logs.mapping import Mapping
from calibration.logs.schema import LogError

FILE = "manifest.json"
VERSION = 1


class Input(Record):
    """A file that was read."""

    table: str
    path: str
    bytes: int
    sha256: str


class Rejected(Record):
    """How many rows of a table were rejected for one reason, with the first of them."""

    reason: str
    field: str
    rows: int
    file: str
    row: int = Field(description="below the header, from 1")
    value: str | None


class Table(Record):
    """What became of the rows of a table: `rows` is the sum of the other three."""

    rows: int
    accepted: int
    rejected: int
    passed_over: int = Field(default=0, description="rows that the mapping's `where` says are none of this table")
    reasons: tuple[Rejected, ...] = ()

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.rows != self.accepted + self.rejected + self.passed_over:
            raise ValueError(f"{self.rows} rows, but {self.accepted} + {self.rejected} + {self.passed_over} told")
        if self.rejected != sum(each.rows for each in self.reasons):
            raise ValueError(f"{self.rejected} rejected, but {sum(each.rows for each in self.reasons)} with a reason")
        return self


class Shard(Record):
    """One file of every table, with all rows of its customers: a random sample of all customers."""

    first_customer: int
    customers: int
    messages: int
    orders: int


class Manifest(Record):
    """The content of `manifest.json`."""

    version: int = VERSION
    engine: str
    fingerprint: str
    mapping: Mapping
    inputs: tuple[Input, ...]
    tables: dict[str, Table]
    first: datetime = Field(description="earliest send or order, in the time zone of the mapping")
    last: datetime = Field(description="latest send, order or block: the end of the log")
    customers: int
    channels: tuple[str, ...]
    slots: tuple[str, ...]
    styles: tuple[str, ...]
    products: tuple[str, ...]
    renamed: dict[str, dict[str, str]] = Field(description="by kind: name here -> name in the files, where they differ")
    opted_in: tuple[str, ...] = Field(description="channels with a column opted_in_... in customers")
    covariates: tuple[str, ...]
    has_propensities: bool
    shards: tuple[Shard, ...]

    def summary(self) -> list[tuple[str, str, str, int, float]]:
        """Rows for a table on the screen: table, outcome, field, rows, share of the table's rows."""
        lines = []
        for name, table in self.tables.items():
            lines.append((name, "accepted", "", table.accepted, table.accepted / table.rows))
            if table.passed_over:
                lines.append((name, "passed over", "where", table.passed_over, table.passed_over / table.rows))
            for each in table.reasons:
                lines.append((name, each.reason, each.field, each.rows, each.rows / table.rows))
        return lines


def read(folder: Path) -> Manifest:
    """The manifest of an ingested log.

    Raises:
        LogError: the folder holds none, or one of another version.
    """
    path = folder / FILE
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LogError(f"{folder}: is no ingested log ({FILE}: {' '.join(str(error).split())[:200]})") from error
