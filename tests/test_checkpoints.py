"""Training that was cut off goes on from its checkpoint as if nothing had happened, and no file can run code."""

import functools
import io
import json
import pickle
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from agents import agent_class, checkpoints
from agents.agent import AgentError, Metrics, parsed
from blockenv import Scenario
from blockenv.scenarios import get

CUT = 768
PPO: dict[str, Any] = {
    "steps": 1536,
    "envs": 16,
    "rollout": 8,
    "batch": 64,
    "hidden": [8],
    "critic_hidden": [8],
    "device": "cpu",
}
DQN: dict[str, Any] = {
    "steps": 1536,
    "envs": 16,
    "batch": 32,
    "buffer": 640,
    "warm_up": 128,
    "hidden": [8],
    "stretch": 5,
    "device": "cpu",
}
BY_BASELINES = {"learner": "stable_baselines3"}
# By what an agent is called, and by what learns where that is not its own choice.
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": PPO,
    "ppo-stable_baselines3": PPO | BY_BASELINES,
    "ppo_memory": PPO | {"lags": [2, 30]},
    "dqn": DQN,
    "dqn-stable_baselines3": DQN | BY_BASELINES,
}
NAMES = tuple(SETTINGS)
TENSORS = {"ppo": ("policy", "optimizer", "coins", "seen"), "dqn": ("policy", "optimizer", "coins")}  # what they keep


class PowerCutError(Exception):
    """The power fails."""


class Watch:
    """Keeps what it hears; makes a checkpoint once `at` steps are reached, and then may end it all."""

    def __init__(self, agent: Any = None, folder: Path | None = None, at: int = CUT, fatal: bool = False) -> None:
        self.agent, self.folder, self.at, self.fatal = agent, folder, at, fatal
        self.told: list[tuple[int, Metrics]] = []

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        self.told.append((steps, {name: value for name, value in metrics.items() if name.startswith("clv/")}))
        if self.folder is not None and steps >= self.at:
            folder, self.folder = self.folder, None
            self.agent.checkpoint(folder)
            if self.fatal:
                raise PowerCutError


@functools.cache
def short_lives() -> Scenario:
    """Customers come and go within the few days of these tests."""
    world = get("Style-v0")
    response = world.response.model_copy(update={"churn_probability": 0.02})
    return world.model_copy(update={"horizon": 12, "response": response})


def make(name: str, world: Scenario | None = None, **changes: Any) -> Any:
    kind = agent_class(name.split("-")[0])
    return kind(world or short_lives(), parsed(kind.Settings, SETTINGS[name] | changes, name))


@functools.cache
def uninterrupted(name: str) -> tuple[dict[str, th.Tensor], list[tuple[int, Metrics]]]:
    agent, watch = make(name), Watch()
    agent.fit(7, watch)
    return agent.policy.state_dict(), watch.told


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each learner, whose process ended right after."""
    folders = {}
    for name in NAMES:
        folders[name] = tmp_path_factory.mktemp(name) / "checkpoint"
        agent = make(name)
        with pytest.raises(PowerCutError):
            agent.fit(7, Watch(agent, folders[name], fatal=True))
    return folders


@pytest.fixture
def copied(kept: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    for name, folder in kept.items():
        shutil.copytree(folder, tmp_path / name / "checkpoint")
    return {name: tmp_path / name / "checkpoint" for name in kept}


def assert_same_weights(found: dict[str, th.Tensor], expected: dict[str, th.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert th.equal(found[name], expected[name]), name


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_with_the_very_same_weights(name: str, kept: dict[str, Path]) -> None:
    weights, told = uninterrupted(name)
    steps = checkpoints.steps(kept[name])
    assert CUT <= steps < SETTINGS[name]["steps"]
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002 - whatever the new process did with the global generators
    th.manual_seed(99)
    agent, watch = make(name), Watch()
    agent.resume(kept[name])
    agent.fit(7, watch)
    assert_same_weights(agent.policy.state_dict(), weights)
    assert watch.told == [each for each in told if each[0] > steps], "the curves go on alike as well"


# --- generators of GPUs ---


class Gpus:
    """So many GPUs as far as their random generators go; stands in where there are none."""

    def __init__(self, count: int) -> None:
        self.states = [th.full((16,), number, dtype=th.uint8) for number in range(count)]

    def put_into(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(th.cuda, "is_available", lambda: bool(self.states))
        patch.setattr(th.cuda, "device_count", lambda: len(self.states))
        patch.setattr(th.cuda, "get_rng_state_all", lambda: [state.clone() for state in self.states])
        patch.setattr(th.cuda, "set_rng_state", self.set)

    def set(self, state: th.Tensor, device: int) -> None:
        assert state.device.type == "cpu"
        self.states[device] = state.clone()


def test_without_a_gpu_a_checkpoint_has_no_generators_of_one(kept: dict[str, Path]) -> None:
    if th.cuda.is_available():
        pytest.skip("there is a GPU")
    assert th.load(kept["ppo_memory"] / "model.pt", weights_only=True)["cuda_generators"] == []


@pytest.mark.parametrize("there", [1, 2, 3])
def test_generators_of_gpus_are_kept_and_given_back(
    there: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To as many GPUs as there are: a run may go on on another machine."""
    folder = tmp_path / "checkpoint"
    with monkeypatch.context() as patch:
        Gpus(2).put_into(patch)
        agent = make("ppo_memory")
        with pytest.raises(PowerCutError):
            agent.fit(7, Watch(agent, folder, fatal=True))
    kept = th.load(folder / "model.pt", weights_only=True)["cuda_generators"]
    assert [set(state.tolist()) for state in kept] == [{0}, {1}]
    with monkeypatch.context() as patch:
        gpus = Gpus(there)
        gpus.states = [state + 100 for state in gpus.states]
        gpus.put_into(patch)
        agent = make("ppo_memory", steps=CUT)
        agent.resume(folder)
        agent.fit(7, Watch())
    assert [set(state.tolist()) for state in gpus.states] == [{0}, {1}, {102}][:there]


