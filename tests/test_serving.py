"""PPO and DQN that learn from whom they serve: from nothing, by what a firm can see, and they find what is best."""

from typing import Any

import numpy as np
import pytest
import torch as th

from agents import agent_class
from agents.agent import AgentError, parsed
from agents.serving import Serving
from agents.tensor_dqn import TensorDQN
from agents.tensor_learning import TensorLearning
from agents.tensor_ppo import TensorPPO
from blockenv import Policy, Result, Scenario, play
from blockenv.policies import Student
from blockenv.scenarios import get
from tests.test_agents_contract import generous, tastes, world

ROWS, DAYS = 60, 40
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"rollout": 8, "batch": 64, "hidden": [8], "critic_hidden": [8]},
    "dqn": {
        "batch": 64,
        "hidden": [8],
        "critic_hidden": [8],
        "warm_up": 5 * ROWS,
        "stretch": 1,
        "explore_silence": 0.5,
    },
}
EITHER = pytest.mark.parametrize("name", SMALL)


def newcomer(
    name: str, scenario: Scenario, seed: int = 0, rows: int = ROWS, days: int = DAYS, **changes: Any
) -> Serving:
    kind: Any = agent_class(name)
    given = parsed(kind.Settings, SMALL[name] | {"device": "cpu"} | changes, name)
    return Serving(kind(scenario, given.while_serving(rows, days)), seed)


