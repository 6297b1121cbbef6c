"""Frequency caps and recency-frequency-monetary rules, tuned on training customers: strong and simple.

Tuning plays candidate rules on the same training customers with the same luck and keeps the best. It sees values
only, never traits, and never an evaluation customer.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import AgentError, AgentSettings, Monitor, training_seed
from agents.rules import Actions, Mask, Observation, Rule, immediate_profit
from blockenv.rollout import play
from blockenv.scenarios import Scenario

GAPS = (1, 2, 3, 4, 5, 7, 10, 14, 21, 28)
FOREVER = 10_000  # days; a gap nobody lives to see the end of


class TuningSettings(AgentSettings):
    """How a rule is tuned."""

    customers: int = Field(default=512, ge=1, description="training customers that every candidate is played on")
    days: int = Field(default=546, ge=1, description="days played; a year and a half, as blocks cost later")
    messages: list[int] = Field(default=[], description="actions in rotation; tuned if empty")


class CapSettings(TuningSettings):
    """How a frequency cap is tuned, or what it is."""

    gap: int | None = Field(default=None, ge=1, description="days between two messages; tuned if not given")


class Rotation(Rule):
    """A rule that sends its messages in rotation: the channel least used lately goes first."""

    Settings: ClassVar[type[Any]] = TuningSettings
    messages: list[int]

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self.messages = list(self.settings.messages)
        self.tuned_on: NDArray[np.int64] | None = None  # training customers by number; settings.customers if None
        for action in self.messages:
            if not 0 < action < scenario.actions:
                raise AgentError(f"messages: {action} is not among 1..{scenario.actions - 1} of {scenario.name}")

    def next_message(self, seen: Observation, mask: Mask) -> Actions:
        """(N,) the legal message whose channel was used least lately, silence where none is legal."""
        if not self.messages:
            return np.zeros(len(seen), np.int64)
        recent = seen[:, self._columns["recent"]]
        channels = self._rules.channel_of[self.messages]
        used = np.where(mask[:, self.messages], recent[:, channels], np.inf)
        best = used.argmin(axis=1)
        legal = np.isfinite(used[np.arange(len(seen)), best])
        return np.where(legal, np.array(self.messages)[best], 0)

    def value(self, seed: int) -> float:
        """Mean value of the rule as it stands, on training customers."""
        customers = self.settings.customers if self.tuned_on is None else self.tuned_on
        result = play(self, self.scenario, training_seed(seed, 2), customers, days=self.settings.days)
        return float(result.value.mean())


class FrequencyCap(Rotation):
    """At most one message in so many days, the same for everybody; gap and messages tuned on training customers."""

    Settings = CapSettings
    gap: int

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self.gap = self.settings.gap or FOREVER

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The next message of the rotation where the gap has passed."""
        return np.where(self.days_since_send(seen) > self.gap - 1.5, self.next_message(seen, mask), 0)

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Coordinate search: the best message of each channel, then which channels rotate at which gap."""
        search = _Search(self, seed, monitor)
        fixed_gap, fixed_messages = self.settings.gap, list(self.settings.messages)
        self.gap = fixed_gap or 7
        if not fixed_messages:
            self._tune_messages(search)
        gaps = GAPS if fixed_gap is None else (fixed_gap,)
        best_value, best = -np.inf, (self.gap, self.messages)
        candidates = [fixed_messages] if fixed_messages else [[message] for message in self.messages]
        # Silence is a cap as well: with no messages at all.
        silent = search.value([], FOREVER)
        best_value, best = silent, (FOREVER, [])
        for messages in candidates:
            value, gap = search.best_gap(messages, gaps)
            if value > best_value:
                best_value, best = value, (gap, messages)
        improved = not fixed_messages and bool(best[1])
        while improved:
            improved = False
            for message in self._rest(candidates, best[1]):
                around = tuple(gap for gap in gaps if 0.4 <= gap / best[0] <= 1.1)
                value, gap = search.best_gap([*best[1], message], around)
                if value > best_value:
                    best_value, best, improved = value, (gap, [*best[1], message]), True
        self.gap, self.messages = best

    def learned(self) -> dict[str, Any]:
        """Gap in days and the messages in rotation."""
        return {"gap": self.gap, "messages": self.messages}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take gap and messages back."""
        self.gap, self.messages = int(learned["gap"]), _legal_messages(learned["messages"], self.scenario)

    def _tune_messages(self, search: "_Search") -> None:
        """For each channel the slot, style and product that are worth most at one message a week."""
        rules, chosen = self._rules, []
        profit = immediate_profit(self.scenario, search.seed, self.settings.customers, 28)
        for channel in range(len(self.scenario.channels)):
            messages = np.flatnonzero(rules.sends & (rules.channel_of == channel))
            message = int(messages[profit[messages].argmax()])
            for part in (rules.slot_of, rules.style_of, rules.product_of):
                others = [each for each in (rules.slot_of, rules.style_of, rules.product_of) if each is not part]
                same = [each for each in messages if all(other[each] == other[message] for other in others)]
                message = max((search.value([int(each)], 7), int(each)) for each in same)[1]
            chosen.append(message)
        self.messages = chosen

    @staticmethod
    def _rest(candidates: list[list[int]], chosen: list[int]) -> list[int]:
        return [message for (message,) in candidates if message not in chosen]


