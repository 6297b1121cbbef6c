"""Tuned caps are the best of what they tried, and keep to their gap."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.agent import AgentError, Unwatched, parsed, training_seed
from agents.caps import GAPS, CapSettings, FrequencyCap, RecencyFrequencyMonetary
from agents.lives import Lives, lives_for
from agents.rotation import FOREVER, Cap, Caps, TuningSettings
from agents.rules import Silence
from blockenv import Scenario, play
from blockenv.cohort import Cohort
from blockenv.scenarios import get

RNG = np.random.default_rng(0)
SMALL = {"customers": 48, "days": 60}


def value(rule: Any) -> float:
    """Mean value on the customers the rule is tuned on."""
    return float(lives_for(rule, 0).values([rule])[0].mean())


def cap(world: str, **settings: Any) -> FrequencyCap:
    return FrequencyCap(get(world), parsed(CapSettings, SMALL | settings, "cap"))


def sends(agent: Any, world: str, days: int, customers: int = 300) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What an agent chose for the living (days, N), and what was legal (days, N, A)."""
    cohort = Cohort(get(world), np.full(customers, 9, np.uint64), np.arange(customers))
    actions, masks = [], []
    for _ in range(days):
        masks.append(cohort.legal_actions().copy())
        chosen = agent.act(cohort.observe(), masks[-1], RNG)
        actions.append(chosen * cohort.state.alive)
        cohort.step(chosen)
    return np.array(actions), np.array(masks)


@pytest.mark.parametrize("gap", [1, 2, 3, 7, 28])
def test_messages_keep_the_gap_and_come_as_soon_as_it_has_passed(gap: int) -> None:
    actions, _ = sends(cap("Frequency-v0", gap=gap, messages=[1]), "Frequency-v0", 60)
    assert (actions[0] == 1).all()
    checked = 0
    for customer in actions.T:
        days = np.flatnonzero(customer)
        # Whoever blocks is not written to again, so the log of each ends with her block.
        np.testing.assert_array_equal(days, np.arange(len(days)) * gap)
        checked += len(days)
    assert checked > 500


def test_a_gap_nobody_lives_to_see_is_silence() -> None:
    agent = cap("Frequency-v0", messages=[1])
    assert agent.gap == FOREVER
    assert sends(agent, "Frequency-v0", 40)[0].sum() == 0
    assert sends(cap("Frequency-v0", gap=1), "Frequency-v0", 5)[0].sum() == 0, "no messages, none sent"


def test_rotation_uses_the_channel_used_least_and_skips_closed_ones() -> None:
    messages = [1, 28, 55, 82, 109]
    agent = cap("Omnichannel-v0", gap=1, messages=messages)
    actions, masks = sends(agent, "Omnichannel-v0", 10, 1000)
    closed = 0
    for today, mask in zip(actions, masks, strict=True):
        legal = mask[:, messages]
        wrote = np.flatnonzero(today)
        used = np.array([messages.index(action) for action in today[wrote]])
        assert legal[wrote, used].all()
        assert (today[~legal.any(axis=1)] == 0).all()
        closed += (~legal).sum()
    assert closed > 1000
    assert (actions[0, masks[0][:, messages].any(axis=1)] > 0).all(), "a gap of one day sends where anything is open"
    always_open = masks[:, :, messages].all(axis=(0, 2)) & (actions > 0).all(axis=0)
    assert always_open.sum() > 3
    first = actions[:, always_open]
    for customer in first.T:
        np.testing.assert_array_equal(np.sort(customer[:5]), messages)
        np.testing.assert_array_equal(customer[5:], customer[:5])


def test_rotation_is_least_recent_load_first() -> None:
    agent = cap("Style-v0", gap=1, messages=[2, 5])
    columns = agent._columns
    seen = np.zeros((4, columns["hints"].stop))
    seen[:, columns["recency"].start] = 0.1
    seen[:, columns["recent"]] = [[0.2, 0.1], [0.1, 0.2], [0.1, 0.1], [0.1, 0.2]]
    mask = np.ones((4, 7), bool)
    mask[3, 1:4] = False
    np.testing.assert_array_equal(agent.act(seen, mask, RNG), [5, 2, 2, 5])


OMNICHANNEL = get("Omnichannel-v0")
CAPS = st.lists(st.tuples(st.lists(st.integers(1, OMNICHANNEL.actions - 1), max_size=4), st.integers(1, 9)), min_size=1)


