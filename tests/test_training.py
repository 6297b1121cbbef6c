"""A training run keeps everything in its folder, and a kill at any moment changes nothing in the end."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import agent_class
from agents.agent import AgentError
from benchmarks.configs import ConfigError
from benchmarks.curves import read_csv
from benchmarks.training import VALIDATION_SEED, Run, RunConfig
from blockenv import EVALUATION_SEED, play
from blockenv.scenarios import get, save

ROOT = Path(__file__).parent.parent
ROWS = 16 * 8  # customer-days of a rollout
STEPS = 8 * ROWS
SETTINGS = {"steps": STEPS, "envs": 16, "rollout": 8, "batch": 64, "hidden": [8]}
OPTIONS: dict[str, Any] = {"eval_freq": 3 * ROWS, "eval_customers": 8, "save_freq": 2 * ROWS}
CAP = {"gap": 7, "messages": [1], "customers": 8, "days": 7}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A scenario whose evaluation takes no time."""
    path = tmp_path_factory.mktemp("world") / "short.yaml"
    save(get("Frequency-v0").model_copy(update={"name": "Short-v0", "evaluation_days": 28}), path)
    return str(path)


@pytest.fixture(scope="module")
def trained(world: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("logs"), "ppo", world, 3, SETTINGS, **OPTIONS)
    run.train()
    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- the folder ---


def test_a_run_keeps_everything_in_its_folder(trained: Run) -> None:
    assert trained.folder.parts[-2:] == ("ppo", "Short-v0_1")
    assert names(trained.folder) == {
        "config.yaml",
        "metadata.json",
        "progress.csv",
        "evaluations.csv",
        "tb",
        "best",
        "policy",
        "checkpoint",
        "model.zip",
    }
    assert names(trained.folder / "policy") == names(trained.folder / "best") == {"agent.json", "policy.pt"}
    metadata = json.loads((trained.folder / "metadata.json").read_text())
    assert metadata["versions"]["torch"] == torch.__version__
    assert (metadata["scenario"], metadata["digest"]) == ("Short-v0", trained.scenario.digest)
    assert trained.finished()


def test_nothing_is_overwritten(world: str, tmp_path: Path) -> None:
    (tmp_path / "cap" / "Short-v0_2").mkdir(parents=True)
    folders = [Run.create(tmp_path, "cap", world, changes=CAP).folder.name for _ in range(3)]
    assert folders == ["Short-v0_1", "Short-v0_3", "Short-v0_4"]
    assert names(tmp_path / "cap" / "Short-v0_2") == set()


def test_the_config_tells_the_whole_run(trained: Run) -> None:
    again = Run.open(trained.folder)
    assert again.config == trained.config
    assert again.scenario == trained.scenario
    assert again.agent.settings == trained.agent.settings  # type: ignore[attr-defined]
    assert (again.config.seed, again.config.eval_freq, again.config.save_freq) == (3, 3 * ROWS, 2 * ROWS)
    assert again.config.settings["hidden"] == [8]
    fields = yaml.safe_load((trained.folder / "config.yaml").read_text())
    assert set(fields) == set(RunConfig.model_fields)


def test_frequencies_follow_the_length_of_the_run_unless_given(world: str, tmp_path: Path) -> None:
    config = Run.create(tmp_path, "ppo", world, changes=SETTINGS).config
    assert (config.eval_freq, config.save_freq, config.eval_customers) == (STEPS // 4, STEPS // 10, 2048)


# --- what is measured ---


def test_progress_and_evaluations_are_tables(trained: Run) -> None:
    progress, evaluations = (read_csv(trained.folder / name) for name in ("progress.csv", "evaluations.csv"))
    assert [int(row["steps"]) for row in progress] == [ROWS * update for update in range(1, 9)]
    assert [int(row["steps"]) for row in evaluations] == [3 * ROWS, 6 * ROWS, STEPS]
    assert {"time/fps", "clv/messages_a_week", "train/value_loss"} <= set(progress[-1])
    assert all(np.isfinite(float(value)) for row in evaluations for value in row.values())
    agent = trained.trained_agent()
    result = play(agent, trained.scenario, VALIDATION_SEED, 8)
    silence = play(agent_class("silence")(trained.scenario), trained.scenario, VALIDATION_SEED, 8)
    last = {name: float(value) for name, value in evaluations[-1].items()}
    assert last["eval/mean_reward"] == pytest.approx(result.value.mean())
    assert last["eval/over_silence"] == pytest.approx(result.value.mean() - silence.value.mean())
    assert last["eval/reach_email"] == pytest.approx(result.reach_after_year.mean())


def test_validation_customers_are_not_those_of_the_leaderboard() -> None:
    assert VALIDATION_SEED != EVALUATION_SEED


def test_the_best_policy_is_that_of_the_best_evaluation(trained: Run) -> None:
    rewards = [float(row["eval/mean_reward"]) for row in read_csv(trained.folder / "evaluations.csv")]
    result = play(trained.trained_agent("best"), trained.scenario, VALIDATION_SEED, 8)
    assert result.value.mean() == pytest.approx(max(rewards))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "time/fps"
    }


