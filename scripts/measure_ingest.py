"""How time and memory of reading a message log, and of fitting one, grow with its size: `python -m scripts.measure_ingest`."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.cli import command, console, say, table

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

PLANNED = 100_000_000
_CHILD = "from scripts.measure_ingest import work; import sys; work(*sys.argv[1:])"
STEPS = ("synthesise", "ingest", "exposures", "profiles")
FIT_STEPS = ("simulate", "calibrate")
FIT_WORLD, FIT_DAYS, FIT_MESSAGES = "Omnichannel-v0", 182, 49.5  # messages a customer in so many days


@app.command()
@command
def measure_ingest(
    rows: Annotated[
        list[int] | None, typer.Option(help="Messages; may be repeated. 1 and 10 million if not given.", min=1)
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="parquet, csv or csv.gz.")] = "csv",
    memory: Annotated[str, typer.Option(help="Limit of the database.")] = "1GB",
    threads: Annotated[int | None, typer.Option(help="All cores if not given.", min=1)] = None,
    folder: Annotated[
        Path | None, typer.Option(help="For the files, which are removed; about 300 bytes a message.")
    ] = None,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="Simulate logs instead and calibrate a world from each, all of scripts.calibrate."),
    ] = False,
    classes: Annotated[
        int | None, typer.Option(help="Of --fit: kinds of customers; by BIC if not said.", min=1)
    ] = None,
    to_json: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Make logs of nothing, read them, derive their tables: seconds and peak memory of each in a process of its own."""
    sizes = sorted(set(rows or [1_000_000, 10_000_000]))
    steps = FIT_STEPS if fit else STEPS
    file_format = "parquet" if fit else file_format
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="ingest-") as scratch:
        for size in sizes:
            place = Path(scratch) / str(size)
            for step in steps:
                say(f"{size:,} messages: {step}")
                words = [
                    step,
                    str(place),
                    str(size),
                    file_format,
                    memory,
                    str(threads or os.cpu_count() or 1),
                    str(classes or ""),
                ]
                measured.append({"rows": size, "step": step, **measure(words)})
            source = place / "source" if fit else place
            measured[1 - len(steps)]["bytes"] = sum(
                each.stat().st_size for each in source.glob("*.*") if each.is_file()
            )
            shutil.rmtree(place)
    shown = [each for each in measured if each["step"] != steps[0]]
    lines = [
        (
            f"{each['rows']:,}",
            each["step"],
            f"{each['seconds']:.1f}",
            f"{each['cpu_seconds']:.1f}",
            f"{each['rows'] / each['seconds'] / 1e6:.2f}",
            f"{each['peak_mb']:.0f}",
        )
        for each in shown
    ]
    title = file_format if fit else f"{file_format}, limit {memory}, {threads or os.cpu_count()} threads"
    console.print(table(title, ("messages", "step", "seconds", "CPU s", "million/s", "peak MB"), lines))
    if len(sizes) > 1:
        for step in steps[1:]:
            say(growth(step, [each for each in shown if each["step"] == step][-2:]))
    if to_json is not None:
        to_json.write_text(json.dumps(measured, indent=1), encoding="utf-8")


def measure(words: list[str]) -> dict[str, float]:
    """Seconds and peak memory of one step, the process as a whole."""
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", _CHILD, *words], stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise OSError(f"{words[0]} of {words[2]} messages ended with {child.returncode}")
    # Linux counts in kilobytes, macOS in bytes.
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return {"seconds": time.perf_counter() - started, "peak_mb": peak, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def growth(step: str, two: list[dict[str, Any]]) -> str:
    """How seconds and memory grow between two sizes, and where the straight line through the seconds leads."""
    small, large = two
    power = math.log(large["seconds"] / small["seconds"]) / math.log(large["rows"] / small["rows"])
    slope = (large["seconds"] - small["seconds"]) / (large["rows"] - small["rows"])
    ahead = large["seconds"] + slope * (PLANNED - large["rows"])
    return (
        f"{step}: from {small['rows']:,} to {large['rows']:,} messages seconds grow as rows^{power:.2f} and peak memory "
        f"by {large['peak_mb'] / small['peak_mb']:.2f}; on this line {PLANNED:,} take {ahead / 60:.0f} minutes"
    )


def work(step: str, place: str, rows: str, file_format: str, memory: str, threads: str, classes: str) -> None:
    """One step, in the child."""
    from calibration.logs.exposures import derive_exposures
    from calibration.logs.ingest import ingest
    from calibration.logs.log import Log
    from calibration.logs.profiles import derive_profiles
    from calibration.logs.synthetic import synthesise

    folder, out, cores = Path(place), Path(place) / "log", int(threads)
    if step in FIT_STEPS:
        _fit(step, folder, int(rows), int(classes) if classes else None)
    elif step == "synthesise":
        synthesise(folder, int(rows), file_format, cores)
    elif step == "ingest":
        messages, orders = (folder / f"{table}.{file_format}" for table in ("messages", "orders"))
        ingest(out, messages, orders, memory=memory, threads=cores)
    elif step == "exposures":
        derive_exposures(Log(out), memory=memory, threads=cores)
    else:
        derive_profiles(Log(out), memory=memory, threads=cores)


def _fit(step: str, folder: Path, rows: int, classes: int | None) -> None:
    """Simulate a log of about so many messages, or calibrate a world from it."""
    from blockenv.scenarios import get
    from calibration.logs.policies import Randomised
    from calibration.logs.simulate import Settings, simulate_log
    from scripts.calibrate import calibrate

    source = folder / "source"
    if step == "simulate":
        settings = Settings(customers=max(round(rows / FIT_MESSAGES), 1), days=FIT_DAYS, after_leaving="send")
        folder.mkdir(parents=True)
        simulate_log(get(FIT_WORLD), Randomised(rate_spread=0.7), "randomised", source, settings)
        return
    tables = {name: source / f"{name}.parquet" for name in ("messages", "orders", "customers", "blocks")}
    calibrate(**tables, mapping=source / "mapping.yaml", out=folder / "world", classes=classes)


if __name__ == "__main__":
    app()
