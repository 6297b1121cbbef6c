"""Customers as finite Markov decision processes: the optimum, policies and their courses, against the simulator itself."""

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blockenv import dynamics, mdp, population
from blockenv.dynamics import Rules, State, Traits
from blockenv.mdp.batches import only
from blockenv.noise import Noise
from blockenv.scenarios import SCENARIOS, Scenario, get

Ints = NDArray[np.int64]

TINY = get(
    {
        "name": "Tiny-v0",
        "isolates": "every rule of a day, few states",
        "channels": [
            {"name": "push", "load": 1.4, "cost": 0.3, "block_probability": 0.2, "open_logit": 0.3, "buy_logit": -1.0,
             "background_share": 0.4, "win_back_rate": 0.15, "opt_in": 0.7},
            {"name": "email", "load": 0.7, "cost": 0.1, "block_probability": 0.1, "open_logit": -0.5, "buy_logit": -0.5,
             "background_share": 0.8, "win_back_rate": 0.1, "opt_in": 0.7},
        ],
        "styles": [{"name": "promo", "discount": 0.2}, {"name": "info"}],
        "segments": [{"name": "all", "weight": 1, "ideal_load": 1.2, "reactance": 0.5, "reciprocity": 0.3,
                      "churn_contact": 0.5, "resting_bond": 0.3, "organic_rate": 0.2, "weekend_block": 0.8,
                      "style_block": {"promo": 0.4}, "style_buy": {"promo": 0.8}, "relevance": {"any": 0.9}}],
        "fatigue": {"levels": 3, "top": 4.0},
        "bond": {"levels": 3, "half_life": 6.0, "relevant_open": 0.2, "overload": 0.05, "order": 0.3, "block": 0.4},
        "response": {"churn_probability": 0.1, "spill_over": 0.9, "win_back_order": 4.0, "open_fatigue": 0.4},
        "calendar": {"season": 0.6, "tolerance_drift": 0.8, "drift_days": 2},
        "commerce": {"order_value": 10.0, "margin": 0.6},
        "discount": 0.95,
    }
)  # fmt: skip
DAYS = 3
EVENTS = ("open", "order", "message_order", "own", "other", "churn", "fatigue", "bond")


def drawn(scenario: Scenario, customers: int, seed: int = 4, dtype: type = np.float64) -> Traits:
    return population.draw(scenario, np.full(customers, seed, np.uint64), np.arange(customers), dtype)


def several(traits: Traits) -> Traits:
    """A customer with both channels whose weekend begins on day 1, one with a single channel, one with none."""
    counts = traits.opted_in.sum(axis=0)
    friday = traits.joined % 7 == 4
    chosen = [np.flatnonzero(friday & (counts == 2))[0], np.flatnonzero(friday & (counts == 1))[0],
              np.flatnonzero(counts == 0)[0]]  # fmt: skip
    return only(traits, np.array(chosen))


