"""The clock runs while a learner learns and stands still while it is judged."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import time_to_score
from benchmarks.time_to_score import Judge, Moment, learn, marks, reached
from blockenv import Policy
from blockenv.scenarios import get
from scripts import time_to_score as script

WORLD = get("Frequency-v0")
SMALL: dict[str, Any] = {"steps": 4096, "envs": 64, "rollout": 8, "batch": 64, "hidden": [8], "critic_hidden": [8]}


def moments(*values: float) -> list[Moment]:
    return [Moment(float(place), place, value, 0.0) for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "expected"), [((0, 3, 1, 2, 2), 3.0), ((0, 1, 1), None), ((0, 1, 5), 2.0), ((4, 4), 0.0), ((5,), 0.0)]
)
def test_a_score_is_reached_when_it_is_not_lost_at_once(values: tuple[float, ...], expected: float | None) -> None:
    assert reached(moments(*values), 2.0) == expected


@pytest.mark.parametrize("learner", ["tensors", "stable_baselines3"])
def test_judging_takes_no_time(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, judged = Judge(WORLD, 16), 0

    def slowly(self: Judge, policy: Policy) -> tuple[float, float]:
        nonlocal judged
        judged += 1
        time.sleep(0.3)
        return float(judged), 1.0

    monkeypatch.setattr(Judge, "over_silence", slowly)
    started = time.perf_counter()
    found = learn(WORLD, "ppo", {**SMALL, "learner": learner}, 0, judge, lambda moment: None)
    took = time.perf_counter() - started
    assert len(found) == judged >= 5
    assert [each.steps for each in found] == sorted({each.steps for each in found})
    assert found[-1].steps == SMALL["steps"]
    assert 0 < found[-1].seconds < took - 0.3 * judged + 0.1


def test_marks_are_those_of_the_cap_and_of_the_line() -> None:
    judge = Judge(WORLD, 64)
    goal = marks(WORLD, judge)
    assert goal.cap_seconds > 0
    assert goal.half_of_line is not None
    assert 5 < goal.half_of_line < 15
    unknown = get({**WORLD.model_dump(), "name": "Unknown-v0"})
    assert time_to_score.marks(unknown, Judge(unknown, 16)).half_of_line is None


def test_the_command_tells_and_writes(tmp_path: Path) -> None:
    out, page = tmp_path / "found.json", tmp_path / "page.md"
    options = ["--steps", "16384", "--customers", "32", "--out", str(out), "--page", str(page)]
    result = CliRunner().invoke(script.app, ["Frequency-v0", *options])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert [each["learner"] for each in found] == ["tensors", "stable_baselines3"]
    assert all(each["steps_a_second"] > 0 and each["digest"] == WORLD.digest for each in found)
    assert "half the line" in result.output
    assert f"| Frequency-v0 | tensors | {found[0]['steps_a_second'] / 1e3:.0f} |" in page.read_text()
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_learner_that_is_none_is_refused() -> None:
    result = CliRunner().invoke(script.app, ["Frequency-v0", "--steps", "100", "--learners", "magic"])
    assert result.exit_code == 2
    assert "magic" in result.output
