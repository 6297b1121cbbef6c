"""The page is one file without a network, and works in a real browser: sorting, filtering, both themes, a phone."""

import base64
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import experiment
from benchmarks.configs import Suite
from benchmarks.findings import findings
from benchmarks.page.build import NAME, page, read_findings
from benchmarks.page.png import SIGNATURE, description
from benchmarks.robustness import SUITES
from blockenv.scenarios import SCENARIOS
from scripts.page import app
from tests.browsers import CONTRAST, DESK, PHONE, Visit
from tests.tiny_agents import TINY, known

ROOT = Path(__file__).parent.parent
NASTY = "RuntimeError: </script><!-- <b>bold</b> & \u2028 |"
SUITE = Suite(
    title="Tiny <table> & co",
    scenarios=["Frequency-v0", "Style-v0"],
    agents=["silence", "random", "weekly", "lints"],
    seeds=2,
    customers=60,
    settings={"weekly": {"customers": 16, "days": 7}, "lints": known("lints", TINY)},
)


def png(*texts: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixel = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return SIGNATURE + pixel + b"".join(texts) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def text_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + b"\0\0\0\0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with a page: two worlds, four agents, a submission that failed, a picture and a card."""
    place = tmp_path_factory.mktemp("results")
    rows = experiment.run(SUITE, place, 1)
    lost = {name: rows[0][name] for name in ("key", "scenario", "digest", "customers", "days", "settings")}
    found = findings([*rows, lost | {"agent": "my:Own", "seed": 0, "failed": NASTY}], place, SUITE.title, "make it")
    (place / NAME).write_text(json.dumps(found))
    (place / "maps").mkdir()
    (place / "maps" / "one.png").write_bytes(png(text_chunk(b"tEXt", b"Description\0When <i>to</i> send")))
    row = {"name": "push: open", "simulated": 0.1, "simulated_low": 0.09, "simulated_high": 0.11, "published": None}
    row |= {"low": None, "high": None, "unit": "share", "label": "FOUND", "source": "a study", "verdict": "fail"}
    card = {"scenario": "Frequency-v0", "digest": "d", "customers": 32, "rows": [row]}
    (place / "cards.json").write_text(json.dumps([card]))
    done = CliRunner().invoke(app, [str(place), "--cards", str(place / "cards.json")])
    assert done.exit_code == 0, done.output
    return place


# --- the file ---


def test_it_is_one_file_that_asks_for_nothing(folder: Path) -> None:
    text = (folder / "page.html").read_text()
    outside = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", outside))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"<(link|iframe|object)\b|@import|\bfetch\(|XMLHttpRequest|\bimport\(", outside)
    assert not re.search(r"\bsrc=[\"'](?!data:)", outside)
    assert "default-src 'none'" in outside
    assert text.count("</script>") == 2
    assert "innerHTML" not in text


def test_the_data_come_through_whole(folder: Path) -> None:
    text = (folder / "page.html").read_text()
    content = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    assert content["scenarios"][0]["failed"] == [{"agent": "my:Own", "reason": NASTY}]
    assert content["commands"][0] == f"make it --out {folder}"
    assert content["pictures"][0]["text"] == "When <i>to</i> send"
    assert base64.b64decode(content["pictures"][0]["source"].partition(",")[2]).startswith(SIGNATURE)
    assert "<title>Tiny &lt;table&gt; &amp; co</title>" in text


def test_what_is_missing_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"leaderboard\.json: cannot be read as findings .*scripts\.benchmark"):
        read_findings(tmp_path)
    (tmp_path / NAME).write_text("[]")
    with pytest.raises(ValueError, match="expected title, scenarios and overall"):
        read_findings(tmp_path)
    with pytest.raises(ValueError, match="no scenario in the findings"):
        page({"title": "None", "scenarios": [], "overall": {}}, "nowhere")
    (tmp_path / "broken.json").write_text("{")
    done = CliRunner().invoke(app, [str(folder), "--cards", str(tmp_path / "broken.json")])
    assert done.exit_code == 2


def test_a_picture_brings_its_own_words() -> None:
    assert description(png()) == ""
    assert description(png(text_chunk(b"tEXt", b"Author\0me"), text_chunk(b"tEXt", b"Description\0a map"))) == "a map"
    assert description(png(text_chunk(b"iTXt", "Description\0\0\0en\0\0für".encode()))) == "für"
    with pytest.raises(ValueError, match="expected a PNG"):
        description(b"GIF89a")
    with pytest.raises(ValueError, match="cut off"):
        description(png()[:40])


def test_the_committed_cards_are_of_the_canon_as_it_is() -> None:
    cards = json.loads((ROOT / "benchmarks" / "results" / "cards.json").read_text())
    assert {card["scenario"]: card["digest"] for card in cards} == {
        name: scenario.digest for name, scenario in SCENARIOS.items()
    }
    for card in cards:
        assert {row["verdict"] for row in card["rows"]} <= {"pass", "fail", "no data"}


# --- in a browser ---


def test_sorting_works_by_mouse_and_by_keyboard(visit: Visit) -> None:
    visit.page.select_option("#pick-scenario", "Frequency-v0")
    assert visit.agents()[-1] == "my:Own"
    head = visit.page.locator("#board thead button", has_text="messages a week")
    head.click()
    down = [float(text) for text in visit.column("messages a week")]
    assert down == sorted(down, reverse=True)
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    assert "sorted by messages a week" in visit.page.locator("[role=status]").inner_text()
    head.focus()
    visit.page.keyboard.press("Enter")
    assert [float(text) for text in visit.column("messages a week")] == down[::-1]
    visit.page.locator("#board thead button", has_text="agent").click()
    assert visit.agents()[:4] == ["lints", "random", "silence", "weekly"]


def test_filtering_works(visit: Visit) -> None:
    visit.page.fill("#words", "LIN")
    assert visit.agents() == ["lints"]
    assert "1 of 5 agents" in visit.page.locator("[role=status]").inner_text()
    visit.page.fill("#words", "")
    visit.page.select_option("#kind", "rule")
    assert sorted(visit.agents()) == ["random", "silence", "weekly"]
    visit.page.select_option("#kind", "submission")
    assert visit.agents() == ["my:Own"]
    visit.page.select_option("#kind", "")
    visit.page.check("#best")
    assert 1 <= len(visit.agents()) <= 4
    assert all(text.startswith("1") for text in visit.column("rank"))


def test_all_sections_are_drawn_and_have_text_beside_their_pictures(visit: Visit) -> None:
    sections = visit.page.eval_on_selector_all("main section", "nodes => nodes.map(n => n.id)")
    assert sections == [
        *("leaderboard", "neighbours", "map", "compare", "segments", "pareto", "profile", "stability", "policies"),
        *("cards", "checks", "reproduce"),
    ]
    assert visit.page.locator("nav a").count() == len(sections)
    pictures = visit.page.locator("main svg:not([aria-hidden])")
    assert pictures.count() >= 5
    for place in range(pictures.count()):
        assert len(pictures.nth(place).get_attribute("aria-label")) > 10
        assert pictures.nth(place).get_attribute("role") == "img"
    assert visit.page.locator("img").get_attribute("alt") == "When <i>to</i> send"
    assert visit.page.locator("b, i").count() == 0  # what failed is text, not markup
    assert "</script><!-- <b>bold</b>" in visit.page.locator("tr.failed").inner_text()
    for place in range(visit.page.locator("figure details").count()):
        assert visit.page.locator("figure details").nth(place).locator("td").count() > 0
    unnamed = "nodes => nodes.filter(n => !n.labels?.length && !n.getAttribute('aria-label')).length"
    assert visit.page.eval_on_selector_all("input, select", unnamed) == 0
    twice = "nodes => nodes.map(n => n.id).filter((id, place, all) => all.indexOf(id) !== place)"
    assert visit.page.eval_on_selector_all("[id]", twice) == []


def test_agents_are_chosen_and_curves_are_read_by_keyboard(visit: Visit) -> None:
    box = visit.page.get_by_label("random", exact=True)
    before = visit.page.locator("#compare .legend").first.inner_text()
    assert "random" in before
    box.focus()
    visit.page.keyboard.press("Space")
    assert "random" not in visit.page.locator("#compare .legend").first.inner_text()
    assert visit.page.evaluate("document.activeElement.type") == "checkbox"  # the focus stays
    slider = visit.page.locator("#compare input[type=range]")
    told = visit.page.locator("#compare output").inner_text()
    assert told.startswith("day 1092: ")
    slider.focus()
    visit.page.keyboard.press("ArrowLeft")
    assert visit.page.locator("#compare output").inner_text().startswith("day 1064: ")
    for metric in visit.page.eval_on_selector_all("#pick-curve option", "options => options.map(o => o.value)"):
        visit.page.select_option("#pick-curve", metric)
        assert metric in visit.page.locator("#compare").inner_text()
    visit.page.select_option("#pick-world", "Style-v0")
    assert "Style-v0" in visit.page.locator("#segments").inner_text()
    for side in visit.page.eval_on_selector_all("#pick-customer-s-side option", "options => options.map(o => o.value)"):
        visit.page.select_option("#pick-customer-s-side", side)
        assert "Nobody is better on both sides than" in visit.page.locator("#pareto").inner_text()


def test_the_numbers_on_the_page_are_those_of_the_findings(visit: Visit, folder: Path) -> None:
    for scenario in read_findings(folder)["scenarios"]:
        visit.page.select_option("#pick-scenario", scenario["name"])
        assert visit.agents()[:4] == [entry["agent"] for entry in scenario["entries"]] or len(
            {tuple(entry["rank"]) for entry in scenario["entries"]}
        ) < len(scenario["entries"])
        visit.page.locator("#board thead button", has_text="CLV").click()
        shown = [text.split(" ")[0] for text in visit.column("CLV, money")]
        assert shown == [f"{entry['value'][0]:.1f}" for entry in scenario["entries"]]
        visit.page.locator("#board thead button", has_text="rank").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_can_be_read_in_light_and_dark_and_on_a_phone(
    browser: Any, folder: Path, scheme: str, size: dict[str, int]
) -> None:
    visit = Visit(browser, folder, color_scheme=scheme, viewport=size)
    assert visit.page.evaluate("document.documentElement.dataset.theme") == scheme
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert visit.page.evaluate(CONTRAST) == []
    visit.page.click("#theme")
    assert visit.page.evaluate("document.documentElement.dataset.theme") != scheme
    assert visit.page.evaluate(CONTRAST) == []
    small = "nodes => nodes.filter(n => n.getClientRects().length && Math.hypot(n.getScreenCTM().a, n.getScreenCTM().b) * 11 < 9).length"
    assert visit.page.eval_on_selector_all("main svg text", small) == 0
    assert visit.complaints == []
    visit.context.close()


def test_everything_can_be_reached_by_the_tab_key(visit: Visit) -> None:
    reached = set()
    for _ in range(200):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {
        "theme",
        "words",
        "kind",
        "best",
        "pick-scenario",
        "pick-world",
        "pick-curve",
        "agent-0",
        "SUMMARY",
    } <= reached
    visit.page.reload()
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.textContent") == "Skip to the leaderboard"


def test_rows_of_before_there_were_courses_and_references_make_a_page(
    browser: Any, folder: Path, tmp_path: Path
) -> None:
    found = read_findings(folder)
    for scenario in found["scenarios"]:
        for entry in scenario["entries"]:
            entry |= {"courses": None, "segments": [], "score": None}
            entry["measures"] = dict.fromkeys(entry["measures"])
    found["overall"] = {"scenarios": [], "entries": [], "neighbours": [], "thresholds": [], "failed": []}
    (tmp_path / "page.html").write_text(page(found, "old"))
    visit = Visit(browser, tmp_path)
    assert visit.complaints == []
    assert "hold no courses" in visit.page.locator("#compare").inner_text()
    assert visit.page.locator("#policies, #cards, #checks").count() == 0
    visit.context.close()


def test_without_scripts_the_page_says_where_the_tables_are(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder, java_script_enabled=False)
    assert "leaderboard.md" in visit.page.locator("noscript").inner_text()
    visit.context.close()


def test_the_committed_page_is_of_the_committed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    results, kept, fresh = Path("benchmarks/results"), Path("docs/leaderboard.html"), tmp_path / "leaderboard.html"
    others = [str(results / name) for name in SUITES if (results / name / NAME).exists()]
    words = [str(results / "canon"), *(word for folder in others for word in ("--beside", folder)), "--out"]
    result = CliRunner().invoke(app, [*words, str(fresh)])
    assert result.exit_code == 0, result.output
    text = fresh.read_text().replace(str(fresh), str(kept)).replace(json.dumps(str(fresh))[1:-1], str(kept))
    same = text == kept.read_text()  # compared here, as the difference may be half a megabyte
    assert same, f"run `python -m scripts.page {' '.join(words)} {kept}`"
