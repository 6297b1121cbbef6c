"""What training customers are worth under rules with a frequency cap, played once for all rules that come to the same.

It sees values only, never traits, and never an evaluation customer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.agent import training_seed
from agents.rotation import FOREVER, Caps, Rotation
from agents.rules import Actions, Mask, Observation
from blockenv import population
from blockenv.rollout import play
from blockenv.scenarios import Scenario

_AT_ONCE = 8192  # lives in a batch: a day of a few hundred costs as much as one of a few thousand


def lives_for(tuned: Rotation, seed: int) -> "Lives":
    """The lives of the customers that `tuned` is tuned on."""
    return Lives(tuned.scenario, tuned.tuning_customers(), seed, tuned.settings.days)


class Lives:
    """What training customers are worth under rules of one kind, all with the same luck; no life is played twice.

    Whoever did not opt in to a channel never hears from it, as nothing can win it back. So under a rotation a customer
    lives as under that part of it which is on channels she opted in to, and where that is nothing, as under silence.
    """

    def __init__(self, scenario: Scenario, customers: NDArray[np.int64], seed: int, days: int) -> None:
        self._scenario, self._days, self._key = scenario, days, training_seed(seed, 2)
        self._customers = customers.astype(np.int64)
        opted_in = population.draw(scenario, np.full(len(customers), self._key, np.uint64), self._customers).opted_in
        kinds, kind = np.unique(opted_in, axis=1, return_inverse=True)
        channel_of = population.rules(scenario).channel_of
        # (A,) whether a message can arrive, and the rows, of all customers who opted in to the same channels
        self._alike = [(kinds[channel_of, each], np.flatnonzero(kind == each)) for each in range(kinds.shape[1])]
        self._values: dict[_Plan, NDArray[np.float64]] = {}  # (N,) each; not a number where not played yet

    def values(self, rules: Sequence[Rotation]) -> NDArray[np.float64]:
        """(K, N) the value of each customer under each of the rules, discounted money."""
        plans = [self._plans(rule) for rule in rules]
        needed: dict[_Plan, NDArray[np.bool_]] = {}
        for plan, rows in (each for of_rule in plans for each in of_rule):
            needed.setdefault(plan, np.zeros(len(self._customers), np.bool_))[rows] = True
        self._play(rules[0], needed)
        found = np.empty((len(rules), len(self._customers)))
        for values, of_rule in zip(found, plans, strict=True):
            for plan, rows in of_rule:
                values[rows] = self._values[plan][rows]
        return found

    def _plans(self, rule: Rotation) -> list[tuple["_Plan", NDArray[np.intp]]]:
        """What a rule comes to for whom."""
        found = []
        for arrives, rows in self._alike:
            caps = [(tuple(each for each in messages if arrives[each]), gap) for messages, gap in rule.in_force()]
            found.append((tuple((messages, gap if messages else FOREVER) for messages, gap in caps), rows))
        return found

    def _play(self, kind: Rotation, needed: dict["_Plan", NDArray[np.bool_]]) -> None:
        """Play what has not been played of the lives that are needed, many plans side by side."""
        nobody = np.full(len(self._customers), np.nan)
        new = [rows & np.isnan(self._values.setdefault(plan, nobody.copy())) for plan, rows in needed.items()]
        plans, (number, row) = list(needed), np.nonzero(new)
        for start in range(0, len(row), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            policy, customers = _SideBySide(kind, plans, number[part]), self._customers[row[part]]
            worth = play(policy, self._scenario, self._key, customers, days=self._days, batch=_AT_ONCE).value
            for each in np.unique(number[part]):
                self._values[plans[each]][row[part][number[part] == each]] = worth[number[part] == each]


_Plan = tuple[tuple[tuple[int, ...], int], ...]  # caps in force


class _SideBySide:
    """Plans of a kind of rule, each serving customers of its own."""

    def __init__(self, kind: Rotation, plans: Sequence[_Plan], number: NDArray[np.intp]) -> None:
        self._kind = kind
        self._caps = Caps(kind, [cap for plan in plans for cap in plan])
        self._first = number * len(plans[0])  # (N,) of all caps the first of the plan that serves the row

    def keep_rows(self, rows: NDArray[np.bool_]) -> None:
        self._first = self._first[rows]

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        return self._caps.next_messages(self._first + self._kind.cap_of(seen), seen, mask)
