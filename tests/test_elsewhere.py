"""Further suites: sentences that say what the numbers say, and a section of the page that shows them in a browser."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import elsewhere, store
from benchmarks.page.build import read_findings
from scripts.page import app
from tests import tiny_suites
from tests.browsers import CONTRAST, DESK, PHONE, Visit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two suites, and the page of the first with both beside it."""
    place = tiny_suites.made(tmp_path_factory.mktemp("others"))
    shifted, online = place / "shifted", place / "online"
    words = [str(shifted), "--beside", str(shifted), "--beside", str(online), "--cards", str(place / "none")]
    done = CliRunner().invoke(app, [*words, "--out", str(place / "page.html")])
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture(scope="module")
def shifted(folder: Path) -> dict[str, Any]:
    return read_findings(folder / "shifted")


@pytest.fixture(scope="module")
def online(folder: Path) -> dict[str, Any]:
    return read_findings(folder / "online")


def entry_of(found: dict[str, Any], world: int, agent: str) -> dict[str, Any]:
    entry: dict[str, Any] = next(each for each in found["scenarios"][world]["entries"] if each["agent"] == agent)
    return entry


# --- findings ---


def test_a_change_is_that_of_the_same_customers_and_trainings(folder: Path, shifted: dict[str, Any]) -> None:
    rows = store.read_rows(folder / "shifted")
    tables: dict[tuple[str, str], Any] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        values = store.read_values(folder / "shifted", row)
        tables.setdefault((row["scenario"], row["agent"]), []).append(values)
    first, other = shifted["scenarios"][0]["name"], shifted["scenarios"][1]["name"]
    assert (first, other) == ("Omnichannel-v0", "Reactants-v0")
    over = {world: np.array(tables[world, "lints"]) - np.array(tables[world, "silence"]) for world in (first, other)}
    mean, low, high = entry_of(shifted, 1, "lints")["change"]
    assert mean == pytest.approx((over[other] - over[first]).mean(), rel=1e-5)
    assert low < mean < high
    assert all(each["change"] is None for each in shifted["scenarios"][0]["entries"])
    assert entry_of(shifted, 1, "silence")["change"] is None


def test_findings_tell_where_agents_learned(shifted: dict[str, Any], online: dict[str, Any]) -> None:
    assert [each["trained_on"] for each in shifted["scenarios"]] == [None, "Omnichannel-v0", "Omnichannel-v0"]
    assert "All learn on Omnichannel-v0 and play, unchanged," in elsewhere.asks(shifted)
    assert "starts with nothing" in elsewhere.asks(online)
    own = copy.deepcopy(shifted)
    for world in own["scenarios"]:
        world["trained_on"] = None
    assert elsewhere.asks(own) == "All learn anew in each world."
    for world in own["scenarios"]:
        del world["trained_on"]
    assert elsewhere.asks(own) == ""
    assert elsewhere.size_of(shifted) == "60 held-out customers, 84 days, 2 training seeds"


# --- sentences ---


def world(name: str, *entries: tuple[str, list[int], list[float] | None, list[float] | None]) -> dict[str, Any]:
    """A world with agents: name, ranks, value over silence, change."""
    keys = ("agent", "rank", "over_silence", "change")
    held = [dict(zip(keys, entry, strict=True)) | {"seeds": 2, "measures": {}} for entry in entries]
    return {"name": name, "entries": held, "failed": [], "track": "offline"}


HOME = world(
    "Home",
    ("ppo", [1, 1], [9.0, 8.0, 10.0], None),
    ("cap", [2, 3], [2.0, 1.0, 3.0], None),
    ("silence", [2, 3], None, None),
)
SAME = world(
    "Same", ("ppo", [1, 2], [8.0, 7.0, 9.0], [-1.0, -2.0, 0.5]), ("cap", [1, 3], [2.5, 1.0, 4.0], [0.5, -1.0, 2.0])
)
FAR = world("Far", ("cap", [1, 1], [5.0, 4.0, 6.0], [3.0, 2.0, 4.0]), ("ppo", [2, 2], [-4.0, -5.0, -3.0], [-13.0, -15.0, -11.0]))  # fmt: skip


