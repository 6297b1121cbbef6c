"""What single customers are worth under simple policies and under the best one, to the last digit and kept for later.

Nothing is simulated here. What has been reckoned is written down tile by tile, so that a command that was killed goes
on from there; what other code, other numbers or another window gave is never taken for an answer.
"""

import base64
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import code
from benchmarks.exact_caps import caps_of, caps_table
from benchmarks.workers import Failure, work
from blockenv import mdp, population
from blockenv.scenarios import Scenario

SILENCE, OPTIMUM, MYOPIC = "silence", "optimum", "myopic"
TILE = 16  # customers: fills a processor's cache; NumPy is two to three times as fast as PyTorch at this size
_SAME = 1e-9  # relative to a value; other machines and versions round otherwise
_FEW = 256  # values; starting processes takes as long
_PARTS = ("dynamics.py", "noise.py", "population.py", *(f"mdp/{name}.py" for name in (
    "backup", "batches", "evaluation", "layout", "masks", "menus", "optimum", "policies", "tables", "weights"
)))  # fmt: skip

Values = NDArray[np.float64]


class Question(NamedTuple):
    """What some customers are worth under a policy, on the morning of their first day."""

    scenario: Scenario
    seed: int
    policy: str  # silence, optimum, myopic, or caps as `exact_caps.caps_text` writes them
    customers: tuple[int, ...]
    days: int


class Answer(NamedTuple):
    """The values of a question's customers, money, and the processor time they took, seconds."""

    values: Values
    seconds: float


def exact_values(question: Question) -> Answer:
    """Answer a question, in float64."""
    started = time.process_time()
    scenario, days = question.scenario, question.days
    numbers = np.array(question.customers, np.int64)
    traits = population.draw(scenario, np.full(len(numbers), question.seed, np.uint64), numbers, np.float64)
    policies = {SILENCE: mdp.silence(), MYOPIC: mdp.myopic()}

    def worth(batch: mdp.Batch) -> NDArray[Any]:
        if question.policy == OPTIMUM:
            table = mdp.optimal_value(batch, days)
        elif question.policy in policies:
            table = mdp.policy_value(batch, policies[question.policy](batch), days)
        else:
            table = mdp.policy_value(batch, caps_table(caps_of(question.policy), batch), days)
        return mdp.at(table, mdp.newcomers(scenario, batch))

    found = mdp.together((batch, worth(batch)) for batch in mdp.batches(scenario, traits, TILE))
    return Answer(np.asarray(found, np.float64), time.process_time() - started)


def exact_code() -> str:
    """Sixteen hex digits of the code that exact values rest on."""
    return code.digest({name: code.ROOT / "blockenv" / name for name in _PARTS})


class Ledger:
    """Answers on one scenario and window, kept in a file of lines that only grows.

    Attributes:
        seconds: of processor time, over all answers, those kept from earlier runs included.
    """

    def __init__(self, scenario: Scenario, days: int, path: Path, any_code: bool = False) -> None:
        """Read what `path` has for this scenario, window and code; a line that a kill cut off is left aside.

        With `any_code` answers of other code count, too: see `disagreements` for whether this code agrees.
        """
        self.scenario, self.days, self.seconds = scenario, days, 0.0
        self._path = path
        self._made_for = {"digest": scenario.digest, "days": days, "code": exact_code()}
        self._known: dict[tuple[int, str], dict[int, float]] = {}
        for line in path.read_bytes().split(b"\n") if path.exists() else []:
            try:
                part = json.loads(line)
                made_for = part["made_for"] | ({"code": exact_code()} if any_code else {})
                if made_for == self._made_for:
                    self._learn(part["seed"], part["policy"], part["customers"], decoded(part["values"], "<f8"))
                    self.seconds += part["seconds"]
            except (KeyError, TypeError, ValueError):
                continue

    def missing(self, seed: int, policy: str, customers: Iterable[int]) -> list[Question]:
        """Questions that are still open, a tile of customers each who can be reckoned together."""
        known = self._known.get((seed, policy), {})
        numbers = np.array([each for each in customers if each not in known], np.int64)
        if len(numbers) == 0:
            return []
        traits = population.draw(self.scenario, np.full(len(numbers), seed, np.uint64), numbers)
        return [
            Question(self.scenario, seed, policy, tuple(numbers[batch.members].tolist()), self.days)
            for batch in mdp.batches(self.scenario, traits, TILE)
        ]

    def add(self, question: Question, answer: Answer) -> None:
        """Keep an answer, on disk first."""
        part = {
            "made_for": self._made_for,
            "seed": question.seed,
            "policy": question.policy,
            "customers": question.customers,
            "values": encoded(answer.values, "<f8"),
            "seconds": round(answer.seconds, 3),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            # A line that a kill cut off must not swallow this one.
            torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"
            file.write(b"\n" * torn + json.dumps(part).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._learn(question.seed, question.policy, question.customers, answer.values)
        self.seconds += answer.seconds

    def values(self, seed: int, policy: str, customers: Iterable[int]) -> Values:
        """The customers' values, all of which must have been answered."""
        known = self._known[seed, policy]
        return np.array([known[each] for each in customers])

    def disagreements(self, seed: int, policies: Iterable[str], customers: int = 4) -> list[str]:
        """Where this code answers otherwise than what is known, asked about a few customers of each policy, in words."""
        found = []
        for policy in policies:
            known = self._known.get((seed, policy), {})
            some = tuple(sorted(known)[:: max(1, len(known) // customers)][:customers])
            if not some:
                continue
            answer = exact_values(Question(self.scenario, seed, policy, some, self.days)).values
            for number, value in zip(some, answer, strict=True):
                if abs(value - known[number]) > _SAME * max(1.0, abs(value)):
                    found.append(f"{policy}, customer {number}: {value!r}, known as {known[number]!r}")
        return found

    def settle(self, questions: Sequence[Question], workers: int, told: Callable[[Question], None]) -> None:
        """Answer questions in `workers` processes of one thread each, or in this one where few customers are left.

        Raises:
            RuntimeError: a process failed; what the others found is kept.
        """
        for question, answer in _answers(questions, workers):
            if isinstance(answer, Failure):
                raise RuntimeError(f"{question.policy} on {self.scenario.name}: {answer.reason}\n{answer.details}")
            self.add(question, answer)
            told(question)

    def _learn(self, seed: int, policy: str, customers: Sequence[int], values: Values) -> None:
        known = self._known.setdefault((seed, policy), {})
        known.update(zip(customers, values.tolist(), strict=True))


def encoded(values: NDArray[Any], kind: str) -> str:
    """Numbers as text; `kind` is a NumPy type with its byte order, such as `<f4`."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def decoded(text: str, kind: str) -> Values:
    """The numbers of `encoded`.

    Raises:
        ValueError: it is no such text.
    """
    return np.frombuffer(base64.b64decode(text, validate=True), kind).astype(np.float64)


def _answers(questions: Sequence[Question], workers: int) -> Iterator[tuple[Question, Answer | Failure]]:
    if workers == 1 or sum(len(question.customers) for question in questions) < _FEW:
        return ((question, exact_values(question)) for question in questions)
    return work(exact_values, questions, min(workers, len(questions)), lambda _: None)
