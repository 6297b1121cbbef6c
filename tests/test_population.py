"""Customers are who their scenario says, whoever else is drawn with them."""

import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from blockenv import population
from blockenv.dynamics import Traits
from blockenv.scenarios import SCENARIOS, Scenario, get

DETERMINISTIC = settings(deadline=None, derandomize=True, max_examples=40)
NAMES = list(SCENARIOS)
ROOT = Path(__file__).resolve().parents[1]
CUSTOMERS = 40_000
FALSE_ALARM = 1e-6
LIMIT = 5.5  # standard errors: one false alarm in 25 million comparisons
CUSTOMERS_FIRST = {"hints"}

WORLD: dict[str, Any] = {
    "name": "Crowd-v0",
    "isolates": "known numbers for every kind of trait",
    "channels": [
        {"name": "push", "load": 1.0, "cost": 0.01, "block_probability": 0.004, "open_logit": -2, "buy_logit": -4,
         "opt_in": 0.7},
        {"name": "email", "load": 0.5, "cost": 0.02, "block_probability": 0.02, "open_logit": 1, "buy_logit": -5,
         "opt_in": 0.25, "background_share": 0.1, "win_back_rate": 0.03},
    ],
    "slots": ["morning", "evening"],
    "styles": [{"name": "promo", "discount": 0.2}, {"name": "info"}],
    "products": ["books", "music", "games"],
    "segments": [
        {"name": "fond", "weight": 3, "ideal_load": 4.0, "reactance": 0.3, "reciprocity": 0.1, "churn_contact": -0.4,
         "resting_bond": 0.6, "organic_rate": 0.02, "weekend_block": -0.5, "relevance": {"books": 0.6, "music": 0.4},
         "style_block": {"promo": -0.6, "info": 0.3}, "slot_block": {"morning": 0.8}, "style_buy": {"promo": 0.5}},
        {"name": "shy", "weight": 1, "ideal_load": 1.0, "reactance": 0.6, "reciprocity": 0.0, "churn_contact": 0.5,
         "resting_bond": 0.3, "organic_rate": 0.005, "weekend_block": 0.7, "relevance": {"books": 0.4, "music": 0.6},
         "style_block": {"promo": 0.6, "info": -0.3}, "slot_block": {"morning": -0.8}, "style_buy": {"promo": -0.5}},
    ],
}  # fmt: skip


def world(**changes: Any) -> Scenario:
    return get({**WORLD, **changes})


def draw(scenario: Scenario, customers: int = CUSTOMERS, seed: int = 1, dtype: type = np.float64) -> Traits:
    numbers = np.arange(customers)
    return population.draw(scenario, np.full(customers, seed, np.uint64), numbers, dtype)


@cache
def crowd() -> Traits:
    """A large crowd of `WORLD`, drawn once."""
    return draw(world())


def score(values: NDArray[Any], mean: float, deviation: float) -> float:
    """How many standard errors the mean of `values` is from `mean`."""
    return float((np.mean(values) - mean) / (deviation / math.sqrt(len(values))))


def spread_score(values: NDArray[Any], deviation: float) -> float:
    """How many standard errors the deviation of normal `values` is from `deviation`."""
    return float((np.std(values) / deviation - 1.0) * math.sqrt(2 * len(values)))


# --- addresses ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_traits_have_the_shapes_and_kinds_they_say(name: str, dtype: type) -> None:
    scenario = SCENARIOS[name]
    traits = draw(scenario, 17, dtype=dtype)
    channels, slots, styles = len(scenario.channels), len(scenario.slots), len(scenario.styles)
    tables = {
        **dict.fromkeys(("opted_in", "open_logit", "buy_logit", "block_log_rate", "background_block"), (channels, 17)),
        **dict.fromkeys(("style_block", "style_buy"), (styles, 17)),
        "slot_block": (slots, 17),
        "relevance": (len(scenario.products), 17),
        "hints": (17, len(scenario.segments)),
    }
    for field, values in traits._asdict().items():
        assert values.shape == tables.get(field, (17,)), field
        kinds = {"segment": np.int32, "joined": np.int64, "opted_in": np.bool_}
        assert values.dtype == kinds.get(field, dtype), field
        assert np.all(np.isfinite(values)), field


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_double_precision_rounded(name: str) -> None:
    double, single = draw(SCENARIOS[name], 200), draw(SCENARIOS[name], 200, dtype=np.float32)
    for field, wide, narrow in zip(Traits._fields, double, single, strict=True):
        assert np.array_equal(wide.astype(narrow.dtype), narrow), field


