"""PPO and DQN on a population in the simulator, by stable-baselines3.

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
from gymnasium.vector import AutoresetMode
from pydantic import Field
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents import checkpoints
from agents.agent import AgentError, AgentSettings, Monitor, Unwatched, load_record, save_record, training_seed
from agents.algorithms import BatchedDQN, BatchedPPO
from agents.caps import CapSettings, FrequencyCap, Rotation
from agents.imitation import imitate
from agents.networks import ActionLayout, draw_rows
from agents.personal import PersonalCap, PersonalSettings
from agents.policies import FactoredActorCriticPolicy, FactoredDQNPolicy
from agents.rules import Actions, Mask, Observation
from agents.vec_env import VecEnvAdapter
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
    envs: int = Field(default=1024, ge=1, description="customers served at a time")
    learning_rate: float = Field(default=3e-3, gt=0, description="at the start; falls linearly to zero")
    gamma: float = Field(default=0.9997, gt=0, le=1, description="discount a day while learning")
    hidden: list[Annotated[int, Field(ge=1)]] = Field(
        default=[64, 64], min_length=1, description="width of each hidden layer"
    )
    factored: bool = Field(default=True, description="a message's number is the sum of its parts'")
    interactions: bool = Field(default=False, description="and one of its own")
    reward_scale: float = Field(default=0.02, gt=0, description="factor on money, to keep values near one")
    reward: str = Field(default="expected", pattern="^(expected|realised)$", description="what it learns from")
    expected_churn: bool = Field(default=True, description="weigh the future by the probability of staying")
    device: str = Field(default="auto", description="auto takes a GPU when there is one; or cpu, cuda, cuda:1, ...")


class PPOSettings(DeepSettings):
    """Settings of PPO."""

    critic_hidden: list[Annotated[int, Field(ge=1)]] = Field(
        default=[128, 128], min_length=1, description="width of the critic's hidden layers"
    )
    rollout: int = Field(default=64, ge=1, description="days of every customer between two updates")
    batch: int = Field(default=4096, ge=2)
    epochs: int = Field(default=4, ge=1)
    gae_lambda: float = Field(default=0.98, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    entropy: float = Field(default=0.002, ge=0)
    value_weight: float = Field(default=0.5, ge=0)
    silence: float = Field(default=0.7, gt=0, lt=1, description="probability of silence before learning")
    start: str = Field(
        default="personal_cap",
        pattern="^(personal_cap|cap|scratch)$",
        description="begin as a tuned rule, or knowing nothing",
    )
    start_customers: int = Field(default=256, ge=8, description="training customers the rule to begin as is tuned on")
    critic_first: float = Field(
        default=0.1, ge=0, lt=1, description="share of the steps in which only the critic learns"
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="learn from customers by worth to the power 1 - balance"
    )
    informed_critic: bool = Field(default=True, description="show the critic, not the actor, the hidden state")
    sample: bool = Field(default=True, description="act by drawing from the policy rather than by its mode")


class DQNSettings(DeepSettings):
    """Settings of DQN."""

    gamma: float = Field(default=0.995, gt=0, le=1, description="discount a day while learning")
    learning_rate: float = Field(default=1e-3, gt=0, description="at the start; falls linearly to zero")
    batch: int = Field(default=1024, ge=1)
    buffer: int = Field(default=400_000, ge=1, description="transitions remembered")
    updates: int = Field(default=4, ge=1, description="gradient steps after every day of all customers")
    warm_up: int = Field(default=20_000, ge=0, description="customer-days before the first update")
    target_every: int = Field(default=16, ge=1, description="days between copies to the target network")
    explore_from: float = Field(default=1.0, ge=0, le=1)
    explore_to: float = Field(default=0.05, ge=0, le=1)
    explore_share: float = Field(default=0.4, gt=0, le=1, description="share of training until explore_to")
    explore_silence: float = Field(default=0.7, ge=0, le=1, description="probability of silence when exploring")


class DeepAgent:
    """What PPO and DQN share: the training environment, watching, checkpoints, saving and loading."""

    Settings: ClassVar[type[Any]] = DeepSettings
    settings: Any

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        self.scenario = scenario
        self.settings = self.Settings() if settings is None else settings
        self.columns = observation.layout(scenario.model_copy(update={"observe": "log"}))
        self.width = self.columns["hints"].stop
        self.layout = ActionLayout(
            parts=history.ledger(scenario).parts.tolist(),
            channel=[-1, *history.ledger(scenario).channel_of[1:].tolist()],
            open_columns=list(range(self.columns["reachable"].start, self.columns["reachable"].stop)),
        )
        self.device = _device(self.settings.device)
        self.policy: Any = None
        self._checkpoint: Path | None = None
        self._model: BaseAlgorithm | None = None

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn for `settings.steps` customer-days, or what is left of them after `resume`."""
        env = VecEnvAdapter(self._population(), self.settings.reward_scale, self._weigh)
        th.manual_seed(training_seed(seed))
        np.random.seed(training_seed(seed) % 2**32)  # noqa: NPY002 - the replay buffer draws from the global generator
        model = self._model = self._make_model(env)
        model.set_logger(Logger(None, []))
        env.seed(training_seed(seed))
        self.policy = model.policy
        if self._checkpoint is not None:
            checkpoints.restore(self._checkpoint, model, env)
        else:
            self._prepare(seed)
        left = self.settings.steps - model.num_timesteps
        if left > 0:
            fresh = model.num_timesteps == 0
            model.learn(
                left, callback=_Watch(monitor, self.settings.steps), log_interval=_NEVER, reset_num_timesteps=fresh
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
        agent.policy = agent._make_model(VecEnvAdapter(agent._population(1))).policy
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

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Choose by the learned policy; channels known to be blocked are masked by the network itself."""
        raise NotImplementedError

    def _make_model(self, env: VecEnvAdapter) -> BaseAlgorithm:
        raise NotImplementedError

    def _prepare(self, seed: int) -> None:
        """What is done to the policy before the first step."""

    def _training_world(self) -> Scenario:
        """The scenario as it is observed while learning."""
        return self.scenario.model_copy(update={"observe": "log"})

    def _population(self, envs: int | None = None) -> PopulationEnv:
        return PopulationEnv(
            num_envs=envs or self.settings.envs,
            scenario=self._training_world(),
            autoreset_mode=AutoresetMode.SAME_STEP,
            reward=self.settings.reward,
            stagger=True,
        )

    def _weigh(self, seen: Observation) -> Observation:
        """(N,) how much a customer's money counts while learning."""
        return np.ones(len(seen), np.float32)

    def _tensor(self, seen: Observation) -> th.Tensor:
        return th.as_tensor(np.array(seen[:, : self.width], np.float32), device=self.device)

    def _rate(self) -> Callable[[float], float]:
        start = self.settings.learning_rate
        return lambda left: start * left


class PPOAgent(DeepAgent):
    """Proximal policy optimisation (Schulman et al. 2017) with a factored, masked actor."""

    Settings = PPOSettings

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self._informed = scenario.model_copy(update={"observe": "full"})
        self._worth_columns = observation.layout(self._informed)["true_worth"]

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Draw from the policy, or take its mode if `settings.sample` is off."""
        with th.no_grad():
            logits = self.policy.get_distribution(self._tensor(seen)).logits
            if not self.settings.sample:
                return np.asarray(logits.argmax(1).cpu().numpy())
            uniform = th.as_tensor(rng.random(len(seen), dtype=np.float32), device=self.device)
            return np.asarray(draw_rows(th.softmax(logits, 1), uniform).cpu().numpy())

    def _prepare(self, seed: int) -> None:
        if self.settings.start == "scratch":
            return
        customers = self.settings.start_customers
        rule: Rotation = FrequencyCap(self.scenario, CapSettings(customers=customers))
        if self.settings.start == "personal_cap":
            rule = PersonalCap(self.scenario, PersonalSettings(customers=customers, judges=8 * customers))
        rule.fit(seed, Unwatched())
        imitate(self.policy, rule, seed)

    def _training_world(self) -> Scenario:
        return self._informed if self.settings.informed_critic else super()._training_world()

    def _worth(self, seen: Observation) -> Observation:
        """(N,) what a customer spends unprompted, against the typical one."""
        orders, value = seen[:, self._worth_columns].T
        worth = np.exp(orders - _TYPICAL_ORDERS + value)
        return np.asarray((worth + _LEAST_WORTH) * (self._typical_margin() / _USUAL_MARGIN))

    def _weigh(self, seen: Observation) -> Observation:
        """Money against the customer's own worth, so that one critic fits small and large customers."""
        return 1.0 / self._worth(seen) if self.settings.informed_critic else super()._weigh(seen)

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

    def _make_model(self, env: VecEnvAdapter) -> BaseAlgorithm:
        settings: PPOSettings = self.settings
        rows = settings.rollout * env.num_envs
        return BatchedPPO(
            FactoredActorCriticPolicy,
            env,
            expected_churn=settings.expected_churn,
            emphasis=self._emphasis if settings.informed_critic else None,
            critic_first=int(settings.critic_first * settings.steps),
            n_steps=settings.rollout if env.num_envs > 1 else max(2, settings.rollout),
            batch_size=min(settings.batch, max(2, rows)),
            n_epochs=settings.epochs,
            learning_rate=self._rate(),
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            clip_range=settings.clip,
            ent_coef=settings.entropy,
            vf_coef=settings.value_weight,
            policy_kwargs={
                "layout": self.layout.plain(),
                "factored": settings.factored,
                "interactions": settings.interactions,
                "actor_columns": self.width,
                "silence_bias": self.layout.silence_bias(settings.silence),
                "value_bias": self._typical_value(),
                "net_arch": {"pi": list(settings.hidden), "vf": list(settings.critic_hidden)},
            },
            device=self.device,
        )


class DQNAgent(DeepAgent):
    """Deep Q-learning (Mnih et al. 2015) with factored advantages (Wang et al. 2016) and a masked maximum."""

    Settings = DQNSettings

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The legal action of the largest value."""
        with th.no_grad():
            return np.asarray(self.policy.q_net(self._tensor(seen)).argmax(1).cpu().numpy())

    def _make_model(self, env: VecEnvAdapter) -> BaseAlgorithm:
        settings: DQNSettings = self.settings
        return BatchedDQN(
            FactoredDQNPolicy,
            env,
            expected_churn=settings.expected_churn,
            exploration_silence=settings.explore_silence,
            learning_rate=self._rate(),
            buffer_size=max(settings.buffer, env.num_envs),
            learning_starts=settings.warm_up,
            batch_size=settings.batch,
            gamma=settings.gamma,
            train_freq=1,
            gradient_steps=settings.updates,
            target_update_interval=settings.target_every * env.num_envs,
            exploration_fraction=settings.explore_share,
            exploration_initial_eps=settings.explore_from,
            exploration_final_eps=settings.explore_to,
            policy_kwargs={
                "layout": self.layout.plain(),
                "factored": settings.factored,
                "interactions": settings.interactions,
                "net_arch": list(settings.hidden),
            },
            device=self.device,
        )


class _Watch(BaseCallback):
    """Adds up what happened to the customers and hands it to the monitor between two updates."""

    def __init__(self, monitor: Monitor, total: int) -> None:
        super().__init__()
        self._monitor = monitor
        self._total = total
        self._told = 0
        self._sums: dict[str, float] = {}
        self._days = 0

    def _on_training_start(self) -> None:
        self._told = self.num_timesteps

    def _on_step(self) -> bool:
        env = self.training_env
        assert isinstance(env, VecEnvAdapter)
        info, ended = env.info_arrays, env.info_arrays.get("final_info", {})
        rows = env.last_final_rows
        for name in ("sent", "blocked", "expected_reward", "message_cost", "ordered", "reachable"):
            total = float(info[name].sum())
            if rows.size and name != "reachable":
                total += float(ended[name][rows].sum())
            self._sums[name] = self._sums.get(name, 0.0) + total
        self._days += env.num_envs
        return True

    def _on_rollout_start(self) -> None:
        # Here the model has just been updated and nothing has been collected: the only moment to keep it at.
        steps = self.num_timesteps
        due = steps - self._told >= max(self._total // 200, 1) or isinstance(self.model, BatchedPPO)
        if self._days and due:
            self._told = steps
            self._monitor.advance(steps, self._total, self._metrics())
            self._sums, self._days = {}, 0

    def _metrics(self) -> dict[str, float]:
        metrics = {
            name: float(value)
            for name, value in self.logger.name_to_value.items()
            if isinstance(value, int | float | np.number)
        }
        sums, days = self._sums, self._days
        metrics |= {
            "clv/expected_reward_a_day": sums["expected_reward"] / days,
            "clv/messages_a_week": 7.0 * sums["sent"] / days,
            "clv/blocks_per_1000_messages": 1e3 * sums["blocked"] / max(sums["sent"], 1.0),
            "clv/reachable_channels": sums["reachable"] / days,
            "clv/orders_a_year": 364.0 * sums["ordered"] / days,
            "clv/message_cost_a_year": 364.0 * sums["message_cost"] / days,
        }
        episodes = self.model.ep_info_buffer
        if episodes:
            metrics["rollout/ep_rew_mean"] = float(np.mean([episode["r"] for episode in episodes]))
            metrics["rollout/ep_len_mean"] = float(np.mean([episode["l"] for episode in episodes]))
        return metrics


def _device(name: str) -> th.device:
    try:
        device = th.device("cuda" if name == "auto" and th.cuda.is_available() else "cpu" if name == "auto" else name)
        th.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AgentError(f"device: {name!r} cannot be used ({error})") from error
    return device