class RecencyFrequencyMonetary(Rotation):
    """Good customers hear from the firm more often: a gap for each tier of recency, frequency and monetary value.

    The score adds three marks out of three: an order lately, many orders, large orders. Messages are the cap's,
    gaps of the tiers are tuned one after the other.
    """

    Settings = TuningSettings
    TIERS = 3
    gaps: list[int]

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self.gaps = [28, 14, 7]

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The next message of the rotation where the gap of the customer's tier has passed."""
        gap = np.array(self.gaps)[self.tier(seen)]
        return np.where(self.days_since_send(seen) > gap - 1.5, self.next_message(seen, mask), 0)

    def tier(self, seen: Observation) -> Actions:
        """(N,) 0 for the least, 2 for the most valuable customers."""
        recency = seen[:, self._columns["recency"].start + 2] > 1.0 / (1.0 + 90.0 / 30.0)
        frequency = seen[:, self._columns["orders"].start] > np.sqrt(1.0 / 20.0)
        monetary = seen[:, self._columns["order_value"].start] > 0.5
        marks = recency.astype(np.int64) + frequency + (monetary & recency)
        return np.asarray(np.minimum(marks, self.TIERS - 1))

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Take the tuned cap's messages and gap, then tune the gap of each tier in two rounds."""
        if not self.settings.messages:
            cap = FrequencyCap(self.scenario, CapSettings(**self.settings.model_dump()))
            cap.fit(seed, monitor)
            self.messages, self.gaps = cap.messages, [cap.gap] * self.TIERS
        best = self.value(seed)
        for _ in range(2):
            for tier in range(self.TIERS):
                for gap in (*GAPS, FOREVER):
                    before, self.gaps[tier] = self.gaps[tier], gap
                    value = self.value(seed)
                    if value > best:
                        best = value
                    else:
                        self.gaps[tier] = before

    def learned(self) -> dict[str, Any]:
        """Gaps by tier in days, and the messages in rotation."""
        return {"gaps": self.gaps, "messages": self.messages}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take gaps and messages back."""
        gaps = [int(gap) for gap in learned["gaps"]]
        if len(gaps) != self.TIERS:
            raise ValueError(f"gaps: {len(gaps)} tiers, expected {self.TIERS}")
        self.gaps, self.messages = gaps, _legal_messages(learned["messages"], self.scenario)


class _Search:
    """Values of candidate caps, each played once."""

    def __init__(self, cap: FrequencyCap, seed: int, monitor: Monitor) -> None:
        self.seed = seed
        self._cap = cap
        self._monitor = monitor
        self._values: dict[tuple[tuple[int, ...], int], float] = {}

    def value(self, messages: list[int], gap: int) -> float:
        key = (tuple(messages), gap)
        if key not in self._values:
            cap = FrequencyCap(self._cap.scenario, self._cap.settings)
            cap.messages, cap.gap, cap.tuned_on = list(messages), gap, self._cap.tuned_on
            self._values[key] = cap.value(self.seed)
            played = cap.settings.customers * cap.settings.days * len(self._values)
            self._monitor.advance(played, played, {"tuning/value": self._values[key], "tuning/gap": float(gap)})
        return self._values[key]

    def best_gap(self, messages: list[int], gaps: tuple[int, ...]) -> tuple[float, int]:
        """The best value and its gap: every second gap first, then the neighbours of the best."""
        coarse = gaps[::2]
        centre = gaps.index(max(coarse, key=lambda gap: self.value(messages, gap)))
        near = gaps[max(0, centre - 1) : centre + 2]
        return max((self.value(messages, gap), gap) for gap in near)


def _legal_messages(messages: Any, scenario: Scenario) -> list[int]:
    found = [int(message) for message in messages]
    for message in found:
        if not 0 < message < scenario.actions:
            raise ValueError(f"messages: {message} is not among 1..{scenario.actions - 1}")
    return found
