"""What docs/*.md and CONTRIBUTING.md say about fields, features, scenarios and links agrees with the code."""

import re
from pathlib import Path

import pytest

from blockenv.observation import FEATURES, HIDDEN
from blockenv.scenarios import SCENARIOS, Channel, Record, Scenario, Style, get
from blockenv.scenarios.schema import Bond, Calendar, Commerce, Fatigue, Response, Spread

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
MODEL = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
RECORDS: dict[str, type[Record]] = {
    "channels": Channel,
    "styles": Style,
    "spread": Spread,
    "fatigue": Fatigue,
    "bond": Bond,
    "response": Response,
    "commerce": Commerce,
    "calendar": Calendar,
}


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        other = page.parent / file if file else page
        assert other.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(other.read_text(encoding="utf-8")), f"{page.name}: {target}"


def test_every_source_of_the_evidence_has_an_address_and_a_use() -> None:
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    defined = re.findall(r"^\[([a-z0-9]+)\]: (https?://\S+)$", text, re.M)
    used = re.findall(r"\]\[([a-z0-9]+)\]", text)
    assert len(defined) == len({name for name, _ in defined})
    assert {name for name, _ in defined} == set(used)


def test_rows_of_the_evidence_have_labels() -> None:
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    labelled = [
        line
        for title in ("Rates by channel", "Responses of opposite sign", "Studies of contact and leaving")
        for line in section(text, title).splitlines()
        if line.startswith("|") and not line.startswith(("| ---", "| channel |", "| evidence |", "| work |"))
    ]
    assert len(labelled) > 50
    for line in labelled:
        assert re.search(r"\| (FOUND|RECALLED|DERIVED|ASSUMED|\u2013) \|", line), line


def test_the_symbols_name_fields_that_exist_and_miss_no_slope() -> None:
    symbols = section(MODEL, "Symbols")
    paths = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", symbols))
    for path in paths:
        part, field = path.split(".")
        assert field in RECORDS[part].model_fields, path
    for field in ("hint_noise", "discount"):
        assert f"| `{field}` |" in symbols
        assert field in Scenario.model_fields
    named = {path.split(".")[1] for path in paths if path.startswith("response.")}
    assert named == set(Response.model_fields)
    for part, elsewhere in (("bond", {"levels", "start"}), ("commerce", set()), ("calendar", set())):
        named = {path.split(".")[1] for path in paths if path.startswith(f"{part}.")}
        assert named == set(RECORDS[part].model_fields) - elsewhere


def test_the_feature_tables_list_the_features_in_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|.*\| (\S+)\.\.(\S+) \|$", section(MODEL, "What the firm sees"), re.M)
    both = FEATURES | HIDDEN
    assert [name for name, *_ in rows] == list(both)
    scenario = SCENARIOS["Omnichannel-v0"]
    widths = {"C": 5, "H": 3, "K": 14, "P": 3, "S": 4, "Y": 3}
    for name, width, low, high in rows:
        assert both[name].width(scenario) == widths.get(width, int(width) if width.isdigit() else -1), name
        assert (both[name].low, both[name].high) == (float(low.replace("\u2212", "-")), float(high)), name


def test_what_the_pages_say_of_single_scenarios_holds() -> None:
    drifting = {name for name, scenario in SCENARIOS.items() if scenario.calendar.tolerance_drift > 0}
    reopening = {name for name, scenario in SCENARIOS.items() if any(c.win_back_rate > 0 for c in scenario.channels)}
    unseen = {name for name, scenario in SCENARIOS.items() if all(c.visibility == "never" for c in scenario.channels)}
    assert (drifting, reopening, unseen) == ({"Drift-v0"}, {"Winback-v0"}, {"Silent-v0"})
    assert {(scenario.horizon, scenario.evaluation_days) for scenario in SCENARIOS.values()} == {(364, 1092)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scenarios_named_in_the_pages_exist(page: Path) -> None:
    named = set(re.findall(r"\b([A-Z][A-Za-z]+-v0)\b", page.read_text(encoding="utf-8")))
    worlds = {get(str(path)).name for path in (ROOT / "configs" / "worlds").glob("*.yaml")}
    assert len(worlds) > 3
    assert named <= {*SCENARIOS, *worlds, "Custom-v0"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_files_named_in_the_pages_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m (scripts\.\w+)", text))
    files = set(
        re.findall(
            r"`((?:blockenv|agents|benchmarks|calibration|scripts|tests|configs)/[a-z0-9_/]+\.(?:py|yaml))`", text
        )
    )
    for name in {f"{module.replace('.', '/')}.py" for module in modules} | files:
        assert (ROOT / name).exists(), name