def test_who_leads_and_who_moves_most() -> None:
    found = {"scenarios": [HOME, SAME, FAR]}
    assert elsewhere.lead(found) == (
        "ppo earns most in Home and in 1 of the 2 other worlds (elsewhere cap in Far). It is surely behind somebody in Far (rank 2)."
    )
    assert elsewhere.moves(found) == (
        "Largest fall of value over silence: ppo in Far, from +9.0 to -4.0, by -13.0 [-15.0, -11.0]. "
        "Largest rise of value over silence: cap in Far, from +2.0 to +5.0, by +3.0 [+2.0, +4.0]."
    )
    assert (
        elsewhere.places(found) == "Places that change beyond ties: cap in Far from 2-3 to 1; ppo in Far from 1 to 2."
    )


def test_what_is_not_sure_is_not_called_a_change() -> None:
    found = {"scenarios": [HOME, SAME]}
    assert elsewhere.lead(found) == "ppo earns most in Home and in the other world. It is nowhere surely behind."
    assert elsewhere.lead(found | {"scenarios": [HOME, SAME, SAME | {"name": "Next"}]}).startswith(
        "ppo earns most in Home and in all 2 other"
    )
    assert elsewhere.moves(found) == "Nobody surely falls."
    assert elsewhere.places(found) == "No place changes beyond ties."
    assert elsewhere.sentences({"scenarios": [HOME]}) == []


def test_tau_goes_from_the_least_to_the_most() -> None:
    rows = [
        {"base": "Home", "scenario": name, "tau": [tau, tau - 0.1, tau + 0.1]}
        for name, tau in (("Same", 0.8), ("Far", -0.2))
    ]
    assert elsewhere.agreement({"stability": rows}) == (
        "Kendall's τ to the order in Home is -0.20 [-0.30, -0.10] in Far to 0.80 [0.70, 0.90] in Same."
    )
    assert elsewhere.agreement({}) == ""


def test_who_loses_and_earns_while_learning() -> None:
    found = {"scenarios": [HOME, FAR]}
    assert elsewhere.losers(found) == "Surely lose money while learning: ppo in 1 of 2 worlds."
    assert elsewhere.earners(found) == "Surely earn more than silence: cap in 2 of 2 worlds, ppo in 1 of 2 worlds."
    assert elsewhere.losers({"scenarios": [HOME]}) == "Nobody surely loses money."


def test_regret_and_blocks_of_the_online_track(online: dict[str, Any]) -> None:
    told = " ".join(elsewhere.sentences(online))
    for each in online["scenarios"]:
        best = min(each["entries"], key=lambda entry: entry["regret"][0])
        assert f"{best['agent']} in {each['name']} by {best['regret'][0]:.1f} [" in told
    blocks = [
        (e["measures"]["blocks"] - entry_of(online, p, "silence")["measures"]["blocks"], e["agent"], w["name"])
        for p, w in enumerate(online["scenarios"])
        for e in w["entries"]
    ]
    assert "Most blocks caused: {1} in {2}, {0:.2f} a customer.".format(*max(blocks)) in told


# --- what goes into the page ---


def test_nothing_is_kept_that_is_not_shown(shifted: dict[str, Any], online: dict[str, Any]) -> None:
    offline = elsewhere.compact(shifted, "here")
    assert {name for each in offline["worlds"] for entry in each["entries"] for name in entry} == {
        *("agent", "label", "kind", "seeds", "rank", "over_silence")
    }
    assert offline["worlds"][2]["special"] == "a second fatigue with a half-life of 60 days lowers the ideal load"
    learned = elsewhere.compact(online, "here")
    assert learned["stability"] == []
    assert set(learned["worlds"][0]["entries"][0]["courses"]) == set(elsewhere.COURSES)
    for kept, whole in ((offline, shifted), (learned, online)):
        assert len(json.dumps(kept)) < len(json.dumps(whole)) / 2


def test_what_cannot_be_shown_ends_in_one_line(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(folder / "shifted"), "--beside", str(tmp_path)])
    assert done.exit_code == 2
    assert "cannot be read as findings" in done.output


def test_every_command_is_named(folder: Path) -> None:
    text = (folder / "page.html").read_text()
    content = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    beside = [f"--beside {folder / name}" for name in ("shifted", "online")]
    page = f"python -m scripts.page {folder / 'shifted'} {' '.join(beside)} --out {folder / 'page.html'}"
    assert {f"make online --out {folder / 'online'}", page, f"python -m scripts.verify {folder / 'online'}"} <= set(
        content["commands"]
    )


# --- in a browser ---


