"""Anybody's own policy on the leaderboard: it plays from a process of its own, and can lose nothing but its row.

The customers are simulated on this side; the policy sees observations and masks and sends back actions. What it sends
is read as numbers and never unpickled. This keeps accidents apart; it is no prison for code that means harm.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from agents import KNOWN
from agents.agent import AgentError
from benchmarks.guest import Described
from benchmarks.workers import ending
from blockenv.scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent
_LONGEST_ANSWER = 2**26  # bytes
_DESCRIBING = 60.0  # seconds


class Limits(NamedTuple):
    """What a policy may use for one row: wall-clock seconds in which we wait for it, and memory of its process."""

    seconds: float = 1800.0
    megabytes: int = 4096


class SubmissionError(RuntimeError):
    """A policy that failed; the message says how in one line, `details` is its own traceback where there is one."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.details = details


def is_submission(agent: str) -> bool:
    """Whether an agent is somebody's own, named by package.module:Class."""
    return agent not in KNOWN


def described(name: str, changes: Mapping[str, Any] | None = None) -> Described:
    """What a policy says of itself, asked once in a process of its own.

    Raises:
        AgentError: whoever named it made a mistake: no such class, no `act`, or settings that cannot be.
        SubmissionError: its own code failed or hung while it was imported.
    """
    if ":" not in name:
        raise AgentError(f"agent: {name!r} is neither one of {', '.join(KNOWN)} nor of the form package.module:Class")
    found = _described(name, json.dumps(dict(changes or {}), sort_keys=True), tuple(sys.path))
    if isinstance(found, SubmissionError):
        raise SubmissionError(str(found), found.details)
    return found


@functools.lru_cache(maxsize=256)
def _described(name: str, changes: str, path: tuple[str, ...]) -> Described | SubmissionError:
    try:
        with Submission(name, Limits(_DESCRIBING)) as submission:
            found = submission.ask("describe", json.loads(changes))
            return Described(dict(found["settings"]), bool(found["learns"]), str(found["code"]))
    except SubmissionError as error:  # kept like an answer: what hangs is not waited for twice
        return error


class Submission:
    """A policy in a process of its own, with what `blockenv.play` needs; to be used in a `with` block."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name, self._limits, self._left = name, limits, limits.seconds
        self._rng: np.random.Generator | None = None
        self._customers: NDArray[np.int64] | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "benchmarks.guest", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that whatever it starts can be ended with it
            )
        self._connection = Connection(ours.detach())
        self._send((name, sys.path, limits.seconds, limits.megabytes))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()
        self._process.wait()
        self._connection.close()

    def make(self, scenario: Scenario, settings: Mapping[str, Any]) -> None:
        """Make the policy for a scenario.

        Raises:
            SubmissionError: it failed, or used more than it may.
        """
        self.ask("make", scenario, dict(settings))

    def fit(self, seed: int) -> int:
        """Let it learn, if it can; returns the customer-days that it says it learned from.

        Raises:
            SubmissionError: it failed, or used more than it may.
        """
        return int(self.ask("fit", seed)["steps"])

    def recognise(self, customers: NDArray[np.int64]) -> None:
        """Note who stands in which row; it is passed on with the morning's question."""
        self._customers = customers

    def act(
        self, observation: NDArray[np.floating[Any]], action_mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[Any]:
        """The policy's choice, unchecked; its coins fall as they would in this process.

        Raises:
            SubmissionError: it failed, or used more than it may.
        """
        begins = rng is not self._rng
        self._rng = rng
        found: NDArray[Any] = self.ask("act", observation, action_mask, rng if begins else None, self._customers)
        return found

    def ask(self, question: str, *arguments: Any) -> Any:
        """Put one question, and wait as long as the time that is left allows.

        Raises:
            AgentError: the policy's user made a mistake.
            SubmissionError: it failed, or used more than it may.
        """
        started = time.monotonic()
        over = threading.Event()

        def end() -> None:
            over.set()
            self._kill()

        clock = threading.Timer(max(0.0, self._left), end)
        clock.start()
        try:
            self._send((question, arguments))
            answer = self._connection.recv_bytes(_LONGEST_ANSWER)
        except (EOFError, OSError) as error:
            if over.is_set():
                raise SubmissionError(f"took more than {self._limits.seconds:g} seconds") from error
            if not isinstance(error, EOFError | ConnectionError):
                raise SubmissionError("its process sent more than an answer can be") from error
            raise SubmissionError(f"its process died ({ending(self._process.wait())})") from error
        finally:
            clock.cancel()
            self._left -= time.monotonic() - started
        return self._read(answer)

    def _read(self, answer: bytes) -> Any:
        """An answer as plain values or an array; what is neither is an error of the policy's."""
        head, _, payload = answer.partition(b"\n")
        try:
            found = json.loads(head)
            if "mistake" in found:
                raise AgentError(str(found["mistake"]))
            if "error" in found:
                more = f" (it may use {self._limits.megabytes} MB)" if "MemoryError" in found["error"] else ""
                raise SubmissionError(f"{found['error']}{more}", str(found.get("details", "")))
            if "found" in found:
                return found["found"]
            return np.frombuffer(payload, np.dtype(found["dtype"])).reshape(found["shape"])
        except (AgentError, SubmissionError):
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise SubmissionError(f"its process sent something that is no answer ({error})") from error

    def _send(self, message: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # noticed when the answer is waited for
            self._connection.send(message)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