@DETERMINISTIC
@given(
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**45)), min_size=1, max_size=12),
    st.sampled_from(NAMES),
    st.randoms(use_true_random=False),
)
def test_traits_are_the_same_alone_in_a_batch_and_in_any_order(
    addresses: list[tuple[int, int]], name: str, shuffler: Any
) -> None:
    scenario = SCENARIOS[name]
    order = list(range(len(addresses)))
    shuffler.shuffle(order)
    seed, customer = np.array(addresses, np.int64).T
    together = population.draw(scenario, seed.astype(np.uint64), customer)
    shuffled = population.draw(scenario, seed[order].astype(np.uint64), customer[order])
    alone = [population.draw(scenario, seed[[row]].astype(np.uint64), customer[[row]]) for row in order]
    for field in Traits._fields:
        axis = 0 if field in CUSTOMERS_FIRST else -1
        expected = np.take(getattr(together, field), order, axis=axis)
        assert np.array_equal(getattr(shuffled, field), expected), field
        assert np.array_equal(np.concatenate([getattr(each, field) for each in alone], axis=axis), expected), field


def test_traits_are_the_same_in_another_process() -> None:
    code = (
        "import numpy as np\n"
        "from blockenv import population\n"
        "from blockenv.scenarios import SCENARIOS\n"
        "traits = population.draw(SCENARIOS['Omnichannel-v0'], np.full(99, 5, np.uint64), np.arange(99), np.float64)\n"
        "print(*(float(np.sum(values, dtype=np.float64)).hex() for values in traits))\n"
    )
    np.random.seed(3)  # noqa: NPY002
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    traits = draw(SCENARIOS["Omnichannel-v0"], 99, seed=5)
    assert shown.split() == [float(np.sum(values, dtype=np.float64)).hex() for values in traits]


def test_another_seed_is_another_crowd() -> None:
    one, other = draw(world(), 50, seed=1), draw(world(), 50, seed=2)
    assert not np.any(one.ideal_load == other.ideal_load)


def test_a_later_customer_does_not_resemble_an_earlier_one() -> None:
    traits = crowd()
    for values in (traits.order_log_value, traits.block_log_rate[0], traits.open_logit[1]):
        ranks = stats.rankdata(values)
        correlation = np.corrcoef(ranks[:-1], ranks[1:])[0, 1]
        assert abs(correlation) * math.sqrt(CUSTOMERS) < LIMIT


# --- who they are ---


def test_segments_have_their_shares() -> None:
    weights = np.array([each["weight"] for each in WORLD["segments"]])
    counts = np.bincount(crowd().segment, minlength=len(weights))
    assert stats.chisquare(counts, CUSTOMERS * weights / weights.sum()).pvalue > FALSE_ALARM


@pytest.mark.parametrize("name", NAMES)
def test_segments_of_the_canon_have_their_shares(name: str) -> None:
    scenario = SCENARIOS[name]
    weights = np.array([each.weight for each in scenario.segments])
    counts = np.bincount(draw(scenario, 5000).segment, minlength=len(weights))
    assert len(counts) == len(weights)
    if len(weights) > 1:
        assert stats.chisquare(counts, 5000 * weights / weights.sum()).pvalue > FALSE_ALARM


def test_a_single_segment_is_everybody() -> None:
    scenario = world(segments=WORLD["segments"][:1])
    assert not np.any(draw(scenario, 100).segment)


@pytest.mark.parametrize("shape", [0.05, 0.3, 1.0, 3.0, 40.0])
def test_organic_rates_are_gamma(shape: float) -> None:
    scenario = world(spread={"organic_shape": shape}, segments=WORLD["segments"][:1])
    ratio = draw(scenario).organic_rate / scenario.segments[0].organic_rate
    assert stats.kstest(ratio, stats.gamma(shape, scale=1 / shape).cdf).pvalue > FALSE_ALARM
    assert abs(score(ratio, 1.0, shape**-0.5)) < LIMIT
    variation = shape**-0.5
    error = variation * math.sqrt((1 + variation**2) / (2 * CUSTOMERS))  # delta method, moments of the Gamma
    assert abs(np.std(ratio) / np.mean(ratio) - variation) < LIMIT * error


def test_organic_rates_are_those_of_the_segment() -> None:
    traits, scenario = crowd(), world()
    for index, segment in enumerate(scenario.segments):
        rates = traits.organic_rate[traits.segment == index]
        deviation = segment.organic_rate * scenario.spread.organic_shape**-0.5
        assert abs(score(rates, segment.organic_rate, deviation)) < LIMIT


