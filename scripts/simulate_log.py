"""Write the message log of a simulated firm: `python -m scripts.simulate_log Omnichannel-v0 --out log/`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from blockenv.cohort import Cohort
    from blockenv.scenarios import Scenario
    from calibration.logs.policies import Decision, Keys, LoggingPolicy

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
# Policies that go by coins and not by the log, with their settings.
LOTTERIES = {"randomised": ("send_probability", "rate_spread"), "confounded": ("send_probability", "engagement_effect")}


@app.command()
@command
def simulate_log(
    scenario: Annotated[str, typer.Argument(help="Name of the canon, or a .yaml file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make; must not be there yet.")],
    policy: Annotated[
        str, typer.Option(help="randomised, confounded, or an agent that needs no training, such as weekly or cap.")
    ] = "randomised",
    customers: Annotated[int, typer.Option("--customers", "-n", help="How many.", min=1)] = 20_000,
    days: Annotated[int, typer.Option(help="Days each customer is watched, from joining on.", min=1)] = 364,
    seed: Annotated[int, typer.Option(help="Of the customers, their luck and the policy's coins.", min=0)] = 0,
    send_probability: Annotated[
        float | None, typer.Option(help="Chance of a message a day: of randomised, or of confounded at engagement 0.")
    ] = None,
    rate_spread: Annotated[
        float | None, typer.Option(help="Of randomised: standard deviation of each customer's own logit of sending.")
    ] = None,
    engagement_effect: Annotated[
        float | None, typer.Option(help="Of confounded: logit of sending for a unit of engagement.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="parquet or csv.")] = "parquet",
    visibility: Annotated[
        str, typer.Option(help="all: every block on its day; firm: only what a firm would notice, when it would.")
    ] = "all",
    after_leaving: Annotated[
        str | None,
        typer.Option(
            help="stop or send: whether customers who have left are still written to, as a firm does that cannot know. "
            "send if not said, but stop for agents, which go by the log."
        ),
    ] = None,
    decisions: Annotated[bool, typer.Option(help="Also a row for every customer and day, silence included.")] = False,
    reveal_propensity: Annotated[
        bool | None, typer.Option(help="How likely each message was; kept back for confounded if not said.")
    ] = None,
) -> None:
    """Play a policy in a scenario and write messages, orders, blocks and customers as a firm would have them.

    `truth` holds segments and traits, to check estimates with, never to make them. `mapping.yaml` says how the log is
    read. Times run from 2001-01-01, a Monday, which is day 0 of the calendar. A killed run goes on when repeated.
    """
    from blockenv.scenarios import get
    from calibration.logs import simulate
    from calibration.logs.schema import LogError

    world = get(scenario)
    own = {
        "send_probability": send_probability,
        "rate_spread": rate_spread,
        "engagement_effect": engagement_effect,
    }
    if out.exists():
        raise LogError(f"--out: {out} is there already; choose another folder or remove it")
    settings = simulate.checked_settings(
        customers=customers,
        days=days,
        seed=seed,
        format=file_format,
        visibility=visibility,
        after_leaving=after_leaving or ("send" if policy in LOTTERIES else "stop"),
        decisions=decisions,
        reveal_propensity=policy != "confounded" if reveal_propensity is None else reveal_propensity,
    )
    chosen = _policy(policy, world, seed, {name: value for name, value in own.items() if value is not None})
    with bar() as progress:
        task = progress.add_task(f"{policy} in {world.name}", total=customers * days, note="")
        try:
            written = simulate.simulate_log(world, chosen, policy, out, settings, partial(progress.advance, task))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command goes on") from None
    rows = [(name, f"{count:,}") for name, count in written.rows.items()]
    console.print(table(f"{out}: {policy} in {world.name}", ("table", "rows"), rows))
    say(f"next: {_next(out, file_format)}")


def _next(log: Path, suffix: str) -> str:
    """The command that reads the log; a table without rows has no file."""
    given = {name: log / f"{name}.{suffix}" for name in ("messages", "orders", "customers", "blocks")}
    words = [str(given[name]) for name in ("messages", "orders") if given[name].is_file()]
    words += [f"--{name} {given[name]}" for name in ("customers", "blocks") if given[name].is_file()]
    return f"python -m scripts.calibrate {' '.join(words)} --mapping {log / 'mapping.yaml'} --out my_world"


def _policy(name: str, scenario: "Scenario", seed: int, settings: dict[str, float]) -> "LoggingPolicy":
    """The policy of this name; settings that are none of its own are refused."""
    from calibration.logs.policies import Confounded, Randomised
    from calibration.logs.schema import LogError

    for setting in settings:
        if setting not in LOTTERIES.get(name, ()):
            raise LogError(f"--{setting.replace('_', '-')}: no setting of the policy {name!r}")
    if name == "randomised":
        return Randomised(**settings)
    if name == "confounded":
        return Confounded(scenario, **settings)
    return _Rule(name, scenario, seed)


class _Rule:
    """An agent that needs no training, as a policy that writes a log; how likely its choices were, it does not say."""

    reads_log = True

    def __init__(self, name: str, scenario: "Scenario", seed: int) -> None:
        from agents import AGENTS, agent_class
        from agents.agent import AgentError, Unwatched, learns
        from calibration.logs.schema import LogError

        try:
            kind = agent_class(name)
        except AgentError as error:
            raise LogError(f"--policy: {name!r} is none of randomised, confounded, {', '.join(AGENTS)}") from error
        if learns(kind):
            rules = [each for each in AGENTS if not learns(agent_class(each))]
            raise LogError(f"--policy: {name!r} needs training; of the agents these do not: {', '.join(rules)}")
        self._seed, self._agent = seed % 2**31, kind(scenario)
        say(f"{name} measures or tunes itself on training customers")
        self._agent.fit(self._seed, Unwatched())

    def decide(self, cohort: "Cohort", legal: "NDArray[np.bool_]", key: "Keys", day: int) -> "Decision":
        """The agent's choice by the log alone."""
        import numpy as np

        from blockenv.rollout import checked_actions
        from calibration.logs.policies import Decision

        rng = np.random.Generator(np.random.Philox(key=[self._seed, day], counter=[int(cohort.customer[0]), 0, 0, 0]))
        chosen = self._agent.act(cohort.observe(), legal, rng)
        action = checked_actions(chosen, len(cohort), cohort.scenario.actions)
        return Decision(action, np.full(len(cohort), np.nan))

    def send_probability(self, key: "Keys") -> None:
        """Not known."""

    def settings(self) -> dict[str, Any]:
        """The agent's settings and the seed it measured or tuned itself with."""
        return {"settings": self._agent.settings.model_dump(mode="json"), "tuning_seed": self._seed}  # type: ignore[attr-defined]


if __name__ == "__main__":
    app()
