"""The page of numbers: complete, each number once, with unit, label and source; and the committed page is fresh."""

import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from benchmarks.document import Entry, entries, fields, page, table
from benchmarks.readme import over_canon, with_leaderboard
from blockenv.scenarios import SCENARIOS, Channel, Scenario, Segment
from blockenv.scenarios.schema import Label, Provenance
from scripts.document import PAGE, README, app

LISTED = ("channels", "styles", "segments")


def numbers_of(scenario: Scenario) -> dict[str, float]:
    """Every number a scenario holds, found by walking what it dumps and asking no schema."""

    def walk(value: Any, path: str) -> dict[str, float]:
        if isinstance(value, dict):
            return {name: number for key, each in value.items() for name, number in walk(each, f"{path}.{key}").items()}
        if isinstance(value, list | tuple):
            return {
                name: number
                for each in value
                if isinstance(each, dict)
                for name, number in walk(each, f"{path}.{each['name']}").items()
            }
        return {path[1:]: value} if isinstance(value, int | float) and not isinstance(value, bool) else {}

    return walk(scenario.model_dump(exclude={"provenance"}), "")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_number_is_listed_once_with_unit_label_and_source(name: str) -> None:
    listed = entries(SCENARIOS[name])
    paths = [each.path for each in listed]
    assert len(paths) == len(set(paths))
    assert {each.path: each.value for each in listed if not isinstance(each.value, str)} == numbers_of(SCENARIOS[name])
    for each in listed:
        assert each.unit.strip(), each.path
        assert each.source.strip(), each.path
        assert each.label in get_args(Label), each.path


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_source_of_a_scenarios_own_belongs_to_a_number(name: str) -> None:
    scenario = SCENARIOS[name]
    for path, own in scenario.provenance.items():
        users = [each for each in entries(scenario) if each.own and each.source == own.source]
        assert users, f"{path} names no number of {name}"
        assert {each.label for each in users} == {own.label}


def test_the_page_holds_every_number_of_every_scenario() -> None:
    text = page()
    defaults = dict(_shared_defaults(text))
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n### ")}
    for name, scenario in SCENARIOS.items():
        read = dict(defaults)
        for part in LISTED:
            read = {path: value for path, value in read.items() if not path.startswith(f"{part}.")}
            read |= _matrix(part, sections, name, defaults, [each.name for each in getattr(scenario, part)])
        for row in _rows(sections[name], "| number | value |"):
            read[row[0]] = row[1]
        found = {path: float(value) for path, value in read.items() if _is_number(value)}
        expected = numbers_of(scenario)
        assert found.keys() == expected.keys(), name
        assert all(math.isclose(found[path], expected[path], rel_tol=1e-9) for path in expected), name


def test_the_nearest_source_wins() -> None:
    field, table_, one, cell = (
        Provenance(label="RECALLED", source=text) for text in ("all segments", "whole table", "one segment", "one cell")
    )
    scenario = SCENARIOS["Omnichannel-v0"].model_copy(
        update={
            "provenance": {
                "segments.weight": field,
                "segments.reactant.weight": one,
                "segments.style_block": table_,
                "segments.reactant.style_block.promo": cell,
            }
        }
    )
    source = {each.path: each.source for each in entries(scenario)}
    assert source["segments.forgetful.weight"] == "all segments"
    assert source["segments.reactant.weight"] == "one segment"
    assert source["segments.reactant.style_block.promo"] == "one cell"
    assert source["segments.reactant.style_block.info"] == "whole table"
    assert source["segments.reactant.reactance"] == fields(Segment)["reactance"].source


def test_labels_that_differ_within_a_row_are_told_apart() -> None:
    name = "Omnichannel-v0"
    usual = fields(Channel)["block_probability"].label
    other = next(label for label in get_args(Label) if label != usual)
    own = {"channels.push.block_probability": Provenance(label=other, source="none found")}
    text = page({name: SCENARIOS[name].model_copy(update={"provenance": own})})
    row = next(line for line in text.splitlines() if line.startswith("| `block_probability`") and "push" in line)
    assert f"push: {other}, messenger: {usual}" in row
    assert f"| `channels.push.block_probability` | {other} | none found |" in text


def test_fields_have_ranges() -> None:
    assert fields(Channel)["load"].range == "[0, 5]"
    assert fields(Channel)["block_probability"].range == "[0, 1)"
    assert fields(Channel)["visibility"].range == "at_once, next_send, never"
    assert fields(Segment)["weight"].range == "(0, 1e+06]"
    assert fields(Segment)["style_block"].range == "[-10, 10]"
    assert fields(Segment)["relevance"].range == "[0, 1]"


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert table(("a", "b"), [("x | y", "z")])[-1] == "| x \\| y | z |"