def test_frailty_is_shared_by_all_channels() -> None:
    scenario = world(spread={"frailty": 1.3, "channel_block": 0.0})
    frailty = draw(scenario).block_log_rate - np.array(
        [[math.log(-math.log1p(-0.004))], [math.log(-math.log1p(-0.02))]]
    )
    np.testing.assert_allclose(frailty[0], frailty[1], atol=1e-12)
    assert abs(score(frailty[0], 0.0, 1.3)) < LIMIT
    assert abs(spread_score(frailty[0], 1.3)) < LIMIT
    assert stats.kstest(frailty[0] / 1.3, "norm").pvalue > FALSE_ALARM


def test_channels_differ_beyond_frailty() -> None:
    scenario = world(spread={"frailty": 0.0, "channel_block": 0.4})
    residual = draw(scenario).block_log_rate
    residual = residual - np.mean(residual, axis=1, keepdims=True)
    assert all(abs(spread_score(row, 0.4)) < LIMIT for row in residual)
    assert abs(np.corrcoef(residual)[0, 1]) * math.sqrt(CUSTOMERS) < LIMIT
    both = draw(world(spread={"frailty": 0.9, "channel_block": 0.4})).block_log_rate
    assert abs(spread_score(both[0], math.hypot(0.9, 0.4))) < LIMIT


def test_the_background_hazard_is_a_share_of_the_hazard_of_a_message() -> None:
    traits = crowd()
    shares = np.array([[0.02], [0.1]])
    expected = 1.0 - np.exp(-shares * np.exp(traits.block_log_rate))
    np.testing.assert_allclose(traits.background_block, expected, rtol=1e-9)


def test_a_probability_of_zero_is_never() -> None:
    silent = [{**each, "block_probability": 0.0, "win_back_rate": 0.0} for each in WORLD["channels"]]
    scenario = world(channels=silent)
    traits = draw(scenario, 1000)
    assert np.max(traits.block_log_rate) < math.log(1e-20)
    assert not np.any(traits.background_block)  # exactly: luck can be 0, and 0 < 1e-30
    assert population.rules(scenario).win_back is False
    assert population.rules(world()).win_back is True


@pytest.mark.parametrize("table", ["style_block", "slot_block", "style_buy", "relevance"])
def test_effects_centre_on_their_segment_with_opposed_signs(table: str) -> None:
    traits, scenario = crowd(), world()
    values, spread = getattr(traits, table), scenario.spread
    sd = spread.relevance if table == "relevance" else spread.effect
    names = {
        "style_block": [each.name for each in scenario.styles],
        "style_buy": [each.name for each in scenario.styles],
        "slot_block": list(scenario.slots),
        "relevance": list(scenario.products),
    }[table]
    missing = 0.5 if table == "relevance" else 0.0
    for row, name in enumerate(names):
        for index, segment in enumerate(scenario.segments):
            own = values[row, traits.segment == index]
            centre = getattr(segment, table).get(name, missing)
            assert abs(score(own, centre, sd)) < LIMIT, (name, segment.name)
            assert abs(spread_score(own, sd)) < LIMIT, (name, segment.name)
    first = [np.mean(values[0, traits.segment == index]) - missing for index in range(2)]
    assert first[0] * first[1] < 0.0


def test_opposites_oppose() -> None:
    """The canon's scenario of this name must keep its promise: some effect has two signs, and both are common."""
    scenario = SCENARIOS["Opposites-v0"]
    traits = draw(scenario, 8000)
    means = np.array(
        [np.mean(traits.style_block[:, traits.segment == each], axis=1) for each in range(len(scenario.segments))]
    )
    assert np.any((means.min(axis=0) < -0.1) & (means.max(axis=0) > 0.1))


@pytest.mark.parametrize("field", ["weekend_block", "churn_contact", "resting_bond"])
def test_scalars_centre_on_their_segment(field: str) -> None:
    traits, scenario = crowd(), world()
    sd = {"weekend_block": scenario.spread.weekend}.get(field) or getattr(scenario.spread, field)
    for index, segment in enumerate(scenario.segments):
        own = getattr(traits, field)[traits.segment == index]
        assert abs(score(own, getattr(segment, field), sd)) < LIMIT
        assert abs(spread_score(own, sd)) < LIMIT


def test_ideal_loads_are_log_normal_around_their_segment() -> None:
    traits, scenario = crowd(), world()
    for index, segment in enumerate(scenario.segments):
        logs = np.log(traits.ideal_load[traits.segment == index] / segment.ideal_load)
        assert abs(score(logs, 0.0, scenario.spread.ideal_load)) < LIMIT
        assert abs(spread_score(logs, scenario.spread.ideal_load)) < LIMIT


