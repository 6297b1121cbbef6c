"""DQN whose customers, memory and updates are tensors on one device, which nothing of a step leaves.

The same algorithm as `algorithms.BatchedDQN` in a fraction of its time; what chooses a message is never shown a column
that a sender does not see.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import Metrics
from agents.gradients import FlatParameters, Layer, backward, forward
from agents.networks import draw_rows
from agents.policies import FactoredDQNPolicy, FactoredQNetwork
from blockenv.envs.tensor_population import TensorPopulation, TensorStep

if TYPE_CHECKING:
    from agents.dqn import DQNSettings

_GRADIENT_NORM = 10.0  # the longest gradient, as in stable-baselines3
_REPORTS = 200  # in all
_WATCHED = ("sent", "blocked", "expected_reward", "cost", "ordered")  # fields of an outcome


class Draw(NamedTuple):
    """U minibatches of B stretches."""

    seen: Tensor  # (U, 2, B, D) on the first morning, and after the last day
    action: Tensor  # (U, B) int64 of the first day
    reward: Tensor  # (U, B) discounted sum
    discount: Tensor  # (U, B) of what follows
    emphasis: Tensor  # (U, B)


class Stretches:
    """The latest stretches of n days of N rows; see `agents.n_step`, whose account it keeps.

    An observation is stored once, as it ends one stretch and begins another: a stretch knows where that after its last
    day is. Those of customers who are gone stand in a table of their own.

    Attributes:
        days: lived by every row so far.
    """

    def __init__(self, first: Tensor, capacity: int, length: int) -> None:
        """Begin on the morning when `first` (N, D) is seen.

        Args:
            first: observations.
            capacity: days on which a remembered stretch may begin.
            length: n.
        """
        self.days, self._length, self._capacity = 0, length, capacity
        slots, rows = capacity + length, len(first)
        self._seen = first.new_empty(slots, rows, first.shape[1])
        self._seen[0] = first
        # Of a single day until the stretch that it begins is over, then of the stretch.
        self._reward, self._discount, self._emphasis = (first.new_empty(slots, rows) for _ in range(3))
        self._action = th.empty(slots, rows, dtype=th.int64, device=first.device)
        # Where the observation after it is, in `_seen` as a table of rows; -1 - k is the k-th customer who is gone.
        self._after = th.empty_like(self._action)
        self._row = th.arange(rows, device=first.device)
        self._final, self._gone = first.new_empty(rows, first.shape[1]), 0
        self._gone_before = np.zeros(slots, np.int64)  # how many were gone when a day began

    @property
    def morning(self) -> Tensor:
        """(N, D) seen today."""
        return self._seen[self.days % len(self._seen)]

    def add(self, action: Tensor, reward: Tensor, discount: Tensor, emphasis: Tensor, step: TensorStep) -> None:
        """Take a day of all rows, (N,) each, and what was seen after it."""
        slot, tomorrow = self.days % len(self._seen), (self.days + 1) % len(self._seen)
        self._action[slot], self._reward[slot] = action, reward
        self._discount[slot], self._emphasis[slot] = discount, emphasis
        self._after[slot] = 0
        self._gone_before[slot] = self._gone
        if len(step.final_rows):
            numbers = self._keep(step.final_observation, int(self._gone_before[tomorrow]))
            self._after[slot, step.final_rows] = -1 - numbers
        self._seen[tomorrow] = step.observation
        self.days += 1
        if self.days >= self._length:
            self._finish(self.days - self._length)

    def draw(self, updates: int, batch: int, coins: th.Generator) -> Draw:
        """Any of the remembered stretches, with replacement."""
        rows, begun = len(self._row), self.days - self._length + 1
        known = min(begun, self._capacity)
        chosen = th.randint(known * rows, (updates, batch), generator=coins, device=self._row.device)
        chosen = (chosen + (begun - known) * rows) % self._after.numel()
        place = th.stack([chosen, self._after.view(-1)[chosen]], 1).view(-1)
        seen = self._seen.view(-1, self._seen.shape[2]).index_select(0, place.clamp(min=0))
        ended = (place < 0).nonzero().squeeze(1)
        seen[ended] = self._final[(-1 - place[ended]) % len(self._final)]
        numbers = (self._action, self._reward, self._discount, self._emphasis)
        return Draw(seen.view(updates, 2, batch, -1), *(each.view(-1)[chosen] for each in numbers))

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs, as arrays on the host; on a CPU they are the memory itself, so copy what you keep."""
        filled = min(self.days + 1, len(self._seen))
        arrays = {name: getattr(self, f"_{name}")[:filled].cpu().numpy() for name in self._tables}
        clock = np.array([self.days, self._gone, len(self._seen), self._length])
        return arrays | {"final": self._final.cpu().numpy(), "gone_before": self._gone_before, "clock": clock}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`.

        Raises:
            KeyError, ValueError, RuntimeError: an array is missing or of another shape.
        """
        self.days, self._gone, slots, length = (int(each) for each in arrays["clock"])
        if (slots, length) != (len(self._seen), self._length):
            raise ValueError(
                f"buffer: {slots} days and stretches of {length}, expected {len(self._seen)}, {self._length}"
            )
        for name in self._tables:
            getattr(self, f"_{name}")[: len(arrays[name])] = th.from_numpy(arrays[name])
        self._final = th.from_numpy(arrays["final"].copy()).to(self._row.device)
        self._gone_before = arrays["gone_before"].copy()

    _tables = ("seen", "reward", "discount", "emphasis", "action", "after")

    def _keep(self, final: Tensor, oldest: int) -> Tensor:
        """Numbers (M,) of customers who are gone, whose last observation was `final` (M, D); forgets all before `oldest`."""
        if self._gone + len(final) - oldest > len(self._final):
            kept = th.arange(oldest, self._gone, device=final.device)
            larger = final.new_empty(2 * len(self._final), final.shape[1])
            larger[kept % len(larger)] = self._final[kept % len(self._final)]
            self._final = larger
        numbers = th.arange(self._gone, self._gone + len(final), device=final.device)
        self._final[numbers % len(self._final)] = final
        self._gone += len(final)
        return numbers

    def _finish(self, begun: int) -> None:
        """Add up the stretch that began on day `begun`, last day first; it ends with a customer's last day."""
        slots = len(self._seen)
        after = self._row + (begun + self._length) % slots * len(self._row)
        reward, discount = th.zeros_like(self._reward[0]), th.ones_like(self._reward[0])
        for day in range(begun + self._length - 1, begun - 1, -1):
            slot = day % slots
            going_on = self._after[slot] >= 0
            stays = self._discount[slot]
            reward = self._reward[slot] + th.where(going_on, stays * reward, 0.0)
            discount = stays * th.where(going_on, discount, 1.0)
            after = th.where(going_on, after, self._after[slot])
        slot = begun % slots
        self._reward[slot], self._discount[slot], self._after[slot] = reward, discount, after


class _Network(NamedTuple):
    """One of the two networks, taken apart."""

    flat: FlatParameters
    chooser: list[Layer]
    critic: list[Layer]

    @classmethod
    def of(cls, network: FactoredQNetwork) -> "_Network":
        flat, whole = FlatParameters(network), network
        return cls(flat, flat.layers([*whole.q_net, whole.head.scores]), flat.layers([*whole.value_net]))


class TensorDQN:
    """A learner that owns its population and changes the policy it is given.

    Attributes:
        policy: whose weights are learned.
        steps: customer-days lived so far.
    """

    def __init__(
        self,
        policy: FactoredDQNPolicy,
        population: TensorPopulation,
        settings: "DQNSettings",
        worth: Callable[[Tensor], Tensor] | None,
        seed: int,
    ) -> None:
        """Begin with new customers.

        Args:
            policy: factored networks without interactions, whose value has layers of its own.
            population: on the policy's device, with expected or realised rewards.
            settings: of DQN.
            worth: of customers against the typical one, (B,) from what is seen of them (B, D): rewards are judged
                against it, and errors count by it to the power 1 - `settings.balance`. None: all are alike.
            seed: of the customers, and of the coins of the policy.
        """
        self.policy, self.steps = policy, 0
        self._population, self._settings, self._worth = population, settings, worth
        self._device = population.device
        network: Any = policy.q_net
        self._head = network.head
        self._for_chooser, self._for_critic = slice(0, network.actor_columns), slice(network.critic_from, None)
        self._online, self._target = _Network.of(network), _Network.of(policy.q_net_target)
        # What each output of the chooser adds to each action, (outputs, A), over silence.
        actions = self._head.expand.shape[1]
        adds = self._head.expand if self._head.factored else th.eye(actions, device=self._device)
        self._adds = adds - adds[:, :1]
        self._adds_by_action = self._adds.t().contiguous()
        self._optimizer = th.optim.Adam([self._online.flat.values], lr=settings.learning_rate, fused=True)
        self._coins = th.Generator(self._device)
        self._coins.manual_seed(seed)
        capacity = max(settings.buffer // population.num_envs, 1)
        self._stretches = Stretches(population.reset(seed), capacity, settings.stretch)
        self._loss: Tensor | None = None  # of the last update
        self._forget_told()

    @th.no_grad()
    def learn(self, total: int, advance: Callable[[int, Metrics], None]) -> None:
        """Go on until `total` customer-days; `advance` hears of the days so far a few hundred times."""
        settings, rows = self._settings, self._population.num_envs
        starts, pause = max(settings.warm_up, settings.stretch * rows), max(total // _REPORTS, 1)
        while self.steps < total:
            explores = 1.0 if self.steps < starts else self._exploration(self.steps / total)
            self._live(explores)
            reports = (self.steps + rows) // pause > self.steps // pause
            self.steps += rows
            if self._stretches.days % settings.target_every == 0:
                self._target.flat.values.lerp_(self._online.flat.values, settings.tau)
            if self.steps > starts:
                self._update(max(1.0 - self.steps / total, 0.0))
            if reports:
                advance(self.steps, self._report())

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays with which `restore` goes on as if nothing had happened."""
        tensors = {
            "policy": self.policy.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "coins": self._coins.get_state(),
        }
        stretches = {f"stretches.{name}": values for name, values in self._stretches.snapshot().items()}
        return tensors, self._population.snapshot() | stretches | {"steps": np.array(self.steps)}

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`.

        Raises:
            KeyError, ValueError, RuntimeError: something is missing or of another shape.
        """
        self._population.restore(arrays)
        self.policy.load_state_dict(tensors["policy"])
        self._optimizer.load_state_dict(tensors["optimizer"])
        self._coins.set_state(tensors["coins"])
        mark = "stretches."
        self._stretches.restore({name[len(mark) :]: each for name, each in arrays.items() if name.startswith(mark)})
        self.steps = int(arrays["steps"])
        self._forget_told()

    def _exploration(self, done: float) -> float:
        settings = self._settings
        way = min(done / settings.explore_share, 1.0)
        return settings.explore_from + way * (settings.explore_to - settings.explore_from)

    def _live(self, explores: float) -> None:
        """A day of everybody."""
        settings, seen = self._settings, self._stretches.morning
        action = self._choose(seen, explores)
        worth = th.ones_like(seen[:, 0]) if self._worth is None else self._worth(seen)
        step = self._population.step(action)
        leaving = step.outcome.churn_probability if settings.expected_churn else step.terminated.to(seen.dtype)
        self._stretches.add(
            action,
            step.reward * (settings.reward_scale / worth),
            settings.gamma * (1.0 - leaving),
            worth ** (1.0 - settings.balance),
            step,
        )
        for name in _WATCHED:
            self._sums[name] += getattr(step.outcome, name).sum()

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
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * left
        drawn = self._stretches.draw(settings.updates, settings.batch, self._coins)
        # The target network stays as it is all the while, so it is asked once.
        after = drawn.seen[:, 1].flatten(0, 1)
        shape = (settings.updates, settings.batch, -1)
        barred = (self._head.closed(after) @ self._head.penalty).view(shape)
        promised = forward(self._target.chooser, after[:, self._for_chooser])[-1].view(shape)
        promised_value = forward(self._target.critic, after[:, self._for_critic])[-1].view(shape)
        weight = drawn.emphasis * (2.0 / drawn.emphasis.sum(1, keepdim=True))
        for each in range(settings.updates):
            self._loss = self._descend(
                drawn.seen[each],
                drawn.action[each],
                drawn.reward[each] + drawn.discount[each] * promised_value[each, :, 0],
                drawn.discount[each],
                weight[each],
                promised[each],
                barred[each],
            )

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
        gradients = self._online.flat.gradients
        gradients.mul_((_GRADIENT_NORM / (th.linalg.vector_norm(gradients) + 1e-6)).clamp_(max=1.0))
        self._optimizer.step()
        return th.dot(error, gradient.squeeze(1)) / 2.0

    def _report(self) -> Metrics:
        """What became of the customers since the last report, for whoever watches."""
        sums = {name: float(value) for name, value in self._sums.items()}
        days = (self._stretches.days - self._days_told) * self._population.num_envs
        features = self._population.features
        reachable = features["true_reachable" if "true_reachable" in features else "reachable"]
        metrics = {
            "clv/expected_reward_a_day": sums["expected_reward"] / days,
            "clv/messages_a_week": 7.0 * sums["sent"] / days,
            "clv/blocks_per_1000_messages": 1e3 * sums["blocked"] / max(sums["sent"], 1.0),
            "clv/reachable_channels": float(self._stretches.morning[:, reachable].sum(1).mean()),
            "clv/orders_a_year": 364.0 * sums["ordered"] / days,
            "clv/message_cost_a_year": 364.0 * sums["cost"] / days,
        }
        self._forget_told()
        return metrics if self._loss is None else metrics | {"train/loss": float(self._loss)}

    def _forget_told(self) -> None:
        """Begin to add up for the next report."""
        self._sums = {name: th.zeros((), device=self._device) for name in _WATCHED}
        self._days_told = self._stretches.days
