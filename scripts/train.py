"""Train an agent on a scenario: `python -m scripts.train ppo --scenario Omnichannel-v0 --steps 2_000_000 --seed 1`."""

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from scripts.cli import bar, calm_threads, command, console, interrupted, say

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


def _whole_number(text: str) -> int:
    """2_000_000, 2000000 or 2e6."""
    from agents.agent import AgentError

    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number.is_integer():
        raise AgentError(f"--steps: {text!r} is no whole number such as 2_000_000 or 2e6")
    return int(number)


@app.command()
@command
def train(
    agent: Annotated[str | None, typer.Argument(help="An agent of `agents.AGENTS`, or package.module:Class.")] = None,
    scenario: Annotated[str, typer.Option(help="Name of the canon, or a .yaml file.")] = "Omnichannel-v0",
    steps: Annotated[
        str | None, typer.Option("--steps", "-n", help="Customer-days to learn from, as 2_000_000.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Training seed; -1 draws one.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting as key=value; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="auto takes a GPU when there is one; or cpu, cuda, cuda:1.")] = "auto",
    log_folder: Annotated[Path, typer.Option("--log-folder", "-f", help="Where run folders go.")] = Path("logs"),
    eval_freq: Annotated[
        int | None, typer.Option(help="Customer-days between evaluations; a quarter of the run.", min=1)
    ] = None,
    eval_customers: Annotated[int, typer.Option(help="Validation customers.", min=2)] = 2048,
    save_freq: Annotated[
        int | None, typer.Option(help="Customer-days between checkpoints; a tenth of the run.", min=1)
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder, after a kill or Ctrl-C.")] = None,
    threads: Annotated[
        int, typer.Option(help="Threads of PyTorch; two seeds in two processes beat two threads.", min=1)
    ] = 1,
) -> None:
    """Train an agent on training customers, watch it on validation customers, keep everything in a run folder."""
    calm_threads(threads)
    from agents.agent import AgentError
    from benchmarks.configs import assignments
    from benchmarks.training import Run

    if resume is not None:
        if agent is not None or steps is not None or set_:
            raise AgentError("--resume: goes on as the run was begun; leave agent, --steps and --set away")
        run = Run.open(resume)
        if run.finished():
            say(f"{resume} is finished; see `python -m scripts.evaluate {resume}`")
            return
    else:
        if agent is None:
            raise AgentError("agent: none given; name one, or go on with a run by --resume FOLDER")
        changes = assignments(set_ or [])
        if steps is not None:
            changes["steps"] = _whole_number(steps)
        if device != "auto":
            changes["device"] = device
        run = Run.create(
            log_folder,
            agent,
            scenario,
            secrets.randbelow(2**31) if seed == -1 else seed,
            changes,
            eval_freq=eval_freq,
            eval_customers=eval_customers,
            save_freq=save_freq,
        )
    say(f"{run.config.agent} on {run.scenario.name}, seed {run.config.seed}, run folder {run.folder}")
    started = time.perf_counter()
    with bar() as progress:
        run.show = _shown(progress, run.config.agent)
        try:
            final = run.train()
        except BaseException as error:
            if not interrupted(error):
                raise
            raise KeyboardInterrupt(f"go on with: python -m scripts.train --resume {run.folder}") from None
    say(
        f"validation CLV {final['eval/mean_reward']:.2f}, over silence {final['eval/over_silence']:+.2f} "
        f"± {1.96 * final['eval/over_silence_se']:.2f}, {final['eval/messages_a_week']:.2f} messages a week, "
        f"{1e3 * final['eval/block_rate']:.1f} blocks per 1,000; {time.perf_counter() - started:.0f} s"
    )
    say(f"next: python -m scripts.evaluate {run.folder}")


def _shown(progress: Progress, agent: str) -> Callable[[int, int, Mapping[str, float]], None]:
    """A bar with the latest figures; where there is no terminal, a line for each evaluation."""
    task = progress.add_task(agent, total=None, note="")
    latest: dict[str, float] = {}

    def show(done: int, total: int, metrics: Mapping[str, float]) -> None:
        latest.update(metrics)
        progress.update(task, completed=done, total=total, note=_note(latest))
        if "eval/mean_reward" in metrics and not console.is_terminal:
            say(f"{done:,} of {total:,} customer-days: {_note(latest)}")

    return show


def _note(metrics: Mapping[str, float]) -> str:
    words = []
    if "eval/mean_reward" in metrics:
        words.append(f"CLV {metrics['eval/mean_reward']:.1f} ({metrics['eval/over_silence']:+.1f} over silence)")
    if "clv/blocks_per_1000_messages" in metrics:
        words.append(f"{metrics['clv/blocks_per_1000_messages']:.1f} blocks/1,000")
    if "tuning/value" in metrics:
        words.append(f"candidate {metrics['tuning/value']:.1f}")
    if "time/fps" in metrics:
        words.append(f"{metrics['time/fps'] / 1e3:.0f}k days/s")
    return ", ".join(words)


if __name__ == "__main__":
    app()
