"""Exact values of simple policies: what their tables say, what they earn, and where they lead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from blockenv import dynamics, mdp, population
from blockenv.scenarios import SCENARIOS
from tests.test_mdp import TINY, drawn, playground, several


def test_the_myopic_policy_takes_what_earns_most_today() -> None:
    scenario, batches, state = playground()
    rules, traits = population.rules(scenario, np.float64), drawn(scenario, 12)
    row, day = np.arange(12), np.zeros(12, np.int64)
    now = dynamics.today(rules, traits, day)
    ideal = dynamics.ideal_load(traits, now)
    fatigue = dynamics.fatigue_of(rules, traits, state.fatigue)
    bond = dynamics.bond_of(rules, traits, state.bond)
    earned = np.empty((12, scenario.actions))
    for action in range(scenario.actions):
        mail = dynamics.message(rules, traits, np.full(12, action), row)
        delivered = rules.sends[action] & state.reachable[rules.channel_of[action]]
        earned[:, action] = dynamics.expected_reward(
            rules,
            traits,
            mail,
            dynamics.organic_probability(rules, traits, now, bond),
            dynamics.open_probability(rules, fatigue, bond, ideal, mail) * delivered,
            dynamics.prompted_probability(rules, fatigue, bond, ideal, mail),
        )
    chosen = mdp.together((batch, mdp.at(mdp.myopic()(batch), mdp.cells(batch, state))) for batch in batches)
    np.testing.assert_allclose(earned[row, chosen][state.alive], earned.max(axis=1)[state.alive], rtol=1e-12)
    assert (chosen > 0).any()
    one_day = mdp.together((batch, mdp.at(mdp.optimal_value(batch, 1), mdp.cells(batch, state))) for batch in batches)
    np.testing.assert_allclose(one_day, earned.max(axis=1) * state.alive, rtol=1e-12)


def test_where_days_differ_the_myopic_policy_follows_them() -> None:
    batch = mdp.batches(SCENARIOS["Drift-v0"], drawn(SCENARIOS["Drift-v0"], 6))[0]
    policy = mdp.myopic()(batch)
    assert callable(policy)
    assert (mdp.to_host(policy(0)) != mdp.to_host(policy(360))).any()
    first = mdp.policy_value(batch, policy, 1)
    np.testing.assert_allclose(mdp.to_host(first), mdp.optimal_value(batch, 1), rtol=1e-12)


def test_a_cap_sends_to_the_calm_on_open_channels_only() -> None:
    scenario, batches, _ = playground("Omnichannel-v0", customers=40)
    traits, message = drawn(scenario, 40), 30  # a message on the messenger
    channel = int(population.rules(scenario).channel_of[message])
    step = scenario.fatigue.top / (scenario.fatigue.levels - 1)
    for batch in batches:
        table = np.broadcast_to(mdp.fatigue_cap(message, 2 * step)(batch), batch.shape)
        for number, member in enumerate(batch.members):
            places = np.flatnonzero(batch.channels[number] == channel)
            assert len(places) == traits.opted_in[channel, member]
            is_open = (np.arange(batch.shape[3]) >> places[0]) & 1 == 1 if len(places) else np.zeros(batch.shape[3])
            expected = message * (np.arange(17) <= 2)[:, None, None] * is_open
            np.testing.assert_array_equal(table[number], np.broadcast_to(expected, batch.shape[1:]))


def test_the_width_of_the_action_numbers_does_not_matter() -> None:
    _, batches, _ = playground("Omnichannel-v0", customers=20)
    messages = np.array([0, 3, 30, 60])
    for batch in batches:
        tables = np.random.default_rng(1).choice(messages, (3, *batch.shape))
        wide = mdp.policy_value(batch, lambda day, tables=tables: tables[day], 3, messages)
        narrow = mdp.policy_value(batch, lambda day, tables=tables: tables[day], 3, messages.astype(np.int32))
        np.testing.assert_array_equal(narrow, wide)


def test_caps_by_customer_and_by_segment_are_the_same_where_they_agree() -> None:
    scenario, batches, _ = playground(customers=20)
    segment = drawn(scenario, 20).segment
    messages, thresholds = np.array([3, 22]), np.array([4.0, -1.0])
    for batch in batches:
        by_segment = mdp.segment_caps(messages, thresholds)(batch)
        by_customer = mdp.fatigue_cap(messages[segment], thresholds[segment])(batch)
        np.testing.assert_array_equal(by_segment, by_customer)
        silent = batch.traits.segment == 1  # a threshold below zero
        assert not by_segment[silent].any()
        value = mdp.policy_value(batch, by_segment, 20)
        quiet = mdp.policy_value(batch, mdp.silence()(batch), 20)
        np.testing.assert_allclose(value[silent], quiet[silent], rtol=1e-13)
        for number in np.flatnonzero(~silent)[:1]:
            alone = mdp.policy_value(batch, mdp.fatigue_cap(3, 4.0)(batch), 20)
            np.testing.assert_allclose(value[number], alone[number], rtol=1e-13)


def test_a_mixture_is_a_coin_tossed_every_morning() -> None:
    scenario, batches, _ = playground()
    batch = batches[0]
    rng = np.random.default_rng(5)
    tables = [rng.integers(0, scenario.actions, batch.shape) for _ in range(3)]
    chances = [0.5, 0.3, 0.2]
    value = sum(chance * mdp.policy_value(batch, table, 1) for chance, table in zip(chances, tables, strict=True))
    mixed = list(zip(chances, tables, strict=True))
    np.testing.assert_allclose(mdp.policy_value(batch, mixed, 1), value, rtol=1e-12)
    np.testing.assert_allclose(
        mdp.policy_value(batch, mixed, 9),
        mdp.policy_value(batch, [(0.25, tables[0]), *mixed[1:], (0.25, tables[0])], 9),
        rtol=1e-12,
    )
    course = mdp.occupancy(batch, mixed, 30, mdp.newcomers(scenario, batch))
    discounted = (course.reward * scenario.discount ** np.arange(30)[:, None]).sum(axis=0)
    np.testing.assert_allclose(
        discounted, mdp.at(mdp.policy_value(batch, mixed, 30), mdp.newcomers(scenario, batch)), rtol=1e-12
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_backwards_in_value_is_forwards_in_probability(name: str) -> None:
    scenario = SCENARIOS[name]
    for batch in mdp.batches(scenario, drawn(scenario, 5)):
        plan, start = mdp.Plan(batch, 15), mdp.newcomers(scenario, batch)
        course = mdp.occupancy(batch, lambda day, plan=plan: mdp.optimal_table(plan, day), 15, start)
        discounted = (course.reward * scenario.discount ** np.arange(15)[:, None]).sum(axis=0)
        np.testing.assert_allclose(discounted, mdp.at(plan.value, start), rtol=1e-11)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda batch: mdp.batches(TINY, drawn(TINY, 2), tile=0), "tile: 0"),
        (lambda batch: mdp.Plan(batch, 0), "days: 0"),
        (lambda batch: mdp.Plan(batch, 4).later(4), "day: 4, expected 0..3"),
        (lambda batch: mdp.fatigue_cap(0, 1.0)(batch), "message: 0..0, expected 1..4"),
        (lambda batch: mdp.fatigue_cap(5, 1.0)(batch), "message: 5..5, expected 1..4"),
        (lambda batch: mdp.policy_value(batch, np.full((1, 1, 1, 1), 9), 2), "policy: actions 9..9, expected 0..4"),
        (lambda batch: mdp.policy_value(batch, lambda day: np.full((1, 1, 1, 1), 2), 2, np.array([1])), "actions: "),
    ],
)
def test_mistakes_are_named(wrong: Callable[[mdp.Batch], Any], message: str) -> None:
    batch = mdp.batches(TINY, several(drawn(TINY, 200)))[-1]
    with pytest.raises(ValueError, match=message):
        wrong(batch)
