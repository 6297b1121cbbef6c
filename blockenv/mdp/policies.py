"""Simple policies of a sender who sees fatigue, bond, open channels and the segment, as tables over states.

Each constructor gives a function from a batch to a policy for `policy_value` and `occupancy`. None of them looks ahead.
"""

from collections.abc import Callable

import numpy as np

from blockenv import dynamics
from blockenv.dynamics import Array
from blockenv.mdp.batches import Batch, Floats, Ints, to_host
from blockenv.mdp.evaluation import Policy
from blockenv.mdp.optimum import Best

ByBatch = Callable[[Batch], Policy]


def silence() -> ByBatch:
    """Never send anything."""
    return lambda batch: np.zeros((1, 1, 1, 1), np.int64)


def fatigue_cap(message: int | Ints, threshold: float | Floats) -> ByBatch:
    """Send a message whenever its channel is open and fatigue in the morning is at most a threshold.

    Args:
        message: the scenario's number of it; an array (customers,) gives everybody a message of its own.
        threshold: fatigue units, before the message; below zero is silence. An array (customers,) likewise. To cap
            the load after the message, subtract the message's load and divide by `Rules.fatigue_decay`.

    Raises:
        ValueError: a message that is not among the scenario's (when the policy is put to a batch).
    """

    def table(batch: Batch) -> Policy:
        return _cap(batch, *(np.broadcast_to(each, _last(each, batch))[batch.members] for each in (message, threshold)))

    return table


def segment_caps(messages: Ints, thresholds: Floats) -> ByBatch:
    """A fatigue cap for each segment: `messages` and `thresholds` (S,) in the order of the scenario's segments.

    Raises:
        ValueError: a message that is not among the scenario's (when the policy is put to a batch).
    """

    def table(batch: Batch) -> Policy:
        segment = batch.traits.segment
        return _cap(batch, np.asarray(messages)[segment], np.asarray(thresholds)[segment])

    return table


def myopic() -> ByBatch:
    """The message of the largest expected reward today, or silence where none earns more than silence."""

    def policy(batch: Batch) -> Policy:
        best, nothing = Best(batch), batch.asarray(np.zeros(batch.shape, batch.traits.ideal_load.dtype))
        if batch.rules.season == 0.0 and batch.rules.tolerance_drift == 0.0:
            return to_host(best.action(0, nothing))

        def on(day: int) -> Array:
            return best.action(day, nothing)

        return on

    return policy


def _cap(batch: Batch, message: Ints, threshold: Floats) -> Policy:
    rules, known = batch.rules, len(batch.rules.sends)
    if message.min() < 1 or message.max() >= known:
        raise ValueError(f"message: {message.min()}..{message.max()}, expected 1..{known - 1}")
    fatigue = dynamics.fatigue_of(rules, batch.traits, np.arange(rules.fatigue_levels))
    calm = fatigue[None, :] <= threshold[:, None]
    own = rules.channel_of[message][:, None] == batch.channels
    is_open = (own[:, :, None] & (np.arange(batch.shape[3]) >> np.arange(batch.places)[:, None] & 1 == 1)).any(axis=1)
    return np.where(calm[:, :, None, None] & is_open[:, None, None, :], message[:, None, None, None], 0)


def _last(value: float | Ints | Floats, batch: Batch) -> tuple[int, ...]:
    return (int(batch.members.max()) + 1,) if np.ndim(value) == 0 else np.shape(value)
