"""Play one vector environment, and judge every single return as it comes.

Only what can be judged without a second run belongs here. Never repairs what it is given.
"""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from blockenv.testing.compare import Entries, Step, copied, entry, equal, indices, info_rows, kind, leaves, step_of
from blockenv.testing.rules import VectorEnvError

AnyVectorEnv = VectorEnv[Any, Any, Any]
Rows = NDArray[np.bool_]


class Case:
    """One autoreset mode of one environment, and the actions it is played with."""

    def __init__(
        self,
        make: Callable[[int, AutoresetMode], AnyVectorEnv],
        mode: AutoresetMode,
        num_envs: int,
        steps: int,
        seed: int,
        skip: Collection[str],
    ) -> None:
        self.mode, self.num_envs, self.steps, self.seed, self.skip = mode, num_envs, steps, seed, skip
        self.limit: int | None = None  # steps after which episodes are truncated, as seen the first time
        self._make = make
        env = self.make()
        self._single_space = env.single_action_space
        env.close()
        self._space = batch_space(self._single_space, num_envs)
        self._usual, self._other = self._sample(seed), self._sample(seed + 1)

    def make(self) -> AnyVectorEnv:
        """A new environment."""
        return self._make(self.num_envs, self.mode)

    def asks(self, rule: str) -> bool:
        """Whether the rule is required."""
        return rule not in self.skip

    def fail(self, rule: str, found: str, step: int | None = None, row: int | None = None) -> None:
        """Raise the error, unless the rule is not required."""
        if self.asks(rule):
            raise VectorEnvError(rule, found, self.mode, step, row)

    def actions(self, number: int, other: Rows | None = None) -> Any:
        """Random actions of step `number`; the rows of `other` get different ones."""
        number %= self.steps
        if other is None or not other.any():
            return copied(self._usual[number])
        usual, different = (iterate(self._space, table[number]) for table in (self._usual, self._other))
        rows = [second if differs else first for first, second, differs in zip(usual, different, other, strict=True)]
        empty: Any = create_empty_array(self._single_space, self.num_envs)
        return concatenate(self._single_space, rows, empty)

    def only(self, row: int) -> Rows:
        """(N,) bool, True in `row` alone."""
        return np.asarray(np.arange(self.num_envs) == row)

    def _sample(self, seed: int) -> list[Any]:
        self._space.seed(seed)
        return [copied(self._space.sample()) for _ in range(self.steps)]


