"""Every entry of `AGENTS` keeps the same promises, and every learner finds answers that are known beforehand."""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from numpy.typing import NDArray

from agents import AGENTS, agent_class
from agents.agent import Agent, AgentError, Metrics, Unwatched, parsed
from agents.bandits import LinUCB
from agents.dqn import DQNAgent
from agents.ppo import PPOAgent
from agents.rules import random_legal
from blockenv import Scenario, play
from blockenv.cohort import Cohort
from blockenv.scenarios import get
from blockenv.scenarios.schema import Channel, Commerce, Response, Segment, Spread, Style
from tests.tiny_agents import known, tiny

ROOT = Path(__file__).resolve().parent.parent
WORLDS = ("Frequency-v0", "Style-v0", "Omnichannel-v0", "Silent-v0")
DEEP = ("dqn", "ppo", "ppo_memory")


@functools.cache
def trained(name: str, world: str, seed: int = 3) -> Agent:
    agent = agent_class(name)(get(world), tiny(name))
    agent.fit(seed, Unwatched())
    return agent


@functools.cache
def morning(world: str, customers: int = 3000) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What is seen of customers, and what is legal, after two weeks of random messages."""
    cohort = Cohort(get(world), np.full(customers, 11, np.uint64), np.arange(customers))
    rng = np.random.default_rng(0)
    for _ in range(14):
        cohort.step(random_legal(cohort.legal_actions(), rng))
    seen, mask = cohort.observe(), cohort.legal_actions().copy()
    return seen, mask


def choose(agent: Agent, world: str, rows: slice = slice(None)) -> NDArray[np.integer[Any]]:
    seen, mask = morning(world)
    return agent.act(seen[rows], mask[rows], np.random.default_rng(5))


def assert_legal(actions: NDArray[Any], mask: NDArray[np.bool_]) -> None:
    assert isinstance(actions, np.ndarray)
    assert actions.shape == (len(mask),)
    assert np.issubdtype(actions.dtype, np.integer)
    assert mask[np.arange(len(mask)), actions].all()


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", AGENTS)
def test_actions_are_legal_and_inputs_stay_what_they_were(name: str, world: str) -> None:
    agent = trained(name, world)
    assert isinstance(agent, Agent)
    seen, mask = morning(world)
    if world == "Omnichannel-v0":
        assert not mask.all(), "some channels have to be closed"
    before = seen.copy(), mask.copy()
    for frozen in (seen, mask):
        frozen.flags.writeable = False
    assert_legal(choose(agent, world), mask)
    for row in range(20):
        assert_legal(choose(agent, world, slice(row, row + 1)), mask[row : row + 1])
    np.testing.assert_array_equal(seen, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_can_be_played_although_it_has_never_seen_these_customers(name: str) -> None:
    result = play(trained(name, "Style-v0"), "Style-v0", customers=64, days=20)
    assert np.isfinite(result.value).all()
    assert (result.messages == 0).all() or name != "silence"


@pytest.mark.parametrize("name", AGENTS)
def test_the_same_seed_gives_the_same_agent(name: str) -> None:
    again = agent_class(name)(get("Style-v0"), tiny(name))
    again.fit(3, Unwatched())
    np.testing.assert_array_equal(choose(again, "Style-v0"), choose(trained(name, "Style-v0"), "Style-v0"))


@pytest.mark.parametrize("name", ["linucb", "greedy", *DEEP])
def test_another_seed_gives_another_agent(name: str, tmp_path: Path) -> None:
    contents = []
    for seed in (3, 4):
        trained(name, "Style-v0", seed).save(tmp_path / str(seed))
        last = "policy.pt" if name in DEEP else "agent.json"
        contents.append((tmp_path / str(seed) / last).read_bytes())
    assert contents[0] != contents[1]


def test_the_same_seed_gives_the_same_agent_in_another_process() -> None:
    program = """
