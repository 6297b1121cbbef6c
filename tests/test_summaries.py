"""What a row keeps beside the customers' values agrees with them."""

import json

import numpy as np
import pytest

from agents import agent_class
from benchmarks.summaries import PERIOD, courses, summary
from blockenv import Result, play
from blockenv.scenarios import Scenario, get
from tests.tiny_agents import tiny

WORLD = get("Omnichannel-v0")


@pytest.fixture(scope="module")
def result() -> Result:
    return play(agent_class("random")(WORLD, tiny("random")), WORLD, customers=200, days=400)


def names(world: Scenario) -> list[str]:
    return [channel.name for channel in world.channels]


def test_courses_end_where_the_customers_values_do(result: Result) -> None:
    found = courses(result, WORLD.discount, names(WORLD))
    assert found["day"] == [*range(0, 400, PERIOD), 400]
    lengths = {len(found[name]) for name in ("value", "messages", "blocks", "alive")}
    assert lengths | {len(each) for each in found["reach"].values()} == {len(found["day"])}
    assert found["value"][0] == found["messages"][0] == found["blocks"][0] == 0
    assert found["value"][-1] == pytest.approx(result.value.mean(), rel=1e-4)
    assert found["messages"][-1] == pytest.approx(result.messages.mean(), rel=1e-4)
    assert found["blocks"][-1] == pytest.approx(result.blocks.mean(), rel=1e-4)
    assert found["alive"][0] == 1.0
    assert found["alive"][-1] == pytest.approx(result.daily_alive[-1], rel=1e-4)
    assert found["alive"][3] == pytest.approx(result.daily_alive[3 * PERIOD], rel=1e-4)
    for place, name in enumerate(names(WORLD)):
        assert found["reach"][name][13] == pytest.approx(result.reach_after_year[place].mean(), abs=1e-4)


def test_a_window_of_whole_periods_has_no_point_twice(result: Result) -> None:
    short = play(agent_class("silence")(WORLD), WORLD, customers=20, days=2 * PERIOD)
    assert courses(short, WORLD.discount, names(WORLD))["day"] == [0, PERIOD, 2 * PERIOD]
    single = play(agent_class("silence")(WORLD), WORLD, customers=20, days=1)
    assert courses(single, WORLD.discount, names(WORLD))["day"] == [0, 1]


def test_segments_add_up_to_everybody(result: Result) -> None:
    found = summary(result, WORLD)["segments"]
    counts = np.array([each["customers"] for each in found.values()])
    assert counts.sum() == 200
    for name, whole in (("value", result.value), ("messages", result.messages), ("overloaded", result.overloaded)):
        assert counts @ [each[name] for each in found.values()] / 200 == pytest.approx(whole.mean())
    for number, segment in enumerate(WORLD.segments):
        assert found[segment.name]["relevant"] == pytest.approx(result.relevant[result.segment == number].mean())


def test_a_row_stays_small(result: Result) -> None:
    assert len(json.dumps(summary(result, WORLD))) < 5000
