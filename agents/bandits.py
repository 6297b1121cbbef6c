"""Contextual bandits: linear models of a day's profit that explore by optimism or by posterior sampling.

Thousands of customers are decided and learnt from in one call. A bandit is myopic by construction: it models the
day's reward, never what a message does to tomorrow; the priced variants charge each block a price, chosen by
playing training customers.

The model: reward = w0.x + sum over the parts k of the message of wk.x, with x a short context (12 to 16 numbers of
the observation) and parts the message's channel, slot, style and product. Silence has no parts, so a message is
sent where its parts promise more than nothing (LinUCB: Li et al. 2010; linear Thompson sampling: Agrawal & Goyal
2013; additive arms keep a few hundred actions learnable). It is written for arrays of any backend: where there is a GPU the
customers, the posterior and every choice of a learning bandit are tensors on it.
"""

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from agents.agent import AgentError, AgentSettings, Metrics, Monitor, load_record, save_record, training_seed
from agents.rules import Actions, Mask, Observation, finite
from blockenv import history, observation
from blockenv.cohort import Cohort
from blockenv.rollout import play
from blockenv.scenarios import Scenario

Float = Any  # (...) float64 of any backend


class BanditSettings(AgentSettings):
    """How a bandit learns."""

    customers: int = Field(default=4096, ge=1, description="training customers served at a time")
    days: int = Field(default=364, ge=1, description="days it learns on them")
    explore: float = Field(default=1.0, ge=0, description="width of the confidence bound or posterior")
    ridge: float = Field(default=1.0, gt=0, description="prior precision of every coefficient")
    block_price: float = Field(default=0.0, ge=0, description="money charged for each block of the day")
    reward: str = Field(default="expected", pattern="^(expected|realised)$", description="what it learns from")
    learner: Literal["auto", "arrays", "tensors"] = Field(
        default="auto", description="auto takes tensors where the device is a GPU"
    )
    device: str = Field(default="auto", description="of tensors: auto takes a GPU when there is one; or cpu, cuda, ...")


class PricedSettings(BanditSettings):
    """The same, with prices to choose from."""

    prices: list[Annotated[float, Field(ge=0)]] = Field(default=[0.5, 2.0, 8.0, 32.0], min_length=1)
    trial_customers: int = Field(default=1024, ge=1, description="training customers a price is judged on")
    trial_days: int = Field(default=546, ge=1)


