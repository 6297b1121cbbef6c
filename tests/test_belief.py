"""A belief is Bayes' rule on the firm's own log, and acting on it beats not knowing."""

import functools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.agent import AgentError, Unwatched
from agents.belief import Belief, BeliefSettings, default_count
from agents.particles import Noticed, Particles, noticed
from agents.rules import Silence
from blockenv import dynamics, history, mdp, play, population
from blockenv.cohort import Cohort
from blockenv.compiled import library
from blockenv.scenarios import Scenario, changed, get

FREQUENCY = get("Frequency-v0")


@functools.cache
def believer(world: str = "Frequency-v0", prototypes: int = 40, rule: str = "expected") -> Belief:
    agent = Belief(get(world), BeliefSettings.model_validate({"prototypes": prototypes, "particles": 32, "rule": rule}))
    agent.fit(1, Unwatched())
    return agent


def particles(world: Scenario, agent: Belief, cohort: Cohort, count: int = 64, spared: float = 1.0) -> Particles:
    assert agent.prototypes is not None
    hints = np.asarray(cohort.traits.hints)
    joined, opted_in = cohort.traits.joined.copy(), cohort.log.known_reachable
    return Particles(
        world, agent.prototypes, count, spared, hints, joined, opted_in, np.random.default_rng(0)
    )  # fmt: skip


def quiet(size: int, channels: int, **events: NDArray[np.bool_]) -> Noticed:
    """A day on which nothing was noticed but `events`."""
    nothing, known = np.zeros(size, bool), np.ones((channels, size), bool)
    day = {"opened": nothing, "ordered": nothing, "prompted": nothing, "order_value": np.zeros(size),
           "reachable_before": known, "reachable_after": known}  # fmt: skip
    return Noticed(**(day | events))


def test_covariates_are_weighed_by_bayes_rule() -> None:
    """What share of the customers with such covariates is in each segment, by counting."""
    world = get("Frequency-v0")
    traits = population.draw(world, np.full(200_000, 9, np.uint64), np.arange(200_000))
    likelihood = population.hint_likelihoods(world, traits.hints)
    posterior = likelihood * [each.weight for each in world.segments]
    posterior /= posterior.sum(axis=1, keepdims=True)
    for each in range(len(world.segments)):
        for low in (0.1, 0.4, 0.7):
            rows = (posterior[:, each] > low) & (posterior[:, each] < low + 0.2)
            share, error = (traits.segment[rows] == each).mean(), 0.5 / rows.sum() ** 0.5
            assert abs(share - posterior[rows, each].mean()) < 4 * error


def test_the_evidence_of_a_day_is_its_likelihood() -> None:
    """On the first day states are certain, so the likelihood of all that can be noticed can be written down."""
    agent = believer()
    assert agent.prototypes is not None
    cohort = Cohort(FREQUENCY, np.full(6, 3, np.uint64), np.arange(6))
    rules, traits = agent.prototypes.rules, agent.prototypes.traits
    opened = np.array([True, False, True, False, False, True])
    ordered = np.array([False, False, True, False, True, True])
    prompted = np.array([False, False, True, False, False, False])
    lost = np.array([False, False, False, True, False, False])
    seen = quiet(6, 1, opened=opened, ordered=ordered, prompted=prompted, reachable_after=~lost[None])
    believed = particles(FREQUENCY, agent, cohort)
    believed.learn(np.zeros(6, np.int64), np.ones(6, np.int64), seen)

    everybody = np.arange(len(traits.segment))
    state = population.newcomers(FREQUENCY, traits)
    now = dynamics.today(rules, traits, np.zeros(len(everybody), np.int64))
    mail = dynamics.message(rules, traits, np.ones(len(everybody), np.int64), everybody)
    fatigue = dynamics.fatigue_of(rules, traits, state.fatigue)
    bond = dynamics.bond_of(rules, traits, state.bond)
    open_p = dynamics.open_probability(rules, fatigue, bond, traits.ideal_load, mail)
    prompted_p = dynamics.prompted_probability(rules, fatigue, bond, traits.ideal_load, mail)
    organic_p = dynamics.organic_probability(rules, traits, now, bond)
    loaded = dynamics.fatigue_after(rules, fatigue, mail.load)
    block_p = dynamics.block_probability(rules, traits, now, loaded, bond, traits.ideal_load, mail)
    block_p = dynamics.union(traits.background_block[0], block_p)
    over = dynamics.overload_after(loaded, traits.ideal_load, 1.0)
    for row in range(6):
        chance = open_p if opened[row] else 1 - open_p
        chance = chance * (prompted_p if prompted[row] else (organic_p if ordered[row] else 1 - organic_p))
        if opened[row] and not prompted[row]:
            chance = chance * (1 - prompted_p)
        chance = chance * (block_p if lost[row] else 1 - block_p)
        chance = chance * (1 - dynamics.churn_probability(rules, traits, bond, 1.0, over))
        expected = np.log(chance)[believed.prototype[row]]
        np.testing.assert_allclose(believed.evidence[row], expected - expected.max(), atol=2e-3)


