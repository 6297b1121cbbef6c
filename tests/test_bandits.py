"""The bandits' linear algebra equals what NumPy computes the long way, and their draws are draws of the posterior."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.agent import AgentError, Metrics, Unwatched, training_seed
from agents.bandits import (
    _DRAWS,
    BanditSettings,
    LinearBandit,
    LinTS,
    LinUCB,
    PricedLinTS,
    PricedLinUCB,
    PricedSettings,
    _best_legal,
)
from agents.rules import random_legal
from blockenv import history, play
from blockenv.cohort import Cohort
from blockenv.scenarios import get

WORLD = "Style-v0"
RIDGE = 0.7
Day = tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]


@functools.cache
def days(world: str = WORLD, customers: int = 60, count: int = 12) -> list[Day]:
    """Observation, context, action and expected reward of a few days of random messages."""
    bandit = LinUCB(get(world))
    cohort = Cohort(get(world), np.full(customers, 5, np.uint64), np.arange(customers))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        seen = cohort.observe()
        action = random_legal(cohort.legal_actions(), rng)
        reward = cohort.step(action).expected_reward.astype(np.float64)
        found.append((seen, bandit.context(seen), action, reward))
    return found


def features(context: NDArray[np.float64], action: NDArray[np.int64], world: str = WORLD) -> NDArray[np.float64]:
    """The model's features written out: the context for the customer, then once for each part of the message."""
    parts = history.ledger(get(world)).parts.astype(float)
    rows = [np.concatenate([[1.0], parts[each]]) for each in action]
    return np.array([np.kron(part, row) for part, row in zip(rows, context, strict=True)])


def taught(kind: type[LinearBandit], **settings: Any) -> Any:
    bandit = kind(get(WORLD), BanditSettings(ridge=RIDGE, **settings))
    for _, context, action, reward in days():
        bandit.update(context, action, reward)
    return bandit


def stacked() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    design = np.concatenate([features(context, action) for _, context, action, _ in days()])
    return design, np.concatenate([reward for _, _, _, reward in days()])


