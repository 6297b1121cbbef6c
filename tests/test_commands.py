"""The commands, run as a user runs them: what they print, what they leave behind, and how they end."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmarks import store
from benchmarks.curves import read_csv
from benchmarks.training import Run
from blockenv.scenarios import SCENARIOS, get, save
from scripts import cli

ROOT = Path(__file__).parent.parent
COMMANDS = sorted(
    path.stem for path in (ROOT / "scripts").glob("[!_]*.py") if '__name__ == "__main__"' in path.read_text()
)
SUITE = {
    "title": "Tiny",
    "scenarios": ["Frequency-v0", "Style-v0"],
    "agents": ["silence", "cap", "linucb"],
    "seeds": 2,
    "customers": 64,
    "days": 28,
    "settings": {
        "cap": {"gap": 7, "messages": [1], "customers": 32, "days": 28},
        "linucb": {"customers": 64, "days": 28},
    },
}


def command(name: str, *words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{name}", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    for text in (done.stdout, done.stderr):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text), repr(text)
    return done


def well(name: str, *words: object, cwd: Path = ROOT) -> str:
    done = command(name, *words, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(name: str, *words: object) -> str:
    """The one line on the error stream of a command that ends with 2."""
    done = command(name, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder made by the command."""
    logs = tmp_path_factory.mktemp("logs")
    words = ["ppo", "--scenario", "Frequency-v0", "--steps", "20_000", "--seed", "4"]
    options = ["--eval-customers", "32", "--save-freq", "5000", "--log-folder", logs]
    settings = ["--set", "envs=64", "--set", "rollout=16", "--set", "hidden=[16]"]
    told = well("train", *words, *settings, *options)
    folder = logs / "ppo" / "Frequency-v0_1"
    assert told.startswith(f"ppo on Frequency-v0, seed 4, run folder {folder}\n")
    assert told.endswith(f"next: python -m scripts.evaluate {folder}\n")
    last = read_csv(folder / "evaluations.csv")[-1]
    assert f"validation CLV {float(last['eval/mean_reward']):.2f}, over silence" in told
    assert "of 20,000 customer-days: CLV" in told
    return folder


# --- help ---


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_at_hand_at_once(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}', '--help']\n"
        f"try: runpy.run_module('scripts.{name}', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules, 'help has loaded PyTorch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4.0


# --- tables ---


def test_a_table_leaves_out_whole_columns_rather_than_ends_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["rank", "agent", "over silence", "training s"]
    rows = [["1-2", "[cap]", "+0.2 [+0.1, +0.3]", "8.8"], ["1-2", "linucb (2 seeds)", "", "12.5"]]
    for width, missing in ((120, []), (55, ["training s"]), (40, ["over silence", "training s"])):
        monkeypatch.setattr(cli, "console", Console(width=width, file=io.StringIO()))
        cli.console.print(cli.table("two agents", names, rows))
        text = cli.console.file.getvalue()  # type: ignore[attr-defined]
        assert all(len(line) <= width for line in text.splitlines())
        assert "…" not in text
        assert ("no room for" in text) == bool(missing)
        for place, name in enumerate(names):
            for row in rows:
                assert (row[place] in text) == (name not in missing) or not row[place]


# --- train ---


def test_train_makes_a_run_with_the_settings_it_was_given(ppo: Path) -> None:
    run = Run.open(ppo)
    assert run.finished()
    assert (run.config.seed, run.config.save_freq, run.config.eval_customers) == (4, 5000, 32)
    for name, value in {"steps": 20_000, "envs": 64, "rollout": 16, "hidden": [16]}.items():
        assert run.config.settings[name] == value


