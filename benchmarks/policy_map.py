"""When one customer should be written to, and when a learned policy does: over how tired and how attached it is.

The optimum is exact; of a learned policy, which sees no fatigue and no bond, it is shown what it does to clones of the
customer, who have the same traits and each their own luck. Nothing here is trained.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv import EVALUATION_SEED, dynamics, history, mdp, population
from blockenv.cohort import GENERATION, Cohort
from blockenv.dynamics import Traits
from blockenv.mdp.batches import only
from blockenv.policies import Policy, greet
from blockenv.rollout import checked_actions, policy_generator
from blockenv.scenarios import Scenario

YEAR = 364
Floats = NDArray[np.float64]


class BestMap(NamedTuple):
    """What to send to a customer whose own channels are all open, by exact planning without an end."""

    fatigue: Floats  # (F,) levels, units
    bond: Floats  # (B,) levels, in [0, 1]
    action: NDArray[np.int64]  # (F, B) the scenario's number, 0 is silence; of the first weekday
    ideal_load: float
    segment: str
    channels: list[str]  # the customer's own


class PlayedMap(NamedTuple):
    """What a policy did to clones of a customer on the days on which all channels were open."""

    sends: NDArray[np.int64]  # (F, B) mornings after which a message went out
    visits: NDArray[np.int64]  # (F, B) mornings


class Loads(NamedTuple):
    """How much customers bear, and how much it is best to send them."""

    ideal_load: Floats  # (N,) fatigue units
    messages_a_week: Floats  # (N,) under the optimum, over the days alive in the first year
    segment: NDArray[np.int64]  # (N,)


def best_map(scenario: Scenario, customer: int, seed: int = EVALUATION_SEED) -> BestMap:
    """The stationary optimum of one customer.

    Raises:
        ValueError: the customer has opted in to no channel, so that there is nothing to decide.
    """
    traits = _traits(scenario, seed, np.array([customer]))
    if not traits.opted_in.any():
        raise ValueError(f"customer: {customer} of {scenario.name} has opted in to no channel, expected one who has")
    (batch,) = mdp.batches(scenario, traits)
    rules = batch.rules
    table = mdp.to_host(mdp.optimal_table(mdp.Stationary(batch), 0))[0, :, :, -1]
    return BestMap(
        fatigue=np.asarray(dynamics.fatigue_of(rules, traits, np.arange(rules.fatigue_levels)), np.float64),
        bond=np.asarray(dynamics.bond_of(rules, traits, np.arange(rules.bond_levels)), np.float64),
        action=table.astype(np.int64),
        ideal_load=float(traits.ideal_load[0]),
        segment=scenario.segments[int(traits.segment[0])].name,
        channels=[channel.name for channel, own in zip(scenario.channels, traits.opted_in[:, 0], strict=True) if own],
    )


def played_map(
    policy: Policy,
    scenario: Scenario,
    customer: int,
    clones: int = 512,
    days: int = 2 * YEAR,
    seed: int = EVALUATION_SEED,
) -> PlayedMap:
    """Serve clones of a customer and count in which states the policy sent something.

    Args:
        policy: acts on observations, as in `blockenv.play`.
        scenario, customer, seed: whose clones.
        clones: how many.
        days: how long each is served.
    """
    cohort = _clones(scenario, customer, clones, seed)
    shape = cohort.rules.fatigue_levels, cohort.rules.bond_levels
    sends, visits = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    rng = policy_generator(seed, customer)
    for _ in range(days):
        greet(policy, cohort, np.arange(clones))  # clones share a number, and nothing else may be taken for shared
        action = checked_actions(
            policy.act(cohort.observe(), cohort.copy_of_legal_actions(), rng), clones, scenario.actions
        )
        state = cohort.state
        whole = np.asarray(state.alive & (state.reachable == cohort.traits.opted_in).all(axis=0))
        cell = np.asarray(state.fatigue)[whole], np.asarray(state.bond)[whole]
        np.add.at(visits, cell, 1)
        np.add.at(sends, cell, cohort.rules.sends[action[whole]].astype(np.int64))
        cohort.step(action)
    return PlayedMap(sends, visits)


def optimal_loads(scenario: Scenario, customers: int, seed: int = EVALUATION_SEED) -> Loads:
    """Exact messages a week of the stationary optimum in the first year, of those among customers 0..N-1 with channels.

    Raises:
        ValueError: nobody has opted in to any channel.
    """
    everybody = _traits(scenario, seed, np.arange(customers))
    traits = only(everybody, np.flatnonzero(everybody.opted_in.any(axis=0)))
    if traits.opted_in.shape[1] == 0:
        raise ValueError(f"customers: none of {customers} of {scenario.name} has opted in to a channel, expected some")
    parts = []
    for batch in mdp.batches(scenario, traits, tile=16):
        outlook = mdp.Stationary(batch, tolerance=1e-4)
        week = [mdp.to_host(mdp.optimal_table(outlook, day)).astype(np.int64) for day in range(len(outlook.week))]
        parts.append((batch, _messages_a_week(batch, week, mdp.newcomers(scenario, batch))))
    return Loads(np.asarray(traits.ideal_load), mdp.together(parts), traits.segment.astype(np.int64))


def _messages_a_week(batch: mdp.Batch, week: list[NDArray[np.int64]], start: mdp.Cells) -> Floats:
    """(N,) under the tables of a week, or under one for all days."""
    sent = [np.unique(np.stack(week)[:, row]) for row in range(batch.size)]
    width = max(len(each) for each in sent)
    actions = np.stack([np.pad(each, (0, width - len(each))) for each in sent])

    def table(day: int) -> NDArray[np.int64]:
        return week[day % len(week)]

    course = mdp.occupancy(batch, table, YEAR, start, actions)
    return np.asarray(7.0 * course.messages.sum(axis=0) / course.alive.sum(axis=0))


def _traits(scenario: Scenario, seed: int, customers: NDArray[np.int64]) -> Traits:
    return population.draw(scenario, np.full(len(customers), seed, np.uint64), customers, np.float64)


def _clones(scenario: Scenario, customer: int, clones: int, seed: int) -> Cohort:
    """Rows with the luck of customers who follow each other, all with the traits of one."""
    numbers = customer + GENERATION * np.arange(clones)
    cohort = Cohort(scenario, np.full(clones, seed, np.uint64), numbers)
    cohort.traits = only(cohort.traits, np.zeros(clones, np.intp))
    cohort.state = population.newcomers(scenario, cohort.traits)
    cohort.log = history.begin(history.ledger(scenario), cohort.traits.opted_in)
    return cohort
