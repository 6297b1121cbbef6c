"""Times things that live days, in turn with each other so that whatever else a machine does hits all alike.

A second is one of this process's processor time, and for a GPU one on the wall. It prints nothing and writes no file.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.cohort import Cohort
from blockenv.envs import PopulationEnv
from blockenv.envs.arguments import first_limits
from blockenv.scenarios import Scenario

_WARM_UP = 8  # days before anything counts, so that newcomers are drawn and memory is there
_STRETCH = 0.05  # seconds of one thing before it is another's turn
_LONGEST = 60  # days without newcomers: the long dead are another kind of work


class Rate(NamedTuple):
    """Customer-days a second: quartiles over the turns."""

    low: float
    median: float
    high: float


class Contender(NamedTuple):
    """Something that lives days with N customers."""

    name: str
    customers: int
    live: Callable[[int], Any]  # one day; told its number
    prepare: Callable[[], None] | None = None  # before every turn, and not counted
    wall: bool = False  # whether seconds are those on the wall


def in_turn(contenders: list[Contender], seconds: float) -> dict[str, Rate]:
    """Measure each for about `seconds`, in turn."""
    days: dict[str, int] = {}
    for each in contenders:
        took = max(_took(each, _WARM_UP), 1e-6) / _WARM_UP
        days[each.name] = min(max(1, round(_STRETCH / took)), _LONGEST if each.prepare else 10**6)
    rates: dict[str, list[float]] = {each.name: [] for each in contenders}
    ends = time.perf_counter() + seconds * len(contenders)
    while time.perf_counter() < ends or len(next(iter(rates.values()))) < 4:
        for each in contenders:
            count = days[each.name]
            rates[each.name].append(each.customers * count / max(_took(each, count), 1e-6))
    return {name: Rate(*statistics.quantiles(found, n=4)) for name, found in rates.items()}


def _took(contender: Contender, days: int) -> float:
    if contender.prepare is not None:
        contender.prepare()
    clock = time.perf_counter if contender.wall else time.process_time
    started = clock()
    for day in range(days):
        contender.live(day)
    return clock() - started


def population(name: str, world: Scenario, customers: int, compiled_code: bool, mode: str = "NextStep") -> Contender:
    """The Gymnasium environment under random actions, its customers of every age."""
    env = PopulationEnv(customers, world, autoreset_mode=mode, stagger=True, compiled_code=compiled_code)
    env.reset(seed=1)
    actions = random_actions(world.actions, customers)
    return Contender(name, customers, lambda day: env.step(actions[day % len(actions)]))


def bare(name: str, world: Scenario, customers: int, compiled_code: bool) -> Contender:
    """Luck, dynamics, log, observations and masks of the same customers without an environment around them."""
    cohort = Cohort(world, np.full(customers, 1, np.uint64), np.arange(customers), compiled_code=compiled_code)
    beginning = cohort.snapshot()
    actions = random_actions(world.actions, customers)

    def live(day: int) -> None:
        cohort.step(actions[day % len(actions)])
        cohort.observe()
        cohort.copy_of_legal_actions()

    return Contender(name, customers, live, lambda: cohort.restore(beginning))


def refilled(name: str, world: Scenario, customers: int, compiled_code: bool) -> Contender:
    """The same, and whoever leaves or comes to the end of an episode is followed by the next customer of the row."""
    numbers = np.arange(customers)
    cohort = Cohort(world, np.full(customers, 1, np.uint64), numbers, compiled_code=compiled_code)
    limit = first_limits(numbers, world.horizon, True)
    actions = random_actions(world.actions, customers)

    def live(day: int) -> None:
        outcome = cohort.step(actions[day % len(actions)])
        over = outcome.churned | (cohort.log.day >= limit)
        cohort.replace(over)
        limit[over] = world.horizon
        cohort.observe()
        cohort.copy_of_legal_actions()

    return Contender(name, customers, live)


def tensors(name: str, world: Scenario, customers: int, device: str, compiled: bool) -> Contender:
    """The tensor environment under random actions."""
    import torch

    from blockenv.envs.tensor_population import TensorPopulation

    env = TensorPopulation(customers, world, device, stagger=True, compiled=compiled)
    env.reset(1)
    actions = [torch.from_numpy(each).to(device) for each in random_actions(world.actions, customers, 16)]

    def live(day: int) -> None:
        env.step(actions[day % len(actions)])
        if device != "cpu":
            torch.cuda.synchronize()

    return Contender(name, customers, live, wall=device != "cpu")


def cart_pole(name: str, customers: int) -> Contender:
    """Gymnasium's own vector environment: four numbers a row, and no luck in its steps."""
    import gymnasium as gym

    env = gym.make_vec("CartPole-v1", num_envs=customers, vectorization_mode="vector_entry_point")
    env.reset(seed=1)
    actions = random_actions(2, customers)
    return Contender(name, customers, lambda day: env.step(actions[day % len(actions)]))


def gymnax_cart_pole(name: str, customers: int) -> Contender | None:
    """CartPole compiled by JAX, which takes all threads it likes; None where gymnax is not installed."""
    if importlib.util.find_spec("gymnax") is None:
        return None
    import gymnax  # type: ignore[import-not-found]
    import jax

    env, parameters = gymnax.make("CartPole-v1")
    keys = jax.random.split(jax.random.key(0), customers)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    held = {"state": jax.vmap(env.reset, in_axes=(0, None))(keys, parameters)[1]}
    actions = [jax.numpy.asarray(each) for each in random_actions(2, customers)]

    def live(day: int) -> None:
        _, held["state"], reward, *_ = step(keys, held["state"], actions[day % len(actions)], parameters)
        reward.block_until_ready()

    return Contender(name, customers, live)


def random_actions(actions: int, customers: int, days: int = 32) -> list[NDArray[np.int64]]:
    """Actions of some days."""
    rng = np.random.default_rng(0)
    return [rng.integers(actions, size=customers) for _ in range(days)]