def test_a_checkpoint_from_before_gpus_had_generators_in_it_is_read(copied: dict[str, Path]) -> None:
    path = copied["ppo_memory"] / "model.pt"
    tensors = th.load(path, weights_only=True)
    del tensors["cuda_generators"]
    th.save(tensors, path)
    agent = make("ppo_memory")
    agent.resume(copied["ppo_memory"])
    agent.fit(7, Watch())
    assert_same_weights(agent.policy.state_dict(), uninterrupted("ppo_memory")[0])


@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_a_run_on_a_gpu_goes_on_with_the_same_luck(name: str, tmp_path: Path) -> None:
    whole = make(name, device="cuda")
    whole.fit(7, Watch())
    first = make(name, device="cuda")
    with pytest.raises(PowerCutError):
        first.fit(7, Watch(first, tmp_path / "checkpoint", fatal=True))
    th.cuda.manual_seed_all(99)
    second = make(name, device="cuda")
    second.resume(tmp_path / "checkpoint")
    second.fit(7, Watch())
    for found, expected in zip(second.policy.parameters(), whole.policy.parameters(), strict=True):
        th.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_keeping_a_checkpoint_changes_nothing(name: str, tmp_path: Path) -> None:
    agent = make(name)
    agent.fit(7, Watch(agent, tmp_path / "checkpoint"))
    assert_same_weights(agent.policy.state_dict(), uninterrupted(name)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_can_be_cut_off_twice(name: str, kept: dict[str, Path], tmp_path: Path) -> None:
    second = make(name)
    second.resume(kept[name])
    with pytest.raises(PowerCutError):
        second.fit(7, Watch(second, tmp_path / "checkpoint", at=CUT + 256, fatal=True))
    third = make(name)
    third.resume(tmp_path / "checkpoint")
    third.fit(7, Watch())
    assert_same_weights(third.policy.state_dict(), uninterrupted(name)[0])


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_ends_with_other_weights(name: str) -> None:
    agent = make(name)
    agent.fit(8, Watch())
    weights = uninterrupted(name)[0]
    assert any(not th.equal(values, weights[each]) for each, values in agent.policy.state_dict().items())


def test_customers_have_been_replaced_before_the_cut(kept: dict[str, Path]) -> None:
    """Otherwise the tests above would not notice a clock or a weight that stays behind."""
    for name, folder in kept.items():
        prefix = "" if name in TENSORS else "env."
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            assert (arrays[f"{prefix}customer"] >= 16).sum() > 12
            assert len(np.unique(arrays[f"{prefix}log.day"])) > 3


def test_the_buffer_has_been_overwritten_before_the_cut(kept: dict[str, Path]) -> None:
    with np.load(kept["dqn-stable_baselines3"] / "arrays.npz", allow_pickle=False) as arrays:
        position, full = arrays["buffer.position"]
    assert full == 1
    assert position > 0
    with np.load(kept["dqn"] / "arrays.npz", allow_pickle=False) as arrays:
        days, _, slots, _ = arrays["stretches.clock"]
    assert days > slots


@pytest.mark.parametrize("name", ["ppo", "ppo_memory"])
def test_checkpoints_are_made_during_learning_only(name: str, tmp_path: Path) -> None:
    agent = make(name)
    with pytest.raises(AgentError, match="nothing is being learned"):
        agent.checkpoint(tmp_path / "checkpoint")
    agent.fit(0, Watch())
    with pytest.raises(AgentError, match="nothing is being learned"):
        agent.checkpoint(tmp_path / "checkpoint")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file", ["model.pt", "arrays.npz", "state.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "nonsense"])
