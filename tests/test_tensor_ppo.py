"""PPO on tensors computes what PPO computes: the same targets, advantages and steps, done slowly or by others."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3 import PPO
from torch import Tensor

from agents.agent import AgentError, parsed
from agents.algorithms import BatchedPPO
from agents.policies import FactoredActorCriticPolicy
from agents.ppo import PPOAgent, PPOSettings, RememberingPPOSettings
from agents.tensor_learning import Lived
from agents.tensor_ppo import TensorPPO
from agents.tensor_training import TensorTraining
from blockenv import Scenario
from blockenv.envs import PopulationEnv
from blockenv.scenarios import get
from tests.tensor_learners import (
    DEVICES,
    FORMS,
    HORIZON,
    SEED,
    Trainee,
    assert_both_tell_the_same,
    assert_does_not_fit,
    assert_goes_on,
    assert_is_missed,
    assert_repeats,
    assert_same,
    customers_of,
    exported,
    fleeting,
)

ROWS, DAYS = 200, 8
TOTAL = 4 * ROWS * DAYS


def settings(**changes: Any) -> PPOSettings:
    values: dict[str, Any] = {"steps": TOTAL, "envs": ROWS, "rollout": DAYS, "batch": 400, "device": "cpu"}
    values |= {"hidden": [16, 16], "critic_hidden": [16], "gamma": 0.99}
    found: PPOSettings = parsed(PPOSettings, values | changes, "ppo")
    return found


class Learner(Trainee, TensorPPO):
    """One whose policy has a mind of its own from the first, and whose customers leave or are cut off soon."""

    idle = False  # lives without learning

    def __init__(
        self,
        world: Scenario | None = None,
        shared: bool = True,
        device: str = "cpu",
        worth: bool = True,
        seed: int = SEED,
        **changes: Any,
    ) -> None:
        agent = self.agent = PPOAgent(world or fleeting(), settings(device=device, **changes))
        th.manual_seed(5)
        policy = agent._new_policy()
        with th.no_grad():
            for each in (policy.action_net.scores, policy.value_net):
                each.weight.copy_(0.3 * th.randn(each.weight.shape))
        given, population = agent.settings, customers_of(agent, shared, device)
        super().__init__(policy, population.reset(seed), given, agent._worth if worth else None, seed)
        self.training, self.told = TensorTraining(self, population, given.expected_churn), []
        self.actions: list[NDArray[np.int64]] = []  # (rows,) of every day

    def learn_on(self, total: int = TOTAL) -> list[Tensor]:
        return super().learn_on(total)

    def live_on(self, rollouts: int = 1) -> list[NDArray[np.int64]]:
        """Live so many rollouts without learning from them: all actions so far."""
        self.idle = True
        self.learn_on(self.steps + rollouts * ROWS * DAYS)
        self.idle = False
        return self.actions

    def choose(self) -> Tensor:
        action = super().choose()
        self.actions.append(action.cpu().numpy().copy())
        return action

    def take(self, lived: Lived) -> None:
        if self.idle:
            self._note(lived)
            self.steps += len(lived.reward)
        else:
            super().take(lived)


# --- what is learned from ---


class Diary:
    """What becomes of the customers when the same actions are taken once more in an environment of arrays."""

    def __init__(self, actions: list[NDArray[np.int64]], reward: str = "expected") -> None:
        env = PopulationEnv(
            ROWS,
            fleeting(),
            max_episode_steps=HORIZON,
            autoreset_mode=AutoresetMode.SAME_STEP,
            reward=reward,
            stagger=True,
        )
        seen, _ = env.reset(seed=SEED)
        self.env, self.seen = env, [seen]
        self.tomorrow, self.reward, self.left, self.ended = [], [], [], []  # tomorrow as seen by who was there today
        self.told: dict[str, list[Any]] = {
            name: [] for name in ("sent", "blocked", "expected_reward", "message_cost", "ordered", "churn_probability")
        }
        for action in actions:
            seen, rewards, terminated, truncated, info = env.step(action)
            ended = terminated | truncated
            tomorrow = seen.copy()
            if ended.any():
                tomorrow[ended] = info["final_obs"][ended]
            for name, days in self.told.items():
                values = np.array(info[name], float)
                if ended.any():
                    values[ended] = info["final_info"][name][ended]
                days.append(values)
            self.seen.append(seen)
            self.tomorrow.append(tomorrow)
            self.reward.append(rewards)
            self.left.append(terminated)
            self.ended.append(ended)


@pytest.mark.parametrize("rollouts", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expected_churn": False},
        {"expected_churn": False, "reward": "realised", "gae_lambda": 0.7},
        {"gae_lambda": 0.0, "balance": 0.0},
        {"gae_lambda": 1.0, "balance": 1.0},
        {"worth": False},
    ],
    ids=["expected", "sampled", "realised", "one step", "to the end", "all alike"],
)
def test_targets_and_advantages_are_those_of_a_slow_account(changes: dict[str, Any], rollouts: int) -> None:
    learner = Learner(**changes)
    given = learner.agent.settings
    diary = Diary(learner.live_on(rollouts), given.reward)
    targets, advantages = (each.squeeze(2).numpy() for each in learner._judge())

    def value(seen: Any) -> float:
        with th.no_grad():
            return float(learner.policy.predict_values(th.as_tensor(seen).unsqueeze(0)))

    first, departures, cuts = (rollouts - 1) * DAYS, 0, 0
    for row in range(0, ROWS, 5):
        later = 0.0
        for day in reversed(range(first, first + DAYS)):
            seen, left, ended = diary.seen[day][row], diary.left[day][row], diary.ended[day][row]
            worth = float(learner.agent._worth(seen[None])[0]) if changes.get("worth", True) else 1.0
            stays = 1.0 - diary.told["churn_probability"][day][row] if given.expected_churn else float(not left)
            follows = given.gamma * stays * value(diary.tomorrow[day][row])
            surprise = given.reward_scale * diary.reward[day][row] / worth + follows - value(seen)
            later = surprise + (0.0 if ended else given.gamma * given.gae_lambda * later)
            departures, cuts = departures + int(left), cuts + int(ended and not left)
            found = targets[day - first, row], advantages[day - first, row]
            expected = later + value(seen), later * worth ** (1.0 - given.balance)
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-4), f"row {row}, day {day}"
    assert min(departures, cuts) > 8, "both kinds of ending have to be seen"


def test_what_is_seen_and_paid_is_what_became_of_the_customers() -> None:
    learner = Learner()
    diary = Diary(learner.live_on(3))
    np.testing.assert_array_equal(learner._seen.numpy(), np.array(diary.seen[2 * DAYS :]))
    np.testing.assert_allclose(learner._reward.squeeze(2).numpy(), np.array(diary.reward[2 * DAYS :]), rtol=1e-6)
    leaving = np.array(diary.told["churn_probability"][2 * DAYS :])
    np.testing.assert_allclose(learner._leaving.squeeze(2).numpy(), leaving, rtol=1e-6)
    np.testing.assert_array_equal(learner._going_on.squeeze(2).numpy() == 0, np.array(diary.ended[2 * DAYS :]))


def test_actions_are_drawn_from_the_policy_which_remembers_how_likely_they_were() -> None:
    learner = Learner(shared=False)
    frequencies, probabilities = [], []
    for _ in range(4):
        learner.live_on()
        seen, action = learner._seen[:-1].flatten(0, 1), learner._action.flatten()
        with th.no_grad():
            logits: Tensor = learner.policy.get_distribution(seen).logits
            _, log_probability, _ = learner.policy.evaluate_actions(seen, action)
        th.testing.assert_close(learner._log_probability.flatten(), log_probability, rtol=1e-4, atol=1e-4)
        probabilities.append(th.softmax(logits, 1).mean(0).numpy())
        frequencies.append(np.bincount(action.numpy(), minlength=7) / action.numel())
    found, expected = np.mean(frequencies, axis=0), np.mean(probabilities, axis=0)
    assert (np.abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / (4 * ROWS * DAYS))).all()
    assert expected.min() > 0.005, "every action has to be possible"
    assert not np.array_equal(learner.actions[0], learner.actions[DAYS])


def test_customers_in_either_form_are_the_same() -> None:
    """As far as rounding lets them: who is on the other side of a probability goes another way from then on."""
    one, other = Learner(shared=True), Learner(shared=False)
    same = np.ones(ROWS, bool)
    for _ in range(3):
        one.live_on()
        other.live_on()
        same &= (np.array(one.actions) == np.array(other.actions)).all(0)
        same &= th.isclose(one._seen, other._seen, rtol=1e-3, atol=1e-3).all(2).all(0).numpy()
    assert same.mean() > 0.98


# --- how it is learned from ---


class Doubted(Learner):
    """Takes every step a second time with another policy, by automatic differentiation and PyTorch's own Adam."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.other: FactoredActorCriticPolicy = copy.deepcopy(self.policy)
        self._other_optimizer = th.optim.Adam(self.other.parameters(), eps=1e-5)
        self.lengths: list[float] = []  # of gradients
        self.clipped: list[Tensor] = []  # whether any ratio was too small, and too large
        self.expected: dict[str, float] = {}  # metrics of the last step

    def _descend(self, entropy_weight: float, seen: Tensor, *rollout: Tensor) -> None:
        self._other_descends(seen, *rollout)
        super()._descend(entropy_weight, seen, *rollout)
        for mine, theirs in zip(self.policy.parameters(), self.other.parameters(), strict=True):
            th.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)

    @th.enable_grad()
    def _other_descends(self, seen: Tensor, action: Tensor, old: Tensor, advantage: Tensor, target: Tensor) -> None:
        given, left = self._settings, 1.0 - self.steps / TOTAL
        values, log_probability, entropy = self.other.evaluate_actions(seen, action.squeeze(1))
        counts = (advantage - advantage.mean()) / (advantage.var(correction=0).sqrt() + 1e-8)
        ratio, error = th.exp(log_probability.unsqueeze(1) - old), (values - target).square().mean()
        gain = th.min(ratio * counts, ratio.clamp(1 - given.clip, 1 + given.clip) * counts).mean()
        loss: Any = -gain - given.entropy * left * entropy.mean() + given.value_weight * error
        self._other_optimizer.zero_grad()
        loss.backward()
        self.lengths.append(float(th.nn.utils.clip_grad_norm_(self.other.parameters(), 0.5)))
        for group in self._other_optimizer.param_groups:
            group["lr"] = given.learning_rate * left
        self._other_optimizer.step()
        self.clipped.append(th.stack([(ratio < 1 - given.clip).any(), (ratio > 1 + given.clip).any()]))
        told = {"approx_kl": old.squeeze(1) - log_probability, "entropy": entropy, "value_loss": error}
        self.expected = {name: float(values.detach().mean()) for name, values in told.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 3},
        {"epochs": 2, "factored": False},
        {"hidden": [8], "critic_hidden": [8, 8, 8], "clip": 0.05, "entropy": 0.0, "value_weight": 9.0, "batch": 300},
        {"informed_critic": False, "worth": False, "entropy": 0.1, "batch": 10_000, "epochs": 4},
    ],
    ids=["usual", "an output an action", "other layers", "all at once"],
)
def test_a_step_is_that_of_automatic_differentiation(changes: dict[str, Any]) -> None:
    learner = Doubted(learning_rate=1e-2, **changes)
    before = [each.detach().clone() for each in learner.other.parameters()]
    learner.learn_on()
    assert all((each != then).any() for each, then in zip(learner.other.parameters(), before, strict=True))
    assert th.stack(learner.clipped).any(0).all(), "probabilities have to leave the clip at either end"
    assert max(learner.lengths) > 0.5, "gradients have to be cut"
    found = {name: learner.told[-1][f"train/{name}"] for name in learner.expected}
    assert found == pytest.approx(learner.expected, rel=1e-3, abs=1e-4)


