"""Where results stay: one line a cell in a file that only grows, and the customers' values beside it.

Never changes or removes a row; what a kill or a full disk left half-written is not a row.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.agent import write_whole


def write(folder: Path, row: Mapping[str, Any], values: ArrayLike) -> None:
    """Keep a row, which has a `key`, and the (N,) values of its customers, as float32.

    Raises:
        OSError: the folder cannot be written, or is full; then nothing of the row is kept.
    """
    (folder / "values").mkdir(parents=True, exist_ok=True)
    memory = io.BytesIO()
    np.save(memory, np.asarray(values, np.float32))
    # Values first: a row counts as soon as it is there.
    write_whole(_values_path(folder, row), memory.getvalue())
    _append(folder / "rows.jsonl", json.dumps(row, sort_keys=True).encode() + b"\n")


def write_failure(folder: Path, row: Mapping[str, Any]) -> None:
    """Keep the row of a cell that has no values, because it failed; it answers nothing, and is never read as a row.

    Raises:
        OSError: the folder cannot be written, or is full.
    """
    _append(folder / "failures.jsonl", json.dumps(row, sort_keys=True).encode() + b"\n")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All whole rows of a store, the first of each key."""
    path = folder / "rows.jsonl"
    rows = parse_rows(path.read_bytes()) if path.exists() else []
    return [row for row in rows if _values_path(folder, row).exists()]


def parse_rows(content: bytes) -> list[dict[str, Any]]:
    """All whole rows of a file of rows, the first of each key, whether there are values or not."""
    rows: dict[str, dict[str, Any]] = {}
    for line in content.split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "key" in row:
            rows.setdefault(row["key"], row)
    return list(rows.values())


def read_values(folder: Path, row: Mapping[str, Any]) -> NDArray[np.float64]:
    """(N,) the customers' values of a row.

    Raises:
        ValueError: the file is missing or damaged; the message names it.
    """
    path = _values_path(folder, row)
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as values ({error})") from error
    return np.asarray(values, np.float64)


def _values_path(folder: Path, row: Mapping[str, Any]) -> Path:
    return folder / "values" / f"{row['key']}.npy"


def _append(path: Path, line: bytes) -> None:
    """One line in one write under a lock, so that two writers never mix."""
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = _mend(file)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise


def _mend(file: BinaryIO) -> int:
    """End a last line that a kill cut off, or take it away if it is no row; returns the size. Needs the lock."""
    size = file.seek(0, os.SEEK_END)
    if size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n":
        return size
    content = os.pread(file.fileno(), size, 0)
    start = content.rfind(b"\n") + 1
    try:
        json.loads(content[start:])
    except ValueError:
        file.truncate(start)
        return start
    file.write(b"\n")
    return size + 1
