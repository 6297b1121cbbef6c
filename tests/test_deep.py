"""What PPO and DQN learn from has the right mean and less noise, and what they act on is the observation alone."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from agents import agent_class
from agents.agent import AgentError, Metrics, Unwatched, training_seed
from agents.algorithms import BatchedDQN, BatchedPPO
from agents.networks import ActionLayout
from agents.policies import FactoredActorCriticPolicy, FactoredDQNPolicy
from agents.rules import random_legal
from agents.vec_env import VecEnvAdapter
from blockenv import Scenario, history, observation
from blockenv.cohort import Cohort
from blockenv.envs import PopulationEnv
from blockenv.scenarios import get
from tests.tiny_agents import known, tiny

BY_BASELINES = {"learner": "stable_baselines3"}
PPO_LEARNERS = pytest.mark.parametrize("learner", ["tensors", "stable_baselines3"])
# Agents by name, as they learn by themselves and as stable-baselines3 does.
LEARNERS = pytest.mark.parametrize(
    ("name", "given"),
    [(name, given) for name in ("ppo", "dqn") for given in ({}, BY_BASELINES)],
    ids=["ppo", "ppo-stable_baselines3", "dqn", "dqn-stable_baselines3"],
)


def make(name: str, world: str | Scenario = "Style-v0", **changes: Any) -> Any:
    return agent_class(name)(get(world), tiny(name, **changes))


@functools.cache
def trained(name: str, world: str = "Style-v0") -> Any:
    agent = make(name, world)
    agent.fit(3, Unwatched())
    return agent


def mornings(world: str, customers: int = 400) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    cohort = Cohort(get(world), np.full(customers, 11, np.uint64), np.arange(customers))
    rng = np.random.default_rng(0)
    for _ in range(10):
        cohort.step(random_legal(cohort.legal_actions(), rng))
    return cohort.observe(), cohort.legal_actions().copy()


def fleeting() -> Scenario:
    """Customers who leave soon, so that leaving makes all the noise there is."""
    world = get("Style-v0")
    return world.model_copy(update={"response": world.response.model_copy(update={"churn_probability": 0.06})})


def population(envs: int, horizon: int = 10) -> PopulationEnv:
    return PopulationEnv(
        num_envs=envs,
        scenario=fleeting(),
        max_episode_steps=horizon,
        autoreset_mode=AutoresetMode.SAME_STEP,
        reward="expected",
        stagger=True,
    )


def layout(scenario: Scenario) -> dict[str, Any]:
    ledger, columns = history.ledger(scenario), observation.layout(scenario)
    return ActionLayout(
        parts=ledger.parts.tolist(),
        channel=[-1, *ledger.channel_of[1:].tolist()],
        open_columns=list(range(columns["reachable"].start, columns["reachable"].stop)),
    ).plain()


def rollout(expected_churn: bool, gae_lambda: float, envs: int = 3000, days: int = 12) -> BatchedPPO:
    """The buffer of a policy that stands still; the same customers with the same luck whatever the targets are."""
    env = VecEnvAdapter(population(envs), reward_scale=0.02)
    model = BatchedPPO(
        FactoredActorCriticPolicy,
        env,
        expected_churn=expected_churn,
        n_steps=days,
        batch_size=envs * days,
        n_epochs=1,
        learning_rate=0.0,
        gamma=0.99,
        gae_lambda=gae_lambda,
        policy_kwargs={"layout": layout(fleeting()), "net_arch": [16], "value_bias": 3.0},
        seed=5,
        device="cpu",
    )
    model.learn(envs * days)
    return model


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9])
def test_expected_churn_has_the_mean_of_sampled_churn_and_less_variance(gae_lambda: float) -> None:
    buffers = [rollout(expected, gae_lambda).rollout_buffer for expected in (True, False)]
    for name in ("actions", "values", "observations", "log_probs"):
        np.testing.assert_array_equal(getattr(buffers[0], name), getattr(buffers[1], name), err_msg=name)
    # After an update the buffer lies flat, row by row of the population.
    expected, sampled = (buffer.returns.reshape(3000, 12).astype(float) for buffer in buffers)
    per_row = (expected - sampled).mean(axis=1)
    error = per_row.std(ddof=1) / np.sqrt(len(per_row))
    assert 0 < error < 0.02
    assert abs(per_row.mean()) < 4 * error
    if gae_lambda == 0.0:
        assert expected.var() < 0.2 * sampled.var()
    else:
        assert expected.var() < 0.7 * sampled.var()


def test_leaving_is_neither_forgotten_nor_counted_twice() -> None:
    """By hand: one day's reward, then the critic's word on tomorrow by the probability of seeing it."""
    model = rollout(True, 0.0, envs=200, days=6)
    env = population(200)
    seen, _ = env.reset(seed=model.seed)
    actions = model.rollout_buffer.actions.reshape(200, 6).astype(np.int64)
    returns = model.rollout_buffer.returns.reshape(200, 6)
    endings = 0
    for day in range(6):
        seen, reward, terminated, truncated, info = env.step(actions[:, day])
        ended = terminated | truncated
        endings += int(ended.sum())
        leaving = info["churn_probability"].copy()
        tomorrow = seen.copy()
        if ended.any():
            leaving[ended] = info["final_info"]["churn_probability"][ended]
            tomorrow[ended] = info["final_obs"][ended]
        with th.no_grad():
            value = model.policy.predict_values(th.as_tensor(tomorrow)).numpy().ravel()
        np.testing.assert_allclose(returns[:, day], 0.02 * reward + 0.99 * (1 - leaving) * value, rtol=1e-4, atol=1e-4)
    assert endings > 50


class Recorder(BaseCallback):
    """Keeps every step's outcomes; the environment is not asked a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[NDArray[np.bool_]] = []

    def _on_step(self) -> bool:
        self.ended.append(self.locals["dones"].copy())
        return True


