"""The batched learners store what the originals store, write only where they may and find a known answer."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from agents.algorithms import BatchedDQN, BatchedPPO
from agents.networks import ActionLayout
from agents.policies import FactoredActorCriticPolicy, FactoredDQNPolicy
from agents.vec_env import VecEnvAdapter

CHANNELS, STYLES = 3, 4
MESSAGES = list(itertools.product(range(CHANNELS), range(STYLES)))
PARTS = [[0.0] * (CHANNELS + STYLES)]
PARTS += [
    [float(part in (channel, CHANNELS + style)) for part in range(CHANNELS + STYLES)] for channel, style in MESSAGES
]
LAYOUT = ActionLayout(PARTS, [-1] + [channel for channel, _ in MESSAGES], open_columns=[0, 1, 2])


class Letterbox(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Each row is one customer for one day, who shows which channels are open and which style she likes.

    A liked style pays 1, any other costs 1, a message costs 0.1, 0.4 or 0.7 by channel, silence is free;
    writing through a closed channel raises. Best is the liked style by the cheapest open channel.
    """

    def __init__(self, num_envs: int = 64) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(0.0, 1.0, (CHANNELS + STYLES,), np.float32)
        self.single_action_space = gym.spaces.Discrete(1 + len(MESSAGES))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observations = np.zeros((num_envs, CHANNELS + STYLES), np.float32)

    def _arrive(self) -> NDArray[np.float32]:
        open_channels = self.np_random.random((self.num_envs, CHANNELS)) < 0.6
        liked = np.eye(STYLES)[self.np_random.integers(STYLES, size=self.num_envs)]
        self.observations = np.concatenate([open_channels, liked], 1).astype(np.float32)
        return self.observations.copy()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self._arrive(), {}

    def step(self, actions: NDArray[np.int64]) -> Any:
        before, done = self.observations, np.ones(self.num_envs, bool)
        rewards = pay(before, actions)
        return self._arrive(), rewards, done, ~done, {"final_obs": before, "_final_obs": done}


def pay(observations: NDArray[np.float32], actions: NDArray[np.int64]) -> NDArray[np.float64]:
    channel, style = np.divmod(actions - 1, STYLES)
    rows = np.arange(len(actions))
    writes = actions > 0
    if (writes & (observations[rows, channel] == 0)).any():
        raise AssertionError("wrote through a closed channel")
    likes = observations[rows, CHANNELS + style] == 1
    return np.where(writes, np.where(likes, 1.0, -1.0) - 0.1 - 0.3 * channel, 0.0)


def best(observations: NDArray[np.float32]) -> NDArray[np.int64]:
    channel, style = observations[:, :CHANNELS].argmax(1), observations[:, CHANNELS:].argmax(1)
    return np.where(observations[:, :CHANNELS].any(1), 1 + channel * STYLES + style, 0)


def cart_pole() -> gym.Env[Any, Any]:
    return Monitor(gym.make("CartPole-v1", max_episode_steps=14))


def adapted(count: int = 5) -> VecEnv:
    return VecEnvAdapter(SyncVectorEnv([cart_pole] * count, autoreset_mode=AutoresetMode.SAME_STEP))


def dummy(count: int = 5) -> VecEnv:
    return DummyVecEnv([cart_pole] * count)


def ppo(env: VecEnv | None = None, **kwargs: Any) -> BatchedPPO:
    settings = {"n_steps": 8, "batch_size": 512, "n_epochs": 4, "learning_rate": 1e-2, "seed": 0}
    settings |= {"gamma": 0.9997, "ent_coef": 0.02}
    return BatchedPPO(
        FactoredActorCriticPolicy,
        env or VecEnvAdapter(Letterbox()),
        policy_kwargs={"layout": LAYOUT.plain()},
        device="cpu",
        **(settings | kwargs),
    )


def dqn(env: VecEnv | None = None, **kwargs: Any) -> BatchedDQN:
    settings = {"learning_rate": 1e-2, "batch_size": 512, "buffer_size": 20_000, "learning_starts": 512}
    settings |= {"gradient_steps": 2, "target_update_interval": 640, "exploration_fraction": 0.5, "seed": 0}
    return BatchedDQN(
        FactoredDQNPolicy,
        env or VecEnvAdapter(Letterbox()),
        policy_kwargs={"layout": LAYOUT.plain(), "net_arch": [32]},
        device="cpu",
        **(settings | kwargs),
    )


