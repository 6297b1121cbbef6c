"""Senders that follow a simple rule: the lines every learner must beat.

Rules read the same observation as learners do and keep nothing between days; none of them is tuned by hand to a
scenario, and none tunes itself beyond what its docstring says.
"""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import AgentError, AgentSettings, Monitor, load_record, save_record, training_seed
from blockenv import history, observation, population
from blockenv.cohort import Cohort
from blockenv.scenarios import Scenario

Observation = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Actions = NDArray[np.integer[Any]]


class Rule:
    """What rules have in common: settings, columns by name, and a small file to be kept in."""

    Settings: ClassVar[type[Any]] = AgentSettings
    learns: ClassVar[bool] = False  # what is measured or tuned hardly depends on the training seed

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        self.scenario = scenario
        self.settings: Any = self.Settings() if settings is None else settings
        self._columns = observation.layout(scenario)
        self._rules = population.rules(scenario)

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Nothing to learn."""

    def learned(self) -> dict[str, Any]:
        """What `fit` found, as plain values."""
        return {}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take back what `learned` returned.

        Raises:
            KeyError, TypeError, ValueError: it is not what `learned` returned for this scenario.
        """

    def save(self, folder: Path) -> None:
        """Write `agent.json` into `folder`."""
        save_record(folder, self, self.learned(), self.settings)

    @classmethod
    def load(cls, folder: Path, scenario: Scenario) -> Self:
        """Read a rule back.

        Raises:
            AgentError: the file is missing, damaged or another agent's.
        """
        settings, learned = load_record(folder, cls.__name__, cls.Settings)
        try:
            agent = cls(scenario, settings)
            agent.recall(learned)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AgentError(f"{folder / 'agent.json'}: 'learned' does not fit {scenario.name} ({error!r})") from error
        return agent

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Choose by the rule."""
        raise NotImplementedError

    def days_since_send(self, seen: Observation) -> Observation:
        """(N,) days since the last message, large where there was none."""
        recency = seen[:, self._columns["recency"].start]
        return 7.0 * (1.0 / np.maximum(recency, 1e-6) - 1.0)

    def recent_columns(self) -> NDArray[np.integer[Any]]:
        """(A,) for each message the column that says how much its channel was used lately."""
        return np.asarray(self._columns["recent"].start + self._rules.channel_of)


class Silence(Rule):
    """Never sends: the zero of every score."""

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Silence for everybody."""
        return np.zeros(len(seen), np.int64)


class Random(Rule):
    """Any legal action, silence included, all equally likely."""

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """A random legal action each."""
        return random_legal(mask, rng)


class ProfitSettings(AgentSettings):
    """How the immediate profit of a message is measured before the first day."""

    customers: int = Field(default=4096, ge=1, description="training customers")
    days: int = Field(default=28, ge=1, description="days of random messages")


class Greedy(Rule):
    """Every day the message with the largest immediate profit, as measured on training customers.

    The profit of a message is what it adds to the day's expected margin, averaged over customers, and additive in
    its channel, slot, style and product. It knows nothing of fatigue, blocks or churn.
    """

    Settings = ProfitSettings
    profit: NDArray[np.float64]

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self.profit = np.zeros(scenario.actions)

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Measure the immediate profit of every message."""
        settings: ProfitSettings = self.settings
        self.profit = immediate_profit(self.scenario, seed, settings.customers, settings.days)
        monitor.advance(settings.customers * settings.days, settings.customers * settings.days, {})

    def learned(self) -> dict[str, Any]:
        """The profit of every action."""
        return {"profit": self.profit.tolist()}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take the profits back."""
        self.profit = finite(learned["profit"], (self.scenario.actions,))

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The most profitable legal message, or silence if none is."""
        best_first = np.argsort(-self.profit, kind="stable")
        # Silence is always legal, so what is worse than silence need not be looked at.
        worth_it = best_first[: np.flatnonzero(best_first == 0)[0] + 1]
        return np.asarray(worth_it[mask[:, worth_it].argmax(axis=1)])


class Weekly(Greedy):
    """One broadcast a week on each channel: the channel's most profitable message, a weekday for each channel."""

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """Today's broadcast where its channel is not known to be blocked."""
        weekday = weekday_of(self._columns, seen)
        chosen = np.zeros(len(seen), np.int64)
        for channel in range(len(self.scenario.channels)):
            messages = np.flatnonzero(self._rules.sends & (self._rules.channel_of == channel))
            best = messages[self.profit[messages].argmax()]
            chosen = np.where((weekday == channel % 7) & mask[:, best] & (chosen == 0), best, chosen)
        return chosen


def random_legal(mask: Mask, rng: np.random.Generator) -> Actions:
    """(N,) a legal action each, all equally likely."""
    legal, count = np.flatnonzero(mask), np.count_nonzero(mask, axis=1)
    rank = (rng.random(len(mask)) * count).astype(np.int64)
    return np.asarray(legal[np.cumsum(count) - count + rank] % mask.shape[1])


def weekday_of(columns: dict[str, slice], seen: Observation) -> NDArray[np.int64]:
    """(N,) day of the week 0..6, read back from its sine and cosine; 5 and 6 are the weekend."""
    start = columns["date"].start
    angle = np.arctan2(seen[:, start + 1], seen[:, start + 2])
    return np.asarray(np.round(angle / (2 * np.pi) * 7).astype(np.int64) % 7)


def immediate_profit(scenario: Scenario, seed: int, customers: int, days: int) -> NDArray[np.float64]:
    """(A,) what each message adds to the day's expected margin, by regression on randomly messaged customers."""
    numbers = np.arange(customers, dtype=np.int64)
    cohort = Cohort(scenario, np.full(customers, training_seed(seed, 1), np.uint64), numbers)
    rng = np.random.Generator(np.random.Philox(key=[training_seed(seed, 1), 0]))
    parts = history.ledger(scenario).parts.astype(np.float64)
    width = parts.shape[1] + 1
    gram, moment = 1e-3 * np.eye(width), np.zeros(width)
    for _ in range(days):
        action = random_legal(cohort.legal_actions(), rng)
        outcome = cohort.step(action)
        rows = outcome.delivered | ~outcome.sent  # a message that did not arrive says nothing about messages
        design = np.concatenate([np.ones((customers, 1)), parts[action]], axis=1)[rows]
        gram += design.T @ design
        moment += design.T @ outcome.expected_reward[rows]
    effect = np.linalg.solve(gram, moment)[1:]
    return np.asarray(parts @ effect)


def finite(values: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """`values` as a finite float array of `shape`, or a ValueError."""
    array = np.asarray(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers of shape {shape}, got shape {array.shape}")
    return array
