"""PPO on a population: a policy that is nudged towards the messages that turned out better than expected.

It acts on the observation alone; only its critic, which is thrown away after training, is shown the hidden state.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch as th
from pydantic import Field, model_validator
from stable_baselines3.common.base_class import BaseAlgorithm

from agents import checkpoints
from agents.agent import Monitor, training_seed
from agents.algorithms import BatchedPPO
from agents.deep import DeepAgent, DeepSettings
from agents.networks import draw_rows
from agents.policies import FactoredActorCriticPolicy
from agents.rules import Actions, Mask, Observation
from agents.tensor_ppo import TensorPPO
from agents.vec_env import VecEnvAdapter
from blockenv.envs.tensor_population import TensorPopulation


class PPOSettings(DeepSettings):
    """Settings of PPO."""

    steps: int = Field(default=4_000_000, ge=1, description="customer-days to learn from")
    envs: int = Field(default=1024, ge=1, description="customers served at a time")
    learner: Literal["auto", "tensors", "stable_baselines3"] = Field(
        default="auto", description="auto takes tensors, which is faster, wherever it can do what is asked"
    )
    rollout: int = Field(default=16, ge=1, description="days of every customer between two updates")
    batch: int = Field(default=512, ge=2)
    epochs: int = Field(default=1, ge=1)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    entropy: float = Field(default=0.006, ge=0, description="weight of the entropy at the start; falls to zero")
    value_weight: float = Field(default=0.5, ge=0)
    silence: float = Field(default=0.8, gt=0, lt=1, description="probability of silence before learning")
    sample: bool = Field(default=True, description="act by drawing from the policy rather than by its mode")

    @model_validator(mode="after")
    def _learner_can(self) -> Self:
        if self.learner == "tensors" and not self._fits_tensors():
            raise ValueError("learner: 'tensors', expected 'auto' or 'stable_baselines3' with lags or interactions")
        return self

    def on_tensors(self) -> bool:
        """Whether `agents.tensor_ppo` learns, rather than stable-baselines3."""
        return self.learner != "stable_baselines3" and self._fits_tensors()

    def _fits_tensors(self) -> bool:
        return not self.lags and not self.interactions


class PPOAgent(DeepAgent):
    """Proximal policy optimisation (Schulman et al. 2017) with a factored, masked actor."""

    Settings = PPOSettings

    _learner: TensorPPO | None = None

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn for `settings.steps` customer-days, or what is left of them after `resume`."""
        settings: PPOSettings = self.settings
        if not settings.on_tensors():
            super().fit(seed, monitor)
            return
        th.manual_seed(training_seed(seed))
        self.policy = self._new_policy()
        population = TensorPopulation(
            settings.envs,
            self._informed if settings.informed_critic else self.scenario,
            self.device,
            reward=settings.reward,
            stagger=True,
            shared=self.device.type == "cpu",
        )
        worth = self._worth if settings.informed_critic else None
        learner = self._learner = TensorPPO(self.policy, population, settings, worth, training_seed(seed))
        if self._checkpoint is not None:
            _restore(self._checkpoint, learner)
        learner.learn(settings.steps, lambda steps, metrics: monitor.advance(steps, settings.steps, metrics))
        monitor.advance(learner.steps, settings.steps, {})
        self._learner = None

    def checkpoint(self, folder: Path) -> None:
        """Write all that `resume` needs; see `DeepAgent.checkpoint`."""
        if self._learner is None:
            super().checkpoint(folder)
        else:
            checkpoints.write_parts(folder, *self._learner.state(), {"counters": {"num_timesteps": self._learner.steps}})

    def export(self, path: Path) -> None:
        """Write the policy as a stable-baselines3 .zip; see `DeepAgent.export`."""
        if self._learner is None:
            super().export(path)
            return
        model = self._make_model(VecEnvAdapter(self._population(1)))
        model.policy.load_state_dict(self.policy.state_dict())
        model.save(path)

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


def _restore(folder: Path, learner: TensorPPO) -> None:
    tensors, arrays, _ = checkpoints.read_parts(folder)
    try:
        learner.restore(tensors, arrays)
    except checkpoints.MISFITS as error:
        raise checkpoints.misfit(folder, error) from error


class RememberingPPOSettings(PPOSettings):
    """Settings of PPO with memory."""

    lags: list[Annotated[int, Field(ge=1, le=728)]] = Field(
        default=[91], min_length=1, description="days back with which what is seen today is compared"
    )


class RememberingPPOAgent(PPOAgent):
    """PPO that also sees how its observation differs from that of some days ago (see `agents.memory`)."""

    Settings = RememberingPPOSettings
