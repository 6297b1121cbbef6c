"""Remembers of a running population just what its pictures need: a few sums a day, never one customer's days.

Only row 0 is followed in detail, for the diary. Never changes the cohort it looks at.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics
from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome
from blockenv.rendering.picture import Window, paint
from blockenv.rendering.scene import Scene
from blockenv.rendering.silence import Silence
from blockenv.rendering.timeline import Timeline

MODES = ("rgb_array", "human", "ansi")
_FIRST_DAYS = 512


class Chronicle:
    """What has happened to a cohort since its start, ready to be drawn.

    `rgb_array` and `human` show the population: channels over time, messages and blocks a week, every customer today,
    the value against silence (see `Silence` for who is compared, and until when), the gain by segment, and where the
    living stand between fatigue and bond. `ansi` is the diary of row 0.

    Attributes:
        days: how many have been recorded.
        silence: the rows' first customers beside the same customers left in silence.
    """

    def __init__(self, cohort: Cohort, limit: NDArray[np.integer[Any]] | None = None) -> None:
        """Begin with the customers now in `cohort`.

        Args:
            cohort: the customers; every day they live is to be recorded.
            limit: (N,) int, the day of life on which the episode of each row's first customer ends; without it the
                comparison with silence runs until the first of the living is replaced.
        """
        channels = len(cohort.scenario.channels)
        day = [
            ("reach", np.float32, (channels,)),
            ("sent", np.float32, (channels,)),
            ("blocked", np.float32, (channels,)),
            ("living", np.float32),
            ("alive", np.float32),
            ("value", np.float64),
            ("silent", np.float64),
        ]
        self.days = 0
        self._cohort = cohort
        self.silence = Silence(cohort, limit)
        self._timeline = Timeline(cohort)
        self._table = np.zeros(_FIRST_DAYS, np.dtype(day))  # row d is day d, row 0 the first morning
        # Numbers of those who blocked something, so that a newcomer in the row is not marked.
        self._blocked_today = np.full(len(cohort), -1)
        self._window: Window | None = None
        self._count(cohort)

    def record(
        self,
        cohort: Cohort,
        action: NDArray[np.integer[Any]],
        outcome: Outcome,
        rows: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add the day that `cohort` has just lived, before anybody is replaced.

        Args:
            cohort: the same cohort as at the start, in the evening.
            action: (N,) int.
            outcome: of the day.
            rows: (N,) bool, False where the episode was over before and the day does not count; all by default.
        """
        self.days += 1
        if self.days == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        counts = np.ones(len(cohort), bool) if rows is None else rows
        channel = cohort.rules.channel_of[action[outcome.sent & counts]]
        today = self._table[self.days]
        today["sent"] = np.bincount(channel, minlength=len(cohort.scenario.channels))
        today["blocked"] = (outcome.blocked & counts).sum(axis=1)
        today["living"] = np.count_nonzero((cohort.state.alive | outcome.churned) & counts)
        self._count(cohort)
        self.silence.record(cohort, outcome)
        today["value"], today["silent"] = self.silence.value.mean(), self.silence.silent.mean()
        self._blocked_today = np.where(outcome.blocked.any(axis=0), cohort.customer, -1)
        if counts[0]:
            self._timeline.record(cohort, int(action[0]), outcome)

    def frame(self, mode: str) -> NDArray[np.uint8] | str | None:
        """The picture of today.

        Args:
            mode: `rgb_array`, `human` or `ansi`.

        Returns:
            (800, 1200, 3) uint8, None (a window was updated), or text of at most 80 columns.

        Raises:
            ValueError: another mode.
            ImportError: matplotlib is missing, in the first two modes.

        Warns:
            RuntimeWarning: once, if `human` finds no display to open a window on.
        """
        if mode not in MODES:
            raise ValueError(f"mode: {mode!r}, expected one of {', '.join(MODES)}")
        if mode == "ansi":
            return self._timeline.text(self._cohort)
        if mode == "rgb_array":
            return paint(self._scene())
        if self._window is None:
            self._window = Window()
            if not self._window.opened:
                warnings.warn(
                    "render_mode 'human': no interactive display found, so no window is shown; use 'rgb_array', or "
                    "set an interactive matplotlib backend (MPLBACKEND=TkAgg or QtAgg) on a machine with a display",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if self._window.opened:
            self._window.show(self._scene())
        return None

    def close(self) -> None:
        """Close the window of `human`, if there is one."""
        if self._window is not None:
            self._window.close()

    def _count(self, cohort: Cohort) -> None:
        today = self._table[self.days]
        today["reach"] = (cohort.state.reachable & cohort.state.alive).mean(axis=1)
        today["alive"] = cohort.state.alive.mean()

    def _scene(self) -> Scene:
        cohort, days = self._cohort, self.days
        scenario, rules, state = cohort.scenario, cohort.rules, cohort.state
        table = self._table[: days + 1]
        weeks = np.arange(1, days + 1, 7)

        def a_week(events: NDArray[np.float32]) -> NDArray[np.float64]:
            if days == 0:
                return np.zeros((0, events.shape[1]))
            living = np.maximum(np.add.reduceat(table["living"], weeks, dtype=np.float64), 1.0)
            return np.asarray(7.0 * np.add.reduceat(events, weeks, axis=0, dtype=np.float64) / living[:, None])

        alive = np.asarray(state.alive)
        place = state.fatigue[alive] * rules.bond_levels + state.bond[alive]
        cells = np.bincount(place, minlength=rules.fatigue_levels * rules.bond_levels)
        ideal = dynamics.ideal_load(cohort.traits, dynamics.today(rules, cohort.traits, cohort.log.day))
        tiles = np.where(alive, state.reachable.sum(axis=0), -1)
        tiles[alive & (self._blocked_today == cohort.customer)] = len(scenario.channels) + 1
        compared = self.silence.days
        return Scene(
            name=scenario.name,
            days=days,
            channels=tuple(channel.name for channel in scenario.channels),
            segments=tuple(segment.name for segment in scenario.segments),
            reach=table["reach"],
            alive=table["alive"],
            messages=a_week(table["sent"]),
            blocks=100.0 * a_week(table["blocked"]),
            value=table["value"][: compared + 1],
            silent=table["silent"][: compared + 1],
            gain=self.silence.value - self.silence.silent,
            segment=self.silence.segment,
            standing=cells.reshape(rules.fatigue_levels, rules.bond_levels),
            fatigue_step=rules.fatigue_step,
            bond_step=rules.bond_step,
            ideal_load=float(np.median(ideal[alive])) if alive.any() else None,
            tiles=tiles,
            kind=cohort.traits.segment,
        )
