"""DQN on a population: it learns what each message is worth to a customer and sends the best.

It acts on the observation alone; only the value common to all messages, which does not decide between them and is thrown
away after training, is learned from the hidden state.
"""

import numpy as np
import torch as th
from pydantic import Field
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.algorithms import BatchedDQN
from agents.on_tensors import TensorAgent, TensorSettings
from agents.policies import FactoredDQNPolicy
from agents.rules import Actions, Mask, Observation
from agents.tensor_dqn import TensorDQN
from agents.vec_env import VecEnvAdapter


class DQNSettings(TensorSettings):
    """Settings of DQN."""

    learning_rate: float = Field(default=2e-3, gt=0, description="at the start; falls linearly to zero")
    batch: int = Field(default=256, ge=1)
    buffer: int = Field(default=1_000_000, ge=1, description="transitions remembered")
    updates: int = Field(default=6, ge=1, description="gradient steps after every day of all customers")
    stretch: int = Field(default=3, ge=1, description="days of rewards in a transition")
    warm_up: int = Field(default=40_000, ge=0, description="customer-days before the first update")
    target_every: int = Field(default=1, ge=1, description="days between updates of the target network")
    tau: float = Field(default=0.02, gt=0, le=1, description="share of the network that the target network takes over")
    explore_from: float = Field(default=1.0, ge=0, le=1)
    explore_to: float = Field(default=0.05, ge=0, le=1)
    explore_share: float = Field(default=0.4, gt=0, le=1, description="share of training until explore_to")
    explore_silence: float = Field(default=0.8, ge=0, le=1, description="probability of silence when exploring")


class DQNAgent(TensorAgent):
    """Deep Q-learning (Mnih et al. 2015): dueling (Wang et al. 2016), double (van Hasselt et al. 2016), n-step.

    A message's advantage is over silence, and the value common to all actions is read from the hidden state alone.
    """

    Settings = DQNSettings
    Learner = TensorDQN

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The legal action of the largest advantage by the target network: an average, hence less noisy."""
        with th.no_grad():
            return np.asarray(self.policy.q_net_target.advantages(self._tensor(seen)).argmax(1).cpu().numpy())

    def _make_model(self, env: VecEnvAdapter) -> BaseAlgorithm:
        settings: DQNSettings = self.settings
        return BatchedDQN(
            FactoredDQNPolicy,
            env,
            expected_churn=settings.expected_churn,
            emphasis=self._emphasis if settings.informed_critic else None,
            exploration_silence=settings.explore_silence,
            learning_rate=self._rate(),
            buffer_size=max(settings.buffer, env.num_envs),
            learning_starts=max(settings.warm_up, settings.stretch * env.num_envs),
            batch_size=settings.batch,
            gamma=settings.gamma,
            n_steps=settings.stretch,
            train_freq=1,
            gradient_steps=settings.updates,
            target_update_interval=settings.target_every * env.num_envs,
            tau=settings.tau,
            exploration_fraction=settings.explore_share,
            exploration_initial_eps=settings.explore_from,
            exploration_final_eps=settings.explore_to,
            policy_kwargs={
                **self._common_policy_arguments(),
                "net_arch": list(settings.hidden),
                "value_layers": list(settings.critic_hidden),
            },
            device=self.device,
        )
