"""What happened to customers under a policy, as a firm's systems would have recorded it: events with a clock time.

The simulator knows days; hours are put to them here. This file must never decide what happens, only when on its day.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blockenv import noise
from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome
from blockenv.scenarios import Scenario
from calibration.logs.policies import Decision, LoggingPolicy, streams

Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]
Visibility = Literal["all", "firm"]

DAY = 86_400  # seconds
FIRST_HOUR, LAST_HOUR = 8, 22  # between which messages go out
NOTHING = -1  # stands for no time
_CLOCK = 3  # branch of a customer's stream
_COMPACT_EVERY = 28
_TABLES = ("messages", "orders", "blocks", "decisions")


def slot_hours(scenario: Scenario) -> dict[str, tuple[int, int]]:
    """Hours [from, to) of each slot: the time from 8 to 22 in as many parts."""
    edges = np.linspace(FIRST_HOUR, LAST_HOUR, len(scenario.slots) + 1).round().astype(int).tolist()
    return {slot: (edges[place], edges[place + 1]) for place, slot in enumerate(scenario.slots)}


@dataclass
class Recorder:
    """Collects the events of one batch of customers, times in seconds since the calendar's first day."""

    tables: dict[str, list[Arrays]] = field(default_factory=lambda: {name: [] for name in _TABLES})

    def add(self, table: str, **columns: Any) -> None:
        """Rows of one table, columns (M,)."""
        if len(columns["customer"]):
            self.tables[table].append({name: np.asarray(values) for name, values in columns.items()})

    def joined(self) -> dict[str, Arrays]:
        """Every table as one dictionary of columns; a table without rows is empty."""
        return {
            name: {column: np.concatenate([part[column] for part in parts]) for column in parts[0]} if parts else {}
            for name, parts in self.tables.items()
        }


def record(
    scenario: Scenario,
    policy: LoggingPolicy,
    seed: int,
    customers: NDArray[np.int64],
    days: int,
    *,
    visibility: Visibility = "all",
    after_leaving: Literal["stop", "send"] = "stop",
    decisions: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, Arrays], NDArray[np.int64]]:
    """Serve `customers` (N,) for `days` under `policy`.

    Args:
        visibility: `all` writes down every block on its day; `firm` only what the firm learns of, when it does.
        after_leaving: whether customers who have left are still written to, as a firm that cannot know it would.
        decisions: also a row for every customer and day, silence included.
        progress: called with the number of customer-days just finished.

    Returns:
        The tables, and (N,) the own day on which each customer left, -1 for those who did not.
    """
    recorder, size = Recorder(), len(customers)
    cohort = Cohort(scenario, np.full(size, seed, np.uint64), customers)
    key = streams(seed, customers)
    place, left = np.arange(size), np.full(size, NOTHING, np.int64)
    scribe = _Scribe(scenario, recorder, visibility, decisions)
    failed = np.zeros((len(scenario.channels), size), bool)  # noticed of customers who had left
    for day in range(days):
        alive = cohort.state.alive
        if after_leaving == "stop" and day % _COMPACT_EVERY == 0 and alive.mean() < 0.8:
            cohort.keep(alive)
            key, place, failed, alive = key[alive], place[alive], failed[:, alive], cohort.state.alive
        if not len(place):
            break
        rules, legal = cohort.rules, cohort.legal_actions().copy()
        if after_leaving == "send":
            legal &= ~(rules.sends & failed[rules.channel_of].T)
        decision = policy.decide(cohort, legal, key, day)
        reachable = cohort.state.reachable
        outcome = cohort.step(decision.action)
        if after_leaving == "send":
            goes_out, served = decision.action > 0, np.ones_like(alive)
        else:
            goes_out, served = outcome.sent, alive
        channel = rules.channel_of[decision.action]
        arrives = goes_out & reachable[channel, np.arange(len(place))]
        failed |= (rules.channels == channel) & goes_out & ~arrives & scribe.discloses
        clock = noise.uniforms(noise.branch(noise.branch(key, _CLOCK), day), 4 + len(scenario.channels))
        scribe.write(cohort, day, decision, outcome, goes_out, arrives, served, clock)
        left[place[outcome.churned]] = day
        if progress is not None:
            progress(len(place))
    return recorder.joined(), left


