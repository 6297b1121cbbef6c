"""The hash of the code changes with what can change a result, and with nothing else."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents import AGENTS, agent_class
from benchmarks import code
from benchmarks.code import NO_PART, ROOMS, ROOT, code_of, digest

SOURCE = '''"""A module."""

import math

RATE = 0.5


class Rule:
    """A rule."""

    gap: int = 7
    """Days."""

    def act(self, seen: float) -> float:
        """Choose."""
        return RATE * math.exp(-seen) if seen > 0 else 0.0  # a reason
'''


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str, name: str = "rule.py") -> str:
        path = tmp_path / name
        path.write_text(text)
        return digest({name: path})

    return write


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another text\n\nof several lines."""'),
        ('"""A module."""\n', ""),
        ('    """Days."""\n', ""),
        ('        """Choose."""\n', ""),
        ("  # a reason", ""),
        ("RATE = 0.5", "# why\nRATE  =  0.50"),
        (
            "return RATE * math.exp(-seen) if seen > 0 else 0.0",
            "return (\n            RATE\n            * math.exp(-seen)\n            if seen > 0\n            else 0.0\n        )",
        ),
    ],
)
def test_words_and_looks_do_not_matter(written: Any, old: str, new: str) -> None:
    assert old in SOURCE
    assert written(SOURCE.replace(old, new)) == written(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 0.5", "RATE = 0.51"),
        ("RATE = 0.5", "RATE = 1"),
        ("RATE = 0.5", "RATE = True"),
        ("seen > 0", "seen >= 0"),
        ("math.exp(-seen)", "math.exp(seen)"),
        ("gap: int = 7", "gap: int = 8"),
        ("gap: int = 7", "gap: int"),
        ("class Rule:", "@final\nclass Rule:"),
        ("else 0.0", "else None"),
        ("else 0.0", "else []"),
        ("else 0.0", "else '0.0'"),
    ],
)
def test_what_is_computed_matters(written: Any, old: str, new: str) -> None:
    assert old in SOURCE
    assert written(SOURCE.replace(old, new)) != written(SOURCE)


def test_the_place_of_a_file_matters_and_the_order_of_files_does_not(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("a.py", "b.py")}
    for number, path in enumerate(paths.values()):
        path.write_text(f"A = {number}\n")
    both = digest(paths)
    assert digest(dict(reversed(paths.items()))) == both
    assert digest({"a.py": paths["b.py"], "b.py": paths["a.py"]}) != both
    assert digest({"a.py": paths["a.py"]}) != both


def test_a_file_that_somebody_is_writing_does_not_stop_anybody(written: Any) -> None:
    assert written("def act(:\n") != written("def act(seen:\n")


def test_it_is_sixteen_hex_digits_and_the_same_in_every_process() -> None:
    found = {code_of(agent_class(name)) for name in AGENTS}
    (ours,) = found
    assert len(ours) == 16
    assert int(ours, 16) >= 0
    program = "from agents.rules import Silence; from benchmarks.code import code_of; print(code_of(Silence))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ours


def test_all_rooms_that_decide_results_are_there_and_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noting(files: dict[str, Path]) -> str:
        seen.extend(files)
        return "0" * 16

    monkeypatch.setattr(code, "digest", noting)
    code._digest_of_rooms.__wrapped__()
    assert {"blockenv/dynamics.py", "blockenv/noise.py", "agents/caps.py", "agents/deep.py"} <= set(seen)
    assert {name.split("/")[0] for name in seen} == set(ROOMS)
    assert not [name for name in seen if name.startswith(NO_PART)]
    for each in NO_PART:
        assert (ROOT / each).exists(), "what is left out has moved"


def test_an_agent_of_one_s_own_counts_with_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "own_of_test_code.py"
    monkeypatch.syspath_prepend(tmp_path)
    module.write_text("from agents.rules import Silence\nclass Own(Silence):\n    gap = 1\n")
    own = agent_class("own_of_test_code:Own")
    before = code_of(own)
    assert before == code_of(own) != code_of(agent_class("silence"))
    module.write_text("from agents.rules import Silence\n# a word\nclass Own(Silence):\n    gap = 1\n")
    assert code_of(own) == before
    module.write_text("from agents.rules import Silence\nclass Own(Silence):\n    gap = 2\n")
    assert code_of(own) != before


def test_what_changes_the_game_counts_and_nothing_else_does() -> None:
    assert code.with_modules("own", []) == "own"
    law, online = (code.with_modules("own", [name]) for name in ("laws.py", "online.py"))
    assert len({law, online, code.with_modules("other", ["laws.py"]), "own"}) == 4
