"""What all commands share: threads that do not fight, errors in one line, tables and bars that look alike."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console()
errors = Console(stderr=True)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Errors a user can mend end in one line and exit code 2; Ctrl-C in a line and 130; everything else is a bug."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        from agents.agent import AgentError
        from benchmarks.configs import ConfigError
        from blockenv import ScenarioError

        calm_threads()
        try:
            function(*arguments, **options)
        except (AgentError, ConfigError, ScenarioError, OSError, ValueError) as error:
            errors.print(f"[red]error:[/] {_plain(error)}", highlight=False, soft_wrap=True)
            sys.exit(2)
        except KeyboardInterrupt:
            errors.print("[yellow]stopped[/]; what was finished is kept, the same command goes on from there")
            sys.exit(130)

    return wrapped


def calm_threads(threads: int = 1) -> None:
    """One thread of arithmetic, and waiting threads that sleep: several that spin slow each other down tenfold.

    To be called before PyTorch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


def bar() -> Progress:
    """A progress bar for counted work."""
    return Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def _plain(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error) or type(error).__name__)
