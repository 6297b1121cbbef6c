"""A stranger's policy plays as it would at home, and whatever it does wrong costs its own row and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.agent import AgentError
from benchmarks import experiment, store
from benchmarks.configs import Suite
from benchmarks.leaderboard import Failed, boards
from benchmarks.submissions import Limits, Submission, SubmissionError, described
from benchmarks.tables import csv_text, markdown
from blockenv import play
from blockenv.scenarios import get

ROOT = Path(__file__).parent.parent
MODULE = "foreign_of_test_submissions"
WORLD = get("Frequency-v0")
FOREIGN = '''
import ctypes
import os
import subprocess
import sys
import time

import numpy as np

from agents.agent import AgentSettings
from agents.rules import Silence


class Bare:
    """Nothing but what is asked for."""

    def act(self, observation, action_mask, rng):
        return np.where(action_mask[:, 1], rng.integers(0, 2, len(observation)), 0)


class Knows(Bare):
    def recognise(self, customers):
        self.odd = customers % 2

    def act(self, observation, action_mask, rng):
        return np.where(action_mask[:, 1], self.odd, 0)


class Taught(Bare):
    learns = True

    def __init__(self, scenario):
        self.message = scenario.actions - 1

    def fit(self, seed, monitor):
        self.even = seed % 2 == 0
        monitor.advance(10 + seed, 12, {})

    def act(self, observation, action_mask, rng):
        print("noise on every stream")
        print("more of it", file=sys.stderr)
        return [self.message * int(self.even)] * len(observation)


class Brief(Bare):
    def fit(self, seed):
        self.seed = seed


class Numbers(AgentSettings):
    gap: int = 7


class Set(Silence):
    Settings = Numbers


class Raises(Bare):
    def act(self, observation, action_mask, rng):
        raise RuntimeError("no idea what to send")


class Exits(Bare):
    def fit(self, seed):
        os._exit(9)


class Leaves(Bare):
    def __init__(self):
        sys.exit("enough")


class Segfaults(Bare):
    def act(self, observation, action_mask, rng):
        ctypes.string_at(0)


class Hangs(Bare):
    def act(self, observation, action_mask, rng):
        while True:
            pass


class Sleeps(Bare):
    def fit(self, seed):
        subprocess.Popen(["sleep", "600"], start_new_session=False)
        open(os.environ["NOTE_OF_TEST_SUBMISSIONS"], "w").write(str(os.getpid()))
        time.sleep(600)


class Hoards(Bare):
    def fit(self, seed):
        self.heap = [np.ones(10_000_000) for _ in range(1000)]


class Floats(Bare):
    def act(self, observation, action_mask, rng):
        return np.zeros(len(observation))


class Few(Bare):
    def act(self, observation, action_mask, rng):
        return np.zeros(3, int)


class Beyond(Bare):
    def act(self, observation, action_mask, rng):
        return np.full(len(observation), -1)


class Words(Bare):
    def act(self, observation, action_mask, rng):
        return ["silence"] * len(observation)


class Endless(Bare):
    def act(self, observation, action_mask, rng):
        return np.zeros(100_000_000, np.int8)


class Mute:
    pass
'''


@pytest.fixture(scope="module", autouse=True)
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("foreign")
    (folder / f"{MODULE}.py").write_text(FOREIGN)
    (folder / f"{MODULE}_crashes.py").write_text("import os\nos._exit(4)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


def named(name: str) -> str:
    return f"{MODULE}:{name}"


def served(name: str, limits: Limits, **more: Any) -> Any:
    """What a policy earns on a few customers."""
    with Submission(named(name), limits) as guest:
        guest.make(WORLD, {})
        guest.fit(0)
        return play(guest, WORLD, customers=40, days=10, **more)


# --- what a policy may be ---


@pytest.mark.parametrize("name", ["Bare", "Knows"])
def test_a_policy_plays_as_it_would_in_this_process(name: str, foreign: Path) -> None:
    away = served(name, Limits(), batch=16)
    space: dict[str, Any] = {}
    exec((foreign / f"{MODULE}.py").read_text(), space)
    home = play(space[name](), WORLD, customers=40, days=10, batch=16)
    assert away.messages.sum() > 50
    for field in ("value", "messages", "blocks", "daily_alive"):
        assert getattr(away, field).tolist() == getattr(home, field).tolist()


def test_constructor_and_fit_get_as_much_as_they_take() -> None:
    for seed, message in ((0, 1), (1, 0)):
        with Submission(named("Taught"), Limits()) as guest:
            guest.make(WORLD, {})
            assert guest.fit(seed) == 10 + seed
            found = guest.act(np.zeros((5, 3)), np.ones((5, 2), bool), np.random.default_rng(0))
            assert found.tolist() == [message] * 5
    with Submission(named("Brief"), Limits()) as guest:
        guest.make(WORLD, {})
        assert guest.fit(3) == 0


def test_what_it_says_of_itself() -> None:
    bare, taught, brief = (described(named(name)) for name in ("Bare", "Taught", "Brief"))
    assert (bare.settings, bare.learns, taught.learns, brief.learns) == ({}, False, True, True)
    assert len({bare.code, taught.code, brief.code}) == 1
    assert described(named("Set"), {"gap": 3}).settings == {"gap": 3}
    assert described(named("Set")).settings == {"gap": 7}


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("mute", {}, "neither one of silence"),
        ("absent_of_test:Policy", {}, "cannot be imported .*No module named"),
        (named("Absent"), {}, "cannot be imported .*no attribute 'Absent'"),
        (named("Mute"), {}, "has no method act"),
        (named("Set"), {"pag": 1}, "settings of .*Set: pag: Extra inputs"),
        (named("Bare"), {"gap": 1}, "its class has no Settings"),
    ],
)
def test_a_mistake_of_whoever_named_it_is_told(name: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(AgentError, match=reason):
        described(name, changes)


# --- what it may do wrong ---


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Raises", "RuntimeError: no idea what to send"),
        ("Exits", r"its process died \(exit code 9\)"),
        ("Leaves", "SystemExit: enough"),
        ("Segfaults", r"its process died \(signal SIGSEGV\)"),
        ("Hangs", "took more than 5 seconds"),
        ("Hoards", r"MemoryError: .*\(it may use 400 MB\)"),
        ("Words", "TypeError: action: dtype <U7, expected integers"),
        ("Endless", "its process sent more than an answer can be"),
    ],
)
def test_what_fails_is_told_in_a_line(name: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(SubmissionError, match=reason) as caught:
        served(name, Limits(5.0, 400))
    assert time.monotonic() - started < 15
    assert ('raise RuntimeError("no idea what to send")' in caught.value.details) == (name == "Raises")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Floats", "dtype float64, expected integers"),
        ("Few", r"shape \(3,\), expected \(40,\)"),
        ("Beyond", r"action\[0\]: -1 is not among 0..1"),
    ],
)
def test_what_is_no_action_is_refused_as_from_anybody(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        served(name, Limits())


@pytest.mark.parametrize("how", ["time limit", "host killed"])
def test_nothing_of_it_stays_behind(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    monkeypatch.setenv("NOTE_OF_TEST_SUBMISSIONS", str(note))
    if how == "time limit":
        with pytest.raises(SubmissionError, match="took more than 4 seconds"):
            served("Sleeps", Limits(4.0))
    else:
        program = (
            f"import sys; sys.path.insert(0, {sys.path[0]!r})\n"
            "from tests.test_submissions import *\n"
            "served('Sleeps', Limits(60.0))\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        host = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=ROOT)
        until(lambda: note.exists() and note.read_text() != "")
        host.kill()
        host.wait()
    group = int(note.read_text())
    until(lambda: not alive_in(group))


def alive_in(group: int) -> list[int]:
    """Processes of a group that are not merely waiting to be noticed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(own) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# --- in a suite ---


