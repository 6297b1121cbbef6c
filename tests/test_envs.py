"""The environments keep Gymnasium's contract in every scenario, and their rows are the customers they claim to be."""

import copy
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import vector as wrappers

from blockenv import SCENARIOS, ScenarioError
from blockenv.envs import CustomerEnv, PopulationEnv
from blockenv.scenarios import get, save
from blockenv.testing import check_vector_env

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
CANON = [f"blockenv/{name}" for name in SCENARIOS]
RESTLESS: dict[str, Any] = {  # so much happens in a few days that no branch of the environments stays idle
    "base": "Winback-v0",
    "channels": [
        {
            "name": name,
            "load": 1.0,
            "cost": 0.01,
            "block_probability": 0.25,
            "open_logit": 0.5,
            "buy_logit": 0.0,
            "opt_in": 0.8,
            "win_back_rate": 0.1,
            "visibility": visibility,
        }
        for name, visibility in (("push", "next_send"), ("email", "at_once"), ("social", "never"))
    ],
    "response": {"churn_probability": 0.08},
}

Days = list[Any]


def population(rows: int = 6, days: int = 9, **arguments: Any) -> PopulationEnv:
    return PopulationEnv(rows, **{"scenario": RESTLESS, "max_episode_steps": days, **arguments})


def actions(env: PopulationEnv | CustomerEnv, rows: int, days: int, seed: int = 0) -> list[Any]:
    return list(np.random.default_rng(seed).integers(env.scenario.actions, size=(days, rows)))


def live(env: Any, chosen: list[Any]) -> Days:
    """Everything that steps return; in DISABLED mode finished rows are reset."""
    days: Days = []
    for action in chosen:
        if env.unwrapped.autoreset_mode is DISABLED and days and (done := days[-1][2] | days[-1][3]).any():
            env.reset(options={"reset_mask": done})
        days.append(env.step(action))
    return days


def life(env: CustomerEnv, chosen: list[Any]) -> Days:
    return [env.step(action) for action in chosen]


# --- Gymnasium's contract ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANON)
def test_every_scenario_is_registered_and_keeps_the_contract(name: str) -> None:
    env = gym.make(name)
    assert isinstance(env.unwrapped, CustomerEnv)
    assert env.spec is not None
    assert env.spec.max_episode_steps == SCENARIOS[name.removeprefix("blockenv/")].horizon
    check_env(env.unwrapped, skip_render_check=True)

    batch = gym.make_vec(name, num_envs=3, vectorization_mode="vector_entry_point")
    assert isinstance(batch.unwrapped, PopulationEnv)
    assert type(gym.make_vec(name, num_envs=2).unwrapped) is PopulationEnv
    check_vector_env(
        lambda rows, mode: gym.make_vec(name, num_envs=rows, autoreset_mode=mode, max_episode_steps=4),
        lambda: gym.make(name, max_episode_steps=4),
        num_envs=3,
        steps=10,
    )


@pytest.mark.parametrize("name", CANON)
def test_stable_baselines_accepts_every_scenario(name: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="stable-baselines3 is not installed")
    checker.check_env(gym.make(name))


@pytest.mark.parametrize("arguments", [{}, {"dict_obs": True, "reward": "expected"}], ids=["plain", "optional"])
def test_the_contract_holds_where_customers_leave_and_block_daily(arguments: dict[str, Any]) -> None:
    check_vector_env(
        lambda rows, mode: gym.make_vec(
            "blockenv/Custom-v0",
            num_envs=rows,
            scenario=RESTLESS,
            autoreset_mode=mode,
            max_episode_steps=7,
            **arguments,
        ),
        lambda: gym.make("blockenv/Custom-v0", scenario=RESTLESS, max_episode_steps=7, **arguments),
        steps=20,
    )
    check_env(CustomerEnv(RESTLESS, **arguments), skip_render_check=True)


def test_full_observations_keep_the_contract() -> None:
    scenario = {**RESTLESS, "observe": "full"}
    check_vector_env(lambda rows, mode: population(rows, 5, scenario=scenario, autoreset_mode=mode), steps=15)


def test_specification_survives_json_and_makes_the_same_environment() -> None:
    env = gym.make("blockenv/Custom-v0", scenario=RESTLESS, reward="expected")
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(env.unwrapped, CustomerEnv)
    env.reset(seed=3)
    again.reset(seed=3)
    chosen = [int(each[0]) for each in actions(env.unwrapped, 1, 3)]
    np.testing.assert_equal([again.step(each) for each in chosen], [env.step(each) for each in chosen])


