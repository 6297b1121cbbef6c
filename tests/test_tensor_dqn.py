"""DQN on tensors computes what DQN computes: the same stretches and steps, done slowly or by others."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from stable_baselines3 import DQN
from torch import Tensor

from agents.agent import AgentError, parsed
from agents.algorithms import BatchedDQN
from agents.dqn import DQNAgent, DQNSettings
from agents.policies import FactoredDQNPolicy
from agents.tensor_dqn import TensorDQN
from agents.tensor_learning import Lived
from agents.tensor_stretches import Draw, Stretches
from agents.tensor_training import TensorTraining
from blockenv import Scenario
from blockenv.envs.tensor_population import TensorStep
from tests.tensor_learners import (
    DEVICES,
    FORMS,
    SEED,
    Trainee,
    assert_both_tell_the_same,
    assert_does_not_fit,
    assert_goes_on,
    assert_is_missed,
    assert_repeats,
    customers_of,
    exported,
    fleeting,
)

ROWS = 100
TOTAL = 30 * ROWS


def settings(**changes: Any) -> DQNSettings:
    values: dict[str, Any] = {"steps": TOTAL, "envs": ROWS, "batch": 64, "updates": 2, "device": "cpu"}
    values |= {"hidden": [16, 16], "critic_hidden": [16], "gamma": 0.9, "warm_up": 5 * ROWS, "buffer": 12 * ROWS}
    found: DQNSettings = parsed(DQNSettings, values | changes, "dqn")
    return found


class Learner(Trainee, TensorDQN):
    """One whose customers leave or are cut off soon."""

    def __init__(
        self,
        world: Scenario | None = None,
        shared: bool = True,
        device: str = "cpu",
        worth: bool = True,
        seed: int = SEED,
        **changes: Any,
    ) -> None:
        agent = self.agent = DQNAgent(world or fleeting(), settings(device=device, **changes))
        th.manual_seed(5)
        policy = agent._new_policy()
        with th.no_grad():
            policy.q_net.head.scores.weight.copy_(0.3 * th.randn(policy.q_net.head.scores.weight.shape))
        policy.q_net_target.load_state_dict(policy.q_net.state_dict())
        given, population = agent.settings, customers_of(agent, shared, device)
        self.population = population
        super().__init__(policy, population.reset(seed), given, agent._worth if worth else None, seed)
        self.training, self.told = TensorTraining(self, population, given.expected_churn), []

    def learn_on(self, total: int = TOTAL) -> list[Tensor]:
        return super().learn_on(total)


# --- what is remembered ---


class Day(NamedTuple):
    """A day of N rows: what was done and seen, (N,) or (N, D) each."""

    morning: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    emphasis: Tensor
    tomorrow: Tensor  # as seen by whoever was there today
    ended: Tensor


def lives(rows: int, count: int, ending: float, seed: int) -> tuple[Tensor, list[tuple[Day, Lived]]]:
    """What is seen first, and made-up days of which a share is a customer's last."""
    coins = th.Generator().manual_seed(seed)
    first = seen = th.rand(rows, 2, generator=coins)
    days = []
    for _ in range(count):
        reward, discount, emphasis = th.rand(3, rows, generator=coins)
        action = th.randint(9, (rows,), generator=coins)
        tomorrow, newcomers = th.rand(2, rows, 2, generator=coins)
        ended = th.rand(rows, generator=coins) < ending
        gone = ended.nonzero().squeeze(1)
        after = th.where(ended[:, None], newcomers, tomorrow)
        step = Lived(after, reward, ended.float(), gone, tomorrow[gone])
        days.append((Day(seen, action, reward, discount, emphasis, tomorrow, ended), step))
        seen = after
    return first, days


