"""What learners on tensors share: a population of their own, their coins, one step of Adam, and what they tell.

It decides nothing about what is learned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from agents.gradients import FlatParameters
from blockenv.dynamics import Outcome
from blockenv.envs.tensor_population import TensorPopulation

_WATCHED = ("sent", "blocked", "expected_reward", "cost", "ordered")  # fields of an outcome


class TensorLearning:
    """A learner that owns its population and changes the policy it is given.

    Attributes:
        policy: whose weights are learned.
        steps: customer-days lived so far.
    """

    def __init__(
        self,
        policy: Any,
        learned: Any,
        population: TensorPopulation,
        settings: Any,
        worth: Callable[[Tensor], Tensor] | None,
        seed: int,
        longest: float,
        epsilon: float,
    ) -> None:
        """Begin with new customers.

        Args:
            policy: what is kept.
            learned: the part of it, or all, whose weights Adam changes.
            population: on the policy's device, with expected or realised rewards.
            settings: of the agent.
            worth: of customers against the typical one, (B,) from what is seen of them (B, D). None: all are alike.
            seed: of the customers, and of the coins of the policy.
            longest: gradient, longer ones are cut to it.
            epsilon: of Adam.
        """
        self.policy, self.steps = policy, 0
        self._population, self._settings, self._worth = population, settings, worth
        self._device = population.device
        self._flat = FlatParameters(learned)
        self._optimizer = th.optim.Adam([self._flat.values], lr=settings.learning_rate, eps=epsilon, fused=True)
        self._longest = longest
        self._coins = th.Generator(self._device)
        self._coins.manual_seed(seed)
        self._first = population.reset(seed)
        self._sums: dict[str, Tensor] = {}
        self._days_summed = 0
        self._forget()

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays with which `restore` goes on as if nothing had happened."""
        tensors = {
            "policy": self.policy.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "coins": self._coins.get_state(),
        }
        return tensors, self._population.snapshot() | {"steps": np.array(self.steps)}

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises:
            KeyError, ValueError, RuntimeError: something is missing or of another shape.
        """
        self._population.restore(arrays)
        self.policy.load_state_dict(tensors["policy"])
        self._optimizer.load_state_dict(tensors["optimizer"])
        for name, values in self._optimizer.state[self._flat.values].items():
            if name != "step":  # a step would write beyond its end
                same_shape(name, values, self._flat.values)
        self.steps = int(arrays["steps"])
        self._toss(tensors["coins"])
        self._forget()

    def _toss(self, coins: Tensor) -> None:
        """Go on with the coins that were kept, or with others if they are of another kind of device."""
        if coins.dtype == th.uint8 and len(coins) != len(self._coins.get_state()):
            self._coins.manual_seed(self._coins.initial_seed() + self.steps)
        else:
            self._coins.set_state(coins)

    def _slow_down(self, left: float) -> None:
        """Learn at a rate in proportion to the share of training that is left."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * left

    def _step(self) -> None:
        """Take a step along the gradients that have been written, cut to the longest allowed."""
        gradients = self._flat.gradients
        gradients.mul_((self._longest / (th.linalg.vector_norm(gradients) + 1e-6)).clamp_(max=1.0))
        self._optimizer.step()

    def _watch(self, outcome: Outcome) -> None:
        """Add up what happened to the customers today."""
        for name in _WATCHED:
            self._sums[name] += getattr(outcome, name).sum()
        self._days_summed += self._population.num_envs

    def _told(self, seen: Tensor) -> dict[str, Tensor]:
        """What became of the customers since it was last told; `seen` (N, D) is this morning's."""
        features, days, sums = self._population.features, self._days_summed, self._sums
        reachable = features["true_reachable" if "true_reachable" in features else "reachable"]
        self._forget()
        return {
            "clv/expected_reward_a_day": sums["expected_reward"] / days,
            "clv/messages_a_week": 7.0 * sums["sent"] / days,
            "clv/blocks_per_1000_messages": 1e3 * sums["blocked"] / sums["sent"].clamp(min=1),
            "clv/reachable_channels": seen[:, reachable].sum(1).mean(),
            "clv/orders_a_year": 364.0 * sums["ordered"] / days,
            "clv/message_cost_a_year": 364.0 * sums["cost"] / days,
        }

    def _forget(self) -> None:
        self._sums = {name: th.zeros((), device=self._device) for name in _WATCHED}
        self._days_summed = 0


def same_shape(name: str, found: Tensor, expected: Tensor) -> None:
    """Raise a ValueError unless two tensors are of one shape."""
    if found.shape != expected.shape:
        raise ValueError(f"{name}: {tuple(found.shape)}, expected {tuple(expected.shape)}")