@pytest.mark.parametrize(
    ("batched_env", "reference_env"),
    [
        (adapted, dummy),
        (adapted, adapted),
        (dummy, dummy),
        (lambda: VecNormalize(adapted()), lambda: VecNormalize(dummy())),
    ],
)
def test_rollouts_equal_those_of_the_original(
    batched_env: Callable[[], VecEnv], reference_env: Callable[[], VecEnv]
) -> None:
    models = []
    for algorithm, env in ((BatchedPPO, batched_env()), (PPO, reference_env())):
        model = algorithm("MlpPolicy", env, n_steps=64, batch_size=320, n_epochs=1, seed=3, device="cpu")
        model.learn(320)
        models.append(model)
    batched, reference = (model.rollout_buffer for model in models)
    for name in ("observations", "actions", "episode_starts"):
        np.testing.assert_array_equal(getattr(batched, name), getattr(reference, name), err_msg=name)
    for name in ("rewards", "values", "log_probs", "advantages", "returns"):
        np.testing.assert_allclose(getattr(batched, name), getattr(reference, name), rtol=1e-5, atol=1e-5, err_msg=name)
    episodes = [[(episode["r"], episode["l"]) for episode in model.ep_info_buffer or []] for model in models]
    assert episodes[0] == episodes[1]
    cut_off = sum(length == 14 for _, length in episodes[0])
    assert 3 < cut_off < len(episodes[0]) - 3, "both kinds of ending have to be seen"
    assert models[0].num_timesteps == models[1].num_timesteps == 320
    np.testing.assert_array_equal(models[0]._last_episode_starts, models[1]._last_episode_starts)


class ReferenceBuffer(BaseCallback):
    """Lets the original store the same steps in a buffer of its own."""

    def __init__(self, buffer: ReplayBuffer) -> None:
        super().__init__()
        self.buffer = buffer

    def _on_step(self) -> bool:
        seen, last_obs = self.locals, self.model._last_obs
        steps = (seen["buffer_actions"], seen["new_obs"], seen["rewards"], seen["dones"], seen["infos"])
        DQN._store_transition(self.model, self.buffer, *steps)  # type: ignore[arg-type]
        self.model._last_obs = last_obs
        return True


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("env", [adapted, dummy])
def test_replay_buffer_equals_that_of_the_original(env: Callable[[], VecEnv], n_steps: int) -> None:
    model = BatchedDQN(
        "MlpPolicy",
        env(),
        n_steps=n_steps,
        buffer_size=500,
        batch_size=16,
        learning_starts=1000,
        seed=0,
        device="cpu",
    )
    buffer = model.replay_buffer
    assert isinstance(buffer, NStepReplayBuffer if n_steps > 1 else ReplayBuffer)
    reference = ReplayBuffer(500, model.observation_space, model.action_space, device="cpu", n_envs=5)
    model.learn(750, callback=ReferenceBuffer(reference))
    assert buffer.full, "the oldest steps have to be overwritten as well"
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        np.testing.assert_array_equal(getattr(buffer, name), getattr(reference, name), err_msg=name)
    assert 0 < reference.timeouts.sum() < reference.dones.sum()
    assert len(model.ep_info_buffer or []) > 10


def test_n_step_returns_stop_at_endings_and_bootstrap_time_limits() -> None:
    model = BatchedDQN(
        "MlpPolicy",
        adapted(),
        n_steps=3,
        gamma=0.5,
        buffer_size=2000,
        learning_starts=1000,
        seed=0,
        device="cpu",
    )
    model.learn(500)
    buffer: Any = model.replay_buffer
    sample = buffer.sample(2000)
    rewards, bootstraps = (
        sample.rewards.numpy().ravel(),
        (sample.discounts * (1 - sample.dones)).numpy().ravel(),
    )
    # Every step pays 1, so the return tells how many steps were summed: 1, 1.5 or 1.75.
    steps = np.searchsorted([1.0, 1.5, 1.75], rewards) + 1
    ended = sample.dones.numpy().ravel() == 1
    np.testing.assert_allclose(bootstraps, np.where(ended, 0.0, 0.5**steps))
    assert ended.any()
    assert (steps[~ended] < 3).any(), "time limits shorten the sum without ending the customer's life"


@pytest.mark.parametrize(("make", "steps"), [(ppo, 19_200), (dqn, 6_400)])
def test_known_answer_is_found_without_writing_to_closed_channels(make: Callable[[], Any], steps: int) -> None:
    model = make()
    model.learn(steps, log_interval=10_000)
    env = Letterbox(2000)
    observations, _ = env.reset(seed=1)
    actions, _ = model.predict(observations, deterministic=True)
    optimum = pay(observations, best(observations)).mean()
    assert pay(observations, actions).mean() > 0.98 * optimum


