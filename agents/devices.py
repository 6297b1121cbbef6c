"""Where tensors live: the device that a setting names, and coins tossed there.

It decides nothing about what is learned.
"""

from typing import Any

import torch as th

from agents.agent import AgentError


def device_of(name: str) -> th.device:
    """The device of a setting: `auto` is a GPU where there is one.

    Raises:
        AgentError: it cannot be used.
    """
    try:
        device = th.device("cuda" if name == "auto" and th.cuda.is_available() else "cpu" if name == "auto" else name)
        th.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AgentError(f"device: {name!r} cannot be used ({error})") from error
    return device


class TensorCoins:
    """As much of NumPy's `Generator` as a bandit asks for, with tensors on one device."""

    def __init__(self, device: th.device, seed: int) -> None:
        self._generator = th.Generator(device)
        self._generator.manual_seed(seed)

    def standard_normal(self, shape: tuple[int, ...]) -> Any:
        """Standard normal numbers, float64."""
        return th.randn(shape, generator=self._generator, device=self._generator.device, dtype=th.float64)

    def integers(self, end: int, size: int) -> Any:
        """(size,) int64 in 0..end-1."""
        return th.randint(end, (size,), generator=self._generator, device=self._generator.device)
