"""Everything that README.md and docs/usage.md tell readers to run is run here, page by page, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page.name: page for page in (ROOT / "README.md", ROOT / "docs" / "usage.md")}
MOST_NOT_RUN = 2
_FENCE = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block of the page."""

    language: str
    code: str
    line: int  # of the page, where the code begins
    file: str | None  # the block is a file of this name
    not_run: str | None  # why it is not run


def blocks(text: str) -> list[Block]:
    found = []
    for match in _FENCE.finditer(text):
        note = match["note"] or ""
        file = note.removeprefix("file: ") if note.startswith("file: ") else None
        not_run = note.removeprefix("not run: ") if note.startswith("not run: ") else None
        line = text[: match.start("code")].count("\n") + 1
        found.append(Block(match["language"], match["code"], line, file, not_run))
    return found


BLOCKS = {name: blocks(page.read_text(encoding="utf-8")) for name, page in PAGES.items()}
every_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture
def folder(page: str, tmp_path: Path) -> Path:
    """An empty folder with the files that the page shows."""
    path = tmp_path
    for block in BLOCKS[page]:
        if block.file is not None:
            (path / block.file).write_text(block.code, encoding="utf-8")
    return path


def run(command: list[str], folder: Path, where: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@every_page
def test_python_blocks_run_one_after_the_other(page: str, folder: Path) -> None:
    lines: list[str] = []
    for block in BLOCKS[page]:
        if block.language == "python" and block.not_run is None and block.file is None:
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    assert lines
    script = folder / "page.py"  # blank lines between the blocks: a traceback gives the line of the page
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    printed = run([sys.executable, str(script)], folder, page)
    assert ("a customer over silence in half a year" if page == "usage.md" else "(4096, 136)") in printed


@every_page
def test_shell_blocks_run_one_after_the_other(page: str, folder: Path) -> None:
    # One test, as blocks build on what the ones before them left, and parallel runs tear tests apart.
    shell = [block for block in BLOCKS[page] if block.language == "bash" and block.not_run is None]
    assert shell
    for block in shell:
        run(["bash", "-euo", "pipefail", "-c", block.code], folder, f"line {block.line} of {page}")


@every_page
def test_hardly_any_block_is_left_out(page: str) -> None:
    left_out = [block for block in BLOCKS[page] if block.not_run is not None]
    assert len(left_out) <= MOST_NOT_RUN
    assert all(block.not_run for block in left_out)


@every_page
def test_every_block_says_what_it_is(page: str) -> None:
    assert {block.language for block in BLOCKS[page]} <= {"python", "bash", "yaml"}
    assert all(block.file for block in BLOCKS[page] if block.language == "yaml")
    assert PAGES[page].read_text(encoding="utf-8").count("```") == 2 * len(BLOCKS[page])


def test_the_two_commands_of_the_readme(tmp_path: Path) -> None:
    ready = Path(sys.prefix) / "ready"
    if not ready.exists():
        pytest.skip("this virtual environment was not made by make, so make would build one for minutes")
    suite = tmp_path / "tiny.yaml"
    suite.write_text("title: Tiny\nscenarios: [Frequency-v0]\nagents: [silence, random]\ncustomers: 16\ndays: 7\n")
    make = ["make", "-C", str(ROOT), "-o", str(ready), f"VENV={sys.prefix}"]  # -o: the environment is not made anew
    made = [*make, "leaderboard", f"SUITE={suite}", f"OUT={tmp_path / 'out'}"]
    assert "Frequency-v0" in run(made, tmp_path, "make leaderboard")
    told = run([*make, "-n", "test"], tmp_path, "make test")
    assert "pytest -W error" in told


def test_notes_are_read() -> None:
    text = "a\n\n<!-- not run: slow -->\n```bash\nsleep 9\n```\n\n<!-- file: x.yaml -->\n```yaml\na: 1\n```\n"
    first, second = blocks(text)
    assert (first.not_run, first.file, first.line) == ("slow", None, 5)
    assert (second.not_run, second.file, second.code) == (None, "x.yaml", "a: 1\n")
