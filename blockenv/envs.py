"""The Gymnasium face of the simulator: one customer as an `Env`, a population as a `VectorEnv`.

Thin shells around a `Cohort`: they hold seeds and clocks, decide who is reset, and lay out `info`. They compute no
probability, and never replace a customer whom the autoreset mode leaves to the caller.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from blockenv import observation
from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome
from blockenv.rollout import checked_actions
from blockenv.scenarios import Scenario, ScenarioError, ScenarioLike, get

Observation = Any  # (N, D) float32, or a dict of (N, width) float32
Info = dict[str, Any]
_RENDER_MODES = ["rgb_array", "human", "ansi"]
_ENDLESS = 2**62  # days
_SPANS = {"realised": "reward", "expected": "expected_reward"}


class PopulationEnv(VectorEnv[Any, Any, Any]):
    """N rows, each serving one customer at a time; a step is a day.

    Observations are (N, D) float32 (`features` names the columns), actions (N,) integers with 0 for silence and
    `scenario.message_name(a)` for the words of the others. A customer who leaves for ever is `terminated`; one whose
    episode reaches `max_episode_steps` is `truncated`.
    """

    metadata: dict[str, Any] = {"render_modes": _RENDER_MODES, "render_fps": 7}

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

        Raises:
            ScenarioError: unknown scenario, or numbers that cannot be.
            ValueError: any other argument out of range.
        """
        if scenario is None:
            raise ScenarioError("scenario: none given; pass a name, a .yaml file, a dict or a Scenario")
        self.scenario: Scenario = get(scenario)
        horizon = self.scenario.horizon if max_episode_steps is None else max_episode_steps
        for name, number, least in (
            ("num_envs", num_envs, 1),
            ("max_episode_steps", horizon, 1),
            ("first_customer", first_customer, 0),
        ):
            if not isinstance(number, int | np.integer) or number < least:
                raise ValueError(f"{name}: {number!r}, expected a whole number of at least {least}")
        if reward not in _SPANS:
            raise ValueError(f"reward: {reward!r}, expected one of {', '.join(_SPANS)}")
        if render_mode is not None and render_mode not in _RENDER_MODES:
            raise ValueError(f"render_mode: {render_mode!r}, expected one of {', '.join(_RENDER_MODES)} or None")
        self.num_envs = int(num_envs)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.features = observation.layout(self.scenario)
        self.single_action_space = gym.spaces.Discrete(self.scenario.actions)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.single_observation_space = _observation_space(self.scenario, dict_obs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._horizon = int(horizon)
        self._first_customer = int(first_customer)
        self._reward_field = _SPANS[reward]
        self._stagger = stagger
        self._dict_obs = dict_obs
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
        mask = self._reset_mask(options)
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
        return self._observation(), self._reset_info(mask)

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
        waiting = bool(ended.any())
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
            self._limit[ended] = self._horizon
            reward[ended], terminated[ended], truncated[ended] = 0.0, False, False
            info = self._info(outcome, ~ended)
        else:
            info = self._info(outcome, None)
        done = terminated | truncated
        self._done = done
        seen = self._observation()
        if self.autoreset_mode is AutoresetMode.SAME_STEP and done.any():
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
        return self.cohort.legal_actions().copy()

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
        self._cohort = Cohort(self.scenario, seeds, customers)
        self._done = np.zeros(self.num_envs, bool)
        self._limit = np.full(self.num_envs, self._horizon)
        if self._stagger:
            # Spread by customer number, so that a row's clock does not depend on the batch it is in; the factor is
            # 2^32 by the golden ratio, so that neighbours are far apart whatever the horizon.
            self._limit -= (customers * 0x9E3779B9 % 2**32) * self._horizon >> 32

    def _seeds(self, seed: int | Sequence[int | None] | None) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The seed and first customer of each row."""
        rows = np.arange(self.num_envs, dtype=np.int64)
        if isinstance(seed, Sequence | np.ndarray):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed: {len(seed)} seeds for {self.num_envs} rows")
            numbers = [self._seed(each) for each in seed]
            return np.array(numbers, np.uint64), np.full(self.num_envs, self._first_customer, np.int64)
        return np.full(self.num_envs, self._seed(seed), np.uint64), self._first_customer + rows

    def _seed(self, seed: Any) -> int:
        """One seed as it was given, or a random one for None."""
        if seed is None:
            return int(self.np_random.integers(2**63))
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
            raise ValueError(f"seed: {seed!r}, expected a whole number in 0..2^63-1")
        return int(seed)

    def _reset_mask(self, options: Mapping[str, Any] | None) -> NDArray[np.bool_]:
        mask = None if options is None else options.get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            found = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise TypeError(f"options['reset_mask']: {found}, expected a NumPy array of bool")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"options['reset_mask']: shape {mask.shape}, expected ({self.num_envs},)")
        if not mask.any():
            raise ValueError("options['reset_mask']: all False, expected at least one row to reset")
        return mask

    def _observation(self) -> Observation:
        return self._laid_out(self.cohort.observe())

    def _laid_out(self, flat: NDArray[Any]) -> Observation:
        if not self._dict_obs:
            return flat
        return {name: flat[:, columns].copy() for name, columns in self.features.items()}

    def _hand_over(self, seen: Observation, info: Info, done: NDArray[np.bool_]) -> Info:
        """Replace finished rows within the step: newcomers into `seen`, what was into final_obs and final_info."""
        final_seen = _only(seen, done)
        final = {name: values & done if name.startswith("_") else values for name, values in info.items()}
        self.cohort.replace(done)
        self._limit[done] = self._horizon
        _overwrite(seen, done, self._laid_out(self.cohort.observe(done)))
        fresh: Info = {}
        gone = np.flatnonzero(done)
        for name in _OUTCOMES:  # a reset has no outcome
            values = info[name].copy()
            values[gone] = 0
            fresh[name], fresh[f"_{name}"] = values, info[f"_{name}"] & ~done
        fresh.update(self._state_info())
        return {
            **fresh,
            "final_obs": final_seen,
            "_final_obs": done.copy(),
            "final_info": final,
            "_final_info": done.copy(),
        }

    def _info(self, outcome: Outcome, rows: NDArray[np.bool_] | None) -> Info:
        """What happened (in `rows`; None for all) and how everybody is now."""
        info: Info = {}
        everybody = _everybody(self.num_envs)
        idle = None if rows is None else np.flatnonzero(~rows)  # few: cheaper by number than by mask
        for name, field in _OUTCOMES.items():
            values = getattr(outcome, field).T  # made by this step and kept by nobody else
            if rows is not None:
                values[idle] = 0
            info[name], info[f"_{name}"] = values, everybody if rows is None else rows.copy()
        info.update(self._state_info())
        return info

    def _reset_info(self, rows: NDArray[np.bool_]) -> Info:
        info = self._state_info()
        return {name: rows.copy() if name.startswith("_") else values for name, values in info.items()}

    def _state_info(self) -> Info:
        cohort, everybody = self.cohort, _everybody(self.num_envs)
        info = {
            "action_mask": cohort.legal_actions().copy().view(np.int8),
            "customer": cohort.customer.copy(),
            "day": cohort.log.day.copy(),
            "segment": cohort.traits.segment.copy(),
            "fatigue": cohort.fatigue(),
            "bond": cohort.bond(),
            "reachable": cohort.state.reachable.T.copy(),
            "alive": cohort.state.alive.copy(),
        }
        return info | {f"_{name}": everybody for name in info}


class CustomerEnv(gym.Env[Any, Any]):
    """One customer: a `PopulationEnv` with a single row, without the row.

    The same customer with the same luck as row i of a population, if `first_customer` is that row's customer.
    `reset()` without a seed meets the next customer.
    """

    metadata: dict[str, Any] = {"render_modes": _RENDER_MODES, "render_fps": 7}

    def __init__(
        self,
        scenario: ScenarioLike | None = None,
        first_customer: int = 0,
        reward: str = "realised",
        dict_obs: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """See `PopulationEnv`, which has the same arguments."""
        self._population = PopulationEnv(
            num_envs=1,
            scenario=scenario,
            autoreset_mode=AutoresetMode.DISABLED,
            first_customer=first_customer,
            reward=reward,
            dict_obs=dict_obs,
            render_mode=render_mode,
        )
        self.metadata = dict(type(self).metadata)
        self.scenario = self._population.scenario
        self.features = self._population.features
        self.render_mode = render_mode
        self.observation_space = self._population.single_observation_space
        self.action_space = self._population.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Meet a customer: the first of `seed`, or the next one if there is no seed."""
        super().reset(seed=seed)
        registered = None if self.spec is None else gym.registry.get(self.spec.id)
        # What is registered with a time limit gets it from gym.make, by a wrapper that keeps its length to itself.
        endless = registered is not None and registered.max_episode_steps is not None
        self._population._horizon = _ENDLESS if endless else self.scenario.horizon
        seen, info = self._population.reset(seed=seed)
        return _row_of(seen), _info_of(info)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Live one day; `action` is a whole number in 0..A-1.

        Raises:
            ValueError: an action of wrong type or range.
            gymnasium.error.ResetNeeded: before `reset`, or after the episode is over.
        """
        seen, reward, terminated, truncated, info = self._population.step(np.asarray(action)[None])
        return _row_of(seen), float(reward[0]), bool(terminated[0]), bool(truncated[0]), _info_of(info)

    def action_masks(self) -> NDArray[np.bool_]:
        """(A,) bool, True where the action is legal today."""
        return np.asarray(self._population.action_masks()[0])

    def render(self) -> Any:
        """One frame: (H, W, 3) uint8 or text; None for human."""
        frames = self._population.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Close the window of `human` rendering."""
        self._population.close()


_OUTCOMES = {
    "margin": "margin",
    "discount": "discount",
    "message_cost": "cost",
    "expected_reward": "expected_reward",
    "churn_probability": "churn_probability",
    "order_value": "order_value",
    "sent": "sent",
    "delivered": "delivered",
    "opened": "opened",
    "ordered": "ordered",
    "blocked": "blocked",
    "reopened": "reopened",
}


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        expected = ", ".join(repr(each.value) for each in AutoresetMode)
        raise ValueError(f"autoreset_mode: {mode!r}, expected one of {expected}") from None


def _observation_space(scenario: Scenario, dict_obs: bool) -> gym.Space[Any]:
    low, high = observation.bounds(scenario)
    if not dict_obs:
        return gym.spaces.Box(low, high, dtype=np.float32)
    columns = observation.layout(scenario)
    return gym.spaces.Dict(
        {name: gym.spaces.Box(low[each], high[each], dtype=np.float32) for name, each in columns.items()}
    )


def _everybody(rows: int) -> NDArray[np.bool_]:
    """All True, read-only and without memory of its own, so that the masks of info cost nothing."""
    return np.broadcast_to(np.True_, rows)


def _only(seen: Observation, rows: NDArray[np.bool_]) -> Observation:
    """The observations of `rows`, zero elsewhere; zeroed memory costs nothing where it is not written."""
    if isinstance(seen, dict):
        return {name: _only(values, rows) for name, values in seen.items()}
    kept = np.zeros_like(seen)
    kept[rows] = seen[rows]
    return kept


def _overwrite(seen: Observation, rows: NDArray[np.bool_], fresh: Observation) -> None:
    if isinstance(seen, dict):
        for name, values in seen.items():
            values[rows] = fresh[name]
    else:
        seen[rows] = fresh


def _row_of(seen: Observation) -> Observation:
    return {name: values[0].copy() for name, values in seen.items()} if isinstance(seen, dict) else seen[0].copy()


def _info_of(info: Info) -> Info:
    return {name: values[0] for name, values in info.items() if not name.startswith("_")}
