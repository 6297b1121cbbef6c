"""What is a policy worth that was tuned in an estimated world? `python -m scripts.transfer Omnichannel-v0 my_world/scenario.yaml`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    from blockenv.scenarios import Scenario

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
LABELS = {"cap": "frequency cap", "personal_cap": "personal caps", "ppo": "PPO", "dqn": "DQN"}


@app.command()
@command
def transfer(
    truth: Annotated[str, typer.Argument(help="The true world: a name of the canon, or a .yaml file.")],
    estimate: Annotated[Path, typer.Argument(help="The world estimated from its log.")],
    agents: Annotated[
        list[str] | None, typer.Option("--agent", help="Trained in both worlds; may be repeated.")
    ] = None,
    customers: Annotated[
        int, typer.Option("--customers", "-n", help="Of the evaluation, all policies the same.", min=8)
    ] = 4096,
    days: Annotated[
        int | None, typer.Option(help="Of the evaluation; the scenario's window by default.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training.", min=0)] = 0,
    to_json: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Train each agent in the truth and in the estimate, play all in the truth, on the same customers with the same luck."""
    from agents.agent import Unwatched, write_whole
    from blockenv.rollout import play
    from blockenv.scenarios import get
    from calibration.estimation.ordering import in_order_of

    world = get(truth)
    guess = in_order_of(get(str(estimate)), world)
    if len(guess.segments) != len(world.segments):
        raise ValueError(
            f"segments: {len(guess.segments)} in {estimate}, {len(world.segments)} in {world.name}; "
            "observations have a covariate for each, so a policy of one cannot act in the other"
        )
    names = agents or ["cap", "personal_cap"]
    values: dict[str, Any] = {}
    learned: dict[str, str] = {}
    with bar() as progress:
        task = progress.add_task("silence", total=2 * len(names) + 1, note="")
        values["silence"] = play(_agent("silence", world), world, customers=customers, days=days).value
        progress.advance(task)
        for name in names:
            for where, home in (("truth", world), ("estimate", guess)):
                progress.update(task, description=f"{name} in the {where}")
                agent = _agent(name, home)
                agent.fit(seed, Unwatched())
                label = f"{LABELS.get(name, name)}, from the {where}"
                values[label] = play(agent, world, customers=customers, days=days).value
                learned[label] = _learned(agent)
                progress.advance(task)
    lines = _lines(values)
    rows = [(line["policy"], line["clv"], line["over_silence"], line["kept"]) for line in lines]
    console.print(
        table(
            f"CLV in {world.name}, {customers} customers", ("policy", "CLV", "over silence", "kept of the gain"), rows
        )
    )
    for label, what in learned.items():
        say(f"{label}: {what}")
    if to_json is not None:
        write_whole(
            to_json, json.dumps({"truth": world.name, "customers": customers, "rows": lines}, indent=1).encode()
        )


def _agent(name: str, world: "Scenario") -> Any:
    from agents import agent_class

    return agent_class(name)(world)


def _learned(agent: Any) -> str:
    """A cap in words; nothing of networks."""
    if hasattr(agent, "gap"):
        messages = ", ".join(agent.scenario.message_name(each) for each in agent.messages) or "nothing"
        return f"{messages}, one in {agent.gap} days"
    return f"{len(agent.caps)} caps to choose from" if hasattr(agent, "caps") else "a network"


def _lines(values: dict[str, Any]) -> list[dict[str, str]]:
    """Means with 95 % intervals; gains over silence, and what is kept of the gain made in the truth, are paired."""
    import numpy as np

    def told(sample: Any) -> str:
        mean, half = float(sample.mean()), 1.96 * float(sample.std(ddof=1)) / len(sample) ** 0.5
        return f"{mean:.2f} ± {half:.2f}"

    silence, lines = values["silence"], []
    for label, value in values.items():
        gain, kept = value - silence, ""
        if label.endswith("from the estimate"):
            best = values[label.replace("the estimate", "the truth")] - silence
            ratio = gain.mean() / best.mean()
            # Delta method for a ratio of paired means.
            spread = 1.96 * float(np.std(gain - ratio * best, ddof=1)) / len(gain) ** 0.5 / abs(float(best.mean()))
            kept = f"{ratio:.1%} ± {spread:.1%}"
        lines.append(
            {
                "policy": label,
                "clv": told(value),
                "over_silence": told(gain) if label != "silence" else "",
                "kept": kept,
            }
        )
    return lines


if __name__ == "__main__":
    app()
