"""A suite gives the same rows however often it is killed, and an agent that fails costs its own row only."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import AGENTS, agent_class
from agents.agent import learns
from benchmarks import configs, experiment, store
from benchmarks.cells import Cell, cells, stored
from benchmarks.configs import Suite
from blockenv import play
from blockenv.rollout import EVALUATION_SEED
from blockenv.scenarios import get, save

ROOT = Path(__file__).parent.parent
# The last three, as somebody may be working here.
TIMES = ("training_seconds", "playing_seconds", "commit", "code", "key")
TINY: dict[str, Any] = {
    "title": "Tiny",
    "scenarios": ["Frequency-v0", "Style-v0"],
    "agents": ["silence", "cap", "lints"],
    "seeds": 2,
    "customers": 64,
    "days": 28,
    "settings": {
        "cap": {"gap": 7, "messages": [1], "customers": 32, "days": 28},
        "lints": {"customers": 64, "days": 28},
    },
}
PROGRAM = """
import sys
from pathlib import Path
from benchmarks import configs, experiment

if __name__ == "__main__":
    experiment.run(configs.suite(Path(sys.argv[1])), Path(sys.argv[2]), 2)
"""


def tiny(**changes: Any) -> Suite:
    return Suite(**{**TINY, **changes})


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


class Notes(experiment.Watcher):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, cell: Cell) -> None:
        self.events.append(("started", str(cell)))

    def finished(self, cell: Cell, row: dict[str, Any]) -> None:
        assert row["key"] == cell.key
        self.events.append(("finished", str(cell)))

    def failed(self, cell: Cell, reason: str) -> None:
        self.events.append((f"failed: {reason}", str(cell)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    notes = Notes()
    experiment.run(tiny(), folder, 2, notes)
    names = [str(cell) for cell in cells(tiny())]
    assert [name for event, name in notes.events if event == "started"] == names
    assert sorted(name for event, name in notes.events if event == "finished") == sorted(names)
    return folder


# --- cells ---


def test_learners_are_trained_with_every_seed_and_rules_once() -> None:
    found = [(cell.world.name, cell.agent, cell.seed) for cell in cells(tiny())]
    assert sorted(found) == sorted(
        (scenario, agent, seed)
        for scenario in TINY["scenarios"]
        for agent, seeds in (("silence", 1), ("cap", 1), ("lints", 2))
        for seed in range(seeds)
    )


def test_the_classes_say_themselves_who_needs_several_training_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = {name: learns(agent_class(name)) for name in AGENTS}
    assert {by_name[name] for name in ("silence", "random", "greedy", "weekly", "cap", "rfm")} == {False}
    assert {by_name[name] for name in ("linucb", "lints_priced", "dqn", "ppo")} == {True}
    (tmp_path / "mute_of_test_experiment.py").write_text(
        "from agents.agent import AgentSettings\nclass Mute:\n    Settings = AgentSettings\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert learns(agent_class("mute_of_test_experiment:Mute"))


def test_the_window_is_the_scenarios_unless_the_suite_says_otherwise() -> None:
    assert {cell.days for cell in cells(tiny())} == {28}
    for cell in cells(tiny(days=None)):
        assert cell.days == cell.world.evaluation_days


def test_long_cells_come_first() -> None:
    order = [cell.agent for cell in cells(tiny(settings={"cap": {"messages": [1]}, "lints": {"days": 1}}))]
    assert order == ["cap", "cap", "lints", "lints", "lints", "lints", "silence", "silence"]


def test_a_key_changes_with_everything_that_tells_cells_apart() -> None:
    world = get("Frequency-v0")
    cell = Cell(world, "cap", 0, 64, 28, {"gap": 7})
    segment = world.segments[0]
    richer = segment.model_copy(update={"organic_rate": segment.organic_rate * 1.001})
    others = [
        cell._replace(world=world.model_copy(update={"name": "Other-v0"})),
        cell._replace(world=world.model_copy(update={"segments": (richer, *world.segments[1:])})),
        cell._replace(agent="rfm"),
        cell._replace(seed=1),
        cell._replace(customers=65),
        cell._replace(days=29),
        cell._replace(settings={"gap": 8}),
        cell._replace(settings={"gap": 7, "days": 1}),
        cell._replace(code="c0ffee"),
    ]
    assert len({cell.key, *(other.key for other in others)}) == 1 + len(others)
    assert cell.key == cell._replace(settings=dict(cell.settings)).key
    assert len(cell.key) == 16


# --- runs ---


def test_rows_hold_what_a_play_of_the_held_out_customers_gives(undisturbed: Path) -> None:
    rows = experiment.run(tiny(), undisturbed, 1)
    assert [(row["scenario"], row["agent"], row["seed"]) for row in rows] == [
        (scenario, agent, seed)
        for scenario in TINY["scenarios"]
        for agent, seed in (("silence", 0), ("cap", 0), ("lints", 0), ("lints", 1))
    ]
    row = rows[1]
    kind = agent_class("cap")
    agent = kind(get("Frequency-v0"), kind.Settings(**TINY["settings"]["cap"]))
    result = play(agent, "Frequency-v0", EVALUATION_SEED, 64, days=28)
    assert store.read_values(undisturbed, row) == pytest.approx(result.value, rel=1e-6)
    assert row["value"] == pytest.approx(result.value.mean())
    assert row["messages_a_week"] == pytest.approx(7 * result.messages.sum() / result.days.sum())
    assert row["reach_after_year"]["email"] == pytest.approx(result.reach_after_year[0].mean())
    assert row["digest"] == get("Frequency-v0").digest
    assert row["versions"]["numpy"] == np.__version__
    assert row["training_days"] > 0
    silence = rows[0]
    assert (silence["messages_a_week"], silence["blocks_per_1000_messages"], silence["training_days"]) == (0, None, 0)


def test_a_suite_that_is_done_is_not_run_again(undisturbed: Path) -> None:
    before = (undisturbed / "rows.jsonl").read_bytes()
    notes = Notes()
    rows = experiment.run(tiny(), undisturbed, 2, notes)
    assert notes.events == []
    assert len(rows) == 8
    assert (undisturbed / "rows.jsonl").read_bytes() == before


def test_a_wider_suite_runs_only_what_is_new(undisturbed: Path, tmp_path: Path) -> None:
    for path in undisturbed.rglob("*.*"):
        target = tmp_path / path.relative_to(undisturbed)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    notes = Notes()
    rows = experiment.run(tiny(seeds=3), tmp_path, 2, notes)
    assert sorted(name for event, name in notes.events if event == "finished") == [
        "Frequency-v0 lints seed 2",
        "Style-v0 lints seed 2",
    ]
    assert len(rows) == 10
    # A narrower one returns its own rows only.
    assert len(experiment.run(tiny(agents=["silence"], settings={}), tmp_path, 1)) == 2


@pytest.mark.parametrize("moment", ["early", "first row", "third row"])
def test_a_suite_that_was_killed_ends_with_the_same_rows_and_values(
    undisturbed: Path, tmp_path: Path, moment: str
) -> None:
    path, folder = tmp_path / "tiny.yaml", tmp_path / "killed"
    path.write_text(json.dumps(TINY))
    (tmp_path / "program.py").write_text(PROGRAM)
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(path), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    rows = {"early": 0, "first row": 1, "third row": 3}[moment]
    end = time.monotonic() + 60
    while len(store.read_rows(folder)) < rows or not folder.exists():
        assert started.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    before = len(store.read_rows(folder))
    assert rows <= before < 8
    found = experiment.run(configs.suite(path), folder, 2)
    expected = experiment.run(tiny(), undisturbed, 1)
    assert told(found) == told(expected)
    for one, other in zip(found, expected, strict=True):
        assert store.read_values(folder, one).tobytes() == store.read_values(undisturbed, other).tobytes()
    assert all(json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines())


# --- code ---


def of_other_code(undisturbed: Path, target: Path, code: str | None) -> None:
    """A store as other code would have left it, with keys of its own and values one higher; None does not say."""
    for row in store.read_rows(undisturbed):
        other = {**row, "key": f"{code}{row['key']}", "code": code, "value": row["value"] + 1}
        values = store.read_values(undisturbed, row) + 1
        store.write(target, {name: value for name, value in other.items() if name != "code" or code}, values)


@pytest.mark.parametrize("code", ["0ther", None])
def test_rows_of_other_code_are_left_aside_and_run_again(undisturbed: Path, tmp_path: Path, code: str | None) -> None:
    folder, notes = tmp_path / "store", Notes()
    of_other_code(undisturbed, folder, code)
    some = tiny(scenarios=["Frequency-v0"], agents=["silence", "cap"], settings={"cap": TINY["settings"]["cap"]})
    found = stored(cells(some), folder)
    assert (found.rows, found.other_code) == ([None, None], 2)
    before = (folder / "rows.jsonl").read_bytes()
    rows = experiment.run(some, folder, 1, notes)
    expected = experiment.run(some, undisturbed, 1)
    assert told(rows) == told(expected)
    assert len([event for event, _ in notes.events if event == "finished"]) == 2
    # What was there stays, rows and values, and is not asked again.
    assert (folder / "rows.jsonl").read_bytes().startswith(before)
    assert len(store.read_rows(folder)) == 10
    found = stored(cells(some), folder)
    assert (None in found.rows, found.other_code) == (False, 0)


@pytest.mark.parametrize("code", ["0ther", None])
def test_rows_of_any_code_are_taken_if_told_so(undisturbed: Path, tmp_path: Path, code: str | None) -> None:
    folder, notes = tmp_path / "store", Notes()
    of_other_code(undisturbed, folder, code)
    assert stored(cells(tiny()), folder, any_code=True).other_code == 8
    rows = experiment.run(tiny(), folder, 1, notes, any_code=True)
    expected = experiment.run(tiny(), undisturbed, 1)
    assert notes.events == []
    assert [row["value"] for row in rows] == [row["value"] + 1 for row in expected]
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_allclose(store.read_values(folder, row), store.read_values(undisturbed, other) + 1, rtol=1e-6)


def test_any_code_prefers_its_own_and_then_the_latest(undisturbed: Path, tmp_path: Path) -> None:
    some = tiny(scenarios=["Style-v0"], agents=["silence"], settings={})
    (own,) = experiment.run(some, undisturbed, 1)
    values = store.read_values(undisturbed, own)
    for number in range(2):
        store.write(tmp_path, own | {"key": f"k{number}", "code": f"c{number}"}, values)
    (found,) = experiment.run(some, tmp_path, 1, any_code=True)
    assert found["code"] == "c1"
    store.write(tmp_path, own, values)
    store.write(tmp_path, own | {"key": "k3", "code": "c3"}, values)
    (found,) = experiment.run(some, tmp_path, 1, any_code=True)
    assert found == own


def test_rows_of_other_settings_are_no_answer_whatever_their_code(undisturbed: Path, tmp_path: Path) -> None:
    suite = tiny(settings={**TINY["settings"], "cap": {**TINY["settings"]["cap"], "gap": 6}})
    of_other_code(undisturbed, tmp_path / "other", "0ther")
    found = stored(cells(suite), tmp_path / "other", any_code=True)
    assert [cell.agent for cell, row in zip(cells(suite), found.rows, strict=True) if row is None] == ["cap", "cap"]


def test_the_committed_rows_do_not_say_their_code_or_say_it_well() -> None:
    """Rows that are older than the field are read like any others, and count as made by unknown code."""
    path = ROOT / "benchmarks" / "results" / "quick" / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows
    for row in rows:
        assert re.fullmatch("[0-9a-f]{16}", row.get("code", "0" * 16))
        assert {"key", "scenario", "digest", "agent", "seed", "customers", "days", "settings"} <= row.keys()


def test_a_scenario_file_is_played_as_it_is_even_if_it_bears_a_name_of_the_canon(tmp_path: Path) -> None:
    world = get("Frequency-v0")
    path = tmp_path / "mine.yaml"
    save(world.model_copy(update={"commerce": world.commerce.model_copy(update={"margin": 0.9})}), path)
    suite = tiny(scenarios=[str(path)], agents=["silence"], settings={})
    (row,) = experiment.run(suite, tmp_path / "store", 1)
    expected = play(agent_class("silence")(get(path)), path, EVALUATION_SEED, 64, days=28)
    assert row["digest"] == get(path).digest != world.digest
    assert row["value"] == pytest.approx(expected.value.mean())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        experiment.run(tiny(), tmp_path / "file", 1)


def test_reference_lines_are_played_at_home_and_rank_beside_the_others(tmp_path: Path) -> None:
    suite = Suite(title="Lines", scenarios=["Frequency-v0"], agents=["silence", "oracle"], customers=12, days=14)
    rows = experiment.run(suite, tmp_path, 1)
    assert [row["agent"] for row in rows] == ["silence", "oracle"]
    assert not any("failed" in row for row in rows)
    assert rows[1]["messages_a_week"] > 0
