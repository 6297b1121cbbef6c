"""Agents that play elsewhere learn once, at home; rows say where, and can be made again."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import configs, experiment, store
from benchmarks.cells import cells, stored
from benchmarks.configs import ConfigError, Suite, alike, place_of, suite, world_and_law
from benchmarks.findings import findings
from benchmarks.verification import verify
from blockenv.scenarios import get
from tests.tiny_agents import TINY, known

WORLDS = configs.ROOT / "configs" / "worlds"
CONTENT: dict[str, Any] = {
    "title": "Elsewhere",
    "trained_on": "Omnichannel-v0",
    "scenarios": ["Omnichannel-v0", str(WORLDS / "reactants.yaml"), "Omnichannel-v0+two_clocks"],
    "agents": ["silence", "random", "weekly", "lints"],
    "customers": 40,
    "days": 56,
    "seeds": 2,
    "settings": {"weekly": known("weekly", TINY), "lints": known("lints", TINY)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("elsewhere")
    experiment.run(Suite(**CONTENT), place, 1)
    return place


def rows_of(folder: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    return {(row["scenario"], row["agent"], row["seed"]): row for row in store.read_rows(folder)}


def test_rows_say_where_was_learned_and_played(folder: Path) -> None:
    rows = rows_of(folder)
    home, away, bent = ("Omnichannel-v0", "Reactants-v0", "Omnichannel-v0+two_clocks")
    assert len(rows) == 3 * 5
    assert "trained_on" not in rows[home, "lints", 0]
    for place in (away, bent):
        assert rows[place, "lints", 0]["trained_on"] == {"scenario": home, "digest": get(home).digest}
    assert rows[away, "lints", 0]["digest"] == get(WORLDS / "reactants.yaml").digest
    assert rows[bent, "silence", 0]["value"] == rows[home, "silence", 0]["value"]
    assert rows[bent, "weekly", 0]["value"] != rows[home, "weekly", 0]["value"]
    assert len({rows[place, "lints", 1]["value"] for place in (home, away, bent)}) == 3


def test_an_agent_learns_once_and_plays_the_same(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(folder)
    assert rows["Reactants-v0", "lints", 0]["training_days"] == rows["Omnichannel-v0", "lints", 0]["training_days"]
    assert len(list((folder / "trained").iterdir())) == 2 + 1 + 1 + 1
    (cell,) = (each for each in cells(Suite(**CONTENT)) if str(each) == "Reactants-v0 lints seed 1")
    fresh = experiment.run_cell(cell, tmp_path)
    assert isinstance(fresh, dict)
    again = experiment.run_cell(cell, tmp_path)  # from what was kept
    assert isinstance(again, dict)
    assert fresh["value"] == again["value"] == rows["Reactants-v0", "lints", 1]["value"]
    (school,) = (tmp_path / "trained").iterdir()
    (school / "agent.json" if (school / "agent.json").exists() else school / "steps.json").write_text("{")
    mended = experiment.run_cell(cell, tmp_path)
    assert isinstance(mended, dict)
    assert mended["value"] == fresh["value"]


def test_rows_from_elsewhere_are_made_again(folder: Path, tmp_path: Path) -> None:
    rows = [row for row in rows_of(folder).values() if row["agent"] == "weekly"]
    found = list(verify(rows, tmp_path, worlds=[get(WORLDS / "reactants.yaml")]))
    assert [(each.verdict, each.words) for each in found] == [("agrees", "")] * 3
    (unknown,) = verify([rows[0] | {"scenario": "Omnichannel-v0+gravity"}], tmp_path)
    assert "no such law" in unknown.words


def test_a_row_from_home_is_no_answer_for_elsewhere(folder: Path) -> None:
    own = Suite(**CONTENT | {"trained_on": None, "scenarios": [str(WORLDS / "reactants.yaml")]})
    assert stored(cells(own), folder, any_code=True).rows == [None] * 5
    same = Suite(**CONTENT | {"trained_on": None, "scenarios": ["Omnichannel-v0"]})
    assert None not in stored(cells(same), folder).rows


def test_the_order_of_agents_is_compared_with_the_first_world(folder: Path) -> None:
    rows = list(rows_of(folder).values())
    rows.sort(key=lambda row: row["scenario"] != "Omnichannel-v0")
    found = findings(rows, folder, "Elsewhere", worlds=[get(WORLDS / "reactants.yaml")])
    stability = {each["scenario"]: each for each in found["stability"]}
    assert set(stability) == {"Reactants-v0", "Omnichannel-v0+two_clocks"}
    for each in stability.values():
        assert each["base"] == "Omnichannel-v0"
        assert -1 <= each["tau"][1] <= each["tau"][2] <= 1
    by_name = {each["name"]: each for each in found["scenarios"]}
    assert "more reactants" in by_name["Reactants-v0"]["isolates"]
    assert "second fatigue" in by_name["Omnichannel-v0+two_clocks"]["isolates"]
    assert len(by_name["Reactants-v0"]["entries"][0]["segments"]) == 4


def test_suites_find_their_worlds_and_refuse_what_cannot_be(tmp_path: Path) -> None:
    found = suite(configs.ROOT / "configs" / "suites" / "shifted.yaml")
    assert {get(name).name for name in found.scenarios} >= {"Omnichannel-v0", "Reactants-v0", "Unseen-v0"}
    path = tmp_path / "wrong.yaml"

    def refused(**changes: Any) -> str:
        path.write_text(yaml.safe_dump({**CONTENT, **changes}))
        with pytest.raises(ConfigError) as caught:
            suite(path)
        return str(caught.value)

    assert "no law 'gravity', there are threshold" in refused(scenarios=["Style-v0+gravity"])
    assert "Style-v0 has other actions or features than" in refused(trained_on="Style-v0")
    assert "'Nowhere-v0' is neither" in refused(trained_on="Nowhere-v0")


def test_names_of_places() -> None:
    world, law = world_and_law("Style-v0+threshold")
    assert (world.name, law, place_of(world, law)) == ("Style-v0", "threshold", "Style-v0+threshold")
    assert place_of(*world_and_law("Style-v0")) == "Style-v0"
    assert alike(get("Omnichannel-v0"), get("Silent-v0"))
    assert not alike(get("Omnichannel-v0"), get("Style-v0"))


@pytest.mark.parametrize("path", sorted(WORLDS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_world_is_a_variant_of_omnichannel_and_says_why(path: Path) -> None:
    world, base = get(path), get("Omnichannel-v0")
    assert world.isolates != base.isolates
    assert world.digest != base.digest
    assert alike(world, base) == (path.stem != "homogeneous")