class Watched:
    """Another policy, and what it saw, was allowed, did and heard every day."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.seen, self.mask, self.action, self.money = list[Any](), list[Any](), list[Any](), list[Any]()

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Any:
        action = self.policy.act(observation, action_mask, rng)
        for days, today in ((self.seen, observation), (self.mask, action_mask), (self.action, action)):
            days.append(today.copy())
        return action

    def hear(self, observation: Any, action: Any, reward: Any, closed: Any) -> None:
        self.money.append(np.array(reward))
        self.policy.hear(observation, action, reward, closed)


class Blindfolded(Watched):
    """The same to whom whatever a sender does not see is no number at all."""

    def __init__(self, policy: Any, width: int) -> None:
        super().__init__(policy)
        self.width = width

    def act(self, observation: Any, action_mask: Any, rng: np.random.Generator) -> Any:
        hidden = observation.copy()
        hidden[:, self.width :] = np.nan
        return super().act(hidden, action_mask, rng)


def served(policy: Policy, scenario: Scenario, rows: int = ROWS, days: int = DAYS) -> Result:
    return play(policy, scenario, 7, rows, days=days, batch=rows, compact=False)


def learner_of(serving: Serving) -> TensorLearning:
    assert serving._learner is not None
    return serving._learner


def weights(serving: Serving) -> th.Tensor:
    return th.cat([each.detach().flatten() for each in serving._agent.policy.parameters()])


# --- what is learned from ---


@EITHER
def test_it_begins_with_nothing_and_learns_from_every_day_that_is_over(name: str) -> None:
    one, other = (newcomer(name, get("Style-v0"), days=days) for days in (DAYS, 2 * DAYS))
    assert isinstance(one, Student)
    served(one, get("Style-v0"), days=1)
    served(other, get("Style-v0").model_copy(update={"discount": 0.9}), days=1)
    assert th.equal(weights(one), weights(other)), "nothing of the world is known on the first morning"
    again = newcomer(name, get("Style-v0"))
    served(again, get("Style-v0"))
    assert not th.equal(weights(again), weights(one))
    unit = 8 if name == "ppo" else 1
    assert learner_of(again).steps == (DAYS - 1) // unit * unit * ROWS


@EITHER
def test_what_is_learned_from_is_what_was_seen_and_done_and_paid(name: str) -> None:
    changes: dict[str, Any] = {"rollout": DAYS} if name == "ppo" else {"buffer": DAYS * ROWS}
    serving = newcomer(name, get("Style-v0"), **changes)
    watched = Watched(serving)
    result = served(watched, get("Style-v0").model_copy(update={"observe": "full"}))
    assert (result.days < DAYS).any(), "somebody has to leave, of whom nothing is told"
    learner: Any = learner_of(serving)
    known = np.array(watched.seen)[:, :, : serving._agent.width]
    money, action = np.array(watched.money[:-1]), np.array(watched.action[:-1])
    assert (action > 0).any()
    assert money.any()
    if isinstance(learner, TensorPPO):
        assert learner._day == DAYS - 1
        np.testing.assert_array_equal(learner._seen[:DAYS], known)
        np.testing.assert_array_equal(learner._reward[: DAYS - 1].squeeze(2), money)
        np.testing.assert_array_equal(learner._action[: DAYS - 1].squeeze(2), action)
        assert not learner._leaving[: DAYS - 1].any()
        assert learner._going_on.all()
    else:
        assert isinstance(learner, TensorDQN)
        given, memory = serving._agent.settings, learner._stretches
        np.testing.assert_array_equal(memory._seen[:DAYS], known)
        np.testing.assert_allclose(memory._reward[: DAYS - 1], given.reward_scale * money, rtol=1e-6)
        np.testing.assert_array_equal(memory._action[: DAYS - 1], action)
        np.testing.assert_array_equal(memory._discount[: DAYS - 1], np.float32(given.gamma))
        assert (memory._after[: DAYS - 1] >= 0).all(), "a row is the same customer for ever"
    assert learner._worth is None


@EITHER
def test_what_a_sender_does_not_see_is_never_read(name: str) -> None:
    shown = get("Style-v0").model_copy(update={"observe": "full"})
    plain, blind = Watched(newcomer(name, get("Style-v0"))), newcomer(name, get("Style-v0"))
    blindfolded = Blindfolded(blind, blind._agent.width)
    served(plain, get("Style-v0"))
    served(blindfolded, shown)
    np.testing.assert_array_equal(plain.action, blindfolded.action)
    assert np.isnan(blindfolded.seen[0]).any()


@EITHER
def test_seeds_differ_and_repeat_whatever_else_draws_random_numbers(name: str) -> None:
    values = []
    for seed in (0, 1, 0):
        values.append(served(newcomer(name, get("Style-v0"), seed), get("Style-v0")).value.tolist())
        np.random.seed(5)  # noqa: NPY002
        th.rand(3)
    assert values[0] == values[2] != values[1]


@EITHER
def test_closed_channels_are_left_alone(name: str) -> None:
    base = get("Omnichannel-v0")
    channels = tuple(each.model_copy(update={"block_probability": 0.02}) for each in base.channels)
    watched = Watched(newcomer(name, base, silence=0.2) if name == "ppo" else newcomer(name, base))
    served(watched, base.model_copy(update={"channels": channels}))
    mask, action = np.array(watched.mask), np.array(watched.action)
    assert 0.05 < mask[-1].mean() < 0.8, "many channels have to be closed, and not all"
    assert np.take_along_axis(mask, action[:, :, None], 2).all()
    assert (action[-10:] > 0).any()


# --- known answers ---

LEARNERS: dict[str, dict[str, Any]] = {
    "ppo": {"rollout": 8, "batch": 512, "epochs": 4, "entropy": 0.0},
    "dqn": {"batch": 256, "updates": 4, "tau": 0.2, "warm_up": 2560, "explore_to": 0.0, "explore_share": 0.6},
}
QUICK: dict[str, Any] = {
    "hidden": [16],
    "critic_hidden": [16],
    "gamma": 0.9,
    "learning_rate": 1e-2,
    "reward_scale": 0.05,
}


def watch_serve(name: str, scenario: Scenario) -> tuple[Result, np.ndarray[Any, Any]]:
    """What became of 256 customers in 120 days, and the actions (days, customers)."""
    watched = Watched(newcomer(name, scenario, rows=256, days=120, **LEARNERS[name], **QUICK))
    result = served(watched, scenario, 256, 120)
    return result, np.array(watched.action)


@EITHER
def test_where_a_message_always_pays_everybody_is_written_to_in_the_end(name: str) -> None:
    _, action = watch_serve(name, generous())
    assert (action[:10] > 0).mean() < 0.6
    assert (action[-10:] > 0).mean() > 0.9


@EITHER
def test_where_no_message_pays_nobody_is_written_to_in_the_end(name: str) -> None:
    _, action = watch_serve(name, world(channel={"cost": 2.0, "buy_logit": -6.0}))
    assert (action[:10] > 0).mean() > 0.1
    assert (action[-10:] > 0).mean() < 0.01


@EITHER
def test_everybody_gets_the_style_they_like_in_the_end(name: str) -> None:
    result, action = watch_serve(name, tastes())
    right = action - 1 == result.segment
    assert right[:10][action[:10] > 0].mean() < 0.65
    assert right[-10:][action[-10:] > 0].mean() > 0.95
    assert (action[-10:] > 0).mean() > 0.8


# --- what is refused ---


@EITHER
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lags": [7]}, r"^lags: \[7\], expected \[\]$"),
        ({"interactions": True}, "^interactions: True, expected False$"),
        ({"learner": "stable_baselines3"}, "^learner: 'stable_baselines3', expected 'auto'$"),
        ({"learner": "stable_baselines3", "lags": [7]}, r"^lags: .*; learner: 'stable_baselines3', expected 'auto'$"),
    ],
)
def test_what_cannot_be_learned_on_tensors_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        newcomer(name, get("Style-v0"), **changes)


@EITHER
def test_what_nobody_sees_is_not_asked_for(name: str) -> None:
    kind: Any = agent_class(name)
    heard = kind.Settings().while_serving(ROWS, DAYS)
    assert (heard.steps, heard.envs) == (ROWS * DAYS, ROWS)
    for changes in ({"informed_critic": True}, {"expected_churn": True}, {"reward": "expected"}):
        ((setting, value),) = changes.items()
        with pytest.raises(AgentError, match=f"{setting}: {value!r}, expected .* while serving"):
            Serving(kind(get("Style-v0"), heard.model_copy(update=changes)), 0)
    shown = get("Style-v0").model_copy(update={"observe": "full"})
    with pytest.raises(AgentError, match="observe: 'full', expected 'log' while serving"):
        Serving(kind(shown, heard), 0)


@EITHER
def test_rows_stay_and_evenings_are_told(name: str) -> None:
    serving, rng = newcomer(name, get("Style-v0")), np.random.default_rng(0)
    seen = np.zeros((ROWS, serving._agent.width), np.float32)
    mask = np.ones((ROWS, 7), bool)
    serving.act(seen, mask, rng)
    with pytest.raises(AgentError, match="nothing was heard of the day before"):
        serving.act(seen, mask, rng)
    with pytest.raises(AgentError, match=f"observation: {ROWS - 1} rows, expected the {ROWS} of the first day"):
        serving.act(seen[1:], mask[1:], rng)
