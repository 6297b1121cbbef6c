"""Judge a trained run on held-out customers: `python -m scripts.evaluate logs/ppo/Omnichannel-v0_1`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

if TYPE_CHECKING:
    from benchmarks.statistics import Estimate
    from blockenv import Result, Scenario

from scripts.cli import bar, command, console, say, table

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
    """CLV with its interval beside silence and the tuned cap, by segment, on customers nobody has trained on.

    The cap is tuned once and kept in the run folder.
    """
    from agents import agent_class
    from benchmarks.training import Run
    from benchmarks.tuned_cap import tuned_cap
    from blockenv import play

    run = Run.open(run_folder)
    scenario, name = run.scenario, run.config.agent
    players = {"silence": agent_class("silence")(scenario), name: run.trained_agent("best" if best else "policy")}
    with bar() as progress:
        if "cap" not in players:
            tuning = progress.add_task("tuning the cap", total=None, note="")
            players["cap"] = tuned_cap(scenario, run_folder)
            progress.remove_task(tuning)
        days = customers * scenario.evaluation_days
        task = progress.add_task("customer-days", total=len(players) * days, note="")
        results = {}
        for number, (player, agent) in enumerate(players.items(), start=1):
            results[player] = play(
                agent, scenario, customers=customers, progress=lambda done: progress.advance(task, done)
            )
            progress.update(task, completed=number * days)
    console.print(_all_customers(results, name, scenario))
    console.print(_by_segment(results, name, scenario))
    _say_uplift(results, name)
    say("Intervals are over customers; they say nothing about other training seeds (see scripts.benchmark).")


def _all_customers(results: "Mapping[str, Result]", name: str, scenario: "Scenario") -> Table:
    from benchmarks.statistics import mean_estimate

    customers = len(results[name].value)
    title = f"{name} on {scenario.name}: {customers:,} held-out customers, {scenario.evaluation_days:,} days"
    rows = []
    for player, result in results.items():
        value, messages = mean_estimate(result.value[None]), int(result.messages.sum())
        rows.append(
            [
                player,
                f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]",
                _over(results, player, "silence"),
                _over(results, player, "cap"),
                f"{7 * messages / result.days.sum():.2f}",
                f"{1e3 * result.blocks.sum() / messages:.1f}" if messages else "",
            ]
        )
    return table(title, ("agent", "CLV", "over silence", "over cap", "messages a week", "blocks per 1,000"), rows)


def _by_segment(results: "Mapping[str, Result]", name: str, scenario: "Scenario") -> Table:
    names = ("segment", "customers", "CLV", "over silence", "over cap", "messages a week", "reach after a year")
    mine, rows = results[name], []
    for number, segment in enumerate(scenario.segments):
        own = mine.segment == number
        if own.sum() < 2:  # too few for an interval
            continue
        # Of those who had opted in, as on the leaderboard.
        reach = mine.reach_after_year[:, own].sum() / max(mine.opted_in[:, own].sum(), 1)
        rows.append(
            [
                segment.name,
                f"{own.sum():,}",
                f"{mine.value[own].mean():.2f}",
                _over(results, name, "silence", number),
                _over(results, name, "cap", number),
                f"{7 * mine.messages[own].sum() / mine.days[own].sum():.2f}",
                f"{100 * reach:.0f} %",
            ]
        )
    return table("by segment", names, rows)


def _say_uplift(results: "Mapping[str, Result]", name: str) -> None:
    from benchmarks.statistics import mean_estimate, relative

    mine, silence = results[name].value[None], results["silence"].value[None]
    if mean_estimate(silence).low > 0:
        uplift: Estimate = relative(mine, silence)
        say(f"uplift over silence {100 * uplift.mean:+.1f} % [{100 * uplift.low:+.1f}, {100 * uplift.high:+.1f}]")


def _over(results: "Mapping[str, Result]", player: str, other: str, segment: int | None = None) -> str:
    """What `player` is worth beyond `other`, to all customers or to those of a segment."""
    from benchmarks.statistics import paired_difference

    if player == other:
        return ""
    rows = slice(None) if segment is None else results[player].segment == segment
    found = paired_difference(results[player].value[None, rows], results[other].value[None, rows])
    return f"{found.mean:+z.2f} [{found.low:+z.2f}, {found.high:+z.2f}]"


if __name__ == "__main__":
    app()