def test_make_vec_from_a_specification_makes_the_same_population() -> None:
    env = gym.make_vec(CANON[0], num_envs=3, autoreset_mode="SameStep", first_customer=40, max_episode_steps=4)
    assert env.spec is not None
    again = gym.make_vec(env.spec)
    for one in (env, again):
        one.reset(seed=8)
    assert again.num_envs == 3
    assert again.metadata["autoreset_mode"] is SAME_STEP
    assert isinstance(env.unwrapped, PopulationEnv)
    chosen = actions(env.unwrapped, 3, 9)
    np.testing.assert_equal(live(again, chosen), live(env, chosen))


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copied_population_goes_on_identically(clone: Any, mode: AutoresetMode) -> None:
    env = population(autoreset_mode=mode, stagger=True)
    env.reset(seed=1)
    chosen = actions(env, 6, 40)
    live(env, chosen[:15])
    if mode is DISABLED:
        env.reset()
    other = clone(env)
    np.testing.assert_equal(live(other, chosen[15:]), live(env, chosen[15:]))
    np.testing.assert_equal(other.reset(), env.reset())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copied_customer_goes_on_identically(clone: Any) -> None:
    env = CustomerEnv("Omnichannel-v0")
    env.reset(seed=1)
    chosen = [int(each[0]) for each in actions(env, 1, 20)]
    life(env, chosen[:8])
    other = clone(env)
    np.testing.assert_equal(life(other, chosen[8:]), life(env, chosen[8:]))


def test_wrappers_of_gymnasium_work_in_next_step_mode() -> None:
    days = 5
    plain = population(4, days, scenario="NoBlocking-v0")
    env: VectorEnv[Any, Any, Any] = wrappers.RecordEpisodeStatistics(population(4, days, scenario="NoBlocking-v0"))
    env = wrappers.NormalizeReward(wrappers.NormalizeObservation(env))
    chosen = actions(plain, 4, 30)
    plain.reset(seed=2)
    env.reset(seed=2)
    income, length, episodes = np.zeros(4), np.zeros(4, int), 0
    fresh = np.zeros(4, bool)
    for action in chosen:
        _, reward, terminated, truncated, _ = plain.step(action)
        income, length = np.where(fresh, 0.0, income + reward), np.where(fresh, 0, length + 1)
        seen, scaled, *flags, info = env.step(action)
        assert np.isfinite(seen).all()
        assert np.isfinite(scaled).all()
        np.testing.assert_array_equal(flags, [terminated, truncated])
        fresh = terminated | truncated
        if fresh.any():
            np.testing.assert_array_equal(info["_episode"], fresh)
            np.testing.assert_allclose(info["episode"]["r"][fresh], income[fresh], rtol=1e-5)
            np.testing.assert_array_equal(info["episode"]["l"][fresh], length[fresh])
            episodes += int(fresh.sum())
    assert episodes >= 4 * 4


def test_episode_statistics_of_gymnasium_survive_a_masked_reset() -> None:
    """They do not around SyncVectorEnv of Gymnasium 1.4, which takes the mask out of the caller's options."""
    env = wrappers.RecordEpisodeStatistics(population(4, 50, scenario="NoBlocking-v0", autoreset_mode=DISABLED))
    env.reset(seed=0)
    for _ in range(5):
        env.step(np.zeros(4, int))
    env.reset(options={"reset_mask": np.array([True, False, False, False])})
    assert env.episode_lengths.tolist() == [0, 5, 5, 5]


# --- Seeds, rows and customers ----------------------------------------------------------------------------------


def test_global_seeds_have_no_influence() -> None:
    lives = []
    for number in (1, 2):
        np.random.seed(number)  # noqa: NPY002 - the very thing that must not matter
        random.seed(number)
        env = population()
        lives.append([env.reset(seed=5), *live(env, actions(env, 6, 25))])
    np.testing.assert_equal(lives[0], lives[1])


def test_different_seeds_are_different_populations() -> None:
    env = population(200, scenario="Frequency-v0")
    assert not np.array_equal(env.reset(seed=1)[0], env.reset(seed=2)[0])
    first, _ = env.reset()
    assert not np.array_equal(first, env.reset()[0])


