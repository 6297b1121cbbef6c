"""The planner against a second one, written plainly: every event of a day listed, sparse matrices, one customer.

Run as a program it prints what both cost, side by side: `python -m tests.test_mdp_naive`.
"""

import itertools
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from blockenv import dynamics, mdp, population
from blockenv.dynamics import Message, Traits
from blockenv.mdp.batches import only
from blockenv.scenarios import SCENARIOS, Scenario, get

Floats = NDArray[np.float64]


class Naive:
    """One customer as a finite Markov decision process: a sparse matrix of (state, state) for every action.

    The states are (fatigue, bond, mask of all the scenario's channels), in C order.
    """

    def __init__(self, scenario: Scenario, traits: Traits) -> None:
        self.scenario, self.traits = scenario, traits
        self.rules = population.rules(scenario, np.float64)
        self.shape = (self.rules.fatigue_levels, self.rules.bond_levels, 2 ** len(scenario.channels))
        fatigue, bond, self.mask = (each.reshape(-1) for each in np.indices(self.shape))
        self.fatigue, self.bond = fatigue * self.rules.fatigue_step, bond * self.rules.bond_step
        self.states = len(fatigue)
        self.known: dict[Any, Any] = {}

    def value(self, days: int, policy: NDArray[np.integer[Any]] | None = None) -> Floats:
        """Of the best actions, or of a table over states (a state's action, the same every day)."""
        later = np.zeros(self.states)
        for day in range(days - 1, -1, -1):
            moves, rewards = self.on(day)
            worth = rewards + self.scenario.discount * (moves @ later).reshape(self.scenario.actions, self.states)
            later = worth.max(axis=0) if policy is None else worth[policy.reshape(-1), np.arange(self.states)]
        return later.reshape(self.shape)

    def on(self, day: int) -> tuple[Any, Floats]:
        """All actions one below the other, (actions * states, states), and their rewards, (actions, states)."""
        now = dynamics.today(self.rules, self.traits, np.array([day]))
        key = tuple(float(each[0]) for each in now)
        if key not in self.known:
            pairs = [self._action(action, now) for action in range(self.scenario.actions)]
            self.known[key] = (sparse.vstack([moves for moves, _ in pairs]).tocsr(), np.stack([r for _, r in pairs]))
        return self.known[key]

    def _action(self, action: int, now: dynamics.Today) -> tuple[Any, Floats]:
        rules, traits, one = self.rules, self.traits, np.zeros(1, np.int64)
        mail = Message(*dynamics.message(rules, traits, one + action, one))
        channels = np.arange(len(self.scenario.channels))
        is_open = (self.mask >> channels[:, None]) & 1 == 1  # (C, states)
        own = bool(mail.sends[0]) & (channels == mail.channel)
        contact = (own[:, None] & is_open).any(axis=0) * 1.0
        ideal = dynamics.ideal_load(traits, now)
        loaded = dynamics.fatigue_after(rules, self.fatigue, mail.load * contact)
        overload = np.maximum(loaded - ideal, 0.0) * contact
        open_p = contact * dynamics.open_probability(rules, self.fatigue, self.bond, ideal, mail)
        prompted_p = dynamics.prompted_probability(rules, self.fatigue, self.bond, ideal, mail)
        block_p = contact * dynamics.block_probability(rules, traits, now, loaded, self.bond, ideal, mail)
        organic_p = dynamics.organic_probability(rules, traits, now, self.bond)
        stays_p = 1.0 - dynamics.churn_probability(rules, traits, self.bond, contact, overload)
        reward = dynamics.expected_reward(rules, traits, mail, organic_p, open_p, prompted_p)
        fatigue_lower, fatigue_p = dynamics.neighbours(loaded, rules.fatigue_step, rules.fatigue_levels)

        rows, columns, chances = [], [], []
        for opened, ordered in itertools.product((0, 1), repeat=2):
            p = stays_p * (open_p if opened else 1.0 - open_p)
            buys_p = 1.0 - (1.0 - organic_p) * (1.0 - prompted_p * opened)
            p = p * (buys_p if ordered else 1.0 - buys_p)
            reopen_p = dynamics.win_back_probability(rules, self.bond, float(ordered)) * rules.win_back
            for changes in itertools.product((0, 1), repeat=len(channels)):
                hit = np.array(changes, bool)[:, None] & is_open  # (C, states) blocked today
                spilling = (hit & own[:, None]).any(axis=0) * rules.spill_over
                chance, mask = p, self.mask
                for channel, change in enumerate(changes):
                    cause = block_p if own[channel] else spilling
                    event = np.where(
                        is_open[channel],
                        1.0 - (1.0 - traits.background_block[channel]) * (1.0 - cause),
                        reopen_p[channel] * traits.opted_in[channel],
                    )
                    chance = chance * (event if change else 1.0 - event)
                    mask = mask ^ (change << channel)
                bond_after = dynamics.bond_after(
                    rules, traits, self.bond, mail.relevance, float(opened), float(ordered), hit.any(axis=0), overload
                )
                lower, upper_p = dynamics.neighbours(bond_after, rules.bond_step, rules.bond_levels)
                for warmer, closer in itertools.product((0, 1), repeat=2):
                    share = chance * (fatigue_p if warmer else 1.0 - fatigue_p) * (upper_p if closer else 1.0 - upper_p)
                    there = np.flatnonzero(share > 0.0)
                    levels = (fatigue_lower + warmer)[there], (lower + closer)[there], mask[there]
                    rows.append(there)
                    columns.append(np.ravel_multi_index(levels, self.shape))
                    chances.append(share[there])
        entries = (np.concatenate(chances), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_array(entries, shape=(self.states, self.states)), reward


def customer(traits: Traits, number: int) -> Traits:
    return only(traits, np.array([number]))


def in_all_channels(batch: mdp.Batch, table: Any, number: int, channels: int) -> NDArray[Any]:
    """A customer's table (F, B, M) over the masks of all the scenario's channels; what it never opted in to is shut."""
    masks = np.arange(2**channels)
    own = sum(((masks >> channel) & 1) << place for place, channel in enumerate(batch.channels[number].tolist()))
    there = sum(1 << channel for channel in batch.channels[number].tolist())
    found: NDArray[Any] = np.where(masks & ~there == 0, mdp.to_host(table)[number][:, :, own + 0 * masks], np.nan)
    return found


def agree(scenario: Scenario, customers: int, days: int, seed: int = 5) -> None:
    """All states of some customers: the optimum, and a table that sends anything anywhere."""
    channels = len(scenario.channels)
    traits = population.draw(scenario, np.full(customers, seed, np.uint64), np.arange(customers), np.float64)
    rng = np.random.default_rng(seed)
    shape = (scenario.fatigue.levels, scenario.bond.levels, 2**channels)
    wild = rng.integers(0, scenario.actions, shape)
    for batch in mdp.batches(scenario, traits):
        best = mdp.optimal_value(batch, days)
        own = np.zeros(batch.shape, np.int64)
        for number in range(batch.size):
            for mask in range(batch.shape[3]):
                there = sum((mask >> place & 1) << int(batch.channels[number, place]) for place in range(batch.places))
                own[number, :, :, mask] = wild[:, :, there]
        played = mdp.policy_value(batch, own, days)
        for number, member in enumerate(batch.members.tolist()):
            naive = Naive(scenario, customer(traits, member))
            for table, policy in ((best, None), (played, wild)):
                found, expected = in_all_channels(batch, table, number, channels), naive.value(days, policy)
                known = ~np.isnan(found)
                assert known.any()
                np.testing.assert_allclose(found[known], expected[known], rtol=1e-11, atol=1e-11)
                below = mdp.to_host(best - table)
                assert below.min() > -1e-9


WORLD: dict[str, Any] = {
    "name": "Random-v0",
    "isolates": "numbers that nobody chose",
    "fatigue": {"levels": 4, "top": 5.0},
    "segments": [{"name": "all", "weight": 1, "ideal_load": 1, "reactance": 0, "reciprocity": 0, "churn_contact": 0,
                  "resting_bond": 0, "organic_rate": 0}],
}  # fmt: skip


def part(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda value: round(value, 4))


@st.composite
def worlds(draw: Any) -> Scenario:
    """Small worlds in which everything that can happen happens often, with any signs."""
    slots, styles, products = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    win_back = draw(st.booleans())
    names = {"slots": [f"h{n}" for n in range(slots)], "products": [f"p{n}" for n in range(products)]}
    style_names = [f"y{n}" for n in range(styles)]
    effects = part(-1.5, 1.5)
    return get(
        WORLD
        | names
        | {
            "channels": [
                {
                    "name": f"c{number}",
                    "load": draw(part(0, 3)),
                    "cost": draw(st.sampled_from([0.0, 0.02, 0.5])),
                    "block_probability": draw(part(0, 0.4)),
                    "background_share": draw(part(0, 1)),
                    "open_logit": draw(part(-2, 2)),
                    "buy_logit": draw(part(-4, 0)),
                    "opt_in": draw(st.sampled_from([0.5, 1.0])),
                    "win_back_rate": draw(part(0, 0.2)) if win_back else 0.0,
                }
                for number in range(draw(st.integers(1, 2)))
            ],
            "styles": [{"name": name, "discount": draw(st.sampled_from([0.0, 0.1, 0.6]))} for name in style_names],
            "segments": [
                {
                    "name": "all",
                    "weight": 1,
                    "ideal_load": draw(part(0.2, 4)),
                    "reactance": draw(part(0, 1)),
                    "reciprocity": draw(part(0, 0.5)),
                    "churn_contact": draw(effects),
                    "resting_bond": draw(part(0, 1)),
                    "organic_rate": draw(part(0, 0.4)),
                    "weekend_block": draw(st.sampled_from([0.0, 0.8])),
                    "relevance": {name: draw(part(0, 1)) for name in names["products"]},
                    "slot_block": {name: draw(effects) for name in names["slots"]},
                    "style_block": {name: draw(effects) for name in style_names},
                    "style_buy": {name: draw(effects) for name in style_names},
                }
            ],
            "spread": {"weekend": draw(st.sampled_from([0.0, 0.3]))},
            "bond": {"levels": draw(st.integers(2, 5)), "half_life": 5.0, "order": 0.2, "block": draw(part(0, 0.5)),
                     "relevant_open": 0.3, "overload": 0.05},
            "response": {"churn_probability": draw(part(0, 0.3)), "spill_over": draw(part(0, 3))},
            "calendar": {"season": draw(st.sampled_from([0.0, 0.6])),
                         "tolerance_drift": draw(st.sampled_from([0.0, 1.0])), "drift_days": 4},
            "commerce": {"order_value": 20.0, "margin": draw(part(0.05, 1))},
            "discount": draw(st.sampled_from([0.9, 1.0])),
        }
    )  # fmt: skip


@settings(deadline=None, derandomize=True, max_examples=40)
@given(worlds())
def test_any_small_world_is_solved_as_by_the_naive_planner(scenario: Scenario) -> None:
    agree(scenario, customers=2, days=9)


@pytest.mark.parametrize("name", ["Opposites-v0", "Winback-v0", "Drift-v0", "Retail-v0"])
def test_worlds_of_the_canon_are_solved_as_by_the_naive_planner(name: str) -> None:
    agree(SCENARIOS[name], customers=1, days=8)


def three_channels() -> Scenario:
    """81 messages on three channels that everybody opted in to."""
    world = SCENARIOS["Omnichannel-v0"]
    chosen = [channel for channel in world.channels if channel.name in ("push", "messenger", "email")]
    return get(
        {
            "base": "Omnichannel-v0",
            "name": "Three-v0",
            "channels": [{**each.model_dump(), "opt_in": 1.0} for each in chosen],
        }
    )


def seconds(customers: int, days: int, planned: int, dtype: type = np.float64) -> tuple[float, float]:
    """A customer by the naive planner and by this one, CPU time."""
    scenario = three_channels()
    traits = population.draw(scenario, np.full(planned, 5, np.uint64), np.arange(planned), dtype)
    exact = population.draw(scenario, np.full(customers, 5, np.uint64), np.arange(customers), np.float64)
    start = time.process_time()
    expected = [Naive(scenario, customer(exact, number)).value(days) for number in range(customers)]
    between = time.process_time()
    parts = [(batch, mdp.to_host(mdp.optimal_value(batch, days))) for batch in mdp.batches(scenario, traits, tile=16)]
    end = time.process_time()
    found = mdp.together(parts)[:customers]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-11 if dtype is np.float64 else 3e-4)
    return (between - start) / customers, (end - between) / planned


