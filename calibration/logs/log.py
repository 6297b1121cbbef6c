"""An ingested log: where its tables are, and how to read them whole, in part, or shard by shard.

This file must never write; reading one shard at a time is what keeps memory bounded.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd

from calibration.logs import manifest
from calibration.logs.engine import MEMORY, engine, listed, quoted
from calibration.logs.manifest import Manifest
from calibration.logs.schema import LogError

TABLES = ("messages", "orders", "customers", "blocks")
DERIVED = ("exposures", "profiles")
_NAMES = ("channel", "slot", "style", "product")


class Log:
    """The folder that `ingest` made.

    Attributes:
        folder, manifest: what the names say.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open it.

        Raises:
            LogError: the folder holds no ingested log.
        """
        self.folder = Path(folder)
        self.manifest: Manifest = manifest.read(self.folder)

    def __repr__(self) -> str:
        return f"Log({str(self.folder)!r})"

    def has(self, table: str) -> bool:
        """Whether a table is there; derived ones are not until they are made."""
        return table in TABLES or (self.folder / table).is_dir()

    def path(self, table: str, shard: int) -> Path:
        """The file of one shard of a table, Parquet, in the order of customer and time."""
        if not self.has(table):
            raise LogError(
                f"{self.folder}: has no table {table!r}; found {', '.join(filter(self.has, TABLES + DERIVED))}"
            )
        if not 0 <= shard < len(self.manifest.shards):
            raise LogError(f"shard: {shard}, expected 0..{len(self.manifest.shards) - 1}")
        return self.folder / table / f"part-{shard:05}.parquet"

    def scan(self, table: str, shards: Sequence[int] | None = None) -> str:
        """What SQL reads a table with, all of it or some shards: a random sample of customers."""
        chosen = range(len(self.manifest.shards)) if shards is None else shards
        return f"read_parquet({listed([str(self.path(table, shard)) for shard in chosen])})"

    @contextmanager
    def connect(self, memory: str = MEMORY, threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with a view of each table that is there, for queries of any kind."""
        with engine(memory, threads) as connection:
            for table in filter(self.has, TABLES + DERIVED):
                connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {self.scan(table)}")
            yield connection

    def frame(
        self, table: str, columns: Sequence[str] | None = None, shards: Sequence[int] | None = None, where: str = ""
    ) -> pd.DataFrame:
        """Rows of a table in memory, in order; channel, slot, style and product as categories of the whole log.

        Args:
            columns: all if not given.
            shards: all if not given.
            where: a condition in SQL.

        Raises:
            LogError: no such table, shard or column.
        """
        chosen = "*" if columns is None else ", ".join(map(quoted, columns))
        condition = f" WHERE {where}" if where else ""
        with engine() as connection:
            try:
                rows = connection.execute(f"SELECT {chosen} FROM {self.scan(table, shards)}{condition}").df()
            except duckdb.BinderException as error:
                raise LogError(f"{table}: {str(error).splitlines()[0]}") from error
        for kind in _NAMES:
            if kind in rows.columns:
                rows[kind] = pd.Categorical(rows[kind], categories=list(getattr(self.manifest, f"{kind}s")))
        return rows

    def frames(self, table: str, columns: Sequence[str] | None = None, where: str = "") -> Iterator[pd.DataFrame]:
        """The same, one shard after the other."""
        for shard in range(len(self.manifest.shards)):
            yield self.frame(table, columns, [shard], where)