def test_unseeded_environments_differ() -> None:
    starts = [PopulationEnv(4, "Frequency-v0").reset()[0] for _ in range(2)]
    assert not np.array_equal(*starts)


def test_shards_are_rows_of_the_whole() -> None:
    whole, shard = population(8), population(3, first_customer=4)
    chosen = actions(whole, 8, 30)
    np.testing.assert_array_equal(shard.reset(seed=6)[0], whole.reset(seed=6)[0][4:7])
    for action in chosen:
        one, other = whole.step(action), shard.step(action[4:7])
        for large, small in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(large[4:7], small)
        for name, values in other[4].items():
            np.testing.assert_array_equal(one[4][name][4:7], values, err_msg=name)


def test_a_customer_alone_lives_as_in_the_population() -> None:
    batch, alone = population(autoreset_mode=SAME_STEP), CustomerEnv(RESTLESS, first_customer=3)
    seen, info = batch.reset(seed=9)
    own, own_info = alone.reset(seed=9)
    np.testing.assert_array_equal(seen[3], own)
    assert own_info["customer"] == info["customer"][3] == 3
    for action in actions(batch, 6, 9):
        *_, terminated, truncated, info = batch.step(action)
        own, _, own_terminated, _, own_info = alone.step(action[3])
        assert terminated[3] == own_terminated
        if terminated[3] or truncated[3]:
            np.testing.assert_array_equal(info["final_obs"][3], own)
            break


def test_the_kth_customer_of_a_row_is_the_same_in_every_mode() -> None:
    served = {}
    for mode in AutoresetMode:
        env = population(autoreset_mode=mode)
        env.reset(seed=4)
        customers = [env.cohort.customer.copy()]
        for action in actions(env, 6, 40, seed=int(mode is SAME_STEP)):
            live(env, [action]) if mode is not DISABLED else _step_and_reset(env, action)
            customers.append(env.cohort.customer.copy())
        queues = [list(dict.fromkeys(row)) for row in np.array(customers).T.tolist()]
        served[mode] = [queue[:4] for queue in queues]
    assert served[NEXT_STEP] == served[SAME_STEP] == served[DISABLED]
    assert len({number for queue in served[NEXT_STEP] for number in queue}) == 4 * 6


def _step_and_reset(env: PopulationEnv, action: Any) -> None:
    _, _, terminated, truncated, _ = env.step(action)
    if (terminated | truncated).any():
        env.reset(options={"reset_mask": terminated | truncated})


def test_a_seeded_masked_reset_starts_only_its_rows_from_the_seed() -> None:
    env = population()
    first, _ = env.reset(seed=11)
    before, _, _, _, _ = env.step(actions(env, 6, 1)[0])
    mask = np.array([True, False, True, False, False, False])
    after, info = env.reset(seed=11, options={"reset_mask": mask})
    np.testing.assert_array_equal(after[mask], first[mask])
    np.testing.assert_array_equal(after[~mask], before[~mask])
    np.testing.assert_array_equal(info["_day"], mask)
    assert info["day"].tolist() == [0, 1, 0, 1, 1, 1]


# --- Ends of episodes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", AutoresetMode)
def test_terminated_means_gone_and_truncated_means_out_of_time(mode: AutoresetMode) -> None:
    env = population(30, 8, autoreset_mode=mode)
    env.reset(seed=0)
    left, out_of_time = 0, 0
    for _, _, terminated, truncated, info in _days(env, 60):
        if mode is SAME_STEP:
            info = info.get("final_info", info)
        assert not (terminated & truncated).any()
        np.testing.assert_array_equal(~info["alive"][info["_alive"]], terminated[info["_alive"]])
        assert (info["day"][truncated] == 8).all()
        assert (info["day"][terminated] <= 8).all()
        left, out_of_time = left + terminated.sum(), out_of_time + truncated.sum()
    assert left > 20
    assert out_of_time > 20


def _days(env: PopulationEnv, count: int) -> Iterator[tuple[Any, ...]]:
    for action in actions(env, env.num_envs, count):
        yield live(env, [action])[0] if env.autoreset_mode is not DISABLED else (day := env.step(action))
        if env.autoreset_mode is DISABLED and (day[2] | day[3]).any():
            env.reset(options={"reset_mask": day[2] | day[3]})


