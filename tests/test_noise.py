"""Luck is addressed, not consumed: the same for a (seed, customer, day) whoever asks, and as random as it should be."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from blockenv import noise

DETERMINISTIC = settings(deadline=None, derandomize=True, max_examples=100)
ROOT = Path(__file__).resolve().parents[1]
CHANNELS = 5
EVENTS = len(noise.SCALARS) + CHANNELS
SAMPLE = 2**17
FALSE_ALARM = 1e-6  # per test function, shared among what it compares
BITS = 2**24

SEEDS = st.integers(0, 2**63 - 1)
CUSTOMERS = st.integers(0, 2**50)
DAYS = st.integers(0, 10_000)


def luck(
    seed: ArrayLike, customer: ArrayLike, day: ArrayLike, channels: int = CHANNELS, purpose: int = noise.LUCK
) -> NDArray[np.float32]:
    """All uniforms of one day, (events, N); the arguments broadcast to (N,)."""
    seeds, customers, days = np.broadcast_arrays(
        np.asarray(seed, np.uint64), np.asarray(customer, np.int64), np.asarray(day, np.int64)
    )
    shape = np.atleast_1d(seeds).shape
    key = noise.address(seeds.reshape(shape), purpose, customers.reshape(shape))
    drawn = noise.luck(key, days.reshape(shape), noise.workspace(shape[0], channels))
    return np.concatenate([np.stack(drawn[: len(noise.SCALARS)]), drawn.channel])


def digest(values: NDArray[np.float32]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


# --- addresses ---


@DETERMINISTIC
@given(st.lists(st.tuples(SEEDS, CUSTOMERS, DAYS), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_luck_is_the_same_alone_in_a_batch_and_in_any_order(
    addresses: list[tuple[int, int, int]], shuffler: Random
) -> None:
    columns = np.array(addresses, np.int64).T
    together = luck(*columns)
    for column, (seed, customer, day) in enumerate(addresses):
        assert np.array_equal(luck(seed, customer, day)[:, 0], together[:, column])
    order = list(range(len(addresses)))
    shuffler.shuffle(order)
    shuffled = luck(*columns[:, order])
    assert np.array_equal(shuffled, together[:, order])


def test_luck_is_the_same_in_a_shard() -> None:
    whole = luck(3, np.arange(1000), 17)
    shards = [luck(3, np.arange(start, start + 250), 17) for start in range(0, 1000, 250)]
    assert np.array_equal(np.concatenate(shards, axis=1), whole)


def test_luck_does_not_depend_on_the_number_of_channels() -> None:
    many = luck(3, np.arange(100), 17, channels=8)
    for channels in range(1, 8):
        fewer = luck(3, np.arange(100), 17, channels=channels)
        assert np.array_equal(fewer, many[: len(noise.SCALARS) + channels])


def test_luck_neither_reads_nor_moves_a_global_generator() -> None:
    before = luck(5, np.arange(64), 3)
    np.random.seed(123)  # noqa: NPY002
    state = repr(np.random.get_state())  # noqa: NPY002
    assert np.array_equal(luck(5, np.arange(64), 3), before)
    assert repr(np.random.get_state()) == state  # noqa: NPY002


def test_luck_is_the_same_in_another_process() -> None:
    code = (
        "import hashlib, numpy as np\n"
        "from blockenv import noise\n"
        "customer = np.arange(10**6, 10**6 + 999)\n"
        "key = noise.address(np.full(999, 2**40, np.uint64), noise.LUCK, customer)\n"
        "drawn = noise.luck(key, customer % 700, noise.workspace(999, 5))\n"
        "values = np.concatenate([np.stack(drawn[:-1]), drawn.channel])\n"
        "print(hashlib.sha256(values.tobytes()).hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "9"}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    customer = np.arange(10**6, 10**6 + 999)
    assert shown.strip() == digest(luck(2**40, customer, customer % 700))


def test_luck_differs_with_each_part_of_its_address() -> None:
    here = luck(5, 7, 11)
    for other in (luck(6, 7, 11), luck(5, 8, 11), luck(5, 7, 12), luck(5, 7, 11, purpose=noise.TRAITS), luck(7, 5, 11)):
        assert not np.any(here == other)


def test_no_two_neighbouring_addresses_share_a_key() -> None:
    few = np.arange(40, dtype=np.uint64)
    seeds = np.concatenate([few, np.uint64(2**40) + few, np.uint64(2**63 - 40) + few])
    seed, customer = np.repeat(seeds, 200), np.tile(np.arange(200), len(seeds))
    purposes = (noise.TRAITS, noise.LUCK, noise.POLICY)
    assert len(set(purposes)) == len(purposes)
    keys = np.concatenate([noise.address(seed, purpose, customer) for purpose in purposes])
    assert len(np.unique(keys)) == len(keys)
    branches = np.concatenate([noise.branch(keys[:5000], number) for number in range(1, 20)])
    assert len(np.unique(branches)) == len(branches)


@pytest.mark.parametrize(
    ("seed", "customer", "day", "expected"),
    [
        (
            *(0, 0, 0),
            "894887 9945595 2475738 2405893 15556664 16702621 2899199 "
            "11572574 11940461 15196303 15820414 11124447 12693273",
        ),
        (
            *(2**40, 12345, 364),
            "317960 8942688 5373221 7489870 441801 13778510 1887745 4514737 1032428 16352686 13289756 8298225 2145931",
        ),
        (
            *(2**63 - 1, 2**32 + 7, 1091),
            "6434037 10493964 14288721 11795321 11484959 4878470 2453561 "
            "14463159 6644198 303811 13758007 14762043 9309266",
        ),
    ],
)
def test_luck_is_frozen(seed: int, customer: int, day: int, expected: str) -> None:
    """A changed luck changes every published number: never edit these values, make new versions of all scenarios."""
    words = luck(seed, customer, day)[:, 0].astype(np.float64) * BITS
    assert words.astype(int).tolist() == [int(word) for word in expected.split()]


def test_uniforms_of_traits_are_frozen() -> None:
    """As above: changed traits are other customers."""
    key = noise.branch(noise.address(np.array([2**40], np.uint64), noise.TRAITS, np.array([12345])), 3)
    assert [each.hex() for each in noise.uniforms(key, 3)[:, 0]] == [
        "0x1.640e96bb624c3p-1",
        "0x1.994cc8d15dd36p-2",
        "0x1.0fd8def2decaap-2",
    ]


# --- memory ---


def test_a_workspace_is_reused_and_its_luck_is_valid_until_then() -> None:
    key = noise.address(np.full(50, 1, np.uint64), noise.LUCK, np.arange(50))
    space = noise.workspace(50, CHANNELS)
    first = noise.luck(key, np.zeros(50, np.int64), space)
    assert all(np.shares_memory(values, space.draws) for values in first)
    kept = [values.copy() for values in first]
    second = noise.luck(key, np.ones(50, np.int64), space)
    fresh = noise.luck(key, np.ones(50, np.int64), noise.workspace(50, CHANNELS))
    for overwritten, before, again, clean in zip(first, kept, second, fresh, strict=True):
        assert not np.array_equal(overwritten, before)
        assert np.array_equal(again, clean)
    back = noise.luck(key, np.zeros(50, np.int64), space)
    assert all(np.array_equal(now, before) for now, before in zip(back, kept, strict=True))


@pytest.mark.parametrize("channels", range(1, 9))
def test_luck_has_the_shapes_it_says_and_leaves_its_address_alone(channels: int) -> None:
    key, day = noise.address(np.full(7, 1, np.uint64), noise.LUCK, np.arange(7)), np.arange(7)
    key_before, day_before = key.copy(), day.copy()
    drawn = noise.luck(key, day, noise.workspace(7, channels))
    assert noise.Noise._fields == (*noise.SCALARS, "channel")
    assert [values.shape for values in drawn] == [(7,)] * len(noise.SCALARS) + [(channels, 7)]
    assert {values.dtype for values in drawn} == {np.dtype(np.float32)}
    assert np.array_equal(key, key_before)
    assert np.array_equal(day, day_before)


# --- quality: fixed seeds, so each of these passes for ever or fails for ever ---


def correlation_score(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Row-wise correlation times the root of the sample: standard normal for independent uniforms."""
    one, two = (np.asarray(each, np.float64) - 0.5 for each in (first, second))
    products: NDArray[np.float64] = 12.0 * np.mean(one * two, axis=-1) * np.sqrt(one.shape[-1])
    return products