def test_links_within_the_page_lead_somewhere() -> None:
    text = page()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links
    assert set(links) <= anchors


def test_the_committed_page_is_fresh() -> None:
    result = CliRunner().invoke(app, ["--check"])
    assert result.exit_code == 0, result.output
    assert PAGE.read_text(encoding="utf-8") == page()


def test_check_refuses_a_stale_or_missing_page_and_writes_nothing(tmp_path: Path) -> None:
    path, readme, robustness = (tmp_path / name for name in ("numbers.md", "README.md", "robustness.md"))
    readme.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
    where = ["--out", str(path), "--readme", str(readme), "--robustness", str(robustness)]
    missing = CliRunner().invoke(app, ["--check", *where])
    assert missing.exit_code == 1
    assert not path.exists()
    assert not robustness.exists()
    path.write_text("old", encoding="utf-8")
    stale = CliRunner().invoke(app, ["--check", *where])
    assert stale.exit_code == 1
    assert "stale: run `python -m scripts.document`" in stale.output
    assert path.read_text(encoding="utf-8") == "old"
    assert CliRunner().invoke(app, where).exit_code == 0
    assert CliRunner().invoke(app, ["--check", *where]).exit_code == 0


def test_the_readme_shows_the_committed_leaderboard(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README.read_text(encoding="utf-8").replace("| silence |", "| nobody |"), encoding="utf-8")
    stale = CliRunner().invoke(app, ["--check", "--readme", str(readme)])
    assert stale.exit_code == 1
    assert "stale" in stale.output
    with pytest.raises(ValueError, match="expected the marks"):
        with_leaderboard("no marks here")


def test_the_readme_tells_which_neighbours_on_the_canon_are_told_apart() -> None:
    def entry(agent: str, score: list[float]) -> dict[str, Any]:
        return {"agent": agent, "label": agent, "seeds": 5, "score": score}

    pairs = [("a", "b", [1.0, -0.5, 2.5]), ("b", "c", [4.0, 3.0, 5.0]), ("c", "a", [-5.0, -6.0, -4.0])]
    findings = {
        "scenarios": [{"customers": 4096}, {"customers": 4096}],
        "overall": {
            "entries": [entry("a", [9.0, 8.0, 10.0]), entry("b", [8.0, 7.0, 9.0]), entry("c", [-4.4, -5.0, -3.0])],
            "neighbours": [{"better": one, "than": other, "difference": lead} for one, other, lead in pairs],
        },
    }
    assert over_canon(findings).splitlines() == [
        "Mean scores over 2 scenarios, 4,096 held-out customers and 5 training seeds, with 95 % intervals: "
        "a 9 [8, 10], b 8 [7, 9], c -4 [-5, -3].",
        "Neighbours in this order whose difference may be nothing: a and b (+1.0 [-0.5, +2.5]).",
        "Told apart: b and c (+4.0 [+3.0, +5.0]).",
    ]


def _shared_defaults(text: str) -> list[tuple[str, str]]:
    found, prefix = [], ""
    for line in text.split("## Scenarios")[0].splitlines():
        if line.startswith("### "):
            part = re.search(r"`(\w+)`", line)
            prefix = f"{part[1]}." if part else ""
        elif line.startswith("| `"):
            cells = _cells(line)
            found.append((prefix + cells[0], cells[2]))
    return found


def _matrix(
    part: str, sections: dict[str, str], name: str, defaults: dict[str, str], members: list[str]
) -> dict[str, str]:
    section = sections[name]
    elsewhere = re.search(rf"^{part.capitalize()}: all as in \[([\w-]+)\]", section, re.MULTILINE)
    if elsewhere:
        section = sections[elsewhere[1]]
    read = {
        f"{part}.{member}.{path.removeprefix(f'{part}.')}": value
        for member in members
        for path, value in defaults.items()
        if path.startswith(f"{part}.")
    }
    head = next((_cells(line) for line in section.splitlines() if line.startswith(f"| {part} |")), [])
    for row in _rows(section, f"| {part} |"):
        for member, value in zip(head[1:-1], row[1:-1], strict=True):
            read[f"{part}.{member}.{row[0]}"] = value
    return read


def _rows(section: str, head: str) -> list[list[str]]:
    lines = section.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(head)), None)
    if start is None:
        return []
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(_cells(line))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_entries_say_what_differs_from_the_default() -> None:
    listed: dict[str, Entry] = {each.path: each for each in entries(SCENARIOS["Drift-v0"])}
    assert listed["calendar.tolerance_drift"].default == 0.0
    assert listed["calendar.tolerance_drift"].value > 0.0
    assert listed["channels.push.cost"].default is None
