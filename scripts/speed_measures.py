"""What the speed page tells: rates by number of customers and processes, shares of a step, memory, and growth.

Everything measured is returned as numbers; nothing is printed or written.
"""

import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from blockenv import dynamics, history, noise
from blockenv.cohort import Cohort
from blockenv.compiled.library import compiler
from blockenv.envs import PopulationEnv
from blockenv.scenarios import Scenario, get
from scripts.stopwatch import (
    Rate,
    bare,
    cart_pole,
    gymnax_cart_pole,
    in_turn,
    population,
    random_actions,
    refilled,
    tensors,
)

CART_POLE, GYMNAX = "Gymnasium CartPole-v1", "gymnax CartPole-v1"
NUMPY, COMPILED, SAME_STEP = "NumPy", "compiled", "compiled, same-step reset"
BARE, REFILLED = "compiled, without environment", "compiled, without environment, with newcomers"
CPU_TENSORS, GPU_TENSORS = "tensors, CPU", "tensors, GPU"
SHARD = 65536


def machine() -> dict[str, str]:
    """What it runs on."""
    import gymnasium
    import torch

    name = platform.processor() or platform.machine()
    information = "/proc/cpuinfo"
    if os.path.exists(information):
        with open(information, encoding="utf-8") as lines:
            models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return {
        "processor": f"{name}, {os.cpu_count()} cores",
        "load": f"{os.getloadavg()[0]:.1f} processes were running besides on average in the minute before",
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}, Gymnasium {gymnasium.__version__}, "
        f"PyTorch {torch.__version__}",
        "compiler": compiler() or "none",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def by_customers(world: Scenario, sizes: list[int], seconds: float) -> dict[int, dict[str, Rate]]:
    """Rates of everything that runs here, for each number of customers in one turn."""
    import torch

    found = {}
    for size in sizes:
        contenders = [cart_pole(CART_POLE, size), population(NUMPY, world, size, False)]
        if compiler() is not None:
            contenders += [
                population(COMPILED, world, size, True),
                population(SAME_STEP, world, size, True, "SameStep"),
                bare(BARE, world, size, True),
                refilled(REFILLED, world, size, True),
            ]
        contenders.append(tensors(CPU_TENSORS, world, size, "cpu", False))
        if torch.cuda.is_available():
            contenders.append(tensors(GPU_TENSORS, world, size, "cuda", True))
        peer = gymnax_cart_pole(GYMNAX, size)
        found[size] = in_turn([*contenders, *([] if peer is None else [peer])], seconds)
    return found


def by_processes(world: Scenario, customers: int, seconds: float) -> dict[int, float]:
    """Customer-days a second on the wall of 1, 2, ... processes with `customers` each, as many as there are cores."""
    context = multiprocessing.get_context("spawn")
    found = {}
    for count in range(1, (os.cpu_count() or 1) + 1):
        with context.Pool(count) as pool:
            rates = pool.starmap(_wall_rate, [(world.model_dump(), customers, seconds)] * count, chunksize=1)
        found[count] = sum(rates)
    return found


def _wall_rate(world: dict[str, Any], customers: int, seconds: float) -> float:
    env = population("", get(world), customers, compiler() is not None)
    for day in range(10):
        env.live(day)
    started, days = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        env.live(days)
        days += 1
    return customers * days / (time.perf_counter() - started)


def shares(world: Scenario, customers: int, seconds: float, compiled_code: bool) -> dict[str, float]:
    """Nanoseconds a customer-day that parts of a step take, by name; the last is what is left."""
    env = PopulationEnv(customers, world, stagger=True, compiled_code=compiled_code)
    env.reset(seed=1)
    actions = random_actions(world.actions, customers)
    for action in actions:
        env.step(action)
    cohort, spent = env.cohort, dict[str, float]()
    parts: list[tuple[Any, str, str]] = [
        (cohort, "replace", "newcomers"),
        (cohort, "observe", "observation"),
        (cohort, "copy_of_legal_actions", "masks"),
    ]
    if compiled_code:
        parts.append((cohort, "step", "luck, dynamics and log"))
    else:
        parts += [(noise, "luck", "luck"), (dynamics, "step", "dynamics"), (history, "update", "log")]
    days: list[float] = []
    turns: dict[str, list[float]] = {name: [] for _, _, name in parts}
    ends = time.perf_counter() + seconds
    with timed(parts, spent):
        while time.perf_counter() < ends:
            spent.update(dict.fromkeys(turns, 0.0))
            started = time.process_time()
            for action in actions:
                env.step(action)
            days.append((time.process_time() - started) / len(actions))
            for name in turns:
                turns[name].append(spent[name] / len(actions))
    scale = 1e9 / customers
    found = {name: statistics.median(values) * scale for name, values in turns.items()}
    return found | {"info, checks and the rest": statistics.median(days) * scale - sum(found.values())}


@contextmanager
def timed(parts: list[tuple[Any, str, str]], spent: dict[str, float]) -> Iterator[None]:
    """Functions of modules and methods of objects that note how long they take."""

    def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                spent[name] += time.process_time() - started

        return wrapped

    originals = [(owner, function, getattr(owner, function)) for owner, function, _ in parts]
    for (owner, function, name), (_, _, original) in zip(parts, originals, strict=True):
        setattr(owner, function, watched(original, name))
    try:
        yield
    finally:
        for owner, function, original in originals:
            setattr(owner, function, original)


class Memory(NamedTuple):
    """Bytes a customer."""

    traits: float
    state: float
    log: float
    ahead: float  # customers drawn ahead
    shown: float  # observation, mask and the rest of what a step returns


def memory(world: Scenario) -> Memory:
    """What a customer takes, counted from the arrays themselves."""
    customers = 1000
    env = PopulationEnv(customers, world)
    env.reset(seed=1)
    seen, *flags, info = env.step(np.zeros(customers, np.int64))
    cohort = env.cohort

    def each(*arrays: Any) -> float:
        return float(sum(values.nbytes for values in arrays)) / customers

    cohort.replace(np.arange(customers) == 0)
    assert cohort._queues is not None
    traits, state, log, key = cohort._queues.waiting
    parts = [values for name, values in info.items() if not name.startswith("_")]
    return Memory(
        traits=each(*cohort.traits),
        state=each(*cohort.state, cohort._key, cohort.customer, cohort._seed),
        log=each(*cohort.log),
        ahead=each(*traits, *state, *log, key),
        shown=each(seen, *flags, *parts),
    )


class Growth(NamedTuple):
    """A population lived through shard by shard."""

    customers: int
    drawing: float  # seconds
    days: float  # seconds for each day of everybody
    peak: float  # bytes of this process


def growth(world: Scenario, populations: list[int], days: int = 5) -> list[Growth]:
    """Populations of some sizes in shards of at most 65,536 customers, `days` days each, observations included."""
    found = []
    for size in [1, *populations]:  # the first to load what is compiled, which nobody waits for twice
        drawing = living = 0.0
        for first in range(0, size, SHARD):
            numbers = np.arange(first, min(size, first + SHARD))
            actions = random_actions(world.actions, len(numbers), days)
            started = time.process_time()
            cohort = Cohort(
                world, np.full(len(numbers), 1, np.uint64), numbers, compiled_code=compiler() is not None or None
            )
            drawn = time.process_time()
            for action in actions:
                cohort.step(action)
                cohort.observe()
            drawing, living = drawing + drawn - started, living + time.process_time() - drawn
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
        found.append(Growth(size, drawing, living / days, peak))
    return found[1:]