def test_a_damaged_checkpoint_is_an_error_that_names_it(
    name: str, file: str, damage: str, copied: dict[str, Path]
) -> None:
    path = copied[name] / file
    whole = path.read_bytes()
    contents = {"empty": b"", "truncated": whole[: len(whole) // 2], "nonsense": b"\x80\x04nonsense"}
    path.unlink()
    if damage != "missing":
        path.write_bytes(contents[damage])
    with pytest.raises(AgentError, match="checkpoint"):
        make(name).resume(copied[name])
    with pytest.raises(AgentError, match="checkpoint"):
        checkpoints.steps(copied[name])


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="nowhere"):
        make("ppo").resume(tmp_path / "nowhere")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [[1, 2], {}, {"policy": 3, "optimizer": {}, "generator": th.zeros(3)}, th.zeros(2)])
def test_other_tensors_than_expected(name: str, wrong: Any, copied: dict[str, Path]) -> None:
    th.save(wrong, copied[name] / "model.pt")
    assert_does_not_fit(make(name), copied[name])


@pytest.mark.parametrize(("name", "part"), [(name, part) for name, parts in TENSORS.items() for part in parts])
@pytest.mark.parametrize("wrong", [None, 3, {}, [th.zeros(2)]], ids=["missing", "number", "record", "list"])
def test_a_tensor_that_is_missing_or_something_else(name: str, part: str, wrong: Any, copied: dict[str, Path]) -> None:
    path = copied[name] / "model.pt"
    tensors = th.load(path, weights_only=True)
    del tensors[part]
    th.save(tensors | ({} if wrong is None else {part: wrong}), path)
    assert_does_not_fit(make(name), copied[name])


@pytest.mark.parametrize("wrong", [[], {}, {"counters": [1]}, {"counters": {"num_timesteps": "many"}}])
@pytest.mark.parametrize("name", NAMES)
def test_records_that_do_not_tell_the_steps(name: str, wrong: Any, copied: dict[str, Path]) -> None:
    (copied[name] / "state.json").write_text(json.dumps(wrong))
    with pytest.raises(AgentError, match="checkpoint does not fit"):
        checkpoints.steps(copied[name])


@pytest.mark.parametrize("wrong", [[], {}, {"counters": [1]}, {"counters": {}, "numpy": [1], "random": [3, [1], None]}])
def test_other_records_than_expected(wrong: Any, copied: dict[str, Path]) -> None:
    name = "dqn-stable_baselines3"
    (copied[name] / "state.json").write_text(json.dumps(wrong))
    assert_does_not_fit(make(name), copied[name])


ARRAYS = {
    "ppo": ("customer", "seed", "limit", "steps", "traits.hints", "state.bond", "log.day"),
    "ppo-stable_baselines3": ("env.customer", "env.limit", "adapter.weights", "last_obs", "starts", "global_keys"),
    "ppo_memory": ("env.customer", "env.limit", "env.state.bond", "adapter.weights", "last_obs", "starts"),
    "dqn": ("customer", "limit", "steps", "stretches.clock", "stretches.seen", "stretches.after", "stretches.final"),
    "dqn-stable_baselines3": ("env.customer", "buffer.position", "buffer.rewards", "last_obs"),
}


