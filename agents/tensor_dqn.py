"""DQN whose customers, memory and updates are tensors on one device, which nothing of a step leaves.

The same algorithm as `algorithms.BatchedDQN` in a fraction of its time; what chooses a message is never shown a column
that a sender does not see.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch as th
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.gradients import FlatParameters, Layer, backward, forward
from agents.networks import draw_rows
from agents.policies import FactoredDQNPolicy, FactoredQNetwork
from agents.tensor_learning import Lived, TensorLearning
from agents.tensor_stretches import Stretches

_REPORTS = 200  # in all
_MARK = "stretches."  # before the names of the arrays of memory


class _Network(NamedTuple):
    """One of the two networks, taken apart."""

    flat: FlatParameters
    chooser: list[Layer]
    critic: list[Layer]

    @classmethod
    def of(cls, network: FactoredQNetwork, flat: FlatParameters) -> "_Network":
        return cls(flat, flat.layers([*network.q_net, network.head.scores]), flat.layers([*network.value_net]))


class TensorDQN(TensorLearning):
    """Double, dueling, n-step deep Q-learning; see `agents.dqn`."""

    longest, epsilon = 10.0, 1e-8

    def __init__(
        self,
        policy: FactoredDQNPolicy,
        first: Tensor,
        settings: Any,
        worth: Callable[[Tensor], Tensor] | None,
        seed: int,
    ) -> None:
        """Begin with what the policy knows; see `TensorLearning`.

        Args:
            policy: factored networks without interactions, whose value has layers of its own.
            first: (N, D) what is seen on the first morning, on the policy's device.
            settings: of DQN, `agents.dqn.DQNSettings`.
            worth: rewards are judged against it, and errors count by it to the power 1 - `settings.balance`.
            seed: of the coins of the policy.
        """
        super().__init__(policy, first, settings, worth, seed)
        network: Any = policy.q_net
        self._head = network.head
        self._for_chooser, self._for_critic = slice(0, network.actor_columns), slice(network.critic_from, None)
        target: Any = policy.q_net_target
        self._online = _Network.of(network, self._flat)
        self._target = _Network.of(target, FlatParameters(target))
        # What each output of the chooser adds to each action, (outputs, A), over silence.
        actions = self._head.expand.shape[1]
        adds = self._head.expand if self._head.factored else th.eye(actions, device=self._device)
        self._adds = adds - adds[:, :1]
        self._adds_by_action = self._adds.t().contiguous()
        self._rows = len(first)
        self._starts = max(settings.warm_up, settings.stretch * self._rows)  # customer-days before the first update
        self._stretches = Stretches(first, max(settings.buffer // self._rows, 1), settings.stretch)
        self._action = th.zeros(self._rows, dtype=th.int64, device=self._device)  # of today

    @property
    def morning(self) -> Tensor:
        """(N, D) seen today."""
        return self._stretches.morning

    @property
    def pause(self) -> int:
        """Something is told a few hundred times."""
        return max(self.total // _REPORTS, 1)

    @th.no_grad()
    def choose(self) -> Tensor:
        """(N,) the best actions, but for those that explore."""
        explores = 1.0 if self.steps < self._starts else self._exploration(self.steps / self.total)
        self._action = self._choose(self._stretches.morning, explores)
        return self._action

    @th.no_grad()
    def take(self, lived: Lived) -> None:
        """Remember a day, and learn from any days that are remembered."""
        settings, seen = self._settings, self._stretches.morning
        worth = th.ones_like(seen[:, 0]) if self._worth is None else self._worth(seen)
        self._stretches.add(
            self._action,
            lived.reward * (settings.reward_scale / worth),
            settings.gamma * (1.0 - lived.leaving),
            worth ** (1.0 - settings.balance),
            lived,
        )
        self.steps += self._rows
        if self._stretches.days % settings.target_every == 0:
            self._target.flat.values.lerp_(self._online.flat.values, settings.tau)
        if self.steps > self._starts:
            self._update(self._left())

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays with which `restore` goes on as if nothing had happened."""
        tensors, arrays = super().state()
        return tensors, arrays | {_MARK + name: values for name, values in self._stretches.snapshot().items()}

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`; see `TensorLearning.restore`."""
        super().restore(tensors, arrays)
        remembered = {name[len(_MARK) :]: values for name, values in arrays.items() if name.startswith(_MARK)}
        self._stretches.restore(remembered)

    def _learned(self) -> nn.Module:
        network: nn.Module = self.policy.q_net
        return network

    def _exploration(self, done: float) -> float:
        settings = self._settings
        way = min(done / settings.explore_share, 1.0)
        return float(settings.explore_from + way * (settings.explore_to - settings.explore_from))

    def _choose(self, seen: Tensor, explores: float) -> Tensor:
        """(N,) the best action, or with probability `explores` mostly silence and else any message that can be sent."""
        explorer, writer = th.rand(2, len(seen), generator=self._coins, device=self._device)
        if explores < 1.0:
            numbers = forward(self._online.chooser, seen[:, self._for_chooser])[-1]
            action = th.addmm(self._head.closed(seen) @ self._head.penalty, numbers, self._adds).argmax(1)
            action *= explorer >= explores
        else:
            action = th.zeros(len(seen), dtype=th.int64, device=self._device)
        rows = ((explorer < explores) & (writer >= self._settings.explore_silence)).nonzero().squeeze(1)
        weights = self._head.legal(seen[rows]).to(seen.dtype)
        weights[:, 0] = weights[:, 1:].sum(1) == 0
        uniform = th.rand(len(rows), generator=self._coins, device=self._device)
        action[rows] = draw_rows(weights, uniform)
        return action

    def _update(self, left: float) -> None:
        """Take `settings.updates` steps of Adam."""
        settings = self._settings
        self._slow_down(left)
        drawn = self._stretches.draw(settings.updates, settings.batch, self._coins)
        # The target network stays as it is all the while, so it is asked once.
        after = drawn.seen[:, 1].flatten(0, 1)
        shape = (settings.updates, settings.batch, -1)
        barred = (self._head.closed(after) @ self._head.penalty).view(shape)
        promised = forward(self._target.chooser, after[:, self._for_chooser])[-1].view(shape)
        promised_value = forward(self._target.critic, after[:, self._for_critic])[-1].view(shape)
        weight = drawn.emphasis * (2.0 / drawn.emphasis.sum(1, keepdim=True))
        for each in range(settings.updates):
            loss = self._descend(
                drawn.seen[each],
                drawn.action[each],
                drawn.reward[each] + drawn.discount[each] * promised_value[each, :, 0],
                drawn.discount[each],
                weight[each],
                promised[each],
                barred[each],
            )
        self.metrics = {"train/loss": loss}

    def _descend(
        self,
        seen: Tensor,
        action: Tensor,
        reward: Tensor,
        discount: Tensor,
        weight: Tensor,
        promised: Tensor,
        barred: Tensor,
    ) -> Tensor:
        """One step of Adam on one minibatch, by double Q-learning (van Hasselt et al. 2016).

        Args:
            seen: (2, B, D) on the first morning, and after the last day.
            action: (B,) of the first day.
            reward: (B,) of the stretch, and what the customer is then worth whatever is sent.
            discount: (B,) of what follows.
            weight: (B,) twice the share that counts of each squared error.
            promised: (B, outputs) of the target network's chooser after the last day.
            barred: (B, A) negative where an action cannot be taken after the last day.

        Returns:
            () the loss.
        """
        count = len(action)
        passed = forward(self._online.chooser, seen.flatten(0, 1)[:, self._for_chooser])
        best = th.addmm(barred, passed[-1][count:], self._adds).argmax(1)
        target = reward + discount * th.linalg.vecdot(promised, self._adds_by_action[best])
        valued = forward(self._online.critic, seen[0, :, self._for_critic])
        parts = self._adds_by_action[action]
        error = th.linalg.vecdot(passed[-1][:count], parts) + valued[-1].squeeze(1) - target
        gradient = (error * weight).unsqueeze(1)
        backward(self._online.chooser, [each[:count] for each in passed], gradient * parts)
        backward(self._online.critic, valued, gradient)
        self._step()
        return th.dot(error, gradient.squeeze(1)) / 2.0
