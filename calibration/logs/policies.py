"""Policies that write logs to learn from, and that can say how likely each of their decisions was.

Coins are addressed by customer and day, so that a log does not depend on how customers are dealt into batches. A
policy here may look at the customers themselves, as the confounded one does; none of this is for contenders.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from blockenv import noise
from blockenv.cohort import Cohort
from blockenv.scenarios import Scenario
from calibration.logs.schema import LogError

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

SEND_PROBABILITY = 0.3
ENGAGEMENT_EFFECT = 1.5
_COINS, _RATE = 1, 2  # branches of a customer's stream


class Decision(NamedTuple):
    """What is done today about N customers."""

    action: NDArray[np.int64]  # (N,) 0 is silence
    propensity: Floats  # (N,) probability of that action, given all that the policy went by; NaN where unknown


class LoggingPolicy(Protocol):
    """Whoever decides while a log is written."""

    reads_log: bool  # goes by what the firm has seen, which stands still for customers who have left

    def decide(self, cohort: Cohort, legal: NDArray[np.bool_], key: Keys, day: int) -> Decision:
        """Choose for everybody: `legal` (N, A) bool; `key` (N,) each one's stream, see `coins`; all are on `day`."""
        ...

    def send_probability(self, key: Keys) -> Floats | None:
        """(N,) chance of a message on a day with a legal one, where that is constant and known."""
        ...

    def settings(self) -> dict[str, Any]:
        """What decides the policy's behaviour, as plain values."""
        ...


class Randomised:
    """Every day a message with a fixed chance, drawn evenly among the legal ones.

    With a spread s each customer has a chance of its own, sigma(logit p + s z), z standard normal and drawn without
    regard to anything else: frequency varies between customers for no reason of theirs. Propensities are given that
    chance, which is told in the table of customers; silence has one minus it, or 1 where no message is legal.
    """

    reads_log = False

    def __init__(self, send_probability: float = SEND_PROBABILITY, rate_spread: float = 0.0) -> None:
        """`send_probability`: of the median customer, in (0, 1); `rate_spread`: standard deviation of its logit."""
        _check(send_probability, "rate_spread", rate_spread)
        self._probability, self._spread = send_probability, rate_spread

    def decide(self, cohort: Cohort, legal: NDArray[np.bool_], key: Keys, day: int) -> Decision:
        """One coin for whether, one for which."""
        return drawn(self.send_probability(key), legal, coins(key, day, 2))

    def send_probability(self, key: Keys) -> Floats:
        """(N,) each customer's own chance."""
        radius, angle = noise.uniforms(noise.branch(key, _RATE), 2)
        normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
        return np.asarray(expit(logit(self._probability) + self._spread * normal))

    def settings(self) -> dict[str, Any]:
        """The two numbers."""
        return {"send_probability": self._probability, "rate_spread": self._spread}


class Confounded:
    """Engaged customers are written to more often, as real firms do: frequency follows what the log does not show.

    The chance of a message is sigma(logit p + k e), with the engagement e = 2 (B - 1/2) + log(F* / F), B today's bond,
    F* the customer's ideal load and F its mean over the segments. Which message it is, is drawn evenly.
    """

    reads_log = False

    def __init__(
        self,
        scenario: Scenario,
        send_probability: float = SEND_PROBABILITY,
        engagement_effect: float = ENGAGEMENT_EFFECT,
    ) -> None:
        """`send_probability`: at engagement 0, in (0, 1); `engagement_effect`: k."""
        _check(send_probability, "engagement_effect", engagement_effect)
        self._probability, self._effect = send_probability, engagement_effect
        weights = [segment.weight for segment in scenario.segments]
        self._usual_load = float(np.average([segment.ideal_load for segment in scenario.segments], weights=weights))

    def decide(self, cohort: Cohort, legal: NDArray[np.bool_], key: Keys, day: int) -> Decision:
        """As `Randomised`, with today's chance."""
        load = np.asarray(cohort.traits.ideal_load, np.float64)
        engagement = 2.0 * (np.asarray(cohort.bond(), np.float64) - 0.5) + np.log(load / self._usual_load)
        chance = np.asarray(expit(logit(self._probability) + self._effect * engagement))
        return drawn(chance, legal, coins(key, day, 2))

    def send_probability(self, key: Keys) -> None:
        """Changes from day to day."""

    def settings(self) -> dict[str, Any]:
        """The numbers of the formula."""
        return {
            "send_probability": self._probability,
            "engagement_effect": self._effect,
            "usual_load": self._usual_load,
        }


def streams(seed: int, customers: NDArray[np.int64]) -> Keys:
    """(N,) a stream of random numbers for each customer (N,), apart from those that decide the customer's life."""
    return noise.address(np.full(len(customers), seed, np.uint64), noise.POLICY, customers)


def coins(key: Keys, day: int, count: int) -> Floats:
    """(count, N) uniforms in (0, 1) of one day; the same whoever else is asked for."""
    return noise.uniforms(noise.branch(noise.branch(key, _COINS), day), count)


def drawn(chance: Floats, legal: NDArray[np.bool_], coin: Floats) -> Decision:
    """Send with `chance` (N,) where a message is legal, evenly among these; `coin` (2, N)."""
    messages = legal[:, 1:].sum(axis=1)
    sends = (coin[0] < chance) & (messages > 0)
    action = np.zeros(len(chance), np.int64)
    ranks = legal[sends, 1:].cumsum(axis=1)
    action[sends] = 1 + (ranks > (coin[1] * messages)[sends, None]).argmax(axis=1)
    silent = np.where(messages > 0, 1.0 - chance, 1.0)
    return Decision(action, np.where(sends, chance / np.maximum(messages, 1), silent))


def _check(send_probability: float, name: str, effect: float) -> None:
    if not 0.0 < send_probability < 1.0:
        raise LogError(f"send_probability: {send_probability}, expected above 0 and below 1")
    if not (np.isfinite(effect) and effect >= 0.0):
        raise LogError(f"{name}: {effect}, expected at least 0")
