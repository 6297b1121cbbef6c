"""A frequency cap for each kind of customer, chosen by what the firm can see when the customer joins.

Caps are tuned for the groups that the covariates suggest; a regression then predicts what each of them is worth to a
customer, and everybody gets the best. It learns from training customers alone, and never from hidden segments.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import Monitor, training_seed
from agents.caps import GAPS, CapSettings, FrequencyCap
from agents.lives import Lives
from agents.rotation import SILENCE, Cap, Rotation, TuningSettings
from agents.rules import Observation, finite
from blockenv import population


class PersonalSettings(TuningSettings):
    """How the caps are tuned and assigned."""

    customers: int = Field(default=512, ge=8, description="training customers that a group's cap is tuned on")
    days: int = Field(default=364, ge=1, description="days played while tuning")
    judges: int = Field(default=4096, ge=32, description="training customers the assignment is learned from")
    judged_days: int = Field(default=728, ge=1, description="days they are served")
    ridge: float = Field(default=30.0, gt=0, description="customers' worth of doubt that caps differ in value")


class PersonalCap(Rotation):
    """Messages in rotation and a gap in days, by a customer's covariates."""

    Settings = PersonalSettings
    learns: ClassVar[bool] = True  # who gets which cap depends on the training customers

    def __init__(self, scenario: Any, settings: Any = None) -> None:
        super().__init__(scenario, settings)
        self.caps: list[Cap] = [SILENCE]
        self.weights: NDArray[np.floating[Any]] = np.zeros(
            (self._terms(np.zeros((1, len(scenario.segments)))).shape[1], 1)
        )

    def in_force(self) -> list[Cap]:
        """Those tuned, and silence."""
        return self.caps

    def cap_of(self, seen: Observation) -> NDArray[np.integer[Any]]:
        """(N,) the cap of each customer, by the covariates."""
        return self.assigned(seen[:, self._columns["hints"]])

    def assigned(self, hints: Observation) -> NDArray[np.int64]:
        """(N,) the cap of the largest predicted value for customers with these covariates (N, S)."""
        return np.asarray((self._terms(hints) @ self.weights).argmax(axis=1))

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Tune a cap for each group, then learn who gets which."""
        settings: PersonalSettings = self.settings
        hints = self._hints(training_seed(seed, 2), np.arange(16 * settings.customers))
        plain = CapSettings(customers=settings.customers, days=settings.days, messages=settings.messages)
        found: list[Cap] = [SILENCE]
        for group in (None, *range(hints.shape[1])):
            cap = FrequencyCap(self.scenario, plain)
            cap.tuned_on = _clearest(hints, group)[: settings.customers]
            cap.fit(seed, monitor)
            found += [(cap.messages, gap) for gap in _around(cap.gap)] if cap.messages else []
        self.caps = [cap for place, cap in enumerate(found) if cap not in found[:place]]
        self._assign(seed)

    def learned(self) -> dict[str, Any]:
        """The caps, and the regression that assigns them."""
        return {"caps": [[messages, gap] for messages, gap in self.caps], "weights": self.weights.tolist()}

    def recall(self, learned: dict[str, Any]) -> None:
        """Take caps and regression back."""
        caps = [([int(each) for each in messages], int(gap)) for messages, gap in learned["caps"]]
        if any(not 0 < message < self.scenario.actions for messages, _ in caps for message in messages):
            raise ValueError(f"caps: a message is not among 1..{self.scenario.actions - 1}")
        self.weights = finite(learned["weights"], (len(self.weights), len(caps)))
        self.caps = caps

    def _assign(self, seed: int) -> None:
        """Regress the value over silence on the covariates, cap by cap, on customers with the same luck."""
        settings: PersonalSettings = self.settings
        judges = 2**20 + np.arange(settings.judges, dtype=np.int64)
        key = training_seed(seed, 2)
        rules = []
        for messages, gap in self.caps:
            cap = FrequencyCap(self.scenario)
            cap.messages, cap.gap = list(messages), gap
            rules.append(cap)
        values = Lives(self.scenario, judges, seed, settings.judged_days).values(rules)
        gain = np.ascontiguousarray((values - values[0]).T)
        terms = self._terms(self._hints(key, judges))
        doubt = settings.ridge * np.eye(terms.shape[1])
        doubt[0, 0] = 0.0  # the average over everybody is not shrunk
        self.weights = np.linalg.solve(terms.T @ terms + doubt, terms.T @ gain)

    def _hints(self, key: int, customers: NDArray[np.int64]) -> Observation:
        seeds = np.full(len(customers), key, np.uint64)
        return np.asarray(population.draw(self.scenario, seeds, customers.astype(np.int64)).hints)

    @staticmethod
    def _terms(hints: Observation) -> NDArray[np.float64]:
        """(N, 1 + S + S (S + 1) / 2): a constant, the covariates, and their products."""
        hints = np.asarray(hints, np.float64)
        first, second = np.triu_indices(hints.shape[1])
        return np.concatenate([np.ones((len(hints), 1)), hints, hints[:, first] * hints[:, second]], axis=1)


def _clearest(hints: Observation, group: int | None) -> NDArray[np.int64]:
    """Customers in the order in which their covariates point to a group rather than to any other; all for None."""
    if group is None or hints.shape[1] == 1:
        return np.arange(len(hints))
    contrast = hints[:, group] - np.delete(hints, group, axis=1).max(axis=1)
    return np.argsort(-contrast, kind="stable")


def _around(gap: int) -> list[int]:
    """The gap and its neighbours among those tried."""
    place = GAPS.index(gap) if gap in GAPS else 0
    return list(GAPS[max(0, place - 1) : place + 2])
