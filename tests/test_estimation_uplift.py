import dataclasses
from pathlib import Path

import numpy as np
import pytest

from calibration import hillstrom
from calibration.estimation.confounding import check_confounding
from calibration.estimation.decisions import sampled_days, sent_on
from calibration.estimation.experiment import read_trial
from calibration.estimation.scores import FEATURES, deciles, gains_table, score, trial_of
from calibration.estimation.uplift import Trial, average_effect, qini, t_learner, t_predict, x_learner
from tests import estimated_logs as logs

DATA = Path(__file__).parents[1].parent / "shared" / "data"


def _trial(size: int = 6000, seed: int = 0) -> Trial:
    """The treatment helps those with a positive first feature and harms the rest; who is treated follows the second."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(size, 2))
    chance = 1.0 / (1.0 + np.exp(-features[:, 1]))
    treated = (rng.random(size) < chance).astype(float)
    outcome = 2.0 * features[:, 1] + treated * (0.5 + np.sign(features[:, 0])) + rng.normal(size=size)
    return Trial(features, treated, outcome, chance, np.arange(size))


def test_weights_undo_a_choice_that_goes_by_what_is_known() -> None:
    trial = _trial()
    naive = trial.outcome[trial.treated > 0].mean() - trial.outcome[trial.treated == 0].mean()
    effect = average_effect(trial)
    assert naive > 1.5
    assert effect.low is not None
    assert effect.high is not None
    assert effect.low < 0.5 < effect.high
    some = average_effect(trial, trial.features[:, 0] > 0)
    assert some.value == pytest.approx(1.5, abs=0.3)


@pytest.mark.parametrize("learner", [t_learner, x_learner])
def test_learners_tell_whom_to_treat(learner) -> None:  # type: ignore[no-untyped-def]
    trial = _trial()
    effect = learner(trial)
    assert effect[trial.features[:, 0] > 0.5].mean() > effect[trial.features[:, 0] < -0.5].mean() + 1.0
    curve = qini(trial, effect)
    assert curve.area.low is not None
    assert curve.area.low > 0.1
    assert qini(trial, -effect).area.value < 0.0
    assert curve.gain[0] == 0.0
    assert curve.share[-1] == 1.0


def test_the_area_is_that_under_the_curve_and_its_interval_that_of_repeated_trials() -> None:
    curves = [qini(trial := _trial(2000, seed), trial.features[:, 0], points=2000) for seed in range(200)]
    assert np.trapezoid(curves[0].gain - curves[0].share * curves[0].gain[-1], curves[0].share) == pytest.approx(
        curves[0].area.value, abs=1e-6
    )
    areas = np.array([curve.area.value for curve in curves])
    errors = np.array([curve.area.standard_error for curve in curves])
    assert errors.mean() == pytest.approx(areas.std(), rel=0.2)


def test_rows_of_one_customer_are_no_new_evidence() -> None:
    trial = _trial(1000)
    twice = Trial(*(np.concatenate([each, each]) for each in trial))
    once, doubled = (qini(each, each.features[:, 0]).area for each in (trial, twice))
    assert doubled.standard_error == pytest.approx(once.standard_error, rel=0.01)
    assert average_effect(twice).standard_error == pytest.approx(average_effect(trial).standard_error)


def test_effects_of_others_follow_their_features() -> None:
    found = t_predict(_trial(), np.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert found[0] > found[1]


def test_nobody_treated_is_an_error() -> None:
    trial = _trial()._replace(treated=np.zeros(6000))
    with pytest.raises(ValueError, match="treated"):
        average_effect(trial)


def test_deciles_are_tenths() -> None:
    found = deciles(np.arange(100.0))
    assert found[99] == 1
    assert found[0] == 10
    assert (np.bincount(found)[1:] == 10).all()


def test_gains_of_a_perfect_score() -> None:
    happened = (np.arange(100) < 10).astype(float)
    table = gains_table("block", 1.0 - np.arange(100) / 100.0, happened)
    assert table["captured"].tolist() == [1.0] * 10
    assert table["lift"].iloc[0] == pytest.approx(10.0)


def test_a_coin_cannot_be_predicted_and_a_choice_can() -> None:
    findings = logs.findings()
    coin = check_confounding(findings.panel)
    assert coin.area == pytest.approx(0.5, abs=0.04)
    assert coin.has_propensities
    assert coin.warning == ""
    choice = check_confounding(logs.panel("confounded"))
    assert choice.area > 0.58
    assert not choice.has_propensities
    assert "predicted from past engagement" in choice.warning


def test_days_count_by_what_was_known_that_morning() -> None:
    panel = logs.panel()
    customer, day = sampled_days(panel, 20_000, np.random.default_rng(0), stops=False)
    assert (day < panel.watched[customer]).all()
    first = np.full((panel.size, len(panel.channels)), panel.days)
    np.minimum.at(first, (panel.block_customer, panel.block_channel), panel.block_day)
    assert (panel.opted_in[customer] & (first[customer] >= day[:, None])).any(axis=1).all()
    # The day of the block that closed the last channel counts: it was reachable in the morning.
    last = np.where(panel.opted_in, first, -1).max(axis=1)
    assert (day == last[customer]).any()
    assert not (day > last[customer]).any()
    sent = sent_on(panel, customer, day).mean()
    assert sent == pytest.approx(panel.send_probability[customer].mean(), abs=0.02)


def test_a_firm_that_stops_is_judged_before_its_last_message_only() -> None:
    panel = logs.panel()
    newest = np.zeros(panel.size, np.int64)
    np.maximum.at(newest, panel.customer, panel.day)
    customer, day = sampled_days(panel, 5_000, np.random.default_rng(0), stops=True)
    assert len(day) > 1000
    assert (day < newest[customer]).all()


def test_chances_that_do_not_hold_are_told() -> None:
    panel = logs.panel()
    wrong = dataclasses.replace(panel, send_probability=np.minimum(1.3 * panel.send_probability, 0.99))
    assert "the chances do not hold" in check_confounding(wrong).warning
    assert "--stops" in check_confounding(wrong).warning
    assert "--stops" not in check_confounding(wrong, stops=True).warning


def test_scores_rank_customers_and_a_trial_needs_chances() -> None:
    findings = logs.findings()
    trial = trial_of(findings)
    assert trial is not None
    assert trial.features.shape[1] == len(FEATURES) + findings.panel.hints.shape[1]
    scores = score(findings, trial)
    assert set(scores.files["model"]) == {"block", "order", "uplift"}
    assert len(scores.files) == 3 * findings.panel.size
    orders = scores.gains[scores.gains["model"] == "order"]
    assert orders["captured"].iloc[-1] == pytest.approx(1.0)
    assert orders["lift"].iloc[0] > 1.2
    probability = scores.files.loc[scores.files["model"] == "order", "probability"]
    odds = scores.files.loc[scores.files["model"] == "order", "odds"]
    assert np.allclose(odds, probability / (1.0 - probability))


@pytest.mark.skipif(not (DATA / hillstrom.FILE).is_file(), reason="no Hillstrom file beside the checkout")
def test_the_experiment_gives_the_same_effects_as_plain_differences() -> None:
    record = hillstrom.measure(DATA)
    for email in ("mens", "womens"):
        trial, groups = read_trial(DATA, email, "visit")
        assert average_effect(trial).value == pytest.approx(record.effects[email].visit.value, abs=1e-9)
        for name, who in groups.items():
            plain = record.effects_by_category[email][name].visit.value
            assert average_effect(trial, who).value == pytest.approx(plain, abs=1e-9)
