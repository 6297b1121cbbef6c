"""Survival of newsletter readers: the curves are right, the fits find what made the points."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from calibration.newsletter import (
    HAZARDS,
    MESSAGES_BEFORE_OPT_OUT,
    SURVIVAL,
    beta_geometric_survival,
    figures,
    fit_normal_frailty,
    fit_shifted_beta_geometric,
    frailty_survival,
    measure,
)

POINTS = [5, 20, 80, 200, 400]


@pytest.mark.parametrize(("base", "deviation"), [(-6.0, 0.5), (-7.0, 2.0), (-9.5, 3.8), (-9.0, 4.0)])
def test_frailty_survival_is_the_integral(base: float, deviation: float) -> None:
    for messages in (1, 16, 313, 1000):

        def survivor(draw: float, messages: int = messages) -> float:
            return math.exp(-messages * math.exp(base + deviation * draw) - draw**2 / 2)

        truth = quad(survivor, -12, 12, limit=500, epsabs=1e-12)[0] / math.sqrt(2 * math.pi)
        assert float(frailty_survival(base, deviation, messages)) == pytest.approx(truth, abs=1e-6)


def test_frailty_survival_is_what_blocking_readers_do() -> None:
    generator = np.random.default_rng(5)
    frailty = generator.normal(0.0, 1.5, size=200_000)
    block_probability = 1 - np.exp(-np.exp(-5.0 + frailty))
    messages_borne = generator.geometric(np.maximum(block_probability, 1e-15)) - 1
    for messages in (1, 30, 300):
        share = float((messages_borne >= messages).mean())
        assert float(frailty_survival(-5.0, 1.5, messages)) == pytest.approx(share, abs=0.004)


def test_beta_geometric_survival_is_the_product_of_staying() -> None:
    a, b = 0.4, 3.0
    hazards = a / (a + b + np.arange(50))
    assert beta_geometric_survival(a, b, np.arange(1, 51)) == pytest.approx(np.cumprod(1 - hazards))


@given(base=st.floats(-12, 0), deviation=st.floats(0, 6))
def test_survival_starts_at_one_and_falls(base: float, deviation: float) -> None:
    curve = frailty_survival(base, deviation, np.arange(0, 500, 10))
    assert curve[0] == pytest.approx(1.0)
    assert np.all(np.diff(curve) <= 1e-12)
    assert curve[-1] >= 0.0


def test_readers_alike_leave_at_one_rate() -> None:
    assert frailty_survival(-6.0, 0.0, POINTS) == pytest.approx(np.exp(-np.exp(-6.0) * np.array(POINTS)))


@pytest.mark.parametrize(("base", "deviation"), [(-5.0, 0.7), (-7.0, 1.5), (-9.5, 3.5)])
def test_frailty_fit_finds_what_made_the_points(base: float, deviation: float) -> None:
    fit = fit_normal_frailty(POINTS, frailty_survival(base, deviation, POINTS))
    assert fit.parameters["base_log_rate"] == pytest.approx(base, abs=1e-3)
    assert fit.parameters["frailty_sd"] == pytest.approx(deviation, abs=1e-3)
    assert fit.largest_error < 1e-6


@pytest.mark.parametrize(("a", "b"), [(0.07, 12.0), (1.0, 50.0), (0.5, 4.0)])
def test_beta_geometric_fit_finds_what_made_the_points(a: float, b: float) -> None:
    fit = fit_shifted_beta_geometric(POINTS, beta_geometric_survival(a, b, POINTS))
    assert fit.parameters == pytest.approx({"a": a, "b": b}, rel=1e-3)
    assert fit.first_message_block_probability == pytest.approx(a / (a + b), rel=1e-3)


@pytest.mark.parametrize(
    ("messages", "survival", "complaint"),
    [
        ([16], [0.9], "expected one shape"),
        ([16, 87], [0.9, 0.8, 0.7], "expected one shape"),
        ([87, 16], [0.9, 0.8], "positive numbers in rising order"),
        ([0, 16], [0.9, 0.8], "positive numbers in rising order"),
        ([16, 87], [0.8, 0.9], "that never rise"),
        ([16, 87], [1.0, 0.9], "between 0 and 1"),
        ([16, 87], [0.5, 0.0], "between 0 and 1"),
    ],
)
def test_fits_refuse_what_is_no_survival_curve(messages: list[int], survival: list[float], complaint: str) -> None:
    for fit in (fit_normal_frailty, fit_shifted_beta_geometric):
        with pytest.raises(ValueError, match=complaint):
            fit(messages, survival)


def test_published_hazards_and_survival_agree() -> None:
    lengths = np.diff([0, *MESSAGES_BEFORE_OPT_OUT])
    assert np.exp(-np.cumsum(lengths * np.array(HAZARDS))) == pytest.approx(np.array(SURVIVAL), abs=1e-3)


def test_normal_frailty_reproduces_the_newsletter() -> None:
    record = measure()
    frailty, geometric = record.normal_frailty, record.shifted_beta_geometric
    assert frailty.parameters["base_log_rate"] == pytest.approx(-9.507, abs=0.01)
    assert frailty.parameters["frailty_sd"] == pytest.approx(3.815, abs=0.01)
    assert frailty.largest_error < 0.002 < 4 * frailty.largest_error < geometric.largest_error
    assert frailty.hazards == pytest.approx(HAZARDS, rel=0.05)
    assert geometric.hazards == pytest.approx(HAZARDS, rel=0.25)


def test_least_squares_beats_the_hand_fit_of_the_beta_geometric() -> None:
    """The evidence page gives a = 0.063, b = 9.2 with S(1000) = .74, which is off by a point at message 313."""
    by_hand = beta_geometric_survival(0.063, 9.2, MESSAGES_BEFORE_OPT_OUT) - np.array(SURVIVAL)
    fit = measure().shifted_beta_geometric
    assert np.square(fit.residuals).sum() < 0.7 * np.square(by_hand).sum()
    assert fit.parameters == pytest.approx({"a": 0.063, "b": 9.2}, rel=0.4)
    assert fit.survival_after_1000 == pytest.approx(0.74, abs=0.02)


def test_the_record_is_plain_data() -> None:
    plain = json.loads(json.dumps(asdict(measure())))
    assert plain["normal_frailty"]["parameters"].keys() == {"base_log_rate", "frailty_sd"}
    assert {line.label for line in figures()} == {"FOUND", "DERIVED"}
