"""What a policy is, and what it may ask for besides the observation: by the methods it has.

Nothing is played here.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from blockenv.cohort import Cohort


@runtime_checkable
class Policy(Protocol):
    """Whoever chooses the messages of a day."""

    def act(
        self,
        observation: NDArray[np.floating[Any]],
        action_mask: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> NDArray[np.integer[Any]]:
        """Choose for a whole batch.

        Args:
            observation: (N, D) float32, see `observation.layout`.
            action_mask: (N, A) bool, True where the action is legal.
            rng: the policy's own stream; it decides nothing but the policy's own coin flips.

        Returns:
            (N,) integers in 0..A-1, 0 is silence.
        """
        ...


@runtime_checkable
class Informed(Protocol):
    """A policy that wants to be shown the customers themselves: for reference lines, never for a contender."""

    def meet(self, cohort: Cohort) -> None:
        """Called every morning before `act`, with the rows that `act` is about to see."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A policy that goes by what it saw of a customer before; rows change places, so it has to know who is who."""

    def recognise(self, customers: NDArray[np.int64]) -> None:
        """Called every morning before `act`.

        Args:
            customers: (N,) the number of the customer in each row that `act` is about to see.
        """
        ...


@runtime_checkable
class Placed(Protocol):
    """A policy that goes by the place of a row; rows of the dead are left out, so it has to know which are kept."""

    def keep_rows(self, rows: NDArray[np.bool_]) -> None:
        """Called before the morning from which on only some rows are left.

        Args:
            rows: (N,) True for those of the N rows so far that are kept, in the order they had.
        """
        ...


@runtime_checkable
class Student(Protocol):
    """A policy that learns while it serves; the firm tells it every evening what it could see of the day."""

    def hear(
        self,
        observation: NDArray[np.floating[Any]],
        action: NDArray[np.int64],
        reward: NDArray[np.floating[Any]],
        closed: NDArray[np.int64],
    ) -> None:
        """Take note of a day.

        Args:
            observation: (N, D) what `act` saw this morning.
            action: (N,) what was done.
            reward: (N,) money as it fell: margin net of discount and cost.
            closed: (N,) channels that the firm noticed today to be closed.
        """
        ...


def greet(policy: Policy, cohort: Cohort, customers: NDArray[np.int64]) -> None:
    """Begin a morning: show or tell a policy what it asks for besides observations.

    Args:
        policy: who is about to act.
        cohort: the customers themselves, for whoever wants to `meet` them.
        customers: (N,) the number of the customer in each row, for whoever remembers.
    """
    greeting(policy)(cohort, customers)


def greeting(policy: Policy) -> Callable[[Cohort, NDArray[np.int64]], None]:
    """`greet` for many mornings of one policy: what it asks for is found out once, as that takes long."""
    informed = policy if isinstance(policy, Informed) else None
    remembering = policy if isinstance(policy, Remembering) else None

    def morning(cohort: Cohort, customers: NDArray[np.int64]) -> None:
        if informed is not None:
            informed.meet(cohort)
        if remembering is not None:
            remembering.recognise(customers.copy())

    return morning
