"""Devices by name, and coins tossed where the tensors are."""

import pytest
import torch

from agents.agent import AgentError
from agents.devices import TensorCoins, device_of


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_of("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda:77", "abacus", ""])
def test_a_device_that_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(AgentError, match=f"device: '{name}' cannot be used"):
        device_of(name)


def test_coins_repeat_with_their_seed_and_are_what_they_say() -> None:
    device = device_of("auto")
    first, same, other = (TensorCoins(device, seed) for seed in (1, 1, 2))
    drawn = [each.standard_normal((200, 50)) for each in (first, same, other)]
    assert drawn[0].dtype == torch.float64
    assert drawn[0].device.type == device.type
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert abs(float(drawn[0].mean())) < 0.04
    assert abs(float(drawn[0].std()) - 1.0) < 0.04
    numbers = first.integers(7, size=5000)
    assert sorted(numbers.unique().tolist()) == list(range(7))
    assert torch.equal(numbers, same.integers(7, size=5000))