class _Scribe:
    """Puts a day of a batch into a recorder."""

    def __init__(self, scenario: Scenario, recorder: Recorder, visibility: Visibility, decisions: bool) -> None:
        self._recorder, self._decisions, self._all = recorder, decisions, visibility == "all"
        seen = np.array([[channel.visibility] for channel in scenario.channels])
        self._at_once, self.discloses = seen == "at_once", seen != "never"
        self._hours = np.array(list(slot_hours(scenario).values())) * 3600

    def write(
        self,
        cohort: Cohort,
        day: int,
        decision: Decision,
        outcome: Outcome,
        goes_out: NDArray[np.bool_],
        arrives: NDArray[np.bool_],
        served: NDArray[np.bool_],
        clock: Floats,
    ) -> None:
        """All events of the customers' own `day`; `goes_out`, `arrives` and `served` (N,) bool, `clock` (4 + C, N)."""
        rules, action, add = cohort.rules, decision.action, self._recorder.add
        start = (cohort.traits.joined + day) * DAY
        channel, customer, end = rules.channel_of[action], cohort.customer, start + DAY - 1
        opens, closes = self._hours[rules.slot_of[action]].T
        sent = start + (opens + clock[0] * (closes - opens)).astype(np.int64)
        # Answers come soon after a message, seldom late: half of all opens within a sixteenth of the rest of the day.
        opened = _later(sent, end, clock[1])
        after = np.where(outcome.opened, opened, sent)
        blocked = _later(after, end, clock[2])
        ordered = np.where(outcome.prompted, _later(opened, end, clock[3]), start + (DAY * clock[3]).astype(np.int64))
        by_message = (rules.channels == channel) & arrives & outcome.blocked
        shown = np.ones_like(self._at_once) if self._all else self._at_once
        is_blocked = (by_message & shown).any(axis=0)
        delivered = arrives if self._all else arrives | ~self.discloses[channel, 0]
        parts = {"channel": channel, "slot": rules.slot_of[action], "style": rules.style_of[action]}
        parts["product"] = rules.product_of[action]
        rows = np.flatnonzero(goes_out)
        add(
            "messages",
            customer=customer[rows],
            day=np.full(len(rows), day),
            sent_at=sent[rows],
            **{name: values[rows] for name, values in parts.items()},
            delivered=delivered[rows],
            opened_at=np.where(outcome.opened, opened, NOTHING)[rows],
            blocked_at=np.where(is_blocked, blocked, NOTHING)[rows],
            propensity=decision.propensity[rows],
        )
        rows = np.flatnonzero(outcome.ordered)
        add(
            "orders",
            customer=customer[rows],
            day=np.full(len(rows), day),
            at=ordered[rows],
            amount=_cents(outcome.order_value - outcome.discount)[rows],
            margin=_cents(outcome.margin - outcome.discount)[rows],
            discount=_cents(outcome.discount)[rows],
        )
        # What was not blocked through the message of that channel has an hour of its own.
        own = start + (clock[4:] * (DAY - 1)).astype(np.int64)
        channels, rows = np.nonzero(outcome.blocked & shown)
        with_message = by_message[channels, rows]
        at = np.where(with_message, blocked[rows], own[channels, rows])
        if not self._all:
            noticed = (rules.channels == channel) & goes_out & ~arrives & self.discloses
            late, late_rows = np.nonzero(noticed & ~self._at_once)
            channels, rows = np.concatenate([channels, late]), np.concatenate([rows, late_rows])
            with_message = np.concatenate([with_message, np.zeros(len(late), bool)])
            at = np.concatenate([at, sent[late_rows]])
        add(
            "blocks",
            customer=customer[rows],
            day=np.full(len(rows), day),
            at=at,
            channel=channels,
            by_message=with_message,
        )
        if self._decisions:
            rows = np.flatnonzero(served)
            add(
                "decisions",
                customer=customer[rows],
                date=(start // DAY)[rows],
                is_silent=action[rows] == 0,
                **{name: values[rows] for name, values in parts.items()},
                propensity=decision.propensity[rows],
            )


def _later(earliest: NDArray[np.int64], end: NDArray[np.int64], uniform: Floats) -> NDArray[np.int64]:
    return np.asarray(earliest + (uniform**4 * (end - earliest)).astype(np.int64))


def _cents(money: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(money, np.float64).round(2)
