"""Customers as tensors are the same customers: same luck to the bit, same lives to the rounding of single precision."""

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from blockenv import noise
from blockenv.compiled import choice
from blockenv.envs import PopulationEnv
from blockenv.scenarios import get
from tests.test_backends import EVERYTHING
from tests.test_compiled import needs_compiler, same_rounding

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from blockenv import tensors  # noqa: E402 - needs PyTorch
from blockenv.envs.tensor_population import TensorPopulation  # noqa: E402

N, EPISODE, DAYS = 400, 15, 60
FULL = get({**EVERYTHING.model_dump(), "name": "Full-v0", "observe": "full"})
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_GPU)]
# Who lives the days: tensors of a device, or arrays whose memory tensors share.
FORMS = pytest.mark.parametrize(
    "form",
    [{"device": "cpu"}, {"shared": True}, pytest.param({"device": "cuda"}, marks=NEEDS_GPU)],
    ids=["cpu", "shared", "cuda"],
)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_luck_is_the_same_to_the_bit(device: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    customer = rng.integers(0, 2**62, 3000)
    seed, day = rng.integers(0, 2**63, 3000).astype(np.uint64), rng.integers(0, 2000, 3000)
    key = noise.address(seed, noise.LUCK, customer)
    expected = noise.luck(key, day, noise.workspace(3000, channels))
    on_device = torch.from_numpy(key.view(np.int64)).to(device), torch.from_numpy(day).to(device)
    found = tensors.luck(*on_device, channels)
    assert found._fields == expected._fields
    values: Any  # a tensor, where the field says array
    for values, wanted in zip(found, expected, strict=True):
        assert values.dtype == torch.float32
        np.testing.assert_array_equal(values.cpu().numpy(), wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reward", ["realised", "expected"])
@pytest.mark.parametrize("scenario", ["Frequency-v0", FULL], ids=["few", "many"])
def test_lives_are_those_of_the_population(scenario: Any, reward: str, device: str) -> None:
    arguments: dict[str, Any] = {"max_episode_steps": EPISODE, "first_customer": 50, "reward": reward, "stagger": True}
    population = PopulationEnv(N, scenario, autoreset_mode="SameStep", **arguments)
    same = TensorPopulation(N, scenario, device, **arguments)
    expected, info = population.reset(seed=8)
    np.testing.assert_allclose(same.reset(8).cpu().numpy(), expected, rtol=1e-5, atol=1e-6)
    rng, agree = np.random.default_rng(2), np.ones(N, bool)
    refilled = 0
    for _ in range(DAYS):
        action = rng.integers(0, population.scenario.actions, N) * (rng.random(N) < 0.7)
        expected, rewards, terminated, truncated, info = population.step(action)
        found = same.step(torch.from_numpy(action).to(device))
        done = terminated | truncated
        # A row whose customer was decided by rounding goes another way from then on, and is left out.
        agree &= found.terminated.cpu().numpy() == terminated
        agree &= (same.cohort.customer == info["customer"]) & (
            same.action_masks().cpu().numpy() == info["action_mask"]
        ).all(1)
        agree &= np.isclose(found.observation.cpu().numpy(), expected, rtol=1e-3, atol=1e-4).all(axis=1)
        agree &= np.isclose(found.reward.cpu().numpy(), rewards, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(found.truncated.cpu().numpy()[agree], truncated[agree])
        rows = found.final_rows.cpu().numpy()
        np.testing.assert_array_equal(rows[agree[rows]], np.flatnonzero(done & agree))
        if done.any():
            final = info["final_obs"][rows]
            close = np.isclose(found.final_observation.cpu().numpy(), final, rtol=1e-3, atol=1e-4).all(axis=1)
            assert close[agree[rows]].all()
        refilled += len(rows)
    assert refilled > 4 * N * 0.7  # more than are drawn ahead
    assert agree.mean() > 0.99


@pytest.mark.parametrize("reward", ["realised", "expected"])
@pytest.mark.parametrize("scenario", ["Frequency-v0", FULL], ids=["few", "many"])
def test_shared_lives_are_those_of_the_population_to_the_last_bit(scenario: Any, reward: str) -> None:
    arguments: dict[str, Any] = {"max_episode_steps": EPISODE, "first_customer": 50, "reward": reward, "stagger": True}
    population = PopulationEnv(N, scenario, autoreset_mode="SameStep", **arguments)
    same = TensorPopulation(N, scenario, shared=True, **arguments)
    expected, info = population.reset(seed=8)
    assert_bits(same.reset(8), expected)
    rng, refilled = np.random.default_rng(2), 0
    for day in range(DAYS):
        action = rng.integers(0, population.scenario.actions, N) * (rng.random(N) < 0.7)
        expected, rewards, terminated, truncated, info = population.step(action)
        found = same.step(torch.from_numpy(action))
        rows = np.flatnonzero(terminated | truncated)
        assert_bits(found.observation, expected)
        assert_bits(found.reward, rewards.astype(np.float32))
        assert_bits(found.terminated, terminated)
        assert_bits(found.truncated, truncated)
        assert_bits(found.final_rows, rows)
        if len(rows):
            assert_bits(found.final_observation, info["final_obs"][rows])
        if day % 10 == 0:
            assert_bits(same.action_masks(), population.action_masks())
        np.testing.assert_array_equal(same.cohort.customer, info["customer"])
        assert_bits(same.cohort.day, population.cohort.log.day)
        outcome = {name: info[name].copy() for name in ("ordered", "churn_probability")}
        for name, values in outcome.items():
            if len(rows):
                values[rows] = info["final_info"][name][rows]
            assert_bits(getattr(found.outcome, name), values)
        refilled += len(rows)
    assert refilled > 4 * N * 0.7


def assert_bits(found: Any, expected: Any) -> None:
    assert found.numpy().dtype == expected.dtype
    np.testing.assert_array_equal(found.numpy(), expected)


@FORMS
def test_a_restored_population_goes_on_as_if_nothing_had_happened(form: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"max_episode_steps": EPISODE, "first_customer": 50, "stagger": True} | form
    first, second = TensorPopulation(60, FULL, **arguments), TensorPopulation(60, FULL, **arguments)
    actions = np.random.default_rng(0).integers(0, first.scenario.actions, (60, 60))
    first.reset(3)
    second.reset(4)
    for day in range(20):
        first.step(torch.from_numpy(actions[day]).to(first.device))
    second.step(torch.from_numpy(actions[0]).to(second.device))
    kept = first.snapshot()
    before = {name: values.copy() for name, values in kept.items()}
    second.restore(kept | {"somebody's": np.zeros(3)})
    assert torch.equal(second.cohort.observe(), first.cohort.observe())
    ended = 0
    for day in range(20, 60):
        assert torch.equal(first.action_masks(), second.action_masks())
        one, other = (each.step(torch.from_numpy(actions[day]).to(each.device)) for each in (first, second))
        for name, wanted, found in zip(one._fields[:-1], one[:-1], other[:-1], strict=True):
            assert torch.equal(wanted, found), f"{name} on day {day}"
        for name, wanted in one.outcome._asdict().items():
            assert torch.equal(wanted, getattr(other.outcome, name)), f"{name} on day {day}"
        np.testing.assert_array_equal(first.cohort.customer, second.cohort.customer)
        ended += len(one.final_rows)
    assert ended > 2 * 60
    for name, values in kept.items():
        np.testing.assert_array_equal(values, before[name], err_msg="a snapshot is nobody's to write in")


def test_a_snapshot_of_one_form_is_that_of_the_other() -> None:
    """Before anybody has been decided by rounding."""
    shared, own = TensorPopulation(60, FULL, shared=True), TensorPopulation(60, FULL)
    shared.reset(3)
    own.reset(4)
    own.restore(shared.snapshot())
    kept = shared.snapshot()
    for name, values in own.snapshot().items():
        assert values.dtype == kept[name].dtype, name
        np.testing.assert_array_equal(values, kept[name], err_msg=name)
    shared.restore(own.snapshot())
    ones = torch.ones(60, dtype=torch.int64)
    one, other = shared.step(ones), own.step(ones)
    assert torch.isclose(one.observation, other.observation, rtol=1e-4, atol=1e-5).all(1).float().mean() > 0.95


@FORMS
@pytest.mark.parametrize("name", ["limit", "customer", "seed", "state.bond", "log.day", "traits.hints"])
def test_a_snapshot_with_something_missing(name: str, form: dict[str, Any]) -> None:
    population = TensorPopulation(20, FULL, **form)
    population.reset(1)
    kept = population.snapshot()
    del kept[name]
    with pytest.raises(KeyError, match=name):
        population.restore(kept)


@FORMS
def test_a_snapshot_of_others_does_not_fit(form: dict[str, Any]) -> None:
    population, more, elsewhere = (
        TensorPopulation(rows, scenario, **form) for rows, scenario in ((20, FULL), (21, FULL), (20, "Frequency-v0"))
    )
    with pytest.raises(gym.error.ResetNeeded):
        population.restore({})
    with pytest.raises(gym.error.ResetNeeded):
        population.snapshot()
    for each in (population, more, elsewhere):
        each.reset(1)
    for other in (more, elsewhere):
        with pytest.raises(ValueError, match=r"traits\.\w+: .*, expected "):
            population.restore(other.snapshot())


@FORMS
@pytest.mark.parametrize("wrong", [np.zeros(19, np.int64), np.array(5), np.zeros(20)])
def test_clocks_of_another_shape_or_type(wrong: Any, form: dict[str, Any]) -> None:
    population = TensorPopulation(20, FULL, **form)
    population.reset(1)
    with pytest.raises(ValueError, match=r"limit: .*, expected torch\.int64\(20,\)"):
        population.restore(population.snapshot() | {"limit": wrong})


@needs_compiler
@same_rounding
def test_what_is_shared_is_lived_by_compiled_functions_from_the_first_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_ready", {})
    population = TensorPopulation(20, "Frequency-v0", shared=True)
    population.reset(1)
    population.step(torch.ones(20, dtype=torch.int64))
    cohort = population.cohort
    assert isinstance(cohort, tensors.SharedCohort)
    assert cohort._cohort._tied_now() is not None


def test_what_is_shared_lives_on_a_processor() -> None:
    with pytest.raises(ValueError, match="shared: True with device cuda, expected a CPU"):
        TensorPopulation(1, "Frequency-v0", "cuda", shared=True)


def test_everything_is_on_the_device() -> None:
    same = TensorPopulation(20, "Winback-v0", "cpu")
    seen = same.reset(1)
    step = same.step(torch.ones(20, dtype=torch.int64))
    cohort = same.cohort
    assert isinstance(cohort, tensors.TensorCohort)
    everything = [seen, *step[:-1], *step.outcome, *cohort.traits, *cohort.state, *cohort.log]
    assert all(isinstance(values, torch.Tensor) and values.device == same.device for values in everything)


@FORMS
def test_what_was_seen_is_not_overwritten(form: dict[str, Any]) -> None:
    same = TensorPopulation(50, "Frequency-v0", max_episode_steps=2, **form)
    seen = same.reset(1)
    before = seen.clone()
    first = same.step(torch.ones(50, dtype=torch.int64, device=same.device))
    found = [*first[:-1], *first.outcome]
    kept = [values.clone() for values in found]
    for _ in range(5):
        same.step(torch.zeros(50, dtype=torch.int64, device=same.device))
    assert torch.equal(seen, before)
    assert all(torch.equal(now, then) for now, then in zip(found, kept, strict=True))


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="num_envs"):
        TensorPopulation(0, "Frequency-v0")
    with pytest.raises(ValueError, match="seed"):
        TensorPopulation(1, "Frequency-v0").reset(-1)
    with pytest.raises(gym.error.ResetNeeded):
        TensorPopulation(1, "Frequency-v0").step(torch.zeros(1, dtype=torch.int64))


def test_nobody_imports_pytorch_unasked() -> None:
    code = "import sys, blockenv, blockenv.envs, blockenv.cohort; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
