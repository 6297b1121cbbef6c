"""Are the intervals honest: the statistics of the leaderboard on made-up tables whose truth is known.

Measures how often 95 % intervals hold the truth, and how often "A beats B" is said of equal agents. Never reads a row of
a real table.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.profiles import performance_profile
from benchmarks.resampling import probability_of_improvement, stratified_bootstrap
from benchmarks.statistics import Estimate, mean_estimate, paired_difference, ranks, relative

Table = NDArray[np.float64]  # (S, N)
MEAN = 100.0  # money a customer, about what customers of the canon are worth
CUSTOMERS = 400
TAIL = 1.0  # spread of the logarithm of customers' values: heavy, as margins are
REST = 12.0  # money, what chance adds to each customer in each training
SEED_SPREADS = {"seeds alike": 0.0, "seeds differ": 2.0, "seeds differ much": 10.0}  # money
DRAWS = 400  # resamples of a bootstrap
HOLDS, BEATS = "the 95 % interval holds the truth", "A is said to beat B, its equal"


class World(NamedTuple):
    """Made-up agents who meet the same customers."""

    seeds: Sequence[int]  # trainings of each agent; 1 is a rule
    seed_spread: float  # money
    gifts: Sequence[float] = ()  # money that an agent is truly better by; nothing if not given
    customers: int = CUSTOMERS

    def draw(self, rng: np.random.Generator) -> list[Table]:
        """A table for each agent."""
        worth = rng.lognormal(0.0, TAIL, self.customers) * MEAN / np.exp(TAIL**2 / 2)
        tables = []
        for number, count in enumerate(self.seeds):
            # Some customers like what an agent does, some do not: this does not depend on training.
            liking = 0.1 * worth * rng.standard_normal(self.customers)
            table = worth + liking + np.zeros((count, 1)) + (self.gifts[number] if self.gifts else 0.0)
            if count > 1:
                table = table + self.seed_spread * rng.standard_normal((count, 1))
                table = table + REST * rng.standard_normal((count, self.customers))
            tables.append(table)
        return tables


class Measured(NamedTuple):
    """How often something happened on made-up tables."""

    name: str  # of the case
    what: str
    share: float
    expected: str
    repeats: int


Case = tuple[str, str, str, Callable[[np.random.Generator], bool]]


def cases() -> list[Case]:
    """What is measured, each by a function that draws a table and says whether it happened."""
    found: list[Case] = []
    for label, spread in SEED_SPREADS.items():
        for seeds in ((1, 1), (3, 1), (3, 3), (10, 1), (10, 10)):
            if seeds == (1, 1) and spread:
                continue
            name = f"{_people(seeds)}, {label}" if max(seeds) > 1 else _people(seeds)
            world = World(seeds, spread)
            found.append((f"difference: {name}", HOLDS, "95 %", _holds(world, _difference, 0.0)))
            found.append((f"difference: {name}", BEATS, "at most 2.5 %", _beats(world)))
    found.append(("mean of a learner, 10 seeds", HOLDS, "95 %", _holds(World((10,), 2.0), _mean, MEAN)))
    gifted = World((3, 1), 2.0, (20.0, 0.0))
    found.append(("uplift over silence, 3 seeds", HOLDS, "95 %", _holds(gifted, _uplift, 20.0 / MEAN)))
    equal = World((1, 1, 1, 1, 3, 3, 3, 3), 2.0)
    found.append(("8 equal agents, all pairs", "any false verdict", "at most 5 %", _false_verdict(equal)))
    spaced = World((1, 1, 1, 3, 3, 3), 2.0, (0.0, 1.0, 2.0, 3.0, 4.0, 5.0))
    found.append(("6 agents in a row", "all true ranks lie in their ranges", "at least 95 %", _true_ranks(spaced)))
    return found


def slow_cases() -> list[Case]:
    """The same for what is drawn anew, which takes longer."""
    found: list[Case] = []
    for seeds in (3, 5, 10):
        world = World((seeds, 1), 10.0)
        name = f"bootstrap of a difference, {seeds} seeds that differ much"
        found.append((name, HOLDS, "95 %", _holds(world, _bootstrapped, 0.0)))
    even = World((10, 10), 10.0)
    found.append(("probability of improvement, 10 seeds each", HOLDS, "95 %", _holds(even, _chance, 0.5)))
    found.append(("performance profile, 10 seeds", HOLDS, "95 %", _profile_holds))
    return found


def measure(
    repeats: int, slow_repeats: int, seed: int, told: Callable[[Measured], None] = lambda _: None
) -> list[Measured]:
    """Every case on so many tables.

    Raises:
        ValueError: fewer than one repeat.
    """
    if repeats < 1 or slow_repeats < 1:
        raise ValueError(f"repeats: {repeats} and {slow_repeats}, expected at least 1")
    found = []
    listed = [(case, repeats) for case in cases()] + [(case, slow_repeats) for case in slow_cases()]
    for number, ((name, what, expected, happens), times) in enumerate(listed):
        rng = np.random.default_rng([seed, number])
        share = float(np.mean([happens(rng) for _ in range(times)]))
        found.append(Measured(name, what, share, expected, times))
        told(found[-1])
    return found


def report(found: Sequence[Measured], seed: int) -> dict[str, Any]:
    """What was measured, as what JSON can hold, with the sentences that the page and the README show."""
    words = (
        f"On made-up tables whose truth is known ({CUSTOMERS} customers with heavy-tailed values, rules and learners of 3 "
        f"to 10 trainings that are alike or differ), {_span(found, 'difference: ', HOLDS)} of the 95 % intervals of a "
        f"paired difference hold the truth; of two equal agents the first is said to beat the second in "
        f"{_span(found, 'difference: ', BEATS)} (2.5 % would be right); among eight equal agents there is any false "
        f"verdict in {_span(found, '8 equal', 'any')}."
    )
    return {"words": words, "seed": seed, "rows": [each._asdict() for each in found]}


def _span(found: Sequence[Measured], name: str, what: str) -> str:
    shares = [100 * each.share for each in found if each.name.startswith(name) and each.what.startswith(what)]
    low, high = min(shares), max(shares)
    return f"{low:.1f} %" if high - low < 0.05 else f"{low:.1f} to {high:.1f} %"


def _people(seeds: Sequence[int]) -> str:
    return " and ".join("a rule" if count == 1 else f"a learner ({count} seeds)" for count in seeds)


def _holds(
    world: World, statistic: Callable[[list[Table], np.random.Generator], Estimate], truth: float
) -> Callable[[np.random.Generator], bool]:
    def happens(rng: np.random.Generator) -> bool:
        estimate = statistic(world.draw(rng), rng)
        return estimate.low <= truth <= estimate.high

    return happens


def _beats(world: World) -> Callable[[np.random.Generator], bool]:
    return lambda rng: _difference(world.draw(rng), rng).low > 0


def _false_verdict(world: World) -> Callable[[np.random.Generator], bool]:
    return lambda rng: any(rank.low > 1 for rank in ranks(world.draw(rng)))


def _true_ranks(world: World) -> Callable[[np.random.Generator], bool]:
    def happens(rng: np.random.Generator) -> bool:
        found = ranks(world.draw(rng))
        return all(rank.low <= len(found) - place <= rank.high for place, rank in enumerate(found))

    return happens


def _profile_holds(rng: np.random.Generator) -> bool:
    """Scores of two scenarios, normal around 30 and 50; at 40 the true profile is one half."""
    scores = [rng.normal(centre, 10.0, 10) for centre in (30.0, 50.0)]
    (estimate,) = performance_profile(scores, [40.0], rng, draws=DRAWS)
    return estimate.low <= 0.5 <= estimate.high


def _mean(tables: list[Table], rng: np.random.Generator) -> Estimate:
    return mean_estimate(tables[0])


def _difference(tables: list[Table], rng: np.random.Generator) -> Estimate:
    return paired_difference(tables[0], tables[1])


def _uplift(tables: list[Table], rng: np.random.Generator) -> Estimate:
    return relative(tables[0], tables[1])


def _bootstrapped(tables: list[Table], rng: np.random.Generator) -> Estimate:
    return stratified_bootstrap([tables], lambda means: means[:, 0, 0] - means[:, 0, 1], rng, draws=DRAWS)


def _chance(tables: list[Table], rng: np.random.Generator) -> Estimate:
    return probability_of_improvement(tables[:1], tables[1:], rng, draws=DRAWS)
