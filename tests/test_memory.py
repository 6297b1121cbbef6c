"""A memory widens what is seen by what has changed, customer by customer, wherever they stand and whoever leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from agents import agent_class
from agents.agent import AgentError, Unwatched
from agents.memory import Memory, RememberingEnv
from agents.rules import random_legal
from blockenv import Cohort, Scenario, observation, play
from blockenv.envs import PopulationEnv
from blockenv.scenarios import get
from tests.tiny_agents import tiny

LAGS = (1, 5)
WORLD = get("Style-v0")
COLUMNS = observation.layout(WORLD)
REMEMBERED, HINTS = COLUMNS["tenure"].start, COLUMNS["hints"].start
Seen = NDArray[np.floating[Any]]


def differences(days: list[Seen]) -> Seen:
    """By hand: today against each of the lags, or against the first day; `days` are (D,) each, oldest first."""
    today = [days[-1][:REMEMBERED] - days[max(0, len(days) - 1 - lag)][:REMEMBERED] for lag in LAGS]
    return np.concatenate(today)


def population(rows: int = 16, horizon: int = 12) -> PopulationEnv:
    fleeting = WORLD.response.model_copy(update={"churn_probability": 0.05})
    world = WORLD.model_copy(update={"observe": "full", "horizon": horizon, "response": fleeting})
    return PopulationEnv(rows, world, autoreset_mode=AutoresetMode.SAME_STEP, stagger=True)


def test_a_row_s_past_is_its_customer_s_past() -> None:
    plain, env = population(), RememberingEnv(population(), Memory(WORLD, LAGS))
    seen, _ = plain.reset(seed=3)
    wide, _ = env.reset(seed=3)
    assert env.single_observation_space.shape == wide.shape[1:] == (seen.shape[1] + 2 * REMEMBERED,)
    past = [[row] for row in seen]
    rng = np.random.default_rng(0)
    endings = 0
    for _ in range(60):
        action = rng.integers(7, size=16)
        seen, reward, terminated, truncated, info = plain.step(action)
        wide, *rest, wide_info = env.step(action)
        assert env.observation_space.contains(wide)
        np.testing.assert_array_equal([reward, terminated, truncated], rest)
        np.testing.assert_array_equal(np.delete(wide, slice(HINTS, HINTS + 2 * REMEMBERED), axis=1), seen)
        for row in range(16):
            if terminated[row] or truncated[row]:
                endings += 1
                days, final = [*past[row], info["final_obs"][row]], wide_info["final_obs"][row]
                np.testing.assert_allclose(final[HINTS : HINTS + 2 * REMEMBERED], differences(days), atol=1e-5)
                np.testing.assert_array_equal(np.delete(final, slice(HINTS, HINTS + 2 * REMEMBERED)), days[-1])
                past[row] = []
            past[row].append(seen[row])
            found = wide[row, HINTS : HINTS + 2 * REMEMBERED]
            np.testing.assert_allclose(found, differences(past[row]), atol=1e-5)
    assert endings > 50


def test_customers_keep_their_past_when_rows_move_go_and_come() -> None:
    memory, rng = Memory(WORLD, LAGS), np.random.default_rng(1)
    width = observation.bounds(WORLD)[0].shape[0]
    past: dict[int, list[Seen]] = {}
    for day in range(40):
        customers = rng.permutation(20)[: 20 if day < 3 else rng.integers(8, 20)].astype(np.int64) + 10**12
        # Who was away one morning is a stranger the next: nobody is remembered whose days are not all known.
        past = {customer: days for customer, days in past.items() if customer in customers}
        seen = rng.random((len(customers), width)).astype(np.float32) + 0.1
        memory.recognise(customers)
        wide = memory.act_on(seen)
        for row, customer in enumerate(customers.tolist()):
            past.setdefault(customer, []).append(seen[row])
            found = wide[row, HINTS : HINTS + 2 * REMEMBERED]
            np.testing.assert_allclose(found, differences(past[customer]), atol=1e-5)
    assert max(map(len, past.values())) > max(LAGS)


def test_nobody_is_remembered_without_being_recognised_or_on_the_first_day() -> None:
    memory, numbers = Memory(WORLD, LAGS), np.arange(6)
    rng = np.random.default_rng(2)
    seen = [rng.random((6, observation.bounds(WORLD)[0].shape[0])).astype(np.float32) + 0.1 for _ in range(4)]
    for each in seen[:2]:
        memory.recognise(numbers)
        wide = memory.act_on(each)
    assert (wide[:, HINTS : HINTS + 2 * REMEMBERED] != 0).all()
    assert (memory.act_on(seen[2])[:, HINTS : HINTS + 2 * REMEMBERED] == 0).all()
    memory.recognise(numbers)
    assert (memory.act_on(seen[3][:4])[:, HINTS : HINTS + 2 * REMEMBERED] == 0).all()
    again = seen[3].copy()
    again[:3, COLUMNS["tenure"]] = 0.0
    memory.recognise(numbers)
    since = memory.act_on(again)[:, HINTS : HINTS + 2 * REMEMBERED]
    assert (since[:3] == 0).all()
    assert (since[3:] != 0).all()


def test_a_restored_memory_goes_on_as_if_nothing_had_happened() -> None:
    actions = np.random.default_rng(0).integers(7, size=(30, 16))
    env, other = (RememberingEnv(population(), Memory(WORLD, LAGS)) for _ in range(2))
    env.reset(seed=3)
    other.reset(seed=4)
    for action in actions[:14]:
        env.step(action)
    kept = env.snapshot()
    other.restore(kept)
    for action in actions[14:]:
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])
    longer = RememberingEnv(population(), Memory(WORLD, (1, 6)))
    longer.reset(seed=3)
    with pytest.raises(ValueError, match=r"past: shape \(6, 16, \d+\), expected \(7, 16"):
        longer.restore(kept)


def served(agent: Any, world: Scenario, customers: int, days: int) -> list[dict[int, int]]:
    """What each customer was sent, day by day, when customers stand in another order every morning."""
    rng = np.random.default_rng(9)
    cohort = Cohort(world, np.full(customers, 7, np.uint64), np.arange(customers))
    sent = []
    for _ in range(days):
        order = rng.permutation(customers)
        seen, mask = cohort.observe()[order], cohort.legal_actions()[order]
        agent.recognise(cohort.customer[order])
        action = np.zeros(customers, np.int64)
        action[order] = agent.act(seen, mask, np.random.default_rng(0))
        sent.append(dict(enumerate(action.tolist())))
        cohort.step(random_legal(cohort.legal_actions(), rng))
    return sent


@pytest.fixture(scope="module")
def agent() -> Any:
    made = agent_class("ppo_memory")(WORLD, tiny("ppo_memory", sample=False, silence=1 / 7, lags=LAGS))
    made.fit(3, Unwatched())
    with th.no_grad():
        # So that what it sees, and not a constant, decides: it has learned next to nothing.
        made.policy.action_net.scores.weight.normal_()
    return made


def test_an_agent_remembers_and_does_not_mind_where_a_customer_stands(agent: Any) -> None:
    class InOrder:
        """The same agent, told of everybody in the same row every morning."""

        def recognise(self, customers: NDArray[np.int64]) -> None:
            self.order = np.argsort(customers)
            agent.recognise(customers[self.order])

        def act(self, seen: Seen, mask: NDArray[np.bool_], rng: Any) -> NDArray[np.int64]:
            chosen = np.zeros(len(seen), np.int64)
            chosen[self.order] = agent.act(seen[self.order], mask[self.order], rng)
            return chosen

    assert served(agent, WORLD, 60, 25) == served(InOrder(), WORLD, 60, 25)


def test_what_is_remembered_counts(agent: Any) -> None:
    class Forgetful:
        def act(self, *morning: Any) -> Any:
            return agent.act(*morning)

    one, two = (play(each, WORLD, customers=200, days=40) for each in (agent, Forgetful()))
    assert (one.messages != two.messages).mean() > 0.2


@pytest.mark.parametrize("compact", [False, True])
def test_playing_twice_or_in_other_batches_gives_the_same(agent: Any, compact: bool) -> None:
    fleeting = WORLD.model_copy(update={"response": WORLD.response.model_copy(update={"churn_probability": 0.02})})
    first = play(agent, fleeting, customers=80, days=90, compact=False)
    assert first.days.min() < 28 < first.days.max()
    again = play(agent, fleeting, customers=80, days=90, batch=33, compact=compact)
    np.testing.assert_array_equal(first.messages, again.messages)
    np.testing.assert_allclose(first.value, again.value)


def test_the_critic_is_not_shown_what_is_remembered(agent: Any) -> None:
    policy = agent.policy
    assert policy.mlp_extractor.policy_net[0].in_features == agent.width == HINTS + 2 * REMEMBERED + 4
    hidden = observation.bounds(WORLD.model_copy(update={"observe": "full"}))[0].shape[0] - HINTS
    assert policy.mlp_extractor.value_net[0].in_features == hidden


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_memory_is_a_setting_of_every_deep_agent(name: str, tmp_path: Path) -> None:
    made = agent_class(name)(WORLD, tiny(name, lags=[3]))
    made.fit(1, Unwatched())
    made.save(tmp_path)
    loaded = type(made).load(tmp_path, WORLD)
    one, two = (play(each, WORLD, customers=40, days=20) for each in (made, loaded))
    np.testing.assert_array_equal(one.value, two.value)
    with pytest.raises(AgentError, match="expected an agent 'RememberingPPOAgent'"):
        agent_class("ppo_memory").load(tmp_path, WORLD)