@settings(max_examples=60, deadline=None)
@given(CAPS, st.integers(0, 30), st.integers(0, 99))
def test_everybody_gets_what_a_slow_reading_of_the_own_cap_says(caps: list[Cap], customers: int, seed: int) -> None:
    rule, rng = Silence(OMNICHANNEL), np.random.default_rng(seed)
    columns, channel_of = rule._columns, rule._rules.channel_of
    seen = rng.random((customers, columns["hints"].stop)).astype(np.float32)
    waited = rng.integers(0, 12, customers)
    seen[:, columns["recency"].start] = 1 / (1 + waited / 7)
    seen[:, columns["recent"]] = rng.integers(0, 3, (customers, 5)) / 4  # often the same
    mask = rng.random((customers, OMNICHANNEL.actions)) < 0.5
    mask[:, 0] = True
    own = rng.integers(0, len(caps), customers)
    expected = []
    for row, (messages, gap) in enumerate(caps[each] for each in own):
        legal = [each for each in messages if mask[row, each]] if waited[row] >= gap - 1 else []
        used = [seen[row, columns["recent"]][channel_of[each]] for each in legal]
        expected.append(legal[used.index(min(used))] if legal else 0)
    np.testing.assert_array_equal(Caps(rule, caps).next_messages(own, seen, mask), expected)


def test_the_tuned_gap_is_the_best_of_all_that_were_tried() -> None:
    tried: dict[tuple[float, float], None] = {}

    class Kept:
        def advance(self, steps: int, total: int, metrics: Any) -> None:
            tried[(metrics["tuning/value"], metrics["tuning/gap"])] = None

    agent = cap("Frequency-v0", customers=128, days=90)
    agent.fit(0, Kept())
    assert agent.messages == [1]
    assert agent.gap in GAPS
    others = []
    for gap in (*GAPS, FOREVER):
        other = cap("Frequency-v0", customers=128, days=90, messages=[1])
        other.gap = gap
        others.append(other)
    values = dict(zip((*GAPS, FOREVER), lives_for(agent, 0).values(others).mean(axis=1), strict=True))
    assert tried
    assert max(value for value, _ in tried) == values[agent.gap]
    searched = [*GAPS[::2], FOREVER]
    assert all(values[gap] <= values[agent.gap] for gap in searched)
    one_alone = play(agent, agent.scenario, training_seed(0, 2), 128, days=90)
    assert one_alone.value.mean() == pytest.approx(values[agent.gap], rel=1e-12)


def won_back() -> Scenario:
    """Customers who opt in to little, block much, come back to channels, and soon leave for good."""
    scene = get("Winback-v0")
    channels = [each.model_copy(update={"opt_in": 0.5, "block_probability": 0.2}) for each in scene.channels]
    response = scene.response.model_copy(update={"churn_probability": 0.01})
    return get({"base": "Winback-v0", "channels": channels, "response": response})


def candidates(scene: Scenario) -> tuple[list[FrequencyCap], list[RecencyFrequencyMonetary]]:
    first, second, third = (int(np.flatnonzero(Silence(scene)._rules.channel_of == channel)[1]) for channel in range(3))
    caps, tiers = [], []
    for messages in ([], [first], [second], [first, second], [second, third, first]):
        for gap in (1, 5):
            caps.append(FrequencyCap(scene, CapSettings(messages=messages, gap=gap)))
            tiers.append(RecencyFrequencyMonetary(scene, TuningSettings(messages=messages)))
            tiers[-1].gaps = [FOREVER, 3 * gap, gap]
    return caps, tiers


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("scene", [OMNICHANNEL, won_back()], ids=["Omnichannel-v0", "won back"])
def test_lives_are_worth_what_playing_each_rule_alone_says(scene: Scenario, kind: int) -> None:
    rules: Any = candidates(scene)[kind]
    customers = np.append(np.arange(60), 2**30)
    found = Lives(scene, customers, 2, 130).values(rules)
    alone = [play(each, scene, training_seed(2, 2), customers, days=130, compact=False) for each in rules]
    np.testing.assert_array_equal(found, [each.value for each in alone])
    assert len(np.unique(found, axis=0)) > 6
    assert np.mean([(each.days < 100).mean() for each in alone]) > 0.05, "some are left out on the way"
    if scene is not OMNICHANNEL:
        assert sum(each.blocks.sum() for each in alone) > 50


def test_no_life_is_played_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []

    def spying(*args: Any, **kwargs: Any) -> Any:
        played.append(len(args[3]))
        return play(*args, **kwargs)

    monkeypatch.setattr("agents.lives.play", spying)
    scene, customers = won_back(), np.arange(40)
    cohort = Cohort(scene, np.full(40, training_seed(2, 2), np.uint64), customers)
    opted_in = cohort.traits.opted_in
    (silent, _, first, _, second, _, both, _, *_), _ = candidates(scene)
    lives = Lives(scene, customers, 2, 20)
    values = lives.values([first, first])
    assert sum(played) == 40  # whoever has not opted in lives in silence, once
    values_of_silence = lives.values([silent])[0]
    assert sum(played) == 40 + opted_in[0].sum()
    np.testing.assert_array_equal(values_of_silence[~opted_in[0]], values[0, ~opted_in[0]])
    before = sum(played)
    lives.values([both])
    assert sum(played) - before == opted_in[1].sum(), "with the first channel alone it is the first cap"
    before = sum(played)
    lives.values([second])
    assert sum(played) - before == (opted_in[0] & opted_in[1]).sum()
    before = len(played)
    lives.values([first, second, both, silent])
    assert len(played) == before