def test_exploration_is_by_row_legal_and_mostly_silent() -> None:
    model = dqn(exploration_silence=0.75)
    model.exploration_rate = 0.3
    observations, _ = Letterbox(200_000).reset(seed=2)
    network: Any = model.q_net
    with th.no_grad():
        network.head.scores.bias[0] += 100.0
    assert (model.predict(observations, deterministic=True)[0] == 0).all()
    actions, _ = model.predict(observations)
    pay(observations, actions)
    can_write = observations[:, :CHANNELS].any(1)
    written = actions[can_write] > 0
    # A greedy row is silent now, so whoever writes explores; four standard errors.
    assert abs(written.mean() - 0.3 * 0.25) < 4 * (0.075 * 0.925 / can_write.sum()) ** 0.5
    assert (actions[~can_write] == 0).all()
    assert set(np.unique(actions)) == set(range(13))


@pytest.mark.parametrize(("silence", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_extremes_of_silence(silence: float, expected: float) -> None:
    model = dqn(exploration_silence=silence)
    model.exploration_rate = 1.0
    observations, _ = Letterbox(5000).reset(seed=2)
    actions, _ = model.predict(observations)
    can_write = observations[:, :CHANNELS].any(1)
    assert (actions[can_write] == 0).mean() == expected
    assert (actions[~can_write] == 0).all()


def test_a_plain_policy_explores_all_actions() -> None:
    model = BatchedDQN("MlpPolicy", VecEnvAdapter(Letterbox()), buffer_size=100, device="cpu", seed=0)
    model.exploration_rate = 1.0
    observations, _ = Letterbox(2000).reset(seed=2)
    actions, _ = model.predict(observations)
    assert np.bincount(actions, minlength=13).min() > 2000 / 13 / 2
    assert model.predict(observations[0])[0].shape == ()


@pytest.mark.parametrize("make", [ppo, dqn])
def test_saved_learner_predicts_the_same_and_resumes(make: Callable[..., Any], tmp_path: Path) -> None:
    model = make(**({"n_steps": 3} if make is dqn else {}))
    model.learn(3072)
    model.save(tmp_path / "model.zip")
    loaded = type(model).load(tmp_path / "model.zip", device="cpu")
    observations, _ = Letterbox(1000).reset(seed=5)
    expected, _ = model.predict(observations, deterministic=True)
    assert len(np.unique(expected)) > 1, "who always did the same would do so with any weights"
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    loaded.set_env(VecEnvAdapter(Letterbox()))
    loaded.learn(1024, reset_num_timesteps=False)
    assert loaded.num_timesteps == 3072 + 1024
    before, after = model.policy.state_dict(), loaded.policy.state_dict()
    assert any((before[name] != after[name]).any() for name in before)
    elsewhere = type(model).load(tmp_path / "model.zip", env=VecEnvAdapter(Letterbox(16)), device="cpu")
    elsewhere.learn(128, reset_num_timesteps=False)
    assert elsewhere.num_timesteps == 3072 + 128


class Stop(BaseCallback):
    """Ends the training at the third step, having looked at what callbacks usually look at."""

    def _on_step(self) -> bool:
        assert {"infos", "dones", "rewards", "actions", "new_obs"} <= self.locals.keys()
        assert len(self.locals["infos"]) == self.training_env.num_envs
        return self.n_calls < 3


@pytest.mark.parametrize("make", [ppo, dqn])
def test_callbacks_can_stop_the_training(make: Callable[[], Any]) -> None:
    model = make()
    model.learn(10_000, callback=Stop())
    assert model.num_timesteps == 3 * 64


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"exploration_silence is 1\.5"):
        dqn(exploration_silence=1.5)
    with pytest.raises(ValueError, match="gradient_steps is -1"):
        dqn(gradient_steps=-1)


def test_emphasis_multiplies_advantages_only() -> None:
    def worth(seen: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(1.0 + 2.0 * seen[:, 0] + seen[:, CHANNELS])

    reference, buffer = (ppo(learning_rate=0.0, emphasis=each).learn(512).rollout_buffer for each in (None, worth))
    for name in ("observations", "actions", "rewards", "values", "log_probs", "returns"):
        np.testing.assert_array_equal(getattr(buffer, name), getattr(reference, name), err_msg=name)
    # After training the buffer is flat.
    factor = worth(np.asarray(buffer.observations).reshape(-1, CHANNELS + STYLES))
    assert len(np.unique(factor)) == 4
    expected = np.asarray(reference.advantages).ravel() * factor
    np.testing.assert_allclose(np.asarray(buffer.advantages).ravel(), expected, rtol=1e-5, atol=1e-6)


def test_emphasis_is_not_saved_with_the_model(tmp_path: Path) -> None:
    model = ppo(emphasis=lambda seen: np.ones(len(seen)))
    model.learn(512)
    model.save(tmp_path / "model.zip")
    assert BatchedPPO.load(tmp_path / "model.zip", device="cpu").num_timesteps == 512


def test_expected_churn_needs_to_be_told_the_probability() -> None:
    for model in (ppo(expected_churn=True), dqn(expected_churn=True)):
        with pytest.raises(ValueError, match="expected 'churn_probability' to learn from expected churn"):
            model.learn(1024)