def test_traits_that_do_not_spread_are_those_of_the_segment() -> None:
    traits, scenario = crowd(), world()
    for field in ("reactance", "reciprocity"):
        expected = np.array([getattr(each, field) for each in scenario.segments])[traits.segment]
        assert np.array_equal(getattr(traits, field), expected)


def test_logits_and_order_values_spread_as_told() -> None:
    traits, scenario = crowd(), world()
    for row, channel in enumerate(scenario.channels):
        for field in ("open_logit", "buy_logit"):
            own, sd = getattr(traits, field)[row], getattr(scenario.spread, field)
            assert abs(score(own, getattr(channel, field), sd)) < LIMIT
            assert abs(spread_score(own, sd)) < LIMIT
    sd = scenario.spread.order_value
    assert abs(score(traits.order_log_value, math.log(scenario.commerce.order_value), sd)) < LIMIT
    assert abs(spread_score(traits.order_log_value, sd)) < LIMIT


def test_independent_traits_do_not_know_of_each_other() -> None:
    traits = crowd()
    one_kind = traits.segment == 0
    columns = [
        traits.joined[one_kind],
        *(values[one_kind] for values in (traits.weekend_block, traits.ideal_load, traits.churn_contact)),
        *(values[one_kind] for values in (traits.resting_bond, traits.organic_rate, traits.order_log_value)),
        *(row[one_kind] for table in (traits.open_logit, traits.buy_logit, traits.opted_in) for row in table),
        *(row[one_kind] for table in (traits.slot_block, traits.style_block, traits.style_buy) for row in table),
        *(row[one_kind] for row in traits.relevance),
        traits.block_log_rate[0][one_kind],
        *traits.hints[one_kind].T,
    ]
    ranks = np.array([stats.rankdata(each) for each in columns])
    correlations = np.corrcoef(ranks)[np.triu_indices(len(columns), 1)]
    assert np.abs(correlations).max() * math.sqrt(int(one_kind.sum())) < LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_bounded_traits_stay_in_their_bounds(name: str) -> None:
    traits = draw(SCENARIOS[name], 3000, dtype=np.float32)
    for field, low, high in (
        ("relevance", 0, 1),
        ("resting_bond", 0, 1),
        ("background_block", 0, 1),
        ("hints", -3, 3),
        ("joined", 0, 363),
    ):
        values = getattr(traits, field)
        assert values.min() >= low, field
        assert values.max() <= high, field
    assert traits.ideal_load.min() > 0.0
    assert traits.organic_rate.min() >= 0.0


def test_relevance_is_clipped_not_wrapped() -> None:
    scenario = world(spread={"relevance": 1.0})
    relevance = draw(scenario, 5000).relevance
    assert np.mean(relevance == 0.0) > 0.1
    assert np.mean(relevance == 1.0) > 0.1


def test_a_table_with_one_entry_has_nothing_to_differ_in() -> None:
    first = WORLD["segments"][0]
    effects = {
        "style_block": {"promo": 0.3},
        "style_buy": {"promo": 0.2},
        "slot_block": {},
        "relevance": {"books": 0.6},
    }
    scenario = world(
        slots=["morning"], styles=WORLD["styles"][:1], products=["books"], segments=[{**first, **effects}]
    )  # fmt: skip
    traits = draw(scenario, 300)
    for field, value in (("style_block", 0.3), ("style_buy", 0.2), ("slot_block", 0.0), ("relevance", 0.6)):
        assert np.array_equal(getattr(traits, field), np.full((1, 300), value)), field


def test_opt_ins_have_their_shares() -> None:
    traits = crowd()
    for row, share in zip(traits.opted_in, (0.7, 0.25), strict=True):
        assert abs(score(row, share, math.sqrt(share * (1 - share)))) < LIMIT
    sure = world(channels=[{**WORLD["channels"][0], "opt_in": 1.0}, {**WORLD["channels"][1], "opt_in": 0.0}])
    assert np.array_equal(draw(sure, 1000).opted_in.any(axis=1), [True, False])
    assert np.array_equal(draw(sure, 1000).opted_in.all(axis=1), [True, False])


def test_joining_days_are_spread_over_the_year() -> None:
    counts = np.bincount(crowd().joined, minlength=364)
    assert len(counts) == 364
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


