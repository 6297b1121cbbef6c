"""Reading strictly and telling uncertainty honestly, for every source of real data."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from calibration.figures import figures
from calibration.sources import (
    Estimate,
    SourceError,
    figure,
    log_moments,
    normal_estimate,
    positive_estimate,
    proportion,
    read_days,
    read_table,
)

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


@given(total=st.integers(1, 10_000), data=st.data())
def test_proportion_is_wilsons_interval(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    share, low, high, _ = proportion(count, total)
    peer = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert low is not None
    assert high is not None
    assert low == pytest.approx(peer.low, abs=1e-12)
    assert high == pytest.approx(peer.high, abs=1e-12)
    assert 0.0 <= low <= share <= high <= 1.0


@pytest.mark.parametrize(("count", "total"), [(1, 0), (-1, 5), (6, 5), (math.nan, 5)])
def test_proportion_refuses_what_is_none(count: float, total: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= count <= total"):
        proportion(count, total)


def test_positive_estimate_is_symmetric_in_the_logarithm() -> None:
    value, low, high, error = positive_estimate(math.log(3.0), 0.1)
    assert low is not None
    assert high is not None
    assert error is not None
    assert value == pytest.approx(3.0)
    assert low * high == pytest.approx(value**2)
    assert error == pytest.approx(0.3)


def test_log_moments_intervals_hold_the_truth_about_19_times_of_20() -> None:
    generator = np.random.default_rng(3)
    held_mean = held_sd = 0
    for amounts in np.exp(generator.normal(2.0, 0.7, size=(400, 200))):
        mean, deviation = log_moments(amounts)
        assert mean.low is not None
        assert mean.high is not None
        assert deviation.low is not None
        assert deviation.high is not None
        held_mean += mean.low <= 2.0 <= mean.high
        held_sd += deviation.low <= 0.7 <= deviation.high
    assert 365 <= held_mean <= 395
    assert 365 <= held_sd <= 395


def test_log_moments_of_equal_amounts_have_no_spread() -> None:
    mean, deviation = log_moments(np.full(5, 4.0))
    assert mean.value == pytest.approx(math.log(4.0))
    assert deviation == normal_estimate(0.0, 0.0)


@pytest.mark.parametrize("amounts", [[], [1.0], [1.0, 0.0], [2.0, -1.0]])
def test_log_moments_refuse_what_has_none(amounts: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least 2, all above 0"):
        log_moments(np.array(amounts))


def test_a_figure_carries_the_interval_it_is_given() -> None:
    assert figure("x", Estimate(1.0, 0.5, 2.0), "orders", "FOUND", "shop")[:4] == ("x", 1.0, 0.5, 2.0)
    assert figure("x", 7, "orders", "ASSUMED", "shop")[1:4] == (7.0, None, None)


def test_read_table_takes_the_named_columns_only(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("id,count,other\n007,1.5,x\n008,0,\n")
    table = read_table(path, ["count", "id"], ["count"])
    assert list(table.columns) == ["count", "id"]
    assert table["count"].tolist() == [1.5, 0.0]
    assert table["id"].tolist() == ["007", "008"]


def test_read_table_reads_columns_set_by_spaces(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_bytes(b" id  count\r\n 01   3\r\n 02  4.5\r\n")
    table = read_table(path, ["id", "count"], ["count"], whitespace_separated=True)
    assert table["count"].tolist() == [3.0, 4.5]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", r"not a table .*expected the columns id, count"),
        ("id,count\n", r"no rows below the header id, count"),
        ("id,sum\na,1\n", r"column 'count' is missing; expected id, count; found id, sum"),
        ("id,count\na,1\nb,many\n", r"column 'count' holds 'many' in data row 2; expected a finite number"),
        (
            "id,count\na,-1\n",
            r"column 'count' holds '-1' in data row 1; expected a finite number of at least 0",
        ),
        ("id,count\na,\n", r"column 'count' holds nan in data row 1"),
        ("id,count\na,inf\n", r"column 'count' holds 'inf' in data row 1"),
    ],
)
def test_read_table_names_file_column_and_expectation(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(content)
    with pytest.raises(SourceError, match=complaint) as caught:
        read_table(path, ["id", "count"], ["count"])
    assert "wrong.csv" in str(caught.value)


def test_read_table_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.csv: no such file; expected a table with the columns id, count"):
        read_table(tmp_path / "absent.csv", ["id", "count"])


def test_read_days_names_the_day_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "days.csv"
    path.write_text("date\n2021-04-30\n2021-02-30\n")
    with pytest.raises(SourceError, match=r"days\.csv: column 'date' holds '2021-02-30' in data row 2; expected %Y"):
        read_days(path, read_table(path, ["date"])["date"], "%Y-%m-%d")


def test_all_figures_of_the_real_data_can_stand_on_a_card() -> None:
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent: the rows of the sources are not part of the repository")
    lines = figures(DATA)
    assert len({line.name for line in lines}) == len(lines) > 150
    assert {line.source.split()[0] for line in lines} == {"REES46", "Hillstrom,", "CDNOW", "third-party"}
    assert {line.label for line in lines} == {"FOUND", "DERIVED"}
    for line in lines:
        assert math.isfinite(line.value)
        assert line.unit
        assert (line.low is None) == (line.high is None)
        if line.low is not None and line.high is not None:
            assert math.isfinite(line.low)
            assert line.low <= line.value <= line.high < math.inf
