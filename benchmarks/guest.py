"""The program that a stranger's policy runs in: it is told what it may see and answers with actions.

It is a process of its own, with limits on memory and time that it sets before any of the stranger's code is imported.
It never sees the simulator of the customers it serves: observations and masks come in, numbers go out.
"""

import inspect
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

_WATCH_EVERY = 0.5  # seconds


class Described(NamedTuple):
    """What there is to know of a policy before it plays."""

    settings: dict[str, Any]
    learns: bool
    code: str


class MistakeError(ValueError):
    """Something that whoever named the policy can mend: no such module, no such class, no `act`, wrong settings."""


class Guest:
    """Answers one question after the other; each public method is one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._policy: Any = None
        self._rng = np.random.default_rng(0)

    def describe(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The settings with `changes` in them, whether it learns, and its code.

        Raises:
            MistakeError: there is no such class, it has no `act`, or it cannot be set so.
        """
        from agents.agent import AgentError, learns, parsed
        from benchmarks.code import code_of

        try:
            kind = self._kind()
            if hasattr(kind, "Settings"):
                settings = parsed(kind.Settings, changes, f"settings of {self._name}").model_dump(mode="json")
            elif changes:
                raise AgentError(f"settings of {self._name}: {changes}, but its class has no Settings")
            else:
                settings = {}
        except AgentError as error:
            raise MistakeError(str(error)) from error
        return Described(settings, hasattr(kind, "fit") and learns(kind), code_of(kind))._asdict()

    def make(self, scenario: Any, settings: dict[str, Any]) -> dict[str, Any]:
        """Make the policy for a scenario: by `(scenario, settings)` where it has Settings, else `(scenario)` or `()`."""
        kind: Any = self._kind()
        if hasattr(kind, "Settings"):
            self._policy = kind(scenario, kind.Settings.model_validate(settings))
        else:
            self._policy = _called(kind, scenario)
        return {}

    def fit(self, seed: int) -> dict[str, Any]:
        """Let it learn, if it can; returns the customer-days that it reported to have learned from."""
        from agents.agent import Counter

        counter = Counter()
        if hasattr(self._policy, "fit"):
            _called(self._policy.fit, seed, counter)
        return {"steps": counter.steps}

    def act(
        self, observation: Any, action_mask: Any, rng: np.random.Generator | None, customers: Any
    ) -> np.ndarray[Any, Any]:
        """The policy's choice; `rng` comes with the first morning of a batch and goes on from there."""
        self._rng = self._rng if rng is None else rng
        if customers is not None and hasattr(self._policy, "recognise"):
            self._policy.recognise(customers)
        return np.asarray(self._policy.act(observation, action_mask, self._rng))

    def hear(self, *evening: Any) -> dict[str, Any]:
        """Tell it of the day, if it listens."""
        if hasattr(self._policy, "hear"):
            self._policy.hear(*evening)
        return {}

    def _kind(self) -> type:
        from agents import agent_class
        from agents.agent import AgentError

        kind: type = agent_class(self._name)
        if not callable(getattr(kind, "act", None)):
            raise AgentError(f"agent: {self._name!r} has no method act(observation, action_mask, rng)")
        return kind


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call with as many of the arguments as the function takes by place."""
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        known = inspect.signature(function).parameters.values()
    except ValueError:  # written in C, without a signature
        return function()
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in known):
        return function(*arguments)
    return function(*arguments[: sum(each.kind in places for each in known)])


def _answer(guest: Guest, question: str, arguments: tuple[Any, ...]) -> bytes:
    """One line of JSON, and the bytes of the actions behind it. Nothing that is pickled ever leaves this process."""
    try:
        found = getattr(guest, question)(*arguments)
        if isinstance(found, np.ndarray):
            if found.dtype.kind not in "biuf":
                raise TypeError(f"action: dtype {found.dtype}, expected integers")
            head = {"dtype": found.dtype.str, "shape": found.shape}
            return json.dumps(head).encode() + b"\n" + np.ascontiguousarray(found).tobytes()
        return json.dumps({"found": found}).encode() + b"\n"
    except MistakeError as mistake:
        return json.dumps({"mistake": str(mistake)}).encode() + b"\n"
    except BaseException as error:  # it may even call sys.exit
        words = f"{type(error).__name__}: {error}"
        return json.dumps({"error": words[:2000], "details": traceback.format_exc()[-20_000:]}).encode() + b"\n"


def _limit(seconds: float, megabytes: int) -> None:
    """Memory that can be written to, and processor time as a backstop to the host's clock; no core files."""
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))
    processor = 2 * int(seconds) + 60
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(host: int) -> None:
    """End this process and whatever it has started as soon as the host is gone."""
    while os.getppid() == host:
        time.sleep(_WATCH_EVERY)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve the host at the other end of the socket whose number is the first argument."""
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    connection = Connection(int(sys.argv[1]))
    name, path, seconds, megabytes = connection.recv()
    sys.path[:] = path
    _limit(seconds, megabytes)
    guest = Guest(name)
    while True:
        try:
            question, arguments = connection.recv()
            connection.send_bytes(_answer(guest, question, arguments))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


if __name__ == "__main__":
    main()