@pytest.mark.parametrize("hint_noise", [0.0, 0.7, 3.0])
def test_hints_tell_segments_apart_as_far_as_their_noise_lets_them(hint_noise: float) -> None:
    traits = draw(world(hint_noise=hint_noise))
    scale = math.hypot(1.0, hint_noise)
    for index in range(2):
        own = traits.hints[traits.segment == index, index]
        other = traits.hints[traits.segment != index, index]
        gap = np.mean(own) - np.mean(other)
        error = scale**-1 * hint_noise * math.sqrt(1 / len(own) + 1 / len(other)) + 1e-12
        # The clip at three takes a little off the tails.
        assert abs(gap - 1.0 / scale) < LIMIT * error + 0.01


# --- rules and newcomers ---


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_of_actions_agree_with_the_words(name: str) -> None:
    scenario, rules = SCENARIOS[name], population.rules(SCENARIOS[name], np.float64)
    styles = [style.name for style in scenario.styles]
    assert rules.sends.tolist() == [False] + [True] * (scenario.actions - 1)
    for table in (rules.channel_of, rules.slot_of, rules.style_of, rules.product_of):
        assert table.shape == (scenario.actions,)
        assert table[0] == 0
    assert rules.load_of[0] == rules.cost_of[0] == rules.discount_of[0] == 0.0
    for action in range(1, scenario.actions):
        channel, slot, style, product = scenario.message_name(action).split("/")
        ours = scenario.channels[rules.channel_of[action]]
        assert ours.name == channel
        assert scenario.slots[rules.slot_of[action]] == slot
        assert styles[rules.style_of[action]] == style
        assert scenario.products[rules.product_of[action]] == product
        assert rules.load_of[action] == ours.load
        assert rules.cost_of[action] == ours.cost
        assert rules.discount_of[action] == scenario.styles[rules.style_of[action]].discount


@pytest.mark.parametrize("name", NAMES)
def test_rules_carry_the_numbers_of_the_scenario(name: str) -> None:
    scenario, rules = SCENARIOS[name], population.rules(SCENARIOS[name], np.float64)
    for field in ("open_bond", "open_relevance", "open_fatigue", "open_slot", "block_relevance", "block_bond",
                  "buy_relevance", "buy_bond", "buy_fatigue", "organic_bond", "churn_bond", "churn_overload",
                  "win_back_bond", "win_back_order"):  # fmt: skip
        assert getattr(rules, field) == getattr(scenario.response, field), field
    for field in ("overload", "order", "block", "relevant_open", "neutral_relevance"):
        assert getattr(rules, f"bond_{field}") == getattr(scenario.bond, field), field
    for field in ("season", "tolerance_drift", "drift_days"):
        assert getattr(rules, field) == getattr(scenario.calendar, field), field
    assert (rules.margin, rules.order_log_sd) == (scenario.commerce.margin, scenario.commerce.order_log_sd)
    assert rules.fatigue_decay**scenario.fatigue.half_life == pytest.approx(0.5)
    assert rules.bond_decay**scenario.bond.half_life == pytest.approx(0.5)
    assert rules.fatigue_step * (rules.fatigue_levels - 1) == pytest.approx(scenario.fatigue.top)
    assert rules.bond_step * (rules.bond_levels - 1) == pytest.approx(1.0)
    assert 1.0 - math.exp(-math.exp(rules.churn_log_rate)) == pytest.approx(scenario.response.churn_probability)
    assert -math.log1p(-rules.spill_over) == pytest.approx(scenario.response.spill_over)
    rates = [each.win_back_rate for each in scenario.channels]
    assert 1.0 - np.exp(-np.exp(rules.win_back_log_rate[:, 0])) == pytest.approx(rates, abs=1e-12)
    assert rules.win_back is any(rate > 0 for rate in rates)


@pytest.mark.parametrize("name", NAMES)
def test_newcomers_start_alike_and_reachable_where_opted_in(name: str) -> None:
    scenario = SCENARIOS[name]
    traits = draw(scenario, 500)
    state, rules = population.newcomers(scenario, traits), population.rules(scenario)
    assert np.array_equal(state.reachable, traits.opted_in)
    assert not np.shares_memory(state.reachable, traits.opted_in)
    assert state.alive.all()
    assert len(set(state.fatigue.tolist())) == len(set(state.bond.tolist())) == 1
    assert abs(state.fatigue[0] * rules.fatigue_step - scenario.fatigue.start) <= rules.fatigue_step / 2
    assert abs(state.bond[0] * rules.bond_step - scenario.bond.start) <= rules.bond_step / 2
