"""What learners on tensors share: a policy whose weights they change, their coins, and a step of Adam.

A learner is handed what was seen and paid, day by day, and never the customers themselves: it learns the same way
from a simulator as from customers who are really served.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.gradients import FlatParameters


class Lived(NamedTuple):
    """What came of a day of N rows, on the learner's device."""

    observation: Tensor  # (N, D) float32 of the next morning, of newcomers where an episode ended
    reward: Tensor  # (N,) float32 money
    leaving: Tensor  # (N,) float32 probability of having left for ever today; 0 where nobody is seen to leave
    final_rows: Tensor  # (M,) int64, rows whose episode ended, ascending
    final_observation: Tensor  # (M, D) float32, the last that was seen of them


def lived_on(observation: Tensor, reward: Tensor) -> Lived:
    """A day after which everybody is still there, as far as can be seen: `observation` (N, D), `reward` (N,)."""
    nobody = th.empty(0, dtype=th.int64, device=observation.device)
    return Lived(observation, reward, th.zeros_like(reward), nobody, observation[:0])


class TensorLearning(ABC):
    """A learner that changes the policy it is given: every day it is asked to `choose`, and told what came of it.

    Attributes:
        policy: whose weights are learned.
        steps: customer-days learned from so far.
        total: customer-days planned, at the end of which schedules are.
        metrics: of the latest update, () each.
    """

    longest: ClassVar[float]  # gradient; longer ones are cut to it
    epsilon: ClassVar[float]  # of Adam

    def __init__(
        self, policy: Any, first: Tensor, settings: Any, worth: Callable[[Tensor], Tensor] | None, seed: int
    ) -> None:
        """Begin with what the policy knows.

        Args:
            policy: what is kept.
            first: (N, D) what is seen on the first morning, on the policy's device.
            settings: of the agent.
            worth: of customers against the typical one, (B,) from what is seen of them (B, D). None: all are alike.
            seed: of the coins of the policy.
        """
        self.policy, self.steps, self.total = policy, 0, int(settings.steps)
        self.metrics: dict[str, Tensor] = {}
        self._settings, self._worth = settings, worth
        self._device = first.device
        self._flat = FlatParameters(self._learned())
        self._optimizer = th.optim.Adam([self._flat.values], lr=settings.learning_rate, eps=self.epsilon, fused=True)
        self._coins = th.Generator(self._device)
        self._coins.manual_seed(seed)

    @property
    @abstractmethod
    def morning(self) -> Tensor:
        """(N, D) seen today."""

    @property
    @abstractmethod
    def pause(self) -> int:
        """Customer-days after which there is something to tell."""

    @abstractmethod
    def choose(self) -> Tensor:
        """(N,) int64 today's actions, by the learner's own coins; to be called once a day."""

    @abstractmethod
    def take(self, lived: Lived) -> None:
        """Take note of what came of the actions chosen today, and learn when it is time."""

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays with which `restore` goes on as if nothing had happened; not amid a rollout."""
        tensors = {
            "policy": self.policy.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "coins": self._coins.get_state(),
        }
        return tensors, {"steps": np.array(self.steps)}

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises:
            KeyError, ValueError, RuntimeError: something is missing or of another shape.
        """
        self.policy.load_state_dict(tensors["policy"])
        self._optimizer.load_state_dict(tensors["optimizer"])
        for name, values in self._optimizer.state[self._flat.values].items():
            if name != "step":  # a step would write beyond its end
                same_shape(name, values, self._flat.values)
        self.steps = int(arrays["steps"])
        self._toss(tensors["coins"])

    def _learned(self) -> nn.Module:
        """The part of the policy whose weights Adam changes."""
        part: nn.Module = self.policy
        return part

    def _toss(self, coins: Tensor) -> None:
        """Go on with the coins that were kept, or with others if they are of another kind of device."""
        if coins.dtype == th.uint8 and len(coins) != len(self._coins.get_state()):
            self._coins.manual_seed(self._coins.initial_seed() + self.steps)
        else:
            self._coins.set_state(coins)

    def _left(self) -> float:
        """The share of what is planned that is left."""
        return max(1.0 - self.steps / self.total, 0.0)

    def _slow_down(self, left: float) -> None:
        """Learn at a rate in proportion to the share of training that is left."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * left

    def _step(self) -> None:
        """Take a step along the gradients that have been written, cut to the longest allowed."""
        gradients = self._flat.gradients
        gradients.mul_((self.longest / (th.linalg.vector_norm(gradients) + 1e-6)).clamp_(max=1.0))
        self._optimizer.step()


def same_shape(name: str, found: Tensor, expected: Tensor) -> None:
    """Raise a ValueError unless two tensors are of one shape."""
    if found.shape != expected.shape:
        raise ValueError(f"{name}: {tuple(found.shape)}, expected {tuple(expected.shape)}")
