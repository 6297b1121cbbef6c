"""Processes that work off tasks: what fails costs itself only, and nobody stays behind."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.workers import Failure, work

TASKS = '''
import os
import signal
import sys
import time


class Stubborn(Exception):
    """Cannot be sent from one process to another."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def task(word):
    if word == "raise":
        raise Stubborn("this", "that")
    if word == "leave":
        sys.exit(3)
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "vanish":
        os._exit(7)
    if word == "threads":
        return os.environ["OMP_NUM_THREADS"]
    if word.startswith("note "):
        open(word[5:], "w").write(str(os.getpid()))
        time.sleep(60)
    return word.upper()


if __name__ == "__main__":
    from benchmarks.workers import work

    for _ in work(task, [f"note {path}" for path in sys.argv[1:]], 2, print):
        pass
'''
ROOT = Path(__file__).parent.parent


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    name = "tasks_of_test_workers"
    (tmp_path / f"{name}.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name).task
    sys.modules.pop(name)


def answers(task: Callable[[str], str], words: list[str], workers: int) -> dict[str, Any]:
    return dict(work(task, words, workers, lambda _: None))


def test_every_task_gets_its_answer_and_is_announced(task: Callable[[str], str]) -> None:
    words, announced = [f"w{number}" for number in range(6)], []
    found = dict(work(task, words, 2, announced.append))
    assert found == {word: word.upper() for word in words}
    assert announced == words


def test_without_tasks_no_process_is_started(task: Callable[[str], str]) -> None:
    assert answers(task, [], 2) == {}


def test_a_task_that_fails_costs_itself_only(task: Callable[[str], str]) -> None:
    found = answers(task, ["raise", "die", "vanish", "leave", "well", "fine"], 2)
    assert found["raise"].reason == "Stubborn: this and that"
    assert "raise Stubborn" in found["raise"].details
    assert found["leave"].reason == "SystemExit: 3"
    assert found["die"] == Failure("its process died (signal SIGKILL; out of memory?)", "")
    assert found["vanish"] == Failure("its process died (exit code 7)", "")
    assert (found["well"], found["fine"]) == ("WELL", "FINE")


def test_workers_use_one_thread_and_the_parent_keeps_its_own(
    task: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert answers(task, ["threads"], 1) == {"threads": "1"}
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "MKL_NUM_THREADS" not in os.environ


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_its_parent(task: Callable[[str], str], tmp_path: Path, how: signal.Signals) -> None:
    notes = [tmp_path / "one", tmp_path / "two"]
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "tasks_of_test_workers.py"), *map(str, notes)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: all(note.exists() and note.read_text() for note in notes))
    workers = [int(note.read_text()) for note in notes]
    parent.send_signal(how)
    assert parent.wait(10) != 0
    until(lambda: all(gone(pid) for pid in workers), 5)