def test_a_finished_row_is_refused_in_disabled_mode() -> None:
    env = population(3, 1, autoreset_mode=DISABLED)
    env.reset(seed=0)
    env.step(np.zeros(3, int))
    with pytest.raises(gym.error.ResetNeeded, match=r"rows \[0 1 2\]"):
        env.step(np.zeros(3, int))
    env.reset(options={"reset_mask": np.array([True, True, False])})
    with pytest.raises(gym.error.ResetNeeded, match=r"rows \[2\]"):
        env.step(np.zeros(3, int))
    env.reset(options={"reset_mask": np.array([False, False, True])})
    env.step(np.zeros(3, int))


def test_nothing_works_before_reset() -> None:
    for env, action in ((population(), np.zeros(6, int)), (CustomerEnv(RESTLESS), 0)):
        with pytest.raises(gym.error.ResetNeeded):
            env.step(action)
        with pytest.raises(gym.error.ResetNeeded):
            env.action_masks()
    with pytest.raises(gym.error.ResetNeeded, match="reset every row"):
        population().reset(options={"reset_mask": np.arange(6) < 3})


def test_a_finished_customer_needs_a_reset() -> None:
    env = CustomerEnv({**RESTLESS, "horizon": 2})
    env.reset(seed=0)
    env.step(0)
    assert env.step(0)[3]
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    assert env.reset()[1]["day"] == 0


@pytest.mark.parametrize("days", [3, 400])
def test_a_time_limit_of_ones_own_counts_below_and_above_the_horizon(days: int) -> None:
    immortal = {"base": "NoBlocking-v0", "horizon": 400, "response": {"churn_probability": 0.0}}
    worlds: dict[str, dict[str, Any]] = {"Frequency-v0": {}, "Custom-v0": {"scenario": immortal}}
    for name, arguments in worlds.items():
        env = gym.make(f"blockenv/{name}", max_episode_steps=days, **arguments)
        batch = gym.make_vec(f"blockenv/{name}", num_envs=1, max_episode_steps=days, **arguments)
        for seed in range(9):  # a seed whose customer stays that long
            env.reset(seed=seed)
            batch.reset(seed=seed)
            flags: list[Any] = []
            while not (flags and any(flags[-1])):
                flags.append(env.step(0)[2:4])
                other = batch.step([0])[2:4]
                assert flags[-1] == tuple(map(bool, other))
            if flags[-1][1]:
                break
        assert len(flags) == days


def test_without_a_time_limit_customers_stay_until_they_leave() -> None:
    env = gym.make("blockenv/Frequency-v0", max_episode_steps=-1)
    longest = 0
    for seed in range(9):
        if longest > SCENARIOS["Frequency-v0"].horizon:
            break
        _, info = env.reset(seed=seed)
        terminated = truncated = False
        while not terminated and not truncated:
            *_, terminated, truncated, info = env.step(0)
        assert not truncated
        longest = max(longest, int(info["day"]))
    assert longest > SCENARIOS["Frequency-v0"].horizon


@pytest.mark.parametrize("days", [10, 101, 364])
def test_stagger_spreads_first_ends_over_all_days(days: int) -> None:
    rows = 20 * days
    immortal = {"base": "Frequency-v0", "response": {"churn_probability": 0.0}}
    ends = _first_ends(population(rows, days, scenario=immortal, stagger=True))
    counts = np.bincount(ends, minlength=days + 1)
    assert counts[0] == 0
    assert counts[1:].min() >= 15, "some day sees hardly anybody's time run out"
    assert counts[1:].max() <= 25, "some day sees too many"


def test_stagger_does_not_depend_on_the_batch() -> None:
    whole = _first_ends(population(40, 12, scenario="NoBlocking-v0", stagger=True))
    shard = _first_ends(population(7, 12, scenario="NoBlocking-v0", stagger=True, first_customer=20))
    np.testing.assert_array_equal(shard, whole[20:27])


@pytest.mark.parametrize("mode", AutoresetMode)
def test_stagger_shortens_first_episodes_only(mode: AutoresetMode) -> None:
    env = population(5, 12, scenario="NoBlocking-v0", stagger=True, autoreset_mode=mode)
    env.reset(seed=0)
    lengths: dict[bool, list[int]] = {False: [], True: []}
    for _, _, _, truncated, info in _days(env, 45):
        info = info.get("final_info", info)
        for row in np.flatnonzero(truncated):
            lengths[bool(info["customer"][row] >= 2**32)].append(int(info["day"][row]))
    assert len(set(lengths[False])) > 3
    assert len(lengths[True]) > 5
    assert set(lengths[True]) == {12}