def test_posterior_mean_is_ridge_regression() -> None:
    design, reward = stacked()
    # Ridge as least squares with one more row for each coefficient.
    rows = np.concatenate([design, np.sqrt(RIDGE) * np.eye(design.shape[1])])
    expected = np.linalg.lstsq(rows, np.concatenate([reward, np.zeros(design.shape[1])]), rcond=None)[0]
    bandit = taught(LinUCB)
    np.testing.assert_allclose(bandit.mean, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(bandit._gram, design.T @ design + RIDGE * np.eye(design.shape[1]), rtol=1e-10)
    residual = reward - design @ expected
    # The closed form is that of the penalised sum of squares.
    np.testing.assert_allclose(bandit.noise() ** 2, (residual @ residual + RIDGE * expected @ expected) / len(reward))


def test_a_bandit_knows_nothing_before_its_first_day() -> None:
    bandit = LinTS(get(WORLD))
    assert bandit.noise() == 1.0
    assert (bandit.mean == 0).all()
    seen, *_ = days()[0]
    assert (bandit.act(seen, np.ones((len(seen), 7), bool), np.random.default_rng(0)) == 0).all()


def test_learning_from_a_batch_is_learning_row_by_row() -> None:
    batched, single = taught(LinTS), LinTS(get(WORLD), BanditSettings(ridge=RIDGE))
    for _, context, action, reward in days():
        for row in range(len(reward)):
            one = slice(row, row + 1)
            single.update(context[one], action[one], reward[one])
    np.testing.assert_allclose(single._gram, batched._gram, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(single.mean, batched.mean, rtol=1e-7, atol=1e-9)
    assert single.noise() == pytest.approx(batched.noise())


def test_context_is_what_it_says() -> None:
    bandit, (seen, context, *_) = LinUCB(get(WORLD)), days()[8]
    columns = bandit._columns
    assert context.dtype == np.float64
    assert (context[:, 0] == 1.0).all()
    np.testing.assert_array_equal(context[:, 1 : 1 + len(get(WORLD).segments)], seen[:, columns["hints"]])
    np.testing.assert_allclose(context[:, -2], seen[:, columns["recent"]].sum(axis=1))
    np.testing.assert_array_equal(context[:, -1], seen[:, columns["date"].start])


def test_scores_are_what_the_model_promises_beyond_silence() -> None:
    bandit = taught(LinUCB)
    _, context, *_ = days()[5]
    count = len(context)
    silence = features(context, np.zeros(count, np.int64)) @ bandit.mean
    scores = bandit._scores(context, bandit.mean)
    for action in range(7):
        promised = features(context, np.full(count, action)) @ bandit.mean - silence
        np.testing.assert_allclose(scores[:, action], promised, rtol=1e-7, atol=1e-9)


def test_confidence_bounds_are_the_quadratic_forms_of_all_actions() -> None:
    bandit = taught(LinUCB)
    inverse = np.linalg.inv(bandit._gram)
    # More rows than one chunk, so that its borders are crossed.
    context = np.concatenate([context for _, context, _, _ in days()])
    assert len(context) > 512
    widths = bandit._widths(context)
    for action in range(7):
        phi = features(context, np.full(len(context), action))
        # Silence is nothing to be unsure about: what all actions share is left out.
        phi[:, : context.shape[1]] = 0.0
        expected = np.sqrt(np.einsum("ni,ij,nj->n", phi, inverse, phi))
        np.testing.assert_allclose(widths[:, action], expected, rtol=1e-7, atol=1e-9)
    assert (widths[:, 0] == 0).all()


def test_optimism_takes_the_largest_legal_bound() -> None:
    bandit = taught(LinUCB, explore=2.0)
    _, context, *_ = days()[5]
    mask = np.random.default_rng(3).random((len(context), 7)) < 0.6
    mask[:, 0] = True
    bound = bandit._scores(context, bandit.mean) + 2.0 * bandit.noise() * bandit._widths(context)
    chosen = bandit.explore(context, mask, np.random.default_rng(0))
    for row, action in enumerate(chosen):
        legal = np.flatnonzero(mask[row])
        assert action == legal[bound[row, legal].argmax()]
    assert len(set(chosen.tolist())) > 3


def test_without_exploration_learning_is_acting() -> None:
    seen, context, *_ = days()[5]
    mask = np.ones((len(context), 7), bool)
    for kind in (LinUCB, LinTS):
        bandit = taught(kind, explore=0.0)
        greedy = bandit.act(seen, mask, np.random.default_rng(0))
        np.testing.assert_array_equal(bandit.explore(context, mask, np.random.default_rng(0)), greedy)


def promises(bandit: LinTS, context: NDArray[np.float64], seed: int, mornings: int) -> NDArray[np.float64]:
    """What the drawn models promise (mornings, N, A), noted where `explore` looks for the best."""
    noted = []

    def noting(scores: NDArray[np.float64], mask: NDArray[np.bool_]) -> Any:
        noted.append(scores.copy())
        return _best_legal(scores, mask)

    rng, mask = np.random.default_rng(seed), np.ones((len(context), 7), bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.bandits._best_legal", noting)
        for _ in range(mornings):
            bandit.explore(context, mask, rng)
    return np.array(noted)


def test_thompson_draws_have_the_mean_and_covariance_of_the_posterior() -> None:
    bandit = taught(LinTS, explore=1.5)
    _, context, *_ = days()[5]
    one, actions = context[:1], np.arange(1, 7)
    drawn = promises(bandit, one, 0, 3000)[:, 0]
    assert (drawn[:, 0] == 0).all(), "silence promises nothing, whatever the model"
    drawn = drawn[:, 1:]
    phi = features(np.repeat(one, 6, axis=0), actions)
    phi[:, : one.shape[1]] = 0.0
    covariance = (1.5 * bandit.noise()) ** 2 * phi @ np.linalg.inv(bandit._gram) @ phi.T
    variance = np.diag(covariance)
    mean_error = (drawn.mean(axis=0) - phi @ bandit.mean) / np.sqrt(variance / 3000)
    assert np.abs(mean_error).max() < 4
    tolerance = np.sqrt((np.outer(variance, variance) + covariance**2) / 3000)
    assert (np.abs(np.cov(drawn.T) - covariance) / tolerance).max() < 4
    assert np.abs(covariance / np.sqrt(np.outer(variance, variance)))[0, 1] > 0.1, "messages that share a part agree"


def test_customers_of_one_morning_meet_several_models() -> None:
    bandit = taught(LinTS)
    context = np.repeat(days()[5][1][:1], 500, axis=0)
    first, second = promises(bandit, context, 1, 2)
    assert 25 < len(np.unique(first[:, 1].round(12))) <= 32
    assert not np.isin(first[:, 1].round(12), second[:, 1].round(12)).any(), "drawn anew every morning"


@pytest.mark.parametrize("kind", [LinUCB, LinTS])
def test_exploring_is_legal_and_never_disturbs_the_model(kind: type[LinearBandit]) -> None:
    bandit = taught(kind)
    before = bandit.mean.copy(), bandit._gram.copy()
    _, context, *_ = days()[5]
    mask = np.random.default_rng(3).random((len(context), 7)) < 0.3
    mask[:, 0] = True
    chosen = bandit.explore(context, mask, np.random.default_rng(1))
    assert mask[np.arange(len(mask)), chosen].all()
    np.testing.assert_array_equal(bandit.mean, before[0])
    np.testing.assert_array_equal(bandit._gram, before[1])


def test_silence_wins_ties_and_illegal_messages_lose() -> None:
    scores = np.array([[0.0, 0.0, -1.0], [0.0, 5.0, 1.0], [0.0, 5.0, -1.0]])
    mask = np.array([[True, True, True], [True, False, True], [True, False, True]])
    np.testing.assert_array_equal(_best_legal(scores, mask), [0, 2, 0])


def test_a_price_on_blocks_is_charged() -> None:
    free = LinUCB(get("Frequency-v0"), BanditSettings(customers=256, days=40))
    dear = LinUCB(get("Frequency-v0"), BanditSettings(customers=256, days=40, block_price=500.0))
    for bandit in (free, dear):
        bandit.fit(0, Unwatched())
    sent = [play(bandit, "Frequency-v0", customers=200, days=30).messages.sum() for bandit in (free, dear)]
    assert sent[1] < 0.5 * sent[0]


@pytest.mark.parametrize("kind", [PricedLinUCB, PricedLinTS])
def test_the_price_kept_is_the_one_worth_most_to_training_customers(kind: Any) -> None:
    settings = PricedSettings(customers=64, days=28, prices=[0.0, 5.0, 200.0], trial_customers=64, trial_days=56)
    agent = kind(get("Frequency-v0"), settings)
    agent.fit(2, Unwatched())
    values = {}
    for price in settings.prices:
        alone = kind.__mro__[2](get("Frequency-v0"), BanditSettings(customers=64, days=28, block_price=price))
        alone.fit(2, Unwatched())
        values[price] = play(alone, "Frequency-v0", training_seed(2, 2), 64, days=56).value.mean()
        if price == agent.settings.block_price:
            np.testing.assert_array_equal(alone.mean, agent.mean)
    assert values[agent.settings.block_price] == max(values.values())


@pytest.mark.parametrize("reward", ["expected", "realised"])
def test_it_learns_from_what_it_is_told_to(reward: str) -> None:
    bandit = LinUCB(get(WORLD), BanditSettings(customers=32, days=1, reward=reward))
    bandit.fit(1, Unwatched())
    cohort = Cohort(get(WORLD), np.full(32, training_seed(1), np.uint64), np.arange(32))
    fresh = LinUCB(get(WORLD), BanditSettings(customers=32, days=1))
    context = fresh.context(cohort.observe())
    rng = np.random.Generator(np.random.Philox(key=[training_seed(1), 1]))
    action = fresh.explore(context, cohort.legal_actions(), rng)
    outcome = cohort.step(action)
    paid = outcome.expected_reward if reward == "expected" else outcome.reward
    fresh.update(context, action, paid.astype(np.float64))
    np.testing.assert_allclose(bandit.mean, fresh.mean)


def test_learning_ends_quietly_when_everybody_has_left() -> None:
    world = get("Frequency-v0")
    world = world.model_copy(update={"response": world.response.model_copy(update={"churn_probability": 0.9})})
    told: list[Metrics] = []

    class Kept:
        def advance(self, steps: int, total: int, metrics: Metrics) -> None:
            told.append(metrics)

    bandit = LinUCB(world, BanditSettings(customers=8, days=60))
    bandit.fit(0, Kept())
    assert np.isfinite(bandit.mean).all()
    assert all(np.isfinite(list(metrics.values())).all() for metrics in told)


# --- on tensors ---

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")),
]


def on(device: str, values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [LinUCB, LinTS])
def test_tensors_are_taught_and_choose_as_arrays_do(kind: type[LinearBandit], device: str) -> None:
    arrays, tensors = taught(kind), kind(get(WORLD), BanditSettings(ridge=RIDGE, learner="tensors", device=device))
    cohort, _ = tensors._customers(3)
    for seen, context, action, reward in days():
        found = tensors.context(on(device, seen))
        np.testing.assert_array_equal(found.cpu().numpy(), context)
        tensors.update(found, on(device, action), on(device, reward))
    np.testing.assert_allclose(tensors.mean.cpu().numpy(), arrays.mean, rtol=1e-9, atol=1e-12)
    assert tensors.noise() == pytest.approx(arrays.noise(), rel=1e-9)
    normals, models = np.random.default_rng(1).standard_normal((len(arrays.mean), _DRAWS)), np.arange(60) % _DRAWS

    class Coins:
        """The same for both."""

        def __init__(self, device: str | None) -> None:
            self.give = (lambda values: on(device, values)) if device else (lambda values: values)

        def standard_normal(self, shape: tuple[int, int]) -> Any:
            assert shape == normals.shape
            return self.give(normals)

        def integers(self, end: int, size: int) -> Any:
            assert (end, size) == (_DRAWS, 60)
            return self.give(models)

    seen, context, *_ = days()[4]
    mask = np.random.default_rng(2).random((60, get(WORLD).actions)) < 0.7
    mask[:, 0] = True
    found = tensors.explore(on(device, context), on(device, mask), Coins(device))
    assert found.device.type == device
    np.testing.assert_array_equal(found.cpu().numpy(), arrays.explore(context, mask, Coins(None)))
    assert cohort.observe().device.type == device


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [LinUCB, LinTS])
def test_a_bandit_that_learned_on_tensors_acts_on_arrays(kind: type[LinearBandit], device: str) -> None:
    def trained(learner: str) -> LinearBandit:
        settings = BanditSettings(customers=1500, days=30, explore=0.1, learner=learner, device=device)  # type: ignore[arg-type]
        bandit = kind(get(WORLD), settings)
        bandit.fit(1, Unwatched())
        return bandit

    tensors, again, arrays = trained("tensors"), trained("tensors"), trained("arrays")
    assert all(isinstance(getattr(tensors, name), np.ndarray) for name in ("_parts", "_gram", "_moment", "mean"))
    assert tensors._count == pytest.approx(arrays._count, rel=0.02)
    if device == "cpu":
        np.testing.assert_array_equal(tensors.mean, again.mean)
    seen = days()[3][0]
    mask = np.ones((len(seen), get(WORLD).actions), bool)
    chosen = [each.act(seen, mask, np.random.default_rng(0)) for each in (tensors, arrays)]
    assert all(isinstance(each, np.ndarray) for each in chosen)
    # Their coins differ, so that they try other messages; what they take a message to be worth is alike.
    promised = [each._scores(each.context(seen), each.mean)[:, 1:].ravel() for each in (tensors, arrays)]
    assert np.corrcoef(*promised)[0, 1] > 0.6


def test_a_device_that_is_not_there_is_named() -> None:
    bandit = LinUCB(get(WORLD), BanditSettings(customers=4, days=1, device="cuda:77"))
    with pytest.raises(AgentError, match="cuda:77"):
        bandit.fit(0, Unwatched())