def test_a_stored_done_is_the_probability_of_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, tomorrows = [], []
    step = Cohort.step

    def noting(self: Cohort, action: NDArray[np.integer[Any]]) -> Any:
        outcome = step(self, action)
        probabilities.append(np.asarray(outcome.churn_probability).copy())
        tomorrows.append(self.observe())
        return outcome

    monkeypatch.setattr(Cohort, "step", noting)
    model = BatchedDQN(
        FactoredDQNPolicy,
        VecEnvAdapter(population(40)),
        expected_churn=True,
        buffer_size=40 * 100,
        batch_size=32,
        learning_starts=400,
        policy_kwargs={"layout": layout(fleeting()), "net_arch": [8]},
        seed=1,
        device="cpu",
    )
    recorder = Recorder()
    model.learn(40 * 30, callback=recorder)
    buffer: Any = model.replay_buffer
    assert np.sum(recorder.ended) > 100, "customers have to leave and to be cut off"
    np.testing.assert_allclose(buffer.dones[:30], np.array(probabilities), rtol=1e-5)
    assert (buffer.dones[:30] > 0).all()
    assert (buffer.dones[:30] < 1).all()
    assert not buffer.timeouts.any(), "the end of an episode is not the end of a customer"
    np.testing.assert_array_equal(buffer.next_observations[:30], np.array(tomorrows))
    sample = buffer.sample(500)
    assert ((sample.dones > 0) & (sample.dones < 1)).all()


@pytest.mark.parametrize("given", [{}, BY_BASELINES, {"interactions": True}], ids=["plain", "sb3", "interactions"])
def test_the_critic_sees_what_is_hidden_and_the_actor_does_not(given: dict[str, Any]) -> None:
    agent = make("ppo", **given)
    agent.fit(3, Unwatched())
    informed = agent.scenario.model_copy(update={"observe": "full"})
    cohort = Cohort(informed, np.full(300, 11, np.uint64), np.arange(300))
    seen = th.as_tensor(cohort.observe())
    assert seen.shape[1] > agent.width
    changed = seen.clone()
    changed[:, agent.width :] = th.rand(300, seen.shape[1] - agent.width)
    policy = agent.policy
    with th.no_grad():
        assert th.equal(policy.get_distribution(seen).logits, policy.get_distribution(changed).logits)
        assert (policy.predict_values(seen) != policy.predict_values(changed)).any(dim=1).float().mean() > 0.9
    # Nor can learning open a way: no gradient reaches the hidden columns, and no weight of the actor is as wide.
    changed.requires_grad_(True)
    policy.get_distribution(changed).logits.sum().backward()
    assert changed.grad is not None
    assert (changed.grad[:, agent.width :] == 0).all()
    assert policy.mlp_extractor.policy_net[0].in_features == agent.width
    assert policy.mlp_extractor.value_net[0].in_features == seen.shape[1] - agent.columns["hints"].start
    np.testing.assert_array_equal(
        agent.act(seen.numpy(), np.ones((300, 7), bool), np.random.default_rng(0)),
        agent.act(seen.numpy()[:, : agent.width], np.ones((300, 7), bool), np.random.default_rng(0)),
    )


