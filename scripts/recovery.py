"""Does estimation give back the truth? Simulated logs, estimated and compared: `python -m scripts.recovery --out runs/recovery`."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.cli import bar, command, console, say, table

if TYPE_CHECKING:
    from calibration.logs.policies import LoggingPolicy

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def recovery(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for results; what is there already is kept.")],
    scenario: Annotated[str, typer.Option(help="The truth: a name of the canon, or a .yaml file.")] = "Omnichannel-v0",
    draws: Annotated[int, typer.Option(help="Simulated logs of a randomised policy.", min=1)] = 10,
    customers: Annotated[int, typer.Option("--customers", "-n", min=200)] = 20_000,
    days: Annotated[int, typer.Option(help="Days each customer is watched.", min=28)] = 112,
    search: Annotated[bool, typer.Option(help="In the first draw, choose the number of classes by BIC.")] = True,
    confounded: Annotated[bool, typer.Option(help="Also a draw of the confounded policy.")] = True,
) -> None:
    """Simulate, ingest, estimate, compare; a killed run goes on with the next draw.

    Intervals cover where the effect of the very customers drawn, averaged over them, lies inside.
    """
    from blockenv.scenarios import get
    from calibration.logs.policies import Confounded, Randomised

    world = get(scenario)
    out.mkdir(parents=True, exist_ok=True)
    with bar() as progress:
        task = progress.add_task("draws", total=draws + confounded, note="")
        for seed in range(1, draws + 1):
            path = out / f"randomised-{seed}.json"
            if not path.is_file():
                classes = None if search and seed == 1 else len(world.segments)
                _draw(path, world, Randomised(rate_spread=0.7), "randomised", customers, days, seed, classes)
            progress.advance(task)
        if confounded:
            path = out / "confounded-1.json"
            if not path.is_file():
                _draw(path, world, Confounded(world), "confounded", customers, days, 1, len(world.segments))
            progress.advance(task)
    summary = _summary(out, scenario, draws, customers, days)
    (out / "recovery.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (out / "recovery.md").write_text(_page(summary), encoding="utf-8")
    rows = [
        (line["effect"], f"{line['covered']} of {line['draws']}", f"{line['bias']:+.3f}", f"{line['pooled_covered']}")
        for line in summary["coverage"]
    ]
    console.print(table("95 % intervals that hold the truth", ("effect", "joint model", "bias", "pooled"), rows))
    say(f"written to {out}/recovery.md and recovery.json")


def _draw(
    path: Path,
    world: Any,
    policy: "LoggingPolicy",
    name: str,
    customers: int,
    days: int,
    seed: int,
    classes: int | None,
) -> None:
    """One log from beginning to end; its results as a file."""
    import time

    import duckdb
    from sklearn.metrics import adjusted_rand_score

    from agents.agent import write_whole
    from calibration.estimation.confounding import check_confounding
    from calibration.estimation.effects import true_effects
    from calibration.estimation.findings import find
    from calibration.estimation.joint import class_of
    from calibration.estimation.panel import read_panel
    from calibration.estimation.pooled import pooled_effects
    from calibration.logs.ingest import ingest
    from calibration.logs.log import Log
    from calibration.logs.simulate import Settings, simulate_log

    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".draw-") as scratch:
        settings = Settings(
            customers=customers, days=days, seed=seed, after_leaving="send", reveal_propensity=name == "randomised"
        )
        source = simulate_log(world, policy, name, Path(scratch) / "log", settings).folder
        mail, orders, people, blocks = (
            source / f"{part}.parquet" for part in ("messages", "orders", "customers", "blocks")
        )
        ingest(Path(scratch) / "tidy", mail, orders, people, blocks, source / "mapping.yaml")
        panel = read_panel(Log(Path(scratch) / "tidy"), customers)
        truth = (
            duckdb.connect()
            .execute("SELECT * FROM read_parquet(?)", [str(source / "truth.parquet")])
            .df()
            .set_index("customer")
        )
    truth = truth.loc[panel.names.astype(int)]
    findings = find(panel, classes=classes)
    weight = findings.alive.of_messages(panel)
    pooled = pooled_effects(panel, weight)
    confounding = check_confounding(panel, findings.stops)
    true = true_effects(findings.joint, truth, world.response.block_relevance)
    result = {
        "policy": name,
        "seed": seed,
        "customers": panel.size,
        "messages": len(panel.customer),
        "blocks": int(panel.blocked.sum()),
        "classes": findings.joint.layout.classes,
        "criteria": findings.criteria,
        "adjusted_rand_index": adjusted_rand_score(truth["segment"], class_of(findings.joint.evaluation.posterior)),
        "area_under_curve": confounding.area,
        "warning": confounding.warning,
        "effects": [
            {
                "kind": each.kind,
                "name": each.name,
                "true": float(value),
                "joint": [each.value, each.low, each.high],
                "pooled": [plain.value, plain.low, plain.high],
            }
            for each, plain, value in zip(findings.effects, pooled, true, strict=True)
        ],
        "seconds": time.monotonic() - began,
    }
    write_whole(path, json.dumps(result, indent=1).encode())


def _summary(out: Path, scenario: str, draws: int, customers: int, days: int) -> dict[str, Any]:
    found = [json.loads((out / f"randomised-{seed}.json").read_text(encoding="utf-8")) for seed in range(1, draws + 1)]
    coverage = []
    for place, effect in enumerate(found[0]["effects"]):
        lines = [each["effects"][place] for each in found]
        coverage.append(
            {
                "kind": effect["kind"],
                "effect": effect["name"],
                "draws": draws,
                "true": sum(line["true"] for line in lines) / draws,
                "estimate": sum(line["joint"][0] for line in lines) / draws,
                "bias": sum(line["joint"][0] - line["true"] for line in lines) / draws,
                "half_width": sum(line["joint"][2] - line["joint"][1] for line in lines) / (2 * draws),
                "covered": sum(line["joint"][1] <= line["true"] <= line["joint"][2] for line in lines),
                "pooled_bias": sum(line["pooled"][0] - line["true"] for line in lines) / draws,
                "pooled_covered": sum(line["pooled"][1] <= line["true"] <= line["pooled"][2] for line in lines),
            }
        )
    confounded = out / "confounded-1.json"
    return {
        "command": f"python -m scripts.recovery --scenario {scenario} --draws {draws} --customers {customers} --days {days}",
        "coverage": coverage,
        "adjusted_rand_index": [each["adjusted_rand_index"] for each in found],
        "criteria": found[0]["criteria"],
        "classes": found[0]["classes"],
        "area_under_curve": [each["area_under_curve"] for each in found],
        "seconds": [each["seconds"] for each in found],
        "confounded": json.loads(confounded.read_text(encoding="utf-8")) if confounded.is_file() else None,
    }


def _page(summary: dict[str, Any]) -> str:
    """The results as a page."""
    lines = ["# Parameter recovery", "", f"`{summary['command']}`", ""]
    lines += [
        "Effects are differences of log hazards of blocking a message, averaged over the customers of the draw: slots, styles",
        "and products against the mean of their kind, and a load of 8 against 4 fatigue units at equal bond.",
        "",
        "| effect | true | estimate | ± | covered | bias | pooled: bias | pooled: covered |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for line in summary["coverage"]:
        lines.append(
            f"| {line['kind']}: {line['effect']} | {line['true']:.3f} | {line['estimate']:.3f} | {line['half_width']:.3f} "
            f"| {line['covered']} of {line['draws']} | {line['bias']:+.3f} | {line['pooled_bias']:+.3f} | {line['pooled_covered']} of {line['draws']} |"
        )
    total, covered = (sum(line[key] for line in summary["coverage"]) for key in ("draws", "covered"))
    index = summary["adjusted_rand_index"]
    lines += ["", f"In all, {covered} of {total} intervals ({covered / total:.1%}) hold the truth.", ""]
    lines += [f"Segments: adjusted Rand index {min(index):.2f} to {max(index):.2f} against the truth.", ""]
    criteria = ", ".join(f"{number}: {value:,.0f}" for number, value in summary["criteria"].items())
    lines += [f"Number of classes by BIC in the first draw: {summary['classes']} ({criteria}).", ""]
    area = summary["area_under_curve"]
    lines += [f"Messages predicted from engagement: area under the curve {min(area):.3f} to {max(area):.3f}.", ""]
    told = summary["confounded"]
    if told is not None:
        frequency = told["effects"][0]
        lines += ["## Confounded policy", "", f"Warning: {told['warning']}.", ""]
        lines += ["| effect | true | pooled (naive) | joint model |", "| --- | ---: | ---: | ---: |"]
        lines += [
            f"| {each['kind']}: {each['name']} | {each['true']:.3f} | {each['pooled'][0]:.3f} ({each['pooled'][1]:.3f} to "
            f"{each['pooled'][2]:.3f}) | {each['joint'][0]:.3f} ({each['joint'][1]:.3f} to {each['joint'][2]:.3f}) |"
            for each in told["effects"]
        ]
        missed = frequency["pooled"][0] - frequency["true"]
        lines += ["", f"The naive effect of frequency is off by {missed:+.2f} on the log scale.", ""]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app()
