"""The diary of one customer as plain text: a line for every week, a cell for every day.

Reads one row of a cohort and never plots; the text has no colours and fits into 80 columns.
"""

from typing import NamedTuple

import numpy as np

from blockenv import dynamics
from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome

SILENCE, OPENED, ORDERED, BLOCKED, REOPENED, LEFT = ".", "+", "$", "!", "^", "#"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CELL, _BAR, _WEEKS = 7, 30, 53
_LEGEND = (
    f"{SILENCE} silence   capital letter: delivered   small letter: the channel was not open",
    f"{OPENED} opened   {ORDERED} ordered   {BLOCKED} blocked   {REOPENED} won back   {LEFT} left for ever",
)


class _Day(NamedTuple):
    cell: str
    fatigue: float
    bond: float


class Timeline:
    """The life of whoever is in row 0; a new customer in the row begins a new page."""

    _over: bool  # the customer has left, and the page is full

    def __init__(self, cohort: Cohort) -> None:
        self._letters = _letters([channel.name for channel in cohort.scenario.channels])
        self._open_page(cohort)

    def record(self, cohort: Cohort, action: int, outcome: Outcome) -> None:
        """Add the day that row 0 has just lived under `action`."""
        if self._is_another(cohort, days_after=1):
            self._open_page(cohort)
            self._first_day -= 1
            self._over = not (cohort.state.alive[0] or outcome.churned[0])
        self._records += 1
        if self._over:
            return
        cell = SILENCE
        if outcome.sent[0]:
            letter = self._letters[int(cohort.rules.channel_of[action])]
            cell = letter if outcome.delivered[0] else letter.lower()
        marks = {
            OPENED: outcome.opened[0],
            ORDERED: outcome.ordered[0],
            BLOCKED: outcome.blocked[:, 0].any(),
            REOPENED: outcome.reopened[:, 0].any(),
            LEFT: outcome.churned[0],
        }
        cell += "".join(mark for mark, happened in marks.items() if happened)
        self._days.append(_Day(cell, float(cohort.fatigue()[0]), float(cohort.bond()[0])))
        day = self._first_day + len(self._days)
        self._blocked_on.update({int(channel): day for channel in np.flatnonzero(outcome.blocked[:, 0])})
        self._over = bool(outcome.churned[0])

    def text(self, cohort: Cohort) -> str:
        """The page so far, lines of at most 80 characters."""
        if self._is_another(cohort, days_after=0):
            self._open_page(cohort)
        scenario, traits = cohort.scenario, cohort.traits
        day = self._first_day + len(self._days)
        segment = scenario.segments[int(traits.segment[0])].name
        left = "" if cohort.state.alive[0] else ", has left"
        head = [
            f"{scenario.name}, customer {int(cohort.customer[0])}, day {day}{left}"[:80],
            f"segment {segment}",
            "",
        ]
        return "\n".join([*head, *self._weeks(), "", *self._today(cohort), "", *_LEGEND])

    def _weeks(self) -> list[str]:
        blank = (self._joined + self._first_day) % 7
        header = " " * 10 + "".join(name.ljust(_CELL) for name in _WEEKDAYS) + "fatigue bond"
        lines = []
        for start in range(-blank, len(self._days), 7):
            days = self._days[max(start, 0) : start + 7]
            week = "".join([" " * _CELL * max(-start, 0), *(day.cell.ljust(_CELL) for day in days)]).ljust(7 * _CELL)
            evening = f"{days[-1].fatigue:>7.2f} {days[-1].bond:.2f}" if days else ""
            lines.append(f"week {(start + blank) // 7 + 1:>4} {week}{evening}".rstrip())
        earlier = len(lines) - _WEEKS
        hidden = [f"     ... {earlier} earlier weeks"] if earlier > 0 else []
        return [header, *hidden, *lines[-_WEEKS:]]

    def _today(self, cohort: Cohort) -> list[str]:
        fatigue, bond = float(cohort.fatigue()[0]), float(cohort.bond()[0])
        top = cohort.scenario.fatigue.top
        now = dynamics.today(cohort.rules, cohort.traits, cohort.log.day)
        ideal = float(dynamics.ideal_load(cohort.traits, now)[0])
        lines = [
            f"fatigue  {_bar(fatigue / top, ideal / top)}  {fatigue:.2f} of {top:g}, ideal load | {ideal:.2f}",
            f"bond     {_bar(bond)}  {bond:.2f} of 1",
        ]
        for number, channel in enumerate(cohort.scenario.channels):
            if cohort.state.reachable[number, 0]:
                status = "open"
            elif number in self._blocked_on:
                status = f"blocked on day {self._blocked_on[number]}"
            else:
                status = "never opted in" if not cohort.traits.opted_in[number, 0] else "blocked"
            lines.append(f"{self._letters[number]}  {channel.name}: {status}")
        return lines

    def _open_page(self, cohort: Cohort) -> None:
        self._customer = int(cohort.customer[0])
        self._joined = int(cohort.traits.joined[0])
        self._first_day = int(cohort.log.day[0])
        self._days: list[_Day] = []
        self._blocked_on: dict[int, int] = {}
        self._records = 0
        self._over = not cohort.state.alive[0]

    def _is_another(self, cohort: Cohort, days_after: int) -> bool:
        # A customer of the same number can come back by a reset, but is younger then.
        due = self._first_day + self._records + days_after
        who = (int(cohort.customer[0]), int(cohort.traits.joined[0]), int(cohort.log.day[0]))
        return who != (self._customer, self._joined, due)


def _letters(names: list[str]) -> list[str]:
    """A capital of its own for every channel: its first letter that is still free."""
    letters: list[str] = []
    for name in names:
        free = [each for each in name.upper() + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if each.isalpha() and each not in letters]
        letters.append(free[0])
    return letters


def _bar(share: float, mark: float | None = None) -> str:
    """A bar of fixed width, with `|` at `mark` where that lies within."""
    filled = round(min(max(share, 0.0), 1.0) * _BAR)
    cells = ["#"] * filled + ["-"] * (_BAR - filled)
    if mark is not None and mark < 1.0:
        cells[int(mark * _BAR)] = "|"
    return f"[{''.join(cells)}]"
