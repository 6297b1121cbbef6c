"""Judge a trained run on held-out customers: `python -m scripts.evaluate logs/ppo/Omnichannel-v0_1`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.statistics import Estimate

from scripts.cli import bar, command, console

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def evaluate(
    run_folder: Annotated[Path, typer.Argument(help="A folder made by scripts.train.")],
    customers: Annotated[int, typer.Option(help="Held-out customers.", min=2)] = 16384,
    best: Annotated[
        bool, typer.Option("--best", help="The best policy on validation customers, not the last.")
    ] = False,
) -> None:
    """CLV with its interval beside silence and the tuned cap, by segment, on customers nobody has trained on."""
    import numpy as np
    from rich.table import Table

    from agents import agent_class
    from agents.agent import Unwatched
    from benchmarks.configs import agent_settings
    from benchmarks.statistics import mean_estimate, paired_difference, relative
    from benchmarks.training import Run
    from blockenv import play

    run = Run.open(run_folder, lambda *_: None)
    agent = run.trained_agent("best" if best else "policy")
    scenario = run.scenario
    rivals = {"silence": agent_class("silence")(scenario)}
    days = scenario.evaluation_days
    with bar() as progress:
        tuning = progress.add_task("tuning the cap", total=None, note="")
        cap = agent_class("cap")(scenario, agent_settings("cap", scenario.name))
        cap.fit(0, Unwatched())
        progress.remove_task(tuning)
        players = {**rivals, "cap": cap, run.config["agent"]: agent}
        task = progress.add_task("customer-days", total=len(players) * customers * days, note="")
        results = {
            name: play(each, scenario, customers=customers, progress=lambda done: progress.advance(task, done))
            for name, each in players.items()
        }
        progress.update(task, completed=len(players) * customers * days)
    silence, capped, mine = results["silence"], results["cap"], results[run.config["agent"]]
    table = Table(title=f"{run.config['agent']} on {scenario.name}: {customers:,} held-out customers, {days:,} days")
    for name in ("", "CLV", "over silence", "over cap", "messages a week", "blocks per 1,000"):
        table.add_column(name, justify="left" if not name else "right")
    for name, result in results.items():
        value = mean_estimate(result.value[None])
        table.add_row(
            name,
            f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]",
            "" if result is silence else _difference(paired_difference(result.value[None], silence.value[None])),
            "" if result is not mine else _difference(paired_difference(result.value[None], capped.value[None])),
            f"{7 * result.messages.sum() / result.days.sum():.2f}",
            f"{1e3 * result.blocks.sum() / max(result.messages.sum(), 1):.1f}",
        )
    console.print(table)
    segments = Table(title="by segment")
    for name in (
        "segment",
        "customers",
        "CLV",
        "over silence",
        "over cap",
        "messages a week",
        "reachable after a year",
    ):
        segments.add_column(name, justify="left" if name == "segment" else "right")
    for number, segment in enumerate(scenario.segments):
        rows = mine.segment == number
        if rows.sum() < 2:
            continue
        segments.add_row(
            segment.name,
            f"{rows.sum():,}",
            f"{mine.value[rows].mean():.2f}",
            _difference(paired_difference(mine.value[None, rows], silence.value[None, rows])),
            _difference(paired_difference(mine.value[None, rows], capped.value[None, rows])),
            f"{7 * mine.messages[rows].sum() / mine.days[rows].sum():.2f}",
            f"{100 * np.mean(mine.reach_after_year[:, rows]):.0f} %",
        )
    console.print(segments)
    uplift = relative(mine.value[None], silence.value[None])
    console.print(f"uplift over silence {100 * uplift.mean:+.1f} % [{100 * uplift.low:+.1f}, {100 * uplift.high:+.1f}]")
    console.print(
        "[dim]Intervals are over customers; they say nothing about other training seeds (see scripts.benchmark).[/]"
    )


def _difference(estimate: "Estimate") -> str:
    return f"{estimate.mean:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


if __name__ == "__main__":
    app()
