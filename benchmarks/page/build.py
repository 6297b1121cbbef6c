"""Puts findings, pictures and the page's own style and scripts together into one HTML file.

Whatever comes from the data enters the file as JSON and the page as text; nothing of it is ever read as markup.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.page.png import description

ASSETS = Path(__file__).resolve().parent / "assets"
SCRIPTS = ("elements.js", "charts.js", "board.js", "beside.js", "page.js")
NAME = "leaderboard.json"  # of the findings in a folder of results


def page(
    findings: Mapping[str, Any],
    place: str,
    *,
    beside: Sequence[Mapping[str, Any]] = (),
    pictures: Sequence[Path] = (),
    cards: Sequence[Mapping[str, Any]] = (),
    checks: Mapping[str, Any] | None = None,
    commands: Sequence[str] = (),
) -> str:
    """The whole page.

    Args:
        findings: of `benchmarks.findings`.
        place: the folder of results, as it is named in commands.
        beside: further suites, of `benchmarks.elsewhere.compact`.
        pictures: PNG files, with a description in them that says what they show.
        cards: calibration cards as `scripts.card --json` writes them.
        checks: what `scripts.verify_statistics` measured.
        commands: by which everything is made again.

    Raises:
        OSError: a picture cannot be read.
        ValueError: no scenario, or a picture that is no PNG.
    """
    if not findings.get("scenarios"):
        raise ValueError(f"{place}: no scenario in the findings, expected at least one")
    data = {
        "stability": [],
        **findings,
        "place": place,
        "beside": list(beside),
        "pictures": [_inlined(path) for path in pictures],
        "cards": list(cards),
        "checks": checks,
        "commands": list(commands),
    }
    # No "<" in a script element: neither "</script>" nor "<!--" can end or open anything.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(str(findings["title"])),
        "STYLE": (ASSETS / "page.css").read_text(encoding="utf-8").strip(),
        "SCRIPT": "\n".join((ASSETS / name).read_text(encoding="utf-8").strip() for name in SCRIPTS),
        "DATA": content,
    }
    pieces = (ASSETS / "page.html").read_text(encoding="utf-8").split("@")
    return "".join(parts.get(piece, f"@{piece}@") if number % 2 else piece for number, piece in enumerate(pieces))


def read_findings(folder: Path) -> dict[str, Any]:
    """The findings of a folder of results.

    Raises:
        ValueError: there are none, or the file is damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as findings ({error}); scripts.benchmark writes them") from error
    if not isinstance(content, dict) or not {"title", "scenarios", "overall"} <= content.keys():
        raise ValueError(f"{path}: expected title, scenarios and overall")
    return content


def _inlined(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    text = description(content) or path.stem.replace("_", " ")
    return {"source": "data:image/png;base64," + base64.b64encode(content).decode(), "text": text}