def test_hidden_blocks_are_believed_in_where_messages_stay_unanswered() -> None:
    world = get("Silent-v0")
    agent = believer("Silent-v0", 3)
    cohort = Cohort(world, np.full(2, 3, np.uint64), np.arange(2))
    believed = particles(world, agent, cohort, 16)
    believed.open[:] = 0.6
    assert agent.prototypes is not None
    action = int(agent.prototypes.actions[2][0])
    day = quiet(2, len(world.channels), opened=np.array([True, False]))
    believed.learn(np.zeros(2, np.int64), np.full(2, action), day)
    assert (believed.open[0, :, 2] > 0.9).all(), "who opens can be reached"
    assert (believed.open[1, :, 2] < 0.55).all()
    assert (np.median(believed.open, axis=1)[:, [0, 1, 3, 4]] > 0.55).all(), "but for blocks that spill over"


def test_a_failed_send_discloses_the_block_and_a_delivery_denies_it() -> None:
    world = get("Timing-v0")
    agent = believer("Timing-v0", 8)
    cohort = Cohort(world, np.full(2, 3, np.uint64), np.arange(2))
    believed = particles(world, agent, cohort, 8)
    believed.open[:] = 0.5
    after = np.array([[True, False]])
    believed.learn(np.zeros(2, np.int64), np.ones(2, np.int64), quiet(2, 1, reachable_after=after))
    assert (believed.open[0] > 0.9).all()
    assert (believed.open[1] == 0.0).all()
    assert (believed.fatigue[1] == believed.fatigue[1].min()).all(), "nothing arrived"


def test_evidence_leaves_weight_to_some() -> None:
    agent = believer()
    cohort = Cohort(FREQUENCY, np.full(50, 3, np.uint64), np.arange(50))
    believed = particles(FREQUENCY, agent, cohort, 32, spared=12.0)
    rng = np.random.default_rng(4)
    np.testing.assert_allclose(believed.weights(), 1 / 32)
    believed.evidence[:] = -rng.exponential(1.0, believed.evidence.shape)
    believed.evidence -= believed.evidence.max(axis=1, keepdims=True)
    exact = np.exp(believed.evidence) / np.exp(believed.evidence).sum(axis=1, keepdims=True)
    enough = 1 / (exact**2).sum(axis=1) >= 12
    assert enough.any()
    np.testing.assert_allclose(believed.weights()[enough], exact[enough], rtol=1e-5)
    believed.evidence *= 4
    exact = np.exp(believed.evidence) / np.exp(believed.evidence).sum(axis=1, keepdims=True)
    spared = 1 / (believed.weights() ** 2).sum(axis=1)[1 / (exact**2).sum(axis=1) < 12]
    assert len(spared) > 20
    assert ((spared > 11.999) & (spared < 13)).all()


def test_the_log_says_what_happened() -> None:
    world = get("Omnichannel-v0")
    cohort, rng = (
        Cohort(world, np.full(3000, 3, np.uint64), np.arange(3000), compiled_code=False),
        np.random.default_rng(0),
    )
    decay, met = history.ledger(world).long_decay, np.zeros(3, int)
    for _ in range(20):
        before = cohort.log
        outcome = cohort.step(rng.integers(0, world.actions, 3000))
        seen = noticed(before, cohort.log, decay)
        np.testing.assert_array_equal(seen.opened, outcome.opened)
        np.testing.assert_array_equal(seen.ordered, outcome.ordered)
        np.testing.assert_array_equal(seen.prompted, outcome.prompted)
        np.testing.assert_allclose(seen.order_value, outcome.order_value, rtol=1e-4, atol=1e-2)
        met += [outcome.opened.sum(), outcome.ordered.sum(), outcome.prompted.sum()]
    assert (met > 20).all()


@pytest.mark.skipif(library.compiler() is None, reason="no C compiler on this machine")
def test_it_learns_the_same_where_days_are_compiled() -> None:
    """Compiled days are written over the ones before; orders through messages were lost when the log was not copied."""
    agent, world = believer("Style-v0", 12), get("Style-v0")
    learned = []
    for compiled in (False, True):
        cohort = Cohort(world, np.full(400, 3, np.uint64), np.arange(400), compiled_code=compiled)
        rng, prompted = np.random.default_rng(0), 0
        for day in range(30):
            agent.meet(cohort)
            agent.act(cohort.observe(), cohort.legal_actions(), rng)
            action = rng.integers(0, world.actions, 400) * (day % 2) * cohort.log.known_reachable.all(axis=0)
            agent._action = action
            prompted += int(cohort.step(action).prompted.sum())
        agent.meet(cohort)
        assert prompted > 3
        assert agent._believed is not None
        learned.append(agent._believed.evidence)
    np.testing.assert_array_equal(*learned)