class Oracle:
    """One customer's transitions, found by asking the simulator alone.

    For every event of a day the luck at which it tips is searched by bisection, all luck so far being fixed: below it
    the event happens, above it does not, so it is the event's probability. Nothing is known here of any equation.
    """

    def __init__(self, rules: Rules, traits: Traits) -> None:
        self.rules, self.traits = rules, traits
        self.channels = len(traits.opted_in)
        self.shape = (rules.fatigue_levels, rules.bond_levels, 2**self.channels)
        self.states = int(np.prod(self.shape))

    def lived(self, state: Ints, action: Ints, day: int, luck: NDArray[np.float64]) -> tuple[Any, Ints, Ints]:
        """Rewards, tomorrow's state (the last one is to have left) and a number for all that happened; luck (8, R)."""
        rows = len(state)
        fatigue, bond, mask = np.unravel_index(state, self.shape)
        own = self.rules.channel_of[action]
        channel = np.empty((self.channels, rows))
        for each in range(self.channels):
            channel[each] = np.where(own == each, luck[EVENTS.index("own")], luck[EVENTS.index("other")])
        uniform = dict(zip(EVENTS, luck, strict=True))
        half = np.full(rows, 0.5)
        noise = Noise(uniform["open"], uniform["order"], uniform["message_order"], half, half, uniform["fatigue"],
                      uniform["bond"], uniform["churn"], channel)  # fmt: skip
        morning = State(
            fatigue.astype(np.int32),
            bond.astype(np.int32),
            (mask >> np.arange(self.channels)[:, None]) & 1 == 1,
            np.ones(rows, bool),
        )
        many = only(self.traits, np.zeros(rows, np.intp))
        tomorrow, outcome = dynamics.step(
            self.rules, many, morning, np.full(rows, day), action, noise, np.arange(rows)
        )  # fmt: skip
        opened = (tomorrow.reachable << np.arange(self.channels)[:, None]).sum(axis=0)
        levels = (tomorrow.fatigue, tomorrow.bond, opened)
        after = np.where(tomorrow.alive, np.ravel_multi_index(levels, self.shape), self.states)
        happened = after
        for event in (outcome.opened, outcome.ordered, outcome.prompted, outcome.churned, *tomorrow.reachable):
            happened = 2 * happened + event
        for level in levels[:2]:
            happened = 100 * happened + level
        return outcome.expected_reward, after, happened

    def day(self, day: int, actions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Transitions (actions, states, states) among the living, and rewards (actions, states)."""
        pairs = np.array(list(itertools.product(range(actions), range(self.states))))
        action, state, chance = pairs[:, 0], pairs[:, 1], np.ones(len(pairs))
        luck = np.full((len(EVENTS), len(pairs)), np.nextafter(1.0, 0.0))  # nothing happens
        for event in range(len(EVENTS)):

            def trial(level: NDArray[np.float64] | float, luck: Any = luck, event: int = event) -> Ints:
                tried = luck.copy()
                tried[event] = level
                return self.lived(state, action, day, tried)[2]  # noqa: B023

            surely = trial(0.0)
            low, high = np.zeros(len(state)), np.ones(len(state))
            for _ in range(54):
                middle = (low + high) / 2
                happens = trial(middle) == surely
                low, high = np.where(happens, middle, low), np.where(happens, high, middle)
            never = trial(np.nextafter(1.0, 0.0)) == surely  # the luck makes no difference
            again = ~never
            happening = luck.copy()
            happening[event] = 0.0
            luck = np.concatenate([happening, luck[:, again]], axis=1)
            chance = np.concatenate([chance * np.where(never, 1.0, low), (chance * (1.0 - low))[again]])
            action, state = np.concatenate([action, action[again]]), np.concatenate([state, state[again]])
        reward, after, _ = self.lived(state, action, day, luck)
        moves, rewards = np.zeros((actions, self.states, self.states + 1)), np.zeros((actions, self.states))
        np.add.at(moves, (action, state, after), chance)
        rewards[action, state] = reward
        np.testing.assert_allclose(moves.sum(axis=2), 1.0, rtol=1e-12)
        return moves[:, :, :-1], rewards


@cache
def oracle_days(number: int) -> tuple[list[tuple[NDArray[np.float64], NDArray[np.float64]]], tuple[int, ...]]:
    traits = only(several(drawn(TINY, 200)), np.array([number]))
    oracle = Oracle(population.rules(TINY, np.float64), traits)
    return [oracle.day(day, TINY.actions) for day in range(DAYS)], oracle.shape


def spread_out(batch: mdp.Batch, table: Any, number: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A customer's table over all the scenario's masks, and which of them it can be in."""
    masks = np.arange(2 ** len(TINY.channels))
    own = np.zeros_like(masks)
    reachable = np.zeros_like(masks)
    for place, channel in enumerate(batch.channels[number].tolist()):
        own |= ((masks >> channel) & 1) << place
        reachable |= 1 << channel
    return mdp.to_host(table)[number][:, :, own], masks & ~reachable == 0


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_small_world_is_solved_as_by_asking_the_simulator_for_every_transition(number: int) -> None:
    days, shape = oracle_days(number)
    traits = several(drawn(TINY, 200))
    batch = next(each for each in mdp.batches(TINY, traits) if number in each.members)
    row = int(np.flatnonzero(batch.members == number)[0])
    plan = mdp.Plan(batch, DAYS)
    rng = np.random.default_rng(1)
    wild = rng.integers(0, TINY.actions, (DAYS, *shape))
    own_masks = [
        sum((mask >> place & 1) << int(batch.channels[row, place]) for place in range(batch.places))
        for mask in range(batch.shape[3])
    ]
    tables = [np.broadcast_to(table[:, :, own_masks], batch.shape) for table in wild]
    best, played = np.zeros(int(np.prod(shape))), np.zeros(int(np.prod(shape)))
    for day in range(DAYS - 1, -1, -1):
        moves, rewards = days[day]
        worth = rewards + TINY.discount * (moves @ best)
        best = worth.max(axis=0)
        follow = rewards + TINY.discount * (moves @ played)
        played = follow[wild[day].reshape(-1), np.arange(len(played))]
        value = plan.value if day == 0 else plan.later(day - 1)
        found, there = spread_out(batch, value, row)
        np.testing.assert_allclose(found[..., there], best.reshape(shape)[..., there], rtol=1e-10)
        taken, _ = spread_out(batch, mdp.optimal_table(plan, day), row)
        lost = best - worth[taken.reshape(-1), np.arange(len(best))]
        assert lost.reshape(shape)[..., there].max() < 1e-10
    found, there = spread_out(batch, mdp.policy_value(batch, lambda day: tables[day], DAYS), row)
    np.testing.assert_allclose(found[..., there], played.reshape(shape)[..., there], rtol=1e-10)


def test_the_course_of_a_small_world_is_that_of_asking_the_simulator() -> None:
    days, shape = oracle_days(0)
    batch = mdp.batches(TINY, only(several(drawn(TINY, 200)), np.array([0])))[0]
    table = np.random.default_rng(2).integers(0, TINY.actions, shape)
    start = mdp.newcomers(TINY, batch)
    course = mdp.occupancy(batch, table[None], DAYS, start)
    there = np.zeros(shape)
    there[start.fatigue[0], start.bond[0], start.mask[0]] = 1.0
    there = there.reshape(-1)
    rules, state = population.rules(TINY, np.float64), np.arange(there.size)
    action = table.reshape(-1)
    masks = np.unravel_index(state, shape)[2]
    for day in range(DAYS):
        moves, rewards = days[day]
        assert course.alive[day, 0] == pytest.approx(there.sum())
        assert course.reward[day, 0] == pytest.approx(there @ rewards[action, state])
        assert course.messages[day, 0] == pytest.approx(there @ rules.sends[action])
        for channel in range(2):
            assert course.reach[day, channel, 0] == pytest.approx(there @ (masks >> channel & 1))
        there = there @ moves[action, state]


@pytest.mark.parametrize("days", [1, 2, 3, 9, 10, 17])
def test_a_plan_knows_the_value_of_every_morning_whatever_it_keeps(days: int) -> None:
    batch = mdp.batches(TINY, several(drawn(TINY, 200)))[-1]
    plan, value = mdp.Plan(batch, days), np.zeros(batch.shape)
    mornings = [value]
    for day in range(days - 1, -1, -1):
        value = plan.best.value(day, value)
        mornings.append(value)
    mornings.reverse()
    np.testing.assert_array_equal(plan.value, mornings[0])
    np.testing.assert_array_equal(mdp.optimal_value(batch, days), mornings[0])
    for day in [*range(days), *range(days - 1, -1, -1), days // 2, 0]:
        np.testing.assert_array_equal(plan.later(day), mornings[day + 1])


def playground(name: str = "Opposites-v0", customers: int = 12) -> tuple[Scenario, list[mdp.Batch], State]:
    """Customers in the middle of their lives."""
    scenario = get({"base": name, "discount": 0.9})  # what lies far ahead hardly counts, so that nothing takes long
    traits, rng = drawn(scenario, customers), np.random.default_rng(3)
    state = State(
        rng.integers(0, scenario.fatigue.levels, customers).astype(np.int32),
        rng.integers(0, scenario.bond.levels, customers).astype(np.int32),
        traits.opted_in & (rng.random(traits.opted_in.shape) < 0.7),
        rng.random(customers) < 0.8,
    )
    return scenario, mdp.batches(scenario, traits, tile=5), state


@pytest.mark.parametrize("name", ["Opposites-v0", "Winback-v0", "Drift-v0", "Omnichannel-v0"])
@pytest.mark.parametrize("make", [lambda batch: mdp.Plan(batch, 12), lambda batch: mdp.Stationary(batch, 1e-3)])
def test_acting_on_a_state_is_looking_it_up_in_the_table(name: str, make: Callable[[mdp.Batch], Any]) -> None:
    scenario, batches, state = playground(name, customers=6)
    plans = [make(batch) for batch in batches]
    for day in (0, 5, 11):
        action, worth = mdp.optimal_actions(plans, day, state), mdp.action_values(plans, day, state)
        looked_up = mdp.together(
            (batch, mdp.at(mdp.optimal_table(plan, day), mdp.cells(batch, state)))
            for batch, plan in zip(batches, plans, strict=True)
        )
        best = mdp.together(
            (batch, mdp.at(plan.best.value(plan.calendar(day), plan.later(day)), mdp.cells(batch, state)))
            for batch, plan in zip(batches, plans, strict=True)
        )
        row = np.arange(len(action))
        assert worth.shape == (len(action), scenario.actions)
        np.testing.assert_array_equal(action, looked_up)
        np.testing.assert_allclose(worth[row, action], best, rtol=1e-12)
        np.testing.assert_allclose(worth.max(axis=1), best, rtol=1e-12)
        assert (worth[~state.alive] == 0.0).all()
        rules = population.rules(scenario, np.float64)
        closed = rules.sends & ~state.reachable.T[:, rules.channel_of] & state.alive[:, None]
        silent = worth[:, :1] - rules.cost_of
        np.testing.assert_allclose(worth[closed], silent[closed], rtol=1e-12)


def test_batches_hold_every_customer_once_and_alike() -> None:
    scenario = SCENARIOS["Omnichannel-v0"]
    traits = drawn(scenario, 100)
    found = mdp.batches(scenario, traits, tile=7)
    assert sorted(np.concatenate([batch.members for batch in found]).tolist()) == list(range(100))
    for batch in found:
        assert batch.size <= 7
        assert len(set((batch.traits.joined % 7).tolist())) == 1
        for number, member in enumerate(batch.members):
            assert batch.channels[number].tolist() == np.flatnonzero(traits.opted_in[:, member]).tolist()
            assert batch.traits.ideal_load[number] == traits.ideal_load[member]
