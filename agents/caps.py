"""Frequency caps and recency-frequency-monetary rules, tuned on training customers: strong and simple.

Tuning plays candidate rules on the same training customers with the same luck and keeps the best. It sees values
only, never traits, and never an evaluation customer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import Monitor
from agents.lives import lives_for
from agents.rotation import FOREVER, SILENCE, Cap, Rotation, TuningSettings, legal_messages
from agents.rules import Observation, immediate_profit
from blockenv.scenarios import Scenario

GAPS = (1, 2, 3, 4, 5, 7, 10, 14, 21, 28)


class CapSettings(TuningSettings):
    """How a frequency cap is tuned, or what it is."""

    gap: int | None = Field(default=None, ge=1, description="days between two messages; tuned if not given")


class FrequencyCap(Rotation):
    """At most one message in so many days, the same for everybody; gap and messages tuned on training customers."""

    Settings = CapSettings
    gap: int

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self.gap = self.settings.gap or FOREVER

    def in_force(self) -> list[Cap]:
        """One for everybody."""
        return [(self.messages, self.gap)]

    def cap_of(self, seen: Observation) -> NDArray[np.integer[Any]]:
        """(N,) zeros: there is one cap."""
        return np.zeros(len(seen), np.int64)

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Coordinate search: the best message of each channel, then which channels rotate at which gap."""
        search = _Search(self, seed, monitor)
        given, gaps = list(self.settings.messages), GAPS if self.settings.gap is None else (self.settings.gap,)
        rotations = [given] if given else [[message] for message in self._best_messages(search)]
        best = search.best([SILENCE, *search.with_best_gaps(rotations, gaps)])
        while best[0] and not given:
            around = tuple(gap for gap in gaps if 0.4 <= gap / best[1] <= 1.1)
            longer = [[*best[0], message] for (message,) in rotations if message not in best[0]]
            better = search.best([best, *((messages, gap) for messages in longer for gap in around)])
            if better == best:
                break
            best = better
        self.messages, self.gap = list(best[0]), best[1]

    def learned(self) -> dict[str, Any]:
        """Gap in days and the messages in rotation."""
        return {"gap": self.gap, "messages": self.messages}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take gap and messages back."""
        self.gap, self.messages = int(learned["gap"]), legal_messages(learned["messages"], self.scenario)

    def _best_messages(self, search: "_Search") -> list[int]:
        """For each channel the slot, style and product that are worth most at one message a week."""
        rules = self._rules
        profit = immediate_profit(self.scenario, search.seed, 2048, 28)
        channels = [
            np.flatnonzero(rules.sends & (rules.channel_of == each)) for each in range(len(self.scenario.channels))
        ]
        chosen = [int(messages[profit[messages].argmax()]) for messages in channels]
        parts = (rules.slot_of, rules.style_of, rules.product_of)
        for part in parts:
            others = [each for each in parts if each is not part]
            options = [
                [int(each) for each in messages if all(other[each] == other[message] for other in others)]
                for messages, message in zip(channels, chosen, strict=True)
            ]
            search.play([([message], 7) for same in options for message in same])
            chosen = [search.best([([message], 7) for message in same])[0][0] for same in options]
        return chosen


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

    def in_force(self) -> list[Cap]:
        """The same messages for every tier, with a gap of its own."""
        return [(self.messages, gap) for gap in self.gaps]

    def cap_of(self, seen: Observation) -> NDArray[np.integer[Any]]:
        """(N,) the tier: 0 for the least, 2 for the most valuable customers."""
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
        lives = lives_for(self, seed)
        for tier in [*range(self.TIERS)] * 2:
            candidates = [self._like(tier, gap) for gap in dict.fromkeys((self.gaps[tier], *GAPS, FOREVER))]
            self.gaps = candidates[int(np.argmax(lives.values(candidates).mean(axis=1)))].gaps

    def _like(self, tier: int, gap: int) -> "RecencyFrequencyMonetary":
        """The same rule with another gap for one tier."""
        other = RecencyFrequencyMonetary(self.scenario, self.settings)
        other.messages, other.gaps = self.messages, [gap if each == tier else own for each, own in enumerate(self.gaps)]
        return other

    def learned(self) -> dict[str, Any]:
        """Gaps by tier in days, and the messages in rotation."""
        return {"gaps": self.gaps, "messages": self.messages}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take gaps and messages back."""
        gaps = [int(gap) for gap in learned["gaps"]]
        if len(gaps) != self.TIERS:
            raise ValueError(f"gaps: {len(gaps)} tiers, expected {self.TIERS}")
        self.gaps, self.messages = gaps, legal_messages(learned["messages"], self.scenario)


class _Search:
    """Values of candidate caps, each played once."""

    def __init__(self, cap: FrequencyCap, seed: int, monitor: Monitor) -> None:
        self.seed = seed
        self._cap = cap
        self._monitor = monitor
        self._lives = lives_for(cap, seed)
        self._values: dict[tuple[tuple[int, ...], int], float] = {}

    def play(self, caps: Sequence[Cap]) -> None:
        """Play those that have not been played."""
        new = [
            cap for cap in dict.fromkeys((tuple(messages), gap) for messages, gap in caps) if cap not in self._values
        ]
        if not new:
            return
        candidates = []
        for messages, gap in new:
            candidate = FrequencyCap(self._cap.scenario, self._cap.settings)
            candidate.messages, candidate.gap = list(messages), gap
            candidates.append(candidate)
        self._values.update(zip(new, self._lives.values(candidates).mean(axis=1).tolist(), strict=True))
        played = len(self._values) * len(self._cap.tuning_customers()) * self._cap.settings.days
        best = max(self._values, key=lambda cap: self._values[cap])
        metrics = {"tuning/value": self._values[best], "tuning/gap": float(best[1])}
        self._monitor.advance(played, played, metrics)

    def best(self, caps: Sequence[Cap]) -> Cap:
        """The cap of the largest value; the first of equals."""
        self.play(caps)
        return max(caps, key=lambda cap: self._values[tuple(cap[0]), cap[1]])

    def with_best_gaps(self, rotations: Sequence[list[int]], gaps: tuple[int, ...]) -> list[Cap]:
        """Each rotation with its best gap: every second gap first, then the neighbours of the best."""
        # Silence comes along, as it is asked for next and would be a small batch of its own.
        self.play([SILENCE, *((messages, gap) for messages in rotations for gap in gaps[::2])])
        near = []
        for messages in rotations:
            centre = gaps.index(self.best([(messages, gap) for gap in gaps[::2]])[1])
            near.append([(messages, gap) for gap in gaps[max(0, centre - 1) : centre + 2]])
        self.play([cap for caps in near for cap in caps])
        return [self.best(caps) for caps in near]