def test_a_finished_run_is_not_trained_again(ppo: Path) -> None:
    before = (ppo / "progress.csv").read_bytes()
    assert "is finished" in well("train", "--resume", ppo)
    assert (ppo / "progress.csv").read_bytes() == before


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def interrupted(name: str, words: list[object], condition: Callable[[], bool]) -> subprocess.CompletedProcess[str]:
    """The command, stopped by Ctrl-C (a signal to all of its processes) as soon as the condition holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"scripts.{name}", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(condition, process)
    os.killpg(process.pid, signal.SIGINT)
    started = time.monotonic()
    stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - started < 10
    # What multiprocessing starts to clean up after it ends a moment later.
    end = time.monotonic() + 5
    while is_alive(process.pid):
        assert time.monotonic() < end, "somebody was left behind"
        time.sleep(0.02)
    return subprocess.CompletedProcess([], process.returncode, stdout, stderr)


def test_train_stopped_by_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "ppo" / "Frequency-v0_1"
    settings = ["--set", "envs=64", "--set", "rollout=16", "--eval-customers", "2"]
    words = ["ppo", "--scenario", "Frequency-v0", "--steps", "2e6", *settings, "--save-freq", "2000", "-f", tmp_path]
    done = interrupted("train", words, (folder / "checkpoint" / "state.json").exists)
    assert done.returncode == 130, done.stderr
    assert done.stderr == f"stopped; go on with: python -m scripts.train --resume {folder}\n"
    assert not Run.open(folder).finished()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ppo", "--scenario", "Frequence-v0"], "scenario: 'Frequence-v0' is neither a .yaml file nor one of"),
        (["pop"], "agent: 'pop' is neither one of silence"),
        ([], "agent: none given"),
        (["cap", "--set", "pag=3"], "settings of cap: pag: Extra inputs are not permitted"),
        (["cap", "--set", "gap"], "--set 'gap': expected key=value"),
        (["cap", "--set", "gap=["], "--set 'gap=[': the value is not YAML"),
        (["cap", "--set", "gap=often"], "settings of cap: gap: "),
        (["cap", "--set", "messages=[77]", "--scenario", "Frequency-v0"], "messages: 77 is not among 1..1"),
        (["ppo", "--steps", "many"], "--steps: 'many' is no whole number"),
        (["ppo", "--steps", "inf"], "--steps: 'inf' is no whole number"),
        (["silence", "--seed", "-7"], "seed: -7"),
        (["silence", "-f", "LICENSE"], "LICENSE"),
        (["ppo", "--resume", "docs"], "--resume: goes on as the run was begun"),
        (["--resume", "tests"], "tests: is no run folder"),
    ],
)
def test_train_refuses_in_one_line(words: list[str], reason: str) -> None:
    assert reason in refused("train", *words)
    assert not (ROOT / "logs").exists()


# --- evaluate ---


def test_evaluate_compares_with_silence_and_the_cap(ppo: Path) -> None:
    told = well("evaluate", ppo, "--customers", 32)
    assert "ppo on Frequency-v0: 32 held-out customers" in told
    rows = [[word.strip() for word in line.split("│")[1:-1]] for line in told.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows[:3]] == ["silence", "ppo", "cap"]
    assert [row[0] for row in rows[3:]] == [segment.name for segment in get("Frequency-v0").segments]
    assert sum(int(row[1]) for row in rows[3:]) == 32
    assert "…" not in told
    silence = rows[0]
    assert silence[2] == ""
    assert silence[4:] == ["0.00", ""]
    before = (ppo / "cap.json").read_bytes()
    assert well("evaluate", ppo, "--customers", 32) == told
    assert (ppo / "cap.json").read_bytes() == before


def test_evaluate_refuses_what_is_no_run_or_is_damaged(ppo: Path, tmp_path: Path) -> None:
    assert "is no run folder" in refused("evaluate", tmp_path)
    folder = Run.create(tmp_path, "cap", "Frequency-v0").folder
    assert "has no 'policy' yet" in refused("evaluate", folder)
    (folder / "policy").mkdir()
    (folder / "policy" / "agent.json").write_text("{")
    assert "agent.json: cannot be read as a saved agent" in refused("evaluate", folder)
    weights = ppo / "policy" / "policy.pt"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    try:
        assert "policy.pt: cannot be read as weights" in refused("evaluate", ppo)
    finally:
        weights.write_bytes(whole)


# --- benchmark ---


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return path


def test_benchmark_makes_the_tables_and_does_nothing_twice(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = well("benchmark", suite, "--out", out, "--plan")
    assert plan.startswith("Tiny: 2 scenarios x 3 agents make 8 cells, 0 done before, 8 to run on ")
    assert len(plan.splitlines()) == 10
    assert plan.splitlines()[1].startswith("about ")
    assert not out.exists()
    told = well("benchmark", suite, "--out", out, "--workers", 2)
    assert f"8 to run on 2 workers, into {out}" in told
    assert "8/8 " in told
    for scenario in ("Frequency-v0", "Style-v0"):
        assert f"{scenario}: 64 held-out customers, 28 days" in told
    assert "…" not in told
    tables = [(out / name).read_bytes() for name in ("leaderboard.md", "leaderboard.csv")]
    assert b"linucb (2 seeds)" in tables[0]
    again = well("benchmark", suite, "--out", out)
    assert "8 done before, 0 to run" in again
    assert "other code" not in again
    assert [(out / name).read_bytes() for name in ("leaderboard.md", "leaderboard.csv")] == tables


def test_benchmark_tells_of_rows_that_other_code_has_made(suite: Path, tmp_path: Path) -> None:
    suite.write_text(yaml.safe_dump({**SUITE, "agents": ["silence"], "settings": {}}))
    out = tmp_path / "out"
    well("benchmark", suite, "--out", out)
    rows = store.read_rows(out)
    (out / "rows.jsonl").write_text("".join(json.dumps(row | {"key": "k", "code": "0ther"}) + "\n" for row in rows[:1]))
    (out / "values" / f"{rows[0]['key']}.npy").rename(out / "values" / "k.npy")
    told = well("benchmark", suite, "--out", out, "--plan")
    assert "0 done before, 2 to run" in told
    assert "cells with rows of other code only: 1, run again (--any-code would take the rows as they are)" in told
    told = well("benchmark", suite, "--out", out, "--any-code")
    assert "1 done before, 1 to run" in told
    assert "cells with rows of other code only: 1, taken all the same" in told
    assert len(store.read_rows(out)) == 2


def test_a_terminal_is_shown_the_cells_that_are_running(suite: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "scripts.benchmark", str(suite), "--out", str(tmp_path / "out"), "--workers", "1"]
    environment = {**os.environ, "COLUMNS": "250", "TERM": "xterm"}
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 100_000):
                shown += piece
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"Tiny.*[0-7]/8.*running (Frequency|Style)-v0 (linucb|cap|silence) seed [01]", shown)
    assert b"8/8 " in shown


def test_benchmark_writes_to_runs_by_default(suite: Path, tmp_path: Path) -> None:
    suite.write_text(yaml.safe_dump({**SUITE, "agents": ["silence"], "settings": {}}))
    well("benchmark", suite, cwd=tmp_path)
    assert len(store.read_rows(tmp_path / "runs" / "tiny")) == 2


def test_benchmark_stopped_by_ctrl_c_keeps_its_rows(tmp_path: Path) -> None:
    suite, out = tmp_path / "long.yaml", tmp_path / "out"
    slow = {"customers": 4096, "days": 3000}
    changes = {"seeds": 1, "settings": {**SUITE["settings"], "lints": slow}}  # type: ignore[dict-item]
    suite.write_text(yaml.safe_dump({**SUITE, **changes, "agents": ["cap", "linucb", "lints"]}))
    words: list[object] = [suite, "--out", out, "--workers", "3"]
    done = interrupted("benchmark", words, lambda: len(store.read_rows(out)) == 4)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "stopped; the rows of finished cells are kept, the same command goes on from there\n"
    assert len(store.read_rows(out)) == 4
    # Of any code, as somebody may be working here.
    assert "4 done before, 2 to run" in well("benchmark", suite, "--out", out, "--plan", "--any-code")


def test_benchmark_names_what_is_wrong(suite: Path, tmp_path: Path) -> None:
    assert "absent.yaml: cannot be read as YAML" in refused("benchmark", tmp_path / "absent.yaml")
    suite.write_text(yaml.safe_dump({**SUITE, "agents": ["silence", "pop"], "settings": {}}))
    assert "tiny.yaml: agent: 'pop' is neither" in refused("benchmark", suite)


def test_a_policy_of_one_s_own_is_ranked_and_one_that_fails_costs_its_row_only(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "class Quiet:\n"
        "    def act(self, observation, action_mask, rng):\n"
        "        return np.zeros(len(observation), int)\n"
        "class Hangs(Quiet):\n"
        "    def act(self, observation, action_mask, rng):\n"
        "        while True: pass\n"
    )
    suite.write_text(yaml.safe_dump({**SUITE, "agents": ["silence", "random"], "settings": {}}))
    words = ["--agent", "mine:Quiet", "--agent", "mine:Hangs", "--time-limit", 3, "--memory-limit", 500]
    told = well("benchmark", suite, *words, "--workers", 1, cwd=tmp_path)
    assert "Frequency-v0 mine:Hangs seed 0 failed: took more than 3 seconds" in told
    assert "no place for mine:Hangs on Style-v0: took more than 3 seconds" in told
    out = tmp_path / "runs" / "tiny"
    rows = {(row["scenario"], row["agent"]): row for row in store.read_rows(out)}
    for scenario in ("Frequency-v0", "Style-v0"):
        assert rows[scenario, "mine:Quiet"]["value"] == rows[scenario, "silence"]["value"]
        assert rows[scenario, "mine:Quiet"]["limits"] == {"seconds": 3.0, "megabytes": 500}
    assert len(rows) == 6
    assert (out / "leaderboard.md").read_text().count("| failed | mine:Hangs | took more than 3 seconds |") == 2
    assert (out / "leaderboard.csv").read_text().count("mine:Hangs") == 2
    assert refused("benchmark", suite, "--agent", "absent_of_test:Policy").endswith(
        "agent: 'absent_of_test:Policy' cannot be imported (No module named 'absent_of_test')"
    )
    assert "['silence'] listed more than once" in refused("benchmark", suite, "--agent", "silence")


# --- scenarios ---


def test_scenarios_lists_the_canon_with_what_each_isolates() -> None:
    told = well("scenarios")
    for scenario in SCENARIOS.values():
        assert f"blockenv/{scenario.name}" in told
        assert scenario.digest in told


def test_scenarios_shows_one_as_yaml_that_can_be_read_back() -> None:
    shown = yaml.safe_load(well("scenarios", "Style-v0"))
    assert get(shown) == get("Style-v0")


def test_scenarios_saves_one_to_start_from(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert str(path) in well("scenarios", "Style-v0", "--save", path)
    assert get(path) == get("Style-v0")
    save(get("Style-v0"), tmp_path / "other.yaml")
    assert path.read_bytes() == (tmp_path / "other.yaml").read_bytes()


def test_scenarios_refuses_in_one_line(tmp_path: Path) -> None:
    assert "scenario: 'Style' is neither" in refused("scenarios", "Style")
    assert "--save: name the scenario" in refused("scenarios", "--save", tmp_path / "x.yaml")
    assert "absent" in refused("scenarios", "Style-v0", "--save", tmp_path / "absent" / "x.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text(json.dumps({"base": "Style-v0", "discount": 3}))
    assert "broken.yaml: discount: " in refused("scenarios", broken)


# --- card ---


def test_card_refuses_in_one_line(tmp_path: Path) -> None:
    assert "scenario: name one, or ask for --all" in refused("card")
    assert "scenario: name one, or ask for --all" in refused("card", "Retail-v0", "--all")
    assert "scenario: 'Nowhere-v0' is neither" in refused("card", "Nowhere-v0")
    broken = tmp_path / "broken.yaml"
    broken.write_text(json.dumps({"base": "Style-v0", "discount": True}))
    assert "broken.yaml: discount: expected a number, not a truth value" in refused("card", broken)
    words = ["Frequency-v0", "--customers", 8, "--json", tmp_path / "absent" / "card.json"]
    done = command("card", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