def _first_ends(env: PopulationEnv) -> Any:
    """(N,) the day on which each row was first truncated, 0 for those who left before."""
    env.reset(seed=0)
    ends, open_rows = np.zeros(env.num_envs, int), np.ones(env.num_envs, bool)
    for day, (_, _, terminated, truncated, _) in enumerate(live(env, [np.zeros(env.num_envs, int)] * env._horizon), 1):
        ends[open_rows & truncated] = day
        open_rows &= ~(terminated | truncated)
    return ends


# --- Rewards, observations, masks -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_parts_of_the_reward_add_up(mode: AutoresetMode) -> None:
    env = population(20, autoreset_mode=mode)
    env.reset(seed=0)
    for _, reward, terminated, truncated, info in _days(env, 30):
        parts = info["margin"] - info["discount"] - info["message_cost"]
        known = info["_margin"]
        np.testing.assert_allclose(parts[known], reward[known], rtol=1e-5, atol=1e-5)
        assert not info["order_value"][~known].any(), "what is masked out must be zero"
        if mode is SAME_STEP and (done := terminated | truncated).any():
            final = info["final_info"]
            parts = final["margin"] - final["discount"] - final["message_cost"]
            np.testing.assert_allclose(parts[done], reward[done], rtol=1e-5, atol=1e-5)
            assert not known[done].any()
        elif mode is DISABLED:
            assert known.all()


def test_expected_rewards_have_the_mean_of_the_realised_ones_and_less_noise() -> None:
    rewards = {}
    for kind in ("realised", "expected"):
        env = population(4000, 30, reward=kind)
        env.reset(seed=0)
        rewards[kind] = np.array([day[1] for day in live(env, actions(env, 4000, 6))])
    gap = (rewards["realised"] - rewards["expected"]).sum(axis=0)
    assert abs(gap.mean()) < 4 * gap.std() / 4000**0.5
    assert rewards["expected"].sum(axis=0).std() < 0.7 * rewards["realised"].sum(axis=0).std()
    assert rewards["expected"].dtype == np.float64


def test_info_tells_the_expected_reward_beside_the_realised_one() -> None:
    realised, expected = population(), population(reward="expected")
    for env in (realised, expected):
        env.reset(seed=0)
    chosen = actions(realised, 6, 5)
    for one, other in zip(live(realised, chosen), live(expected, chosen), strict=True):
        known = one[4]["_expected_reward"]
        np.testing.assert_allclose(one[4]["expected_reward"][known], other[1][known], rtol=1e-6)


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_dictionary_observations_are_the_named_columns(mode: AutoresetMode) -> None:
    flat, named = population(autoreset_mode=mode), population(autoreset_mode=mode, dict_obs=True)
    chosen = actions(flat, 6, 25)
    starts = [env.reset(seed=0)[0] for env in (flat, named)]
    pairs = [starts]
    for one, other in zip(live(flat, chosen), live(named, chosen), strict=True):
        pairs.append([one[0], other[0]])
        if "final_obs" in one[4]:
            pairs.append([one[4]["final_obs"], other[4]["final_obs"]])
    for seen, parts in pairs:
        assert list(parts) == list(flat.features)
        np.testing.assert_array_equal(np.concatenate(list(parts.values()), axis=1), seen)
    assert isinstance(named.single_observation_space, gym.spaces.Dict)
    assert set(named.single_observation_space) == set(flat.features)


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_action_masks_are_what_the_sender_can_know(mode: AutoresetMode) -> None:
    env = population(40, 9, autoreset_mode=mode)
    scenario = env.scenario
    channel_of = [scenario.message_name(action).split("/")[0] for action in range(1, scenario.actions)]
    names = [channel.name for channel in scenario.channels]
    reachable = env.features["reachable"]
    days: list[tuple[Any, Any]] = []

    def look(seen: Any, info: dict[str, Any]) -> None:
        mask = env.action_masks()
        np.testing.assert_array_equal(mask, info["action_mask"])
        assert info["action_mask"].dtype == np.int8
        assert mask[:, 0].all()
        for action, channel in enumerate(channel_of, 1):
            np.testing.assert_array_equal(mask[:, action], seen[:, reachable][:, names.index(channel)] == 1)
        days.append((info, mask))

    look(*env.reset(seed=0))
    for action in actions(env, 40, 40):
        seen, _, _, _, info = env.step(action)
        look(seen, info)
    mask = env.action_masks()
    mask[:] = False
    assert env.action_masks()[:, 0].all(), "the caller's copy must not be the environment's"