def test_the_costs_that_are_compared_are_of_the_same_answers() -> None:
    naive, ours = seconds(customers=1, days=7, planned=2)
    assert naive > 0
    assert ours > 0


def costs() -> None:
    """Prints what a customer costs by size, and the naive planner beside it."""
    for dtype in (np.float64, np.float32):
        naive, ours = seconds(customers=2, days=364, planned=64, dtype=dtype)
        print(f"364 days, 3 channels, 81 messages: naive {naive:.2f} s a customer, {dtype.__name__} {ours:.3f} s")
    world = SCENARIOS["Omnichannel-v0"]
    sizes = [(count, 17, 11, 364) for count in range(1, 6)] + [(3, 9, 6, 364), (3, 33, 21, 364), (3, 17, 11, 1092)]
    for count, fatigues, bonds, days in sizes:
        channels = [{**each.model_dump(), "opt_in": 1.0} for each in world.channels[:count]]
        ladders = {"fatigue": {"levels": fatigues}, "bond": {"levels": bonds}}
        scenario = get({"base": world.name, "name": "Sized-v0", "channels": channels} | ladders)
        traits = population.draw(scenario, np.full(64, 5, np.uint64), np.arange(64), np.float64)
        start = time.process_time()
        for batch in mdp.batches(scenario, traits):
            mdp.optimal_value(batch, days)
        spent = (time.process_time() - start) / 64
        print(f"{count} channels, {fatigues} x {bonds} levels, {days} days: {1000 * spent:.0f} ms a customer")


if __name__ == "__main__":
    costs()