import sys, numpy as np
from agents import agent_class
from agents.agent import Unwatched
from blockenv.scenarios import get
kind = agent_class("ppo")
agent = kind(get("Style-v0"), kind.Settings.model_validate_json(sys.argv[1]))
agent.fit(3, Unwatched())
seen = np.load(sys.argv[2])
print(agent.act(seen["seen"], seen["mask"], np.random.default_rng(5)).tolist())
"""
    seen, mask = morning("Style-v0")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "morning.npz"
        np.savez(path, seen=seen, mask=mask)
        settings = tiny("ppo").model_dump_json()
        done = subprocess.run(
            [sys.executable, "-c", program, settings, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    np.testing.assert_array_equal(json.loads(done.stdout), choose(trained("ppo", "Style-v0"), "Style-v0"))


@pytest.mark.parametrize("world", ["Style-v0", "Omnichannel-v0"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_kept_agent_acts_as_before(name: str, world: str, tmp_path: Path) -> None:
    agent = trained(name, world)
    agent.save(tmp_path / "new" / "folder")
    agent.save(tmp_path / "new" / "folder")
    loaded = type(agent).load(tmp_path / "new" / "folder", get(world))
    np.testing.assert_array_equal(choose(loaded, world), choose(agent, world))
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} <= {"agent.json", "policy.pt"}


@pytest.mark.parametrize("name", AGENTS)
def test_what_cannot_be_read_back_is_an_error_that_names_the_file(name: str, tmp_path: Path) -> None:
    agent, world = trained(name, "Style-v0"), get("Style-v0")
    kind = type(agent)
    with pytest.raises(AgentError, match="nowhere"):
        kind.load(tmp_path / "nowhere", world)
    agent.save(tmp_path)
    record = tmp_path / "agent.json"
    whole = record.read_bytes()
    content = json.loads(whole)
    damaged = [
        whole[: len(whole) // 2],
        b"",
        b"\xff\xfe\x00",
        b"[1, 2]",
        json.dumps(content | {"agent": "Somebody"}).encode(),
        json.dumps(content | {"learned": [1]}).encode(),
        json.dumps(content | {"settings": None}).encode(),
        json.dumps(content | {"settings": {"no_such_setting": 1}}).encode(),
    ]
    for each in damaged:
        record.write_bytes(each)
        with pytest.raises(AgentError, match=r"agent\.json"):
            kind.load(tmp_path, world)
    other = "cap" if name != "cap" else "silence"
    trained(other, "Style-v0").save(tmp_path)
    with pytest.raises(AgentError, match=r"agent\.json: holds '\w+', expected an agent"):
        kind.load(tmp_path, world)


@pytest.mark.parametrize("name", ["greedy", "weekly", "linucb", "lints_priced", "cap", "rfm", "personal_cap"])
@pytest.mark.parametrize("damage", ["missing", "null", "infinite", "text", "another shape"])
def test_damaged_knowledge_of_rules_and_bandits(name: str, damage: str, tmp_path: Path) -> None:
    agent = trained(name, "Style-v0")
    agent.save(tmp_path)
    record = tmp_path / "agent.json"
    content = json.loads(record.read_bytes())
    key = next(iter(content["learned"]))
    values = {"null": None, "infinite": float("inf"), "text": "many", "another shape": [[1.5, 2.5]]}
    if damage == "missing":
        del content["learned"][key]
    else:
        content["learned"][key] = values[damage]
    record.write_text(json.dumps(content))
    with pytest.raises(AgentError, match=r"agent\.json"):
        type(agent).load(tmp_path, get("Style-v0"))


@pytest.mark.parametrize("name", ["greedy", "weekly", "linucb", "lints", "linucb_priced", "lints_priced", *DEEP])
def test_knowledge_of_another_scenario_s_shape(name: str, tmp_path: Path) -> None:
    trained(name, "Style-v0").save(tmp_path)
    file = "policy.pt" if name in DEEP else "agent.json"
    with pytest.raises(AgentError, match=f"{file}.*not fit Frequency-v0"):
        agent_class(name).load(tmp_path, get("Frequency-v0"))


@pytest.mark.parametrize("name", ["cap", "rfm"])
def test_messages_of_another_scenario_s_shape(name: str, tmp_path: Path) -> None:
    agent = agent_class(name)(get("Style-v0"), tiny(name, messages=[6]))
    agent.fit(0, Unwatched())
    agent.save(tmp_path)
    with pytest.raises(AgentError, match=r"agent\.json.*6 is not among 1\.\.1"):
        type(agent).load(tmp_path, get("Frequency-v0"))
    with pytest.raises(AgentError, match=r"messages: 6 is not among 1\.\.1 of Frequency-v0"):
        agent_class(name)(get("Frequency-v0"), tiny(name, messages=[6]))


@pytest.mark.parametrize("name", DEEP)
def test_damaged_weights(name: str, tmp_path: Path) -> None:
    agent = trained(name, "Style-v0")
    agent.save(tmp_path)
    weights = tmp_path / "policy.pt"
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not weights"):
        weights.write_bytes(content)
        with pytest.raises(AgentError, match=r"policy\.pt"):
            type(agent).load(tmp_path, get("Style-v0"))
    for wrong in ([1, 2], th.zeros(3), {}, {"a": 1}, {1: th.zeros(2)}, None):
        th.save(wrong, weights)
        with pytest.raises(AgentError, match=r"policy\.pt"):
            type(agent).load(tmp_path, get("Style-v0"))
    weights.unlink()
    with pytest.raises(AgentError, match=r"policy\.pt"):
        type(agent).load(tmp_path, get("Style-v0"))


@pytest.mark.parametrize("name", AGENTS)
def test_saving_where_it_cannot_be_done_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    agent = trained(name, "Style-v0")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        agent.save(tmp_path / "file" / "folder")
    assert (tmp_path / "file").read_text() == "in the way"
    # Whoever may write everywhere is stopped by a folder of the same name alone.
    (tmp_path / "taken" / "agent.json").mkdir(parents=True)
    with pytest.raises(OSError, match=r"agent\.json"):
        agent.save(tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["agent.json"]


@pytest.mark.parametrize("name", DEEP)
def test_what_has_learned_nothing_cannot_be_saved(name: str, tmp_path: Path) -> None:
    agent = agent_class(name)(get("Style-v0"), tiny(name))
    with pytest.raises(AgentError, match="learned nothing"):
        agent.save(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("name", AGENTS)
def test_a_misspelt_setting_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(AgentError, match=r"here: no_such_setting: .*got 7.*Settings are"):
        parsed(agent_class(name).Settings, {"no_such_setting": 7}, "here")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("greedy", "customers", 0),
        ("weekly", "days", -1),
        ("cap", "gap", 0),
        ("cap", "customers", "many"),
        ("rfm", "days", 0),
        ("linucb", "ridge", 0.0),
        ("linucb", "explore", -1.0),
        ("lints", "explore", float("nan")),
        ("lints", "reward", "guessed"),
        ("linucb_priced", "prices", []),
        ("linucb_priced", "prices", [-1.0]),
        ("lints_priced", "prices", [float("inf")]),
        ("ppo", "steps", 0),
        ("ppo", "gamma", 1.5),
        ("ppo", "learning_rate", float("nan")),
        ("ppo", "hidden", []),
        ("ppo", "hidden", [8, 0]),
        ("ppo", "critic_hidden", [8, -1]),
        ("ppo", "silence", 1.0),
        ("ppo", "gae_lambda", -0.1),
        ("ppo", "learner", "abacus"),
        ("dqn", "learner", "abacus"),
        ("ppo", "lags", [7, 0]),
        ("ppo_memory", "lags", []),
        ("dqn", "explore_to", 2.0),
        ("dqn", "explore_silence", float("inf")),
        ("dqn", "batch", 0),
    ],
)
def test_a_setting_out_of_range_is_an_error_that_names_field_and_value(name: str, field: str, value: Any) -> None:
    with pytest.raises(AgentError) as error:
        tiny(name, **{field: value})
    assert f"{name}: {field}" in str(error.value)
    shown = value[-1] if isinstance(value, list) and value else value
    assert f"got {shown!r}" in str(error.value)


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_does_not_exist(name: str, device: str) -> None:
    with pytest.raises(AgentError, match=f"device: '{device}' cannot be used"):
        agent_class(name)(get("Style-v0"), tiny(name, device=device))


@pytest.mark.parametrize("name", AGENTS)
def test_a_world_that_shows_everything_does_not_mislead(name: str) -> None:
    """An agent reads what a sender may see by name, wherever further columns stand."""
    shown = get("Style-v0").model_copy(update={"observe": "full"})
    agent = agent_class(name)(shown, tiny(name))
    agent.fit(3, Unwatched())
    assert play(agent, shown, customers=32, days=5).value.shape == (32,)


class Kept:
    """A monitor that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, Metrics]] = []

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        self.told.append((steps, total, metrics))


