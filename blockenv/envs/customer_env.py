"""One customer as a Gymnasium environment: a population of one row, without the row."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from blockenv.envs import infos, layout
from blockenv.envs.arguments import RENDER_MODES
from blockenv.envs.infos import Info
from blockenv.envs.layout import Observation
from blockenv.envs.population_env import PopulationEnv
from blockenv.scenarios import ScenarioLike

_ENDLESS = 2**62  # days


class CustomerEnv(gym.Env[Any, Any]):
    """One customer: a `PopulationEnv` with a single row, without the row.

    The same customer with the same luck as row i of a population, if `first_customer` is that row's customer.
    `reset()` without a seed meets the next customer.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 7}

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
        return layout.row_of(seen), infos.of_one(info)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Live one day; `action` is a whole number in 0..A-1.

        Raises:
            ValueError: an action of wrong type or range.
            gymnasium.error.ResetNeeded: before `reset`, or after the episode is over.
        """
        seen, reward, terminated, truncated, info = self._population.step(np.asarray(action)[None])
        return layout.row_of(seen), float(reward[0]), bool(terminated[0]), bool(truncated[0]), infos.of_one(info)

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
