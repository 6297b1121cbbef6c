"""Policies for PPO and DQN of stable-baselines3 whose last layer is a `MessageHead`.

The actor and the Q-network see what a sender may see and nothing else; only a critic, which is thrown away after
training, may be shown the hidden state.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from agents.networks import ActionLayout, MessageDistribution, MessageHead

# Of a usual first layer's spread: what a critic makes of a customer's mood before it has learned anything is noise in
# every advantage, and at full size drowns what a message does.
_FIRST_VALUES = 0.1


class _Latents(nn.Module):
    """Hidden layers of actor and critic; each is given columns of the observation of its own."""

    def __init__(
        self,
        actor_columns: slice,
        critic_columns: slice,
        layers: Mapping[str, list[int]],
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.actor_columns, self.critic_columns = actor_columns, critic_columns
        for_actor, for_critic = (columns.stop - columns.start for columns in (actor_columns, critic_columns))
        self.policy_net = nn.Sequential(*create_mlp(for_actor, 0, layers["pi"], activation))
        self.value_net = nn.Sequential(*create_mlp(for_critic, 0, layers["vf"], activation))
        self.latent_dim_pi = layers["pi"][-1] if layers["pi"] else for_actor
        self.latent_dim_vf = layers["vf"][-1] if layers["vf"] else for_critic

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        latent: Tensor = self.policy_net(features[:, self.actor_columns])
        return latent

    def forward_critic(self, features: Tensor) -> Tensor:
        latent: Tensor = self.value_net(features[:, self.critic_columns])
        return latent


class FactoredActorCriticPolicy(ActorCriticPolicy):
    """Actor and critic for PPO; the actor's logit of a message is the sum of its parts' logits.

    Args:
        layout: ``ActionLayout.plain()``.
        factored: False gives every action a logit of its own.
        interactions: add a logit of its own for every message to the factored sum.
        actor_columns: the actor is shown only so many leading columns of the observation (an asymmetric
            actor-critic, Pinto et al. 2018).
        critic_from: the critic is shown the columns from here on. A critic that knows the customer and does not
            see what was sent cannot mistake a change of its own belief, or the habits of the actor, for an effect
            of a message.
        silence_bias: initial logit of silence, see ``ActionLayout.silence_bias``. At 0 all actions are
            equally likely: an untrained sender of 135 messages would write to everybody every day.
        value_bias: what the critic says before it has learned: near the truth, it has less to catch up with.
        kwargs: as in ``ActorCriticPolicy`` (net_arch, ortho_init, optimizer_class and so on).
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        layout: Mapping[str, Any],
        factored: bool = True,
        interactions: bool = False,
        actor_columns: int | None = None,
        critic_from: int = 0,
        silence_bias: float = 0.0,
        value_bias: float = 0.0,
        activation_fn: type[nn.Module] = nn.ReLU,
        **kwargs: Any,
    ) -> None:
        self.layout = ActionLayout(**layout)
        self.layout.check_spaces(observation_space, action_space)
        self.factored = factored
        self.interactions = interactions
        self.actor_columns = actor_columns
        self.critic_from = critic_from
        self.silence_bias = silence_bias
        self.value_bias = value_bias
        super().__init__(observation_space, action_space, lr_schedule, activation_fn=activation_fn, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "layout": self.layout.plain(),
            "factored": self.factored,
            "interactions": self.interactions,
            "actor_columns": self.actor_columns,
            "critic_from": self.critic_from,
            "silence_bias": self.silence_bias,
            "value_bias": self.value_bias,
        }

    def _build_mlp_extractor(self) -> None:
        layers = self.net_arch if isinstance(self.net_arch, dict) else {"pi": self.net_arch, "vf": self.net_arch}
        for_actor = slice(0, self.actor_columns or self.features_dim)
        for_critic = slice(self.critic_from, self.features_dim)
        extractor: Any = _Latents(for_actor, for_critic, layers, self.activation_fn)
        self.mlp_extractor = extractor.to(self.device)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        head = MessageHead(
            self.mlp_extractor.latent_dim_pi,
            self.layout,
            factored=self.factored,
            interactions=self.interactions,
            over_silence=False,
        )
        if self.ortho_init:
            head.apply(partial(self.init_weights, gain=0.01))
        with th.no_grad():
            head.scores.bias[0] += self.silence_bias
            self.value_net.weight.mul_(_FIRST_VALUES)
            self.value_net.bias.add_(self.value_bias)
        self.action_net = head
        # Made anew, because the parent's one holds the parameters of the layer just replaced.
        make_optimizer: Any = self.optimizer_class
        self.optimizer = make_optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _latents(self, obs: PyTorchObs) -> tuple[Tensor, Tensor]:
        features = self.extract_features(obs)
        for_actor, for_critic = features if isinstance(features, tuple) else (features, features)
        return self.mlp_extractor.forward_actor(for_actor), self.mlp_extractor.forward_critic(for_critic)

    def _distribution(self, latent: Tensor, obs: PyTorchObs) -> MessageDistribution:
        return MessageDistribution(self.action_net(latent, obs))

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions ``(B,)``, values ``(B, 1)`` and log probabilities ``(B,)`` for observations ``(B, d)``."""
        latent_actor, latent_critic = self._latents(obs)
        distribution = self._distribution(latent_actor, obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.value_net(latent_critic), distribution.log_prob(actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values ``(B, 1)``, log probabilities ``(B,)`` and entropies ``(B,)``."""
        latent_actor, latent_critic = self._latents(obs)
        log_prob, entropy = self._distribution(latent_actor, obs).log_prob_and_entropy(actions)
        return self.value_net(latent_critic), log_prob, entropy

    def get_distribution(self, obs: PyTorchObs) -> MessageDistribution:
        """The distribution of actions for observations ``(B, d)``."""
        features = BasePolicy.extract_features(self, obs, self.pi_features_extractor)
        return self._distribution(self.mlp_extractor.forward_actor(features), obs)