@pytest.mark.parametrize("name", ["cap", "greedy", "linucb", "lints_priced", *DEEP])
def test_monitors_hear_of_progress_that_only_grows(name: str) -> None:
    monitor = Kept()
    agent_class(name)(get("Style-v0"), tiny(name, **({} if name in (*DEEP, "cap", "greedy") else {"days": 56}))).fit(
        1, monitor
    )
    steps = [each[0] for each in monitor.told]
    assert steps
    assert steps == sorted(steps)
    assert all(0 < done <= total for done, total, _ in monitor.told)
    assert all(np.isfinite(list(metrics.values())).all() for _, _, metrics in monitor.told)


# Worlds with a known answer: everybody alike, one channel, nothing wears off.


def world(**changes: Any) -> Scenario:
    """Opens nearly always, orders at one in four, is never tired, blocks never, leaves at one in a thousand."""
    channel: dict[str, Any] = {"name": "mail", "load": 0.0, "cost": 0.1, "block_probability": 0.0}
    channel |= {"open_logit": 3.0, "buy_logit": -1.0} | changes.pop("channel", {})
    segment: dict[str, Any] = {"name": "all", "weight": 1.0, "ideal_load": 20.0, "reactance": 0.0, "reciprocity": 0.0}
    segment |= {"churn_contact": 0.0, "resting_bond": 0.5, "organic_rate": 0.01} | changes.pop("segment", {})
    alike = {name: 0.0 for name in Spread.model_fields if name != "organic_shape"}
    fields: dict[str, Any] = {
        "name": "Tiny-v0",
        "isolates": "an answer known beforehand",
        "channels": (Channel(**channel),),
        "segments": (Segment(**segment),),
        "spread": Spread(**alike, organic_shape=50.0),
        "response": Response(churn_probability=0.001, churn_bond=0.0),
        "commerce": Commerce(order_log_sd=0.0),
        "horizon": 56,
        "hint_noise": 0.0,
    }
    return Scenario(**fields | changes)


