"""Write docs/numbers.md, or say whether it is up to date: `python -m scripts.document [--check]`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scripts.cli import command, console, errors

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "numbers.md"


@app.command()
@command
def document(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if the page is stale.")] = False,
    out: Annotated[Path, typer.Option(help="The page.", show_default=False)] = PAGE,
) -> None:
    """Every number of every scenario, with unit, label and source, as one Markdown page."""
    from agents.agent import write_whole
    from benchmarks.document import COMMAND, page

    text = page()
    if not check:
        write_whole(out, text.encode())
        console.print(f"wrote {out}", soft_wrap=True)
    elif not out.exists() or out.read_text(encoding="utf-8") != text:
        errors.print(f"{out} is stale: run `{COMMAND}`", soft_wrap=True)
        sys.exit(1)
    else:
        console.print(f"{out} is up to date", soft_wrap=True)


if __name__ == "__main__":
    app()
