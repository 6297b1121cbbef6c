"""The embedded database that reads and sorts logs larger than memory, with a limit it keeps.

This file must never know a table of a log.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from calibration.logs.schema import LogError

MEMORY = "2GB"
# What a file can be guilty of; a query that cannot be parsed or bound is a mistake of ours.
FILE_ERRORS = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.IOException,
    duckdb.OutOfRangeException,
    duckdb.SerializationException,
)


@contextmanager
def engine(
    memory: str = MEMORY, threads: int | None = None, spill: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in memory; what does not fit goes to the folder `spill`, or fails where there is none.

    Args:
        memory: the limit, as "2GB" or "800MB". The process as a whole takes some hundred megabytes more.
        threads: all cores if not given.
        spill: created when needed, emptied at the end.

    Raises:
        LogError: a limit that is none, not enough memory for the work, or a file that cannot be read.
    """
    with duckdb.connect() as connection:
        try:
            connection.execute("SET memory_limit = ?", [memory])
            connection.execute("SET threads = ?", [os.cpu_count() or 1 if threads is None else threads])
        except duckdb.Error as error:
            raise LogError(
                f"memory {memory!r}, threads {threads!r}: expected as '2GB' and at least 1 ({told(error)})"
            ) from error
        connection.execute("SET temp_directory = ?", ["" if spill is None else str(spill)])
        # Nothing is fetched from the network, and a bar is the command's affair.
        connection.execute("SET autoinstall_known_extensions = false; SET enable_progress_bar = false")
        connection.execute("SET TimeZone = 'UTC'")
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise LogError(f"memory: {memory} is not enough ({told(error)}); allow more, or fewer threads") from error
        except duckdb.IOException as error:
            raise LogError(f"the disk stopped the database: {told(error)}") from error


def told(error: BaseException) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def quoted(name: str) -> str:
    """A column's name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """A text as SQL takes it."""
    return "'" + str(text).replace("'", "''") + "'"


def listed(texts: object) -> str:
    """A list of texts as SQL takes it."""
    assert isinstance(texts, list | tuple)
    return "[" + ", ".join(literal(text) for text in texts) + "]"
