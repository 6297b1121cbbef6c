"""What PPO and DQN share when their customers, memory and updates are tensors on one device.

It chooses between that learner and the one of stable-baselines3, which can do more; what is learned and what is saved
must never depend on which it was.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import torch as th
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents import checkpoints
from agents.agent import Metrics, Monitor, training_seed
from agents.deep import DeepAgent, DeepSettings
from agents.vec_env import VecEnvAdapter
from blockenv.envs.tensor_population import TensorPopulation


class TensorSettings(DeepSettings):
    """Settings of an agent that can learn on tensors."""

    learner: Literal["auto", "tensors", "stable_baselines3"] = Field(
        default="auto", description="auto takes tensors, which is faster, wherever it can do what is asked"
    )

    @model_validator(mode="after")
    def _learner_can(self) -> Self:
        if self.learner == "tensors" and not self._fits_tensors():
            raise ValueError("learner: 'tensors', expected 'auto' or 'stable_baselines3' with lags or interactions")
        return self

    def on_tensors(self) -> bool:
        """Whether tensors are learned on, rather than by stable-baselines3."""
        return self.learner != "stable_baselines3" and self._fits_tensors()

    def _fits_tensors(self) -> bool:
        return not self.lags and not self.interactions


class TensorLearner(Protocol):
    """See `agents.tensor_ppo` and `agents.tensor_dqn`."""

    steps: int

    def __init__(
        self,
        policy: Any,
        population: TensorPopulation,
        settings: Any,
        worth: Callable[[th.Tensor], th.Tensor] | None,
        seed: int,
    ) -> None:
        """Begin with new customers."""

    def learn(self, total: int, advance: Callable[[int, Metrics], None]) -> None:
        """Go on until `total` customer-days."""

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Tensors and arrays for `restore`."""

    def restore(self, tensors: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`."""


class TensorAgent(DeepAgent):
    """A deep agent that learns on tensors wherever they can do what is asked."""

    Learner: ClassVar[type[TensorLearner]]

    _learner: TensorLearner | None = None

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn for `settings.steps` customer-days, or what is left of them after `resume`."""
        settings = self.settings
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
        learner = self._learner = self.Learner(self.policy, population, settings, worth, training_seed(seed))
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
            checkpoints.write_parts(
                folder, *self._learner.state(), {"counters": {"num_timesteps": self._learner.steps}}
            )

    def export(self, path: Path) -> None:
        """Write the policy as a stable-baselines3 .zip; see `DeepAgent.export`."""
        if self._learner is None:
            super().export(path)
            return
        model = self._make_model(VecEnvAdapter(self._population(1)))
        model.policy.load_state_dict(self.policy.state_dict())
        model.num_timesteps = self._learner.steps
        model.save(path)


def _restore(folder: Path, learner: TensorLearner) -> None:
    tensors, arrays, _ = checkpoints.read_parts(folder)
    try:
        learner.restore(tensors, arrays)
    except checkpoints.MISFITS as error:
        raise checkpoints.misfit(folder, error) from error
