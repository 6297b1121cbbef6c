"""A population as a Gymnasium vector environment: rows that serve one customer after another; a step is a day."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from blockenv import observation
from blockenv.cohort import Cohort
from blockenv.envs import infos, layout
from blockenv.envs.arguments import (
    RENDER_MODES,
    check_render_mode,
    first_limits,
    known_autoreset_mode,
    one_seed,
    reset_mask,
    reward_field,
    row_seeds,
    whole_number,
)
from blockenv.envs.infos import Info
from blockenv.envs.layout import Observation
from blockenv.rollout import checked_actions
from blockenv.scenarios import Scenario, ScenarioError, ScenarioLike, get


class PopulationEnv(VectorEnv[Any, Any, Any]):
    """N rows, each serving one customer at a time; a step is a day.

    Observations are (N, D) float32 (`features` names the columns), actions (N,) integers with 0 for silence and
    `scenario.message_name(a)` for the words of the others. A customer who leaves for ever is `terminated`; one whose
    episode reaches `max_episode_steps` is `truncated`.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 7}

    _picture: Any = None  # of the class, as Gymnasium may close an environment whose constructor failed

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioLike | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        first_customer: int = 0,
        reward: str = "realised",
        stagger: bool = False,
        dict_obs: bool = False,
        render_mode: str | None = None,
        compiled_code: bool | None = None,
    ) -> None:
        """Set up the rows; the customers come with `reset`.

        Args:
            num_envs: rows N.
            scenario: a `Scenario`, the name of one of the canon, a YAML file, or a plain dict.
            max_episode_steps: days of an episode; the scenario's horizon by default.
            autoreset_mode: who replaces a customer whose episode is over, as Gymnasium 1.x defines it.
            first_customer: number of row 0's first customer, so that a population can be split into shards.
            reward: `realised` orders, or their `expected` value given state and action: the same mean with far
                less noise, for training in simulation.
            stagger: let first episodes end at different times, so that rows are spread over all days of a life.
            dict_obs: observations as a dictionary of named features instead of one flat array.
            render_mode: `rgb_array` or `human` for a picture of the population, `ansi` for the life of row 0.
            compiled_code: False for NumPy alone, True for compiled functions at once or a `CompilerError` in the
                first step; by default they take over when it pays, as they do the same to the last bit.

        Raises:
            ScenarioError: unknown scenario, or numbers that cannot be.
            ValueError: any other argument out of range.
        """
        if scenario is None:
            raise ScenarioError("scenario: none given; pass a name, a .yaml file, a dict or a Scenario")
        self.scenario: Scenario = get(scenario)
        self.num_envs = whole_number("num_envs", num_envs, 1)
        horizon = self.scenario.horizon if max_episode_steps is None else max_episode_steps
        self._horizon = whole_number("max_episode_steps", horizon, 1)
        self._first_customer = whole_number("first_customer", first_customer, 0)
        self._reward_field = reward_field(reward)
        check_render_mode(render_mode)
        self.autoreset_mode = known_autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.features = observation.layout(self.scenario)
        self.single_action_space = gym.spaces.Discrete(self.scenario.actions)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.single_observation_space = layout.space(self.scenario, dict_obs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._stagger = stagger
        self._dict_obs = dict_obs
        self._compiled_code = compiled_code
        self._cohort: Cohort | None = None
        self._done: NDArray[np.bool_] = np.zeros(self.num_envs, bool)
        self._limit: NDArray[np.int64] = np.full(self.num_envs, self._horizon)

    @property
    def cohort(self) -> Cohort:
        """The customers themselves, for analysis.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
        """
        if self._cohort is None:
            raise gym.error.ResetNeeded("call reset() before using the environment")
        return self._cohort

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start new customers.

        Args:
            seed: an integer starts the population of that seed at `first_customer`; a sequence of N seeds makes every
                row a population of its own, as N single environments would be; None goes on with each row's next
                customer.
            options: `{"reset_mask": (N,) bool}` resets only the rows that are True.

        Raises:
            TypeError, ValueError: a mask or seeds of wrong type or shape.
        """
        mask = reset_mask(options, self.num_envs)
        super().reset(seed=int(seed) if isinstance(seed, int | np.integer) else None)
        if self._cohort is None or (seed is not None and mask.all()):
            if self._cohort is None and not mask.all():
                raise gym.error.ResetNeeded("reset_mask: reset every row once before resetting some")
            self._start(self._seeds(seed))
        elif seed is None:
            self._cohort.replace(mask)
            self._limit[mask] = self._horizon
        else:
            seeds, customers = self._seeds(seed)
            self._cohort.restart(mask, seeds[mask], customers[mask])
            self._limit[mask] = self._horizon
        self._done[mask] = False
        if self.render_mode is not None and mask.all():
            from blockenv.rendering import Chronicle  # plotting is not loaded unless somebody wants to look

            if self._picture is not None:
                self._picture.close()
            self._picture = Chronicle(self.cohort, self._limit)
        return self._observation(), infos.of_reset(self.cohort, mask)

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """Live one day.

        Args:
            actions: (N,) integers in 0..A-1; in NEXT_STEP mode the action of a row that is being reset is ignored.

        Returns:
            Observations, rewards (N,) float64, terminated (N,) bool, truncated (N,) bool, info.

        Raises:
            ValueError: actions of wrong shape, type or range.
            gymnasium.error.ResetNeeded: before `reset`, or a finished row in DISABLED mode.
        """
        cohort = self.cohort
        chosen = checked_actions(actions, self.num_envs, self.scenario.actions)
        ended = self._done
        waiting = np.count_nonzero(ended) > 0  # faster than any()
        if waiting and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"rows {np.flatnonzero(ended)[:10]} are over: reset them by options['reset_mask']"
            )
        outcome = cohort.step(chosen)
        reward = getattr(outcome, self._reward_field).astype(np.float64)
        terminated = outcome.churned.copy()
        truncated = (cohort.log.day >= self._limit) & ~terminated
        if self._picture is not None:
            self._picture.record(cohort, chosen, outcome, ~ended if waiting else None)
        if waiting:
            cohort.replace(ended)
            over = np.flatnonzero(ended)  # few: cheaper by number than by mask
            self._limit[over] = self._horizon
            reward[over], terminated[over], truncated[over] = 0.0, False, False
            info = infos.of_step(cohort, outcome, ~ended)
        else:
            info = infos.of_step(cohort, outcome, None)
        done = terminated | truncated
        self._done = done
        seen = self._observation()
        if self.autoreset_mode is AutoresetMode.SAME_STEP and np.count_nonzero(done):
            info = self._hand_over(seen, info, done)
            self._done = np.zeros(self.num_envs, bool)
        if self.render_mode == "human":
            self.render()
        return seen, reward, terminated, truncated, info

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The whole population as arrays: customers, their state, their log and their clocks."""
        return self.cohort.snapshot() | {"done": self._done.copy(), "limit": self._limit.copy()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot` as if nothing had happened in between.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
            KeyError, ValueError: an array is missing or of another shape.
        """
        self.cohort.restore(arrays)
        self._done, self._limit = arrays["done"].copy(), arrays["limit"].copy()

    def action_masks(self) -> NDArray[np.bool_]:
        """(N, A) bool, True where the action is legal today: not on a channel known to be blocked."""
        return self.cohort.copy_of_legal_actions()

    def render(self) -> Any:
        """A tuple with one frame, (H, W, 3) uint8 or text, of the population since its last full reset; None for human."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() without a render_mode: pass render_mode='rgb_array', 'human' or 'ansi' when making"
            )
            return None
        _ = self.cohort
        frame = self._picture.frame(self.render_mode)
        return None if frame is None else (frame,)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window of `human` rendering."""
        if self._picture is not None:
            self._picture.close()

    def _start(self, addresses: tuple[NDArray[np.uint64], NDArray[np.int64]]) -> None:
        seeds, customers = addresses
        self._cohort = Cohort(self.scenario, seeds, customers, compiled_code=self._compiled_code)
        self._done = np.zeros(self.num_envs, bool)
        self._limit = first_limits(customers, self._horizon, self._stagger)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The seed and first customer of each row."""
        of_rows = row_seeds(seed, self.num_envs, self._random_seed)
        if of_rows is not None:
            return of_rows, np.full(self.num_envs, self._first_customer, np.int64)
        rows = np.arange(self.num_envs, dtype=np.int64)
        return np.full(self.num_envs, one_seed(seed, self._random_seed), np.uint64), self._first_customer + rows

    def _random_seed(self) -> int:
        return int(self.np_random.integers(2**63))

    def _observation(self, rows: NDArray[np.bool_] | None = None) -> Observation:
        """What is seen of all rows, or of `rows` alone."""
        flat = self.cohort.observe() if rows is None else self.cohort.observe(rows)
        return layout.named(flat, self.features) if self._dict_obs else flat

    def _hand_over(self, seen: Observation, info: Info, done: NDArray[np.bool_]) -> Info:
        """Replace finished rows within the step: newcomers into `seen`, what was into final_obs and final_info."""
        final_seen = layout.only(seen, done)
        self.cohort.replace(done)
        self._limit[done] = self._horizon
        layout.overwrite(seen, done, self._observation(done))
        return infos.handed_over(self.cohort, info, final_seen, done)