def suite(*names: str, **changes: Any) -> Suite:
    fields = {"title": "Foreign", "scenarios": ["Frequency-v0"], "customers": 32, "days": 14, "seeds": 2}
    return Suite(**{**fields, "agents": ["silence", *names], **changes})


def test_in_a_suite_all_failures_are_rows_and_the_others_are_ranked(tmp_path: Path) -> None:
    names = [named(name) for name in ("Raises", "Exits", "Floats", "Taught")] + [f"{MODULE}_crashes:Policy"]
    rows = experiment.run(suite(*names), tmp_path, 2, limits=Limits(20.0, 1000))
    failed = {(row["agent"], row["seed"]): row["failed"] for row in rows if "failed" in row}
    assert failed == {
        (names[0], 0): "RuntimeError: no idea what to send",
        (names[1], 0): "its process died (exit code 9)",
        (names[1], 1): "its process died (exit code 9)",
        (names[2], 0): "ValueError: action: dtype float64, expected integers",
        (names[4], 0): "its process died (exit code 4)",
    }
    assert [row["agent"] for row in rows] == [
        "silence",
        names[0],
        names[1],
        names[1],
        names[2],
        *[names[3]] * 2,
        names[4],
    ]
    assert {row["agent"] for row in store.read_rows(tmp_path)} == {"silence", names[3]}
    assert len((tmp_path / "failures.jsonl").read_text().splitlines()) == 5
    traces = [path.read_text() for path in (tmp_path / "failures").iterdir()]
    assert any('raise RuntimeError("no idea what to send")' in trace for trace in traces)
    (board,) = boards(rows, tmp_path)
    assert {entry.agent for entry in board.entries} == {"silence", names[3]}
    assert Failed(names[1], "seed 0: its process died (exit code 9)") in board.failed
    assert f"| failed | {names[0]} | RuntimeError: no idea what to send |" in markdown([board], "Foreign")
    assert csv_text([board]).count("no idea what to send") == 1
    # What failed is tried again, what went well is not.
    again = experiment.run(suite(*names), tmp_path, 1, limits=Limits(20.0, 1000))
    assert [row["key"] for row in again] == [row["key"] for row in rows]
    assert len((tmp_path / "failures.jsonl").read_text().splitlines()) == 10


