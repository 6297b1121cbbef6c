"""A sender who knows every customer and does what is best: full information, as an agent in the simulator.

It reads traits and states, so it is a reference line and never a contender. Where a table for every day fits into
memory it is the exact optimum over the evaluation window; elsewhere it acts by the optimum without an end, which knows
neither the window's end nor, where there is one, the season.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import AgentError, AgentSettings, Monitor, load_record, save_record
from agents.rules import Actions, Mask, Observation
from blockenv import mdp, population
from blockenv.cohort import Cohort
from blockenv.mdp.batches import Batch, only
from blockenv.mdp.optimum import Outlook
from blockenv.scenarios import Scenario

_WEEK = 7
_BOUND = 1e-3  # of the optimum without an end, relative to the largest value; cohorts are float32


class OracleSettings(AgentSettings):
    """How the optimum is kept."""

    horizon: Literal["auto", "window", "endless"] = Field(
        default="auto",
        description="the exact optimum of the evaluation window, the one without an end, or whichever fits into memory",
    )
    memory: float = Field(default=2.0, gt=0, description="gigabytes that tables of choices may take")
    tile: int = Field(default=16, ge=1, description="customers planned for at a time")


class Oracle:
    """The best message in every state of every customer it meets, planned on their first day."""

    Settings: ClassVar[type[Any]] = OracleSettings
    learns: ClassVar[bool] = False

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        self.scenario = scenario
        self.settings: OracleSettings = settings or OracleSettings()
        self._customer: NDArray[np.int64] = np.empty(0, np.int64)
        self._plans: list[tuple[Batch, NDArray[np.int16]]] = []  # (days or weekdays, n, F, B, M) of each batch
        self._place: NDArray[np.int64] = np.empty((0, 2), np.int64)  # batch and row in it, by customer planned for
        self._cohort: Cohort | None = None

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Nothing: it plans for those it meets."""

    def plans_by_day(self, customers: int) -> bool:
        """Whether so many customers are planned for day by day."""
        if self.settings.horizon != "auto":
            return self.settings.horizon == "window"
        rules = population.rules(self.scenario)
        states = rules.fatigue_levels * rules.bond_levels * 2 ** len(self.scenario.channels)
        return bool(2 * customers * states * self.scenario.evaluation_days <= self.settings.memory * 2**30)

    def meet(self, cohort: Cohort) -> None:
        """Plan for newcomers; that takes a good part of a second for each.

        Raises:
            AgentError: customers it has not met on their first day.
        """
        self._cohort = cohort
        if np.isin(cohort.customer, self._customer).all() and cohort.log.day[0] > 0:
            return
        if cohort.log.day.any():
            raise AgentError("oracle: meets customers whose first day it has not seen")
        self._customer = np.sort(cohort.customer)
        order = np.argsort(cohort.customer)
        by_day = self.plans_by_day(len(order))
        traits = only(cohort.traits, order)
        self._place = np.zeros((len(order), 2), np.int64)
        self._plans = []
        for batch in mdp.batches(self.scenario, traits, self.settings.tile):
            self._place[batch.members] = np.stack([np.full(batch.size, len(self._plans)), np.arange(batch.size)], 1)
            self._plans.append((batch, self._tables(batch, by_day)))

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The best message.

        Raises:
            AgentError: it has not met these customers this morning.
        """
        cohort = self._cohort
        if cohort is None or len(cohort) != len(seen):
            raise AgentError(
                "oracle: acts on the customers themselves, so it plays in `blockenv.play`, which shows them"
            )
        chosen = np.zeros(len(seen), np.int64)
        place = self._place[np.searchsorted(self._customer, cohort.customer)]
        day = int(cohort.log.day[0])
        for number, (batch, tables) in enumerate(self._plans):
            rows = np.flatnonzero(place[:, 0] == number)
            if rows.size == 0:
                continue
            member = place[rows, 1]
            where = mdp.cells(batch._replace(channels=batch.channels[member]), cohort.state, rows)
            table = tables[day if len(tables) > _WEEK else day % len(tables)]
            chosen[rows] = table[member, where.fatigue, where.bond, where.mask] * where.alive
        # A block that nobody has noticed yet is known to the oracle, one that is noticed is closed for everybody.
        return np.where(mask[np.arange(len(seen)), chosen], chosen, 0)

    def save(self, folder: Path) -> None:
        """Write the settings; there is nothing else to keep."""
        save_record(folder, self, {}, self.settings)

    @classmethod
    def load(cls, folder: Path, scenario: Scenario) -> Self:
        """Read it back.

        Raises:
            AgentError: the file is missing or damaged.
        """
        settings, _ = load_record(folder, cls.__name__, OracleSettings)
        return cls(scenario, settings)

    def _tables(self, batch: Batch, by_day: bool) -> NDArray[np.int16]:
        days = self.scenario.evaluation_days if by_day else _WEEK
        plan: Outlook = mdp.Plan(batch, days) if by_day else mdp.Stationary(batch, _BOUND)
        if not by_day and not batch.traits.weekend_block.any():
            days = 1
        tables = np.empty((days, *batch.shape), np.int16)
        for day in range(days):
            tables[day] = mdp.to_host(mdp.optimal_table(plan, day))
        return tables
