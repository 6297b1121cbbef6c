"""What n days in a row brought, gathered row by row, so that a value learner need not wait for news to creep back a day
at a time.

It only adds up: it must never let the days of one customer run into those of the next one in the same row.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Transition(NamedTuple):
    """One stretch of days of each of N rows."""

    observation: NDArray[Any]  # (N, D) on its first morning
    action: NDArray[Any]  # (N,) taken then
    reward: NDArray[np.float32]  # (N,) discounted sum of the stretch
    next_observation: NDArray[Any]  # (N, D) after its last day
    discount: NDArray[np.float32]  # (N,) of what follows: of time, and of the probability of still being there


class Stretches:
    """The last n days of N rows.

    A customer's stretches end with its last day, however few days they then have; with a departure taken as a
    probability (see `algorithms.BatchedPPO`), the value of what would have followed is still counted.

    Args:
        days: n, at least 1.
        gamma: discount a day.
    """

    def __init__(self, days: int, gamma: float) -> None:
        self._days = days
        self._gamma = gamma
        self._begun: list[dict[str, NDArray[Any]]] = []

    def add(
        self,
        observation: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[np.float32],
        leaving: NDArray[np.float32],
        next_observation: NDArray[Any],
        ended: NDArray[np.int64],
    ) -> Transition | None:
        """Take one day of all rows, and give back the stretch that began n - 1 days ago, if there is one.

        Args:
            observation: (N, D) in the morning.
            action: (N,) taken.
            reward: (N,) of the day.
            leaving: (N,) probability of leaving on this day.
            next_observation: (N, D) after the day, of the customer who lived it.
            ended: rows (k,) in which it was that customer's last day.
        """
        rows = len(reward)
        self._begun.append(
            {
                "observation": observation,
                "action": action,
                "reward": np.zeros(rows, np.float32),
                "discount": np.ones(rows, np.float32),
                "next": np.empty_like(next_observation),
                "open": np.ones(rows, bool),
            }
        )
        stays = (self._gamma * (1.0 - leaving)).astype(np.float32)
        for stretch in self._begun:
            going_on = stretch["open"]
            stretch["reward"] += np.where(going_on, stretch["discount"] * reward, 0.0)
            stretch["discount"] *= np.where(going_on, stays, 1.0)
            if ended.size:
                last = ended[going_on[ended]]
                stretch["next"][last] = next_observation[last]
                going_on[last] = False
        if len(self._begun) < self._days:
            return None
        first = self._begun.pop(0)
        going_on = first["open"]
        after = np.where(going_on[:, None], next_observation, first["next"]) if not going_on.all() else next_observation
        return Transition(first["observation"], first["action"], first["reward"], after, first["discount"])

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The stretches begun, as arrays, for `restore`."""
        return {
            f"{place}.{name}": values.copy()
            for place, stretch in enumerate(self._begun)
            for name, values in stretch.items()
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`."""
        self._begun = []
        for key, values in arrays.items():
            place, _, name = key.partition(".")
            if int(place) == len(self._begun):
                self._begun.append({})
            self._begun[int(place)][name] = values.copy()