class FactoredQNetwork(QNetwork):
    """Value of each action: that of the customer plus what the message's parts add to silence (Wang et al. 2016)."""

    def __init__(
        self,
        *args: Any,
        layout: Mapping[str, Any],
        factored: bool,
        interactions: bool,
        actor_columns: int | None,
        critic_from: int | None,
        value_layers: Sequence[int],
        value_bias: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.head_kwargs = {
            "layout": dict(layout),
            "factored": factored,
            "interactions": interactions,
            "actor_columns": actor_columns,
            "critic_from": critic_from,
            "value_layers": list(value_layers),
            "value_bias": value_bias,
        }
        self.layout = ActionLayout(**layout)
        self.actor_columns = actor_columns or self.features_dim
        self.q_net = nn.Sequential(*create_mlp(self.actor_columns, 0, self.net_arch, self.activation_fn))
        latent = self.net_arch[-1] if self.net_arch else self.actor_columns
        # Had the advantages a level of their own, it would be read from the log: customers who are written to often are
        # the good ones, so a message would seem to make a good customer of whoever gets it.
        separate = critic_from is not None
        self.head = MessageHead(
            latent, self.layout, factored=factored, interactions=interactions, over_silence=separate
        )
        self.critic_from = critic_from
        if critic_from is not None:
            columns = self.features_dim - critic_from
            self.value_net = nn.Sequential(*create_mlp(columns, 1, list(value_layers), self.activation_fn))
            with th.no_grad():
                self.value_net[-1].bias.add_(value_bias)  # type: ignore[operator]

    def advantages(self, obs: Tensor) -> Tensor:
        """What chooses the message, ``(B, A)``, from the columns that a sender sees; ``CLOSED`` where it cannot be sent."""
        numbers: Tensor = self.head(self.q_net(obs[:, : self.actor_columns]), obs)
        return numbers

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Values ``(B, A)``; ``CLOSED`` where the channel is known to be closed, so no maximum takes it."""
        features = self.extract_features(obs, self.features_extractor)
        numbers = self.advantages(features)
        if self.critic_from is not None:
            numbers = numbers + self.value_net(features[:, self.critic_from :])
        return numbers

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        """The best action ``(B,)``; the value of the customer, common to all, is not asked for."""
        return self.advantages(self.extract_features(observation, self.features_extractor)).argmax(1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.head_kwargs


class FactoredDQNPolicy(DQNPolicy):
    """Network and target network for DQN, with Q = value of the customer + advantages of the message over silence.

    Args:
        layout: ``ActionLayout.plain()``.
        factored: False gives every action a value of its own.
        interactions: add a value of its own for every message to the factored sum.
        actor_columns: the advantages are read from so many leading columns of the observation.
        critic_from: the value of the customer has a network of its own, ``value_layers`` wide and with
            ``value_bias`` at first, and is read from the columns from here on; it is not needed to choose.
        kwargs: as in ``DQNPolicy`` (net_arch, activation_fn, optimizer_class and so on).
    """

    q_net: FactoredQNetwork
    q_net_target: FactoredQNetwork

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        layout: Mapping[str, Any],
        factored: bool = True,
        interactions: bool = False,
        actor_columns: int | None = None,
        critic_from: int | None = None,
        value_layers: Sequence[int] = (),
        value_bias: float = 0.0,
        **kwargs: Any,
    ) -> None:
        ActionLayout(**layout).check_spaces(observation_space, action_space)
        self.head_kwargs: dict[str, Any] = {
            "layout": dict(layout),
            "factored": factored,
            "interactions": interactions,
            "actor_columns": actor_columns,
            "critic_from": critic_from,
            "value_layers": list(value_layers),
            "value_bias": value_bias,
        }
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_q_net(self) -> FactoredQNetwork:
        """One network; called for the learner and for its target."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return FactoredQNetwork(**arguments, **self.head_kwargs).to(self.device)

    def legal_actions(self, obs: Tensor) -> Tensor:
        """Which actions can be sent as far as observations ``(B, d)`` tell, ``(B, A)`` bool."""
        return self.q_net.head.legal(obs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.head_kwargs
