"""Tables made from an ingested log: written shard by shard into a folder of their own, whole or not at all.

This file must never know what a derived table says.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from blockenv.scenarios.records import Record
from calibration.logs.engine import engine
from calibration.logs.log import Log
from calibration.logs.partial import partial, write_whole

SETTINGS = "settings.json"
VERSION = 1  # of what the tables mean
Write = Callable[[duckdb.DuckDBPyConnection, int, Path], None]


def derive(
    log: Log,
    table: str,
    settings: Record,
    write: Write,
    memory: str,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make `table`, unless it is there with the same settings; with others, it is made anew.

    Args:
        write: makes the file of one shard.
        progress: called with the number of shards done and of all.
    """
    out = log.folder / table
    parts = (VERSION, log.manifest.fingerprint, settings.model_dump_json(), duckdb.__version__)
    told = hashlib.sha256(repr(parts).encode()).hexdigest()
    noted = out / SETTINGS
    if noted.is_file() and noted.read_text(encoding="utf-8").strip().endswith(told):
        return
    if out.exists():
        shutil.rmtree(out)
    count = len(log.manifest.shards)
    with partial(out, told) as half, engine(memory, threads, half.scratch / "spill") as connection:
        for shard in range(count):
            if half.found(f"shard-{shard}") is None:
                write(connection, shard, half.folder / f"part-{shard:05}.parquet")
                half.finish(f"shard-{shard}", {})
            if progress is not None:
                progress(shard + 1, count)
        write_whole(half.folder / SETTINGS, f"{settings.model_dump_json()}\n{told}")