def columns(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What the two tables say, in the form of `scalars`."""
    found: dict[str, list[tuple[int, float]]] = {}
    for name in ("progress.csv", "evaluations.csv"):
        for row in read_csv(folder / name):
            for tag, value in row.items():
                if value != "" and tag not in ("steps", "time/fps"):
                    found.setdefault(tag, []).append((int(row["steps"]), float(np.float32(value))))
    return found


def test_tensorboard_shows_the_same_curves(trained: Run) -> None:
    assert scalars(trained.folder) == columns(trained.folder)


def test_rules_have_runs_as_well(world: str, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    run = Run.create(
        tmp_path, "cap", world, 1, CAP, eval_customers=8, show=lambda done, total, _: shown.append((done, total))
    )
    final = run.train()
    assert shown[-1][0] == shown[-1][1] == int(read_csv(run.folder / "evaluations.csv")[-1]["steps"]) > 0
    assert final["eval/messages_a_week"] == pytest.approx(1, abs=0.3)
    assert Run.open(run.folder).trained_agent().gap == 7  # type: ignore[attr-defined]
    assert scalars(run.folder) == columns(run.folder)


# --- what cannot be ---


@pytest.mark.parametrize(
    ("agent", "scenario", "seed", "changes", "reason"),
    [
        ("pop", "Frequency-v0", 0, {}, "agent: 'pop' is neither"),
        ("ppo", "Frequence-v0", 0, {}, "scenario: 'Frequence-v0' is neither"),
        ("ppo", "Frequency-v0", 0, {"step": 3}, "settings of ppo: step: "),
        ("ppo", "Frequency-v0", -1, {}, "seed: -1"),
        ("ppo", "Frequency-v0", 0, {"device": "abacus"}, "device: 'abacus' cannot be used"),
        ("cap", "Frequency-v0", 0, {"messages": [99]}, "messages: 99 is not among"),
    ],
)
def test_a_run_that_cannot_be_leaves_no_folder(
    tmp_path: Path, agent: str, scenario: str, seed: int, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Run.create(tmp_path, agent, scenario, seed, changes)
    assert names(tmp_path) == set()


def test_a_log_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Run.create(tmp_path / "file", "silence", "Frequency-v0")


def test_a_full_disk_leaves_no_half_begun_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Run.create(tmp_path, "silence", "Frequency-v0")
    assert names(tmp_path / "silence") == set()


def test_a_disk_that_fills_while_learning_leaves_whole_files_to_go_on_with(
    trained: Run, world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path, "ppo", world, 3, SETTINGS, **OPTIONS)
    replace, count = os.replace, 0

    def sometimes_full(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 12:
            raise OSError(28, "No space left on device")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", sometimes_full)
    with pytest.raises(OSError, match="No space left"):
        run.train()
    monkeypatch.undo()
    assert not run.finished()
    for path in run.folder.rglob("*.json"):
        json.loads(path.read_text())
    Run.open(run.folder).train()
    assert outcome(run.folder) == outcome(trained.folder)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda c: c["scenario"].update(discount=0.5), "digest: .* was it edited"),
        (lambda c: c["scenario"].update(discount=2), "config.yaml: scenario: discount: "),
        (lambda c: c.pop("seed"), "seed: Field required"),
        (lambda c: c.update(seed="first"), "seed: .*'first'"),
        (lambda c: c.update(eval_freq=0), "eval_freq: .*greater than or equal to 1"),
        (lambda c: c.update(sede=1), "sede: Extra inputs"),
        (lambda c: c.update(agent="pop"), "config.yaml: agent: 'pop'"),
        (lambda c: c["settings"].update(step=1), "config.yaml: settings of ppo: step: "),
    ],
)
def test_a_config_changed_by_hand_is_refused(trained: Run, tmp_path: Path, edit: Any, reason: str) -> None:
    config = yaml.safe_load((trained.folder / "config.yaml").read_text())
    edit(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=reason):
        Run.open(tmp_path)


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=rf"{folder.name}: is no run folder"):
            Run.open(folder)


def test_a_run_without_a_policy_yet_says_so(world: str, tmp_path: Path) -> None:
    run = Run.create(tmp_path, "ppo", world, changes=SETTINGS)
    with pytest.raises(AgentError, match=r"has no 'policy' yet, go on with --resume$"):
        run.trained_agent()
    (run.folder / "best").mkdir()
    with pytest.raises(AgentError, match=r"--resume; --best has one$"):
        run.trained_agent()


# --- killed and resumed ---


def outcome(folder: Path) -> tuple[Any, ...]:
    """All that must be the same in the end: weights, tables without the clock, curves, no leftovers."""
    weights = torch.load(folder / "policy" / "policy.pt", weights_only=True)
    tables = []
    for name in ("progress.csv", "evaluations.csv"):
        with (folder / name).open(newline="") as file:
            tables.append([{tag: row[tag] for tag in row if tag != "time/fps"} for row in csv.DictReader(file)])
    best = (folder / "best" / "policy.pt").read_bytes()
    plain = {name: tensor.numpy().tobytes() for name, tensor in weights.items()}
    return plain, tables, best, scalars(folder), names(folder)


# Every change of the run folder is a moment at which a kill can strike. Forks of a process that has trained once
# spare the imports, some of which PyTorch puts off until then.
KILLER = """
import os, signal, sys
from pathlib import Path
import agents.deep, torch.utils.tensorboard
from benchmarks.training import Run

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def train(folder, moment):
    run = Run.open(Path(folder))
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in CHANGES or event == "open" and folder in str(arguments[0]) and arguments[2] & WRITES:
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    run.train()
    return count

Run.open(Path(sys.argv[1])).train()
for line in sys.stdin:
    folder, *moments = line.split()
    for moment in moments:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            count = train(folder, int(moment))
            os.write(writing, str(count).encode())
            os._exit(0)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), os.read(reading, 20).decode() or 0, flush=True)
        os.close(reading)