def generous() -> Scenario:
    """(a) A message always pays: send daily."""
    return world()


def touchy() -> Scenario:
    """(b) A message pays today, but it blocks the channel for days and drives customers away: be silent.

    The channel reopens, because a price that is paid once in a lifetime is the same today or tomorrow: as long as
    it is going to be paid anyway, learning from one's own behaviour hardly notices it.
    """
    return world(
        channel={"block_probability": 0.9, "buy_logit": -5.5, "win_back_rate": 0.2},
        segment={"churn_contact": 3.0},
        commerce=Commerce(order_value=1200.0, order_log_sd=0.0),
        response=Response(churn_probability=0.003, churn_bond=0.0),
        horizon=14,
    )


def tastes() -> Scenario:
    """(c) What one half likes the other half hates, and everybody's half is known: match the style."""
    likes = {"a": "warm", "b": "cool"}
    segments = [
        Segment(
            name=name,
            weight=0.5,
            ideal_load=20.0,
            reactance=0.0,
            reciprocity=0.0,
            style_buy={style: 0.0 if style == liked else -6.0 for style in likes.values()},
            churn_contact=0.0,
            resting_bond=0.5,
            organic_rate=0.01,
        )
        for name, liked in likes.items()
    ]
    return world(segments=tuple(segments), styles=(Style(name="warm"), Style(name="cool")), channel={"cost": 0.5})


PPO: dict[str, Any] = {
    "steps": 100_000,
    "envs": 256,
    "learning_rate": 3e-3,
    "gamma": 0.99,
    "gae_lambda": 0.9,
    "rollout": 8,
    "batch": 512,
    "epochs": 4,
    "entropy": 0.0,
    "hidden": [16],
    "critic_hidden": [16],
    "device": "cpu",
}
DQN: dict[str, Any] = {
    "steps": 50_000,
    "envs": 256,
    "learning_rate": 3e-3,
    "gamma": 0.99,
    "batch": 256,
    "buffer": 25_000,
    "warm_up": 2_000,
    "updates": 4,
    "target_every": 1,
    "tau": 0.2,
    "hidden": [16],
    "critic_hidden": [64, 64],
    "device": "cpu",
}
LEARNERS: dict[str, dict[str, Any]] = {
    "linucb": {"customers": 256, "days": 60},
    "lints": {"customers": 256, "days": 60},
    "cap": {"customers": 1024, "days": 240},
    "ppo": PPO,
    "ppo-stable_baselines3": PPO | {"learner": "stable_baselines3"},
    "dqn": DQN,
    "dqn-stable_baselines3": DQN | {"learner": "stable_baselines3"},
}


