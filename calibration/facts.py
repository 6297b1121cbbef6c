"""Facts that a world with blocking should show: an optimum between too many and too few, haste that does not pay.

Policies here are timetables and a greedy sender, not contenders: nothing is learned, and this file must never import
from `agents`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import Cohort, Policy, Result, dynamics, play
from blockenv.scenarios import Scenario
from calibration import published
from calibration.rows import Interval, Row, Sample, jackknife, row
from calibration.sources import NORMAL_95
from calibration.tally import Floats, Tally, Timetable

GAPS = (1, 2, 3, 4, 7, 14, 28)
WEEK, MONTH = 7, 28


class Greedy:
    """Every day the legal message that earns most on that day, averaged over newcomers."""

    def __init__(self, profit: Floats) -> None:
        """`profit` (A,): of every action on the day, 0 for silence."""
        self._profit = profit

    def act(
        self, observation: NDArray[np.floating[Any]], action_mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.integer[Any]]:
        """(N,) the most profitable action."""
        return np.asarray(np.where(action_mask, self._profit, -np.inf).argmax(axis=1), np.int64)


def immediate_profit(scenario: Scenario, customers: int, seed: int) -> Floats:
    """(A,) what every message adds to a newcomer's expected margin of the first day, were it delivered; money."""
    numbers = np.arange(customers, dtype=np.int64)
    cohort = Cohort(scenario, np.full(customers, seed, np.uint64), numbers)
    rules, traits = cohort.rules, cohort.traits
    mail = dynamics.messages(rules, traits)
    now = dynamics.today(rules, traits, cohort.log.day)
    ideal, fatigue, bond = dynamics.ideal_load(traits, now), cohort.fatigue(), cohort.bond()
    opened = dynamics.open_probability(rules, fatigue, bond, ideal, mail) * mail.sends
    prompted = dynamics.prompted_probability(rules, fatigue, bond, ideal, mail)
    organic = dynamics.organic_probability(rules, traits, now, bond)
    rewards = dynamics.expected_reward(rules, traits, mail, organic, opened, prompted)
    return np.asarray((rewards - rewards[0]).mean(axis=1), np.float64)


def facts(
    scenario: Scenario, customers: int, seed: int, progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """The rows, from plays over the scenario's evaluation window; customers and luck are the same in all of them."""

    def value(policy: Policy) -> Result:
        return play(policy, scenario, seed, customers, progress=progress)

    profit = immediate_profit(scenario, min(customers, 4096), seed)
    silence, greedy = value(Timetable([], 1)), value(Greedy(profit))
    weekly = {message: value(Timetable([message], WEEK)) for message in _candidates(scenario, profit)}
    message = max(weekly, key=lambda each: float(weekly[each].value.mean()))
    by_gap = {gap: weekly[message] if gap == WEEK else value(Timetable([message], gap)) for gap in GAPS}
    best_gap = max(by_gap, key=lambda gap: float(by_gap[gap].value.mean()))
    best, level = by_gap[best_gap], float(by_gap[best_gap].value.mean())

    def paired(first: Floats, second: Floats, scale: float) -> Interval:
        difference = (first - second) / scale
        half = NORMAL_95 * float(difference.std(ddof=1)) / difference.size**0.5
        mean = float(difference.mean())
        return Interval(mean, mean - half, mean + half)

    name = f"{scenario.message_name(message)} every {best_gap} days"
    of_value = "share of its value"
    yield row(
        f"too many: loss of daily against {name}",
        paired(best.value, by_gap[1].value, level),
        of_value,
        published.TOO_MANY,
    )
    yield row(
        f"too few: loss of silence against {name}",
        paired(best.value, silence.value, level),
        of_value,
        published.TOO_FEW,
    )
    zero = float(silence.value.mean())
    yield row(
        "greedy every day against silence",
        paired(greedy.value, silence.value, zero),
        "share of the value of silence",
        published.GREEDY,
    )
    yield from _tempting(Sample(scenario, customers, seed, progress), 1 + int(profit[1:].argmax()))
    yield _reversal(best, by_gap[1], best_gap)
    apart = np.zeros(customers)
    for segment in range(len(scenario.segments)):
        own = best.segment == segment
        choices = [silence.value[own], *(each.value[own] for each in (*by_gap.values(), *weekly.values()))]
        if own.any():
            apart[own] = max(choices, key=lambda values: float(values.mean()))
    yield row(
        "each segment its best timetable against one for all",
        paired(apart, best.value, level),
        "share of the best value",
        published.APART,
    )


def _candidates(scenario: Scenario, profit: Floats) -> list[int]:
    """For every channel and style the message that earns most on the day."""
    styles = range(len(scenario.styles))
    each = (scenario.actions - 1) // len(scenario.channels)
    found = []
    for channel in range(len(scenario.channels)):
        messages = np.arange(1 + channel * each, 1 + (channel + 1) * each)
        style_of = (messages - 1) // len(scenario.products) % len(scenario.styles)
        found += [int(messages[style_of == style][profit[messages[style_of == style]].argmax()]) for style in styles]
    return found


def _tempting(sample: Sample, message: int) -> Iterator[Row]:
    """Four weekly messages, those that earn most on the day: orders and blocks relative to four weeks of silence."""
    silence, posts = (sample.play(Timetable(messages, WEEK), MONTH) for messages in ([], [message]))
    pairs = list(zip(posts, silence, strict=True))
    channel = (message - 1) // ((sample.scenario.actions - 1) // len(sample.scenario.channels))

    def ratio(count: Callable[[Tally], float]) -> Callable[[Sequence[tuple[Tally, Tally]]], float]:
        def figure(some: Sequence[tuple[Tally, Tally]]) -> float:
            more, fewer = (sum(count(pair[side]) for pair in some) for side in (0, 1))
            return more / fewer if fewer > 0.0 else float("nan")

        return figure

    what = f"four weekly {sample.scenario.message_name(message)} against silence"
    orders = jackknife(pairs, ratio(lambda counts: float(counts.orders.sum())))
    yield row(f"{what}: orders in four weeks", orders, "ratio", published.LIFT)
    blocks = jackknife(pairs, ratio(lambda counts: float(counts.lost[channel].sum())))
    yield row(f"{what}: blocks of the channel in four weeks", blocks, "ratio", published.PROVOKED)


def _reversal(fewer: Result, more: Result, gap: int) -> Row:
    """Days until the better timetable has made up for what it earned less than daily messages."""
    ahead = np.cumsum(fewer.daily_value - more.daily_value)
    behind = np.flatnonzero(ahead < 0.0)
    days = float("nan") if ahead[-1] < 0.0 else float(behind[-1] + 1 if behind.size else 0)
    return row(f"days until one in {gap} days beats daily", Interval(days), "days", published.REVERSAL)