def bound(comparisons: int) -> float:
    """The score that the largest of so many standard normals exceeds with probability `FALSE_ALARM`."""
    return float(stats.norm.isf(FALSE_ALARM / (2 * comparisons)))


def grid_p_value(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Chi-square test that pairs fill a 16 x 16 grid evenly; sees dependence that correlation does not."""
    cells = np.floor(first * 16).astype(int) * 16 + np.floor(second * 16).astype(int)
    return float(stats.chisquare(np.bincount(cells.ravel(), minlength=256)).pvalue)


ALONG = {
    "customers": luck(11, np.arange(SAMPLE), 5),
    "days": luck(11, 5, np.arange(SAMPLE)),
    "seeds": luck(np.arange(SAMPLE), 5, 11),
    "arrivals of a row": luck(11, 5 + 2**32 * np.arange(SAMPLE), 0),
}


@pytest.mark.parametrize("along", ALONG)
def test_luck_is_in_the_unit_interval_with_24_bits(along: str) -> None:
    values = ALONG[along].astype(np.float64)
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert np.array_equal(values * BITS, np.floor(values * BITS))
    words = (values * BITS).astype(np.int32)
    for bit in range(24):
        ones = np.count_nonzero(words & (1 << bit), axis=1)
        score = (ones / SAMPLE - 0.5) * 2 * np.sqrt(SAMPLE)
        assert np.abs(score).max() < bound(24 * EVENTS * len(ALONG)), bit


@pytest.mark.parametrize("along", ALONG)
def test_luck_is_uniform(along: str) -> None:
    for event, values in enumerate(ALONG[along]):
        counts = np.bincount(np.floor(values * 256).astype(int), minlength=256)
        assert stats.chisquare(counts).pvalue > FALSE_ALARM / (EVENTS * len(ALONG)), event
        assert stats.kstest(values[:30_000], "uniform").pvalue > FALSE_ALARM / (EVENTS * len(ALONG)), event


@pytest.mark.parametrize("along", ALONG)
def test_neighbours_do_not_know_of_each_other(along: str) -> None:
    values = ALONG[along]
    for lag in (1, 2, 7):
        scores = correlation_score(values[:, :-lag], values[:, lag:])
        assert np.abs(scores).max() < bound(3 * EVENTS * len(ALONG)), lag
    pairs = [grid_p_value(each[0::2], each[1::2]) for each in values]
    assert min(pairs) > FALSE_ALARM / (EVENTS * len(ALONG))


@pytest.mark.parametrize("along", ALONG)
def test_events_of_a_day_do_not_know_of_each_other(along: str) -> None:
    values = ALONG[along]
    pairs = [(one, two) for one in range(EVENTS) for two in range(one)]
    centred = values.astype(np.float64) - 0.5
    scores = 12.0 * (centred @ centred.T) / np.sqrt(SAMPLE)
    assert max(abs(scores[pair]) for pair in pairs) < bound(len(pairs) * len(ALONG))
    # Consecutive events share a hashed word, so look at them more closely.
    grids = [grid_p_value(values[event], values[event + 1]) for event in range(EVENTS - 1)]
    assert min(grids) > FALSE_ALARM / (EVENTS * len(ALONG))


def test_luck_and_traits_do_not_know_of_each_other() -> None:
    customers = np.arange(SAMPLE)
    key = noise.address(np.full(SAMPLE, 11, np.uint64), noise.TRAITS, customers)
    traits = np.concatenate([noise.uniforms(noise.branch(key, number), 2) for number in (1, 2, 3)])
    for day in (0, 1, 2):
        centred = luck(11, customers, day).astype(np.float64) - 0.5
        scores = 12.0 * (centred @ (traits - 0.5).T) / np.sqrt(SAMPLE)
        assert np.abs(scores).max() < bound(3 * EVENTS * len(traits))


def test_uniforms_of_traits_are_uniform_and_never_0_or_1() -> None:
    key = noise.address(np.full(SAMPLE, 11, np.uint64), noise.TRAITS, np.arange(SAMPLE))
    values = np.concatenate([noise.uniforms(noise.branch(key, number), 3) for number in (1, 2)])
    assert values.shape == (6, SAMPLE)
    assert values.dtype == np.float64
    assert 0.0 < values.min() < values.max() < 1.0
    for row in values:
        assert stats.kstest(row[:30_000], "uniform").pvalue > FALSE_ALARM / 6
        assert stats.chisquare(np.bincount(np.floor(row * 256).astype(int), minlength=256)).pvalue > FALSE_ALARM / 6
    scores = 12.0 * ((values - 0.5) @ (values - 0.5).T)[np.triu_indices(6, 1)] / np.sqrt(SAMPLE)
    assert np.abs(scores).max() < bound(15)


def unmixed(word: int) -> int:
    """The word that SplitMix64's finaliser turns into `word`: it is a bijection."""

    def unshifted(value: int, shift: int) -> int:
        found = value
        for _ in range(64 // shift):
            found = value ^ (found >> shift)
        return found

    value = unshifted(word, 31)
    for shift, factor in ((27, 0x94D049BB133111EB), (30, 0xBF58476D1CE4E5B9)):
        value = unshifted(value * pow(factor, -1, 2**64) % 2**64, shift)
    return value


@pytest.mark.parametrize(("word", "expected"), [(0, 0.0), (2**64 - 1, (BITS - 1) / BITS)])
def test_the_outermost_hashes_stay_inside_the_interval(word: int, expected: float) -> None:
    """Keys made so that the first hashed word is the smallest or the largest there is."""
    weyl = 0x9E3779B97F4A7C15
    before = (unmixed(word) - weyl) % 2**64
    first = noise.uniforms(np.array([before], np.uint64), 1)[0, 0]
    assert 0.0 < first < 1.0
    assert first == pytest.approx(expected, abs=1e-7)
    key = np.array([(unmixed(before) - weyl) % 2**64], np.uint64)
    drawn = noise.luck(key, np.zeros(1, np.int64), noise.workspace(1, 1))
    assert drawn.open[0] == drawn.order[0] == np.float32(expected) < 1.0
