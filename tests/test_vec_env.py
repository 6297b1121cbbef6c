"""The adapter says what stable-baselines3's own vector environment says of the same customers."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.vec_env import VecEnvAdapter
from blockenv.envs import PopulationEnv
from blockenv.scenarios import get


class Clocks(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Row i stops by itself after i + 2 steps, is cut off after 4, shows (age, i) and pays its action."""

    def __init__(self, num_envs: int = 4, copy: bool = True) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.copy = copy
        self.single_observation_space = gym.spaces.Box(0.0, np.inf, (2,), np.float32)
        self.single_action_space = gym.spaces.Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observations = np.stack([np.zeros(num_envs), np.arange(num_envs)], 1).astype(np.float32)
        self.reset_arguments: list[Any] = []
        self.colour = "red"

    def _observe(self) -> NDArray[np.float32]:
        return self.observations.copy() if self.copy else self.observations

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        self.reset_arguments.append((seed, options))
        self.observations[:, 0] = 0
        return self._observe(), {"day": 0}

    def step(self, actions: NDArray[np.int64]) -> Any:
        self.observations[:, 0] += 1
        age, row = self.observations.T
        terminated, truncated = age >= row + 2, age >= 4
        final = self.observations.copy()
        done = terminated | truncated
        self.observations[done, 0] = 0
        info = {"final_obs": final, "_final_obs": done, "day": 1} if done.any() else {"day": 1}
        return self._observe(), actions.astype(np.float32), terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        return np.array([[True, row % 2 == 0, False] for row in range(self.num_envs)])

    def double(self, number: int) -> int:
        return 2 * number


def cart_pole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=14)


