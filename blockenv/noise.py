"""The luck of a day: the only random numbers of an episode, addressed by who and when instead of consumed.

The uniforms of (seed, customer, day) are the same whatever was decided before, whoever asks, and however the
customers are split into batches. Nothing here keeps a state, and no global generator is ever read.

The generator is a counter hash: addresses go through the SplitMix64 finaliser (Steele, Lea & Flood 2014, constants
of Stafford's variant 13), one round for each part of the address. NumPy's Philox is addressed as well, but a call
yields a run of consecutive customers on one day; rows of a population have customers of any number and age, as
each row is refilled when its customer leaves. The hash takes any address in any row at the same cost, is integer
arithmetic only (bit-identical on every platform and NumPy version), and is as fast (see `scripts.speed`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]
Float = NDArray[np.floating]

TRAITS, LUCK, POLICY = 1, 2, 3  # purposes: streams that never meet

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_FACTOR_1, _FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
CONSTANTS = (_WEYL, _FACTOR_1, _FACTOR_2)  # for whoever hashes where NumPy is not

SCALARS = ("open", "order", "message_order", "value_radius", "value_angle", "fatigue", "bond", "churn")


class Noise(NamedTuple):
    """One day's uniforms in [0, 1), one for every event that can happen to a customer."""

    open: Float  # (N,) opens the message
    order: Float  # (N,) orders unprompted
    message_order: Float  # (N,) orders through the message
    value_radius: Float  # (N,) the order's value, with the next (Box & Muller 1958)
    value_angle: Float  # (N,)
    fatigue: Float  # (N,) rounding to a level
    bond: Float  # (N,)
    churn: Float  # (N,)
    channel: Float  # (C, N) an open channel is blocked, or a blocked one reopens: never both on one day


def address(seed: UInt64, purpose: int, customer: NDArray[np.int64]) -> UInt64:
    """The key of one customer's stream for one purpose.

    Args:
        seed: (N,) uint64, the seed each customer belongs to.
        purpose: `TRAITS` or `LUCK`.
        customer: (N,) int64, the customer's number.

    Returns:
        (N,) uint64.
    """
    return _fold(_fold(_fold(np.zeros_like(seed), seed.astype(np.int64)), purpose), customer)


def branch(key: UInt64, number: int) -> UInt64:
    """A further stream of each customer, (N,) uint64: streams of different numbers never meet."""
    return _fold(key, number)


class Workspace(NamedTuple):
    """Memory that `luck` writes into, so that a day allocates nothing: fresh pages cost more than the hashing."""

    words: UInt64  # (W, N)
    spare: UInt64  # (W, N)
    draws: NDArray[np.float32]  # (W, 2, N)
    channels: int  # C


def workspace(customers: int, channels: int) -> Workspace:
    """Memory for the luck of `customers` on `channels`."""
    words = (len(SCALARS) + channels + 1) // 2
    return Workspace(
        np.empty((words, customers), np.uint64),
        np.empty((words, customers), np.uint64),
        np.empty((words, 2, customers), np.float32),
        channels,
    )


def luck(key: UInt64, day: NDArray[np.int64], space: Workspace) -> Noise:
    """The uniforms of one day for each customer; they stay valid until `space` is used again.

    Args:
        key: (N,) uint64 from `address(seed, LUCK, customer)`.
        day: (N,) int64, each customer's own day.
        space: from `workspace(N, C)`.

    Returns:
        Noise of (N,) float32 arrays and one (C, N) array, in [0, 1) with 24 bits: two from every hashed word.
    """
    words, spare, draws, channels = space
    np.add(_fold(key, day), _offsets(len(words)), out=words)
    _mix(words, spare)
    words.view(np.uint32)[...] >>= np.uint32(8)
    # As signed: NumPy converts int32 to float32 in vector registers, uint32 twenty times slower.
    halves = words.view(np.int32).reshape(*words.shape, 2)
    draws[:, 0] = halves[..., 0]
    draws[:, 1] = halves[..., 1]
    draws *= np.float32(2.0**-24)
    rows = draws.reshape(-1, len(key))
    return Noise(*rows[: len(SCALARS)], rows[len(SCALARS) :][:channels])  # type: ignore[call-arg]  # unpacked


def uniforms(key: UInt64, count: int) -> NDArray[np.float64]:
    """`count` uniforms of 52 bits for each key, for traits: (count, N) float64, never exactly 0 or 1."""
    words = key + _offsets(count)
    _mix(words, np.empty_like(words))
    words >>= np.uint64(12)  # with 53 bits the largest, plus a half, would round to 1
    return (words.astype(np.float64) + 0.5) * 2.0**-52


def _offsets(count: int) -> UInt64:
    return np.arange(1, count + 1, dtype=np.uint64)[:, None] * _WEYL


def _fold(key: UInt64, part: NDArray[np.int64] | int) -> UInt64:
    """One more part of the address into the key."""
    word = key + (np.atleast_1d(part).astype(np.uint64) + np.uint64(1)) * _WEYL
    return _mix(word, np.empty_like(word))


def _mix(word: UInt64, spare: UInt64) -> UInt64:
    """SplitMix64's finaliser, in place: every input bit reaches every output bit."""
    for shift, factor in ((_SHIFT_30, _FACTOR_1), (_SHIFT_27, _FACTOR_2)):
        np.right_shift(word, shift, out=spare)
        word ^= spare
        word *= factor
    np.right_shift(word, _SHIFT_31, out=spare)
    word ^= spare
    return word
