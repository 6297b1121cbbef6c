"""How fast it steps and trains on this machine, beside Gymnasium's own CartPole in the same run."""

import statistics
import time
from typing import Annotated, Any

import typer

from scripts.cli import calm_threads, command, console

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def speed(
    scenario: Annotated[str, typer.Option(help="Name of the canon, or a .yaml file.")] = "Omnichannel-v0",
    customers: Annotated[int, typer.Option(help="Rows of the population.", min=1)] = 4096,
    seconds: Annotated[float, typer.Option(help="How long each thing is measured, in turn with the others.")] = 10.0,
    training: Annotated[bool, typer.Option(help="Measure PPO as well.")] = True,
    threads: Annotated[int, typer.Option(help="Threads of PyTorch while training.", min=1)] = 1,
) -> None:
    """Customer-days a second with observations and random actions, and PPO's steps a second end to end.

    The environments take turns, so that whatever else the machine does hits them alike; medians are quoted.
    """
    calm_threads(threads)
    import gymnasium as gym
    import numpy as np
    from rich.table import Table

    import blockenv  # noqa: F401 - registers the ids
    from blockenv.scenarios import get

    world = get(scenario)
    cart_pole = gym.make_vec("CartPole-v1", num_envs=customers, vectorization_mode="vector_entry_point")
    made = {
        "Gymnasium CartPole-v1": cart_pole,
        f"blockenv {world.name}": _population(world, customers, "NextStep"),
        f"blockenv {world.name}, same-step reset": _population(world, customers, "SameStep"),
    }
    rng = np.random.default_rng(0)
    actions = {
        name: [rng.integers(env.single_action_space.n, size=customers) for _ in range(64)] for name, env in made.items()
    }
    for env in made.values():
        env.reset(seed=1)
    rates: dict[str, list[float]] = {name: [] for name in made}
    ends = time.perf_counter() + seconds * len(made)
    while time.perf_counter() < ends:
        for name, env in made.items():
            rates[name].append(_rate(env, actions[name], customers))
    table = Table(title=f"{customers:,} rows, random actions, one core, {seconds:g} s each in turn")
    for title in ("environment", "days/s", "quartiles", "of CartPole", "observation", "actions"):
        table.add_column(title, justify="left" if title == "environment" else "right")
    cart = statistics.median(rates["Gymnasium CartPole-v1"])
    for name, env in made.items():
        low, middle, high = statistics.quantiles(rates[name], n=4)
        table.add_row(
            name,
            f"{middle / 1e6:.2f} M",
            f"{low / 1e6:.2f}-{high / 1e6:.2f} M",
            f"{middle / cart:.2f}",
            str(env.single_observation_space.shape[0]),
            str(env.single_action_space.n),
        )
    console.print(table)
    if training:
        _train(world)


def _population(world: Any, customers: int, mode: str) -> Any:
    from blockenv.envs import PopulationEnv

    return PopulationEnv(num_envs=customers, scenario=world, autoreset_mode=mode)


def _rate(env: Any, actions: list[Any], customers: int) -> float:
    started = time.perf_counter()
    for action in actions:
        env.step(action)
    return len(actions) * customers / (time.perf_counter() - started)


def _train(world: Any) -> None:
    from agents import agent_class
    from benchmarks.configs import agent_settings

    class Clock:
        """Notes when learning starts for good, so that set-up does not count, and when it ends."""

        first: tuple[int, float] | None = None
        last: tuple[int, float] = (0, 0.0)

        def advance(self, steps: int, total: int, metrics: Any) -> None:
            self.last = (steps, time.perf_counter())
            self.first = self.first or self.last

    for agent in ("ppo", "dqn"):
        settings = agent_settings(agent, world.name, {"steps": 1_000_000})
        learner, clock = agent_class(agent)(world, settings), Clock()
        learner.fit(0, clock)
        assert clock.first is not None
        steps, took = clock.last[0] - clock.first[0], clock.last[1] - clock.first[1]
        console.print(f"{agent} on {world.name}: {steps / took / 1e3:.0f} thousand training steps a second, end to end")


if __name__ == "__main__":
    app()
