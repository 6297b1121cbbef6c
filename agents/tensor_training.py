"""A learner on tensors among customers of a simulator: it lives their days, keeps all of it, and tells what became of them.

It hands the learner what was seen and paid, and decides nothing about what is learned.
"""

from collections.abc import Callable
from typing import Any

import torch as th
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import Metrics
from agents.tensor_learning import Lived, TensorLearning
from blockenv.dynamics import Outcome
from blockenv.envs.tensor_population import TensorPopulation

_WATCHED = ("sent", "blocked", "expected_reward", "cost", "ordered")  # fields of an outcome


class TensorTraining:
    """A learner with a population of its own."""

    def __init__(self, learner: TensorLearning, population: TensorPopulation, expected_churn: bool) -> None:
        """Begin where the learner and the population are.

        Args:
            learner: has been shown the population's first morning.
            population: on the learner's device, with expected or realised rewards.
            expected_churn: tell the learner how likely customers were to leave, rather than who left.
        """
        self.learner = learner
        self._population, self._expected_churn = population, expected_churn
        self._sums: dict[str, Tensor] = {}
        self._days_summed = 0
        self._forget()

    @th.no_grad()
    def learn(self, total: int, advance: Callable[[int, Metrics], None]) -> None:
        """Go on until `total` customer-days; `advance` hears of those so far whenever the learner has something to tell."""
        learner = self.learner
        learner.total = total
        while learner.steps < total:
            before, pause = learner.steps, learner.pause
            step = self._population.step(learner.choose())
            self._watch(step.outcome)
            leaving = step.outcome.churn_probability if self._expected_churn else step.terminated.to(step.reward.dtype)
            learner.take(Lived(step.observation, step.reward, leaving, step.final_rows, step.final_observation))
            if learner.steps // pause > before // pause:
                told = self._told() | learner.metrics
                advance(learner.steps, {name: float(value) for name, value in told.items()})

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays with which `restore` goes on as if nothing had happened; to be asked for by `advance`."""
        tensors, arrays = self.learner.state()
        return tensors, self._population.snapshot() | arrays

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises:
            KeyError, ValueError, RuntimeError: something is missing or of another shape.
        """
        self._population.restore(arrays)
        self.learner.restore(tensors, arrays)
        self._forget()

    def _watch(self, outcome: Outcome) -> None:
        """Add up what happened to the customers today."""
        for name in _WATCHED:
            self._sums[name] += getattr(outcome, name).sum()
        self._days_summed += self._population.num_envs

    def _told(self) -> dict[str, Tensor]:
        """What became of the customers since it was last told."""
        features, days, sums = self._population.features, self._days_summed, self._sums
        reachable = features["true_reachable" if "true_reachable" in features else "reachable"]
        self._forget()
        return {
            "clv/expected_reward_a_day": sums["expected_reward"] / days,
            "clv/messages_a_week": 7.0 * sums["sent"] / days,
            "clv/blocks_per_1000_messages": 1e3 * sums["blocked"] / sums["sent"].clamp(min=1),
            "clv/reachable_channels": self.learner.morning[:, reachable].sum(1).mean(),
            "clv/orders_a_year": 364.0 * sums["ordered"] / days,
            "clv/message_cost_a_year": 364.0 * sums["cost"] / days,
        }

    def _forget(self) -> None:
        self._sums = {name: th.zeros((), device=self._population.device) for name in _WATCHED}
        self._days_summed = 0
