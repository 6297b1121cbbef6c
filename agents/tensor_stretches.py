"""The memory of a value learner on tensors: the latest stretches of days of all rows, each observation stored once.

It only adds up: it must never let the days of one customer run into those of the next one in the same row.
"""

from typing import Any, NamedTuple

import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor

from agents.tensor_learning import Lived


class Draw(NamedTuple):
    """U minibatches of B stretches."""

    seen: Tensor  # (U, 2, B, D) on the first morning, and after the last day
    action: Tensor  # (U, B) int64 of the first day
    reward: Tensor  # (U, B) discounted sum
    discount: Tensor  # (U, B) of what follows
    emphasis: Tensor  # (U, B)


class Stretches:
    """The latest stretches of n days of N rows; see `agents.n_step`, whose account it keeps.

    An observation is stored once, as it ends one stretch and begins another: a stretch knows where that after its last
    day is. Those of customers who are gone stand in a table of their own.

    Attributes:
        days: lived by every row so far.
    """

    def __init__(self, first: Tensor, capacity: int, length: int) -> None:
        """Begin on the morning when `first` (N, D) is seen.

        Args:
            first: observations.
            capacity: days on which a remembered stretch may begin.
            length: n.
        """
        self.days, self._length, self._capacity = 0, length, capacity
        slots, rows = capacity + length, len(first)
        self._seen = first.new_empty(slots, rows, first.shape[1])
        self._seen[0] = first
        # Of a single day until the stretch that it begins is over, then of the stretch.
        self._reward, self._discount, self._emphasis = (first.new_empty(slots, rows) for _ in range(3))
        self._action = th.empty(slots, rows, dtype=th.int64, device=first.device)
        # Where the observation after it is, in `_seen` as a table of rows; -1 - k is the k-th customer who is gone.
        self._after = th.empty_like(self._action)
        self._row = th.arange(rows, device=first.device)
        self._final, self._gone = first.new_empty(rows, first.shape[1]), 0
        self._gone_before = np.zeros(slots, np.int64)  # how many were gone when a day began

    @property
    def morning(self) -> Tensor:
        """(N, D) seen today."""
        return self._seen[self.days % len(self._seen)]

    def add(self, action: Tensor, reward: Tensor, discount: Tensor, emphasis: Tensor, lived: Lived) -> None:
        """Take a day of all rows, (N,) each, and what was seen after it."""
        slot, tomorrow = self.days % len(self._seen), (self.days + 1) % len(self._seen)
        self._action[slot], self._reward[slot] = action, reward
        self._discount[slot], self._emphasis[slot] = discount, emphasis
        self._after[slot] = 0
        self._gone_before[slot] = self._gone
        if len(lived.final_rows):
            numbers = self._keep(lived.final_observation, int(self._gone_before[tomorrow]))
            self._after[slot, lived.final_rows] = -1 - numbers
        self._seen[tomorrow] = lived.observation
        self.days += 1
        if self.days >= self._length:
            self._finish(self.days - self._length)

    def draw(self, updates: int, batch: int, coins: th.Generator) -> Draw:
        """Any of the remembered stretches, with replacement."""
        rows, begun = len(self._row), self.days - self._length + 1
        known = min(begun, self._capacity)
        chosen = th.randint(known * rows, (updates, batch), generator=coins, device=self._row.device)
        chosen = (chosen + (begun - known) * rows) % self._after.numel()
        place = th.stack([chosen, self._after.view(-1)[chosen]], 1).view(-1)
        seen = self._seen.view(-1, self._seen.shape[2]).index_select(0, place.clamp(min=0))
        ended = (place < 0).nonzero().squeeze(1)
        seen[ended] = self._final[(-1 - place[ended]) % len(self._final)]
        numbers = (self._action, self._reward, self._discount, self._emphasis)
        return Draw(seen.view(updates, 2, batch, -1), *(each.view(-1)[chosen] for each in numbers))

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs, as arrays on the host; on a CPU they are the memory itself, so copy what you keep."""
        filled = min(self.days + 1, len(self._seen))
        arrays = {name: getattr(self, f"_{name}")[:filled].cpu().numpy() for name in self._tables}
        clock = np.array([self.days, self._gone, len(self._seen), self._length])
        return arrays | {"final": self._final.cpu().numpy(), "gone_before": self._gone_before, "clock": clock}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`.

        Raises:
            KeyError, ValueError, RuntimeError: an array is missing or of another shape.
        """
        self.days, self._gone, slots, length = (int(each) for each in arrays["clock"])
        if (slots, length) != (len(self._seen), self._length):
            raise ValueError(
                f"buffer: {slots} days and stretches of {length}, expected {len(self._seen)}, {self._length}"
            )
        for name in self._tables:
            getattr(self, f"_{name}")[: len(arrays[name])] = th.from_numpy(arrays[name])
        self._final = th.from_numpy(arrays["final"].copy()).to(self._row.device)
        self._gone_before = arrays["gone_before"].copy()

    _tables = ("seen", "reward", "discount", "emphasis", "action", "after")

    def _keep(self, final: Tensor, oldest: int) -> Tensor:
        """Numbers (M,) of customers who are gone, whose last observation was `final` (M, D); forgets all before `oldest`."""
        if self._gone + len(final) - oldest > len(self._final):
            kept = th.arange(oldest, self._gone, device=final.device)
            larger = final.new_empty(2 * len(self._final), final.shape[1])
            larger[kept % len(larger)] = self._final[kept % len(self._final)]
            self._final = larger
        numbers = th.arange(self._gone, self._gone + len(final), device=final.device)
        self._final[numbers % len(self._final)] = final
        self._gone += len(final)
        return numbers

    def _finish(self, begun: int) -> None:
        """Add up the stretch that began on day `begun`, last day first; it ends with a customer's last day."""
        slots = len(self._seen)
        after = self._row + (begun + self._length) % slots * len(self._row)
        reward, discount = th.zeros_like(self._reward[0]), th.ones_like(self._reward[0])
        for day in range(begun + self._length - 1, begun - 1, -1):
            slot = day % slots
            going_on = self._after[slot] >= 0
            stays = self._discount[slot]
            reward = self._reward[slot] + th.where(going_on, stays * reward, 0.0)
            discount = stays * th.where(going_on, discount, 1.0)
            after = th.where(going_on, after, self._after[slot])
        slot = begun % slots
        self._reward[slot], self._discount[slot], self._after[slot] = reward, discount, after
