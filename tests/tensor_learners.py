"""What the tests of both learners on tensors share: where they learn, and what holds for either of them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import Metrics, Unwatched
from agents.deep import DeepAgent
from agents.tensor_training import TensorTraining
from blockenv import Scenario
from blockenv.envs import PopulationEnv
from blockenv.envs.tensor_population import TensorPopulation
from blockenv.scenarios import get

HORIZON, SEED = 10, 64 * 3
DEVICES = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param("cuda", marks=pytest.mark.skipif(not th.cuda.is_available(), reason="no GPU on this machine")),
    ],
)
# Customers on a CPU live in arrays whose memory tensors share, or in tensors of their own.
FORMS = pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])


def fleeting() -> Scenario:
    """Customers who leave soon, and show everything."""
    world = get("Style-v0")
    response = world.response.model_copy(update={"churn_probability": 0.06})
    return world.model_copy(update={"response": response, "observe": "full"})


def customers_of(agent: DeepAgent, shared: bool, device: str) -> TensorPopulation:
    """Customers who leave or are cut off soon."""
    given = agent.settings
    return TensorPopulation(
        given.envs, agent.scenario, device, max_episode_steps=HORIZON, reward=given.reward, stagger=True, shared=shared
    )


class Trainee:
    """Made part of a learner: it is trained among customers of its own, and keeps what is told."""

    policy: Any
    steps: int
    training: TensorTraining
    told: list[Metrics]

    def learn_on(self, total: int) -> list[Tensor]:
        """All weights after `total` customer-days."""
        self.training.learn(total, lambda steps, metrics: self.told.append(metrics))
        return [each.detach().clone() for each in self.policy.state_dict().values()]

    def kept(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A copy of all that training needs to go on."""
        return copy.deepcopy(self.training.state())


class Kept:
    """A monitor that keeps what it was told, and exports the policy whenever it is told if it knows where."""

    def __init__(self, agent: DeepAgent | None = None, path: Path | None = None) -> None:
        self.agent, self.path, self.told = agent, path, list[Metrics]()

    def advance(self, steps: int, total: int, metrics: Metrics) -> None:
        self.told.append(metrics)
        if metrics and self.agent is not None and self.path is not None:
            self.agent.export(self.path)


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert th.equal(one, other)


def assert_repeats(made: Callable[[int], Trainee], total: int) -> None:
    """The same seed gives the same weights whatever else draws random numbers, and another one others."""
    expected = made(SEED).learn_on(total)
    again = made(SEED)
    th.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    assert_same(again.learn_on(total), expected)
    others = made(SEED + 64).learn_on(total)
    assert any(not th.equal(one, other) for one, other in zip(others, expected, strict=True))


def assert_goes_on(made: Callable[[int], Trainee], before: int, elsewhere: int, total: int, device: str) -> None:
    """One that is restored after `before` days, having lived `elsewhere` ones, ends as one that was never stopped."""
    first = made(SEED)
    first.training.learn(before, lambda steps, metrics: None)
    tensors, arrays = first.kept()
    expected = first.learn_on(total)
    second = made(SEED + 64)
    second.learn_on(elsewhere)
    second.training.restore(tensors, arrays)
    assert second.steps == before
    found = second.learn_on(total)
    if device == "cpu":
        assert_same(found, expected)
        assert second.told[-2:] == first.told[-2:]
    for one, other in zip(found, expected, strict=True):
        th.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def assert_both_tell_the_same(made: Callable[[str], DeepAgent]) -> None:
    """Learners on tensors and of stable-baselines3 have the same to tell of customers, luck apart."""
    told = {}
    for learner in ("tensors", "stable_baselines3"):
        kept = Kept()
        made(learner).fit(0, kept)
        told[learner] = kept.told
    names = {name for name in told["tensors"][0] if name.startswith("clv/")}
    assert names == {name for name in told["stable_baselines3"][0] if name.startswith("clv/")}
    assert len(names) == 6
    for name in names:
        means, errors = [], []
        for each in told.values():
            values = np.array([metrics[name] for metrics in each if metrics])
            means.append(values.mean())
            errors.append(values.std() / np.sqrt(len(values)))
        assert abs(means[0] - means[1]) < 5 * np.hypot(*errors) + 0.01 * abs(means[0]), name


def exported(made: Callable[[], DeepAgent], kind: Any, path: Path, deterministic: bool) -> tuple[Any, Any, Any]:
    """The model that was exported while an agent learned, the agent's policy, and what it sees after some days.

    Exporting must not change what is learned.
    """
    agent, quiet = made(), made()
    agent.fit(3, Kept(agent, path))
    quiet.fit(3, Unwatched())
    assert_same(list(agent.policy.parameters()), list(quiet.policy.parameters()))
    model = kind.load(path, device="cpu")
    assert model.num_timesteps == agent.settings.steps
    env = PopulationEnv(agent.settings.envs, fleeting())
    seen = env.reset(seed=8)[0]
    for _ in range(5):
        seen = env.step(model.predict(seen, deterministic=deterministic)[0])[0]
    return model, agent.policy, seen


def assert_does_not_fit(one: Trainee, other: Trainee, message: str) -> None:
    """The state of one learner is no state of the other."""
    with pytest.raises((ValueError, RuntimeError), match=message):
        other.training.restore(*one.training.state())


def assert_is_missed(learner: Trainee, name: str, called: str) -> None:
    """A state with something missing is an error that names it."""
    tensors, arrays = learner.training.state()
    for each in (tensors, arrays):
        each.pop(name, None)
    with pytest.raises(KeyError, match=called):
        learner.training.restore(tensors, arrays)