class LinearBandit:
    """What LinUCB and LinTS share: context, posterior, learning loop, and acting on the posterior mean."""

    Settings: ClassVar[type[Any]] = BanditSettings

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        self.scenario = scenario
        self.settings: Any = self.Settings() if settings is None else settings
        self._parts = history.ledger(scenario).parts.astype(np.float64)
        self._columns = observation.layout(scenario)
        self._context_size = self.context(np.zeros((1, self._columns["hints"].stop))).shape[1]
        self._blocks = 1 + self._parts.shape[1]
        width = self._blocks * self._context_size
        self._gram = self.settings.ridge * np.eye(width)
        self._moment = np.zeros(width)
        self._squares, self._count = 0.0, 0
        self.mean = np.zeros(width)

    def context(self, seen: Observation) -> Float:
        """(N, D) short context: a constant, hints, tenure, recency, orders, order value, recent load, weekend."""
        columns, xp = self._columns, array_namespace(seen)
        pieces = [seen[:, columns[name]] for name in ("hints", "tenure", "recency", "orders", "order_value")]
        load = xp.sum(seen[:, columns["recent"]], axis=1, keepdims=True)
        weekend = seen[:, columns["date"].start : columns["date"].start + 1]
        return xp.astype(xp.concat([xp.ones_like(load), *pieces, load, weekend], axis=1), xp.float64)

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The legal message of the best posterior mean, or silence if none promises a profit."""
        context = self.context(seen)
        return np.asarray(_best_legal(self._scores(context, self.mean), mask))

    def explore(self, context: Float, mask: Any, coins: Any) -> Any:
        """Choose while learning: (N,) actions; `coins` are NumPy's `Generator`, or `TensorCoins` with tensors."""
        raise NotImplementedError

    def update(self, context: Float, action: Any, reward: Float) -> None:
        """Learn from a day: `context` (N, D), `action` (N,), `reward` (N,) money."""
        design = self._design(context, self._parts[action])
        self._gram += design.T @ design
        self._moment += design.T @ reward
        self._squares += float(reward @ reward)
        self._count += len(reward)
        self.mean = array_namespace(design).linalg.solve(self._gram, self._moment)

    def noise(self) -> float:
        """Standard deviation of a reward around the model."""
        if self._count == 0:
            return 1.0
        return math.sqrt(max(self._squares - float(self.mean @ self._moment), 1e-12) / self._count)

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Serve one generation of training customers and learn from every day."""
        self._learn(seed, monitor, 0, self.settings.days)

    def _learn(self, seed: int, monitor: Monitor, done: int, total: int) -> None:
        settings = self.settings
        cohort, coins = self._customers(training_seed(seed))
        field = {"expected": "expected_reward", "realised": "reward"}[settings.reward]
        for day in range(settings.days):
            alive = cohort.state.alive & True  # a copy
            if not alive.any():
                break
            context = self.context(cohort.observe())
            action = self.explore(context, cohort.legal_actions(), coins)
            outcome = cohort.step(action)
            xp = array_namespace(action)
            blocks = xp.sum(xp.astype(outcome.blocked, xp.int64), axis=0)
            reward = xp.astype(getattr(outcome, field), xp.float64) - settings.block_price * blocks
            self.update(context[alive], action[alive], reward[alive])
            if day % 28 == 27:
                sent = xp.astype(action[alive] > 0, xp.float64)
                metrics: Metrics = {
                    "bandit/reward": float(reward[alive].mean()),
                    "bandit/messages_a_week": 7.0 * float(sent.mean()),
                    "bandit/blocks_per_1000": 1e3 * float(blocks.sum()) / max(1.0, float(outcome.sent.sum())),
                    "bandit/noise": self.noise(),
                }
                monitor.advance((done + day + 1) * settings.customers, total * settings.customers, metrics)
        self._keep()

    def _customers(self, key: int) -> tuple[Any, Any]:
        """The training customers and the coins to explore with; on a GPU the bandit's own arrays go there as well."""
        seeds, numbers = np.full(self.settings.customers, key, np.uint64), np.arange(self.settings.customers)
        if self.settings.learner != "arrays":
            import torch  # a second, which rules and bandits on arrays need not wait

            from agents.devices import TensorCoins, device_of
            from blockenv.tensors import TensorCohort

            device = device_of(self.settings.device)
            if self.settings.learner == "tensors" or device.type != "cpu":
                for name in _ARRAYS:
                    setattr(self, name, torch.from_numpy(getattr(self, name)).to(device))
                return TensorCohort(self.scenario, seeds, numbers, device), TensorCoins(device, key)
        return Cohort(self.scenario, seeds, numbers), np.random.Generator(np.random.Philox(key=[key, 1]))

    def _keep(self) -> None:
        """Take the bandit's arrays back from wherever they are."""
        for name in _ARRAYS:
            values = getattr(self, name)
            if not isinstance(values, np.ndarray):
                setattr(self, name, values.cpu().numpy())

    def _design(self, context: Float, parts: Float) -> Float:
        """(N, blocks x D): the context once for the customer and once for every part of the message."""
        xp = array_namespace(context)
        multi = xp.concat([xp.ones_like(parts[:, :1]), parts], axis=1)
        return xp.reshape(multi[:, :, None] * context[:, None, :], (len(context), -1))

    def _scores(self, context: Float, weights: Float) -> Float:
        """(N, A) what each action promises beyond silence."""
        by_part = weights.reshape(self._blocks, self._context_size)[1:]
        return (context @ by_part.T) @ self._parts.T

    def save(self, folder: Path) -> None:
        """Write `agent.json` into `folder`."""
        save_record(folder, self, {"mean": self.mean.tolist()}, self.settings)

    @classmethod
    def load(cls, folder: Path, scenario: Scenario) -> Self:
        """Read a bandit back; it acts as before, but does not go on learning.

        Raises:
            AgentError: the file is missing, damaged, another agent's, or of a scenario of another shape.
        """
        settings, learned = load_record(folder, cls.__name__, cls.Settings)
        agent = cls(scenario, settings)
        try:
            agent.mean = finite(learned["mean"], agent.mean.shape)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AgentError(f"{folder / 'agent.json'}: 'mean' does not fit {scenario.name} ({error!r})") from error
        return agent


