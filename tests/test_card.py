"""A card says what was played, what is published and whether the two agree, and hides nothing."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from blockenv.scenarios import SCENARIOS, Scenario, ScenarioError
from blockenv.scenarios.schema import Channel
from calibration import published
from calibration.card import SEED, Card, card
from calibration.facts import Greedy, facts, immediate_profit
from calibration.published import Band
from calibration.retail_rows import survival
from calibration.rows import Interval, Sample, estimate, jackknife, row, share, verdict
from calibration.tally import Timetable
from scripts.card import app

FREQUENCY = SCENARIOS["Frequency-v0"]


def short(scenario: Scenario) -> Scenario:
    """The same world, looked at for three months only."""
    return scenario.model_copy(update={"evaluation_days": 56})


@pytest.fixture(scope="module")
def small() -> Card:
    return card(short(FREQUENCY), customers=300)


# --- verdicts ---


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (1.0, 0.5, 1.5, "pass"),
        (1.5, 0.5, 1.5, "pass"),
        (1.6, 0.5, 1.5, "fail"),
        (0.4, 0.5, None, "fail"),
        (9.0, 0.5, None, "pass"),
        (0.1, None, 0.0, "fail"),
        (1.0, None, None, "no data"),
        (None, 0.5, 1.5, "no data"),
    ],
)
def test_verdict(value: float | None, low: float | None, high: float | None, expected: str) -> None:
    assert verdict(value, Band(1.0, low, high, "FOUND", "a report")) == expected


def test_a_figure_nobody_could_count_has_no_verdict() -> None:
    line = row("name", Interval(math.nan, math.nan, math.nan), "ratio", Band(1.0, 0.5, 1.5, "FOUND", "a report"))
    assert (line.simulated, line.simulated_low, line.verdict) == (None, None, "no data")


def test_every_band_holds_its_own_figure_and_a_source() -> None:
    tables = [published.BLOCK, published.OPEN, published.ORDER, published.RETAIL]
    single = [value for value in vars(published).values() if isinstance(value, Band)]
    bands = [*single, *(band for table in tables for band in table.values()), *published.survival_bands()]
    assert len(bands) > 30
    for band in bands:
        assert band.source, band
        if band.value is not None:
            assert verdict(band.value, band) in {"pass", "no data"}, band
        if band.low is not None and band.high is not None:
            assert band.low < band.high, band


# --- intervals ---


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    groups = np.random.default_rng(3).normal(size=8)
    found = jackknife(list(groups), lambda some: float(np.mean(some)))
    assert found.value == pytest.approx(groups.mean())
    assert found.high is not None
    assert found.high - found.value == pytest.approx(1.959964 * groups.std(ddof=1) / math.sqrt(8))


def test_intervals_hold_the_truth_of_a_large_sample() -> None:
    truth = estimate(Sample(FREQUENCY, 8000, 11).play(Timetable([1], 7), 56), share("opened", "delivered", 0)).value
    held = 0
    for seed in range(100, 2100, 100):
        found = estimate(Sample(FREQUENCY, 160, seed).play(Timetable([1], 7), 56), share("opened", "delivered", 0))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert held >= 15


def test_a_sample_has_all_its_customers() -> None:
    groups = Sample(FREQUENCY, 101, 1).play(Timetable([1], 7), 2)
    assert sum(each.days.size for each in groups) == 101
    with pytest.raises(ValueError, match="below 8"):
        Sample(FREQUENCY, 7, 1)


def test_share_of_nothing_is_not_a_number() -> None:
    (first, *_) = Sample(FREQUENCY, 8, 1).play(Timetable([], 1), 2)
    assert math.isnan(share("opened", "delivered", 0)(first))


# --- cards ---


def test_a_card_is_reproducible_and_says_of_what(small: Card) -> None:
    assert card(short(FREQUENCY), customers=300) == small
    assert card(short(FREQUENCY), customers=300, seed=SEED + 1000) != small
    assert (small.scenario, small.digest, small.customers) == ("Frequency-v0", short(FREQUENCY).digest, 300)


def test_rows_are_complete_and_agree_with_their_verdict(small: Card) -> None:
    names = [line.name for line in small.rows]
    assert len(set(names)) == len(names)
    for line in small.rows:
        assert line.source
        assert line.unit
        assert line.verdict == verdict(
            line.simulated, Band(line.published, line.low, line.high, line.label, line.source)
        )
        if line.simulated_low is not None and line.simulated_high is not None and line.simulated is not None:
            assert line.simulated_low <= line.simulated <= line.simulated_high, line.name


def test_a_card_sees_what_a_scenario_does() -> None:
    """Doubled block rates and open logits must show, and lead to a verdict."""
    (email,) = FREQUENCY.channels
    loud = short(FREQUENCY).model_copy(
        update={"channels": (email.model_copy(update={"block_probability": 0.05, "open_logit": 3.0}),)}
    )
    lines = {line.name: line for line in card(loud, customers=300).rows}
    for name in ("email: block a message, weekly", "email: open a message, weekly"):
        assert lines[name].verdict == "fail"
        assert lines[name].simulated is not None
        assert lines[name].high is not None
        assert lines[name].simulated > lines[name].high


def test_a_world_without_blocks_has_no_rows_of_blocks() -> None:
    (email,) = FREQUENCY.channels
    safe = FREQUENCY.model_copy(update={"channels": (email.model_copy(update={"block_probability": 0.0}),)})
    names = [line.name for line in card(safe, customers=64).rows]
    assert len(names) == 5
    assert not any("block" in name for name in names)


def test_a_channel_nobody_has_published_about_gets_no_verdict() -> None:
    (email,) = FREQUENCY.channels
    fields = email.model_dump() | {"name": "pigeon"}
    own = short(FREQUENCY).model_copy(update={"channels": (Channel(**fields),)})
    lines = [line for line in card(own, customers=64).rows if line.name.startswith("pigeon: open")]
    assert [line.verdict for line in lines] == ["no data"]


def test_retail_survival_is_in_its_bands() -> None:
    assert [line.verdict for line in survival(Sample(SCENARIOS["Retail-v0"], 4096, SEED))] == ["pass"] * 3


def test_unknown_scenarios_are_refused() -> None:
    with pytest.raises(ScenarioError, match="neither"):
        card("Nowhere-v0")


# --- facts ---


def test_greedy_sends_what_earns_most_and_may() -> None:
    greedy = Greedy(np.array([0.0, 0.5, 2.0, -1.0]))
    mask = np.array([[True, True, True, True], [True, True, False, True], [True, False, False, True]])
    assert greedy.act(np.zeros((3, 1)), mask, np.random.default_rng(0)).tolist() == [2, 1, 0]


def test_immediate_profit_is_what_a_delivered_message_earns() -> None:
    world = SCENARIOS["Retail-v0"]
    profit = immediate_profit(world, 500, 4)
    names = [world.message_name(each) for each in range(world.actions)]
    assert profit[0] == 0.0
    assert profit[names.index("email/any/sale/mens")] > profit[names.index("email/any/sale/womens")] > 0.0


def test_facts_of_a_hopeless_channel_fail() -> None:
    """Where messages never sell and cost a fortune, silence is best, so there is no loss from too few."""
    (email,) = FREQUENCY.channels
    dull = short(FREQUENCY).model_copy(
        update={"channels": (email.model_copy(update={"buy_logit": -15.0, "cost": 5.0}),)}
    )
    lines = {line.name.split(":")[0]: line for line in facts(dull, 300, 5)}
    assert lines["too few"].verdict == "fail"
    assert lines["greedy every day against silence"].verdict == "pass"


# --- the command ---


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    result = CliRunner().invoke(app, ["NoBlocking-v0", "--customers", "8", "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "NoBlocking-v0" in result.output
    (written,) = json.loads(path.read_text(encoding="utf-8"))
    assert written["digest"] == SCENARIOS["NoBlocking-v0"].digest
    assert len(written["rows"]) > 5
    assert [each.name for each in tmp_path.iterdir()] == ["card.json"]