def test_masks_disclose_a_block_when_its_channel_does() -> None:
    """push: at the next failed send; email: at once; social: never."""
    env = population(300, 60, autoreset_mode=DISABLED)
    _, info = env.reset(seed=0)
    known = info["reachable"].copy()  # at the start the firm knows who opted in
    rng = np.random.default_rng(0)
    per_channel = (env.scenario.actions - 1) // 3
    noticed = np.zeros(3, int)
    for _ in range(12):
        alive = info["alive"]
        before = info["reachable"]
        chosen = rng.integers(env.scenario.actions, size=300)
        channel = np.where(chosen > 0, (chosen - 1) // per_channel, -1)
        _, _, terminated, _, info = env.step(chosen)
        failed = (channel[:, None] == np.arange(3)) & ~before & alive[:, None]
        blocked = info["blocked"]
        lost = np.stack([failed[:, 0], blocked[:, 1] | failed[:, 1], np.zeros(300, bool)], axis=1)
        known = (known & ~lost) | info["reopened"]
        mask = env.action_masks()[:, 1:].reshape(300, 3, per_channel)
        np.testing.assert_array_equal(mask.all(axis=2), known)
        np.testing.assert_array_equal(mask.any(axis=2), known)
        noticed += lost.sum(axis=0)
        hidden = (known & ~info["reachable"])[:, 2]
        if terminated.any():
            env.reset(options={"reset_mask": terminated})
            info["alive"], info["reachable"] = env.cohort.state.alive.copy(), env.cohort.state.reachable.T.copy()
            known[terminated] = info["reachable"][terminated]
    assert (noticed[:2] > 30).all()
    assert hidden.sum() > 30, "silent blocks stay unknown"


# --- Scenarios of the user's own --------------------------------------------------------------------------------


def test_a_scenario_may_be_a_file_a_dictionary_or_a_record(tmp_path: Path) -> None:
    path = tmp_path / "restless.yaml"
    save(get(RESTLESS), path)
    lives = []
    for scenario in (RESTLESS, str(path), path, get(RESTLESS)):
        env = gym.make_vec("blockenv/Custom-v0", num_envs=3, scenario=scenario, max_episode_steps=5)
        assert isinstance(env.unwrapped, PopulationEnv)
        lives.append([env.reset(seed=0), *live(env, actions(env.unwrapped, 3, 12))])
    for other in lives[1:]:
        np.testing.assert_equal(other, lives[0])


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_a_custom_environment_without_scenario_says_what_it_wants(make: Any) -> None:
    with pytest.raises(ScenarioError, match=r"scenario: none given; pass a name, a \.yaml file, a dict or a Scenario"):
        make("blockenv/Custom-v0")
    with pytest.raises(ScenarioError, match="'Nowhere-v0' is neither"):
        make("blockenv/Custom-v0", scenario="Nowhere-v0")
    with pytest.raises(ScenarioError, match="chanels"):
        make("blockenv/Custom-v0", scenario={"base": "Frequency-v0", "chanels": []})


def test_an_episode_of_a_custom_scenario_ends_at_its_horizon() -> None:
    scenario = {"base": "NoBlocking-v0", "horizon": 3, "response": {"churn_probability": 0.0}}
    alone = gym.make("blockenv/Custom-v0", scenario=scenario)
    alone.reset(seed=0)
    assert [alone.step(0)[3] for _ in range(3)] == [False, False, True]
    batch = gym.make_vec("blockenv/Custom-v0", num_envs=2, scenario=scenario)
    batch.reset(seed=0)
    assert [day[3].tolist() for day in live(batch, [np.zeros(2, int)] * 4)] == [[d == 2] * 2 for d in range(4)]


# --- Errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_envs": 0}, "num_envs: 0"),
        ({"num_envs": 2.0}, "num_envs: 2.0"),
        ({"num_envs": True}, "num_envs: True, expected a whole number"),
        ({"max_episode_steps": 0}, "max_episode_steps: 0"),
        ({"max_episode_steps": 7.5}, "max_episode_steps: 7.5"),
        ({"first_customer": -1}, "first_customer: -1"),
        ({"autoreset_mode": "sometimes"}, "autoreset_mode: 'sometimes'"),
        ({"reward": "discounted"}, "reward: 'discounted', expected one of realised, expected"),
        ({"render_mode": "hologram"}, "render_mode: 'hologram'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PopulationEnv(**{"num_envs": 2, "scenario": "Frequency-v0", **arguments})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros(3), r"action: dtype float64, expected integers"),
        (np.array([0.0, np.nan, 1.0]), r"action: dtype float64"),
        (np.zeros(3, bool), r"action: dtype bool, expected integers"),
        (np.array(["0", "1", "0"]), r"action: dtype <U1"),
        ([0, None, 0], r"action: dtype object"),
        ([0, 2**70, 0], r"action: dtype object"),
        (np.zeros(2, int), r"action: shape \(2,\), expected \(3,\)"),
        (np.zeros((3, 1), int), r"action: shape \(3, 1\), expected \(3,\)"),
        (0, r"action: shape \(\), expected \(3,\)"),
        ([0, -1, 0], r"action\[1\]: -1 is not among 0\.\.1"),
        ([0, 1, 2], r"action\[2\]: 2 is not among 0\.\.1"),
        (np.array([0, 2**64 - 1, 0], np.uint64), r"action\[1\]: 18446744073709551615 is not among"),
        (np.array([0, 0, -(2**63)]), r"action\[2\]: -9223372036854775808 is not among"),
    ],
)
def test_bad_actions_of_a_population_are_named(bad: Any, words: str) -> None:
    env = population(3, scenario="Frequency-v0")
    env.reset(seed=0)
    before = copy.deepcopy(env)
    with pytest.raises(ValueError, match=words):
        env.step(bad)
    np.testing.assert_equal(env.step([0, 1, 0]), before.step([0, 1, 0]))  # a refused action leaves no trace


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint8, np.uint64])
def test_any_integer_type_will_do(kind: type) -> None:
    env, other = population(3), population(3)
    for each in (env, other):
        each.reset(seed=0)
    np.testing.assert_equal(env.step(np.array([1, 0, 2], kind)), other.step([1, 0, 2]))