def test_gains_are_those_of_the_planner() -> None:
    world = get("Style-v0")
    agent = believer("Style-v0", 12)
    known = agent.prototypes
    assert known is not None
    batch = mdp.batches(world, known.traits, 12)[0]
    plan = mdp.Plan(batch, world.evaluation_days)
    size, rng = batch.size, np.random.default_rng(1)
    state = population.newcomers(world, known.traits)._replace(
        fatigue=rng.integers(0, 17, size).astype(np.int32), bond=rng.integers(0, 11, size).astype(np.int32),
        reachable=np.array([[True] * size, rng.random(size) < 0.5]),
    )  # fmt: skip
    worth = mdp.action_values([plan], 2, state)
    actions = known.actions[0]
    mine = known.gains[0][0][0][np.arange(size), state.reachable[1].astype(int), state.fatigue, state.bond]
    np.testing.assert_allclose(mine, (worth - worth[:, :1])[:, actions], rtol=2e-3, atol=2e-2)


def test_it_learns_who_buys_often() -> None:
    agent = believer(prototypes=64)
    play(agent, FREQUENCY, 77, 200, days=180, compact=False)
    assert agent._believed is not None
    assert agent.prototypes is not None
    rate = np.log(agent.prototypes.traits.organic_rate)[agent._believed.prototype]
    truth = np.log(population.draw(FREQUENCY, np.full(200, 77, np.uint64), np.arange(200)).organic_rate)
    after = np.corrcoef((agent._believed.weights() * rate).sum(axis=1), truth)[0, 1]
    before = np.corrcoef(rate.mean(axis=1), truth)[0, 1]
    assert after > before + 0.2


@pytest.mark.parametrize("rule", ["expected", "sampled"])
def test_it_beats_silence_without_being_told_who_anybody_is(rule: str) -> None:
    agent = believer(prototypes=64, rule=rule)
    played, quiet = (play(each, FREQUENCY, 77, 300, days=364) for each in (agent, Silence(FREQUENCY)))
    value = played.value - quiet.value
    assert value.mean() > 2 * value.std(ddof=1) / len(value) ** 0.5
    assert agent._believed is not None
    np.testing.assert_allclose(agent._believed.weights().sum(axis=1), 1, rtol=1e-5)


def test_the_rule_is_chosen_on_training_customers(tmp_path: Path) -> None:
    settings = BeliefSettings(prototypes=12, particles=8, trial_customers=40, trial_days=60)
    agent = Belief(FREQUENCY, settings)
    agent.fit(2, Unwatched())
    assert agent.settings.rule == "auto"
    assert agent.chosen.rule in ("expected", "sampled")
    agent.save(tmp_path)
    assert Belief.load(tmp_path, FREQUENCY).chosen == agent.chosen


def test_drift_is_planned_in_stages() -> None:
    known = believer("Drift-v0", 3).prototypes
    assert known is not None
    assert known.stage(0) == 0
    assert known.stage(10**6) == len(known.worths.stages) - 1
    assert len(known.worths.stages) > 2
    # As tolerance shrinks, a message is welcome in fewer states.
    welcome = [sum(float((table > 0).mean()) for kind in stage for table in kind) for stage in known.gains]
    assert welcome == sorted(welcome, reverse=True)
    assert welcome[0] > welcome[-1]


def test_kept_and_read_back_it_acts_the_same(tmp_path: Path) -> None:
    agent = believer("Style-v0", 12)
    agent.save(tmp_path)
    again = Belief.load(tmp_path, get("Style-v0"))
    first, second = (play(each, "Style-v0", 7, 60, days=40).messages for each in (agent, again))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(AgentError, match="worths"):
        Belief.load(tmp_path, get("Omnichannel-v0"))
    (tmp_path / "worths.npz").write_bytes(b"no")
    with pytest.raises(AgentError, match="worths"):
        Belief.load(tmp_path, get("Style-v0"))


def test_it_only_acts_for_customers_whose_first_day_it_has_seen() -> None:
    cohort = Cohort(FREQUENCY, np.full(3, 1, np.uint64), np.arange(3))
    with pytest.raises(AgentError, match="planned for nobody"):
        Belief(FREQUENCY).meet(cohort)
    agent = Belief(FREQUENCY, believer().settings)
    agent.prototypes = believer().prototypes
    with pytest.raises(AgentError, match="plays in"):
        agent.act(cohort.observe(), cohort.legal_actions(), np.random.default_rng(0))
    cohort.step(np.zeros(3, np.int64))
    with pytest.raises(AgentError, match="first day"):
        agent.meet(cohort)


def test_memory_bounds_the_number_of_prototypes() -> None:
    assert default_count(FREQUENCY) > default_count(get("Omnichannel-v0"))
    larger = changed(FREQUENCY, fatigue=changed(FREQUENCY.fatigue, levels=200))
    assert default_count(larger) <= default_count(FREQUENCY)