def stretch(days: list[Day], begun: int, length: int, row: int) -> tuple[float, ...]:
    """What a stretch is by its definition, day by day: seen first, seen last, action, reward, discount, emphasis."""
    reward, discount, last = 0.0, 1.0, days[begun]
    for last in days[begun : begun + length]:
        reward += discount * float(last.reward[row])
        discount *= float(last.discount[row])
        if last.ended[row]:
            break
    first = days[begun]
    seen = *first.morning[row].tolist(), *last.tomorrow[row].tolist()
    return *seen, float(first.action[row]), reward, discount, float(first.emphasis[row])


def drawn(stretches: Stretches, count: int) -> list[tuple[float, ...]]:
    """So many stretches out of memory, written as `stretch` does."""
    found: Draw = stretches.draw(2, count, th.Generator().manual_seed(1))
    first, last = found.seen.transpose(0, 1).flatten(1, 2)
    numbers = [each.flatten().float() for each in (found.action, found.reward, found.discount, found.emphasis)]
    return [tuple(row) for row in th.cat([first, last, th.stack(numbers, 1)], 1).tolist()]


@how(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 5),
    length=st.integers(1, 6),
    capacity=st.integers(1, 9),
    ending=st.sampled_from([0.0, 0.2, 1.0]),
    count=st.integers(6, 40),
    seed=st.integers(0, 1000),
)
def test_the_latest_stretches_are_remembered_and_no_others(
    rows: int, length: int, capacity: int, ending: float, count: int, seed: int
) -> None:
    first, lived = lives(rows, count, ending, seed)
    stretches = Stretches(first, capacity, length)
    for day, step in lived:
        assert th.equal(stretches.morning, day.morning)
        stretches.add(day.action, day.reward, day.discount, day.emphasis, step)
    known = range(max(0, count - length + 1 - capacity), count - length + 1)
    days = [day for day, _ in lived]
    expected = sorted(stretch(days, begun, length, row) for begun in known for row in range(rows))
    found = sorted(set(drawn(stretches, 40 * len(expected))))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_stretch_is_drawn_as_often() -> None:
    first, lived = lives(4, 23, 0.2, 0)
    stretches = Stretches(first, 8, 3)
    for day, step in lived:
        stretches.add(day.action, day.reward, day.discount, day.emphasis, step)
    found = drawn(stretches, 8000)
    counts = np.array([found.count(each) for each in set(found)])
    assert len(counts) == 32
    assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()


def test_memory_goes_on_from_a_snapshot() -> None:
    first, lived = lives(4, 40, 0.7, 1)
    whole, other = Stretches(first, 6, 3), Stretches(first, 6, 3)
    for place, (day, step) in enumerate(lived):
        whole.add(day.action, day.reward, day.discount, day.emphasis, step)
        if place < 20:
            other.add(day.action, day.reward * 2, day.discount, day.emphasis, step)
        if place == 25:
            other.restore(copy.deepcopy(whole.snapshot()))
        if place > 25:
            other.add(day.action, day.reward, day.discount, day.emphasis, step)
    assert drawn(whole, 100) == drawn(other, 100)
    with pytest.raises(ValueError, match="buffer: 9 days and stretches of 3, expected 10, 3"):
        Stretches(first, 7, 3).restore(whole.snapshot())


