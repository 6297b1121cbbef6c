"""docs/robustness.md and its paragraph say what the committed suites say, and name those that were not run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.page.build import NAME, read_findings
from benchmarks.robustness import RESULTS, SUITES, page, paragraph, with_paragraph
from benchmarks.verification import read_table
from scripts.document import README, ROBUSTNESS, app
from tests import tiny_suites


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the suites shifted and online; none of the others."""
    return tiny_suites.made(tmp_path_factory.mktemp("results"))


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown page, cell by cell, without the line below the head."""
    found = re.findall(r"(?:^\|.*\|\n?)+", text, re.M)
    lines = [[line.strip("| ").split(" | ") for line in each.splitlines()] for each in found]
    return [[rows[0], *rows[2:]] for rows in lines]


def section(text: str, title: str) -> str:
    return next(part for part in text.split("\n## ") if part.startswith(title))


def written(triple: list[float], sign: str = "+") -> str:
    mean, low, high = (f"{each:{sign}z.1f}" for each in triple)
    return f"{mean} [{low}, {high}]"


def test_every_number_of_a_suite_is_in_its_table(results: Path) -> None:
    found = read_findings(results / "shifted")
    values, worlds = tables(section(page(results), "Tiny <shift>"))
    assert values[0] == ["agent", *(each["name"] for each in found["scenarios"])]
    by_agent = {row[0]: row[1:] for row in values[1:]}
    for place, each in enumerate(found["scenarios"]):
        for entry in each["entries"]:
            over, (low, high) = entry["over_silence"], entry["rank"]
            rank = f"({low})" if low == high else f"({low}-{high})"
            assert by_agent[entry["agent"]][place] == f"{written(over) if over else '0'} {rank}"
    assert by_agent["my:Own"][0] == "failed"
    tau = by_agent["*Kendall's τ to Omnichannel-v0*"]
    assert tau[1:] == ["{:z.2f} [{:z.2f}, {:z.2f}]".format(*each["tau"]) for each in found["stability"]]
    assert worlds[2] == ["`Reactants-v0`", "more reactants than in training"]


def test_the_online_track_has_regret_and_blocks(results: Path) -> None:
    found = read_findings(results / "online")
    text = section(page(results), "Tiny online")
    assert "τ" not in text
    _, _, *learned = tables(text)
    assert len(learned) == len(found["scenarios"])
    for rows, each in zip(learned, found["scenarios"], strict=True):
        silence = next(entry for entry in each["entries"] if entry["agent"] == "silence")
        for row, entry in zip(rows[1:], each["entries"], strict=True):
            caused = entry["measures"]["blocks"] - silence["measures"]["blocks"]
            assert row[0] == entry["agent"]
            assert row[2:4] == [written(entry["regret"], ""), f"{caused:.3f}"]


def test_what_was_not_run_is_said(results: Path) -> None:
    text = page(results)
    assert "No results of `configs/suites/misspecified.yaml` are committed" in section(text, "Misspecified")
    lines = paragraph(results).splitlines()
    assert [line[: line.index(".")] for line in lines[:2]] == ["- **Tiny <shift>", "- **Tiny online"]
    assert lines[2] == (
        "- No results are committed of `configs/suites/misspecified.yaml`, `configs/suites/ablations.yaml`."
    )
    assert with_paragraph("<!-- robustness:begin -->old<!-- robustness:end -->", results).count("\n") == 4
    with pytest.raises(ValueError, match="expected the marks"):
        with_paragraph("no marks", results)


def test_damaged_findings_are_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "shifted").mkdir()
    (tmp_path / "shifted" / NAME).write_text("{")
    with pytest.raises(ValueError, match="cannot be read as findings"):
        page(tmp_path)


# --- what is committed ---


def test_the_committed_page_is_fresh() -> None:
    assert ROBUSTNESS.read_text(encoding="utf-8") == page()
    assert paragraph() in README.read_text(encoding="utf-8")


def test_a_stale_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "robustness.md"
    path.write_text(page() + "more", encoding="utf-8")
    stale = CliRunner().invoke(app, ["--check", "--robustness", str(path)])
    assert stale.exit_code == 1
    assert "robustness.md is stale" in stale.output.replace("\n", "")
    assert path.read_text(encoding="utf-8").endswith("more")


@pytest.mark.parametrize("name", SUITES)
def test_committed_findings_are_of_the_committed_rows(name: str) -> None:
    folder = RESULTS / name
    if not (folder / NAME).exists():
        pytest.skip(f"no results of {name} are committed")
    rows: dict[str, Any] = {row["key"]: row for row in read_table(folder)}
    for world in json.loads((folder / NAME).read_text())["scenarios"]:
        assert not world["failed"]
        for entry in world["entries"]:
            assert len(entry["rows"]) == entry["seeds"]
            for each in entry["rows"]:
                kept = rows[each["key"]]
                assert (kept["scenario"], kept["agent"], kept["seed"]) == (world["name"], entry["agent"], each["seed"])
                assert kept["value"] == each["value"]
            mean = sum(each["value"] for each in entry["rows"]) / entry["seeds"]
            assert entry["value"][0] == pytest.approx(mean, rel=1e-5)
