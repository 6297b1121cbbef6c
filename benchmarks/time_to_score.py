"""How long a learner takes to reach a score: the clock runs while it learns and stands still while it is judged.

Judged on customers who are neither trained on nor held out for the leaderboard.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from agents import agent_class
from agents.agent import Metrics, Unwatched
from benchmarks import attainable, references
from benchmarks.configs import agent_settings
from benchmarks.training import VALIDATION_SEED
from blockenv import Policy, Scenario, play

_JUDGED = 20  # times while it learns


class Moment(NamedTuple):
    """What a learner was worth at some time."""

    seconds: float
    steps: int
    over_silence: float  # money a customer
    error: float  # standard error of it, over customers


class Marks(NamedTuple):
    """The scores to be reached, money over silence a customer."""

    cap: float  # tuned on training customers, judged on the same customers as learners are
    cap_seconds: float  # of tuning it
    half_of_line: float | None  # half of the attainable line, which is of held-out customers; None where there is none


class Judge:
    """Plays policies on one fixed set of customers, against silence under the same luck."""

    def __init__(self, scenario: Scenario, customers: int) -> None:
        self._scenario, self._customers = scenario, customers
        self._quiet = play(agent_class("silence")(scenario), scenario, VALIDATION_SEED, customers).value

    def over_silence(self, policy: Policy) -> tuple[float, float]:
        """Mean and standard error, money a customer."""
        gain = play(policy, self._scenario, VALIDATION_SEED, self._customers).value - self._quiet
        return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))


def marks(scenario: Scenario, judge: Judge) -> Marks:
    """The tuned cap, tuned once more, and the attainable line of the committed references."""
    begun = time.perf_counter()
    cap = agent_class("cap")(scenario)
    cap.fit(0, Unwatched())
    took = time.perf_counter() - begun
    line = attainable.line(references.fitting(scenario.name, scenario.digest, scenario.evaluation_days))
    return Marks(judge.over_silence(cap)[0], took, None if line is None else 0.5 * line.over_silence.mean)


def learn(
    scenario: Scenario,
    agent: str,
    settings: Mapping[str, Any],
    seed: int,
    judge: Judge,
    told: Callable[[Moment], None],
) -> list[Moment]:
    """The course of one training, with its end as the last moment.

    Args:
        scenario: the world.
        agent: a learner that reports while it learns.
        settings: of the agent, changed from its defaults.
        seed: of training.
        judge: of what has been learned.
        told: hears of each moment.
    """
    learner = agent_class(agent)(scenario, agent_settings(agent, scenario.name, dict(settings)))
    moments: list[Moment] = []
    spent, begun, due = 0.0, time.perf_counter(), 0.0

    class Watch:
        def advance(self, steps: int, total: int, metrics: Metrics) -> None:
            nonlocal spent, begun, due
            if steps < due and steps < total:
                return
            spent += time.perf_counter() - begun
            if not moments or moments[-1].steps < steps:
                moments.append(Moment(spent, steps, *judge.over_silence(learner)))
                told(moments[-1])
            due = steps + total / _JUDGED
            begun = time.perf_counter()

    learner.fit(seed, Watch())
    return moments


def reached(moments: list[Moment], mark: float) -> float | None:
    """Seconds until `mark` was reached and not lost again by the next moment; None if it never was."""
    later = [*moments[1:], *moments[-1:]]
    pairs = zip(moments, later, strict=True)
    return next(
        (each.seconds for each, next_one in pairs if min(each.over_silence, next_one.over_silence) >= mark), None
    )