@pytest.mark.parametrize(("name", "array"), [(name, each) for name, arrays in ARRAYS.items() for each in arrays])
def test_arrays_that_are_missing(name: str, array: str, copied: dict[str, Path]) -> None:
    path = copied[name] / "arrays.npz"
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    del arrays[array]
    np.savez(path, **arrays)
    assert_does_not_fit(make(name), copied[name])


def assert_does_not_fit(agent: Any, folder: Path) -> None:
    agent.resume(folder)
    with pytest.raises(AgentError, match="checkpoint does not fit this scenario and these settings"):
        agent.fit(7, Watch())


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_other_settings_or_of_another_scenario(name: str, kept: dict[str, Path]) -> None:
    assert_does_not_fit(make(name, hidden=[9]), kept[name])
    assert_does_not_fit(make(name, envs=8), kept[name])
    assert_does_not_fit(make(name, get("Frequency-v0")), kept[name])
    for other in (each for each in NAMES if each != name):
        assert_does_not_fit(make(name), kept[other])


@pytest.mark.parametrize("name", NAMES)
def test_a_process_that_died_between_the_two_renames(name: str, copied: dict[str, Path]) -> None:
    folder = copied[name]
    folder.rename(folder.with_name(".checkpoint.old"))
    agent = make(name)
    agent.resume(folder)
    assert folder.exists()
    agent.fit(7, Watch())
    assert_same_weights(agent.policy.state_dict(), uninterrupted(name)[0])


def test_a_process_that_died_before_the_old_one_was_removed(copied: dict[str, Path]) -> None:
    folder = copied["dqn"]
    old = folder.with_name(".checkpoint.old")
    shutil.copytree(folder, old)
    (old / "model.pt").write_bytes(b"older")
    make("dqn").resume(folder)
    agent = make("dqn")
    agent.fit(7, Watch(agent, folder))
    assert not old.exists()
    make("dqn").resume(folder)


@pytest.mark.parametrize("name", ["ppo", "ppo_memory"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one_whole(
    name: str, copied: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied[name]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("No space left on device")

    agent = make(name)
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            agent.fit(7, Watch(agent, folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    make(name).resume(folder)


class Intruder:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def malicious(trace: Path) -> dict[str, bytes]:
    zipped, legacy = io.BytesIO(), io.BytesIO()
    th.save({"policy": Intruder(trace)}, zipped)
    th.save({"policy": Intruder(trace)}, legacy, _use_new_zipfile_serialization=False)
    return {"zip": zipped.getvalue(), "legacy": legacy.getvalue(), "bare": pickle.dumps({"policy": Intruder(trace)})}


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_a_pickle_in_place_of_weights_does_not_run(kind: str, copied: dict[str, Path], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = malicious(trace)[kind]
    if kind == "bare":
        pickle.loads(content)
    else:
        th.load(io.BytesIO(content), weights_only=False)
    assert trace.exists(), "it would do harm if it were trusted"
    trace.unlink()
    for name in ("ppo", "dqn"):
        (copied[name] / "model.pt").write_bytes(content)
        with pytest.raises(AgentError, match=r"model\.pt"):
            make(name).resume(copied[name])
    agent = make("ppo")
    agent.fit(7, Watch())
    agent.save(tmp_path / "policy")
    (tmp_path / "policy" / "policy.pt").write_bytes(content)
    with pytest.raises(AgentError, match=r"policy\.pt"):
        type(agent).load(tmp_path / "policy", short_lives())
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "array"), [("ppo", "steps"), ("ppo_memory", "last_obs"), ("ppo", "unheard_of"), ("dqn", "unheard_of")]
)
def test_a_pickle_among_the_arrays_does_not_run(name: str, array: str, copied: dict[str, Path], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = copied[name] / "arrays.npz"
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    arrays[array] = np.array([Intruder(trace)], dtype=object)
    np.savez(path, **arrays)
    with pytest.raises(AgentError, match="cannot be read as a checkpoint"):
        make(name).resume(copied[name])
    assert not trace.exists()


@pytest.mark.parametrize("name", NAMES)
def test_checkpoints_hold_no_pickled_objects(name: str, kept: dict[str, Path]) -> None:
    assert {path.name for path in kept[name].iterdir()} == {"model.pt", "arrays.npz", "state.json"}
    with zipfile.ZipFile(kept[name] / "arrays.npz") as file:
        assert all(member.endswith(".npy") for member in file.namelist())
    th.load(kept[name] / "model.pt", weights_only=True)