def agents_of(visit: Visit, caption: str) -> list[str]:
    rows = f"#beside [aria-label^='{caption}'] tbody tr"
    found: list[str] = visit.page.eval_on_selector_all(rows, "rows => rows.map(r => r.dataset.agent)")
    return found


def test_values_are_those_of_the_findings_and_sort(visit: Visit, shifted: dict[str, Any]) -> None:
    caption = "Tiny <shift>: value over silence"
    order = sorted(shifted["scenarios"][0]["entries"], key=lambda e: -(e["over_silence"] or [0])[0])
    assert agents_of(visit, caption) == [*(each["agent"] for each in order), "my:Own"]
    text = visit.page.locator(f"#beside [aria-label^='{caption}']").inner_text()
    for each in shifted["scenarios"]:
        assert each["name"] in text
        for entry in each["entries"]:
            if entry["over_silence"]:
                assert "{:+z.1f} [{:+z.1f}, {:+z.1f}]".format(*entry["over_silence"]) in text
    assert "failed" in text
    head = visit.page.locator("#beside thead button", has_text="Reactants-v0")
    head.focus()
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Enter")
    assert head.locator("..").get_attribute("aria-sort") == "ascending"
    upward = sorted(shifted["scenarios"][1]["entries"], key=lambda e: (e["over_silence"] or [0])[0])
    assert agents_of(visit, caption) == [*(each["agent"] for each in upward), "my:Own"]


def test_suites_open_by_keyboard_and_stay_open(visit: Visit) -> None:
    first, second = (visit.page.locator("#beside details.suite").nth(place) for place in (0, 1))
    assert first.get_attribute("open") is not None
    assert second.get_attribute("open") is None
    second.locator("summary").first.focus()
    visit.page.keyboard.press("Enter")
    visit.page.select_option("#beside-1-world", "Style-v0")
    assert second.get_attribute("open") is not None
    assert visit.page.evaluate("document.activeElement.id") == "beside-1-world"
    assert len(agents_of(visit, "Style-v0: learning while serving")) == 3
    assert "Style-v0: value over silence" in second.locator("figure").inner_text()
    visit.page.select_option("#beside-1-curve", "blocks so far, a customer")
    legend = second.locator(".legend")
    assert "silence" in legend.inner_text()
    second.get_by_label("silence", exact=True).focus()
    visit.page.keyboard.press("Space")
    assert "silence" not in legend.inner_text()
    slider = second.locator("input[type=range]")
    slider.focus()
    visit.page.keyboard.press("ArrowLeft")
    assert second.locator("output").inner_text().startswith("day 1064: ")


def test_agents_of_other_suites_change_nothing_above(visit: Visit) -> None:
    assert "linucb" not in visit.page.locator("#compare").inner_text()
    assert "linucb" not in visit.page.locator("#map").inner_text()
    assert "of 4 senders" in visit.page.locator("#lead").inner_text()


def test_tau_is_told_for_one_suite_and_for_those_beside(visit: Visit, shifted: dict[str, Any]) -> None:
    for place in ("#stability", "#beside"):
        text = visit.page.locator(place).inner_text()
        for each in shifted["stability"]:
            assert "{:z.2f} [{:z.2f}, {:z.2f}]".format(*each["tau"]) in text
        assert visit.page.locator(f"{place} svg.interval").count() >= len(shifted["stability"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_can_be_read(browser: Any, folder: Path, scheme: str, size: dict[str, int]) -> None:
    visit = Visit(browser, folder, color_scheme=scheme, viewport=size)
    visit.page.locator("#beside details.suite").nth(1).locator("summary").first.click()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert visit.page.evaluate(CONTRAST) == []
    unnamed = "nodes => nodes.filter(n => !n.labels?.length && !n.getAttribute('aria-label')).length"
    assert visit.page.eval_on_selector_all("input, select", unnamed) == 0
    twice = "nodes => nodes.map(n => n.id).filter((id, place, all) => all.indexOf(id) !== place)"
    assert visit.page.eval_on_selector_all("[id]", twice) == []
    pictures = "nodes => nodes.filter(n => n.getAttribute('role') !== 'img' || !n.getAttribute('aria-label')).length"
    assert visit.page.eval_on_selector_all("#beside svg:not([aria-hidden])", pictures) == 0
    assert visit.page.locator("b, i").count() == 0
    assert visit.complaints == []
    visit.context.close()
