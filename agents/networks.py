"""The last layer of a deep agent: it sees a message as the sum of its parts and never sends on a closed channel.

Which channels are known to be closed is read from the observation, so it must never depend on anything else:
saving, loading and predicting work as in plain stable-baselines3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution
from torch import Tensor, nn
from torch.distributions import Categorical

CLOSED = -1e8
"""Logit or value of a message that cannot be sent: finite, so that no gradient becomes not-a-number."""


@dataclass(frozen=True)
class ActionLayout:
    """What the A actions consist of; action 0 is silence.

    Args:
        parts: ``(A, K)`` zeros and ones: which of the K parts (a channel, slot, style, product) it has.
        channel: ``(A,)`` the channel of each action as an index into ``open_columns``; -1 for silence.
        open_columns: one observation column a channel, 0 exactly when the channel is known to be closed.

    Raises:
        ValueError: if the three do not fit together.
    """

    parts: Sequence[Sequence[float]]
    channel: Sequence[int]
    open_columns: Sequence[int]

    def __post_init__(self) -> None:
        """Check that the three fit together."""
        if len({len(row) for row in self.parts}) != 1:
            raise ValueError("parts has no rows or rows of different lengths, expected (A, K)")
        if len(self.channel) != len(self.parts):
            raise ValueError(f"channel has {len(self.channel)} entries, expected {len(self.parts)} as in parts")
        if self.channel[0] != -1 or any(self.parts[0]):
            raise ValueError(f"channel[0] is {self.channel[0]}, expected -1 and no parts: action 0 is silence")
        channels = range(len(self.open_columns))
        if any(channel not in channels for channel in self.channel[1:]):
            raise ValueError(f"channel is {self.channel}, expected 0 to {len(channels) - 1} after silence")

    @property
    def actions(self) -> int:
        """Number of actions A, silence included."""
        return len(self.parts)

    def plain(self) -> dict[str, Any]:
        """The layout as lists, for ``policy_kwargs``: JSON-able, hence readable in a saved model."""
        return {
            "parts": [[float(part) for part in row] for row in self.parts],
            "channel": [int(channel) for channel in self.channel],
            "open_columns": [int(column) for column in self.open_columns],
        }

    def silence_bias(self, probability: float) -> float:
        """The bias by which an untrained actor is silent with this probability while all channels are open.

        Raises:
            ValueError: if the probability is not strictly between 0 and 1.
        """
        if not 0 < probability < 1:
            raise ValueError(f"probability is {probability}, expected a number strictly between 0 and 1")
        return math.log(probability / (1 - probability) * (self.actions - 1))

    def check_spaces(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Check that the layout describes these spaces.

        Raises:
            ValueError: if the observation is no flat Box with the columns, or the action not Discrete(A).
        """
        last = max(self.open_columns, default=-1)
        shape = observation_space.shape or ()
        if not isinstance(observation_space, spaces.Box) or len(shape) != 1 or shape[0] <= last:
            raise ValueError(f"observation_space is {observation_space}, expected a flat Box with column {last}")
        if not isinstance(action_space, spaces.Discrete) or action_space.n != self.actions:
            raise ValueError(f"action_space is {action_space}, expected Discrete({self.actions}) as in parts")


def draw_rows(weights: Tensor, uniform: Tensor | None = None) -> Tensor:
    """Draw one column a row, ``(B,)`` int64, in proportion to the non-negative weights ``(B, A)``.

    Inverts the cumulative weights: one uniform number a row instead of A exponential ones as in
    ``multinomial``, nine times faster at A = 136. A column of weight zero is never drawn; every row needs a
    positive weight. The uniform numbers ``(B,)`` in [0, 1) are drawn from torch's generator if not given.
    """
    cumulative = weights.cumsum(1)
    uniform = th.rand(len(weights), device=weights.device) if uniform is None else uniform
    threshold = uniform.unsqueeze(1) * cumulative[:, -1:]
    return th.searchsorted(cumulative, threshold, right=True).squeeze(1)