@pytest.mark.parametrize("bad", [0.0, 1.5, np.nan, True, -1, 2, "1", None, [0], np.array([1]), np.array([[1]])])
def test_bad_actions_of_a_customer_are_named(bad: Any) -> None:
    env = CustomerEnv("Frequency-v0")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        env.step(bad)


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        ([True, False, False], TypeError, "list, expected a NumPy array of bool"),
        (np.array([1, 0, 0]), TypeError, "int64, expected a NumPy array of bool"),
        (np.array([True, False]), ValueError, r"shape \(2,\), expected \(3,\)"),
        (np.zeros(3, bool), ValueError, "all False"),
    ],
)
def test_bad_masks_are_named(mask: Any, error: type[Exception], words: str) -> None:
    env = population(3)
    env.reset(seed=0)
    with pytest.raises(error, match=rf"options\['reset_mask'\]: {words}"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize("bad", [[1, 2], [1, 2, 3, 4], [1, -2, 3], [1, 2.5, 3], [1, 2**63, 3], 2.5, "1", True])
def test_bad_seeds_are_named(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="seed"):
        population(3).reset(seed=bad)


@pytest.mark.parametrize("bad", [-1, 2**63])
def test_seeds_out_of_range_are_refused(bad: int) -> None:
    with pytest.raises((ValueError, gym.error.Error), match=r"[Ss]eed"):
        population(3).reset(seed=bad)


def test_seeds_may_be_numpy_integers_and_lists_may_leave_some_to_chance() -> None:
    env, seven = population(3), np.int64(7)
    np.testing.assert_array_equal(env.reset(seed=seven)[0], env.reset(seed=7)[0])  # type: ignore[arg-type]
    first, _ = env.reset(seed=[7, None, 9])
    second, _ = env.reset(seed=[7, None, 9])
    np.testing.assert_array_equal(first[[0, 2]], second[[0, 2]])
    assert not np.array_equal(first[1], second[1])
