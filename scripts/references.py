"""Reckon the two ends of the score exactly: `python -m scripts.references Frequency-v0 --customers 1024`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    from benchmarks.exact import Ledger, Question
    from benchmarks.references import Tuning

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def references(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="Names of the canon, or .yaml files; the whole canon if none.")
    ] = None,
    customers: Annotated[int, typer.Option(help="Held-out customers, from number 0 on.", min=2)] = 1024,
    out: Annotated[Path | None, typer.Option(help="Folder of the references; the committed one if not given.")] = None,
    parts: Annotated[Path, typer.Option(help="Folder of finished tiles, from which a killed run goes on.")] = Path(
        "runs/references"
    ),
    workers: Annotated[int, typer.Option(help="Processes of one thread each.", min=1)] = 1,
    days: Annotated[int | None, typer.Option(help="Window; the scenario's own if not given.", min=1)] = None,
    tuning: Annotated[int, typer.Option(help="Training customers that caps are tuned on; 0 for no caps.", min=0)] = 128,
    belief: Annotated[
        bool, typer.Option(help="Also play the belief planner on these customers, the attainable line.")
    ] = True,
    any_code: Annotated[
        bool, typer.Option(help="Take finished tiles of other code, once a few of them have been reckoned again.")
    ] = False,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only say how long it would take.")] = False,
) -> None:
    """Exact values of silence, full information and the myopic policy, and of the best fatigue caps; the attainable line.

    Killed and started again it goes on where it stopped.
    """
    from benchmarks import references as book
    from benchmarks.exact import Ledger
    from blockenv.scenarios import SCENARIOS, get

    folder = out or book.FOLDER
    worlds = [get(name) for name in scenarios or SCENARIOS]
    ledgers = [
        Ledger(
            world,
            days or world.evaluation_days,
            parts / f"{world.name}.{days or world.evaluation_days}.jsonl",
            any_code,
        )
        for world in worlds
    ]
    for ledger in ledgers if any_code else []:
        book.checked(ledger)
    hours = 0.0
    for ledger in ledgers:
        still = book.held_out(ledger, customers)
        own = book.estimated_seconds(still) / 3600 / workers
        hours += own
        left = sum(len(question.customers) for question in still)
        say(f"{ledger.scenario.name}: {left:,} of {3 * customers:,} values to reckon, {own:.2f} hours")
    say(
        f"{len(worlds)} scenarios, {customers:,} customers, {workers} {'worker' if workers == 1 else 'workers'}: "
        f"about {hours:.2f} hours{', and tuning the caps' if tuning else ''}; into {folder}, parts in {parts}"
    )
    if plan_only:
        return
    with bar() as progress:
        try:
            for ledger in ledgers:
                still = book.held_out(ledger, customers)
                _settle(progress, ledger, "held-out", still, workers)
                if not book.is_kept(ledger, customers, folder):
                    book.write(ledger, customers, folder)
            for ledger in ledgers if tuning else []:
                found = _tune(progress, ledger, tuning, workers)
                _settle(progress, ledger, "caps", book.open_caps(ledger, customers, found), workers)
                book.write(ledger, customers, folder, found)
            for ledger in ledgers if belief else []:
                _attain(progress, ledger, customers, folder)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("finished tiles are kept, the same command goes on from there") from None
    rows = [_row(book.read(ledger.scenario.name, folder)) for ledger in ledgers]
    names = ("scenario", "silence", "cap", "segment caps", "myopic", "attained", "full information", "seconds")
    console.print(table(f"Exact values of {customers:,} customers; all but silence over silence", names, rows))


def _tune(progress: Any, ledger: "Ledger", customers: int, workers: int) -> "Tuning":
    """The tuned caps, under a bar that counts what has been reckoned; nobody knows beforehand how much it will be."""
    from benchmarks import references as book

    started = time.perf_counter()
    task = progress.add_task(f"{ledger.scenario.name} tuning", total=None, note="")

    def told(question: "Question") -> None:
        progress.update(task, advance=len(question.customers), note=question.policy)

    found = book.tuned(ledger, customers, workers, told)
    progress.remove_task(task)
    say(f"{ledger.scenario.name} tuning: {time.perf_counter() - started:.0f} s")
    return found


def _settle(progress: Any, ledger: "Ledger", what: str, questions: "list[Question]", workers: int) -> None:
    """Answer the questions under a bar that counts customers."""
    total, done, started = sum(len(each.customers) for each in questions), 0, time.perf_counter()
    if not total:
        return
    name = f"{ledger.scenario.name} {what}"
    task = progress.add_task(name, total=total, note="")

    def told(question: "Question") -> None:
        nonlocal done
        done += len(question.customers)
        rate = done / (time.perf_counter() - started)
        progress.update(task, completed=done, note=f"{rate:.1f} values/s, {question.policy}")

    ledger.settle(questions, workers, told)
    seconds = time.perf_counter() - started
    say(f"{name}: {total:,} values in {seconds:.0f} s, {total / seconds:.2f} a second")


def _attain(progress: Any, ledger: "Ledger", customers: int, folder: Path) -> None:
    """Play the belief planner, unless the reference has it."""
    from agents.belief import BeliefSettings
    from benchmarks import attainable
    from benchmarks import references as book

    name = ledger.scenario.name
    reference = book.read(name, folder)
    if reference is None or book.ATTAINED in reference.facts:
        return
    task, started = progress.add_task(f"{name} belief", total=None, note=""), time.perf_counter()

    def told(what: str, done: int, total: int) -> None:
        progress.update(task, completed=done, total=total, note=what)

    facts = attainable.attained(ledger.scenario, customers, ledger.days, BeliefSettings(), told)
    attainable.write(reference, facts, folder)
    progress.remove_task(task)
    say(f"{name} belief: {time.perf_counter() - started:.0f} s")


def _row(reference: Any) -> list[str]:
    facts = reference.facts
    over = facts["over_silence"] | ({"attained": facts["attained"]["mean"]} if "attained" in facts else {})
    cells = [
        f"{over[name]['mean']:+.2f} ±{1.96 * over[name]['standard_error']:.2f}" if name in over else ""
        for name in ("fatigue_cap", "segment_caps", "myopic", "attained", "optimum")
    ]
    return [reference.scenario, f"{facts['mean']['silence']['mean']:.2f}", *cells, f"{facts['seconds']:.0f}"]


if __name__ == "__main__":
    app()
