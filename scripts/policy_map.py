"""Draw when to write to a customer: `python -m scripts.policy_map oracle --scenario Frequency-v0 --customer 3`."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.cli import bar, command, say

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

OPTIMUM = "oracle"


@app.command()
@command
def policy_map(
    policy: Annotated[
        str, typer.Argument(help="`oracle`, a run folder of scripts.train, or an agent of `agents.AGENTS`.")
    ] = OPTIMUM,
    scenario: Annotated[
        str, typer.Option(help="Name of the canon, or a .yaml file; a run knows its own.")
    ] = "Omnichannel-v0",
    customer: Annotated[int, typer.Option(help="Number of the held-out customer.", min=0, max=2**32 - 1)] = 0,
    clones: Annotated[int, typer.Option(help="Clones of the customer whom the policy serves.", min=1)] = 512,
    days: Annotated[int, typer.Option(help="Days that the clones are served.", min=1)] = 728,
    sample: Annotated[int, typer.Option(help="Customers in the panel of ideal loads.", min=1)] = 96,
    out: Annotated[Path, typer.Option(help="Where the PNG goes.")] = Path("map.png"),
) -> None:
    """Send or be silent, over fatigue and bond: the exact optimum, beside what a policy does to clones.

    A second picture in the same file: the best messages a week against the load that each customer bears.
    """
    from agents import agent_class
    from agents.agent import Unwatched, write_whole
    from benchmarks.configs import agent_settings
    from benchmarks.policy_map import best_map, optimal_loads, played_map
    from benchmarks.policy_picture import picture
    from benchmarks.training import Run
    from blockenv.scenarios import get

    with bar() as progress:
        task = progress.add_task("learning", total=4, note="")
        world, sender, name = get(scenario), None, policy
        if Path(policy).is_dir():
            run = Run.open(Path(policy), lambda *_: None)
            world, sender, name = run.scenario, run.trained_agent(), run.config.agent
        elif policy != OPTIMUM:
            sender = agent_class(policy)(world, agent_settings(policy, world.name))
            sender.fit(0, Unwatched())
        progress.update(task, advance=1, description="optimum")
        best = best_map(world, customer)
        progress.update(task, advance=1, description="clones")
        played = None if sender is None else (name, played_map(sender, world, customer, clones, days))
        progress.update(task, advance=1, description="ideal loads")
        loads = optimal_loads(world, sample)
        progress.update(task, advance=1)
    write_whole(out, picture(world, customer, best, played, loads))
    say(f"{out}: {best.segment}, ideal load {best.ideal_load:.2f}, {', '.join(best.channels)}")


if __name__ == "__main__":
    app()
