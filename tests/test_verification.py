"""Rows that were made honestly come out the same again, and those that were not are found."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import experiment
from benchmarks.configs import Suite
from benchmarks.verification import Verified, chosen, read_table, verify
from blockenv.scenarios import get, save
from scripts.verify import app

ROOT = Path(__file__).parent.parent
SUITE = Suite(
    title="Tiny",
    scenarios=["Frequency-v0", "Style-v0"],
    agents=["silence", "random", "lints"],
    seeds=2,
    customers=32,
    days=14,
    settings={"lints": {"customers": 16, "days": 7}},
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    experiment.run(SUITE, folder, 1)
    return folder


def checked(rows: list[dict[str, Any]], folder: Path, **more: Any) -> list[Verified]:
    return list(verify(rows, folder, **more))


def test_every_row_of_a_fresh_table_agrees(table: Path, tmp_path: Path) -> None:
    rows = read_table(table)
    found = checked(rows, tmp_path)
    assert len(found) == 8
    assert {(each.verdict, each.words) for each in found} == {("agrees", "")}
    assert {each.value for each in found} == {row["value"] for row in rows}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 99.0}, "value 99, again"),
        ({"blocks": 0.5}, "blocks 0.5, again"),
        ({"courses": {"day": [0]}}, "courses"),
        ({"seed": 5, "value": 0.0}, "value 0, again"),
    ],
)
def test_a_figure_that_was_made_up_is_named(table: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    (row,) = chosen(read_table(table), ["Style-v0/lints/1"])
    (found,) = checked([row | change], tmp_path)
    assert found.verdict == "differs"
    assert words in found.words


def test_within_the_tolerance_only_the_value_counts(table: Path, tmp_path: Path) -> None:
    (row,) = chosen(read_table(table), ["Style-v0/random"])
    near = row | {"value": row["value"] + 0.01, "blocks": 9.0}
    (found,) = checked([near], tmp_path / "a", tolerance=0.02)
    assert found.verdict == "agrees"
    (found,) = checked([near], tmp_path / "b", tolerance=0.001)
    assert found.verdict == "differs"


def test_what_has_changed_since_is_told_where_a_row_differs(table: Path, tmp_path: Path) -> None:
    (row,) = chosen(read_table(table), ["Style-v0/silence"])
    old = row | {"code": "0ther", "versions": row["versions"] | {"numpy": "1.0"}}
    (found,) = checked([old], tmp_path / "a")
    assert (found.verdict, found.words) == ("agrees", "")
    (found,) = checked([old | {"value": 1.0}], tmp_path / "b")
    assert "(made by other code, numpy 1.0 -> " in found.words


def test_what_cannot_be_made_again_says_why(table: Path, tmp_path: Path) -> None:
    (row,) = chosen(read_table(table), ["Style-v0/silence"])
    rows = [row | {"digest": "0" * 16}, row | {"scenario": "Mine-v0"}, row | {"agent": "absent_of_test:Policy"}]
    stale, foreign, absent = checked(rows, tmp_path)
    assert {each.verdict for each in (stale, foreign, absent)} == {"cannot be made again"}
    assert "Style-v0 has other numbers now" in stale.words
    assert "give its file by --scenario" in foreign.words
    assert "cannot be imported" in absent.words


def test_scenarios_of_one_s_own_are_given(tmp_path: Path) -> None:
    world = get("Frequency-v0").model_copy(update={"name": "Mine-v0"})
    save(world, tmp_path / "mine.yaml")
    changes = {"scenarios": [str(tmp_path / "mine.yaml")], "agents": ["random"], "settings": {}}
    experiment.run(Suite(**SUITE.model_dump() | changes), tmp_path / "table", 1)
    (found,) = checked(read_table(tmp_path / "table"), tmp_path / "again", worlds=[world])
    assert found.verdict == "agrees"


def test_cells_are_chosen_by_patterns(table: Path) -> None:
    rows = read_table(table)
    assert len(chosen(rows, [])) == 8
    assert len(chosen(rows, ["Style-v0/*"])) == 4
    assert len(chosen(rows, ["*/lints/1", "Style-v0/lints"])) == 3
    with pytest.raises(ValueError, match=r"--cell Stile-v0/\*: no such row; there are Frequency-v0/"):
        chosen(rows, ["Stile-v0/*"])


def test_the_command_says_how_many_agree_and_ends_accordingly(table: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(table), "--cell", "*/random", "--cell", "*/silence", "--sample", "3"])
    assert done.exit_code == 0, done.output
    assert "3 of 3 rows agree" in done.output
    row = chosen(read_table(table), ["Style-v0/random"])[0] | {"value": 5.0}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    done = CliRunner().invoke(app, [str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "again")])
    assert done.exit_code == 1
    assert "0 of 1 rows agree" in done.output
    assert (tmp_path / "again" / "rows.jsonl").exists()


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a folder with rows\.jsonl"):
        read_table(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{")
    with pytest.raises(ValueError, match="holds no rows"):
        read_table(tmp_path)


def test_rows_of_the_committed_table_can_be_asked_for() -> None:
    rows = read_table(ROOT / "benchmarks" / "results" / "quick")
    assert len(chosen(rows, ["*-v0/silence"])) == 4
