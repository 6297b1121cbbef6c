"""How fast it steps and trains on this machine, beside Gymnasium's own CartPole in the same run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.cli import calm_threads, command, console, say, table

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_SIZES = [1, 64, 1024, 4096, 16384, 65536]
_POPULATIONS = [10**4, 10**5, 10**6, 10**7]
_PLANNED = ["Frequency-v0", "Style-v0", "Omnichannel-v0"]


@app.command()
@command
def speed(
    scenario: Annotated[str, typer.Option(help="Name of the canon, or a .yaml file.")] = "Omnichannel-v0",
    customers: Annotated[int, typer.Option(help="Rows of the population.", min=1)] = 4096,
    seconds: Annotated[float, typer.Option(help="How long each thing is measured, in turn with the others.")] = 10.0,
    training: Annotated[bool, typer.Option(help="Measure PPO and DQN as well.")] = True,
    threads: Annotated[int, typer.Option(help="Threads of PyTorch while training.", min=1)] = 1,
    page: Annotated[
        Path | None, typer.Option(help="Measure everything, also by size and in growth, and write it here as Markdown.")
    ] = None,
    largest: Annotated[
        int, typer.Option(help="For the page: no population larger than this.", min=10_000)
    ] = 10_000_000,
) -> None:
    """Customer-days a second with observations and random actions, and training steps a second end to end.

    Things take turns, so that whatever else the machine does hits them alike; medians are quoted.
    """
    calm_threads(threads)
    import torch

    from blockenv.scenarios import get
    from scripts.speed_agents import training as trained
    from scripts.speed_measures import CART_POLE, by_customers

    torch.set_num_threads(threads)
    world = get(scenario)
    if page is not None:
        _write(page, world, customers, seconds, training, largest)
        return
    found = by_customers(world, [customers], seconds)[customers]
    rows = [
        [
            name,
            f"{rate.median / 1e6:.2f} M",
            f"{rate.low / 1e6:.2f}-{rate.high / 1e6:.2f} M",
            f"{rate.median / found[CART_POLE].median:.2f}",
        ]
        for name, rate in found.items()
    ]
    title = f"{world.name}: {customers:,} rows, random actions, one core, {seconds:g} s each in turn"
    console.print(table(title, ["environment", "days/s", "quartiles", "of CartPole"], rows))
    for name, rate in (trained(world) if training else {}).items():
        say(f"{name}: {rate / 1e3:.1f} thousand training steps a second, end to end")


def _write(path: Path, world: Any, customers: int, seconds: float, training: bool, largest: int) -> None:
    from blockenv.compiled.library import compiler
    from scripts import speed_agents, speed_measures, speed_page

    machine = speed_measures.machine()
    populations = [size for size in _POPULATIONS if size <= largest]
    # The largest first: peaks of memory are those of the process so far.
    growth = speed_measures.growth(world, populations)
    rates = speed_measures.by_customers(world, [size for size in _SIZES if size <= largest], seconds)
    shares = {"NumPy": speed_measures.shares(world, customers, seconds, False)}
    if compiler() is not None:
        shares["compiled"] = speed_measures.shares(world, customers, seconds, True)
    processes = speed_measures.by_processes(world, customers, seconds)
    picture = path.with_suffix(".png")
    speed_page.draw(rates, picture)
    text = speed_page.page(
        world.name,
        machine,
        rates,
        processes,
        shares,
        customers,
        speed_measures.memory(world),
        growth,
        speed_agents.planning(_PLANNED),
        speed_agents.training(world) if training else {},
        {agent: speed_agents.training_shares(world, agent) for agent in ("ppo", "dqn")} if training else {},
        picture.name,
    )
    path.write_text(text, encoding="utf-8")
    say(f"{path} and {picture}")


if __name__ == "__main__":
    app()
