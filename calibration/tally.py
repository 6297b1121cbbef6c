"""What a firm would count if it wrote to a whole customer base by a simple timetable: sends, opens, orders, blocks.

Calibration plays timetables and nothing cleverer; this file must never look at data, and never decide whether what
it counts is right.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics
from blockenv.cohort import Cohort
from blockenv.scenarios import Scenario

Floats = NDArray[np.float64]
BATCH = 4096  # customers at a time; counts do not depend on it


class Timetable:
    """The same messages for everybody: one every `gap` days, in rotation, on channels not known to be blocked."""

    def __init__(self, messages: Sequence[int], gap: int, first: int = 0) -> None:
        """`messages`: actions, none for silence; `gap`: days, at least 1; `first`: day of the first message."""
        if gap < 1 or first < 0 or any(message < 1 for message in messages):
            raise ValueError(
                f"messages {list(messages)}, gap {gap}, first {first}; "
                "expected actions above 0, a gap of at least 1 and a first day of at least 0"
            )
        self.messages, self.gap, self.first = tuple(messages), gap, first
        self._day: NDArray[np.int64] = np.zeros(0, np.int64)

    def meet(self, cohort: Cohort) -> None:
        """Look at the date."""
        self._day = cohort.log.day

    def act(
        self, observation: NDArray[np.floating[Any]], action_mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.integer[Any]]:
        """Today's message where it is legal, for `blockenv.play`."""
        return self.choose(self._day, action_mask)

    def choose(self, day: NDArray[np.int64], legal: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(N,) today's message, or silence where none is due or it is not legal."""
        if not self.messages:
            return np.zeros(len(day), np.int64)
        since = day - self.first
        chosen = np.array(self.messages)[since // self.gap % len(self.messages)]
        due = (since >= 0) & (since % self.gap == 0) & legal[np.arange(len(day)), chosen]
        return np.where(due, chosen, 0)


class Tally(NamedTuple):
    """Counts of N customers over D days, C channels; A actions and S segments for what was expected."""

    sent: Floats  # (C, N) attempts
    failed: Floats  # (C, N) attempts on a channel that had been blocked
    delivered: Floats  # (C, N)
    opened: Floats  # (C, N)
    prompted: Floats  # (C, N) orders through the message
    blocked: Floats  # (C, N) blocks on the day of a delivered message on that channel
    lost: Floats  # (C, N) blocks on any day
    orders: Floats  # (N,) of any kind
    late_orders: Floats  # (N,) those from day `late` on
    days: Floats  # (N,) alive
    daily_delivered: Floats  # (D, C)
    daily_blocked: Floats  # (D, C) as `blocked`
    expected_delivered: Floats  # (S, C) deliveries that `expected` was summed over
    expected: Floats  # (3, A, S) probabilities of open, order and block, had the action been taken, summed over these


def tally(
    scenario: Scenario,
    timetable: Timetable,
    seed: int,
    customers: int,
    days: int,
    *,
    late: int = 364,
    expect: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Serve `customers` newcomers for `days` by `timetable` and count.

    Args:
        scenario: the world.
        timetable: who gets what.
        seed: of the customers and their luck.
        customers, days: how many.
        late: first day of `Tally.late_orders`.
        expect: also fill `expected`: on every delivery, what every message on that channel would have been likely
            to do to that customer. Costs time; zeros otherwise.
        progress: called with the number of customer-days just finished.
    """
    numbers = [np.arange(start, min(start + BATCH, customers)) for start in range(0, customers, BATCH)]
    return joined([_count(scenario, timetable, seed, part, days, late, expect, 1, progress)[0] for part in numbers])


def tally_groups(
    scenario: Scenario,
    timetable: Timetable,
    seed: int,
    customers: int,
    days: int,
    groups: int,
    *,
    late: int = 364,
    expect: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Tally]:
    """The same customers as `tally`, dealt out to `groups` in turn: a tally of each, at the price of one."""
    numbers = [np.arange(start, min(start + BATCH, customers)) for start in range(0, customers, BATCH)]
    parts = [_count(scenario, timetable, seed, part, days, late, expect, groups, progress) for part in numbers]
    return [joined([part[group] for part in parts]) for group in range(groups)]


def _count(
    scenario: Scenario,
    timetable: Timetable,
    seed: int,
    numbers: NDArray[np.int64],
    days: int,
    late: int,
    expect: bool,
    groups: int,
    progress: Callable[[int], None] | None,
) -> list[Tally]:
    """A tally of each group of one batch."""
    size, channels, segments = len(numbers), len(scenario.channels), len(scenario.segments)
    cohort = Cohort(scenario, np.full(size, seed, np.uint64), numbers)
    group = numbers % groups
    in_group = (np.arange(groups)[:, None] == group).astype(np.float64)
    # A row for every segment of every group.
    belongs = (np.arange(groups * segments)[:, None] == group * segments + cohort.traits.segment).astype(np.float64)
    by_channel = {name: np.zeros((channels, size)) for name in (*_BY_CHANNEL, "lost")}
    by_customer = {name: np.zeros(size) for name in ("orders", "late_orders", "days")}
    daily = {name: np.zeros((days, channels, groups)) for name in ("delivered", "blocked")}
    deliveries = np.zeros((groups * segments, channels))
    likely = np.zeros((3, scenario.actions, groups * segments))
    for day in range(days):
        action = timetable.choose(cohort.log.day, cohort.legal_actions())
        to_channel = (cohort.rules.channels == cohort.rules.channel_of[action]) & (action > 0)
        before = cohort.state
        if expect and action.any():
            arrives = to_channel & before.reachable & before.alive
            deliveries += belongs @ arrives.T
            likely += (_likely(cohort) * arrives[cohort.rules.channel_of]) @ belongs.T
        outcome = cohort.step(action)
        by_customer["days"] += before.alive
        by_customer["orders"] += outcome.ordered
        if day >= late:
            by_customer["late_orders"] += outcome.ordered
        by_channel["lost"] += outcome.blocked
        if action.any():
            today = {
                "sent": outcome.sent,
                "failed": outcome.sent & ~outcome.delivered,
                "delivered": outcome.delivered,
                "opened": outcome.opened,
                "prompted": outcome.prompted,
            }
            events = {name: to_channel & event for name, event in today.items()}
            events["blocked"] = events["delivered"] & outcome.blocked
            for name, event in events.items():
                by_channel[name] += event
            for name, curve in daily.items():
                curve[day] = events[name] @ in_group.T
        if progress is not None:
            progress(size)
    return [
        Tally(
            **{name: values[:, group == own] for name, values in by_channel.items()},
            **{name: values[group == own] for name, values in by_customer.items()},
            **{f"daily_{name}": curve[:, :, own] for name, curve in daily.items()},
            expected_delivered=deliveries[own * segments : (own + 1) * segments],
            expected=likely[:, :, own * segments : (own + 1) * segments],
        )
        for own in range(groups)
    ]


def joined(tallies: Sequence[Tally]) -> Tally:
    """One tally of the customers of several over the same timetable, or over days that need not be told apart.

    Curves are those of the shortest.
    """
    days = min(len(each.daily_delivered) for each in tallies)
    fields: dict[str, Floats] = {}
    for name in Tally._fields:
        values = [getattr(each, name) for each in tallies]
        if name.startswith("daily_"):
            fields[name] = np.sum([value[:days] for value in values], axis=0)
        elif name.startswith("expected"):
            fields[name] = np.sum(values, axis=0)
        else:
            fields[name] = np.concatenate(values, axis=-1)
    return Tally(**fields)


_BY_CHANNEL = ("sent", "failed", "delivered", "opened", "prompted", "blocked")


def _likely(cohort: Cohort) -> Floats:
    """(3, A, N) probabilities of an open, an order through the message and a block for every action today."""
    rules, traits = cohort.rules, cohort.traits
    mail = dynamics.messages(rules, traits)
    now = dynamics.today(rules, traits, cohort.log.day)
    ideal, fatigue, bond = dynamics.ideal_load(traits, now), cohort.fatigue(), cohort.bond()
    loaded = dynamics.fatigue_after(rules, fatigue, mail.load)
    opened = dynamics.open_probability(rules, fatigue, bond, ideal, mail)
    ordered = opened * dynamics.prompted_probability(rules, fatigue, bond, ideal, mail)
    blocked = dynamics.block_probability(rules, traits, now, loaded, bond, ideal, mail)
    return np.stack([opened, ordered, blocked])
