"""The checker of vector environments lets good ones pass and names the broken rule of bad ones."""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

import blockenv.testing
from blockenv.testing import RULES, VectorEnvError, check_vector_env

Rows = NDArray[np.bool_]
NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
TIME_LIMIT = 7


class Walk(VectorEnv[Any, Any, Any]):
    """A random walk that ends four steps from home or at the time limit: small, and right in all three modes."""

    bound = 6.0
    chance: list[np.random.Generator]

    def __init__(self, num_envs: int = 1, autoreset_mode: AutoresetMode = NEXT_STEP) -> None:
        self.num_envs, self.autoreset_mode = num_envs, autoreset_mode
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.single_action_space = gym.spaces.Discrete(3)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = gym.spaces.Box(-self.bound, self.bound, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.position = np.zeros(num_envs)
        self.age = np.zeros(num_envs, int)
        self.done = np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        rows = self.rows(options)
        if seed is not None:
            numbers = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
            fresh = self.generators(numbers)
            old = fresh if rows.all() else self.chance
            self.chance = [new if row else kept for new, kept, row in zip(fresh, old, rows, strict=True)]
        self.begin(rows)
        self.done = self.done & ~rows
        return self.observation(), self.info(rows)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        resets = self.resets()
        self.move(np.asarray(actions) - 1.0, resets)
        self.age = self.age + ~resets
        terminated = (np.abs(self.position) >= 4) & ~resets
        truncated = (self.age >= TIME_LIMIT) & ~resets
        reward = np.where(resets, 0.0, self.position)
        self.begin(resets)
        self.done = terminated | truncated
        everybody = np.ones(self.num_envs, bool)
        info = self.info(everybody)
        seen = self.observation()
        if self.autoreset_mode is SAME_STEP and self.done.any():
            seen, info = self.hand_over(seen, info)
        return seen, reward, terminated, truncated, info

    def rows(self, options: dict[str, Any] | None) -> Rows:
        mask = (options or {}).get("reset_mask")
        return np.ones(self.num_envs, bool) if mask is None else np.array(mask)

    def generators(self, seeds: list[int]) -> list[np.random.Generator]:
        return [np.random.default_rng(seed) for seed in seeds]

    def resets(self) -> Rows:
        if self.autoreset_mode is DISABLED and self.done.any():
            raise gym.error.ResetNeeded("reset the finished rows")
        return self.done.copy()

    def begin(self, rows: Rows) -> None:
        self.position = self.position.copy()
        self.age = np.where(rows, 0, self.age)
        for row in np.flatnonzero(rows):
            self.position[row] = self.chance[row].uniform(-1, 1)

    def move(self, way: NDArray[np.float64], resets: Rows) -> None:
        luck = [0.0 if resets[row] else self.chance[row].uniform(-1, 1) for row in range(self.num_envs)]
        self.position = self.position + np.where(resets, 0.0, way + luck)

    def observation(self) -> NDArray[np.float32]:
        return self.position[:, None].astype(np.float32)

    def info(self, rows: Rows) -> dict[str, Any]:
        return {"position": self.position.copy(), "_position": rows.copy()}

    def hand_over(self, seen: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        done = self.done
        final = {"position": info["position"], "_position": done.copy()}
        self.begin(done)
        self.done = np.zeros_like(done)
        last = {"final_obs": seen, "_final_obs": done.copy(), "final_info": final, "_final_info": done.copy()}
        return self.observation(), {**self.info(np.ones_like(done)), **last}


class WalkAlone(gym.Env[Any, Any]):
    """One row of `Walk`."""

    def __init__(self) -> None:
        self.walk, self.metadata = Walk(1, DISABLED), {}  # SyncVectorEnv of Gymnasium 1.2 writes into it
        self.observation_space, self.action_space = self.walk.single_observation_space, self.walk.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        seen, info = self.walk.reset(seed=seed)
        return seen[0], {"position": info["position"][0]}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, reward, terminated, truncated, info = self.walk.step(np.array([action]))
        return seen[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {"position": info["position"][0]}


class LosesStep(Walk):
    """Whoever is not being reset stands still while somebody is."""

    def move(self, way: NDArray[np.float64], resets: Rows) -> None:
        super().move(way, np.ones_like(resets) if resets.any() else resets)


class LosesStepSameStep(LosesStep):
    """The same in SAME_STEP mode, where it shows in the step after."""

    somebody = False

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.somebody = False
        return super().reset(seed=seed, options=options)

    def hand_over(self, seen: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.somebody = True
        return super().hand_over(seen, info)

    def move(self, way: NDArray[np.float64], resets: Rows) -> None:
        if not self.somebody:
            Walk.move(self, way, resets)
        self.somebody = False


class ForgetsCounter(Walk):
    def begin(self, rows: Rows) -> None:
        age = self.age
        super().begin(rows)
        self.age = age

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.age = np.where(self.rows(options), 0, self.age)
        return super().reset(seed=seed, options=options)


class ForgetsCounterInMaskedReset(Walk):
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        age = self.age
        returned = super().reset(seed=seed, options=options)
        if options is not None and self.autoreset_mode is not DISABLED:
            self.age = age
        return returned


class RestartsEverybodysClock(Walk):
    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        returned = super().reset(seed=seed, options=options)
        self.age = np.zeros_like(self.age)
        return returned


class PopsMask(Walk):
    def rows(self, options: dict[str, Any] | None) -> Rows:
        mask = super().rows(options)
        (options or {}).pop("reset_mask", None)
        return mask


class ClearsMask(Walk):
    def rows(self, options: dict[str, Any] | None) -> Rows:
        mask = super().rows(options)
        if options is not None:
            options["reset_mask"][:] = False
        return mask


class ResetsEverybody(Walk):
    def rows(self, options: dict[str, Any] | None) -> Rows:
        return np.ones(self.num_envs, bool)


class SharesBuffer(Walk):
    buffer: Any = None

    def observation(self) -> NDArray[np.float32]:
        if self.buffer is None:
            self.buffer = super().observation()
        self.buffer[:] = super().observation()
        return np.asarray(self.buffer)


class SharesDone(Walk):
    """Flags that hardly ever change still live in one place."""

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        seen, reward, terminated, truncated, info = super().step(actions)
        self.flags: NDArray[np.bool_] = getattr(self, "flags", truncated)
        self.flags[:] = truncated
        return seen, reward, terminated, self.flags, info


class LendsItsState(Walk):
    """A new array every time, but the environment goes on from what the caller does to it."""

    def info(self, rows: Rows) -> dict[str, Any]:
        self.position = self.position.copy()
        return {"position": self.position, "_position": rows.copy()}


class Unseeded(Walk):
    def generators(self, seeds: list[int]) -> list[np.random.Generator]:
        return [np.random.default_rng() for _ in seeds]


class ReadsGlobalLuck(Walk):
    def move(self, way: NDArray[np.float64], resets: Rows) -> None:
        super().move(way + 0.01 * np.random.random(), resets)  # noqa: NPY002 - the fault under test


class SeedsOnlyOnce(Walk):
    chance: Any = None

    def generators(self, seeds: list[int]) -> list[np.random.Generator]:
        return self.chance or super().generators(seeds)


class RefusesSeedLists(Walk):
    def generators(self, seeds: list[int]) -> list[np.random.Generator]:
        if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
            raise TypeError("seed must be an integer")
        return super().generators(seeds)


class MixesSeeds(Walk):
    def generators(self, seeds: list[int]) -> list[np.random.Generator]:
        return super().generators([seed + sum(seeds) for seed in seeds])


class SharesLuck(Walk):
    """One generator for all rows: the usual way, and why a row's life changes with its neighbours'."""

    def generators(self, seeds: list[int]) -> list[np.random.Generator]:
        return [np.random.default_rng(seeds[0])] * len(seeds)


class FinalObservationOfNextEpisode(Walk):
    def hand_over(self, seen: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        fresh, info = super().hand_over(seen, info)
        return fresh, {**info, "final_obs": fresh.copy()}


class NoFinalInfo(Walk):
    def hand_over(self, seen: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        fresh, info = super().hand_over(seen, info)
        return fresh, {name: value for name, value in info.items() if "final_info" not in name}


class FinalMaskOfEverybody(Walk):
    def hand_over(self, seen: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        fresh, info = super().hand_over(seen, info)
        return fresh, {**info, "_final_obs": np.ones(self.num_envs, bool)}


class NoMask(Walk):
    def info(self, rows: Rows) -> dict[str, Any]:
        return {"position": self.position.copy()}


class OneMode(Walk):
    """Mutates the metadata of its class, which every instance shares."""

    shared: ClassVar[dict[str, Any]] = {}

    def __init__(self, num_envs: int = 1, autoreset_mode: AutoresetMode = NEXT_STEP) -> None:
        super().__init__(num_envs, autoreset_mode)
        self.shared["autoreset_mode"] = autoreset_mode
        self.metadata = self.shared


class ActsWhileResetting(Walk):
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        resets = self.resets()
        returned = super().step(actions)
        self.position = self.position + np.where(resets, 0.1 * actions, 0.0)
        return returned


class RewardsTheReset(Walk):
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        resets = self.resets()
        seen, reward, *rest = super().step(actions)
        return seen, np.where(resets, 1.0, reward), *rest


class GoesOnWhenFinished(Walk):
    def resets(self) -> Rows:
        return np.zeros(self.num_envs, bool) if self.autoreset_mode is DISABLED else super().resets()


class LeavesItsSpace(Walk):
    bound = 2.0


class DoubleObservation(Walk):
    def observation(self) -> Any:
        return super().observation().astype(np.float64)


class IntegerReward(Walk):
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        seen, reward, *rest = super().step(actions)
        return seen, reward.astype(int), *rest


class WrongBatch(Walk):
    def __init__(self, num_envs: int = 1, autoreset_mode: AutoresetMode = NEXT_STEP) -> None:
        super().__init__(num_envs, autoreset_mode)
        self.action_space = batch_space(self.single_action_space, num_envs + 1)


class HalfReward(Walk):
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        seen, reward, *rest = super().step(actions)
        return seen, reward / 2, *rest


class NeverEnds(Walk):
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.age, self.position = np.zeros_like(self.age), np.zeros_like(self.position)
        return super().step(actions)


BROKEN: list[tuple[type[Walk], str, str]] = [
    (WrongBatch, "spaces", r"action_space is not batch_space\(single_action_space, 4\)"),
    (OneMode, "autoreset_mode", "asked for"),
    (IntegerReward, "returned_types", r"reward is \(4,\) int64"),
    (LeavesItsSpace, "observation_space", "lies outside"),
    (DoubleObservation, "observation_space", r"observation is \(4, 1\) float64, expected \(4, 1\) float32"),
    (NoMask, "info_mask", r"info\['_position'\] is NoneType"),
    (Unseeded, "determinism", "after seeding the same environment again"),
    (ReadsGlobalLuck, "determinism", "observation differs"),
    (SeedsOnlyOnce, "determinism", "after seeding the same environment again"),
    (RefusesSeedLists, "seed_list", "TypeError"),
    (MixesSeeds, "seed_list", "depends on the seeds of other rows"),
    (PopsMask, "reset_mask", "removed 'reset_mask' from the caller's options"),
    (ClearsMask, "reset_mask", "changed the caller's mask"),
    (ResetsEverybody, "reset_mask", "changed this row's observation"),
    (ActsWhileResetting, "autoreset", "depends on the action in a step that resets"),
    (RewardsTheReset, "autoreset", r"reward 1.0, terminated False, truncated False, expected 0"),
    (GoesOnWhenFinished, "autoreset", "DISABLED mode, .* a finished row took a step"),
    (FinalObservationOfNextEpisode, "final_obs", "final_obs differs from the observation in NEXT_STEP mode"),
    (NoFinalInfo, "final_obs", "'_final_info' is False in a row that has finished"),
    (FinalMaskOfEverybody, "final_obs", "'_final_obs' is True in a row that has not finished"),
    (
        ForgetsCounter,
        "episode_length",
        f"truncated after 1 steps of its episode, where the first one took {TIME_LIMIT}",
    ),
    (ForgetsCounterInMaskedReset, "episode_length", f"where the first one took {TIME_LIMIT}"),
    (RestartsEverybodysClock, "episode_length", f"where the first one took {TIME_LIMIT}"),
    (LosesStep, "independent_rows", "depends on what other rows do or when they are reset"),
    (LosesStepSameStep, "independent_rows", "SAME_STEP mode, .* depends on what other rows do"),
    (SharesBuffer, "shared_memory", "observations shares memory with observations of step 0"),
    (SharesDone, "shared_memory", "truncated shares memory"),
    (LendsItsState, "shared_memory", "changes if the caller writes into earlier results"),
    (NeverEnds, "episodes_end", "no episode ended within 50 steps"),
    (HalfReward, "single_environments", "reward is .*, of a single environment"),
]


def check(make: Callable[[int, AutoresetMode], VectorEnv[Any, Any, Any]], **options: Any) -> None:
    check_vector_env(make, **{"make_single": WalkAlone, "steps": 50, **options})


def test_a_right_environment_passes_in_all_modes() -> None:
    check(Walk)


@pytest.mark.parametrize(("broken", "rule", "words"), BROKEN, ids=[each.__name__ for each, _, _ in BROKEN])
def test_a_broken_environment_is_told_its_rule(broken: type[Walk], rule: str, words: str) -> None:
    with pytest.raises(VectorEnvError, match=words) as caught:
        check(broken)
    assert caught.value.rule == rule
    assert str(caught.value).startswith(f"{rule}: ")
    assert RULES[rule] in str(caught.value)
    assert isinstance(caught.value, AssertionError)


def test_a_shared_generator_is_an_impure_neighbourhood() -> None:
    modes, skip = (NEXT_STEP, SAME_STEP), {"seed_list"}
    with pytest.raises(VectorEnvError) as caught:
        check(SharesLuck, modes=modes, skip=skip)
    assert caught.value.rule == "independent_rows"
    check(SharesLuck, make_single=None, modes=modes, skip={*skip, "independent_rows"})


def test_every_rule_has_an_environment_that_breaks_it() -> None:
    assert {rule for _, rule, _ in BROKEN} == set(RULES)


@pytest.mark.parametrize("broken", [LosesStep, ForgetsCounter, FinalObservationOfNextEpisode])
def test_single_environments_alone_find_what_the_other_rules_find(broken: type[Walk]) -> None:
    others = {"independent_rows", "episode_length", "final_obs", "episodes_end"}
    with pytest.raises(VectorEnvError) as caught:
        check(broken, skip=others)
    assert caught.value.rule == "single_environments"
    check(broken, skip={*others, "single_environments"})


def test_the_error_says_mode_step_and_row() -> None:
    with pytest.raises(VectorEnvError) as caught:
        check(ForgetsCounter, modes=(SAME_STEP,))
    error = caught.value
    assert error.mode is SAME_STEP
    assert error.step is not None
    assert error.row is not None
    assert f"SAME_STEP mode, step {error.step}, row {error.row}: truncated after 1 steps" in str(error)


def test_cartpole_of_gymnasium_passes_where_it_claims_to() -> None:
    def make(num_envs: int, mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
        return CartPoleVectorEnv(num_envs, max_episode_steps=12)

    check_vector_env(make, modes=(NEXT_STEP,), skip={"seed_list", "reset_mask"}, steps=60)
    with pytest.raises(VectorEnvError, match="reset_mask"):  # which it does not know and therefore ignores
        check_vector_env(make, modes=(NEXT_STEP,), skip={"seed_list"}, steps=60)


def sync(num_envs: int, mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([WalkAlone] * num_envs, autoreset_mode=mode)


def test_sync_vector_env_passes_but_for_the_mask_it_takes_away() -> None:
    check(sync, modes=(NEXT_STEP, SAME_STEP), skip={"reset_mask"})
    options = {"reset_mask": np.array([True, False])}
    env = sync(2, DISABLED)
    env.reset(seed=0)
    env.reset(options=options)
    if "reset_mask" in options:
        check(sync)
    else:
        with pytest.raises(VectorEnvError, match="removed 'reset_mask' from the caller's options"):
            check(sync)


def test_sync_vector_env_without_copies_shares_memory() -> None:
    with pytest.raises(VectorEnvError, match="shares memory"):
        check(
            lambda rows, mode: SyncVectorEnv([WalkAlone] * rows, copy=False, autoreset_mode=mode),
            skip={"reset_mask"},
            modes=(SAME_STEP,),
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_envs": 1}, "num_envs: 1, expected at least 2"),
        ({"steps": 9}, "steps: 9, expected at least 10"),
        ({"modes": ()}, "modes: 0, expected at least 1"),
        ({"skip": {"memory"}}, r"skip: \['memory'\] not among spaces"),
        ({"skip": {"reset_mask"}}, "'reset_mask' is needed in DISABLED mode"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check(Walk, **arguments)


def test_the_checker_needs_gymnasium_and_numpy_only() -> None:
    imported = set()
    for path in Path(blockenv.testing.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            imported |= {name if name.startswith("blockenv.testing") else name.split(".")[0] for name in names}
    foreign = {name for name in imported if name not in sys.stdlib_module_names and ".testing" not in name}
    assert foreign == {"gymnasium", "numpy"}