class Diary(Learner):
    """Writes down what it lives, to be compared with what it remembers."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.days: list[Day] = []
        self.departures = self.cuts = 0
        live, given = self.population.step, self._settings

        def step(action: Tensor) -> TensorStep:
            seen, found = self._stretches.morning.clone(), live(action)
            worth = self._worth(seen) if self._worth else th.ones(len(seen))
            leaving = found.outcome.churn_probability if given.expected_churn else found.terminated.float()
            paid = found.outcome.expected_reward if given.reward == "expected" else found.outcome.reward
            tomorrow, ended = found.observation.clone(), found.terminated | found.truncated
            tomorrow[found.final_rows] = found.final_observation
            reward, discount = given.reward_scale * paid / worth, given.gamma * (1 - leaving)
            emphasis = worth ** (1 - given.balance)
            self.days.append(Day(seen, action.clone(), reward, discount, emphasis, tomorrow, ended))
            self.departures += int(found.terminated.sum())
            self.cuts += int(found.truncated.sum())
            return found

        self.population.step = step  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expected_churn": False, "reward": "realised"},
        {"worth": False, "stretch": 1},
        {"balance": 0.0, "stretch": 7},
    ],
    ids=["expected", "realised", "all alike", "long"],
)
def test_what_is_remembered_is_what_became_of_the_customers(changes: dict[str, Any]) -> None:
    learner = Diary(**changes)
    learner.learn_on()
    length, days = learner._settings.stretch, TOTAL // ROWS
    known = range(days - length + 1 - 12, days - length + 1)
    expected = np.array(sorted(stretch(learner.days, begun, length, row) for begun in known for row in range(ROWS)))
    found = np.array(drawn(learner._stretches, 1000))
    nearest = [np.abs(expected - each).max(1).argmin() for each in found]
    np.testing.assert_allclose(found, expected[nearest], rtol=1e-4, atol=1e-5)
    assert len(set(nearest)) > 0.7 * len(expected)
    assert min(learner.departures, learner.cuts) > 50, "both kinds of ending have to be seen"


# --- how it acts ---


@pytest.mark.parametrize("explores", [0.0, 0.3, 1.0])
def test_rows_explore_by_themselves_and_mostly_by_silence(explores: float) -> None:
    learner = Learner(explore_silence=0.7)
    learner.learn_on(8 * ROWS)
    seen = learner._stretches.morning.clone()
    seen[: ROWS // 2, learner.agent.layout.open_columns] = 0.0
    seen = seen.repeat(200, 1)
    with th.no_grad():
        action = learner._choose(seen, explores).view(200, ROWS)
        legal = learner.policy.legal_actions(seen[:ROWS])
        best = learner.policy.q_net.advantages(seen[:ROWS]).argmax(1)
    closed = ~legal[:, 1:].any(1)
    assert (best > 0).any()
    assert 0 < closed.sum() < ROWS
    expected = legal[:, 1:] * ((1 - 0.7) * explores / legal[:, 1:].sum(1).clamp(min=1)).unsqueeze(1)
    expected = th.cat([explores - expected.sum(1, keepdim=True), expected], 1)
    expected[th.arange(ROWS), best] += 1 - explores
    found = th.stack([(action == each).float().mean(0) for each in range(legal.shape[1])], 1)
    assert th.allclose(found.mean(0), expected.mean(0), atol=0.01)
    assert (found[expected == 0] == 0).all()
    assert (found - expected).abs().max() < 5 * 0.5 / np.sqrt(200)


def test_exploration_falls_in_a_line_after_the_warm_up() -> None:
    class Explorer(Learner):
        def _choose(self, seen: Tensor, explores: float) -> Tensor:
            rates.append(explores)
            return super()._choose(seen, explores)

    rates: list[float] = []
    Explorer(explore_from=0.8, explore_to=0.2, explore_share=0.5).learn_on()
    expected = [1.0] * 5 + [max(0.8 - 0.6 * day / 15, 0.2) for day in range(5, 30)]
    assert rates == pytest.approx(expected)


# --- how it learns ---


class Doubted(Learner):
    """Takes every step a second time with another policy, by automatic differentiation and PyTorch's own Adam."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.other: FactoredDQNPolicy = copy.deepcopy(self.policy)
        self._other_optimizer = th.optim.Adam(self.other.q_net.parameters())
        self.lengths: list[float] = []  # of gradients
        self.losses: list[float] = []
        self.drawn: Draw | None = None
        draw = self._stretches.draw

        def watched(updates: int, batch: int, coins: th.Generator) -> Draw:
            self.drawn = draw(updates, batch, coins)
            return self.drawn

        self._stretches.draw = watched  # type: ignore[method-assign]

    def _update(self, left: float) -> None:
        super()._update(left)
        self._other_updates()
        for mine, theirs in zip(self.policy.parameters(), self.other.parameters(), strict=True):
            th.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)
        # Rounding apart, so that it does not grow from one day to the next.
        self.other.load_state_dict(self.policy.state_dict())

    @th.enable_grad()
    def _other_updates(self) -> None:
        given, data = self._settings, self.drawn
        assert data is not None
        for group in self._other_optimizer.param_groups:
            group["lr"] = given.learning_rate * (1 - self.steps / TOTAL)
        self.other.q_net_target.load_state_dict(self.policy.q_net_target.state_dict())
        for each in range(given.updates):
            first, last = data.seen[each]
            with th.no_grad():
                best = self.other.q_net(last).argmax(1, keepdim=True)
                follows = self.other.q_net_target(last).gather(1, best).squeeze(1)
                target = data.reward[each] + data.discount[each] * follows
            values = self.other.q_net(first).gather(1, data.action[each].unsqueeze(1)).squeeze(1)
            counts = data.emphasis[each] / data.emphasis[each].mean()
            loss: Any = (counts * (values - target).square()).mean()
            self._other_optimizer.zero_grad()
            loss.backward()
            self.lengths.append(float(th.nn.utils.clip_grad_norm_(self.other.q_net.parameters(), 10.0)))
            self._other_optimizer.step()
            self.losses.append(float(loss.detach()))


