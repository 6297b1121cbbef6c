"""Messages in rotation, with days between two of them: what every rule with a frequency cap has in common.

It chooses and never tunes; which caps there are and who lives under which is the rule's own.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import AgentError, AgentSettings
from agents.rules import Actions, Mask, Observation, Rule
from blockenv.scenarios import Scenario

Cap = tuple[list[int], int]  # messages in rotation, gap in days
FOREVER = 10_000  # days; a gap nobody lives to see the end of
SILENCE: Cap = ([], FOREVER)


class TuningSettings(AgentSettings):
    """How a rule is tuned."""

    customers: int = Field(default=1024, ge=1, description="training customers that every candidate is played on")
    days: int = Field(default=546, ge=1, description="days played; a year and a half, as blocks cost later")
    messages: list[int] = Field(default=[], description="actions in rotation; tuned if empty")


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

    def in_force(self) -> list[Cap]:
        """The caps that customers live under."""
        raise NotImplementedError

    def cap_of(self, seen: Observation) -> NDArray[np.integer[Any]]:
        """(N,) which of the caps in force each customer lives under."""
        raise NotImplementedError

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The next message of each customer's rotation where its gap has passed."""
        return Caps(self, self.in_force()).next_messages(self.cap_of(seen), seen, mask)

    def tuning_customers(self) -> NDArray[np.int64]:
        """(M,) numbers of the training customers that candidates are played on."""
        return np.arange(self.settings.customers) if self.tuned_on is None else self.tuned_on


class Caps:
    """Caps in force at the same time, each for some of the customers."""

    def __init__(self, rule: Rule, caps: Sequence[tuple[Sequence[int], int]]) -> None:
        longest = max(1, max(len(messages) for messages, _ in caps))
        # The first message over again changes nothing in a rotation; where there is none, it is silence.
        filled = [[*messages, *[messages[0] if messages else 0] * (longest - len(messages))] for messages, _ in caps]
        self._messages = np.array(filled).T.copy()  # (M, K), M the longest rotation
        self._wait = np.array([gap - 1.5 for _, gap in caps], np.float32)
        self._rule = rule
        self._recent = rule.recent_columns()

    def next_messages(self, cap: NDArray[np.integer[Any]], seen: Observation, mask: Mask) -> Actions:
        """(N,) of each customer's own `cap` (N,) the legal message whose channel was used least lately, if it is due.

        Silence where the gap has not passed, and where no message is legal.
        """
        chosen = np.zeros(len(seen), np.int64)
        due = np.flatnonzero(self._rule.days_since_send(seen) > self._wait.take(cap))
        options = self._messages.take(cap.take(due), axis=1)
        legal = _cells(mask, due, options)
        # Whoever has closed every channel is due for ever.
        able = np.flatnonzero(legal.any(axis=0))
        due, options, legal = due.take(able), options.take(able, axis=1), legal.take(able, axis=1)
        if len(options) > 1:
            used = np.where(legal, _cells(seen, due, self._recent.take(options)), np.inf)
            options = options[used.argmin(axis=0), np.arange(len(due))]
        chosen[due] = options
        return chosen


def _cells(table: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """(M, N) what stands in the `rows` (N,) of `table` at `columns` (M, N); indexing by two arrays takes far longer."""
    return np.asarray(table.take(rows * table.shape[1] + columns))


def legal_messages(messages: Any, scenario: Scenario) -> list[int]:
    """Messages as a file holds them, as numbers.

    Raises:
        ValueError: one that the scenario does not have.
    """
    found = [int(message) for message in messages]
    for message in found:
        if not 0 < message < scenario.actions:
            raise ValueError(f"messages: {message} is not among 1..{scenario.actions - 1}")
    return found
