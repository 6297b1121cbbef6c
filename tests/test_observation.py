"""The sender sees the firm's log in bounded, named columns, and nothing that the firm could not know."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, observation, population
from blockenv.dynamics import Outcome, Rules, State, Traits
from blockenv.history import History, part_names
from blockenv.observation import FEATURES, HIDDEN, TENURE_DAYS
from blockenv.scenarios import SCENARIOS, Scenario, get

DETERMINISTIC = settings(deadline=None, derandomize=True, max_examples=60)
NAMES = list(SCENARIOS)
FULL = {name: get({"base": name, "observe": "full"}) for name in NAMES}
CUSTOMERS = 48


def morning_after(
    scenario: Scenario, days: int, daily: bool = False, customers: int = CUSTOMERS, seed: int = 1
) -> Iterator[tuple[Rules, Traits, State, History]]:
    """Each morning of customers under a random policy, or one that sends every day; starts before the first day."""
    rules, ledger = population.rules(scenario), history.ledger(scenario)
    seeds, row = np.full(customers, seed, np.uint64), np.arange(customers)
    traits = population.draw(scenario, seeds, row)
    key, space = noise.address(seeds, noise.LUCK, row), noise.workspace(customers, len(scenario.channels))
    state, log = population.newcomers(scenario, traits), history.begin(ledger, traits.opted_in)
    rng = np.random.default_rng(seed)
    yield rules, traits, state, log
    for _ in range(days):
        sends = daily | (rng.random(customers) < 0.3)
        # Each customer keeps to one message when it comes daily, so that its windows fill to the brim.
        action = np.where(sends, 1 + (row if daily else rng.integers(0, 10**6, customers)) % (scenario.actions - 1), 0)
        state, outcome = dynamics.step(rules, traits, state, log.day, action, noise.luck(key, log.day, space), row)
        log = history.update(ledger, log, action, outcome)
        yield rules, traits, state, log


def last_morning(scenario: Scenario, days: int, **kwargs: Any) -> tuple[Rules, Traits, State, History]:
    *_, last = morning_after(scenario, days, **kwargs)
    return last


def hidden(scenario: Scenario, rules: Rules, state: State, traits: Traits) -> NDArray[np.float32]:
    segments = np.arange(len(scenario.segments))[:, None]
    found: NDArray[np.float32] = observation.observe_hidden(rules, observation.view(scenario), state, traits, segments)
    return found


def assert_within(scenario: Scenario, seen: NDArray[np.float32]) -> None:
    low, high = observation.bounds(scenario)
    for name, columns in observation.layout(scenario).items():
        assert np.all(seen[:, columns] >= low[columns]), name
        assert np.all(seen[:, columns] <= high[columns]), name


# --- columns ---


@pytest.mark.parametrize(
    "scenario", [*SCENARIOS.values(), *FULL.values()], ids=lambda each: f"{each.name}-{each.observe}"
)
def test_the_layout_covers_every_column_exactly_once(scenario: Scenario) -> None:
    rules, traits, state, log = last_morning(scenario, 3)
    seen = observation.observe(observation.view(scenario), log, traits)
    if scenario.observe == "full":
        seen = np.concatenate([seen, hidden(scenario, rules, state, traits)], axis=1)
    layout = observation.layout(scenario)
    assert list(layout) == list(FEATURES) + (list(HIDDEN) if scenario.observe == "full" else [])
    covered = [column for columns in layout.values() for column in range(columns.start, columns.stop)]
    assert covered == list(range(seen.shape[1]))
    assert all(columns.start < columns.stop for columns in layout.values())
    low, high = observation.bounds(scenario)
    assert low.shape == high.shape == (seen.shape[1],)
    assert low.dtype == high.dtype == seen.dtype == np.float32
    assert np.all(low < high)


def test_features_explain_themselves() -> None:
    for name, feature in (FEATURES | HIDDEN).items():
        assert feature.meaning.strip(), name
        assert feature.low < feature.high, name
    assert not set(FEATURES) & set(HIDDEN)


def test_the_full_observation_begins_with_the_ordinary_one() -> None:
    for name in NAMES:
        ordinary, full = observation.layout(SCENARIOS[name]), observation.layout(FULL[name])
        assert {feature: full[feature] for feature in ordinary} == ordinary


# --- bounds ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("daily", [False, True])
def test_observations_stay_within_their_bounds(name: str, daily: bool) -> None:
    scenario, view = FULL[name], observation.view(FULL[name])
    for rules, traits, state, log in morning_after(scenario, 420, daily=daily):
        if log.day[0] % 7 == 0 or log.day[0] < 7:
            seen = observation.observe(view, log, traits)
            assert_within(scenario, np.concatenate([seen, hidden(scenario, rules, state, traits)], axis=1))


@pytest.mark.parametrize("name", ["Frequency-v0", "Omnichannel-v0"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_filled_to_the_brim_stay_within_their_bounds(name: str, dtype: type) -> None:
    """The same message delivered, opened and answered by an order every day, until nothing moves any more."""
    scenario = SCENARIOS[name]
    rules, ledger = population.rules(scenario, dtype), history.ledger(scenario, dtype)
    count = min(scenario.actions - 1, 16)
    traits = population.draw(scenario, np.full(count, 1, np.uint64), np.arange(count), dtype)
    action, yes, no = np.arange(1, count + 1), np.ones(count, bool), np.zeros(count, bool)
    zeros: NDArray[Any] = np.zeros(count, dtype)
    tables = np.zeros((len(scenario.channels), count), bool)
    outcome = Outcome(
        sent=yes,
        delivered=yes,
        opened=yes,
        ordered=yes,
        prompted=yes,
        blocked=tables,
        reopened=tables,
        churned=no,
        order_value=zeros + 1e9,
        **dict.fromkeys(
            ("margin", "discount", "cost", "reward", "expected_reward", "churn_probability", "overload", "relevance"),
            zeros,
        ),
    )
    log = history.begin(ledger, np.ones_like(tables), dtype)
    for _ in range(3000):
        log = history.update(ledger, log, action, outcome)
    seen = observation.observe(observation.view(scenario, dtype), log, traits)
    assert_within(scenario, seen)
    layout = observation.layout(scenario)
    assert seen[:, layout["sent"]].max() == pytest.approx(1.0, abs=1e-4)
    assert seen[:, layout["recent"]].max() == pytest.approx(1.0, abs=1e-4)
    assert seen[:, layout["order_value"]].max() == pytest.approx(1.0, abs=1e-4)
    assert rules.fatigue_levels == scenario.fatigue.levels


# --- what is seen ---


@pytest.mark.parametrize("name", NAMES)
def test_a_newcomer_is_a_blank_page(name: str) -> None:
    scenario = SCENARIOS[name]
    _, traits, _, log = next(morning_after(scenario, 0))
    seen, layout = observation.observe(observation.view(scenario), log, traits), observation.layout(scenario)
    assert np.array_equal(seen[:, layout["reachable"]], traits.opted_in.T)
    assert np.array_equal(seen[:, layout["hints"]], traits.hints)
    for feature in ("sent", "recent", "prompted", "orders", "tenure"):
        assert not np.any(seen[:, layout[feature]]), feature
    assert seen[:, layout["open_rate"]] == pytest.approx(0.2)
    assert seen[:, layout["order_value"]] == pytest.approx(0.5)
    assert seen[:, layout["recency"]].max() < 0.05


@pytest.mark.parametrize("name", ["Timing-v0", "Omnichannel-v0", "Silent-v0"])
def test_columns_say_what_they_mean(name: str) -> None:
    """Each column from the log of one customer at a time, with plain numbers."""
    scenario = SCENARIOS[name]
    _, traits, _, log = last_morning(scenario, 200)
    seen, layout = observation.observe(observation.view(scenario), log, traits), observation.layout(scenario)
    typical = scenario.commerce.order_value
    for row in range(CUSTOMERS):
        orders, spend = float(log.lifetime_orders[row]), float(log.lifetime_spend[row])
        mean = spend / orders if orders else typical
        date = int(log.day[row] + traits.joined[row])
        week, year = 2 * math.pi * (date % 7) / 7, 2 * math.pi * (date % 364) / 364
        always = 1 / (1 - 0.5 ** (1 / 60))
        recently = 1 / (1 - 0.5 ** (1 / 7))
        expected = {
            "reachable": log.known_reachable[:, row],
            "sent": [math.sqrt(each / always) for each in log.sent[row]],
            "recent": [each / recently for each in log.recent[row]],
            "open_rate": (log.opened[row] + 0.4) / (log.sent[row] + 2.0),
            "prompted": [min(1.0, math.sqrt(each / 4)) for each in log.prompted[row]],
            "recency": [
                1 / (1 + log.since_send[row] / 7),
                1 / (1 + log.since_open[row] / 14),
                1 / (1 + log.since_order[row] / 30),
            ],
            "orders": [min(1.0, math.sqrt(log.orders[row] / 20))],
            "order_value": [mean / (mean + typical)],
            "tenure": [min(1.0, log.day[row] / 364)],
            "date": [date % 7 in (5, 6), math.sin(week), math.cos(week), math.sin(year), math.cos(year)],
            "hints": traits.hints[row],
        }
        assert set(expected) == set(layout)
        for feature, columns in layout.items():
            assert seen[row, columns] == pytest.approx(np.asarray(expected[feature], float), abs=2e-5), feature


def test_every_part_has_its_columns() -> None:
    scenario = SCENARIOS["Omnichannel-v0"]
    layout = observation.layout(scenario)
    for feature in ("sent", "open_rate", "prompted"):
        assert layout[feature].stop - layout[feature].start == len(part_names(scenario))


@pytest.mark.parametrize("name", NAMES)
def test_the_weekend_seen_is_the_weekend_lived(name: str) -> None:
    scenario = SCENARIOS[name]
    rules, traits, _, log = last_morning(scenario, 9)
    seen = observation.observe(observation.view(scenario), log, traits)
    column = observation.layout(scenario)["date"].start
    assert np.array_equal(seen[:, column], dynamics.today(rules, traits, log.day).weekend)


def test_tenure_saturates_so_that_long_evaluations_show_nothing_unseen() -> None:
    scenario = SCENARIOS["Frequency-v0"]
    _, traits, _, log = last_morning(scenario, 1)
    column, view = observation.layout(scenario)["tenure"], observation.view(scenario)
    for day, expected in ((0, 0.0), (TENURE_DAYS // 2, 0.5), (TENURE_DAYS, 1.0), (3 * TENURE_DAYS, 1.0)):
        aged = log._replace(day=np.full(CUSTOMERS, day))
        assert np.all(observation.observe(view, aged, traits)[:, column] == np.float32(expected))


def test_a_year_is_seen_again_the_next_year() -> None:
    scenario = SCENARIOS["Drift-v0"]
    _, traits, _, log = last_morning(scenario, 1)
    view, columns = observation.view(scenario), observation.layout(scenario)["date"]
    early, late = (observation.observe(view, log._replace(day=log.day + each), traits) for each in (10, 10 + 364))
    assert np.array_equal(early[:, columns], late[:, columns])


# --- what is not seen ---


@DETERMINISTIC
@given(st.sampled_from(NAMES), st.integers(0, 2**32 - 1))
def test_hidden_traits_leave_no_trace(name: str, seed: int) -> None:
    """Other traits with the same log, joining day and hints look the same, whatever they are."""
    scenario, rng = SCENARIOS[name], np.random.default_rng(seed)
    _, traits, _, log = last_morning(scenario, 4, customers=9)
    seen = observation.observe(observation.view(scenario), log, traits)
    garbled = traits._replace(
        **{
            field: rng.normal(size=values.shape) * 1e3
            for field, values in traits._asdict().items()
            if field not in ("joined", "hints")
        }
    )
    assert np.array_equal(observation.observe(observation.view(scenario), log, garbled), seen)


def test_of_the_traits_only_joining_day_and_hints_are_read() -> None:
    scenario = SCENARIOS["Omnichannel-v0"]
    _, traits, _, log = last_morning(scenario, 4)
    bare = traits._replace(**{field: None for field in Traits._fields if field not in ("joined", "hints")})
    view = observation.view(scenario)
    assert np.array_equal(observation.observe(view, log, bare), observation.observe(view, log, traits))


def test_silent_blocks_change_nothing_that_is_seen() -> None:
    """Where blocks are never disclosed, a customer who blocked everything looks like one who just ignores the firm."""
    scenario = SCENARIOS["Silent-v0"]
    rules, ledger, view = population.rules(scenario), history.ledger(scenario), observation.view(scenario)
    channels, row = len(scenario.channels), np.arange(200)
    traits = population.draw(scenario, np.full(200, 5, np.uint64), row)
    deaf = traits._replace(open_logit=traits.open_logit * 0 - 60.0, opted_in=np.ones_like(traits.opted_in))
    # The largest luck short of 1: nobody blocks, orders or leaves unless it is certain.
    calm = noise.Noise(
        **{name: np.full(200, 1 - 2**-24, np.float32) for name in noise.SCALARS},
        channel=np.full((channels, 200), 1 - 2**-24, np.float32),
    )
    seen = []
    for reachable in (np.ones((channels, 200), bool), np.zeros((channels, 200), bool)):
        state = population.newcomers(scenario, deaf)._replace(reachable=reachable)
        log = history.begin(ledger, deaf.opted_in)
        for day in range(10):
            action = (row * 7 + day * 13) % scenario.actions
            state, outcome = dynamics.step(rules, deaf, state, log.day, action, calm, row)
            assert not np.any(outcome.opened | outcome.ordered)
            log = history.update(ledger, log, action, outcome)
        assert outcome.delivered.any() == reachable.any()
        seen.append(
            np.concatenate(
                [observation.observe(view, log, deaf), observation.legal_actions(rules, log.known_reachable)], axis=1
            )
        )
    assert np.array_equal(seen[0], seen[1])


# --- legal actions ---


@pytest.mark.parametrize("name", NAMES)
def test_an_action_is_legal_unless_its_channel_is_known_to_be_blocked(name: str) -> None:
    scenario, rng = SCENARIOS[name], np.random.default_rng(1)
    rules, channels = population.rules(scenario), [each.name for each in scenario.channels]
    known = rng.random((len(channels), 20)) < 0.5
    known[:, 0], known[:, 1] = True, False
    legal = observation.legal_actions(rules, known)
    assert legal.shape == (20, scenario.actions)
    assert legal.dtype == np.bool_
    assert legal[:, 0].all()
    assert legal[0].all()
    assert legal[1].sum() == 1
    for action in range(1, scenario.actions):
        channel = channels.index(scenario.message_name(action).split("/")[0])
        assert np.array_equal(legal[:, action], known[channel])


# --- the full observation ---


@pytest.mark.parametrize("name", NAMES)
def test_the_full_observation_shows_the_hidden_state(name: str) -> None:
    scenario = FULL[name]
    rules, traits, state, _ = last_morning(scenario, 60)
    shown = hidden(scenario, rules, state, traits)
    first = observation.layout(scenario)["true_fatigue"].start
    column = {
        feature: slice(each.start - first, each.stop - first) for feature, each in observation.layout(scenario).items()
    }
    expected = {
        "true_fatigue": [state.fatigue / (scenario.fatigue.levels - 1)],
        "true_bond": [state.bond / (scenario.bond.levels - 1)],
        "true_reachable": list(state.reachable),
        "true_segment": [traits.segment == each for each in range(len(scenario.segments))],
        "true_worth": [
            np.log(traits.organic_rate * 364),
            traits.order_log_value - math.log(scenario.commerce.order_value),
        ],
        "true_temper": [traits.ideal_load / 4, traits.churn_contact, traits.weekend_block, traits.resting_bond],
        "true_open_logit": [
            mine - channel.open_logit for mine, channel in zip(traits.open_logit, scenario.channels, strict=True)
        ],
        "true_buy_logit": [
            mine - channel.buy_logit for mine, channel in zip(traits.buy_logit, scenario.channels, strict=True)
        ],
        "true_block_log_rate": [
            mine - math.log(max(-math.log1p(-channel.block_probability), population.NEVER))
            for mine, channel in zip(traits.block_log_rate, scenario.channels, strict=True)
        ],
        "true_slot_block": list(traits.slot_block),
        "true_style_block": list(traits.style_block),
        "true_style_buy": list(traits.style_buy),
        "true_relevance": list(traits.relevance),
    }
    assert set(expected) == set(HIDDEN)
    for feature, values in expected.items():
        values_in_bounds = np.clip(np.stack(values, axis=1), HIDDEN[feature].low, HIDDEN[feature].high)
        np.testing.assert_allclose(shown[:, column[feature]], values_in_bounds, atol=1e-3, err_msg=feature)


def test_the_full_observation_can_be_asked_for_in_a_scenario_file() -> None:
    assert FULL["Style-v0"].observe == "full"
    assert FULL["Style-v0"].digest != SCENARIOS["Style-v0"].digest
