"""The curves of a training run: two tables that open in any spreadsheet, and the same for TensorBoard.

Opened at a checkpoint, all of them look as if nothing had been written after it; no row is ever left half-written.
"""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.agent import Metrics, write_whole

PROGRESS, EVALUATIONS = "progress.csv", "evaluations.csv"


class Curves:
    """Curves in `folder`, of which only what was measured up to `steps` customer-days is kept."""

    def __init__(self, folder: Path, steps: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        self._folder = folder
        for name in (PROGRESS, EVALUATIONS):
            path = folder / name
            if path.exists():
                rows = [row for row in read_csv(path) if 0 < int(row["steps"]) <= steps]
                _write_csv(path, rows) if rows else path.unlink()
        # TensorBoard hides what an earlier writer noted at this step and after.
        purge = (steps + 1 if steps else 0) if (folder / "tb").exists() else None
        self._writer: Any = SummaryWriter(str(folder / "tb"), purge_step=purge)

    def add(self, table: str, steps: int, metrics: Metrics) -> None:
        """A row of `PROGRESS` or `EVALUATIONS`, measured after `steps` customer-days."""
        _append_csv(self._folder / table, {"steps": steps, **metrics})
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, steps)

    def column(self, table: str, name: str) -> list[float]:
        """What was measured so far."""
        path = self._folder / table
        return [float(row[name]) for row in read_csv(path) if row.get(name)] if path.exists() else []

    def flush(self) -> None:
        """Make sure that TensorBoard's file holds everything up to here."""
        self._writer.flush()

    def close(self) -> None:
        """End the files."""
        self._writer.close()


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a table; a last row that a kill cut off is left out."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row.get("steps", "").isdigit() and None not in row.values()]


def _append_csv(path: Path, row: Mapping[str, Any]) -> None:
    """One more row; columns that turn up later rewrite the file with the wider header."""
    rows = read_csv(path) if path.exists() else []
    names = list(rows[0]) if rows else []
    if not rows or any(name not in names for name in row):
        _write_csv(path, [*rows, row])
        return
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, names).writerow(row)
        file.flush()
        os.fsync(file.fileno())


def _write_csv(path: Path, rows: list[Any]) -> None:
    memory = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(memory, names, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, memory.getvalue().encode())