"""


def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(trained: Run, world: str, tmp_path: Path) -> None:
    template = Run.create(tmp_path, "ppo", world, 3, SETTINGS, **OPTIONS).folder
    expected = outcome(trained.folder)

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(template, tmp_path / name))

    program = subprocess.Popen(
        [sys.executable, "-c", KILLER, str(fresh("warm"))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def train(folder: Path, *moments: int) -> list[tuple[int, int]]:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(" ".join([str(folder), *map(str, moments)]) + "\n")
        program.stdin.flush()
        endings = [program.stdout.readline().split() for _ in moments]
        return [(int(code), int(count)) for code, count in endings]

    whole = fresh("whole")
    ((code, changes),) = train(whole, 0)
    assert code == 0
    assert outcome(whole) == expected
    assert changes > 60
    for number, moment in enumerate(range(2, changes, changes // 8)):
        folder = fresh(f"killed{moment}")
        # Every other time the resumed run is killed as well, where enough of it is left.
        kills = [moment] if number % 2 or changes - moment < changes // 5 else [moment, 1 + changes // 5]
        endings = train(folder, *kills, 0)
        assert [code for code, _ in endings] == [-9] * (len(endings) - 1) + [0], (moment, endings)
        assert outcome(folder) == expected, moment
    program.communicate()
    assert program.returncode == 0
