"""Which cells make a suite, and which of them a store has rows for.

A cell is one agent, trained with one seed, on one scenario. Nothing is run here, and nobody's own code is imported into
this process.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agents import agent_class
from agents.agent import learns
from benchmarks import store
from benchmarks.code import UNKNOWN, code_of, with_modules
from benchmarks.configs import Suite, agent_settings, place_of, settings_while_serving, world_and_law
from benchmarks.submissions import SubmissionError, described, is_submission
from blockenv import Scenario
from blockenv.scenarios import get


class Cell(NamedTuple):
    """One entry of the table of results."""

    world: Scenario
    agent: str
    seed: int
    customers: int
    days: int
    settings: dict[str, Any]
    code: str = UNKNOWN  # see `benchmarks.code`
    trouble: str = ""  # why a policy of somebody's own cannot even be imported
    home: Scenario | None = None  # where it learns, if elsewhere than where it plays or under another law
    law: str = ""  # of `benchmarks.laws`, under which the customers live
    online: bool = False  # learns on the held-out customers themselves, see `benchmarks.online`

    def __str__(self) -> str:
        return f"{self.place} {self.agent} seed {self.seed}"

    @property
    def place(self) -> str:
        """What the table calls the world: the scenario, and the law if there is one."""
        return place_of(self.world, self.law)

    @property
    def identity(self) -> dict[str, Any]:
        """All that is asked for, as plain values; the scenario by its name and digest."""
        names = ("agent", "seed", "customers", "days", "settings")
        found = {"scenario": self.place, "digest": self.world.digest, **{name: getattr(self, name) for name in names}}
        if self.online:
            found["track"] = "online"
        if self.home is not None:
            found["trained_on"] = {"scenario": self.home.name, "digest": self.home.digest}
        return found

    @property
    def key(self) -> str:
        """Sixteen hex digits that change with anything in `identity`, and with the code."""
        content = json.dumps({**self.identity, "code": self.code}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def wants(self, row: Mapping[str, Any]) -> bool:
        """Whether a row answers what is asked for, by whatever code."""
        asked = {"trained_on": None, "track": None, **self.identity}
        return all(row.get(name) == value for name, value in asked.items())


class Stored(NamedTuple):
    """What a store has of the cells that are wanted."""

    rows: list[dict[str, Any] | None]  # one a cell, in their order
    other_code: int  # cells that have rows of other code only, whether these are taken or left aside


def cells(suite: Suite) -> list[Cell]:
    """The cells of a suite, long ones first so that parallel workers end together."""
    found, online = [], suite.track == "online"
    for scenario in suite.scenarios:
        world, law = world_and_law(scenario)
        school = get(suite.trained_on) if suite.trained_on else world
        home = school if school.digest != world.digest or law else None
        days = suite.days or world.evaluation_days
        for agent in suite.agents:
            settings, learner, own, trouble = _introduced(agent, school, suite)
            code = played_by(own, law, online)
            found += [
                Cell(world, agent, seed, suite.customers, days, settings, code, trouble, home, law, online)
                for seed in range(suite.seeds if learner else 1)
            ]
    return sorted(found, key=lambda cell: -_weight(cell))


def played_by(code: str, law: str, online: bool) -> str:
    """The code of a cell: that of its agent, and of what changes the game."""
    return with_modules(code, [*(["laws.py"] if law else []), *(["online.py"] if online else [])])


def _introduced(agent: str, world: Scenario, suite: Suite) -> tuple[dict[str, Any], bool, str, str]:
    """Settings, whether it learns, code, and what is wrong with it; nobody's own code is imported into this process."""
    changes = suite.settings.get(agent)
    if is_submission(agent):
        try:
            return *described(agent, changes), ""
        except SubmissionError as error:
            return dict(changes or {}), False, UNKNOWN, str(error)
    kind = agent_class(agent)
    if suite.track == "online":
        settings = settings_while_serving(agent, world, suite.customers, suite.days, changes)
    else:
        settings = agent_settings(agent, world.name, changes)
    return settings.model_dump(mode="json"), learns(kind), code_of(kind), ""


def stored(wanted: list[Cell], folder: Path, any_code: bool = False) -> Stored:
    """The rows in `folder` that answer the cells; those of other code only if `any_code`, and then the latest.

    Rows that do not say by which code they were made count as made by other code.
    """
    kept = store.read_rows(folder)
    by_key = {row["key"]: row for row in kept}
    rows: list[dict[str, Any] | None] = []
    other_code = 0
    for cell in wanted:
        others = [] if cell.key in by_key else [row for row in kept if cell.wants(row)]
        other_code += bool(others)
        rows.append(others[-1] if others and any_code else by_key.get(cell.key))
    return Stored(rows, other_code)


def customer_days(settings: Mapping[str, Any]) -> float:
    """Customer-days that settings have an agent learn from, as far as their names tell; 0 for rules without any."""
    own = {name: value for name, value in settings.items() if isinstance(value, int | float)}
    prices = settings.get("prices")
    repeats = len(prices) if isinstance(prices, list) else 1
    return float((own.get("steps", 0) + own.get("customers", 0) * own.get("days", 0)) * repeats)


def _weight(cell: Cell) -> float:
    """A guess at how long a cell takes, in customer-days; only the order depends on it."""
    return customer_days(cell.settings) + cell.customers * cell.days
