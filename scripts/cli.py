"""What all commands share: threads that do not fight, errors in one line, tables and bars that look alike."""

import functools
import os
import sys
from collections.abc import Callable
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
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    )


def _one_line(error: BaseException) -> str:
    return escape(" ".join(str(error).split()) or type(error).__name__)
