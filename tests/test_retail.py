"""Retail-v0 is what its sources say: the figures are theirs, the committed numbers reproduce them, none lacks a source."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from blockenv.scenarios import SCENARIOS, Scenario
from blockenv.scenarios.retail import RETAIL
from calibration import published, retail
from calibration.literal import differences, source, write
from calibration.matching import match
from calibration.newsletter import frailty_survival, measure
from calibration.retail import counts_in_silence, counts_of_messages, mismatch
from calibration.retail_targets import Constants, Targets
from calibration.retail_targets import measure as measure_targets
from calibration.retail_world import ASSUMED, ON_TARGET, PATHS, Derived, build, three_digits
from calibration.sources import SourceError
from calibration.tally import Timetable, joined, tally
from scripts.derive_retail import value_at

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


@pytest.fixture(scope="module")
def measured() -> tuple[Targets, Constants]:
    if not DATA.is_dir():
        pytest.skip("the data files are not here")
    return measure_targets(DATA)


# --- figures ---


def test_published_targets_are_those_of_the_files(measured: tuple[Targets, Constants]) -> None:
    targets, constants = measured
    for name, value in published.TARGETS._asdict().items():
        assert getattr(targets, name) == pytest.approx(value, rel=1e-3), name
    assert constants == published.CONSTANTS


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        measure_targets(tmp_path)


# --- the committed scenario ---


def test_committed_scenario_is_built_from_its_own_numbers() -> None:
    """Everything assumed is as `retail_world` has it, and what needs no matching is exactly the published constant."""
    email, push = RETAIL.channels
    first, second = RETAIL.segments[:2]
    constants = published.CONSTANTS._asdict()
    derived = Derived(
        email_block=email.block_probability,
        push_block=push.block_probability,
        channel_block=RETAIL.spread.channel_block,
        event_block=round(first.style_block["event"] - 0.2, 3),
        service_block=round(first.style_block["service"] + 0.1, 3),
        email_open=email.open_logit,
        push_open=push.open_logit,
        buy=email.buy_logit,
        off_target=first.relevance["womens"],
        organic_rate=first.organic_rate * 1.01,  # the mean over archetypes, 0.30 + 0.25 * 1.2 + 0.25 + 0.20 * 0.8
        organic_shape=RETAIL.spread.organic_shape,
        churn=RETAIL.response.churn_probability,
        **{name: value for name, value in constants.items() if name in Derived.__dataclass_fields__},
    )
    again = build(derived, retail.provenance(published.TARGETS, published.CONSTANTS))
    assert differences(again, RETAIL) == {}
    assert second.relevance["womens"] == ON_TARGET


def test_frailty_is_the_newsletters_in_closed_form() -> None:
    fit = measure().normal_frailty.parameters
    assert RETAIL.spread.frailty == three_digits(fit["frailty_sd"])
    curve = frailty_survival(fit["base_log_rate"], RETAIL.spread.frailty, (16, 87, 313))
    assert curve == pytest.approx(np.array(published.TARGETS.survival), abs=0.005)


def test_silent_customers_order_as_those_of_the_shop() -> None:
    counts = counts_in_silence(RETAIL, 12288, retail.SEED)
    targets = published.TARGETS
    assert counts["orders_year"] == pytest.approx(targets.orders_year, rel=0.05)
    assert counts["orders_quarter"] == pytest.approx(targets.orders_quarter, rel=0.07)
    assert counts["orders_cv"] == pytest.approx(targets.orders_cv, rel=0.1)


def test_messages_do_what_the_sources_say() -> None:
    counts = counts_of_messages(RETAIL, published.CONSTANTS, retail.CUSTOMERS // 2, retail.SEED)
    targets = published.TARGETS
    for name, tolerance in {
        "email_block": 0.02,
        "event_ratio": 0.03,
        "service_ratio": 0.03,
        "email_open": 0.01,
        "push_open": 0.02,
        "push_lost": 0.03,
    }.items():
        assert counts[name] == pytest.approx(getattr(targets, name), rel=tolerance), name
    assert counts["survival"] == pytest.approx(targets.survival, abs=0.03)
    bands = published.RETAIL
    for name in ("effect_mens", "effect_womens", "on_to_off"):
        low, high, value = bands[name].low, bands[name].high, counts[name]
        assert low is not None
        assert high is not None
        assert isinstance(value, float)
        assert low < value < high, name


def test_every_archetype_keeps_a_sign_of_its_own() -> None:
    assert {math.copysign(1.0, each.style_block["sale"]) for each in RETAIL.segments} == {-1.0, 1.0}
    assert {math.copysign(1.0, each.churn_contact) for each in RETAIL.segments} == {-1.0, 1.0}
    assert {math.copysign(1.0, each.style_buy["event"]) for each in RETAIL.segments} == {-1.0, 1.0}


def test_every_number_has_a_source() -> None:
    assert set(RETAIL.provenance) == {*PATHS.values(), *ASSUMED}
    assert {RETAIL.provenance[path].label for path in PATHS.values()} == {"DERIVED"}
    assert {RETAIL.provenance[path].label for path in ASSUMED} == {"ASSUMED"}
    for path in RETAIL.provenance:
        assert value_at(RETAIL, path), path


def test_retail_is_of_the_canon() -> None:
    assert SCENARIOS["Retail-v0"] is RETAIL


# --- writing it down ---


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_source_says_the_scenario(name: str) -> None:
    text = source(SCENARIOS[name], "WORLD", "A world.", "Generated.")
    assert max(map(len, text.splitlines())) <= 120
    place: dict[str, Scenario] = {}
    exec(compile(ast.parse(text), name, "exec"), place)
    assert place["WORLD"] == SCENARIOS[name]


def test_the_committed_file_is_as_the_command_writes_it(tmp_path: Path) -> None:
    from scripts.derive_retail import COMMENT, DOCSTRING, MODULE

    write(source(RETAIL, "RETAIL", DOCSTRING, COMMENT), tmp_path / "retail.py")
    assert (tmp_path / "retail.py").read_text(encoding="utf-8") == MODULE.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["retail.py"]


def test_failing_to_write_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "retail.py").mkdir()
    with pytest.raises(OSError, match=r"retail\.py"):
        write("text", tmp_path / "retail.py")
    assert [each.name for each in tmp_path.iterdir()] == ["retail.py"]


def test_differences_name_the_field() -> None:
    changed = RETAIL.model_copy(update={"discount": 0.5})
    assert differences(RETAIL, changed) == {"discount": (RETAIL.discount, 0.5)}
    assert differences(RETAIL, RETAIL) == {}


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    from scripts.derive_retail import app

    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 2
    assert "rees46" in result.output


# --- matching ---


def test_match_finds_a_curved_answer() -> None:
    def residuals(point: np.ndarray) -> np.ndarray:
        return np.array([math.exp(point[0]) - 2.0, point[0] * point[1] - 1.0, 0.0])

    found = match(residuals, [0.2, 1.0], [0.1, 0.1], [-5.0, -5.0], [5.0, 5.0], 30)
    assert found == pytest.approx(np.array([math.log(2.0), 1.0 / math.log(2.0)]), abs=1e-4)


def test_match_stays_inside_and_makes_up_for_it() -> None:
    """Where one number is stopped by its limit, the others must do what they can."""

    def residuals(point: np.ndarray) -> np.ndarray:
        return np.array([point[0] + point[1] - 3.0, point[0] - 2.0])

    found = match(residuals, [0.5, 0.0], [0.1, 0.1], [0.0, -5.0], [1.0, 5.0], 40)
    assert found == pytest.approx(np.array([1.0, 2.0]), abs=1e-6)


def test_match_counts_its_calls() -> None:
    calls = []

    def residuals(point: np.ndarray) -> np.ndarray:
        calls.append(point)
        return np.array([math.atan(point[0] - 1.0) + 0.3, point[1] - 2.0])

    match(residuals, [0.0, 0.0], [0.5, 0.5], [-9.0, -9.0], [9.0, 9.0], 3)
    assert len(calls) == 1 + 2 + 3


def test_mismatch_is_zero_on_target() -> None:
    assert mismatch({"email_block": 0.003395, "survival": (0.935, 0.868, 0.786)}, published.TARGETS) == pytest.approx(
        0.0
    )


# --- counting ---


def test_a_tally_counts_what_happens() -> None:
    message = retail.action(RETAIL, "push", "sale", "mens")
    counts = tally(RETAIL, Timetable([message], 3), 5, 600, 31, expect=True)
    assert counts.sent[0].sum() == 0.0
    assert np.array_equal(counts.sent, counts.delivered + counts.failed)
    assert counts.sent[1].max() == 11.0
    assert np.all(counts.opened <= counts.delivered)
    assert np.all(counts.prompted <= counts.opened)
    assert counts.daily_delivered.sum() == counts.delivered.sum() == counts.expected_delivered.sum()
    assert counts.daily_blocked.sum() == counts.blocked.sum() > 0.0
    assert np.all(counts.days <= 31)
    opens, orders, _ = counts.expected[:, message].sum(axis=1)
    assert opens == pytest.approx(counts.opened.sum(), rel=0.15)
    assert orders < opens


def test_a_tally_does_not_depend_on_how_it_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Timetable([1, 7], 2, first=3)
    whole = tally(RETAIL, table, 6, 100, 20, expect=True)
    monkeypatch.setattr("calibration.tally.BATCH", 33)
    for one, other in zip(whole, tally(RETAIL, table, 6, 100, 20, expect=True), strict=True):
        assert other == pytest.approx(one)


def test_joined_tallies_hold_everybody() -> None:
    parts = [tally(RETAIL, Timetable([1], 7), seed, 40, 15) for seed in (1, 2)]
    both = joined(parts)
    assert both.days.size == 80
    assert both.sent.shape == (2, 80)
    assert both.daily_delivered.sum() == sum(each.delivered.sum() for each in parts)


def test_a_timetable_keeps_to_its_days() -> None:
    legal = np.ones((4, 3), bool)
    legal[3] = [True, False, True]
    table = Timetable([1, 2], 2, first=1)
    assert table.choose(np.array([0, 1, 3, 1]), legal).tolist() == [0, 1, 2, 0]
    with pytest.raises(ValueError, match="gap of at least 1"):
        Timetable([1], 0)
    with pytest.raises(ValueError, match="actions above 0"):
        Timetable([0], 1)
