"""Playing a policy gives what the formulas say, customer by customer, however the work is split."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blockenv import EVALUATION_SEED, SCENARIOS, Cohort, Informed, Placed, Policy, Result, Scenario, ScenarioError, play
from blockenv.rollout import checked_actions, policy_generator
from blockenv.scenarios import get
from blockenv.scenarios.schema import Spread

Actions = NDArray[np.integer[Any]]
PER_CUSTOMER = [name for name in Result._fields if not name.startswith("daily_")]
DAILY = [name for name in Result._fields if name.startswith("daily_")]


class Silence:
    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        return np.zeros(len(observation), np.int64)


class LastLegal:
    """Sends whatever legal message has the highest number, every day."""

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        return np.asarray(action_mask.shape[1] - 1 - action_mask[:, ::-1].argmax(axis=1))


class Attentive:
    """Chooses by what it sees, another message every day."""

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        assert observation.dtype == np.float32
        assert action_mask.dtype == np.bool_
        wish = np.floor(1e4 * np.abs(observation).sum(axis=1)).astype(np.int64) % action_mask.shape[1]
        return np.where(action_mask[np.arange(len(wish)), wish], wish, 0)


class Coins:
    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        return rng.integers(action_mask.shape[1], size=len(observation))


class Vandal(LastLegal):
    """Writes into everything it is shown, after choosing."""

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        chosen = super().act(observation, action_mask, rng)
        observation[:], action_mask[:] = 7.0, False
        return chosen


class ByNumber(Silence):
    """Sees the customers themselves, and serves them by number and day."""

    def meet(self, cohort: Cohort) -> None:
        self.chosen = (cohort.customer * 31 + cohort.log.day * 7) % cohort.scenario.actions

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        assert len(observation) == len(self.chosen)
        return np.asarray(self.chosen)


class Recogniser(LastLegal):
    """Keeps the numbers it is told each morning."""

    def __init__(self) -> None:
        self.told: list[Actions] = []

    def recognise(self, customers: Actions) -> None:
        self.told.append(customers.copy())
        customers[:] = -1

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        assert len(observation) == len(self.told[-1])
        return super().act(observation, action_mask, rng)


class ByPlace(Recogniser):
    """Serves everybody by the place in the batch on the first day, and keeps the rows that it is told are kept."""

    def __init__(self, customers: int) -> None:
        super().__init__()
        self.place = np.arange(customers)
        self.kept: list[NDArray[np.bool_]] = []

    def keep_rows(self, rows: NDArray[np.bool_]) -> None:
        assert len(rows) == len(self.place)
        self.place = self.place[rows]
        self.kept.append(rows.copy())
        rows[:] = False

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        assert len(observation) == len(self.place)
        return np.asarray(self.place % 3 % action_mask.shape[1])


class Always:
    def __init__(self, action: Any) -> None:
        self.action = action

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Actions:
        return np.full(len(observation), self.action)


DETERMINISTIC = [Silence, LastLegal, Attentive, ByNumber]


def world(**changes: Any) -> Scenario:
    """Customers who churn with a constant probability and stay as they are, whatever is sent to them."""
    segment = {
        "name": "anybody",
        "weight": 1.0,
        "ideal_load": 3.0,
        "reactance": 0.0,
        "reciprocity": 0.0,
        "churn_contact": 0.0,
        "resting_bond": 0.4,
        "organic_rate": 0.05,
    }
    nothing = dict.fromkeys(("relevant_open", "overload", "order", "block"), 0.0)
    alike = {name: 0.0 for name in Spread.model_fields if name != "organic_shape"}
    fields: dict[str, Any] = {
        "base": "Frequency-v0",
        "segments": [segment],
        "spread": {**alike, "organic_shape": 4.0},
        "bond": {"start": 0.4, **nothing},
        "response": {"churn_probability": 0.002, "churn_bond": 0.0, "churn_overload": 0.0},
        "discount": 0.99,
    }
    for name, value in changes.items():
        fields[name] = {**fields[name], **value} if isinstance(fields.get(name), dict) else value
    return get(fields)


def assert_same(one: Result, other: Result) -> None:
    for name in PER_CUSTOMER:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in DAILY:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9, err_msg=name)


# --- However the work is split ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", DETERMINISTIC)
def test_results_do_not_depend_on_the_batch(policy: Callable[[], Policy]) -> None:
    whole = play(policy(), "Omnichannel-v0", seed=3, customers=150, days=60)
    for batch in (7, 64, 150):
        assert_same(play(policy(), "Omnichannel-v0", seed=3, customers=150, days=60, batch=batch), whole)


def test_shards_put_together_are_the_whole() -> None:
    whole = play(Attentive(), "Winback-v0", seed=3, customers=90, days=50)
    shards = [
        play(Attentive(), "Winback-v0", seed=3, customers=size, days=50, first_customer=first)
        for first, size in ((0, 40), (40, 30), (70, 20))
    ]
    for name in PER_CUSTOMER:
        joined = np.concatenate([getattr(shard, name) for shard in shards], axis=-1)
        np.testing.assert_array_equal(joined, getattr(whole, name), err_msg=name)
    for name in DAILY:
        mean = sum(len(shard.value) * getattr(shard, name) for shard in shards) / 90
        np.testing.assert_allclose(mean, getattr(whole, name), rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(DETERMINISTIC),
    st.sampled_from([0.0, 0.004, 0.02, 0.1]),
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(1, 95),
)
def test_results_depend_neither_on_the_batch_nor_on_leaving_out_the_dead(
    policy: Callable[[], Policy], churn: float, customers: int, batch: int, days: int
) -> None:
    scene = world(channels=[_push(), {**_push(), "name": "mail"}], response={"churn_probability": churn})
    whole = play(policy(), scene, 3, customers, days=days, compact=False)
    assert_same(play(policy(), scene, 3, customers, days=days, batch=batch), whole)


def test_who_goes_by_the_place_of_a_row_is_told_which_rows_are_kept() -> None:
    scene = world(channels=[_push(), {**_push(), "name": "mail"}], response={"churn_probability": 0.01})
    policy = ByPlace(90)
    assert isinstance(policy, Placed)
    assert not isinstance(Recogniser(), Placed)
    result = play(policy, scene, 3, 90, days=150)
    assert len(policy.kept) > 2
    told, kept = policy.told, iter(policy.kept)
    for before, after in pairwise(told):
        np.testing.assert_array_equal(before if len(before) == len(after) else before[next(kept)], after)
    assert next(kept, None) is None
    assert (np.bincount(result.messages > 0)[1:] > 40).all()
    unmoved = ByPlace(90)
    assert_same(result, play(unmoved, scene, 3, 90, days=150, compact=False))
    assert not unmoved.kept


def test_results_do_not_depend_on_what_was_played_before() -> None:
    first = play(Attentive(), "Style-v0", seed=3, customers=30, days=40)
    play(Coins(), "Style-v0", seed=3, customers=50, days=30)
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    assert_same(play(Attentive(), "Style-v0", seed=3, customers=30, days=40), first)


def test_a_policy_may_write_into_what_it_is_shown() -> None:
    honest = play(LastLegal(), "Winback-v0", seed=3, customers=40, days=60)
    assert honest.blocks.sum() > 20
    assert_same(play(Vandal(), "Winback-v0", seed=3, customers=40, days=60), honest)


def test_coins_are_addressed_by_seed_and_first_customer() -> None:
    arguments: dict[str, Any] = {"scenario": "Style-v0", "seed": 3, "customers": 40, "days": 30}
    assert_same(play(Coins(), **arguments), play(Coins(), **arguments))
    tosses = [policy_generator(seed, first).random(8) for seed, first in ((3, 0), (3, 0), (3, 1), (4, 0), (3, 2**32))]
    np.testing.assert_array_equal(tosses[0], tosses[1])
    assert len({each.tobytes() for each in tosses}) == 4


def test_policies_that_ask_are_shown_the_customers() -> None:
    assert isinstance(ByNumber(), Informed)
    assert not isinstance(Silence(), Informed)
    assert isinstance(Silence(), Policy)
    assert play(ByNumber(), "Style-v0", customers=20, days=10).messages.sum() > 50


# --- What the numbers are ---------------------------------------------------------------------------------------


def test_policies_that_remember_are_told_who_stands_in_which_row() -> None:
    leaving = world(response={"churn_probability": 0.02})
    policy, others = Recogniser(), np.array([5, 3, 900, 7, 2**40])
    result = play(policy, leaving, customers=others, days=90)
    np.testing.assert_array_equal(policy.told[0], others)
    # The dead are left out every four weeks; the living keep their order and numbers.
    for day in (28, 56, 84):
        np.testing.assert_array_equal(
            policy.told[min(day, len(policy.told) - 1)], others[result.days >= day], err_msg=str(day)
        )
    assert len(policy.told[-1]) < len(others)


@pytest.mark.parametrize("policy", [Silence, Attentive, LastLegal])
@pytest.mark.parametrize("scenario", ["Winback-v0", "mortal"])
def test_results_are_what_a_plain_loop_counts(policy: Callable[[], Policy], scenario: str) -> None:
    """Lost customers are dropped from the batch on the way; here nobody is."""
    dying = world(response={"churn_probability": 0.03}, channels=[{**_push(), "block_probability": 0.05}])
    scene = dying if scenario == "mortal" else SCENARIOS[scenario]
    size, days = 60, 80
    result = play(policy(), scene, seed=5, customers=size, days=days)
    if scenario == "mortal":
        assert (result.days == days).mean() < 0.5
    cohort, served, rng = Cohort(scene, np.full(size, 5, np.uint64), np.arange(size)), policy(), policy_generator(5, 0)
    value, realised, cost = np.zeros((3, size))
    counts = {name: np.zeros(size, int) for name in ("days", "messages", "blocks", "orders", "relevant", "overloaded")}
    for day in range(days):
        alive = cohort.state.alive
        assert result.daily_alive[day] == pytest.approx(alive.mean())
        np.testing.assert_allclose(result.daily_reach[day], (cohort.state.reachable & alive).mean(axis=1))
        if day == days - 1:
            np.testing.assert_array_equal(result.reach_after_year, cohort.state.reachable & alive)
        outcome = cohort.step(np.asarray(served.act(cohort.observe(), cohort.legal_actions().copy(), rng)))
        value += scene.discount**day * outcome.expected_reward
        realised += scene.discount**day * outcome.reward
        cost += outcome.cost + outcome.discount
        counts["days"] += alive
        counts["messages"] += outcome.sent
        counts["blocks"] += outcome.blocked.sum(axis=0)
        counts["orders"] += outcome.ordered
        counts["relevant"] += outcome.opened & (outcome.relevance > 0.5)
        counts["overloaded"] += outcome.overload > 0
    np.testing.assert_allclose(result.value, value, rtol=1e-9)
    np.testing.assert_allclose(result.realised, realised, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.cost, cost, rtol=1e-9)
    for name, count in counts.items():
        np.testing.assert_array_equal(getattr(result, name), count, err_msg=name)


def test_daily_curves_and_totals_agree() -> None:
    scene = SCENARIOS["Winback-v0"].model_copy(update={"discount": 1.0})
    result = play(LastLegal(), scene, seed=3, customers=300, days=70, batch=128)
    for curve, total in (("daily_messages", "messages"), ("daily_blocks", "blocks"), ("daily_alive", "days")):
        assert getattr(result, curve).sum() * 300 == pytest.approx(getattr(result, total).sum()), curve
    assert result.daily_value.sum() * 300 == pytest.approx(result.value.sum(), rel=1e-5)
    np.testing.assert_allclose(result.daily_reach[0], result.opted_in.mean(axis=1))
    np.testing.assert_allclose(result.daily_reach[-1], result.reach_after_year.mean(axis=1))
    assert (np.diff(result.daily_alive) <= 1e-12).all()
    assert result.blocks.sum() > 300


def test_reach_is_taken_after_a_year() -> None:
    result = play(Silence(), world(response={"churn_probability": 0.003}), seed=3, customers=300, days=420)
    np.testing.assert_allclose(result.reach_after_year.mean(axis=1), result.daily_reach[364])
    assert result.daily_reach[363] > result.daily_reach[365] > result.daily_reach[-1]


def test_shapes_and_types_are_as_declared() -> None:
    result = play(Attentive(), "Omnichannel-v0", customers=11, days=13)
    channels = len(SCENARIOS["Omnichannel-v0"].channels)
    for name in PER_CUSTOMER:
        shape = (channels, 11) if name in ("reach_after_year", "opted_in") else (11,)
        assert getattr(result, name).shape == shape, name
    for name in DAILY:
        assert getattr(result, name).shape == ((13, channels) if name == "daily_reach" else (13,)), name
    assert {result.value.dtype, result.realised.dtype, result.cost.dtype} == {np.dtype(float)}
    assert {result.days.dtype, result.messages.dtype, result.orders.dtype} == {np.dtype(np.int64)}
    assert result.segment.dtype == np.int32


def test_the_window_and_the_seed_have_sensible_defaults() -> None:
    short = get({"base": "Frequency-v0", "evaluation_days": 9})
    result = play(Silence(), short, customers=5)
    assert len(result.daily_value) == 9
    assert_same(result, play(Silence(), short, EVALUATION_SEED, 5, days=9, first_customer=0))


def test_progress_counts_customer_days() -> None:
    done: list[int] = []
    play(Silence(), world(response={"churn_probability": 0.0}), customers=50, days=6, batch=20, progress=done.append)
    assert sum(done) == 50 * 6


# --- Paired luck and known answers ------------------------------------------------------------------------------


def test_policies_meet_the_same_customers_with_the_same_luck() -> None:
    """Where messages can neither sell nor harm, two policies see the very same orders and departures."""
    deaf = world(channels=[{**_push(), "buy_logit": -20.0}], response={"organic_bond": 0.0, "churn_probability": 0.005})
    silent = play(Silence(), deaf, seed=3, customers=400, days=90)
    loud = play(LastLegal(), deaf, seed=3, customers=400, days=90)
    assert loud.messages.sum() > 400 * 60
    assert silent.messages.sum() == 0
    for name in ("segment", "opted_in", "days", "orders"):
        np.testing.assert_array_equal(getattr(silent, name), getattr(loud, name), err_msg=name)
    assert (silent.days < 90).sum() > 50
    cost = _push()["cost"] * (1 - deaf.discount**silent.days) / (1 - deaf.discount)
    attempted = loud.messages == loud.days
    assert attempted.mean() > 0.5
    np.testing.assert_allclose((silent.realised - loud.realised)[attempted], cost[attempted], rtol=1e-3, atol=1e-6)


def test_pairing_makes_differences_less_noisy() -> None:
    one = play(Silence(), "Frequency-v0", seed=3, customers=1000, days=120)
    other = play(LastLegal(), "Frequency-v0", seed=3, customers=1000, days=120)
    stranger = play(LastLegal(), "Frequency-v0", seed=4, customers=1000, days=120)
    assert (other.realised - one.realised).var() < 0.5 * (stranger.realised - one.realised).var()


@pytest.mark.parametrize("policy", [Silence, Attentive, LastLegal])
def test_value_has_the_mean_of_what_was_realised(policy: Callable[[], Policy]) -> None:
    result = play(policy(), "Style-v0", seed=3, customers=4000, days=90)
    gap = result.realised - result.value
    assert abs(gap.mean()) < 5 * gap.std() / len(gap) ** 0.5
    assert gap.std() > 1.0


def _push() -> dict[str, Any]:
    return SCENARIOS["Frequency-v0"].channels[0].model_dump()


def _daily_worth(scene: Scenario, rate: Any) -> Any:
    """Expected margin a day of a customer with organic rate `rate` orders a day at bond 1/2, by hand."""
    commerce, response = scene.commerce, scene.response
    mean_order = commerce.order_value * np.exp(0.5 * commerce.order_log_sd**2)
    return commerce.margin * mean_order * -np.expm1(-rate * np.exp(response.organic_bond * (scene.bond.start - 0.5)))


def test_silence_is_an_annuity_where_nobody_leaves() -> None:
    scene, size, days = world(response={"churn_probability": 0.0}), 200, 150
    result = play(Silence(), scene, seed=3, customers=size, days=days)
    rate = Cohort(scene, np.full(size, 3, np.uint64), np.arange(size)).traits.organic_rate.astype(float)
    annuity = (1 - scene.discount**days) / (1 - scene.discount)
    np.testing.assert_allclose(result.value, _daily_worth(scene, rate) * annuity, rtol=1e-5)
    assert rate.std() > 0.01


def test_silence_is_a_mortal_annuity_where_customers_leave() -> None:
    scene, size, days = world(response={"churn_probability": 0.01}), 8000, 150
    result = play(Silence(), scene, seed=3, customers=size, days=days)
    rate = Cohort(scene, np.full(size, 3, np.uint64), np.arange(size)).traits.organic_rate.astype(float)
    factor = scene.discount * 0.99
    annuity = (1 - factor**days) / (1 - factor)
    gap = result.value - _daily_worth(scene, rate) * annuity
    assert abs(gap.mean()) < 4 * gap.std() / size**0.5
    survival = 0.99 ** np.arange(days)
    error = np.sqrt(survival * (1 - survival) / size)
    assert (np.abs(result.daily_alive - survival) <= 4.5 * error + 1e-12).all()


def test_silence_is_worth_what_the_gamma_distribution_says() -> None:
    """Over Gamma rates of shape k and mean m, the mean of 1 - exp(-c rate) is 1 - (1 + c m / k)^-k."""
    scene, size, days = world(response={"churn_probability": 0.0, "organic_bond": 0.0}), 20_000, 2
    result = play(Silence(), scene, seed=3, customers=size, days=days)
    shape, mean = scene.spread.organic_shape, scene.segments[0].organic_rate
    mean_order = scene.commerce.order_value * np.exp(0.5 * scene.commerce.order_log_sd**2)
    probability = 1 - (1 + mean / shape) ** -shape
    expected = scene.commerce.margin * mean_order * probability * (1 + scene.discount)
    assert abs(result.value.mean() - expected) < 4 * result.value.std() / size**0.5


def test_attempts_that_cannot_arrive_cost_an_annuity() -> None:
    scene = world(channels=[{**_push(), "opt_in": 0.0, "cost": 0.02}], response={"churn_probability": 0.0})
    silent, loud = (play(each, scene, seed=3, customers=50, days=40) for each in (Silence(), Always(1)))
    annuity = (1 - scene.discount**40) / (1 - scene.discount)
    np.testing.assert_allclose(silent.value - loud.value, 0.02 * annuity, rtol=1e-4)
    np.testing.assert_allclose(loud.cost, 0.02 * 40, rtol=1e-6)
    assert (loud.messages == 40).all()
    assert not loud.reach_after_year.any()


# --- Errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["customers", "days", "batch"])
def test_counts_below_one_are_named(name: str) -> None:
    counts: dict[str, Any] = {"customers": 3, "days": 3, "batch": 3, name: 0}
    with pytest.raises(ValueError, match=f"{name}: .*expected a"):
        play(Silence(), "Frequency-v0", **counts)


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(ScenarioError, match="'Nowhere-v0'"):
        play(Silence(), "Nowhere-v0", customers=3)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (1.0, "dtype float64, expected integers"),
        (True, "dtype bool"),
        (-1, r"action\[0\]: -1"),
        (2, r"action\[0\]: 2 is not"),
    ],
)
def test_bad_actions_of_a_policy_are_named(action: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        play(Always(action), "Frequency-v0", customers=3, days=3)


def test_actions_are_checked_and_made_int64() -> None:
    checked = checked_actions(np.array([0, 3], np.uint8), 2, 4)
    assert checked.tolist() == [0, 3]
    assert checked.dtype == np.int64
    with pytest.raises(ValueError, match=r"action: shape \(2,\), expected \(3,\)"):
        checked_actions([0, 1], 3, 4)
