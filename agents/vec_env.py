"""Lets stable-baselines3 train on a whole population of customers at once.

It only translates between two interfaces: it must never change an observation, an action or the moment a
customer leaves.
"""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn


class VecEnvAdapter(VecEnv):
    """A stable-baselines3 ``VecEnv`` around a Gymnasium ``VectorEnv`` of N rows.

    The environment must reset a finished row within the same step (``AutoresetMode.SAME_STEP``) and give the
    true last observations as ``info["final_obs"]``, a float array ``(N, d)`` or an object array of N rows.
    Episode returns (undiscounted, unscaled) and lengths are counted here, so no ``Monitor`` is needed.

    What the last step ended is also kept as arrays, for learners that do not want to walk N dictionaries:

    - ``last_final_rows``: ``(k,)`` int, the rows whose episode ended, ascending
    - ``last_final_observations``: ``(k, d)``, their true last observations
    - ``last_truncated``: ``(N,)`` bool, rows cut off by the time limit alone (a learner bootstraps these)
    - ``info_arrays``: the environment's own info dictionary of the last step or reset

    Args:
        env: the environment; its observations must be arrays (``Box``), not dictionaries or tuples.
        reward_scale: factor on the rewards handed to the learner (not on the reported episode returns).
        weigh: a further factor for each row, ``(N,)`` from the observations ``(N, d)`` that were acted on.

    Raises:
        ValueError: if the environment resets in another mode, has composite observations, or the scale is not
            positive.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        reward_scale: float = 1.0,
        weigh: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    ) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"metadata['autoreset_mode'] is {mode}, expected {AutoresetMode.SAME_STEP} ({env})")
        if not isinstance(env.single_observation_space, gym.spaces.Box):
            raise ValueError(f"single_observation_space is {env.single_observation_space}, expected a Box")
        if not reward_scale > 0:
            raise ValueError(f"reward_scale is {reward_scale}, expected a positive number")
        self.env = env
        self.reward_scale = reward_scale
        self._weigh = weigh
        self._weights: NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        # An environment that reuses its buffers would overwrite what a learner is about to store.
        self._observations_are_reused = getattr(env.unwrapped, "copy", True) is False
        self._reset_options_once: dict[str, Any] | None = None
        self._actions: NDArray[Any] | None = None
        self._start = time.time()
        self._returns: NDArray[np.float64] = np.zeros(self.num_envs)
        self._lengths: NDArray[np.int64] = np.zeros(self.num_envs, dtype=np.int64)
        self.info_arrays: dict[str, Any] = {}
        self._forget_last_step()

    def _forget_last_step(self) -> None:
        shape = self.env.single_observation_space.shape or ()
        self.last_truncated: NDArray[np.bool_] = np.zeros(self.num_envs, dtype=np.bool_)
        self.last_final_rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        dtype = self.env.single_observation_space.dtype
        self.last_final_observations: NDArray[Any] = np.zeros((0, *shape), dtype)

    def reset(self) -> NDArray[Any]:
        """Start all rows afresh with the stored seed and options, each used once; observations ``(N, d)``."""
        options = self._reset_options_once
        observations, self.info_arrays = self.env.reset(seed=self._seeds[0], options=options)
        self._reset_seeds()
        self._reset_options_once = None
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._forget_last_step()
        self._set_weights(observations)
        return self._own(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions ``(N,)`` for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step: observations ``(N, d)``, scaled rewards ``(N,)`` float32, dones ``(N,)``, N infos.

        Rows that go on share one empty dictionary; a row that ended has ``terminal_observation``,
        ``TimeLimit.truncated`` and ``episode`` (``r`` return, ``l`` steps, ``t`` seconds since the adapter
        was made).

        Raises:
            ValueError: if a row ended and the environment gave no ``final_obs``.
        """
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        self.info_arrays = info
        self._returns += rewards
        self._lengths += 1
        dones = np.logical_or(terminated, truncated)
        rows = np.flatnonzero(dones)
        self.last_final_rows = rows
        self.last_truncated = np.logical_and(truncated, np.logical_not(terminated))
        # One dictionary for all rows that go on: N fresh ones can cost more than the environment's own step.
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        if rows.size:
            self.last_final_observations = self._final_observations(info, rows)
            self._describe_endings(infos)
            self._returns[rows] = 0.0
            self._lengths[rows] = 0
        else:
            self.last_final_observations = self.last_final_observations[:0]
        # Always a new array: learners add bootstrapped values to it in place.
        scaled = np.multiply(rewards, self.reward_scale).astype(np.float32)
        if self._weights is not None:
            scaled *= self._weights
        self._set_weights(observations)
        return self._own(observations), scaled, dones, infos

    def _set_weights(self, observations: NDArray[Any]) -> None:
        if self._weigh is not None:
            self._weights = self._weigh(observations).astype(np.float32)

    def _own(self, observations: NDArray[Any]) -> NDArray[Any]:
        return observations.copy() if self._observations_are_reused else observations

    def _final_observations(self, info: dict[str, Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        if "final_obs" not in info:
            raise ValueError(f"info has {sorted(info)}, expected 'final_obs' because rows {rows.tolist()} ended")
        final = info["final_obs"][rows]
        return np.stack(final.tolist()) if final.dtype == object else final

    def _describe_endings(self, infos: list[dict[str, Any]]) -> None:
        rows = self.last_final_rows
        seconds = round(time.time() - self._start, 6)
        endings = zip(
            rows.tolist(),
            self.last_final_observations,
            self.last_truncated[rows].tolist(),
            self._returns[rows].tolist(),
            self._lengths[rows].tolist(),
            strict=True,
        )
        for row, observation, is_truncated, episode_return, length in endings:
            infos[row] = {
                "terminal_observation": observation,
                "TimeLimit.truncated": is_truncated,
                "episode": {"r": episode_return, "l": length, "t": seconds},
            }

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs to go on from here, as arrays: the population and the counts of episodes."""
        layer: Any = self._layer_with("snapshot")
        arrays = {f"env.{name}": values for name, values in layer.snapshot().items()}
        if self._weights is not None:
            arrays["adapter.weights"] = self._weights.copy()
        return arrays | {"adapter.returns": self._returns.copy(), "adapter.lengths": self._lengths.copy()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`; further entries of `arrays` are ignored.

        Raises:
            KeyError, ValueError: an array is missing or of another shape.
        """
        population = {name.removeprefix("env."): values for name, values in arrays.items() if name.startswith("env.")}
        layer: Any = self._layer_with("restore")
        layer.restore(population)
        self._returns[:] = arrays["adapter.returns"]
        self._lengths[:] = arrays["adapter.lengths"]
        if self._weigh is not None:
            self._weights = arrays["adapter.weights"].copy()
        self._forget_last_step()

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Store the options of the next reset: one dictionary for all rows, which share one environment.

        Raises:
            ValueError: if options differ by row or hold ``reset_mask`` (a learner takes every row for fresh).
        """
        if isinstance(options, list):
            if any(row != options[0] for row in options):
                raise ValueError("options differ between rows, expected one dictionary for all")
            options = options[0]
        if options and "reset_mask" in options:
            raise ValueError("options hold 'reset_mask', expected a reset of all rows")
        self._reset_options_once = deepcopy(options) if options else None

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[Any] | None]:
        """The environment's frames, one a row."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def _layer_with(self, name: str) -> VectorEnv[Any, Any, Any]:
        layer = self.env
        while not hasattr(layer, name) and isinstance(layer, VectorWrapper):
            layer = layer.env
        return layer

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, repeated once for each row asked for."""
        value = getattr(self._layer_with(attr_name), attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment.

        Raises:
            ValueError: if only some rows are meant.
        """
        if indices is not None:
            raise ValueError(f"indices is {indices}, expected None: all rows share {attr_name!r}")
        setattr(self._layer_with(attr_name), attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> Any:
        """Call a method of the environment once and return one answer for each row asked for.

        An answer that has one entry a row is handed out by row (``action_masks`` stays an array ``(N, A)``);
        any other answer is repeated.
        """
        answer = getattr(self._layer_with(method_name), method_name)(*method_args, **method_kwargs)
        by_row = isinstance(answer, (np.ndarray, list, tuple)) and len(answer) == self.num_envs
        if by_row and indices is None:
            return answer
        return [answer[row] if by_row else answer for row in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for ``Monitor``, whose counts the adapter keeps itself, and False for every other wrapper."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
