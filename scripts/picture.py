"""Draw a population under an agent: `python -m scripts.picture --agent weekly --out docs/population.png`."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.cli import bar, command, console

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def picture(
    agent: Annotated[
        str, typer.Option(help="An agent of `agents.AGENTS`, or a run folder of scripts.train.")
    ] = "weekly",
    scenario: Annotated[
        str, typer.Option(help="Name of the canon, or a .yaml file; a run knows its own.")
    ] = "Omnichannel-v0",
    customers: Annotated[int, typer.Option(help="Rows of the population.", min=1)] = 4096,
    days: Annotated[int, typer.Option(help="Days to live before the picture is taken.", min=1)] = 364,
    out: Annotated[Path, typer.Option(help="Where the PNG goes.")] = Path("population.png"),
) -> None:
    """Serve a population for some days and draw who is reachable, what was sent, and who gains and loses by it."""
    import io

    import numpy as np
    from matplotlib.image import imsave

    from agents import agent_class
    from agents.agent import Unwatched, write_whole
    from benchmarks.configs import agent_settings
    from benchmarks.training import Run
    from blockenv import EVALUATION_SEED
    from blockenv.envs import PopulationEnv
    from blockenv.scenarios import get

    world = get(scenario)
    with bar() as progress:
        task = progress.add_task("days", total=days, note="")
        if Path(agent).is_dir():
            run = Run.open(Path(agent), lambda *_: None)
            world, sender = run.scenario, run.trained_agent()
        else:
            sender = agent_class(agent)(world, agent_settings(agent, world.name))
            sender.fit(0, Unwatched())
        env = PopulationEnv(customers, world, max_episode_steps=days + 1, render_mode="rgb_array")
        seen, info = env.reset(seed=EVALUATION_SEED + 2)
        rng = np.random.default_rng(0)
        for _ in range(days):
            action = sender.act(seen, info["action_mask"].astype(bool), rng)
            seen, _, _, _, info = env.step(action)
            progress.advance(task)
        memory = io.BytesIO()
        imsave(memory, env.render()[0], format="png")
        write_whole(out, memory.getvalue())
    console.print(f"[bold]{out}[/]")


if __name__ == "__main__":
    app()
