"""Worlds whose customers break the model: what policies meet that were made for the world as it is written down.

A law changes the traits of customers every morning by what has happened to them; the simulator itself stays as it is.
It draws no luck, so customers meet the same luck under every law. Nothing here trains.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from blockenv import history, population
from blockenv.cohort import Cohort
from blockenv.policies import Placed, Policy, Student, greeting
from blockenv.rollout import checked_actions
from blockenv.scenarios import Scenario

Floats = NDArray[np.floating[Any]]


class Law:
    """What changes in customers 0..N-1 from day to day; this one changes nothing.

    Attributes:
        says: in a sentence, what breaks the model.
        memory: (N,) what customers carry with them beside fatigue and bond.
    """

    says: ClassVar[str] = "the world as it is written down"
    half_life: ClassVar[float] = 60.0  # days, of the memory
    changes: ClassVar[tuple[str, ...]] = ()  # the traits that `today` gives, (.., N)

    def __init__(self, scenario: Scenario, customers: int) -> None:
        self._rules = population.rules(scenario)
        self._ledger = history.ledger(scenario)
        self._discounts = self._rules.discount_of > 0 if (self._rules.discount_of > 0).any() else self._rules.sends
        self.memory: Floats = np.zeros(customers)
        self._born: dict[str, Any] = {}  # traits as drawn, customers last

    def morning(self, cohort: Cohort) -> None:
        """Change the traits of the rows for today."""
        if len(cohort) and not np.asarray(cohort.log.day).any():
            for name in self.changes:
                values = np.asarray(getattr(cohort.traits, name))
                known = self._born.setdefault(name, np.zeros((*values.shape[:-1], len(self.memory)), values.dtype))
                known[..., cohort.customer] = values
        kept = {name: self._born[name][..., cohort.customer] for name in self.changes}
        today = self.today(kept, self.memory[cohort.customer])
        shaped = {name: np.asarray(values, kept[name].dtype) for name, values in today.items()}
        cohort.traits = cohort.traits._replace(**shaped)

    def evening(self, cohort: Cohort, action: NDArray[np.int64]) -> None:
        """Remember what was done to the rows today, before they live the day."""
        rows, state = np.arange(len(cohort)), cohort.state
        open_now = np.asarray(state.reachable)[self._rules.channel_of[action], rows] & np.asarray(state.alive)
        delivered = open_now & self._rules.sends[action]
        decay = 0.5 ** (1.0 / self.half_life)
        self.memory[cohort.customer] = decay * self.memory[cohort.customer] + self.noted(cohort, action, delivered)

    def today(self, born: dict[str, Any], memory: Floats) -> dict[str, Any]:
        """Traits (.., M) of today from those as drawn, and the memory (M,)."""
        return born

    def noted(self, cohort: Cohort, action: NDArray[np.int64], delivered: NDArray[np.bool_]) -> Floats:
        """(M,) what is added to the memory."""
        return np.zeros(len(cohort))


class Threshold(Law):
    """Blocking by a hard threshold: hardly any below the ideal load, at once far above it."""

    says = "nobody blocks because of messages below the ideal load, and soon above it: a threshold, no smooth hazard"
    changes = ("block_log_rate", "reactance", "reciprocity")

    def today(self, born: dict[str, Any], memory: Floats) -> dict[str, Any]:
        """A twentieth of the rate below the ideal load, and 10 in log-hazard for every unit above it."""
        return {
            "block_log_rate": born["block_log_rate"] - 3.0,
            "reactance": np.full_like(born["reactance"], 10.0),
            "reciprocity": np.zeros_like(born["reciprocity"]),
        }


class TwoClocks(Law):
    """A second, slow fatigue: what was sent in the last months lowers the load that is borne today."""

    says = "a second fatigue with a half-life of 60 days lowers the ideal load"
    changes = ("ideal_load",)

    def today(self, born: dict[str, Any], memory: Floats) -> dict[str, Any]:
        """The ideal load is halved by 20 units of slow fatigue."""
        return {"ideal_load": born["ideal_load"] / (1.0 + memory / 20.0)}

    def noted(self, cohort: Cohort, action: NDArray[np.int64], delivered: NDArray[np.bool_]) -> Floats:
        """The load of what arrived."""
        return np.where(delivered, self._rules.load_of[action], 0.0)


class PulledForward(Law):
    """An order through a message is partly one that would have come later."""

    says = "orders through messages are pulled forward: organic orders fall for some two months after each"
    half_life = 45.0
    changes = ("organic_rate",)

    def __init__(self, scenario: Scenario, customers: int) -> None:
        super().__init__(scenario, customers)
        self._prompted: Floats = np.zeros(customers)  # orders through messages in the log's long window, yesterday

    def today(self, born: dict[str, Any], memory: Floats) -> dict[str, Any]:
        """Half the organic orders are gone right after an order through a message, and more after several."""
        return {"organic_rate": born["organic_rate"] * 0.5**memory}

    def noted(self, cohort: Cohort, action: NDArray[np.int64], delivered: NDArray[np.bool_]) -> Floats:
        """Yesterday's orders through messages, as far as the log grew."""
        channels = len(cohort.scenario.channels)
        now = np.asarray(cohort.log.prompted)[:, :channels].sum(axis=1).astype(np.float64)
        before = self._prompted[cohort.customer] * self._ledger.long_decay
        self._prompted[cohort.customer] = now
        return np.asarray(np.round(np.maximum(now - before, 0.0)))


