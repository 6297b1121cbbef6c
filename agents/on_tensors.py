"""What PPO and DQN share when their customers, memory and updates are tensors on one device.

It chooses between that learner and the one of stable-baselines3, which can do more; what is learned and what is saved
must never depend on which it was.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

import torch as th
from pydantic import Field, model_validator

from agents import checkpoints
from agents.agent import AgentError, Monitor, training_seed
from agents.deep import DeepAgent, DeepSettings
from agents.tensor_learning import TensorLearning
from agents.tensor_training import TensorTraining
from agents.vec_env import VecEnvAdapter
from blockenv.envs.tensor_population import TensorPopulation

# What there is to learn from where only what a firm sees is told.
HEARD = {"informed_critic": False, "expected_churn": False, "reward": "realised"}


class TensorSettings(DeepSettings):
    """Settings of an agent that can learn on tensors."""

    learner: Literal["auto", "tensors", "stable_baselines3"] = Field(
        default="auto", description="auto takes tensors, which is faster, wherever it can do what is asked"
    )

    SERVING: ClassVar[frozenset[str]] = frozenset((*HEARD, "steps", "envs"))  # see `while_serving`

    @model_validator(mode="after")
    def _learner_can(self) -> Self:
        if self.learner == "tensors" and not self._fits_tensors():
            raise ValueError("learner: 'tensors', expected 'auto' or 'stable_baselines3' with lags or interactions")
        return self

    def while_serving(self, customers: int, days: int) -> Self:
        """These settings for learning from customers who are served, one of them a row from the first day to the last.

        Nobody is told what only a simulator knows, so the settings named in `SERVING` are no choice. Schedules are over
        when the window is.

        Raises:
            AgentError: settings that tensors cannot learn with.
        """
        if not self.on_tensors():
            wanted = {"lags": [], "interactions": False, "learner": "auto"}
            wrong = [name for name, value in wanted.items() if getattr(self, name) != value]
            found = "; ".join(f"{name}: {getattr(self, name)!r}, expected {wanted[name]!r}" for name in wrong)
            raise AgentError(found)
        return self.model_copy(update={**HEARD, "steps": customers * days, "envs": customers})

    def on_tensors(self) -> bool:
        """Whether tensors are learned on, rather than by stable-baselines3."""
        return self.learner != "stable_baselines3" and self._fits_tensors()

    def _fits_tensors(self) -> bool:
        return not self.lags and not self.interactions


class TensorAgent(DeepAgent):
    """A deep agent that learns on tensors wherever they can do what is asked."""

    Learner: ClassVar[type[TensorLearning]]

    _training: TensorTraining | None = None

    def begin(self, first: th.Tensor, seed: int) -> TensorLearning:
        """A learner that knows nothing yet, and changes `policy` from now on.

        Args:
            first: (N, D) what is seen on the first morning, on the agent's device.
            seed: of the training run.
        """
        th.manual_seed(training_seed(seed))
        self.policy = self._new_policy()
        worth = self._worth if self.settings.informed_critic else None
        return self.Learner(self.policy, first, self.settings, worth, training_seed(seed))

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn for `settings.steps` customer-days, or what is left of them after `resume`."""
        settings = self.settings
        if not settings.on_tensors():
            super().fit(seed, monitor)
            return
        population = TensorPopulation(
            settings.envs,
            self._informed if settings.informed_critic else self.scenario,
            self.device,
            reward=settings.reward,
            stagger=True,
            shared=self.device.type == "cpu",
        )
        learner = self.begin(population.reset(training_seed(seed)), seed)
        training = self._training = TensorTraining(learner, population, settings.expected_churn)
        if self._checkpoint is not None:
            _restore(self._checkpoint, training)
        training.learn(settings.steps, lambda steps, metrics: monitor.advance(steps, settings.steps, metrics))
        monitor.advance(learner.steps, settings.steps, {})
        self._training = None

    def checkpoint(self, folder: Path) -> None:
        """Write all that `resume` needs; see `DeepAgent.checkpoint`."""
        if self._training is None:
            super().checkpoint(folder)
        else:
            counters = {"num_timesteps": self._training.learner.steps}
            checkpoints.write_parts(folder, *self._training.state(), {"counters": counters})

    def export(self, path: Path) -> None:
        """Write the policy as a stable-baselines3 .zip; see `DeepAgent.export`."""
        if self._training is None:
            super().export(path)
            return
        model = self._make_model(VecEnvAdapter(self._population(1)))
        model.policy.load_state_dict(self.policy.state_dict())
        model.num_timesteps = self._training.learner.steps
        model.save(path)


def _restore(folder: Path, training: TensorTraining) -> None:
    tensors, arrays, _ = checkpoints.read_parts(folder)
    try:
        training.restore(tensors, arrays)
    except checkpoints.MISFITS as error:
        raise checkpoints.misfit(folder, error) from error
