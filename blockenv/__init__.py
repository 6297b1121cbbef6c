"""blockenv: a Gymnasium benchmark for messaging customers who can block.

Importing it registers one versioned id for every scenario of the canon, and `blockenv/Custom-v0` for scenarios of
your own: `gym.make("blockenv/Omnichannel-v0")` is one customer, `gym.make_vec(..., num_envs=4096)` a population.
"""

import gymnasium as _gymnasium

from blockenv.cohort import Cohort
from blockenv.observation import FEATURES
from blockenv.policies import Informed, Placed, Policy, Remembering, Student
from blockenv.rollout import EVALUATION_SEED, Result, play
from blockenv.scenarios import SCENARIOS, Scenario, ScenarioError

__version__ = "0.1.0"
__all__ = [
    "EVALUATION_SEED",
    "FEATURES",
    "SCENARIOS",
    "Cohort",
    "Informed",
    "Placed",
    "Policy",
    "Remembering",
    "Result",
    "Scenario",
    "ScenarioError",
    "Student",
    "play",
]


def _register() -> None:
    entries: list[tuple[str, int | None, dict[str, str]]] = [
        (name, scenario.horizon, {"scenario": name}) for name, scenario in SCENARIOS.items()
    ]
    for name, horizon, kwargs in [*entries, ("Custom-v0", None, {})]:
        _gymnasium.register(
            id=f"blockenv/{name}",
            entry_point="blockenv.envs:CustomerEnv",
            vector_entry_point="blockenv.envs:PopulationEnv",
            max_episode_steps=horizon,
            kwargs=kwargs,
        )


_register()
