"""What PPO and DQN share: training on a population in the simulator by stable-baselines3, checkpoints, keeping.

Both learn from expected rewards and expected churn, which the simulator knows and a firm does not: the same
objective with less noise. What they act on is the observation alone. Training can be stopped at any moment and goes
on from its last checkpoint with the same result.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch as th
from array_api_compat import array_namespace
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from pydantic import Field
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from agents import checkpoints
from agents.agent import AgentError, AgentSettings, Monitor, load_record, save_record, training_seed
from agents.devices import device_of
from agents.memory import Memory, RememberingEnv
from agents.networks import ActionLayout
from agents.rules import Actions, Mask, Observation
from agents.vec_env import VecEnvAdapter
from agents.watching import Watch
from blockenv import history, observation
from blockenv.envs import PopulationEnv
from blockenv.scenarios import Scenario

WEIGHTS = "policy.pt"
_NEVER = 10**12  # episodes or updates between two lines of stable-baselines3's own log
_TYPICAL_ORDERS = math.log(0.01 * observation.TENURE_DAYS)  # a year, organic
_USUAL_MARGIN = 0.24  # money a day, to which rewards are brought before `reward_scale`
_LEAST_WORTH = 0.2  # of the typical customer's, below which nobody counts more


class DeepSettings(AgentSettings):
    """What PPO and DQN have in common."""

    steps: int = Field(default=2_000_000, ge=1, description="customer-days to learn from")
    envs: int = Field(default=512, ge=1, description="customers served at a time")
    learning_rate: float = Field(default=3e-3, gt=0, description="at the start; falls linearly to zero")
    gamma: float = Field(default=0.9997, gt=0, le=1, description="discount a day while learning")
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        default=[64, 64], min_length=1, description="width of each hidden layer of what chooses the message"
    )
    critic_hidden: list[Annotated[int, Field(ge=1)]] = Field(
        default=[64, 64], min_length=1, description="width of each hidden layer of what values the customer"
    )
    factored: bool = Field(default=True, description="a message's number is the sum of its parts'")
    interactions: bool = Field(default=False, description="and one of its own")
    reward_scale: float = Field(default=0.02, gt=0, description="factor on money, to keep values near one")
    reward: str = Field(default="expected", pattern="^(expected|realised)$", description="what it learns from")
    expected_churn: bool = Field(default=True, description="weigh the future by the probability of staying")
    informed_critic: bool = Field(
        default=True, description="value the customer by the hidden state, which the choice of a message never sees"
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="learn from customers by worth to the power 1 - balance"
    )
    lags: list[Annotated[int, Field(ge=1, le=728)]] = Field(
        default=[], description="days back with which what is seen today is compared; none is no memory"
    )
    device: str = Field(default="auto", description="auto takes a GPU when there is one; or cpu, cuda, cuda:1, ...")


class DeepAgent:
    """What PPO and DQN share: the training environment, watching, checkpoints, saving and loading."""

    Settings: ClassVar[type[Any]] = DeepSettings
    settings: Any

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        self.scenario = scenario
        self.settings = self.Settings() if settings is None else settings
        self.columns = observation.layout(scenario.model_copy(update={"observe": "log"}))
        self._memory = Memory(scenario, self.settings.lags)
        self._seen_columns = self.columns["hints"].stop
        self.width = self._seen_columns + self._memory.columns
        self.layout = ActionLayout(
            parts=history.ledger(scenario).parts.tolist(),
            channel=[-1, *history.ledger(scenario).channel_of[1:].tolist()],
            open_columns=list(range(self.columns["reachable"].start, self.columns["reachable"].stop)),
        )
        self._informed = scenario.model_copy(update={"observe": "full"})
        worth, further = observation.layout(self._informed)["true_worth"], self._memory.columns
        self._worth_columns = slice(worth.start + further, worth.stop + further)
        self.device = device_of(self.settings.device)
        self.policy: Any = None
        self._checkpoint: Path | None = None
        self._model: BaseAlgorithm | None = None

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn for `settings.steps` customer-days, or what is left of them after `resume`."""
        env = VecEnvAdapter(
            self._population(), self.settings.reward_scale, self._weigh if self.settings.informed_critic else None
        )
        th.manual_seed(training_seed(seed))
        np.random.seed(training_seed(seed) % 2**32)  # noqa: NPY002 - the replay buffer draws from the global generator
        model = self._model = self._make_model(env)
        model.set_logger(Logger(None, []))
        env.seed(training_seed(seed))
        self.policy = model.policy
        if self._checkpoint is not None:
            checkpoints.restore(self._checkpoint, model, env)
        left = self.settings.steps - model.num_timesteps
        if left > 0:
            fresh = model.num_timesteps == 0
            model.learn(
                left, callback=Watch(monitor, self.settings.steps), log_interval=_NEVER, reset_num_timesteps=fresh
            )
        monitor.advance(model.num_timesteps, self.settings.steps, {})
        env.close()
        self._model = None

    def checkpoint(self, folder: Path) -> None:
        """Write all that `resume` needs, whole or not at all; to be called by a monitor while `fit` is running.

        Raises:
            AgentError: nothing is being learned.
        """
        if self._model is None:
            raise AgentError("checkpoint: nothing is being learned; call it from a monitor during fit")
        checkpoints.write(folder, self._model)

    def resume(self, folder: Path) -> None:
        """Let the next `fit` go on from a checkpoint.

        Raises:
            AgentError: the checkpoint is missing, damaged, or of another scenario or settings.
        """
        checkpoints.check(folder)
        self._checkpoint = folder

    def save(self, folder: Path) -> None:
        """Write `agent.json` and the weights of the policy into `folder`."""
        if self.policy is None:
            raise AgentError("save: the agent has learned nothing yet")
        save_record(folder, self, {}, self.settings)
        checkpoints.write_tensors(folder / WEIGHTS, self.policy.state_dict())

    @classmethod
    def load(cls, folder: Path, scenario: Scenario) -> Self:
        """Read an agent back; weights are read as plain tensors, nothing is unpickled.

        Raises:
            AgentError: a file is missing, damaged, another agent's, or of a scenario of another shape.
        """
        settings, _ = load_record(folder, cls.__name__, cls.Settings)
        agent = cls(scenario, settings.model_copy(update={"device": "auto"}))
        agent.policy = agent._new_policy()
        weights = checkpoints.read_tensors(folder / WEIGHTS)
        try:
            agent.policy.load_state_dict(weights)
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise AgentError(f"{folder / WEIGHTS}: weights do not fit {scenario.name} ({error})") from error
        return agent

    def export(self, path: Path) -> None:
        """Write the model as a stable-baselines3 .zip for its users; reading such a file back unpickles it."""
        if self._model is None:
            raise AgentError("export: nothing is being learned; call it from a monitor during fit")
        self._model.save(path)

    def recognise(self, customers: NDArray[np.int64]) -> None:
        """Be told who stands in which row this morning, before `act`; without it everybody is new."""
        if self.settings.lags:
            self._memory.recognise(customers)

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Choose by the learned policy; channels known to be blocked are masked by the network itself."""
        raise NotImplementedError

    def _make_model(self, env: VecEnvAdapter) -> BaseAlgorithm:
        raise NotImplementedError

    def _new_policy(self) -> Any:
        return self._make_model(VecEnvAdapter(self._population(1))).policy

    def _population(self, envs: int | None = None) -> VectorEnv[Any, Any, Any]:
        population = PopulationEnv(
            num_envs=envs or self.settings.envs,
            scenario=self._informed if self.settings.informed_critic else self.scenario,
            autoreset_mode=AutoresetMode.SAME_STEP,
            reward=self.settings.reward,
            stagger=True,
        )
        if not self.settings.lags:
            return population
        return RememberingEnv(population, Memory(self.scenario, self.settings.lags))

    def _worth(self, seen: Any) -> Any:
        """(N,) what a customer spends unprompted, against the typical one; an array or a tensor as `seen` is."""
        orders, value = seen[:, self._worth_columns].T
        worth = array_namespace(seen).exp(orders + (value - _TYPICAL_ORDERS))
        return (worth + _LEAST_WORTH) * (self._typical_margin() / _USUAL_MARGIN)

    def _weigh(self, seen: Observation) -> Observation:
        """Money against the customer's own worth, so that one critic fits small and large customers."""
        return np.asarray(1.0 / self._worth(seen))

    def _emphasis(self, seen: Observation) -> Observation:
        """What `_weigh` took off, given back to the advantages: all of it, or less for the few worth a fortune."""
        return np.asarray(self._worth(seen) ** (1.0 - self.settings.balance))

    def _typical_value(self) -> float:
        """Scaled value of a customer of typical worth: a day's margin times the days to come."""
        stays = 1.0 - self.scenario.response.churn_probability
        margin = _USUAL_MARGIN if self.settings.informed_critic else self._typical_margin()
        return float(self.settings.reward_scale * margin / (1.0 - self.settings.gamma * stays + 1e-9))

    def _typical_margin(self) -> float:
        """What a customer of typical worth brings a day, unprompted, money."""
        commerce = self.scenario.commerce
        return float(0.01 * commerce.margin * commerce.order_value * math.exp(commerce.order_log_sd**2 / 2))

    def _common_policy_arguments(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "layout": self.layout.plain(),
            "factored": settings.factored,
            "interactions": settings.interactions,
            "actor_columns": self.width,
            "critic_from": self.columns["hints"].start + self._memory.columns if settings.informed_critic else 0,
            "value_bias": self._typical_value(),
        }

    def _tensor(self, seen: Observation) -> th.Tensor:
        seen = np.array(seen[:, : self._seen_columns], np.float32)
        return th.as_tensor(self._memory.act_on(seen) if self.settings.lags else seen, device=self.device)

    def _rate(self) -> Callable[[float], float]:
        start = self.settings.learning_rate
        return lambda left: start * left