def test_tuning_sees_training_customers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def spying(*args: Any, **kwargs: Any) -> Any:
        seeds.append(args[2])
        return play(*args, **kwargs)

    monkeypatch.setattr("agents.lives.play", spying)
    cap("Frequency-v0", customers=8, days=5).fit(3, Unwatched())
    assert set(seeds) == {3 * 64 + 2}


def test_a_gap_that_is_given_is_kept() -> None:
    agent = cap("Style-v0", gap=5, customers=16, days=30)
    agent.fit(0, Unwatched())
    assert agent.gap in (5, FOREVER)
    assert agent.messages or agent.gap == FOREVER
    fixed = cap("Frequency-v0", messages=[1], customers=128, days=90)
    fixed.fit(0, Unwatched())
    assert fixed.messages in ([1], [])


def test_rotating_more_channels_is_kept_only_where_it_is_better() -> None:
    agent = cap("Style-v0", customers=64, days=60)
    agent.fit(0, Unwatched())
    best = value(agent)
    channels = {(message - 1) // 3 for message in agent.messages}
    assert len(channels) == len(agent.messages), "one message a channel"
    for messages in ([agent.messages[0]], agent.messages[::-1]):
        other = cap("Style-v0", customers=64, days=60, messages=messages, gap=agent.gap)
        if messages != agent.messages[::-1] or len(messages) == 1:
            assert value(other) <= best


@pytest.mark.parametrize("message", [0, -1, 7])
@pytest.mark.parametrize("kind", [FrequencyCap, RecencyFrequencyMonetary])
def test_messages_that_do_not_exist(kind: Any, message: int) -> None:
    with pytest.raises(AgentError, match=rf"messages: {message} is not among 1\.\.6 of Style-v0"):
        kind(get("Style-v0"), parsed(kind.Settings, {"messages": [message]}, "here"))


def test_tiers_add_the_marks_of_recency_frequency_and_value() -> None:
    agent = RecencyFrequencyMonetary(get("Style-v0"))
    columns = agent._columns
    seen = np.zeros((5, columns["hints"].stop))
    recency, orders, value = columns["recency"].start + 2, columns["orders"].start, columns["order_value"].start
    long_ago, lately = 1 / (1 + 200 / 30), 1 / (1 + 10 / 30)
    seen[:, recency] = [long_ago, lately, lately, long_ago, lately]
    seen[:, orders] = np.sqrt(np.array([0.5, 0.5, 2.0, 2.0, 2.0]) / 20)
    seen[:, value] = [0.6, 0.4, 0.4, 0.6, 0.6]
    # Three marks are the same tier as two: an average basket of the good says nothing about the long gone.
    np.testing.assert_array_equal(agent.cap_of(seen), [0, 1, 2, 1, 2])


def test_good_customers_hear_at_their_tier_s_gap() -> None:
    agent = RecencyFrequencyMonetary(get("Frequency-v0"), TuningSettings(messages=[1]))
    agent.gaps = [FOREVER, 6, 2]
    columns = agent._columns
    seen = np.zeros((4, columns["hints"].stop))
    seen[:, columns["recency"].start] = 1 / (1 + 3 / 7)  # three nights without, so today is the fourth day
    lately = columns["recency"].start + 2
    seen[1:, lately] = 0.9
    seen[2:, columns["orders"].start] = 0.9
    mask = np.ones((4, 2), bool)
    mask[3, 1] = False
    np.testing.assert_array_equal(agent.act(seen, mask, RNG), [0, 0, 1, 0])


def test_tuned_tiers_are_worth_at_least_the_cap_they_start_from() -> None:
    agent = RecencyFrequencyMonetary(get("Frequency-v0"), TuningSettings(customers=32, days=40))
    agent.fit(0, Unwatched())
    best = value(agent)
    start = cap("Frequency-v0", customers=32, days=40)
    start.fit(0, Unwatched())
    assert best >= value(start)
    for tier in range(agent.TIERS):
        kept = agent.gaps[tier]
        for gap in (1, 7, FOREVER):
            agent.gaps[tier] = gap
            assert tier < agent.TIERS - 1 or value(agent) <= best, "the tier tuned last has nothing better"
        agent.gaps[tier] = kept