def learn(label: str, scenario: Scenario, kind: Any = None, **changes: Any) -> Agent:
    """An agent of `kind`, by default the one that the label begins with."""
    name = label.split("-")[0]
    kind = kind or agent_class(name)
    agent: Agent = kind(scenario, parsed(kind.Settings, known(name, LEARNERS[label] | changes), name))
    agent.fit(0, Unwatched())
    return agent


def share_sent(agent: Agent, scenario: Scenario, days: int = 28) -> float:
    """Messages by mornings on which a message was possible."""
    counts = np.zeros(2)

    class Counting:
        def act(self, seen: Any, mask: Any, rng: np.random.Generator) -> Any:
            actions = agent.act(seen, mask, rng)
            counts[:] += (actions > 0).sum(), mask[:, 1:].any(axis=1).sum()
            return actions

    play(Counting(), scenario, customers=512, days=days)
    return float(counts[0] / counts[1])


@pytest.mark.parametrize("name", LEARNERS)
def test_where_messages_always_pay_everybody_hears_nearly_daily(name: str) -> None:
    scenario = generous()
    agent = learn(name, scenario)
    assert share_sent(agent, scenario) > 0.9
    assert getattr(agent, "gap", 1) == 1


@pytest.mark.parametrize("name", ["ppo", "ppo-stable_baselines3", "dqn", "dqn-stable_baselines3", "cap"])
def test_where_the_first_message_drives_customers_away_the_far_sighted_are_silent(name: str) -> None:
    scenario = touchy()
    assert share_sent(learn(name, scenario), scenario) < 0.05


@pytest.mark.parametrize("name", ["linucb", "lints"])
def test_where_the_first_message_drives_customers_away_the_myopic_send_it(name: str) -> None:
    scenario = touchy()
    assert share_sent(learn(name, scenario), scenario) > 0.5


def right_styles(agent: Agent, scenario: Scenario) -> tuple[float, float]:
    """Share of customers who were written to, and of these who got the style they like."""
    cohort = Cohort(scenario, np.full(1000, 2**41, np.uint64), np.arange(1000))
    actions = agent.act(cohort.observe(), cohort.legal_actions().copy(), np.random.default_rng(1))
    sent = actions > 0
    return float(sent.mean()), float((actions - 1 == cohort.traits.segment)[sent].mean())


@pytest.mark.parametrize("name", ["ppo", "ppo-stable_baselines3", "linucb", "lints", "dqn", "dqn-stable_baselines3"])
def test_every_kind_of_customer_gets_the_style_it_likes(name: str) -> None:
    scenario = tastes()
    sent, right = right_styles(learn(name, scenario), scenario)
    assert sent > 0.8
    assert right > 0.9


class ContraryLinUCB(LinUCB):
    """Takes profits for losses."""

    def update(self, context: Any, action: Any, reward: Any) -> None:
        super().update(context, action, -reward)


class ContraryPPO(PPOAgent):
    """Takes profits for losses, where everybody counts the same: `balance` is 1."""

    def _worth(self, seen: Any) -> Any:
        return -super()._worth(seen)


class ContraryDQN(DQNAgent):
    """Takes profits for losses, where everybody counts the same: `balance` is 1."""

    def _worth(self, seen: Any) -> Any:
        return -super()._worth(seen)


@pytest.mark.parametrize(
    ("kind", "name", "changes"),
    [
        (ContraryLinUCB, "linucb", {}),
        (ContraryPPO, "ppo", {"balance": 1.0}),
        (ContraryPPO, "ppo-stable_baselines3", {"balance": 1.0}),
        (ContraryDQN, "dqn", {"balance": 1.0}),
        (ContraryDQN, "dqn-stable_baselines3", {"balance": 1.0}),
    ],
)
def test_these_answers_tell_a_learner_with_the_wrong_sign_apart(kind: Any, name: str, changes: dict[str, Any]) -> None:
    scenario = generous()
    assert share_sent(learn(name, scenario, kind, **changes), scenario) < 0.5
