"""What the speed page tells of agents: training steps a second and where they go, and customers planned a second.

Everything measured is returned as numbers; nothing is printed or written.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from blockenv import mdp, population
from blockenv.scenarios import Scenario, get
from scripts.speed_measures import timed

PLANNED_DAYS = 364
_STEPS = 1_000_000  # customer-days of a training


class Clock:
    """Notes when learning starts for good, so that set-up does not count, and when it ends."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] = (0, 0.0)

    def advance(self, steps: int, total: int, metrics: Any) -> None:
        """Take note of the time."""
        self._last = (steps, time.process_time())
        self._first = self._first or self._last

    @property
    def rate(self) -> float:
        """Customer-days a second of processor time."""
        assert self._first is not None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])


def training(world: Scenario, steps: int = _STEPS) -> dict[str, float]:
    """Steps a second of our learners on `world`, and of stable-baselines3's PPO as it comes on its own CartPole."""
    import gymnasium as gym
    from stable_baselines3 import PPO

    found = {f"{agent} on {world.name}": _trained(world, agent, steps).rate for agent in ("ppo", "dqn")}
    default = PPO("MlpPolicy", gym.make("CartPole-v1"), device="cpu")
    started = time.process_time()
    default.learn(3 * default.n_steps)
    found["stable-baselines3's PPO as it comes, on CartPole-v1"] = 3 * default.n_steps / (time.process_time() - started)
    return found


def training_shares(world: Scenario, agent: str, steps: int = _STEPS) -> dict[str, float]:
    """Nanoseconds of a training step that its parts take, by name; the last is what is left."""
    from agents.tensor_dqn import TensorDQN
    from agents.tensor_ppo import TensorPPO
    from blockenv.envs.tensor_population import TensorPopulation

    living = (TensorPopulation, "step", "customers: luck, dynamics, log, observation")
    parts: dict[str, list[tuple[Any, str, str]]] = {
        "ppo": [
            living,
            (TensorPPO, "choose", "policy"),
            (TensorPPO, "_judge", "values and advantages"),
            (TensorPPO, "_update", "update"),
        ],
        "dqn": [living, (TensorDQN, "choose", "policy"), (TensorDQN, "_update", "memory drawn, and update")],
    }
    spent = {name: 0.0 for _, _, name in parts[agent]}
    with timed(parts[agent], spent):
        each = 1e9 / _trained(world, agent, steps).rate
    found = {name: 1e9 * seconds / steps for name, seconds in spent.items()}
    return found | {"the rest": max(each - sum(found.values()), 0.0)}


def _trained(world: Scenario, agent: str, steps: int) -> Clock:
    from agents import agent_class
    from benchmarks.configs import agent_settings

    clock = Clock()
    agent_class(agent)(world, agent_settings(agent, world.name, {"steps": steps})).fit(0, clock)
    return clock


def planning(names: Sequence[str], customers: int = 16, days: int = PLANNED_DAYS) -> dict[str, dict[str, float]]:
    """Customers planned a second by exact backward induction, by scenario and by what does the arithmetic."""
    import torch

    ways: dict[str, tuple[type, str | None]] = {
        "NumPy, float64": (np.float64, None),
        "NumPy, float32": (np.float32, None),
        "tensors, CPU, float32": (np.float32, "cpu"),
    }
    if torch.cuda.is_available():
        ways |= {"tensors, GPU, float64": (np.float64, "cuda"), "tensors, GPU, float32": (np.float32, "cuda")}
    return {name: {way: _planned(get(name), customers, days, *ways[way]) for way in ways} for name in names}


def _planned(world: Scenario, customers: int, days: int, dtype: type, device: str | None) -> float:
    import torch

    count = customers if device in (None, "cpu") else 64 * customers
    tile = customers if device in (None, "cpu") else count
    traits = population.draw(world, np.full(count, 1, np.uint64), np.arange(count), dtype)
    asarray = np.asarray if device is None else lambda values: torch.from_numpy(np.asarray(values)).to(device)
    clock = time.perf_counter if device == "cuda" else time.process_time
    batches = mdp.batches(world, traits, tile, asarray)
    mdp.to_host(mdp.optimal_value(batches[0], 2))  # to load what is loaded once
    started = clock()
    for batch in batches:
        mdp.to_host(mdp.optimal_value(batch, days))
    return count / (clock() - started)