@PPO_LEARNERS
def test_an_uninformed_critic_sees_the_log_alone(learner: str) -> None:
    agent = make("ppo", informed_critic=False, learner=learner)
    agent.fit(3, Unwatched())
    assert agent.policy.mlp_extractor.value_net[0].in_features == agent.width


def test_weights_and_emphasis_are_positive_and_cancel_without_balance() -> None:
    agent = make("ppo", balance=0.0)
    informed = agent.scenario.model_copy(update={"observe": "full"})
    seen = Cohort(informed, np.full(300, 11, np.uint64), np.arange(300)).observe()
    weights = agent._weigh(seen)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights * agent._emphasis(seen), 1.0, rtol=1e-5)
    np.testing.assert_allclose(make("ppo", balance=1.0)._emphasis(seen), 1.0)


def test_worth_is_the_same_of_arrays_and_of_tensors() -> None:
    agent = make("ppo")
    informed = agent.scenario.model_copy(update={"observe": "full"})
    seen = Cohort(informed, np.full(300, 11, np.uint64), np.arange(300)).observe()
    of_tensors = agent._worth(th.as_tensor(seen))
    assert isinstance(of_tensors, th.Tensor)
    assert of_tensors.std() > 0.1
    np.testing.assert_allclose(of_tensors.numpy(), agent._worth(seen), rtol=1e-5)


@PPO_LEARNERS
@pytest.mark.parametrize("silence", [0.2, 0.9])
def test_before_learning_a_sender_is_silent_as_often_as_it_is_told(silence: float, learner: str) -> None:
    agent = make("ppo", silence=silence, learning_rate=1e-12, learner=learner)
    agent.fit(0, Unwatched())
    seen, mask = Cohort(get("Style-v0"), np.full(8000, 1, np.uint64), np.arange(8000)), np.ones((8000, 7), bool)
    actions = agent.act(seen.observe(), mask, np.random.default_rng(0))
    assert abs((actions == 0).mean() - silence) < 0.05
    assert np.bincount(actions, minlength=7)[1:].min() > 0.5 * (1 - silence) * 8000 / 6


def test_drawn_actions_have_the_policy_s_probabilities() -> None:
    agent = trained("ppo")
    seen, mask = mornings("Style-v0")
    row = int(np.flatnonzero(mask.all(axis=1))[0])
    many = np.repeat(seen[row : row + 1], 40_000, axis=0)
    with th.no_grad():
        logits: th.Tensor = agent.policy.get_distribution(th.as_tensor(seen[row : row + 1])).logits
    probability = th.softmax(logits, 1).numpy()[0]
    found = np.bincount(agent.act(many, np.repeat(mask[row : row + 1], 40_000, axis=0), np.random.default_rng(2)))
    error = np.sqrt(probability * (1 - probability) / 40_000)
    assert (np.abs(np.pad(found, (0, 7 - len(found))) / 40_000 - probability) < 4 * error + 1e-4).all()


def test_without_drawing_the_likeliest_action_is_taken() -> None:
    agent = make("ppo", sample=False)
    agent.fit(3, Unwatched())
    seen, mask = mornings("Style-v0")
    with th.no_grad():
        likeliest = agent.policy.get_distribution(th.as_tensor(seen)).logits.argmax(1).numpy()
    for seed in (0, 1):
        np.testing.assert_array_equal(agent.act(seen, mask, np.random.default_rng(seed)), likeliest)


def test_dqn_takes_the_legal_action_of_the_largest_value() -> None:
    agent = trained("dqn")
    seen, mask = mornings("Style-v0")
    with th.no_grad():
        values = agent.policy.q_net_target.advantages(th.as_tensor(seen)).numpy()
    expected = np.where(mask, values, -np.inf).argmax(axis=1)
    np.testing.assert_array_equal(agent.act(seen, mask, np.random.default_rng(0)), expected)
    assert not mask.all()


