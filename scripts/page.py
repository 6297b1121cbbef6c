"""Write the leaderboard as one HTML file: `python -m scripts.page benchmarks/results/quick --out page.html`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.cli import command, say

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@app.command()
@command
def page(
    results: Annotated[Path, typer.Argument(help="A folder that scripts.benchmark has written.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file; page.html in RESULTS if not given.")] = None,
    picture: Annotated[
        list[Path] | None,
        typer.Option(help="A PNG of scripts.policy_map; may be repeated. RESULTS/maps/*.png are always taken."),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of results of another suite, to be shown in short; may be repeated."),
    ] = None,
    cards: Annotated[
        Path, typer.Option(help="Calibration cards, of scripts.card --json; left out if absent.", show_default=False)
    ] = RESULTS / "cards.json",
    checks: Annotated[
        Path, typer.Option(help="What scripts.verify_statistics measured; left out if absent.", show_default=False)
    ] = RESULTS / "statistics.json",
) -> None:
    """The leaderboard, heat map, profiles, curves, segments, policy maps and calibration as a page without a network.

    With `--beside` it also shows what becomes of the ranks in other worlds, and who earns while still learning.
    """
    from agents.agent import write_whole
    from benchmarks.elsewhere import compact
    from benchmarks.page.build import page as page_of
    from benchmarks.page.build import read_findings

    findings = read_findings(results)
    others = [(folder, read_findings(folder)) for folder in beside or ()]
    target = out or results / "page.html"
    words = [f"python -m scripts.page {results}", *(f"--beside {folder}" for folder, _ in others), f"--out {target}"]
    text = page_of(
        findings,
        str(results),
        beside=[compact(found, str(folder)) for folder, found in others],
        pictures=[*sorted((results / "maps").glob("*.png")), *(picture or ())],
        cards=_read(cards) or [],
        checks=_read(checks),
        commands=[
            *(_made(found, folder) for folder, found in [(results, findings), *others]),
            " ".join(words),
            *(f"python -m scripts.verify {folder}" for folder in [results, *(folder for folder, _ in others)]),
            "python -m scripts.references SCENARIO",
            "python -m scripts.card --all --customers 512 --json benchmarks/results/cards.json",
            "python -m scripts.verify_statistics",
        ],
    )
    write_whole(target, text.encode())
    say(f"{target}: {len(text.encode()) / 1e6:.1f} MB, {len(findings['scenarios'])} scenarios; open it in any browser")


def _made(findings: dict[str, Any], folder: Path) -> str:
    """The command that made the findings."""
    return f"{findings.get('command') or 'python -m scripts.benchmark SUITE'} --out {folder}"


def _read(path: Path) -> Any:
    """What a JSON file holds, None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error
    return content


if __name__ == "__main__":
    app()
