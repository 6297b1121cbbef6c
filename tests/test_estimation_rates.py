import numpy as np
import pytest

from calibration.estimation.losses import fit_losses
from calibration.estimation.prompted import fit_prompted
from calibration.estimation.rates import mean, rates_by_load, rates_by_messages_before, ratio
from tests import estimated_logs as logs


def test_every_message_and_block_is_in_one_band() -> None:
    panel = logs.panel()
    ones = np.ones(len(panel.customer))
    by_load, orders = rates_by_load(panel, ones)
    for rates in (by_load, rates_by_messages_before(panel, ones)):
        assert rates.events.sum() == panel.blocked.sum()
        assert rates.messages.sum() == len(panel.customer)
        assert (rates.low <= rates.rate).all()
        assert (rates.rate <= rates.high).all()
    assert orders.messages.sum() == len(panel.customer)
    first = rates_by_messages_before(panel, ones)
    place = np.arange(len(panel.customer)) - np.searchsorted(panel.customer, panel.customer)
    assert first.rate[0] == pytest.approx(panel.blocked[place < 5].mean())


def test_intervals_are_those_of_leaving_out_customers() -> None:
    panel = logs.panel()
    band = np.flatnonzero((panel.load_after >= 2.0) & (panel.load_after < 3.0))
    blocks = np.bincount(panel.customer[band], panel.blocked[band], panel.size)
    sent = np.bincount(panel.customer[band], minlength=panel.size)
    without = (blocks.sum() - blocks) / (sent.sum() - sent)
    jackknife = np.sqrt((panel.size - 1.0) / panel.size * ((without - without.mean()) ** 2).sum())
    rates, _ = rates_by_load(panel, np.ones(len(panel.customer)))
    assert rates.messages[2] == len(band)
    assert (rates.high - rates.rate)[2] / 1.96 == pytest.approx(jackknife, rel=0.01)


def test_the_ratio_of_repeated_draws_varies_as_its_interval_says() -> None:
    rng = np.random.default_rng(0)
    expected = rng.gamma(1.0, size=400)
    draws = [
        ratio(rng.poisson(0.3 * expected * rng.gamma(0.5, 2.0, size=400)).astype(float), expected) for _ in range(300)
    ]
    logarithms = np.log([each.value for each in draws])
    errors = [np.log(each.high / each.low) / 3.92 for each in draws if each.low and each.high]
    assert np.mean(errors) == pytest.approx(logarithms.std(), rel=0.2)


def test_a_ratio_without_events_has_an_upper_end_only() -> None:
    found = ratio(np.zeros(3), np.ones(3))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 1.0)
    assert ratio(np.zeros(3), np.zeros(3)).high is None


def test_orders_of_one_customer_count_as_one_for_the_mean() -> None:
    values = np.array([1.0, 3.0, 2.0, 6.0])
    alone, together = mean(values, np.arange(4)), mean(np.repeat(values, 5), np.repeat(np.arange(4), 5))
    assert together == pytest.approx(alone)
    assert alone.standard_error == pytest.approx(values.std() / 2.0)


def test_channels_lost_along_with_a_block_are_counted_among_those_open() -> None:
    findings = logs.findings()
    background, along = fit_losses(findings.panel, findings.joint, findings.alive)
    assert along.low is not None
    assert along.high is not None
    assert along.low < logs.WORLD.response.spill_over < along.high
    assert 0.0 < background.value < 0.1


def test_intervals_of_prompted_orders_are_clustered() -> None:
    findings = logs.findings()
    found = fit_prompted(findings.panel, findings.joint, findings.organic, findings.courses, findings.given)
    assert found.orders > 0.0
    for estimate in (*found.channels, found.relevance):
        assert estimate.standard_error is not None
        assert 0.01 < estimate.standard_error < 2.0
    by_name = dict(zip(findings.panel.channels, found.channels, strict=True))
    assert by_name["push"].value > by_name["email"].value