def cart_poles(count: int) -> SyncVectorEnv:
    return SyncVectorEnv([cart_pole] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def test_steps_equal_those_of_the_library_s_own_vector_environment() -> None:
    adapter = VecEnvAdapter(cart_poles(5))
    reference = DummyVecEnv([lambda: Monitor(cart_pole())] * 5)
    adapter.seed(7)
    reference.seed(7)
    np.testing.assert_array_equal(adapter.reset(), reference.reset())
    rng = np.random.default_rng(0)
    endings = {True: 0, False: 0}
    for _ in range(120):
        actions = rng.integers(2, size=5)
        observations, rewards, dones, infos = adapter.step(actions)
        expected_observations, expected_rewards, expected_dones, expected_infos = reference.step(actions)
        np.testing.assert_array_equal(observations, expected_observations)
        np.testing.assert_array_equal(rewards, expected_rewards)
        assert rewards.dtype == expected_rewards.dtype
        np.testing.assert_array_equal(dones, expected_dones)
        for row in range(5):
            truncated = expected_infos[row]["TimeLimit.truncated"]
            assert infos[row].get("TimeLimit.truncated", False) == truncated == adapter.last_truncated[row]
            if dones[row]:
                endings[truncated] += 1
                expected = expected_infos[row]
                np.testing.assert_array_equal(infos[row]["terminal_observation"], expected["terminal_observation"])
                assert infos[row]["episode"]["r"] == expected["episode"]["r"]
                assert infos[row]["episode"]["l"] == expected["episode"]["l"]
            else:
                assert infos[row] == {}
    assert min(endings.values()) > 5, "both kinds of ending have to be seen"


def test_plain_array_of_final_observations() -> None:
    adapter = VecEnvAdapter(Clocks(), reward_scale=0.1)
    adapter.reset()
    adapter.step(np.array([1, 1, 1, 1]))
    assert adapter.last_final_rows.size == len(adapter.last_final_observations) == 0
    _, rewards, dones, infos = adapter.step(np.array([2, 0, 0, 0]))
    np.testing.assert_allclose(rewards, [0.2, 0, 0, 0])
    np.testing.assert_array_equal(dones, [True, False, False, False])
    np.testing.assert_array_equal(infos[0]["terminal_observation"], [2, 0])
    assert infos[0]["episode"]["r"] == 3.0, "returns are reported unscaled"
    assert infos[0]["episode"]["l"] == 2
    assert infos[1] == {}
    adapter.step(np.zeros(4, int))
    observations, _, dones, infos = adapter.step(np.zeros(4, int))
    # Row 2 stops by itself on the very day of the time limit: nothing would have followed. Row 3 is cut off.
    np.testing.assert_array_equal(dones, [True, False, True, True])
    np.testing.assert_array_equal(adapter.last_truncated, [False, False, False, True])
    np.testing.assert_array_equal(adapter.last_final_rows, [0, 2, 3])
    np.testing.assert_array_equal(adapter.last_final_observations, [[2, 0], [4, 2], [4, 3]])
    np.testing.assert_array_equal(np.asarray(observations)[:, 0], [0, 1, 0, 0])
    assert [info.get("TimeLimit.truncated") for info in infos] == [False, None, False, True]
    assert adapter.info_arrays["day"] == 1


def test_reset_forgets_counts_and_endings() -> None:
    adapter = VecEnvAdapter(Clocks())
    adapter.reset()
    for _ in range(4):
        adapter.step(np.ones(4, int))
    assert adapter.last_truncated.any()
    adapter.reset()
    assert not adapter.last_truncated.any()
    assert adapter.last_final_rows.size == 0
    assert adapter.info_arrays == {"day": 0}
    adapter.step(np.ones(4, int))
    adapter.reset()
    adapter.step(np.ones(4, int))
    episode = adapter.step(np.ones(4, int))[3][0]["episode"]
    assert (episode["r"], episode["l"]) == (2.0, 2)


def test_written_infos_do_not_leak_into_the_next_step() -> None:
    adapter = VecEnvAdapter(Clocks())
    adapter.reset()
    first = adapter.step(np.zeros(4, int))[3]
    first[1]["note"] = "mine"
    second = adapter.step(np.zeros(4, int))[3]
    assert "note" not in second[1]
    assert first[0] is not second[0]


def test_seed_and_options_apply_once_at_the_next_reset() -> None:
    env = Clocks()
    adapter = VecEnvAdapter(env)
    options = {"scenario": {"name": "calm"}}
    adapter.seed(3)
    adapter.set_options(options)
    options["scenario"]["name"] = "changed afterwards"
    assert env.reset_arguments == []
    adapter.reset()
    adapter.reset()
    assert env.reset_arguments == [(3, {"scenario": {"name": "calm"}}), (None, None)]
    adapter.set_options([{"a": 1}] * 4)
    adapter.reset()
    assert env.reset_arguments[-1] == (None, {"a": 1})


@pytest.mark.parametrize(
    ("options", "reason"),
    [([{"a": 1}, {"a": 2}], "differ between rows"), ({"reset_mask": np.ones(4, bool)}, "reset_mask")],
)
def test_options_that_rows_cannot_have(options: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VecEnvAdapter(Clocks()).set_options(options)


def test_attributes_and_methods_reach_through_wrappers() -> None:
    env = Clocks()
    adapter = VecEnvAdapter(VectorWrapper(env))
    assert adapter.get_attr("colour") == ["red"] * 4
    assert adapter.get_attr("colour", indices=[0, 2]) == ["red"] * 2
    adapter.set_attr("colour", "blue")
    assert env.colour == "blue"
    with pytest.raises(ValueError, match="expected None"):
        adapter.set_attr("colour", "blue", indices=1)
    assert adapter.has_attr("action_masks")
    assert not adapter.has_attr("flavour")
    assert adapter.env_method("double", 4) == [8] * 4
    masks = adapter.env_method("action_masks")
    assert isinstance(masks, np.ndarray)
    np.testing.assert_array_equal(masks, env.action_masks())
    np.testing.assert_array_equal(adapter.env_method("action_masks", indices=[2]), env.action_masks()[[2]])
    assert adapter.env_is_wrapped(Monitor) == [True] * 4
    assert adapter.env_is_wrapped(gym.Wrapper, indices=0) == [False]


def test_observations_stay_what_they_were() -> None:
    adapter = VecEnvAdapter(Clocks(copy=False))
    start = adapter.reset()
    first = adapter.step(np.zeros(4, int))[0]
    adapter.step(np.zeros(4, int))
    np.testing.assert_array_equal(start[:, 0], 0)
    np.testing.assert_array_equal(np.asarray(first)[:, 0], 1)


def _next_step() -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([cart_pole])


def _composite() -> VectorEnv[Any, Any, Any]:
    env = Clocks()
    env.single_observation_space = gym.spaces.Dict({"age": gym.spaces.Box(0, 1)})
    return env


@pytest.mark.parametrize(
    ("make", "scale", "reason"),
    [
        (_next_step, 1.0, "autoreset_mode"),
        (_composite, 1.0, "expected a Box"),
        (Clocks, 0.0, "reward_scale is 0.0"),
    ],
)
def test_unsuitable_environments(make: Callable[[], Any], scale: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VecEnvAdapter(make(), reward_scale=scale)


def test_ending_without_final_observations_is_an_error() -> None:
    class Silent(Clocks):
        def step(self, actions: NDArray[np.int64]) -> Any:
            return (*super().step(actions)[:4], {})

    adapter = VecEnvAdapter(Silent())
    adapter.reset()
    adapter.step(np.zeros(4, int))
    with pytest.raises(ValueError, match=r"expected 'final_obs' because rows \[0\] ended"):
        adapter.step(np.zeros(4, int))


def test_library_s_evaluation_reads_the_adapter_s_episodes() -> None:
    class Always:
        def predict(self, observation: NDArray[Any], **_: Any) -> tuple[NDArray[Any], None]:
            return np.full(len(observation), 2), None

    adapter = VecEnvAdapter(Clocks(), reward_scale=0.5)
    returns, lengths = evaluate_policy(Always(), adapter, 4, return_episode_rewards=True)  # type: ignore[arg-type]
    assert sorted(lengths) == [2, 3, 4, 4]  # type: ignore[arg-type]
    assert sorted(returns) == [4.0, 6.0, 8.0, 8.0]  # type: ignore[arg-type]


def test_maskable_ppo_sends_only_what_the_masks_allow() -> None:
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    env = Clocks()
    adapter = VecEnvAdapter(env)
    model = contrib.MaskablePPO("MlpPolicy", adapter, n_steps=16, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.learn(128)
    stored = model.rollout_buffer
    # After training the buffer is flattened row by row.
    actions = stored.actions.reshape(4, 16)
    assert set(np.unique(actions[[1, 3]])) == {0}
    assert set(np.unique(actions[[0, 2]])) == {0, 1}
    assert model.ep_info_buffer


def test_rewards_are_weighed_by_what_was_acted_on() -> None:
    adapter = VecEnvAdapter(Clocks(), reward_scale=0.5, weigh=lambda seen: 1.0 + seen[:, 0] + 10.0 * seen[:, 1])
    adapter.reset()
    ages = np.zeros(4)
    for _ in range(6):
        observations, rewards, _, infos = adapter.step(np.ones(4, int))
        np.testing.assert_allclose(rewards, 0.5 * (1.0 + ages + 10.0 * np.arange(4)))
        assert rewards.dtype == np.float32
        ages = np.asarray(observations)[:, 0].copy()
    assert all(info["episode"]["r"] == info["episode"]["l"] for info in infos if info), "returns are unweighed"


def customers() -> VecEnvAdapter:
    """Sixteen rows of customers who come and go, weighed by how long they have been there."""
    world = get("Style-v0").model_copy(update={"horizon": 9})
    env = PopulationEnv(16, world, autoreset_mode=AutoresetMode.SAME_STEP, stagger=True)
    tenure = env.features["tenure"].start
    return VecEnvAdapter(env, weigh=lambda seen: 1.0 + 100.0 * seen[:, tenure])


def test_a_restored_adapter_goes_on_as_if_nothing_had_happened() -> None:
    rng = np.random.default_rng(0)
    actions = rng.integers(7, size=(40, 16))
    adapter, other = customers(), customers()
    adapter.seed(3)
    adapter.reset()
    for day in range(13):
        adapter.step(actions[day])
    kept = {name: values.copy() for name, values in adapter.snapshot().items()}
    other.seed(4)
    other.reset()
    other.step(actions[0])
    other.restore(kept | {"somebody's": np.zeros(3)})
    assert other.last_final_rows.size == 0
    ended = 0
    for day in range(13, 40):
        expected, found = adapter.step(actions[day]), other.step(actions[day])
        for name, one, two in zip(("observations", "rewards", "dones"), expected, found, strict=False):
            np.testing.assert_array_equal(one, two, err_msg=f"{name} on day {day}")
        for one, two in zip(expected[3], found[3], strict=True):
            assert one.keys() == two.keys()
            if one:
                ended += 1
                assert (one["episode"]["r"], one["episode"]["l"]) == (two["episode"]["r"], two["episode"]["l"])
    assert ended > 20
    assert all((kept[name] == values).all() for name, values in kept.items()), "a snapshot is nobody's to write in"


@pytest.mark.parametrize("name", ["adapter.returns", "adapter.weights", "env.customer", "env.limit"])
def test_a_snapshot_with_something_missing(name: str) -> None:
    adapter = customers()
    adapter.reset()
    kept = adapter.snapshot()
    del kept[name]
    with pytest.raises(KeyError):
        adapter.restore(kept)
