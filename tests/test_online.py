"""The online track: nobody knows anything before, what is heard is what a firm can see, and mistakes stay in the account."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from agents import agent_class
from benchmarks import experiment, store
from benchmarks.cells import cells
from benchmarks.configs import ConfigError, Suite, on_device, suite
from benchmarks.findings import findings
from benchmarks.laws import Bent, Law
from benchmarks.online import Commit, OnlineBandit, newcomer
from benchmarks.references import fitting
from benchmarks.verification import verify
from blockenv import play
from blockenv.policies import Student
from blockenv.scenarios import get

WORLD = get("Frequency-v0")
SUITE = Suite(
    title="Online",
    track="online",
    scenarios=["Frequency-v0"],
    agents=["silence", "weekly", "lints", "linucb", "benchmarks.online:Commit"],
    seeds=2,
    customers=80,
    days=60,
    settings={"lints": {"block_price": 4.0}},
)


class Ear:
    """Sends every other day and writes down what it hears."""

    def __init__(self) -> None:
        self.days: list[tuple[Any, Any, Any, Any]] = []

    def act(self, seen: Any, mask: Any, rng: np.random.Generator) -> Any:
        self.seen = seen
        return np.where(mask[:, 1] & (len(self.days) % 2 == 0), 1, 0)

    def hear(self, seen: Any, action: Any, reward: Any, closed: Any) -> None:
        assert seen is self.seen
        self.days.append((seen, np.array(action), np.array(reward), np.array(closed)))


# --- what is heard ---


def test_a_student_hears_the_money_and_the_blocks_of_every_day() -> None:
    ear = Ear()
    result = play(ear, WORLD, customers=300, days=200, compact=False)
    assert len(ear.days) == 200
    factors = WORLD.discount ** np.arange(200)
    money = sum(factor * reward for factor, (_, _, reward, _) in zip(factors, ear.days, strict=True))
    np.testing.assert_allclose(money, result.realised, rtol=1e-5, atol=1e-4)
    closed = sum(day[3] for day in ear.days)
    assert 0 < closed.sum() <= result.blocks.sum()  # e-mail tells of a block on its day
    reachable = ear.days[-1][0][:, 0]
    assert ((closed > 0) == (reachable == 0))[result.days == 200].all()


def test_blocks_that_nobody_tells_of_are_not_heard() -> None:
    ear, silent = Ear(), get("Silent-v0")
    result = play(ear, silent, customers=200, days=60, compact=False)
    assert result.blocks.sum() > 0
    assert sum(int(day[3].sum()) for day in ear.days) == 0


def test_who_does_not_listen_is_told_nothing_and_lives_as_ever() -> None:
    assert not isinstance(agent_class("linucb")(WORLD), Student)
    assert isinstance(OnlineBandit(agent_class("linucb")(WORLD), 0), Student)  # type: ignore[arg-type]
    deaf, ear = play(agent_class("silence")(WORLD), WORLD, customers=50, days=30), Ear()
    bent = play(Bent(ear, Law(WORLD, 50)), WORLD, customers=50, days=30, compact=False)
    assert len(ear.days) == 30
    assert deaf.value.shape == bent.value.shape


# --- who learns ---


def test_a_bandit_begins_with_nothing_and_learns_from_what_it_hears() -> None:
    (cell,) = (each for each in cells(SUITE) if each.agent == "lints" and each.seed == 1)
    bandit = newcomer(cell)
    assert isinstance(bandit, OnlineBandit)
    assert not bandit._bandit.mean.any()
    play(bandit, WORLD, customers=200, days=30, compact=False)
    assert bandit._bandit.mean.any()
    assert bandit._bandit._count == 200 * 30


def test_a_block_costs_what_the_settings_say() -> None:
    class Told(agent_class("lints")):  # type: ignore[misc]
        heard: list[Any] = []

        def update(self, context: Any, action: Any, reward: Any) -> None:
            self.heard.append(reward)

    bandit = OnlineBandit(Told(WORLD, Told.Settings(block_price=4.0)), 0)
    bandit.hear(np.zeros((2, len(play_seen()[0]))), np.array([1, 0]), np.array([1.0, 2.0]), np.array([1, 0]))
    np.testing.assert_array_equal(Told.heard, [[-3.0, 2.0]])


def play_seen() -> Any:
    ear = Ear()
    play(ear, WORLD, customers=2, days=1, compact=False)
    return ear.days[0][0]


def test_seeds_of_a_sampling_bandit_differ_and_repeat() -> None:
    chosen = {each.seed: each for each in cells(SUITE) if each.agent == "lints"}
    values = [play(newcomer(chosen[seed]), WORLD, customers=60, days=40).value.tolist() for seed in (0, 1, 0)]
    assert values[0] == values[2] != values[1]


def test_commit_tries_all_gaps_and_then_sends_alike() -> None:
    class Watched(Commit):
        trial = 56

    policy, ear = Watched(WORLD), []
    original = policy.act

    def act(seen: Any, mask: Any, rng: np.random.Generator) -> Any:
        action = original(seen, mask, rng)
        ear.append((np.array(action > 0), np.array(mask[:, 1])))
        return action

    policy.act = act  # type: ignore[method-assign]
    play(policy, WORLD, customers=500, days=140, compact=False)
    sent = np.array([day for day, _ in ear])
    rates = [sent[:56, arm::5].mean() for arm in range(5)]
    assert rates[:4] == sorted(rates[:4], reverse=True)
    assert rates[4] == 0 < rates[3]
    open_now = np.array([mask for _, mask in ear])[84:]
    after = [sent[84:, arm::5][open_now[:, arm::5]].mean() for arm in range(5)]
    assert min(after) > 0.5 * max(after)


# --- in a suite ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("online")
    experiment.run(SUITE, place, 1)
    return place


def test_rows_say_that_they_are_online_and_can_be_made_again(folder: Path, tmp_path: Path) -> None:
    rows = store.read_rows(folder)
    assert len(rows) == 7
    assert {row["track"] for row in rows} == {"online"}
    own = [row for row in rows if row["agent"] == "benchmarks.online:Commit"]
    assert own[0]["messages_a_week"] > 0
    again = [row for row in rows if row["seed"] == 0 and row["agent"] in ("lints", "benchmarks.online:Commit")]
    assert [each.verdict for each in verify(again, tmp_path)] == ["agrees", "agrees"]
    offline = Suite(**SUITE.model_dump() | {"track": "offline", "agents": ["silence"], "settings": {}})
    assert "track" not in cells(offline)[0].identity
    assert cells(offline)[0].key not in {row["key"] for row in rows}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Path]:
    place = tmp_path_factory.mktemp("deep")
    small = {"hidden": [8], "critic_hidden": [8], "batch": 64}
    asked = Suite(
        **SUITE.model_dump()
        | {
            "agents": ["ppo", "dqn"],
            "settings": {"ppo": {**small, "entropy": 0.03, "rollout": 8}, "dqn": {**small, "warm_up": 400}},
        }
    )
    experiment.run(asked, place, 1)
    return asked, place


def test_rows_of_deep_learners_say_what_they_learned_from_and_can_be_made_again(
    deep: tuple[Suite, Path], tmp_path: Path
) -> None:
    rows = store.read_rows(deep[1])
    assert {(row["agent"], row["seed"]) for row in rows} == {
        (agent, seed) for agent in ("ppo", "dqn") for seed in (0, 1)
    }
    for row in rows:
        given = row["settings"]
        assert (given["informed_critic"], given["expected_churn"], given["reward"]) == (False, False, "realised")
        assert (given["steps"], given["envs"]) == (80 * 60, 80)
        assert given["hidden"] == [8]
        assert given.get("entropy", 0.03) == 0.03
        assert row["training_days"] == 0
        assert row["messages_a_week"] > 0
    by_agent = {agent: {row["value"] for row in rows if row["agent"] == agent} for agent in ("ppo", "dqn")}
    assert {len(values) for values in by_agent.values()} == {2}, "training seeds have to differ"
    again = [row for row in rows if row["seed"] == 1]
    assert [each.verdict for each in verify(again, tmp_path)] == ["agrees", "agrees"]


def test_a_deep_learner_is_shown_no_more_where_scenarios_show_everything(deep: tuple[Suite, Path]) -> None:
    for cell in cells(deep[0]):
        shown = cell._replace(world=WORLD.model_copy(update={"observe": "full"}))
        values = [
            play(newcomer(each), each.world, customers=80, days=30, batch=80, compact=False).value.tolist()
            for each in (cell, shown)
        ]
        assert values[0] == values[1]


def test_settings_of_a_suite_hold_on_the_online_track(deep: tuple[Suite, Path]) -> None:
    told = {cell.agent: cell.settings for cell in cells(on_device(deep[0], "cpu"))}
    assert {settings["device"] for settings in told.values()} == {"cpu"}
    offline = Suite(**deep[0].model_dump() | {"track": "offline"})
    assert {cell.settings["informed_critic"] for cell in cells(offline)} == {True}


def test_regret_is_what_is_missing_to_full_information(tmp_path: Path) -> None:
    whole = Suite(
        **SUITE.model_dump() | {"days": None, "agents": ["silence", "random"], "settings": {}, "customers": 64}
    )
    rows = experiment.run(whole, tmp_path, 1)
    (scenario,) = findings(rows, tmp_path, "Online")["scenarios"]
    assert scenario["track"] == "online"
    reference = fitting(WORLD.name, WORLD.digest, WORLD.evaluation_days)
    assert reference is not None
    for entry in scenario["entries"]:
        (row,) = (each for each in rows if each["agent"] == entry["agent"])
        best = reference.values["optimum"][:64]
        expected = (best - store.read_values(tmp_path, row)).mean()
        assert entry["regret"][0] == pytest.approx(expected, rel=1e-4)
        assert entry["regret"][0] > 0
        assert entry["measures"]["blocks"] >= 0


def test_who_cannot_learn_while_serving_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "online.yaml"

    def refused(**changes: Any) -> str:
        content = {"title": "T", "track": "online", "scenarios": ["Omnichannel-v0"], "agents": ["silence"]}
        path.write_text(yaml.safe_dump(content | changes))
        with pytest.raises(ConfigError) as caught:
            suite(path)
        return str(caught.value)

    assert "'ppo_memory' cannot learn while it serves (lags: [91], expected [])" in refused(agents=["ppo_memory"])
    other = {"agents": ["dqn"], "settings": {"dqn": {"learner": "stable_baselines3"}}}
    assert "'dqn' cannot learn while it serves (learner: 'stable_baselines3', expected 'auto')" in refused(**other)
    for name, value in (("steps", 5), ("envs", 5), ("informed_critic", True), ("expected_churn", False)):
        no_choice = {"agents": ["ppo"], "settings": {"ppo": {name: value, "entropy": 0.1}}}
        assert f"settings of ppo: ['{name}'] given, expected none" in refused(**no_choice)
    assert "settings of ppo: entropy" in refused(agents=["ppo"], settings={"ppo": {"entropy": -1}})
    assert "'personal_cap' cannot learn while it serves, expected a rule" in refused(agents=["personal_cap"])
    assert "nobody is trained before" in refused(trained_on="Omnichannel-v0")
    assert "track: " in refused(track="sideways")
