"""Seconds until PPO is worth what a tuned cap is, and half of what is attainable, by each way of learning."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.cli import bar, calm_threads, command, console, say, table

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def time_to_score(
    scenarios: Annotated[list[str], typer.Argument(help="Names of the canon, or .yaml files.")],
    steps: Annotated[int, typer.Option(help="Customer-days of each training.", min=1)] = 2_000_000,
    learners: Annotated[str, typer.Option(help="Ways of learning, by comma.")] = "tensors,stable_baselines3",
    seeds: Annotated[int, typer.Option(help="Trainings of each.", min=1)] = 1,
    customers: Annotated[int, typer.Option(help="Validation customers who judge.", min=2)] = 2048,
    threads: Annotated[int, typer.Option(help="Threads of PyTorch.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="Also write the figures here, as JSON.")] = None,
    page: Annotated[Path | None, typer.Option(help="Also write a page here, as Markdown, with a picture.")] = None,
) -> None:
    """Train PPO with the clock running, judge it twenty times with the clock stopped, and tell when it got where.

    A learning rate that falls to zero at the end of training is part of the time: with fewer --steps a score may be
    reached sooner, or not at all.
    """
    calm_threads(threads)
    import torch

    from benchmarks.time_to_score import Judge, learn, marks, reached
    from blockenv.scenarios import get
    from scripts import speed_measures, time_to_score_page

    machine = speed_measures.machine()
    torch.set_num_threads(threads)
    found: list[dict[str, Any]] = []
    with bar() as progress:
        task = progress.add_task("training", total=len(scenarios) * seeds * len(learners.split(",")) * steps)
        for name in scenarios:
            world = get(name)
            judge = Judge(world, customers)
            goal = marks(world, judge)
            for learner in learners.split(","):
                for seed in range(seeds):
                    before = progress.tasks[0].completed
                    moments = learn(
                        world,
                        "ppo",
                        {"learner": learner, "steps": steps},
                        seed,
                        judge,
                        lambda moment, before=before: progress.update(task, completed=before + moment.steps),  # type: ignore[misc]
                    )
                    progress.update(task, completed=before + steps)
                    last = moments[-1]
                    half = goal.half_of_line
                    found.append(
                        {
                            "scenario": world.name,
                            "digest": world.digest,
                            "learner": learner,
                            "seed": seed,
                            "threads": threads,
                            "steps_a_second": last.steps / last.seconds,
                            "marks": goal._asdict(),
                            "seconds_to_cap": reached(moments, goal.cap),
                            "seconds_to_half_of_line": None if half is None else reached(moments, half),
                            "moments": [each._asdict() for each in moments],
                        }
                    )
    names, cells = time_to_score_page.rows(found)
    console.print(table(f"PPO, {steps:,} customer-days, money over silence", names, cells))
    if out is not None:
        from agents.agent import write_whole

        write_whole(out, json.dumps(found, indent=1).encode() + b"\n")
        say(f"{out}")
    if page is not None:
        picture = page.with_suffix(".png")
        time_to_score_page.draw(found, picture)
        page.write_text(time_to_score_page.page(found, machine, customers, picture.name), encoding="utf-8")
        say(f"{page} and {picture}")


if __name__ == "__main__":
    app()
