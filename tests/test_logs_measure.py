"""The command that measures how reading grows: it runs, adds up and says where a line leads."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from calibration.logs.schema import LogError
from calibration.logs.synthetic import synthesise
from scripts.measure_ingest import STEPS, growth

ROOT = Path(__file__).parent.parent


def test_the_command_measures_each_step_and_cleans_up(tmp_path: Path) -> None:
    words = [
        "--rows",
        "3000",
        "--memory",
        "300MB",
        "--threads",
        "1",
        "--folder",
        tmp_path / "in",
        "--json",
        tmp_path / "x.json",
    ]
    (tmp_path / "in").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "scripts.measure_ingest", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "csv, limit 300MB, 1 threads" in done.stdout
    measured = json.loads((tmp_path / "x.json").read_text())
    assert [each["step"] for each in measured] == list(STEPS)
    for each in measured:
        assert each["rows"] == 3000
        assert each["cpu_seconds"] > 0
        assert 30 < each["peak_mb"] < 1000
    assert not list((tmp_path / "in").iterdir())


def test_growth_is_told_by_a_power_and_a_line() -> None:
    two = [
        {"rows": 1_000_000, "seconds": 10.0, "peak_mb": 500.0},
        {"rows": 10_000_000, "seconds": 100.0, "peak_mb": 600.0},
    ]
    told = growth("ingest", two)
    assert "rows^1.00" in told
    assert "by 1.20" in told
    assert "100,000,000 take 17 minutes" in told


def test_made_up_logs_have_the_rows_asked_for(tmp_path: Path) -> None:
    messages, orders = synthesise(tmp_path, 2_000, "csv.gz", threads=1)
    assert duckdb.sql(f"SELECT count(*) FROM '{messages}'").fetchall() == [(2_000,)]
    assert duckdb.sql(f"SELECT count(*) FROM '{orders}'").fetchall() == [(100,)]
    with pytest.raises(LogError, match="rows 5, format 'xls'"):
        synthesise(tmp_path, 5, "xls")