class Sorter(Learner):
    """Notes which days come into which minibatch, told by the targets of the critic."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.targets, self.pieces = th.zeros(0), list[Tensor]()

    def _update(self, targets: Tensor, advantages: Tensor, left: float) -> None:
        self.targets = targets.flatten()
        super()._update(targets, advantages, left)

    def _descend(self, entropy_weight: float, seen: Tensor, *rollout: Tensor) -> None:
        self.pieces.append(rollout[-1].flatten())
        super()._descend(entropy_weight, seen, *rollout)


@pytest.mark.parametrize(("batch", "sizes"), [(400, [400] * 4), (500, [533, 533, 534]), (9999, [1600]), (2, [2] * 800)])
def test_every_day_of_everybody_is_learned_from_once_an_epoch(batch: int, sizes: list[int]) -> None:
    learner = Sorter(batch=batch, epochs=2, hidden=[2], critic_hidden=[2])
    learner.learn_on(ROWS * DAYS)
    epochs = [learner.pieces[: len(sizes)], learner.pieces[len(sizes) :]]
    assert len(set(learner.targets.tolist())) > 0.99 * ROWS * DAYS
    for pieces in epochs:
        assert sorted(map(len, pieces)) == sizes
        assert th.equal(th.cat(pieces).sort().values, learner.targets.sort().values)
    if len(sizes) > 4:
        assert not th.equal(th.cat(epochs[0]), th.cat(epochs[1])), "in an order of its own"


@FORMS
def test_the_same_seed_gives_the_same_weights_whatever_else_draws_random_numbers(shared: bool) -> None:
    assert_repeats(lambda seed: Learner(shared=shared, seed=seed), TOTAL)


def test_days_are_counted_and_told() -> None:
    learner, heard = Learner(), list[int]()
    learner.training.learn(2 * ROWS * DAYS + 1, lambda steps, metrics: heard.append(steps))
    assert heard == [ROWS * DAYS, 2 * ROWS * DAYS, 3 * ROWS * DAYS]
    assert learner.steps == heard[-1]
    learner.training.learn(3 * ROWS * DAYS, lambda steps, metrics: heard.append(steps))
    assert len(heard) == 3, "there was nothing left"


# --- what is told ---


def test_metrics_are_what_became_of_the_customers() -> None:
    learner = Learner()
    learner.learn_on(2 * ROWS * DAYS)
    told, diary = learner.told[-1], Diary(learner.actions)
    sums = {name: np.sum(days[DAYS:]) for name, days in diary.told.items()}
    days, reachable = ROWS * DAYS, diary.env.features["true_reachable"]
    expected = {
        "clv/expected_reward_a_day": sums["expected_reward"] / days,
        "clv/messages_a_week": 7 * sums["sent"] / days,
        "clv/blocks_per_1000_messages": 1000 * sums["blocked"] / sums["sent"],
        "clv/orders_a_year": 364 * sums["ordered"] / days,
        "clv/message_cost_a_year": 364 * sums["message_cost"] / days,
        "clv/reachable_channels": diary.seen[-1][:, reachable].sum(axis=1).mean(),
    }
    assert {name: told[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert set(told) == {*expected, *(f"train/{name}" for name in LEARNING)}
    assert 0 < told["train/entropy"] < np.log(7)
    assert told["train/value_loss"] > 0
    assert told["train/explained_variance"] <= 1


LEARNING = ("approx_kl", "entropy", "value_loss", "explained_variance")


@pytest.mark.parametrize("worth", [True, False])
def test_what_a_critic_explains_is_what_it_leaves_less_to_be_surprised_at(worth: bool) -> None:
    learner = Learner(worth=worth)
    learner.live_on(2)
    targets, _ = learner._judge()
    with th.no_grad():
        values = learner.policy.predict_values(learner._seen[:-1].flatten(0, 1)).view_as(targets)
        expected = 1 - ((targets - values).var() / targets.var())
        assert float(learner.metrics["train/explained_variance"]) == pytest.approx(float(expected), rel=1e-3)
        for each in learner._critic:
            each.weight.zero_()
            each.bias.zero_()
    learner._judge()
    assert float(learner.metrics["train/explained_variance"]) == pytest.approx(0.0, abs=1e-4)


def test_both_learners_tell_the_same_of_customers() -> None:
    def made(learner: str) -> PPOAgent:
        given = settings(learner=learner, learning_rate=1e-12, envs=400, steps=400 * 8 * 20, hidden=[4])
        return PPOAgent(fleeting(), given)

    assert_both_tell_the_same(made)


# --- what is asked, kept and handed on ---


@pytest.mark.parametrize("changes", [{"lags": [7]}, {"interactions": True}])
def test_what_tensors_cannot_do_is_an_error_that_says_what_can(changes: dict[str, Any]) -> None:
    for kind in (PPOSettings, RememberingPPOSettings):
        with pytest.raises(AgentError, match="learner: 'tensors', expected 'auto' or 'stable_baselines3' with lags or"):
            parsed(kind, {"learner": "tensors"} | changes, "ppo")
    for learner in ("auto", "stable_baselines3"):
        assert not parsed(PPOSettings, {"learner": learner} | changes, "ppo").on_tensors()


def test_tensors_are_taken_wherever_they_can_do_what_is_asked() -> None:
    assert PPOSettings().on_tensors()
    assert PPOSettings(learner="tensors").on_tensors()
    assert not PPOSettings(learner="stable_baselines3").on_tensors()
    assert not RememberingPPOSettings().on_tensors()


@pytest.mark.parametrize("kind", [PPO, BatchedPPO])
@pytest.mark.parametrize("changes", [{}, {"factored": False, "informed_critic": False}], ids=["usual", "plain"])
def test_an_exported_file_is_the_policy_for_users_of_stable_baselines3(
    kind: type[PPO], changes: dict[str, Any], tmp_path: Path
) -> None:
    model, policy, seen = exported(
        lambda: PPOAgent(fleeting(), settings(**changes)), kind, tmp_path / "model.zip", deterministic=False
    )
    some = th.as_tensor(seen)
    with th.no_grad():
        policies: tuple[Any, Any] = model.policy, policy
        found, expected = (each.get_distribution(some).logits for each in policies)
        assert th.equal(found, expected)
        assert th.equal(model.policy.predict_values(some), policy.predict_values(some))
    assert found[:, 1:].std() > 1e-3
    likeliest, _ = model.predict(seen, deterministic=True)
    np.testing.assert_array_equal(likeliest, expected.argmax(1).numpy())


@DEVICES
@FORMS
def test_a_restored_learner_goes_on_as_if_nothing_had_happened(shared: bool, device: str) -> None:
    if shared and device == "cuda":
        pytest.skip("arrays live on a CPU")
    rollout = ROWS * DAYS
    assert_goes_on(lambda seed: Learner(shared=shared, device=device, seed=seed), 2 * rollout, rollout, TOTAL, device)


@FORMS
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"envs": 100}, r"traits\.segment: int32\(200,\), expected int32\(100,\)"),
        ({"world": get("Frequency-v0")}, r"traits\.opted_in: bool\(2, 200\), expected bool\(1, 200\)"),
        ({"hidden": [16, 17]}, r"size mismatch"),
        ({"critic_hidden": [16, 16]}, r"Missing key"),
        ({"factored": False}, r"size mismatch"),
        ({"informed_critic": False}, r"size mismatch"),
    ],
    ids=["rows", "scenario", "actor", "critic", "outputs", "columns"],
)
def test_a_state_of_another_learner_does_not_fit(shared: bool, changes: dict[str, Any], message: str) -> None:
    assert_does_not_fit(Learner(shared=shared), Learner(shared=shared, **changes), message)


@pytest.mark.parametrize("name", ["policy", "optimizer", "coins", "seen", "customer", "limit", "steps", "log.day"])
def test_a_state_with_something_missing_names_it(name: str) -> None:
    assert_is_missed(Learner(), name, name)


def test_a_state_of_another_shape_names_it() -> None:
    learner = Learner()
    learner.learn_on(ROWS * DAYS)
    tensors, arrays = learner.kept()
    for seen in (tensors["seen"][0], tensors["seen"][:1], th.tensor(1.0)):
        with pytest.raises(ValueError, match=r"seen: .*, expected \(200, \d+\)"):
            Learner().training.restore(tensors | {"seen": seen}, arrays)
    adam = tensors["optimizer"]["state"][0]
    adam["exp_avg"] = adam["exp_avg"][:5].clone()
    with pytest.raises(ValueError, match=r"exp_avg: \(5,\), expected \(\d+,\)"):
        Learner().training.restore(tensors, arrays)


def test_what_is_kept_is_not_the_whole_rollout() -> None:
    tensors, _ = Learner().training.state()
    assert tensors["seen"].untyped_storage().nbytes() == tensors["seen"].nbytes


def test_a_learner_goes_on_on_another_kind_of_device_with_other_coins() -> None:
    learner = Learner()
    learner.learn_on(ROWS * DAYS)
    tensors, arrays = learner.kept()
    tensors["coins"] = th.zeros(16, dtype=th.uint8)  # as many bytes as those of a GPU
    weights = []
    for _ in range(2):
        other = Learner()
        other.training.restore(copy.deepcopy(tensors), arrays)
        weights.append(other.learn_on())
    assert_same(*weights)


def test_one_customer_on_one_day_is_told_of_in_numbers() -> None:
    learner = Learner(envs=1, rollout=1)
    learner.learn_on(3)
    assert all(np.isfinite(list(metrics.values())).all() for metrics in learner.told)