@pytest.mark.parametrize(
    "changes",
    [
        {"reward_scale": 0.02, "updates": 5},
        {"reward_scale": 20.0, "factored": False},
        {"hidden": [8], "critic_hidden": [8, 8, 8], "balance": 0.0, "learning_rate": 1e-2},
        {"informed_critic": False, "worth": False, "target_every": 3, "tau": 0.5, "batch": 300},
    ],
    ids=["usual", "an output an action", "other layers", "all alike"],
)
def test_a_step_is_that_of_automatic_differentiation(changes: dict[str, Any]) -> None:
    learner = Doubted(**changes)
    before = [each.detach().clone() for each in learner.policy.parameters()]
    learner.learn_on()
    assert len(learner.losses) == learner._settings.updates * (TOTAL // ROWS - 5)
    assert all((each != then).any() for each, then in zip(learner.policy.parameters(), before, strict=True))
    assert (max(learner.lengths) > 10) == (changes.get("reward_scale") == 20.0)
    assert learner.told[-1]["train/loss"] == pytest.approx(learner.losses[-1], rel=1e-3)


@pytest.mark.parametrize(("every", "tau"), [(1, 0.02), (3, 0.5), (2, 1.0)])
def test_the_target_network_follows_the_other_one(every: int, tau: float) -> None:
    class Follower(Learner):
        def take(self, lived: Lived) -> None:
            target, online = self.policy.q_net_target.state_dict(), self.policy.q_net.state_dict()
            share = 0.0 if (self.steps // ROWS + 1) % every else tau
            self.expected = {name: (1 - share) * target[name] + share * online[name] for name in target}
            super().take(lived)

        def _update(self, left: float) -> None:
            found = self.policy.q_net_target.state_dict()
            for name, values in self.expected.items():
                th.testing.assert_close(found[name], values)
            super()._update(left)

    Follower(target_every=every, tau=tau).learn_on()


@FORMS
def test_the_same_seed_gives_the_same_weights_whatever_else_draws_random_numbers(shared: bool) -> None:
    assert_repeats(lambda seed: Learner(shared=shared, seed=seed), TOTAL)


def test_days_are_counted_and_told() -> None:
    learner, heard = Learner(updates=1, batch=1, hidden=[1]), list[int]()
    learner.training.learn(400 * ROWS, lambda steps, metrics: heard.append(steps))
    assert heard == [2 * ROWS * each for each in range(1, 201)]
    assert learner.steps == 400 * ROWS
    learner.training.learn(400 * ROWS, lambda steps, metrics: heard.append(steps))
    assert len(heard) == 200, "there was nothing left"
    learner.training.learn(400 * ROWS + 1, lambda steps, metrics: heard.append(steps))
    assert learner.steps == 401 * ROWS


def test_both_learners_tell_the_same_of_customers() -> None:
    def made(learner: str) -> DQNAgent:
        given = settings(learner=learner, learning_rate=1e-12, envs=400, steps=400 * 60, hidden=[4], explore_to=1.0)
        return DQNAgent(fleeting(), given)

    assert_both_tell_the_same(made)


# --- what is asked, kept and handed on ---


@pytest.mark.parametrize("changes", [{"lags": [7]}, {"interactions": True}])
def test_what_tensors_cannot_do_is_an_error_that_says_what_can(changes: dict[str, Any]) -> None:
    with pytest.raises(AgentError, match="learner: 'tensors', expected 'auto' or 'stable_baselines3' with lags or"):
        settings(learner="tensors", **changes)
    assert not settings(**changes).on_tensors()
    assert not settings(learner="stable_baselines3").on_tensors()
    assert settings().on_tensors()


@pytest.mark.parametrize("kind", [DQN, BatchedDQN])
@pytest.mark.parametrize("changes", [{}, {"factored": False, "informed_critic": False}], ids=["usual", "plain"])
def test_an_exported_file_is_the_policy_for_users_of_stable_baselines3(
    kind: type[DQN], changes: dict[str, Any], tmp_path: Path
) -> None:
    model, policy, seen = exported(
        lambda: DQNAgent(fleeting(), settings(**changes)), kind, tmp_path / "model.zip", deterministic=True
    )
    some = th.as_tensor(seen)
    with th.no_grad():
        policies: tuple[Any, Any] = model.policy, policy
        found, expected = (each.q_net(some) for each in policies)
        assert th.equal(found, expected)
        assert th.equal(*(each.q_net_target(some) for each in policies))
    assert found[:, 1:].std() > 1e-3
    np.testing.assert_array_equal(model.predict(seen, deterministic=True)[0], expected.argmax(1).numpy())


@DEVICES
@pytest.mark.parametrize("before", [3, 20])
@FORMS
def test_a_restored_learner_goes_on_as_if_nothing_had_happened(shared: bool, before: int, device: str) -> None:
    if shared and device == "cuda":
        pytest.skip("arrays live on a CPU")
    assert_goes_on(
        lambda seed: Learner(shared=shared, device=device, seed=seed), before * ROWS, 6 * ROWS, TOTAL, device
    )


@FORMS
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"envs": 50}, r"traits\.segment: int32\(100,\), expected int32\(50,\)"),
        ({"buffer": 13 * ROWS}, "buffer: 15 days and stretches of 3, expected 16, 3"),
        ({"stretch": 4}, "buffer: 15 days and stretches of 3, expected 16, 4"),
        ({"hidden": [16, 17]}, r"size mismatch"),
        ({"critic_hidden": [16, 16]}, r"Missing key"),
        ({"factored": False}, r"size mismatch"),
        ({"informed_critic": False}, r"size mismatch"),
    ],
    ids=["rows", "buffer", "stretch", "chooser", "critic", "outputs", "columns"],
)
def test_a_state_of_another_learner_does_not_fit(shared: bool, changes: dict[str, Any], message: str) -> None:
    assert_does_not_fit(Learner(shared=shared), Learner(shared=shared, **changes), message)


@pytest.mark.parametrize(
    "name", ["policy", "optimizer", "coins", "customer", "limit", "steps", "stretches.clock", "stretches.after"]
)
def test_a_state_with_something_missing_names_it(name: str) -> None:
    assert_is_missed(Learner(), name, name.removeprefix("stretches."))
