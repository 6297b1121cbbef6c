"""Write the generated pages and the README's tables, or say whether they are fresh: `python -m scripts.document [--check]`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scripts.cli import command, console, errors

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

ROOT = Path(__file__).resolve().parents[1]
PAGE, README = ROOT / "docs" / "numbers.md", ROOT / "README.md"
ROBUSTNESS = ROOT / "docs" / "robustness.md"


@app.command()
@command
def document(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit with 1 if a page is stale.")] = False,
    out: Annotated[Path, typer.Option(help="The page of numbers.", show_default=False)] = PAGE,
    readme: Annotated[Path, typer.Option(help="The README.", show_default=False)] = README,
    robustness: Annotated[
        Path, typer.Option(help="The page on other worlds and on learning while serving.", show_default=False)
    ] = ROBUSTNESS,
) -> None:
    """Every number of every scenario, and what the committed suites say of other worlds, as Markdown pages.

    The README gets the committed quick leaderboard and the main findings of the other suites.
    """
    from agents.agent import write_whole
    from benchmarks import robustness as other_tests
    from benchmarks.document import COMMAND, page
    from benchmarks.readme import with_leaderboard

    stale = False
    front = other_tests.with_paragraph(with_leaderboard(readme.read_text(encoding="utf-8")))
    for path, text in ((out, page()), (robustness, other_tests.page()), (readme, front)):
        if not check:
            write_whole(path, text.encode())
            console.print(f"wrote {path}", soft_wrap=True)
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            errors.print(f"{path} is stale: run `{COMMAND}`", soft_wrap=True)
            stale = True
        else:
            console.print(f"{path} is up to date", soft_wrap=True)
    if stale:
        sys.exit(1)


if __name__ == "__main__":
    app()
