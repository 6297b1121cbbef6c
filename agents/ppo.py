"""PPO on a population: a policy that is nudged towards the messages that turned out better than expected.

It acts on the observation alone; only its critic, which is thrown away after training, is shown the hidden state.
"""

from typing import Annotated

import numpy as np
import torch as th
from pydantic import Field
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.algorithms import BatchedPPO
from agents.networks import draw_rows
from agents.on_tensors import TensorAgent, TensorSettings
from agents.policies import FactoredActorCriticPolicy
from agents.rules import Actions, Mask, Observation
from agents.tensor_ppo import TensorPPO
from agents.vec_env import VecEnvAdapter


class PPOSettings(TensorSettings):
    """Settings of PPO."""

    steps: int = Field(default=4_000_000, ge=1, description="customer-days to learn from")
    envs: int = Field(default=1024, ge=1, description="customers served at a time")
    rollout: int = Field(default=16, ge=1, description="days of every customer between two updates")
    batch: int = Field(default=512, ge=2)
    epochs: int = Field(default=1, ge=1)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    entropy: float = Field(default=0.006, ge=0, description="weight of the entropy at the start; falls to zero")
    value_weight: float = Field(default=0.5, ge=0)
    silence: float = Field(default=0.8, gt=0, lt=1, description="probability of silence before learning")
    sample: bool = Field(default=True, description="act by drawing from the policy rather than by its mode")


class PPOAgent(TensorAgent):
    """Proximal policy optimisation (Schulman et al. 2017) with a factored, masked actor."""

    Settings = PPOSettings
    Learner = TensorPPO

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Draw from the policy, or take its mode if `settings.sample` is off."""
        with th.no_grad():
            logits = self.policy.get_distribution(self._tensor(seen)).logits
            if not self.settings.sample:
                return np.asarray(logits.argmax(1).cpu().numpy())
            uniform = th.as_tensor(rng.random(len(seen), dtype=np.float32), device=self.device)
            return np.asarray(draw_rows(th.softmax(logits, 1), uniform).cpu().numpy())

    def _make_model(self, env: VecEnvAdapter) -> BaseAlgorithm:
        settings: PPOSettings = self.settings
        rows = settings.rollout * env.num_envs
        return BatchedPPO(
            FactoredActorCriticPolicy,
            env,
            expected_churn=settings.expected_churn,
            emphasis=self._emphasis if settings.informed_critic else None,
            n_steps=settings.rollout if env.num_envs > 1 else max(2, settings.rollout),
            batch_size=min(settings.batch, max(2, rows)),
            n_epochs=settings.epochs,
            learning_rate=self._rate(),
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            clip_range=settings.clip,
            ent_coef=settings.entropy,
            entropy_falls=True,
            vf_coef=settings.value_weight,
            policy_kwargs={
                **self._common_policy_arguments(),
                "silence_bias": self.layout.silence_bias(settings.silence),
                "net_arch": {"pi": list(settings.hidden), "vf": list(settings.critic_hidden)},
            },
            device=self.device,
        )


class RememberingPPOSettings(PPOSettings):
    """Settings of PPO with memory."""

    lags: list[Annotated[int, Field(ge=1, le=728)]] = Field(
        default=[91], min_length=1, description="days back with which what is seen today is compared"
    )


class RememberingPPOAgent(PPOAgent):
    """PPO that also sees how its observation differs from that of some days ago (see `agents.memory`)."""

    Settings = RememberingPPOSettings
