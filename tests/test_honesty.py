"""The measurement of the statistics would notice a dishonest interval, and the committed figures are good ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import honesty
from benchmarks.honesty import BEATS, HOLDS, Measured, World, cases, measure, report, slow_cases
from benchmarks.statistics import Estimate
from scripts.verify_statistics import app

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "benchmarks" / "results" / "statistics.json"


def test_made_up_agents_have_the_truth_that_is_claimed() -> None:
    tables = World((1, 4000), 3.0, (5.0, 0.0), customers=50).draw(np.random.default_rng(0))
    assert [table.shape for table in tables] == [(1, 50), (4000, 50)]
    seeds = tables[1].mean(axis=1)
    assert seeds.std() == pytest.approx((3.0**2 + honesty.REST**2 / 50) ** 0.5, rel=0.05)
    many = World((1, 1), 0.0, (5.0, 0.0), customers=400_000).draw(np.random.default_rng(1))
    assert many[1].mean() == pytest.approx(honesty.MEAN, rel=0.02)
    assert (many[0] - many[1]).mean() == pytest.approx(5.0, abs=0.3)


def test_an_interval_that_is_too_narrow_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = honesty.paired_difference

    def narrow(a: honesty.Table, b: honesty.Table) -> Estimate:
        found = honest(a, b)
        half = (found.high - found.low) / 4
        return Estimate(found.mean, found.mean - half, found.mean + half, found.standard_error)

    name, what, _, happens = cases()[0]
    assert (name, what) == ("difference: a rule and a rule", HOLDS)
    rng = np.random.default_rng(2)
    assert np.mean([happens(rng) for _ in range(300)]) > 0.91
    monkeypatch.setattr(honesty, "paired_difference", narrow)
    assert np.mean([happens(rng) for _ in range(300)]) < 0.8
    assert np.mean([cases()[1][3](rng) for _ in range(300)]) > 0.08


def test_every_case_is_measured_once_and_reported() -> None:
    told: list[Measured] = []
    found = measure(4, 2, 0, told.append)
    assert found == told
    assert len({(each.name, each.what) for each in found}) == len(cases()) + len(slow_cases())
    assert all(0 <= each.share <= 1 for each in found)
    content = report(found, 0)
    assert json.loads(json.dumps(content))["rows"][0]["repeats"] == 4
    with pytest.raises(ValueError, match="repeats: 0"):
        measure(0, 1, 0)


def test_the_committed_figures_are_of_these_cases_and_honest() -> None:
    content = json.loads(COMMITTED.read_text())
    rows = [Measured(**row) for row in content["rows"]]
    assert [(row.name, row.what) for row in rows] == [(name, what) for name, what, *_ in [*cases(), *slow_cases()]]
    assert report(rows, content["seed"]) == content
    for row in rows:
        room = 3 * (0.05 * 0.95 / row.repeats) ** 0.5
        if row.what == HOLDS and not row.name.startswith(("bootstrap", "mean")):
            assert row.share >= 0.95 - room, row.name
        if row.what == BEATS:
            assert row.share <= 0.025 + room, row.name
        if row.name.startswith("8 equal"):
            assert row.share <= 0.05 + room


def test_the_command_writes_what_the_page_shows(tmp_path: Path) -> None:
    out = tmp_path / "statistics.json"
    done = CliRunner().invoke(app, ["--repeats", "3", "--slow-repeats", "1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "8 equal agents, all pairs" in done.output
    assert json.loads(out.read_text())["rows"][0]["repeats"] == 3
