"""What is a policy worth that was tuned in an estimated world? `python -m scripts.transfer Omnichannel-v0 my_world/scenario.yaml`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.statistics import Estimate
    from blockenv.policies import Policy
    from blockenv.scenarios import Scenario

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
LABELS = {"cap": "frequency cap", "personal_cap": "personal caps", "ppo": "PPO", "dqn": "DQN"}


class Home(NamedTuple):
    """Where an agent learns, and how it is then let loose on the true customers."""

    name: str
    scenario: "Scenario"

    def agent(self, name: str, steps: int | None) -> Any:
        """A new agent of this world; `steps` for those that have such a setting."""
        from agents import agent_class
        from agents.agent import parsed

        kind = agent_class(name)
        if steps is None or "steps" not in kind.Settings.model_fields:
            return kind(self.scenario)
        return kind(self.scenario, parsed(kind.Settings, {"steps": steps}, f"settings of {name}"))


@app.command()
@command
def transfer(
    truth: Annotated[str, typer.Argument(help="The true world: a name of the canon, or a .yaml file.")],
    estimate: Annotated[
        Path, typer.Argument(help="The world estimated from its log; hints.json beside it is used if it is there.")
    ],
    agents: Annotated[
        list[str] | None,
        typer.Option(
            "--agent",
            help="Trained in both worlds, as NAME or NAME=TRAININGS; may be repeated. cap, personal_cap, ppo if not given.",
        ),
    ] = None,
    customers: Annotated[
        int, typer.Option("--customers", "-n", help="Of the evaluation, all policies the same.", min=8)
    ] = 4096,
    days: Annotated[
        int | None, typer.Option(help="Of the evaluation; the scenario's window by default.", min=1)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each agent that learns, in each world.", min=1)] = 3,
    steps: Annotated[
        int | None, typer.Option(help="Customer-days that networks learn from; their own default if not given.", min=1)
    ] = None,
    to_json: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Train each agent in the truth and in the estimate, play all in the truth, on the same customers with the same luck."""
    import numpy as np

    from agents.agent import write_whole
    from blockenv.rollout import play
    from blockenv.scenarios import get
    from calibration.estimation.deployed import Deployed
    from calibration.estimation.hints import HINTS, HintMap
    from calibration.estimation.ordering import in_order_of

    world = get(truth)
    guess = in_order_of(get(str(estimate)), world)
    beside = estimate.parent / HINTS
    hints = HintMap.read(beside) if beside.is_file() else None

    def worth(policy: "Policy") -> Any:
        return play(policy, world, customers=customers, days=days).value

    def at_work(home: Home, agent: Any) -> "Policy":
        return Deployed(agent, guess, world, hints) if home.scenario is guess else agent

    trainings = dict(_trainings(each, seeds) for each in agents or ["cap", "personal_cap", "ppo"])
    homes = (Home("truth", world), Home("estimate", guess))
    for home in homes:  # before hours are spent: can every agent be made, and serve the truth?
        for name in trainings:
            at_work(home, home.agent(name, steps))
    silence = worth(Home("truth", world).agent("silence", None))[None]
    values: dict[tuple[str, str], Any] = {}
    with bar() as progress:
        task = progress.add_task("", total=2 * sum(trainings.values()), note="")
        for name, times in trainings.items():
            for home in homes:
                rows = []
                for seed in range(times):
                    progress.update(task, description=f"{name} in the {home.name}, seed {seed}", note="")
                    started, agent = time.perf_counter(), home.agent(name, steps)
                    agent.fit(seed, _Watched(progress, task))
                    rows.append(worth(at_work(home, agent)))
                    gain, seconds = float((rows[-1] - silence).mean()), time.perf_counter() - started
                    say(
                        f"{name} from the {home.name}, seed {seed}: {gain:+.2f} over silence, {seconds:.0f} s; "
                        f"{_learned(agent)}"
                    )
                    progress.advance(task)
                values[name, home.name] = np.stack(rows)
    lines = _lines(silence, values)
    shown = [
        (
            line["policy"],
            line["trained_in"],
            str(line["seeds"]),
            *(_told(line[key], "{:.2f}") for key in ("clv", "over_silence")),
            _told(line["kept"], "{:.1%}"),
        )
        for line in lines
    ]
    heads = ("policy", "trained in", "seeds", "CLV", "over silence", "kept of the gain")
    console.print(table(f"CLV in {world.name}, {customers} customers, 95 % intervals", heads, shown))
    if to_json is not None:
        segments = {home.name: len(home.scenario.segments) for home in homes}
        about = {"truth": world.name, "customers": customers, "steps": steps, "segments": segments, "rows": lines}
        write_whole(to_json, json.dumps(about, indent=1).encode())


def _trainings(asked: str, usual: int) -> tuple[str, int]:
    """NAME, or NAME=TRAININGS; once is enough for agents that do not learn."""
    from agents import agent_class
    from agents.agent import AgentError, learns

    name, given, times = asked.partition("=")
    if given and not (times.isdecimal() and int(times) > 0):
        raise AgentError(f"--agent: {asked!r}, expected NAME or NAME=TRAININGS, as ppo=3")
    return name, int(times) if given else usual if learns(agent_class(name)) else 1


class _Watched:
    """Shows how far a training has come."""

    def __init__(self, progress: "Progress", task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int, total: int, metrics: Any) -> None:
        """Customer-days, or candidates of a tuning."""
        self._progress.update(self._task, note=f"{steps / max(total, 1):.0%} learned")


def _learned(agent: Any) -> str:
    """A cap in words; nothing of networks."""
    if hasattr(agent, "gap"):
        messages = ", ".join(agent.scenario.message_name(each) for each in agent.messages) or "nothing"
        return f"{messages}, one in {agent.gap} days"
    return f"{len(agent.caps)} caps to choose from" if hasattr(agent, "caps") else "a network"


def _lines(silence: Any, values: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    """Means with 95 % intervals over customers and trainings; gains are paired by customer."""
    from benchmarks.statistics import mean_estimate, paired_difference, relative

    found: list[dict[str, Any]] = [_line("silence", "", 1, mean_estimate(silence))]
    for (name, home), value in values.items():
        kept = None
        if home == "estimate":
            best = values[name, "truth"] - silence
            # What is kept is told only where there is a gain to keep.
            if mean_estimate(best).low > 0:
                kept = relative(value - silence, best)
        label = LABELS.get(name, name)
        found.append(_line(label, home, len(value), mean_estimate(value), paired_difference(value, silence), kept))
    return found


def _line(
    policy: str,
    home: str,
    seeds: int,
    clv: "Estimate",
    gain: "Estimate | None" = None,
    kept: "Estimate | None" = None,
) -> dict[str, Any]:
    return {
        "policy": policy,
        "trained_in": home,
        "seeds": seeds,
        "clv": _ends(clv),
        "over_silence": None if gain is None else _ends(gain),
        "kept": None if kept is None else [1.0 + end for end in _ends(kept)],
    }


def _ends(estimate: "Estimate") -> list[float]:
    return [estimate.mean, estimate.low, estimate.high]


def _told(ends: list[float] | None, form: str) -> str:
    if ends is None:
        return ""
    mean, low, high = (form.format(end) for end in ends)
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    app()