class _LogProbabilityAndEntropy(th.autograd.Function):
    """Both from one softmax, with the gradients written out: d log p(a) = 1_a - p and dH = -p (log p + H)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        log_probabilities = th.log_softmax(logits, 1)
        # Not their exp: on a CPU it takes three times as long where logits are as low as CLOSED.
        probabilities = th.softmax(logits, 1)
        entropy = -(probabilities * log_probabilities).sum(1)
        ctx.save_for_backward(log_probabilities, probabilities, entropy, actions)
        return log_probabilities.gather(1, actions.unsqueeze(1)).squeeze(1), entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        log_probabilities, probabilities, entropy, actions = ctx.saved_tensors
        of_log, of_entropy = gradients
        common = of_log + of_entropy * entropy
        gradient = (log_probabilities * of_entropy.unsqueeze(1)).add_(common.unsqueeze(1))
        gradient.mul_(probabilities).neg_()
        return gradient.scatter_add_(1, actions.unsqueeze(1), of_log.unsqueeze(1)), None


class MessageDistribution(CategoricalDistribution):
    """Categorical distribution given by logits ``(B, A)``, with as few passes over them as possible."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.shape[1])
        self.proba_distribution(logits)

    def proba_distribution(self, action_logits: Tensor) -> Self:
        """Take new logits ``(B, A)``."""
        self.logits = action_logits
        return self

    @property
    def distribution(self) -> Categorical:  # type: ignore[override]
        """The same as a torch distribution, for whoever wants its probabilities."""
        return Categorical(logits=self.logits, validate_args=False)

    def log_prob_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log probability of the actions and entropy, both ``(B,)``; cheaper than one after the other."""
        both = _LogProbabilityAndEntropy.apply(self.logits, actions)  # type: ignore[no-untyped-call]
        return both[0], both[1]

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log probability ``(B,)`` of the actions ``(B,)``."""
        return th.log_softmax(self.logits, 1).gather(1, actions.unsqueeze(1)).squeeze(1)

    def entropy(self) -> Tensor:
        """Entropy ``(B,)`` in nats."""
        return -(th.softmax(self.logits, 1) * th.log_softmax(self.logits, 1)).sum(1)

    def sample(self) -> Tensor:
        """One action a row, ``(B,)``."""
        return draw_rows(th.softmax(self.logits, 1))

    def mode(self) -> Tensor:
        """The likeliest action of each row, ``(B,)``."""
        return self.logits.argmax(1)


class MessageHead(nn.Module):
    """Last layer: from what the network has understood ``(B, latent)`` to one number an action ``(B, A)``.

    Args:
        latent: width of the layer before.
        layout: what the actions consist of.
        factored: a message's number is the sum of its parts' numbers; otherwise every message has its own.
        interactions: add a number of its own for every message to the factored sum.
        over_silence: make the numbers what a message is worth over silence, whose own is then zero.

    Raises:
        ValueError: if interactions are wanted without a factored sum.
    """

    penalty: Tensor  # (C, A)
    open_columns: Tensor  # (C,)
    expand: Tensor  # (1 + K, A)

    def __init__(
        self, latent: int, layout: ActionLayout, *, factored: bool, interactions: bool, over_silence: bool
    ) -> None:
        super().__init__()
        if interactions and not factored:
            raise ValueError("factored is False, expected True with interactions")
        self.factored, self.over_silence = factored, over_silence
        sends = th.tensor(layout.channel) == th.arange(len(layout.open_columns)).unsqueeze(1)
        silence = th.zeros(layout.actions, 1)
        silence[0] = 1.0
        expand = th.cat([silence, th.tensor(layout.parts, dtype=th.float32)], 1).T.contiguous()
        # Not saved with the weights: the layout already is, and has to say the same.
        self.register_buffer("penalty", CLOSED * sends.float(), persistent=False)
        self.register_buffer("open_columns", th.tensor(layout.open_columns), persistent=False)
        self.register_buffer("expand", expand, persistent=False)
        # Silence is the first output with and without the sum.
        self.scores = nn.Linear(latent, len(expand) if factored else layout.actions)
        self.residual = nn.Linear(latent, layout.actions, bias=False) if interactions else None

    def closed(self, observation: Tensor) -> Tensor:
        """Which channels are known to be closed, ``(B, C)`` zeros and ones."""
        return (observation.index_select(1, self.open_columns) <= 0).to(self.penalty.dtype)

    def legal(self, observation: Tensor) -> Tensor:
        """Which actions can be sent as far as the observation tells, ``(B, A)`` bool; silence always can."""
        return self.closed(observation) @ self.penalty >= 0

    def forward(self, latent: Tensor, observation: Tensor) -> Tensor:
        """Numbers ``(B, A)``, with ``CLOSED`` added where the channel is known to be closed."""
        numbers: Tensor = self.scores(latent)
        if self.factored:
            numbers = numbers @ self.expand
        if self.residual is not None:
            numbers = numbers + self.residual(latent)
        if self.over_silence:
            numbers = numbers - numbers[:, :1]
        # The mask as a small matrix product: faster than gathering a (B, A) mask and filling by it.
        return th.addmm(numbers, self.closed(observation), self.penalty)
