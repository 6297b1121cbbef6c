"""The online track: a policy starts with nothing on a customer base that lives on, and every mistake counts.

The held-out customers are served once, from their first day to the last, by a policy that knows no other; it hears every
evening what the firm could see. Nobody is left out of the batch who has left for ever: the firm does not know. What a
policy is worth here includes all that it lost while it learned, and so do the blocks that it caused.

PPO and DQN learn as `agents.serving` describes. Of their settings the track itself sets `reward`, `expected_churn`,
`informed_critic`, `envs` and `steps` (see `agents.on_tensors`): money as it fell, nothing hidden, a row a customer, and
schedules that end with the window. All others are those of the suite.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents import agent_class
from agents.bandits import LinearBandit
from benchmarks.cells import Cell
from benchmarks.submissions import Limits, Submission
from blockenv import Policy, Result, observation, play
from blockenv.rollout import EVALUATION_SEED
from blockenv.scenarios import Scenario

Floats = NDArray[np.floating[Any]]
_COINS = 7_001  # of the second word of the key of a bandit's own coins


class OnlineBandit:
    """A linear bandit that explores on the customers it serves; it learns from money as it fell."""

    def __init__(self, bandit: LinearBandit, seed: int) -> None:
        self._bandit = bandit
        self._rng = np.random.Generator(np.random.Philox(key=[seed, _COINS]))

    def act(self, observation: Floats, action_mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[Any]:
        """The bandit's choice while it learns, with coins that differ between training seeds."""
        return np.asarray(self._bandit.explore(self._bandit.context(observation), action_mask, self._rng))

    def hear(self, observation: Floats, action: NDArray[np.int64], reward: Floats, closed: NDArray[np.int64]) -> None:
        """Learn from the day, a block at the price of the settings."""
        money = np.asarray(reward, np.float64) - self._bandit.settings.block_price * closed
        self._bandit.update(self._bandit.context(observation), action, money)


class Commit:
    """Tries gaps between messages on parts of the base for half a year, and commits to what earned most.

    Messages are tried in turn at first; afterwards the one with the most money a day after it. It judges by the margin
    of its trial alone, as firms do that test for a quarter or two: blocks cost nothing within a trial.
    """

    gaps = (3, 7, 14, 28, 0)  # days; 0 is silence
    trial = 182  # days

    def __init__(self, scenario: Scenario) -> None:
        self._recency = observation.layout(scenario)["recency"].start
        self._actions = scenario.actions
        self._day, self._gap = 0, np.zeros(0)
        self._earned, self._sent = np.zeros(scenario.actions), np.zeros(scenario.actions)
        self._by_gap = np.zeros(len(self.gaps))

    def act(self, observation: Floats, action_mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[Any]:
        """A message where the customer's gap is over."""
        count = len(observation)
        if self._day == 0:
            self._gap = np.asarray(self.gaps)[np.arange(count) % len(self.gaps)]
        gap = self._gap if self._day < self.trial else np.full(count, self.gaps[int(self._by_gap.argmax())])
        days_since = 7.0 * (1.0 / np.maximum(observation[:, self._recency], 1e-6) - 1.0)
        if self._day < self.trial:
            message = 1 + (np.arange(count) // len(self.gaps) + self._day) % (self._actions - 1)
        else:
            mean = self._earned / np.maximum(self._sent, 1.0)
            message = 1 + np.where(action_mask[:, 1:], mean[1:], -np.inf).argmax(axis=1)
        due = (gap > 0) & (days_since > gap - 1.5) & action_mask[np.arange(count), message]
        return np.asarray(np.where(due, message, 0))

    def hear(self, observation: Floats, action: NDArray[np.int64], reward: Floats, closed: NDArray[np.int64]) -> None:
        """Add up what gaps and messages have earned in the trial."""
        if self._day < self.trial:
            np.add.at(self._by_gap, np.arange(len(action)) % len(self.gaps), np.asarray(reward, np.float64))
            np.add.at(self._earned, action, np.asarray(reward, np.float64))
            np.add.at(self._sent, action, 1.0)
        self._day += 1


class OnlineSubmission(Submission):
    """Somebody's own policy, which may have a method `hear`; see `blockenv.policies.Student`."""

    def hear(self, observation: Floats, action: NDArray[np.int64], reward: Floats, closed: NDArray[np.int64]) -> None:
        """Pass the evening on.

        Raises:
            SubmissionError: it failed, or used more than it may.
        """
        self.ask("hear", observation, action, reward, closed)


def newcomer(cell: Cell) -> Policy:
    """The agent of a cell as it knows nothing; rules play as they are made, without any tuning."""
    kind = agent_class(cell.agent)
    settings = kind.Settings.model_validate(cell.settings)
    if hasattr(kind.Settings, "while_serving"):
        from agents.serving import Serving  # takes seconds to import

        # Where scenarios show everything, it is not shown to whoever learns here.
        deep: Any = kind(cell.world.model_copy(update={"observe": "log"}), settings)
        return Serving(deep, cell.seed)
    agent = kind(cell.world, settings)
    return OnlineBandit(agent, cell.seed) if isinstance(agent, LinearBandit) else agent


def serve(policy: Policy, cell: Cell) -> Result:
    """The customers of a cell in one batch, with all who have left: a firm cannot see them go."""
    return play(
        policy, cell.world, EVALUATION_SEED, cell.customers, days=cell.days, batch=cell.customers, compact=False
    )


def guest_of(cell: Cell, limits: Limits) -> OnlineSubmission:
    """The process of somebody's own policy; to be used in a `with` block."""
    return OnlineSubmission(cell.agent, limits)