class Run:
    """An environment being played."""

    def __init__(self, case: Case, env: AnyVectorEnv) -> None:
        self._case, self._env = case, env
        self._age = np.zeros(case.num_envs, int)
        self.number = 0  # of the step that comes next
        self.waiting = np.zeros(case.num_envs, bool)  # rows that finished and have not been reset yet
        self.returned: Any = None  # by the last call, as it came
        self.observations: list[Any] = []
        self.info: list[Entries] = []

    def reset(self, seed: int | list[int] | None = None, mask: Rows | None = None) -> None:
        """Reset all rows, or those of `mask`."""
        count = self._case.num_envs
        options = None if mask is None else {"reset_mask": mask.copy()}
        self.returned = self._env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        if not isinstance(self.returned, tuple) or len(self.returned) != 2:
            self._fail("returned_types", f"reset returned {kind(self.returned)}, expected (obs, info)")
        before, self.observations = self.observations, self._rows(self.returned[0])
        self._check_info(self.returned[1], "info")
        self.info = info_rows(copied(self.returned[1]), count)
        rows = np.ones(count, bool) if mask is None else mask
        if options is not None:
            if "reset_mask" not in options:
                self._fail("reset_mask", "reset removed 'reset_mask' from the caller's options")
            elif not np.array_equal(options["reset_mask"], rows):
                self._fail("reset_mask", "reset changed the caller's mask")
            for row in indices(~rows):
                if not equal(self.observations[row], before[row]):
                    self._fail("reset_mask", "a reset of other rows changed this row's observation", row)
        self._age[rows] = 0
        self.waiting = self.waiting & ~rows

    def reset_waiting(self) -> None:
        """What the caller owes in DISABLED mode."""
        if self._case.mode is AutoresetMode.DISABLED and self.waiting.any():
            self.reset(mask=self.waiting.copy())

    def step(self, actions: Any) -> Step:
        """Take one step."""
        mode, resetting = self._case.mode, self.waiting
        self.returned = self._env.step(actions)
        self._check_types()
        _, reward, terminated, truncated, info = self.returned
        self.observations = self._rows(self.returned[0])
        self._check_info(info, "info")
        self._age += 1
        if mode is AutoresetMode.NEXT_STEP:
            self._age[resetting] = 0
            for row in indices(resetting & ((reward != 0) | terminated | truncated)):
                found = f"reward {reward[row]}, terminated {terminated[row]}, truncated {truncated[row]}"
                self._fail("autoreset", f"{found}, expected 0, False, False in the step that resets", row)
        self._check_lengths(truncated & ~terminated)
        self.waiting = terminated | truncated
        if mode is AutoresetMode.SAME_STEP:
            self._check_final(info, self.waiting)
            self._age[self.waiting] = 0
            self.waiting = np.zeros_like(self.waiting)
        self.number += 1
        return step_of(self._env, mode, self.returned)

    def _fail(self, rule: str, found: str, row: int | None = None) -> None:
        self._case.fail(rule, found, self.number, row)

    def _check_types(self) -> None:
        if not isinstance(self.returned, tuple) or len(self.returned) != 5:
            self._fail("returned_types", f"step returned {kind(self.returned)}, expected five things")
        shape = (self._case.num_envs,)
        for name, array, code, words in (
            ("reward", self.returned[1], "f", "floats"),
            ("terminated", self.returned[2], "b", "bool"),
            ("truncated", self.returned[3], "b", "bool"),
        ):
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind != code:
                self._fail("returned_types", f"{name} is {kind(array)}, expected {shape} {words}")
        for row in indices(~np.isfinite(self.returned[1])):
            self._fail("returned_types", f"reward is {self.returned[1][row]}", row)

    def _rows(self, observations: Any) -> list[Any]:
        """The observations by row, as copies, after a look at their types and bounds."""
        env = self._env
        for name, space, part in leaves(env.observation_space, observations, "observation"):
            if not isinstance(part, np.ndarray) or part.dtype != space.dtype or part.shape != space.shape:
                self._fail("observation_space", f"{name} is {kind(part)}, expected {space.shape} {space.dtype}")
        rows = list(iterate(env.observation_space, copied(observations)))
        for row, each in enumerate(rows):
            if not env.single_observation_space.contains(each):
                self._fail("observation_space", f"{each} lies outside", row)
        return rows

    def _check_info(self, info: Any, where: str) -> None:
        count = self._case.num_envs
        if not isinstance(info, dict):
            self._fail("info_mask", f"{where} is {kind(info)}, expected a dict")
        for key, value in info.items():
            if key.startswith("_"):
                if key[1:] not in info:
                    self._fail("info_mask", f"{where}[{key!r}] masks nothing")
                continue
            mask = info.get(f"_{key}")
            if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (count,):
                self._fail("info_mask", f"{where}['_{key}'] is {kind(mask)}, expected ({count},) bool")
            if isinstance(value, dict):
                if key != "final_obs":
                    self._check_info(value, f"{where}[{key!r}]")
            elif not hasattr(value, "__len__") or len(value) != count:
                self._fail("info_mask", f"{where}[{key!r}] is {kind(value)}, expected {count} entries")

    def _check_lengths(self, truncated: Rows) -> None:
        for row in indices(truncated):
            age = int(self._age[row])
            self._case.limit = self._case.limit or age
            if age != self._case.limit:
                found = f"truncated after {age} steps of its episode, where the first one took {self._case.limit}"
                self._fail("episode_length", found, row)

    def _check_final(self, info: Entries, done: Rows) -> None:
        for name in ("final_obs", "final_info"):
            mask = info.get(f"_{name}", np.zeros_like(done))
            for row in indices(mask != done):
                words = "finished" if done[row] else "not finished"
                self._fail("final_obs", f"'_{name}' is {mask[row]} in a row that has {words}", row)
        for row in indices(done):
            final = entry(info["final_obs"], row)
            if not self._env.single_observation_space.contains(final):
                self._fail("final_obs", f"{final} lies outside the observation space", row)
        for row, entries in enumerate(info_rows(info.get("final_info", {}), len(done))):
            if entries and not done[row]:
                self._fail("final_obs", f"final_info tells {sorted(entries)} of a row that has not finished", row)