class ReferencePrice(Law):
    """Who is often offered a discount comes to expect it, and buys less without one."""

    says = "offers with a discount spoil the price: after several, customers order less without one"
    changes = ("style_buy", "organic_rate")

    def __init__(self, scenario: Scenario, customers: int) -> None:
        super().__init__(scenario, customers)
        discounts = np.array([style.discount for style in scenario.styles])
        self._full_price = (discounts == 0) if (discounts > 0).any() else np.ones(len(discounts), bool)

    def today(self, born: dict[str, Any], memory: Floats) -> dict[str, Any]:
        """Each offer in the window takes .05 of the logit at full price, and 5 % of the organic orders."""
        return {
            "style_buy": born["style_buy"] - 0.05 * self._full_price[:, None] * memory,
            "organic_rate": born["organic_rate"] * np.exp(-0.05 * memory),
        }

    def noted(self, cohort: Cohort, action: NDArray[np.int64], delivered: NDArray[np.bool_]) -> Floats:
        """Offers that arrived."""
        return np.where(delivered & self._discounts[action], 1.0, 0.0)


LAWS: dict[str, type[Law]] = {
    "threshold": Threshold,
    "two_clocks": TwoClocks,
    "pulled_forward": PulledForward,
    "reference_price": ReferencePrice,
}


class Bent:
    """A policy among customers who live by another law; the policy is told nothing of it."""

    def __init__(self, policy: Policy, law: Law) -> None:
        self._policy, self._law = policy, law
        self._greet = greeting(policy)
        self._cohort: Cohort | None = None

    def meet(self, cohort: Cohort) -> None:
        """Change the customers for today; a reference line that wants to see them does so afterwards."""
        self._cohort = cohort
        self._law.morning(cohort)
        self._greet(cohort, cohort.customer)

    def act(self, observation: Floats, action_mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
        """The policy's own choice, which the law takes note of."""
        assert self._cohort is not None
        chosen = self._policy.act(observation, action_mask, rng)
        action = checked_actions(chosen, len(self._cohort), self._cohort.scenario.actions)
        self._law.evening(self._cohort, action)
        return action

    def hear(self, observation: Floats, action: NDArray[np.int64], reward: Floats, closed: NDArray[np.int64]) -> None:
        """Pass the evening on to a policy that learns while it serves."""
        if isinstance(self._policy, Student):
            self._policy.hear(observation, action, reward, closed)

    def keep_rows(self, rows: NDArray[np.bool_]) -> None:
        """Pass on which rows are kept to a policy that goes by their places."""
        if isinstance(self._policy, Placed):
            self._policy.keep_rows(rows)
