"""The guess at the hours: right for what is known, in proportion for other sizes, and open about what it guesses."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import Cell, cells, customer_days
from benchmarks.configs import Suite, on_device, suite
from benchmarks.hours import hours, in_words, known_rates, rates
from blockenv.scenarios import get

ROOT = Path(__file__).parent.parent
STYLE = get("Style-v0")


def row(agent: str, training: float, playing: float, scenario: str = "Style-v0", **settings: Any) -> dict[str, Any]:
    fields = {"scenario": scenario, "agent": agent, "customers": 100, "days": 10, "settings": settings}
    return fields | {"training_seconds": training, "playing_seconds": playing}


def cell(agent: str, seed: int = 0, **changes: Any) -> Cell:
    return Cell(STYLE, agent, seed, 100, 10, changes.pop("settings", {}), **changes)


def test_what_took_an_hour_takes_an_hour_and_twice_as_much_two() -> None:
    known = rates([row("ppo", 3000, 600, steps=1000), row("cap", 360, 0), row("cap", 720, 0)])
    assert hours([cell("ppo", settings={"steps": 1000})], known, 1).total == pytest.approx(1.0)
    assert hours([cell("ppo", settings={"steps": 2000})], known, 1).total == pytest.approx(6600 / 3600)
    assert hours([cell("cap")], known, 1).total == pytest.approx(540 / 3600)
    both = hours([cell("ppo", seed, settings={"steps": 1000}) for seed in range(4)], known, 2)
    assert (both.total, both.by_agent, both.guessed) == (pytest.approx(2.0), {"ppo": pytest.approx(4.0)}, [])


def test_an_unknown_place_has_the_agents_mean_and_an_unknown_agent_that_of_all() -> None:
    known = rates([row("cap", 100, 0, "A-v0"), row("cap", 300, 0, "B-v0"), row("rfm", 50, 0, "B-v0")])
    found = hours([cell("cap"), cell("weekly")], known, 1)
    assert found.by_agent == {"cap": pytest.approx(200 / 3600), "weekly": pytest.approx(150 / 3600)}
    assert found.guessed == ["weekly"]
    assert "nothing is known of weekly" in in_words(found, 1)
    assert hours([cell("cap")], rates([]), 1).total == 0.0


def test_who_plays_elsewhere_learns_once() -> None:
    known = rates([row("ppo", 3600, 0, steps=1000)])
    away = [cell("ppo", settings={"steps": 1000}, home=STYLE, law=law) for law in ("two_clocks", "threshold")]
    assert hours(away, known, 1).total == pytest.approx(1.0)
    at_home = [cell("ppo", seed, settings={"steps": 1000}) for seed in (0, 1)]
    assert hours(at_home, known, 1).total == pytest.approx(2.0)


def test_customer_days() -> None:
    assert customer_days({"steps": 500, "customers": 10, "days": 7, "rate": 0.1, "on": True}) == 570
    assert customer_days({"customers": 10, "days": 7, "prices": [1.0, 2.0]}) == 140
    assert customer_days({}) == 0


def test_the_standard_suite_is_sized_to_a_night() -> None:
    standard = suite(ROOT / "configs" / "suites" / "standard.yaml")
    assert (standard.seeds, standard.customers, len(standard.scenarios)) == (10, 16384, 11)
    assert 1 < hours(cells(standard), known_rates(), 2).total < 10
    quick = suite(ROOT / "configs" / "suites" / "quick.yaml")
    assert 0.05 < hours(cells(quick), known_rates(), 2).total < 1 / 6


def test_a_device_is_for_those_who_can_choose() -> None:
    found = on_device(
        Suite(title="T", scenarios=["Style-v0"], agents=["cap", "ppo"], settings={"ppo": {"steps": 9}}), "cpu"
    )
    assert found.settings == {"ppo": {"steps": 9, "device": "cpu"}}
