"""What all commands share: threads that do not fight, errors in one line, tables and bars that look alike."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

_PIPED_WIDTH = 200  # columns; a table in a file is not cut to a window that nobody has
# Taken when a command is imported: the window of a terminal may change later, whether there is one does not.
console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
errors = Console(stderr=True)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Errors a user can mend end in one line and exit code 2; Ctrl-C in a line and 130; everything else is a bug."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        # ValueError covers the errors of all rooms, which tell what was wrong and what was expected.
        from benchmarks.experiment import ExperimentError

        calm_threads()
        try:
            function(*arguments, **options)
        except (ExperimentError, OSError, ValueError) as error:
            errors.print(f"[red]error:[/] {_one_line(error)}", highlight=False, soft_wrap=True)
            sys.exit(2)
        except KeyboardInterrupt as stop:
            errors.print(f"[yellow]stopped[/]; {_one_line(stop)}", highlight=False, soft_wrap=True)
            sys.exit(130)

    return wrapped


def interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: a library stopped while it was writing may stumble over its own clean-up."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or interrupted(error.__context__))


def say(text: str) -> None:
    """A line of plain words, never broken or coloured."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def calm_threads(threads: int = 1) -> None:
    """One thread of arithmetic, and waiting threads that sleep: several that spin slow each other down tenfold.

    To be called before PyTorch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


def bar() -> Progress:
    """A progress bar for counted work; nothing where the output is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        # In a narrow window the note gives way, not the figures.
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        expand=True,
        console=console,
        disable=not console.is_terminal,
    )


def table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of as many columns as the window has room for; what is left out is said below it.

    Columns whose cells begin with a letter stand left, those of numbers right.
    """
    columns = [(name, [row[place] for row in rows]) for place, name in enumerate(names)]
    room, shown = console.width - 1, 0
    for name, cells in columns:
        # Titles may be broken between words, cells not.
        room -= 3 + max(map(len, [*name.split(), *cells]), default=0)
        if room < 0 and shown > 1:
            break
        shown += 1
    left_out = ", ".join(names[shown:])
    found = Table(title=title, caption=f"no room for: {left_out}" if left_out else None)
    for name, cells in columns[:shown]:
        words = any(cell[:1].isalpha() for cell in cells)
        longest = max(map(len, [*name.split(), *cells]), default=0)
        found.add_column(name, justify="left" if words else "right", min_width=longest)
    for row in rows:
        found.add_row(*(escape(cell) for cell in row[:shown]))
    return found


def _one_line(error: BaseException) -> str:
    return escape(" ".join(str(error).split()) or type(error).__name__)
