"""What was seen of every customer some days ago, so that a choice can rest on what has changed since.

It remembers observations and nothing else, so it never holds what a sender could not see, and it never lets the past
of one customer stand for that of the next one in the same row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from blockenv import observation
from blockenv.scenarios import Scenario

Seen = NDArray[np.floating[Any]]


class Memory:
    """Widens observations by how they differ from those of some days ago.

    The new columns stand before the hints, so that what stands in front of them keeps its place. A customer who has
    not been seen for so long is compared with the first day it was seen on.

    Args:
        scenario: whose observations they are.
        lags: days back, each at least 1.
    """

    def __init__(self, scenario: Scenario, lags: Sequence[int]) -> None:
        columns = observation.layout(scenario)
        # The calendar and the hints are not remembered: they are known today, or do not change.
        self._remembered = self._tenure = columns["tenure"].start
        self._before = columns["hints"].start
        self._lags = np.array(sorted(set(lags)), np.int64)
        self._customers: NDArray[np.int64] = np.empty(0, np.int64)
        self._expected = False
        self.start(0)

    @property
    def columns(self) -> int:
        """How many columns it adds."""
        return int(self._remembered * len(self._lags))

    def start(self, rows: int) -> None:
        """Begin with customers who have not been seen before."""
        self._past = np.zeros((int(self._lags.max(initial=0)) + 1, rows, self._remembered), np.float32)
        self._age: NDArray[np.int64] = np.full(rows, -1, np.int64)  # days since a customer was first seen
        self._place = 0

    def recognise(self, customers: NDArray[np.int64]) -> None:
        """Be told who stands in which row this morning, (N,): whoever was there yesterday keeps the past."""
        if not np.array_equal(customers, self._customers):
            known = np.flatnonzero(np.isin(customers, self._customers))
            order = np.argsort(self._customers)
            row = order[np.searchsorted(self._customers, customers[known], sorter=order)]
            past, age, place = self._past[:, row], self._age[row], self._place
            self.start(len(customers))
            self._past[:, known], self._age[known], self._place = past, age, place
            self._customers = customers.copy()
        self._expected = True

    def act_on(self, seen: Seen) -> Seen:
        """Observations (N, D), widened, of those just recognised; of anybody else as if seen for the first time."""
        if not self._expected or len(seen) != len(self._customers):
            return self._widened(seen, np.zeros((len(seen), self.columns), np.float32))
        self._expected = False
        # Whoever is on the first day cannot have been seen before, whatever the number.
        return self.note(seen, np.flatnonzero(seen[:, self._tenure] <= 0.0))

    def note(self, seen: Seen, fresh: NDArray[np.intp] | None = None) -> Seen:
        """Observations (N, D) of another morning of all rows, widened (N, D + columns); `fresh` rows begin anew."""
        self._place = (self._place + 1) % len(self._past)
        self._past[self._place] = seen[:, : self._remembered]
        self._age += 1
        if fresh is not None:
            self._age[fresh] = 0
        everybody = np.arange(len(seen))
        return self._widened(seen, self._since(self._past[self._place], everybody, self._place, self._age))

    def last(self, seen: Seen, rows: NDArray[np.intp]) -> Seen:
        """Last observations (k, D) of customers who leave their `rows` (k,), widened; nothing is noted."""
        today = seen[:, : self._remembered]
        return self._widened(seen, self._since(today, rows, self._place + 1, self._age[rows] + 1))

    def space(self, box: spaces.Box) -> spaces.Box:
        """The space of widened observations."""
        wide = np.ones((1, self.columns), np.float32)
        ends = np.stack([box.low, box.high]).astype(np.float32)
        low, high = self._widened(ends, np.concatenate([-wide, wide]))
        return spaces.Box(low, high, dtype=np.float32)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that `restore` needs, as arrays."""
        return {"past": self._past.copy(), "age": self._age.copy(), "place": np.array(self._place)}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`.

        Raises:
            KeyError, ValueError: an array is missing or of another shape.
        """
        if arrays["past"].shape != self._past.shape or arrays["age"].shape != self._age.shape:
            raise ValueError(f"past: shape {arrays['past'].shape}, expected {self._past.shape}")
        self._past, self._age = arrays["past"].copy(), arrays["age"].copy()
        self._place = int(arrays["place"])

    def _since(self, today: Seen, rows: NDArray[np.intp], place: int, age: NDArray[np.int64]) -> Seen:
        back = np.minimum(self._lags[:, None], age)
        then = self._past[(place - back) % len(self._past), rows]
        return np.concatenate(list(today - then), axis=1)

    def _widened(self, seen: Seen, since: Seen) -> Seen:
        return np.concatenate([seen[:, : self._before], since, seen[:, self._before :]], axis=1)


class RememberingEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A population whose observations are widened by a `Memory`; finished rows have to be refilled within the step."""

    def __init__(self, env: VectorEnv[Any, Any, Any], memory: Memory) -> None:
        super().__init__(env)
        self._memory = memory
        box = env.single_observation_space
        assert isinstance(box, spaces.Box)
        self.single_observation_space = memory.space(box)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start all rows with new customers."""
        seen, info = self.env.reset(seed=seed, options=options)
        self._memory.start(self.num_envs)
        return self._memory.note(seen), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Live one day."""
        seen, reward, terminated, truncated, info = self.env.step(actions)
        rows = np.flatnonzero(terminated | truncated)
        if rows.size:
            last = self._memory.last(info["final_obs"][rows], rows)
            final = np.zeros((self.num_envs, last.shape[1]), last.dtype)
            final[rows] = last
            info = info | {"final_obs": final}
        return self._memory.note(seen, rows), reward, terminated, truncated, info

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The population and what is remembered of it."""
        population: Any = self.env.unwrapped
        remembered = {f"memory.{name}": values for name, values in self._memory.snapshot().items()}
        return {**population.snapshot(), **remembered}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`.

        Raises:
            KeyError, ValueError: an array is missing or of another shape.
        """
        population: Any = self.env.unwrapped
        population.restore(arrays)
        prefix = "memory."
        self._memory.restore({n.removeprefix(prefix): values for n, values in arrays.items() if n.startswith(prefix)})