class LinUCB(LinearBandit):
    """Optimism: the legal message with the largest upper confidence bound."""

    def explore(self, context: Float, mask: Any, coins: Any) -> Any:
        """The best mean plus bound; silence promises exactly nothing."""
        bound = self.settings.explore * self.noise() * self._widths(context)
        return _best_legal(self._scores(context, self.mean) + bound, mask)

    def _widths(self, context: Float) -> Float:
        """(N, A) square root of phi' A^-1 phi, with phi the parts' share of an action's features."""
        size, blocks, xp = self._context_size, self._blocks, array_namespace(context)
        inverse = xp.reshape(xp.linalg.inv(self._gram)[size:, size:], (blocks - 1, size, blocks - 1, size))
        pairs = xp.reshape(self._parts[:, :, None] * self._parts[:, None, :], (len(self._parts), -1))
        table = xp.reshape(xp.permute_dims(inverse, (1, 0, 2, 3)), (size, -1))
        widths = []
        for start in range(0, len(context), _CHUNK):
            rows = context[start : start + _CHUNK]
            half = xp.reshape(rows @ table, (len(rows), -1, size))
            widths.append((half @ rows[:, :, None])[..., 0] @ pairs.T)
        return xp.sqrt(xp.clip(xp.concat(widths), 0.0, None))


class LinTS(LinearBandit):
    """Posterior sampling: each customer is served by one of `_DRAWS` models drawn from the posterior that morning."""

    def explore(self, context: Float, mask: Any, coins: Any) -> Any:
        """The best legal message under the customer's drawn model."""
        xp = array_namespace(context)
        factor = xp.linalg.cholesky(self._gram)
        normal = coins.standard_normal((len(self.mean), _DRAWS))
        draws = self.mean[:, None] + self.settings.explore * self.noise() * xp.linalg.solve(factor.T, normal)
        by_part = xp.reshape(draws.T, (_DRAWS, self._blocks, self._context_size))[:, 1:]
        model = coins.integers(_DRAWS, size=len(context))
        promised = (by_part[model] @ context[:, :, None])[..., 0]
        return _best_legal(promised @ self._parts.T, mask)


class _Priced(LinearBandit):
    """Learns once for every price of a block and keeps the one that is worth most to training customers."""

    Settings: ClassVar[type[Any]] = PricedSettings

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Learn under every price, play each result on training customers, keep the best."""
        settings: PricedSettings = self.settings
        best_value, best = -np.inf, self.mean
        for number, price in enumerate(settings.prices):
            trial = type(self)(self.scenario, settings.model_copy(update={"block_price": price}))
            trial._learn(seed, monitor, number * settings.days, len(settings.prices) * settings.days)
            played = play(
                trial, self.scenario, training_seed(seed, 2), settings.trial_customers, days=settings.trial_days
            )
            if played.value.mean() > best_value:
                best_value, best = played.value.mean(), trial.mean
                self.settings = settings.model_copy(update={"block_price": price})
        self.mean = best


class PricedLinUCB(_Priced, LinUCB):
    """LinUCB that pays a learned price for every block."""


class PricedLinTS(_Priced, LinTS):
    """Linear Thompson sampling that pays a learned price for every block."""


_CHUNK = 512  # rows at a time, so that the quadratic forms stay in cache
_DRAWS = 32
_ARRAYS = ("_parts", "_gram", "_moment", "mean")  # of a bandit, that are tensors while it learns on them


def _best_legal(scores: Float, mask: Any) -> Any:
    """(N,) the legal action of the largest score; silence scores zero and wins ties."""
    xp = array_namespace(scores)
    return xp.argmax(xp.where(mask, scores, -xp.inf), axis=1)
