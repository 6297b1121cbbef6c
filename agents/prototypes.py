"""Customers drawn from the population and planned for one by one: what a message is worth to each of them.

They stand for the population in a belief: whoever knows only the scenario can draw and plan them. Never a customer
who is evaluated.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from blockenv import mdp, population
from blockenv.dynamics import Rules, Traits
from blockenv.mdp.backup import Backup
from blockenv.mdp.batches import Batch
from blockenv.mdp.layout import by_state, read_open
from blockenv.scenarios import Scenario

_WORKDAY, _SATURDAY = 2, 5  # days of a customer who joins on a Monday
_STAGE = 91  # days; while tolerance drifts, prototypes are planned for so often
_TILE = 16

Told = Callable[[int, int], None]


class Worths(NamedTuple):
    """What the states of prototypes are worth when the future is optimal, on the mornings that choices look ahead to.

    Attributes:
        stages: (T,) the customer's day from which on each set holds.
        later: (T, W, M, F, B, 2^C) float32, by kind of day (workday and weekend, or one), value on the next morning.
    """

    stages: NDArray[np.int64]
    later: NDArray[np.float32]


class Prototypes:
    """M customers who opted in to every channel, and the gain of each message over silence in each of their states.

    Attributes:
        traits: of the prototypes.
        actions: by channel, the scenario's numbers of its L messages.
        gains: by stage, kind of day and channel, float16 (M, 2^(C-1), F, B, L): money over silence, by which of the
            other channels are open.
    """

    def __init__(self, scenario: Scenario, seed: int, worths: Worths) -> None:
        """The customers 0..M-1 of `seed`, with what is known of their states' worth."""
        self.rules: Rules = population.rules(scenario)
        self.worths = worths
        self.traits = _drawn(scenario, seed, worths.later.shape[2])
        channels = range(len(scenario.channels))
        self.actions = [np.flatnonzero(self.rules.sends & (self.rules.channel_of == each)) for each in channels]
        _, kinds, size, fatigues, bonds, masks = worths.later.shape
        self.gains = [
            [
                [
                    np.zeros((size, masks // 2, fatigues, bonds, len(self.actions[each])), np.float16)
                    for each in channels
                ]
                for _ in range(kinds)
            ]
            for _ in worths.stages
        ]
        for each in mdp.batches(scenario, self.traits, _TILE):
            batch = each._replace(rules=each.rules._replace(season=0.0))
            backup = Backup(batch)
            for stage, day in enumerate(worths.stages):
                for kind in range(kinds):
                    later = worths.later[stage, kind][batch.members]
                    self._fill(self.gains[stage][kind], batch, backup, int(day) + (_WORKDAY, _SATURDAY)[kind], later)

    @classmethod
    def planned(cls, scenario: Scenario, seed: int, count: int, told: Told) -> Self:
        """Draw and plan for the customers 0..count-1 of `seed`; `told` hears how many are done, and of how many."""
        traits = _drawn(scenario, seed, count)
        rules = population.rules(scenario)
        stages = stages_of(rules)
        kinds = (_WORKDAY, _SATURDAY) if traits.weekend_block.any() else (_WORKDAY,)
        shape = (count, rules.fatigue_levels, rules.bond_levels, 2 ** len(scenario.channels))
        found = np.zeros((len(stages), len(kinds), *shape), np.float32)
        # Values look so far ahead as a customer is served; the season is left out, as dates of joining differ.
        horizon = max(scenario.evaluation_days, stages[-1] + 7)
        wanted = {
            start + day + 1: (number, kind) for number, start in enumerate(stages) for kind, day in enumerate(kinds)
        }
        done = 0
        for batch in mdp.batches(scenario, traits, _TILE):
            best = mdp.Best(batch._replace(rules=batch.rules._replace(season=0.0)))
            value = np.zeros(batch.shape, np.float32)
            for day in range(horizon - 1, 0, -1):
                value = best.value(day, value)
                if day in wanted:
                    stage, kind = wanted[day]
                    found[stage, kind, batch.members] = value
            done += batch.size
            told(done, count)
        return cls(scenario, seed, Worths(np.array(stages), found))

    def stage(self, day: int) -> int:
        """The place in `gains` of the stage that a customer's `day` belongs to."""
        return int(np.searchsorted(self.worths.stages, day, side="right")) - 1

    def _fill(
        self, gains: list[NDArray[np.float16]], batch: Batch, backup: Backup, day: int, later: NDArray[np.float32]
    ) -> None:
        silent = backup.silence(day, later)
        for place, numbers in enumerate(self.actions):
            worth = np.moveaxis(backup.worth(day, backup.planes(later, place + 1), place + 1), -2, 0)
            gain = np.stack([by_state(np.ascontiguousarray(each)) for each in worth], axis=-1)
            gain -= read_open(silent, place)[..., None]
            menu = backup.menus[place]
            assert menu is not None
            order = np.argsort(menu.actions[0])  # all customers have all channels, so menus are the same
            assert (menu.actions[0][order] == numbers).all()
            gains[place][batch.members] = np.moveaxis(gain, 3, 1)[..., order]


def stages_of(rules: Rules) -> list[int]:
    """The days from which on prototypes are planned for anew: one a quarter while tolerance drifts, and one after it."""
    if rules.tolerance_drift == 0.0:
        return [0]
    # Weeks are whole, so that a stage begins on a Monday, too.
    return [*range(0, rules.drift_days, _STAGE), -(-rules.drift_days // 7) * 7]


def _drawn(scenario: Scenario, seed: int, count: int) -> Traits:
    """Customers as the population has them, all channels open, who joined on a Monday in the middle of a year's demand."""
    traits = population.draw(scenario, np.full(count, seed, np.uint64), np.arange(count))
    everywhere: dict[str, Any] = {"opted_in": np.ones_like(traits.opted_in), "joined": np.zeros_like(traits.joined)}
    return traits._replace(**everywhere)
