"""The speed page: rates are counted right, and the page says what was measured."""

import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from blockenv.compiled.library import compiler
from blockenv.scenarios import get
from scripts import speed, speed_agents, speed_measures, speed_page
from scripts.stopwatch import Contender, Rate, bare, in_turn, population, random_actions

WORLD = get("Frequency-v0")


def busy(seconds: float) -> None:
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        pass


def test_rates_are_customers_by_seconds_of_work() -> None:
    slow = Contender("slow", 10, lambda day: busy(0.004))
    fast = Contender("fast", 30, lambda day: busy(0.004))
    rates = in_turn([slow, fast], 0.2)
    assert 0.8 * 2500 < rates["slow"].median <= 2500 * 1.01
    assert rates["slow"].low <= rates["slow"].median <= rates["slow"].high
    assert 2.5 < rates["fast"].median / rates["slow"].median < 3.5


def test_seconds_on_the_wall_count_sleep() -> None:
    assert in_turn([Contender("wall", 1, lambda day: time.sleep(0.002), wall=True)], 0.1)["wall"].median < 500


def test_preparations_are_not_counted() -> None:
    prepared = []
    contender = Contender("prepared", 1, lambda day: busy(0.002), lambda: (busy(0.02), prepared.append(1))[1])
    assert in_turn([contender], 0.1)["prepared"].median > 0.7 * 500
    assert len(prepared) > 2


def test_what_is_bare_starts_anew_in_every_turn() -> None:
    contender = bare("bare", WORLD, 40, False)
    assert contender.prepare is not None
    for _ in range(2):
        contender.prepare()
        for day in range(3):
            contender.live(day)


def test_environments_live_days() -> None:
    contender = population("numpy", WORLD, 20, False, "SameStep")
    _, reward, *_ = contender.live(0)
    assert reward.shape == (20,)


def test_actions_are_random_and_legal() -> None:
    actions = random_actions(7, 500, 3)
    assert len(actions) == 3
    assert {*np.unique(actions[0])} == set(range(7))
    assert not np.array_equal(actions[0], actions[1])


@pytest.mark.parametrize(
    "compiled_code", [False, pytest.param(True, marks=pytest.mark.skipif(compiler() is None, reason="no C compiler"))]
)
def test_shares_are_of_a_whole_step(compiled_code: bool) -> None:
    original = speed_measures.noise.luck
    found = speed_measures.shares(WORLD, 64, 0.3, compiled_code)
    assert speed_measures.noise.luck is original
    named = [value for name, value in found.items() if name != "newcomers"]
    assert min(named) > 0.0
    assert ("luck" in found) is not compiled_code


def test_memory_is_counted_from_the_arrays() -> None:
    small, large = speed_measures.memory(WORLD), speed_measures.memory(get("Omnichannel-v0"))
    assert min(small) > 0
    assert small.traits < large.traits
    assert small.log < large.log
    assert large.ahead > 4 * (large.traits + large.log)


def test_growth_adds_up() -> None:
    few, many = speed_measures.growth(WORLD, [50, 5000], days=2)
    assert (few.customers, many.customers) == (50, 5000)
    assert many.drawing > few.drawing > 0.0
    assert many.days > 0.0
    assert many.peak > 1e7


@pytest.mark.parametrize("agent", ["ppo", "dqn"])
def test_parts_of_a_training_step_add_up(agent: str) -> None:
    found = speed_agents.training_shares(WORLD, agent, 60_000)
    assert list(found)[-1] == "the rest"
    parts = [value for name, value in found.items() if name != "the rest"]
    assert len(parts) >= 3
    assert min(parts) > 0.0


def test_training_is_timed_from_its_first_word_on() -> None:
    clock = speed_agents.Clock()
    busy(0.05)  # set-up
    clock.advance(100, 1000, {})
    busy(0.05)
    clock.advance(1000, 1000, {})
    assert 0.8 * 18_000 < clock.rate <= 18_000 * 1.01


def test_customers_are_planned_by_every_way_there_is() -> None:
    found = speed_agents.planning(["Frequency-v0"], customers=4, days=14)["Frequency-v0"]
    assert {"NumPy, float64", "NumPy, float32", "tensors, CPU, float32"} <= found.keys()
    assert min(found.values()) > 1.0


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    rates = {
        size: {
            speed_measures.CART_POLE: Rate(1e6, 2e6, 3e6),
            speed_measures.NUMPY: Rate(1e5, 5e5, 9e5),
            speed_measures.COMPILED: Rate(1e6, 1e6, 1e6),
            speed_measures.BARE: Rate(1e6, 1.25e6, 2e6),
            speed_measures.REFILLED: Rate(1e6, 1.1e6, 2e6),
        }
        for size in (64, 4096)
    }
    growth = [speed_measures.Growth(10**6, 2.0, 0.5, 1e9), speed_measures.Growth(10**7, 20.0, 5.0, 1e9)]
    text = speed_page.page(
        "Some-v0",
        {"processor": "one", "GPU": "none"},
        rates,
        {1: 1e6, 2: 1.9e6},
        {"NumPy": {"luck": 30.0, "dynamics": 70.0}},
        4096,
        speed_measures.Memory(1.0, 2.0, 3.0, 4.0, 5.0),
        growth,
        {"Some-v0": {"float64": 12.0, "float32": 1234.5}},
        {"ppo": 61_000.0},
        {"ppo": {"policy": 1000.0, "the rest": 3000.0}},
        "some.png",
    )
    assert "| 4,096 | 2 (1.00) | 0.5 (0.25) | 1 (0.50) | 1.25 (0.62) | 1.1 (0.55) |" in text
    assert "| 64 | 25% | 10% | 2.0 |" in text
    assert "| NumPy | dynamics | 70 | 70% |" in text
    assert "| 2 | 1.9 |" in text
    assert "| 100,000,000 (extrap.) | 200.00 | 50.000 | 5.06 | 1.00 |" in text
    assert "| ppo | 61.0 |" in text
    assert "| ppo | the rest | 3000 | 75% |" in text
    assert "| Some-v0 | 12.0 | 1,234.5 |" in text
    assert "](some.png)" in text
    speed_page.draw(rates, tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_a_table() -> None:
    done = CliRunner().invoke(
        speed.app, ["--scenario", "Frequency-v0", "--customers", "16", "--seconds", "0.05", "--no-training"]
    )
    assert done.exit_code == 0, done.output
