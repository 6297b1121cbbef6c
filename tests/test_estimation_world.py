import gymnasium as gym
import numpy as np
import pytest

import blockenv  # noqa: F401 - registers the environments
from blockenv.scenarios import get, load, save
from calibration.estimation import rfm
from calibration.estimation.check import check, sending
from calibration.estimation.ordering import in_order_of, segment_order
from calibration.estimation.world import build_world
from tests import estimated_logs as logs


def test_an_estimated_world_can_be_saved_read_and_played(tmp_path) -> None:  # type: ignore[no-untyped-def]
    world = build_world(logs.findings(), "Estimated-v0", "a log")
    save(world, tmp_path / "scenario.yaml")
    assert load(tmp_path / "scenario.yaml") == world
    env = gym.make("blockenv/Custom-v0", scenario=str(tmp_path / "scenario.yaml"))
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.action_space.sample())
    env.close()


def test_every_number_says_where_it_is_from() -> None:
    findings = logs.findings()
    world = build_world(findings, "Estimated-v0", "a log")
    labels = {told.label for told in world.provenance.values()}
    assert labels == {"DERIVED", "ASSUMED"}
    told = world.provenance["segments.segment_1.reactance"]
    assert told.label == "DERIVED"
    assert told.source.startswith("estimated from a log, 95 % interval ")
    assert world.provenance["fatigue.half_life"].label == "ASSUMED"
    assert world.provenance["segments.segment_1.churn_contact"].label == "ASSUMED"
    for channel in world.channels:
        assert f"channels.{channel.name}.block_probability" in world.provenance


def test_estimates_are_near_the_truth() -> None:
    world, true = build_world(logs.findings(), "Estimated-v0", "a log"), logs.WORLD
    assert world.commerce.order_value == pytest.approx(true.commerce.order_value, rel=0.1)
    assert world.commerce.margin == pytest.approx(true.commerce.margin, abs=0.01)
    rate = np.average([each.organic_rate for each in world.segments], weights=[each.weight for each in world.segments])
    assert rate == pytest.approx(0.0102, rel=0.15)
    discounts = {style.name: style.discount for style in world.styles}
    assert discounts["promo"] == pytest.approx(0.1, abs=0.005)
    assert discounts["info"] == 0.0
    by_name = {channel.name: channel for channel in world.channels}
    for channel in true.channels:
        assert by_name[channel.name].open_logit == pytest.approx(channel.open_logit, abs=0.35)


def test_parts_take_the_order_of_another_world() -> None:
    world = build_world(logs.findings(), "Estimated-v0", "a log")
    ordered = in_order_of(world, logs.WORLD)
    assert [each.name for each in ordered.channels] == [each.name for each in logs.WORLD.channels]
    assert ordered.slots == logs.WORLD.slots
    with pytest.raises(ValueError, match="channels"):
        in_order_of(world, get("Timing-v0"))


def test_segments_are_a_permutation_of_classes() -> None:
    assert sorted(segment_order(logs.findings())) == [0, 1]


def test_the_card_compares_like_with_like() -> None:
    findings = logs.findings()
    found = check(findings, build_world(findings, "Estimated-v0", "a log"), customers=800)
    verdicts = {line.name: line.verdict for line in found.rows}
    assert verdicts["order value, after discount"] == "pass"
    assert verdicts["messages"] == "pass"
    assert sum(verdict == "pass" for verdict in verdicts.values()) >= 0.6 * len(verdicts)


def test_how_often_the_firm_sends_is_found() -> None:
    findings = logs.findings()
    probability, spread = sending(findings.panel, findings.alive)
    assert probability == pytest.approx(0.3, abs=0.05)
    assert spread == pytest.approx(0.7, abs=0.15)


def test_micro_segments_hold_everybody() -> None:
    panel = logs.panel()
    names = rfm.micro_segments(panel)
    ordered = np.bincount(panel.order_customer, minlength=panel.size) > 0
    assert ((names == "000") == ~ordered).all()
    count = (panel.by_day(panel.order_customer, panel.order_day) > 0).sum(axis=1)
    assert len({name[1] for name in names[count == 1]}) == 1
    assert rfm.table(panel)["customers"].sum() == panel.size
