import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from blockenv.scenarios import load
from calibration.estimation.hints import HINTS, HintMap
from scripts.calibrate import app
from tests import estimated_logs as logs
from tests.test_report import check_page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, out = logs.source(), tmp_path_factory.mktemp("calibrate") / "world"
    answer = CliRunner().invoke(app, [*_arguments(folder), "--truth", str(folder / "truth.parquet"), "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert "Custom-v0" in answer.output
    assert "estimates: 2 kinds of customers" in answer.output  # progress where there is no terminal
    return out


def _arguments(folder: Path) -> list[str]:
    options = ("--customers", "customers.parquet", "--blocks", "blocks.parquet", "--mapping", "mapping.yaml")
    named = [each if each.startswith("--") else str(folder / each) for each in options]
    return [str(folder / "messages.parquet"), str(folder / "orders.parquet"), *named, "--classes", "2"]


def test_a_log_becomes_a_world(made: Path) -> None:
    world = load(made / "scenario.yaml")
    assert world.name == "Estimated-v0"
    assert len(world.segments) == 2
    assert "messages.parquet" in world.provenance["spread.frailty"].source


def test_the_report_is_one_file(made: Path) -> None:
    text = (made / "report.html").read_text(encoding="utf-8")
    check_page(text)
    for words in (
        "What moves blocking",
        "by hour and weekday",
        "stays an assumption",
        "Calibration card",
        "segment_2",
        "as asked for",
    ):
        assert words in text


def test_files_hold_what_they_say(made: Path) -> None:
    effects = json.loads((made / "effects.json").read_text(encoding="utf-8"))
    assert effects["warning"] == ""
    assert {each["kind"] for each in effects["joint"]} == {"frequency", "timing", "style", "product"}
    assert 0.0 < effects["adjusted_rand_index"] < 1.0
    assert len(json.loads((made / "card.json").read_text(encoding="utf-8"))) > 10
    scores = logs.read_rows(made / "scores.parquet")
    assert list(scores.columns) == ["customer", "model", "probability", "odds", "decile"]
    assert len(pd.read_csv(made / "gains.csv")) == 20
    assert HintMap.read(made / HINTS).matrix.shape == (2, 4)
    assert pd.read_csv(made / "rfm.csv")["customers"].sum() == logs.panel().size


def test_what_is_there_is_not_written_over(made: Path) -> None:
    answer = CliRunner().invoke(app, [*_arguments(logs.source()), "--out", str(made)])
    assert answer.exit_code == 2


def test_a_log_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "messages.csv").write_text("customer,sent_at\na,2021-01-01\n", encoding="utf-8")
    answer = CliRunner().invoke(app, [str(tmp_path / "messages.csv"), "--out", str(tmp_path / "world")])
    assert answer.exit_code == 2
    assert not (tmp_path / "world").exists()
    assert not list(tmp_path.glob(".*"))