def test_an_agent_that_lost_one_training_seed_has_no_place(tmp_path: Path) -> None:
    rows = experiment.run(suite(named("Taught")), tmp_path, 1)
    lost = {name: value for name, value in rows[2].items() if name in ("key", "scenario", "digest", "agent", "seed")}
    fields = {"customers": 32, "days": 14, "settings": {}, "failed": "took more than 1 seconds"}
    (board,) = boards([*rows[:2], lost | fields], tmp_path)
    assert [entry.agent for entry in board.entries] == ["silence"]
    assert board.failed == [Failed(named("Taught"), "seed 1: took more than 1 seconds")]
    (empty,) = boards([lost | fields], tmp_path)
    assert (empty.entries, len(empty.failed)) == ([], 1)
    assert "failed" in markdown([empty], "Nobody")


def test_a_failed_row_is_one_line_that_says_what_was_tried(tmp_path: Path) -> None:
    experiment.run(suite(named("Raises")), tmp_path, 1, limits=Limits(20.0, 1000))
    (line,) = (tmp_path / "failures.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["limits"] == {"seconds": 20.0, "megabytes": 1000}
    assert {"key", "code", "scenario", "digest", "agent", "seed", "settings", "versions", "commit"} <= row.keys()


def test_a_worker_that_is_ended_takes_its_guest_with_it(tmp_path: Path) -> None:
    # The parent of the workers hears Ctrl-C alone; see `benchmarks.workers`.
    note = tmp_path / "note"
    program = (
        f"import sys; sys.path.insert(0, {sys.path[0]!r})\n"
        "from pathlib import Path\n"
        "from tests.test_submissions import *\n"
        "if __name__ == '__main__':\n"
        f"    experiment.run(suite(named('Sleeps')), Path({str(tmp_path)!r}), 1)\n"
    )
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTE_OF_TEST_SUBMISSIONS": str(note)}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], env=environment, cwd=ROOT, stderr=subprocess.DEVNULL
    ) as parent:
        until(lambda: note.exists() and note.read_text() != "")
        parent.send_signal(signal.SIGTERM)
        parent.wait(20)
    group = int(note.read_text())
    until(lambda: not alive_in(group))
