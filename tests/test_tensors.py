"""Customers as tensors are the same customers: same luck to the bit, same lives to the rounding of single precision."""

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from blockenv import noise
from blockenv.envs import PopulationEnv
from blockenv.scenarios import get
from tests.test_backends import EVERYTHING

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from blockenv import tensors  # noqa: E402 - needs PyTorch
from blockenv.envs.tensor_population import TensorPopulation  # noqa: E402

N, EPISODE, DAYS = 400, 15, 60
FULL = get({**EVERYTHING.model_dump(), "name": "Full-v0", "observe": "full"})
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")),
]


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
    for values, wanted in zip(found, expected, strict=True):
        assert values.dtype == torch.float32
        np.testing.assert_array_equal(values.cpu().numpy(), wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reward", ["realised", "expected"])
@pytest.mark.parametrize("scenario", ["Frequency-v0", FULL], ids=["few", "many"])
def test_lives_are_those_of_the_population(scenario: Any, reward: str, device: str) -> None:
    arguments = {"max_episode_steps": EPISODE, "first_customer": 50, "reward": reward, "stagger": True}
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


def test_everything_is_on_the_device() -> None:
    same = TensorPopulation(20, "Winback-v0", "cpu")
    seen = same.reset(1)
    step = same.step(torch.ones(20, dtype=torch.int64))
    cohort = same.cohort
    everything = [seen, *step[:-1], *step.outcome, *cohort.traits, *cohort.state, *cohort.log]
    assert all(isinstance(values, torch.Tensor) and values.device == same.device for values in everything)


def test_what_was_seen_is_not_overwritten() -> None:
    same = TensorPopulation(50, "Frequency-v0", max_episode_steps=2)
    seen = same.reset(1)
    before = seen.clone()
    first = same.step(torch.ones(50, dtype=torch.int64))
    kept = [values.clone() for values in (first.observation, first.reward, first.terminated, first.truncated)]
    for _ in range(5):
        same.step(torch.zeros(50, dtype=torch.int64))
    assert torch.equal(seen, before)
    assert all(torch.equal(now, then) for now, then in zip(first[:4], kept, strict=True))


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
