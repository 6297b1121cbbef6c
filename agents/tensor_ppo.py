"""PPO whose customers, rollouts and updates are tensors on one device, which nothing of a step leaves.

The same algorithm as `algorithms.BatchedPPO` in a fraction of its time; the actor is never shown a column that a
sender does not see.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch as th
from numpy.typing import NDArray
from torch import Tensor

from agents.gradients import backward, forward, surrogate
from agents.networks import draw_rows
from agents.policies import FactoredActorCriticPolicy
from agents.tensor_learning import Lived, TensorLearning, same_shape


class TensorPPO(TensorLearning):
    """Proximal policy optimisation (Schulman et al. 2017)."""

    longest, epsilon = 0.5, 1e-5

    def __init__(
        self,
        policy: FactoredActorCriticPolicy,
        first: Tensor,
        settings: Any,
        worth: Callable[[Tensor], Tensor] | None,
        seed: int,
    ) -> None:
        """Begin with what the policy knows; see `TensorLearning`.

        Args:
            policy: a factored actor and critic without interactions.
            first: (N, D) what is seen on the first morning, on the policy's device.
            settings: of PPO, `agents.ppo.PPOSettings`.
            worth: rewards are judged against it, and advantages count by it to the power 1 - `settings.balance`.
            seed: of the coins of the policy.
        """
        super().__init__(policy, first, settings, worth, seed)
        network: Any = policy
        parts, self._head = network.mlp_extractor, network.action_net
        self._for_actor, self._for_critic = parts.actor_columns, parts.critic_columns
        self._actor = self._flat.layers([*parts.policy_net, self._head.scores])
        self._critic = self._flat.layers([*parts.value_net, network.value_net])
        self._spread = self._head.expand.t().contiguous() if self._head.factored else None
        days, rows = settings.rollout, len(first)
        self._seen = th.empty(days + 1, *first.shape, device=self._device)
        self._seen[-1] = first
        self._day = days  # of the rollout; the last is over when the next one begins
        self._action = th.empty(days, rows, 1, dtype=th.int64, device=self._device)
        self._log_probability, self._reward, self._leaving, self._going_on = (
            th.empty(days, rows, 1, device=self._device) for _ in range(4)
        )
        self._finals: list[tuple[int, Tensor, Tensor]] = []  # day, rows whose episode ended, the last seen of them

    @property
    def morning(self) -> Tensor:
        """(N, D) seen today."""
        return self._seen[self._day]

    @property
    def pause(self) -> int:
        """Something is told after every update, which is when `steps` grows."""
        return 1

    @th.no_grad()
    def choose(self) -> Tensor:
        """(N,) actions drawn from the policy as it stands."""
        if self._day == self._settings.rollout:
            self._begin()
        day = self._day
        probability = th.softmax(self._logits(self._seen[day])[1], 1)
        uniform = th.rand(len(probability), generator=self._coins, device=self._device)
        action = draw_rows(probability, uniform).unsqueeze(1)
        self._action[day] = action
        self._log_probability[day] = probability.gather(1, action).clamp_(min=1e-30).log_()
        return action.squeeze(1)

    @th.no_grad()
    def take(self, lived: Lived) -> None:
        """Take note of a day, and learn from `settings.rollout` of them."""
        self._note(lived)
        if self._day == self._settings.rollout:
            left = self._left()
            targets, advantages = self._judge()
            self._update(targets, advantages, left)
            self.steps += self._reward.numel()

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays with which `restore` goes on as if nothing had happened."""
        tensors, arrays = super().state()
        # A view would be written with all days of the rollout.
        return tensors | {"seen": self._seen[-1].to("cpu", copy=True)}, arrays

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`; see `TensorLearning.restore`."""
        super().restore(tensors, arrays)
        same_shape("seen", tensors["seen"], self._seen[-1])
        self._seen[-1] = tensors["seen"].to(self._device)
        self._day = self._settings.rollout

    def _logits(self, seen: Tensor) -> tuple[list[Tensor], Tensor]:
        """What passed the actor's layers, and the logits (B, A)."""
        passed = forward(self._actor, seen[:, self._for_actor])
        numbers = passed[-1] if self._spread is None else passed[-1] @ self._head.expand
        return passed, th.addmm(numbers, self._head.closed(seen), self._head.penalty)

    def _values(self, seen: Tensor) -> Tensor:
        """(B, 1) of what is seen (B, D)."""
        return forward(self._critic, seen[:, self._for_critic])[-1]

    def _begin(self) -> None:
        """Begin a rollout on the morning that the last one ended with."""
        self._seen[0] = self._seen[-1]
        self._going_on.fill_(1.0)
        self._finals = []
        self._day = 0

    def _note(self, lived: Lived) -> None:
        """Write down what came of today, and go on to the next morning."""
        day = self._day
        self._seen[day + 1] = lived.observation
        self._reward[day, :, 0] = lived.reward
        self._leaving[day, :, 0] = lived.leaving
        if len(lived.final_rows):
            self._going_on[day, lived.final_rows] = 0.0
            self._finals.append((day, lived.final_rows, lived.final_observation))
        self._day += 1

    def _judge(self) -> tuple[Tensor, Tensor]:
        """Targets of the critic and advantages of the actions, (days, rows, 1) each.

        Generalised advantage estimation (Schulman et al. 2016). What follows is weighed by the probability of staying,
        which is 0 after a departure where departures are told of as they fall.
        """
        settings, days = self._settings, self._settings.rollout
        values = self._values(self._seen.flatten(0, 1)).view(days + 1, -1, 1)
        follows = values[1:].clone()
        for day, rows, seen in self._finals:
            follows[day, rows] = self._values(seen)
        worth = None if self._worth is None else self._worth(self._seen[:-1].flatten(0, 1)).view_as(self._reward)
        scale = settings.reward_scale if worth is None else settings.reward_scale / worth
        surprise = self._reward * scale + settings.gamma * (1.0 - self._leaving) * follows - values[:-1]
        advantages = th.empty_like(surprise)
        later = th.zeros_like(surprise[0])
        for day in range(days - 1, -1, -1):
            later = surprise[day] + settings.gamma * settings.gae_lambda * self._going_on[day] * later
            advantages[day] = later
        targets = advantages + values[:-1]
        self.metrics["train/explained_variance"] = 1.0 - advantages.var(correction=0) / (
            targets.var(correction=0) + 1e-8
        )
        return targets, advantages if worth is None else advantages * worth ** (1.0 - settings.balance)

    def _update(self, targets: Tensor, advantages: Tensor, left: float) -> None:
        """Take `settings.epochs` passes over the rollout, whose neighbours in a minibatch are other customers."""
        settings = self._settings
        self._slow_down(left)
        seen = self._seen[:-1].flatten(0, 1)
        rollout = [each.flatten(0, 1) for each in (self._action, self._log_probability, advantages, targets)]
        count = max(1, round(len(seen) / settings.batch))
        edges = [round(place * len(seen) / count) for place in range(count + 1)]
        pieces = [slice(*pair) for pair in pairwise(edges)]
        for _ in range(settings.epochs):
            order = th.randperm(count, generator=self._coins, device=self._device)
            for place in order.tolist():
                piece = pieces[place]
                self._descend(settings.entropy * left, seen[piece], *(each[piece] for each in rollout))

    def _descend(
        self,
        entropy_weight: float,
        seen: Tensor,
        action: Tensor,
        old_log_probability: Tensor,
        advantage: Tensor,
        target: Tensor,
    ) -> None:
        """One step of Adam on one minibatch."""
        settings = self._settings
        advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
        passed, logits = self._logits(seen)
        found = surrogate(logits, action, old_log_probability, advantage, settings.clip, entropy_weight)
        gradient = found.gradient if self._spread is None else found.gradient @ self._spread
        backward(self._actor, passed, gradient)
        valued = forward(self._critic, seen[:, self._for_critic])
        error = valued[-1] - target
        backward(self._critic, valued, error * (2.0 * settings.value_weight / len(error)))
        self._step()
        self.metrics |= {
            "train/approx_kl": found.divergence,
            "train/entropy": found.entropy,
            "train/value_loss": error.square().mean(),
        }