@LEARNERS
def test_training_customers_are_those_of_the_seed(
    name: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: set[int] = set()
    draw = Cohort.__init__

    def noting(self: Cohort, scenario: Scenario, seed: NDArray[np.uint64], *rest: Any, **further: Any) -> None:
        seeds.update(np.unique(seed).tolist())
        draw(self, scenario, seed, *rest, **further)

    monkeypatch.setattr(Cohort, "__init__", noting)
    make(name, steps=64, **given).fit(9, Unwatched())
    assert seeds == {training_seed(9)}


class Watch:
    """Keeps what it hears and exports the model while it can."""

    def __init__(self, agent: Any, path: Path) -> None:
        self.agent, self.path = agent, path
        self.told: list[tuple[int, int, Metrics]] = []

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        self.told.append((steps, total, metrics))
        if metrics:
            self.agent.export(self.path)


@LEARNERS
def test_a_model_in_the_making_can_be_exported_and_watched(name: str, given: dict[str, Any], tmp_path: Path) -> None:
    agent, kind = make(name, **given), BatchedPPO if name == "ppo" else BatchedDQN
    with pytest.raises(AgentError, match="export: nothing is being learned"):
        agent.export(tmp_path / "model.zip")
    watch = Watch(agent, tmp_path / "model.zip")
    agent.fit(3, watch)
    assert watch.told[-1][:2] == (512, 512)
    metrics = [metrics for _, _, metrics in watch.told if metrics]
    assert metrics
    assert all(0 <= each["clv/messages_a_week"] <= 7 for each in metrics)
    assert all(0 <= each["clv/reachable_channels"] <= 2 for each in metrics)
    model = kind.load(tmp_path / "model.zip", device="cpu")
    seen, _ = mornings("Style-v0")
    wide = np.zeros((len(seen), *(model.observation_space.shape or ())), np.float32)
    wide[:, : seen.shape[1]] = seen
    actions, _ = model.predict(wide, deterministic=True)
    assert actions.shape == (400,)


@LEARNERS
def test_a_single_customer_at_a_time_is_enough(name: str, given: dict[str, Any]) -> None:
    agent = make(name, **given, **known(name, {"envs": 1, "steps": 40, "rollout": 4, "warm_up": 8}))
    agent.fit(0, Unwatched())
    seen, mask = mornings("Style-v0")
    assert agent.act(seen, mask, np.random.default_rng(0)).shape == (400,)


@LEARNERS
@pytest.mark.parametrize("changes", [{"factored": False}, {"interactions": True}, {"hidden": [8, 6]}])
def test_other_networks_learn_and_are_kept(
    name: str, given: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    agent = make(name, **given, **changes)
    agent.fit(0, Unwatched())
    agent.save(tmp_path)
    loaded = type(agent).load(tmp_path, agent.scenario)
    seen, mask = mornings("Style-v0")
    expected = agent.act(seen, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(loaded.act(seen, mask, np.random.default_rng(0)), expected)


@LEARNERS
def test_the_message_is_chosen_by_what_is_seen_and_the_customer_valued_by_what_is_hidden(
    name: str, given: dict[str, Any]
) -> None:
    agent = make(name, **given)
    agent.fit(0, Unwatched())
    full = get("Style-v0").model_copy(update={"observe": "full"})
    cohort = Cohort(full, np.full(50, 3, np.uint64), np.arange(50))
    for day in range(30):
        cohort.step(np.full(50, day % 7))
    seen = th.as_tensor(cohort.observe())
    columns = observation.layout(full)
    first = columns["true_fatigue"].start
    other_hidden, other_log = seen.clone(), seen.clone()
    other_hidden[:, first:] = other_hidden[:, first:].flip(0)
    other_log[:, columns["sent"].start : columns["hints"].start] = 0.5

    def chosen(at: th.Tensor) -> th.Tensor:
        if name == "ppo":
            return th.as_tensor(agent.policy.get_distribution(at).logits)
        return th.as_tensor(agent.policy.q_net.advantages(at))

    def valued(at: th.Tensor) -> th.Tensor:
        if name == "ppo":
            return th.as_tensor(agent.policy.predict_values(at))
        return th.as_tensor(agent.policy.q_net(at)[:, 0] - agent.policy.q_net.advantages(at)[:, 0])

    with th.no_grad():
        assert th.equal(chosen(seen), chosen(other_hidden))
        assert not th.equal(chosen(seen), chosen(other_log))
        th.testing.assert_close(valued(seen), valued(other_log), atol=1e-5, rtol=0)
        assert not th.allclose(valued(seen), valued(other_hidden), atol=1e-5)
