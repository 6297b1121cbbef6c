"""From a message log to a world: `python -m scripts.calibrate messages.parquet orders.parquet --out my_world/`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    from calibration.estimation.findings import Findings
    from calibration.report.material import Material

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
STEPS = ("ingest", "customers and days", "estimates", "confounding", "increments", "scores", "world and card", "report")


@app.command()
@command
def calibrate(
    messages: Annotated[Path, typer.Argument(help="Messages, Parquet or CSV: a file or a folder of files.")],
    orders: Annotated[Path | None, typer.Argument(help="Orders, the same.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make; must not be there yet.")] = Path("my_world"),
    customers: Annotated[Path | None, typer.Option(help="Customers: joining, covariates, chances of sending.")] = None,
    blocks: Annotated[Path | None, typer.Option(help="Blocks, where the messages do not tell all.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Names of columns, channels and slots, YAML.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="What a simulated log came from; to compare with, never to estimate.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the scenario.")] = "Estimated-v0",
    classes: Annotated[int | None, typer.Option(help="Kinds of customers; by BIC if not said.", min=1, max=12)] = None,
    most: Annotated[int, typer.Option(help="Customers to estimate from, about.", min=100)] = 20_000,
    stops: Annotated[bool, typer.Option(help="The firm writes to nobody who has left.")] = False,
) -> None:
    """Read, estimate, report: scenario.yaml, report.html, card.json, score and gains files, effects.json.

    The folder appears whole or not at all; a killed run goes on with what it had read.
    """
    import hashlib

    from calibration.logs.ingest import ingest
    from calibration.logs.log import Log
    from calibration.logs.partial import partial
    from calibration.logs.schema import LogError

    if out.exists():
        raise LogError(f"--out: {out} is there already; choose another folder or remove it")
    given = [messages, orders, customers, blocks, mapping, truth]
    asked = [str(path and path.resolve()) for path in given] + [name, str(classes), str(most), str(stops)]
    fingerprint = hashlib.sha256(repr(asked).encode()).hexdigest()
    with partial(out, fingerprint) as half, bar() as progress:
        task, said = progress.add_task(STEPS[0], total=len(STEPS), note=""), set[str]()

        def step(note: str = "", done: bool = False) -> None:
            number = int(progress.tasks[0].completed) + done
            begun = STEPS[min(number, len(STEPS) - 1)]
            progress.update(task, completed=number, description=begun, note=note)
            line = f"{begun}: {note}" if note else begun
            if not console.is_terminal and line not in said:
                say(line)
            said.add(line)

        ingest(half.folder / "log", messages, orders, customers, blocks, mapping, progress=lambda what, *_: step(what))
        half.finish("ingest", {})
        step(done=True)
        log = Log(half.folder / "log")
        material = _material(log, _Asked(str(messages), name, classes, most, stops, truth), step)
        _write(half.folder, material)
        step(done=True)
    _tell(out, material)


class _Asked:
    """What was asked for."""

    def __init__(self, source: str, name: str, classes: int | None, most: int, stops: bool, truth: Path | None) -> None:
        self.source, self.name, self.classes, self.most = Path(source).name, name, classes, most
        self.stops, self.truth = stops, truth


def _material(log: Any, asked: _Asked, step: Any) -> "Material":
    """All estimates, in their order."""
    import numpy as np

    from calibration.estimation.check import check
    from calibration.estimation.confounding import check_confounding
    from calibration.estimation.findings import find
    from calibration.estimation.panel import read_panel
    from calibration.estimation.pooled import pooled_effects
    from calibration.estimation.rfm import micro_segments
    from calibration.estimation.scores import effects_of, score, trial_of
    from calibration.estimation.uplift import average_effect, qini
    from calibration.estimation.world import build_world
    from calibration.report.material import Material

    panel = read_panel(log, asked.most)
    step(done=True)
    findings = find(panel, classes=asked.classes, stops=asked.stops, progress=step)
    pooled = pooled_effects(panel, findings.alive.of_messages(panel))
    step(done=True)
    confounding = check_confounding(panel, findings.stops)
    step(done=True)
    trial = trial_of(findings)
    curves = {} if trial is None else {name: qini(trial, effect) for name, effect in effects_of(trial).items()}
    step(done=True)
    scores = score(findings, trial)
    step(done=True)
    world = build_world(findings, asked.name, asked.source)
    card = check(findings, world, source=asked.source)
    step(done=True)
    return Material(
        manifest=log.manifest,
        findings=findings,
        world=world,
        pooled=pooled,
        confounding=confounding,
        incremental=None if trial is None else average_effect(trial),
        curves=curves,
        scores=scores,
        check=card,
        rand_index=None if asked.truth is None else _rand_index(findings, asked.truth),
        micro_segments=len(np.unique(micro_segments(panel))),
    )


def _rand_index(findings: "Findings", truth: Path) -> float:
    """Agreement of the classes with the segments of a truth file."""
    import duckdb
    from sklearn.metrics import adjusted_rand_score

    from calibration.estimation.joint import class_of
    from calibration.logs.schema import LogError

    try:
        rows = duckdb.connect().execute("SELECT customer, segment FROM read_parquet(?)", [str(truth)]).df()
    except duckdb.Error as error:
        raise LogError(f"--truth: {truth}: {str(error).splitlines()[0]}") from error
    known = dict(zip(rows["customer"].astype(str), rows["segment"].astype(str), strict=True))
    true = [known.get(str(customer), "") for customer in findings.panel.names]
    return float(adjusted_rand_score(true, class_of(findings.joint.evaluation.posterior)))


def _write(folder: Path, material: "Material") -> None:
    """Everything but the ingested log, which is there."""
    import duckdb

    from blockenv.scenarios import save
    from calibration.estimation import rfm
    from calibration.estimation.hints import HINTS, hint_map
    from calibration.logs.engine import literal
    from calibration.report.report import report

    save(material.world, folder / "scenario.yaml")
    hints = hint_map(material.findings, material.world.hint_noise)
    (folder / HINTS).write_text(hints.text(), encoding="utf-8")
    (folder / "report.html").write_text(report(material), encoding="utf-8")
    files = material.scores.files.astype({"customer": str})
    with duckdb.connect() as connection:
        connection.register("files", files)
        connection.execute(f"COPY files TO {literal(folder / 'scores.parquet')} (FORMAT parquet)")
    material.scores.gains.to_csv(folder / "gains.csv", index=False)
    rfm.table(material.findings.panel).to_csv(folder / "rfm.csv", index=False)
    card = [line._asdict() for line in material.check.rows]
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
    effects = {
        "joint": [effect._asdict() for effect in material.findings.effects],
        "pooled": [effect._asdict() for effect in material.pooled],
        "criteria": material.findings.criteria,
        "area_under_curve": material.confounding.area,
        "warning": material.confounding.warning,
        "incremental_orders": material.incremental and material.incremental._asdict(),
        "adjusted_rand_index": material.rand_index,
    }
    (folder / "effects.json").write_text(json.dumps(effects, indent=1), encoding="utf-8")


def _tell(out: Path, material: "Material") -> None:
    rows = [
        (effect.kind, effect.name, "{:.2f} ({:.2f} to {:.2f})".format(*effect.ratio))
        for effect in material.findings.effects
    ]
    console.print(table(f"{out}: hazard ratios of blocking", ("kind", "effect", "95 % interval"), rows))
    if material.confounding.warning:
        say(f"warning: {material.confounding.warning}")
    verdicts = [line.verdict for line in material.check.rows]
    say(
        f"card: {verdicts.count('pass')} of {len(verdicts)} figures of the log within the band; see {out / 'report.html'}"
    )
    say(f"play it: gymnasium.make('blockenv/Custom-v0', scenario={str(out / 'scenario.yaml')!r})")


if __name__ == "__main__":
    app()
