"""What recorded operations become in C: every way of writing them down gives what NumPy gives."""

import ctypes
from importlib import resources
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blockenv import compiled
from blockenv.compiled import functions, library, recording
from blockenv.compiled.expressions import Argument, Writer
from blockenv.compiled.recording import FLOAT, INT, Node
from blockenv.compiled.source import BLOCK, Store, function
from blockenv.compiled.stages import Sink, staged
from tests.test_same_lives import ELEMENTARY, digest, elementary

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 14, 16, 19)
SIZES = (1, BLOCK - 1, BLOCK, 3 * BLOCK + 5)
RNG = np.random.default_rng(3)

pytestmark = [
    pytest.mark.skipif(library.compiler() is None, reason="no C compiler on this machine"),
    pytest.mark.usefixtures("own_cache"),
]
same_rounding = pytest.mark.skipif(
    digest(elementary()) != ELEMENTARY, reason="NumPy's elementary functions round differently on this machine"
)


def made(known: dict[str, Argument], stores: list[Store]) -> Any:
    """A function of n and arrays by name, of what is stored where."""
    prelude = resources.files(compiled).joinpath("prelude.h").read_text("utf-8")
    written = library.load(prelude + function("some", known, stores, [], False)).some
    written.argtypes, written.restype = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p], None

    def call(count: int, arrays: dict[str, NDArray[Any]]) -> None:
        addresses = np.array([arrays[name].ctypes.data for name in known], np.int64)
        written(count, count, addresses.ctypes.data)

    return call


def uniform(*shape: int) -> NDArray[np.float32]:
    return RNG.random(shape, np.float32)


def test_tables_of_every_width_are_changed_in_place_and_written_elsewhere() -> None:
    """Windows that overlap must not see what each other wrote."""
    shared = {width: uniform(6, width) for width in WIDTHS}
    chosen = recording.customers("chosen", INT)
    known, stores = {"chosen": Argument("chosen", "int32_t")}, []
    for width in WIDTHS:
        table, row = recording.table(f"table{width}", width), functions.take(shared[width], chosen, axis=0)
        stores.append(Store(table * 0.75 + row, f"next{width}"))
        stores.append(Store(functions.concat([functions.sqrt(table) / (table + 2.0)], axis=1), f"seen{width}"))
        for name, written in ((f"table{width}", False), (f"next{width}", True), (f"seen{width}", True)):
            known[name] = Argument(name, "float", written)
    see = made(known, [each for each in stores if each.name.startswith("seen")])
    change = made(known, [each for each in stores if each.name.startswith("next")])
    for count in SIZES:
        arrays: dict[str, NDArray[Any]] = {"chosen": RNG.integers(0, 6, count).astype(np.int32)}
        before = {width: uniform(count, width) for width in WIDTHS}
        for width in WIDTHS:
            arrays[f"table{width}"] = arrays[f"next{width}"] = before[width].copy()
            arrays[f"seen{width}"] = np.full((count, width), np.nan, np.float32)
        see(count, arrays)
        change(count, arrays)
        for width in WIDTHS:
            old = before[width]
            np.testing.assert_array_equal(arrays[f"seen{width}"], np.sqrt(old) / (old + np.float32(2.0)))
            expected = old * np.float32(0.75) + shared[width][arrays["chosen"]]
            np.testing.assert_array_equal(arrays[f"next{width}"], expected)


def test_what_cannot_be_done_on_vectors_is_done_in_place_all_the_same() -> None:
    table = recording.table("table", 14)
    known = {"table": Argument("table", "float"), "next": Argument("next", "float", True)}
    call = made(known, [Store(functions.minimum(functions.sqrt(table), 0.5), "next")])
    values = uniform(100, 14)
    arrays = {"table": values.copy()}
    arrays["next"] = arrays["table"]
    call(100, arrays)
    np.testing.assert_array_equal(arrays["next"], np.minimum(np.sqrt(values), np.float32(0.5)))


@same_rounding
def test_exponentials_of_exponentials_wait_for_each_other() -> None:
    """What is needed before, between and after them is there when it is needed, and used as often as it is."""
    first, second = recording.customers("left", FLOAT), recording.customers("right", FLOAT)
    mixed = first * 0.5 - second
    once = functions.exp(mixed)
    twice = functions.exp(-once) + mixed * first
    thrice = functions.log(1.0 + functions.exp(-twice)) * once
    events = functions.astype((thrice < first) & ~(twice < second), FLOAT)
    turned = functions.cos(twice) * functions.sqrt(functions.exp(second))
    results = [once, twice, thrice, events, turned, functions.exp(first), first, events + turned]
    known = {name: Argument(name, "float") for name in ("left", "right")}
    known |= {f"result{place}x": Argument(f"result{place}x", "float", True) for place in range(len(results))}
    call = made(known, [Store(each, f"result{place}x") for place, each in enumerate(results)])
    for count in SIZES:
        a, b = uniform(count) * 4 - 2, uniform(count) * 4 - 2
        arrays = {"left": a, "right": b} | {f"result{place}x": uniform(count) for place in range(len(results))}
        call(count, arrays)
        m = a * np.float32(0.5) - b
        o = np.exp(m)
        w = np.exp(-o) + m * a
        t = np.log(np.float32(1.0) + np.exp(-w)) * o
        e = ((t < a) & ~(w < b)).astype(np.float32)
        c = np.cos(w) * np.sqrt(np.exp(b))
        for place, expected in enumerate([o, w, t, e, c, np.exp(a), a, e + c]):
            np.testing.assert_array_equal(arrays[f"result{place}x"], expected, err_msg=str(place))


@pytest.mark.parametrize("rows", [1, 2, 5, 8, 9, 30])
def test_a_row_is_found_whether_it_is_chosen_among_few_or_looked_up_among_many(rows: int) -> None:
    table, row = recording.customers("table", FLOAT, rows), recording.customers("row", INT)
    place = row * recording.COUNT + recording.row_number()
    found = functions.take(functions.reshape(table, (-1,)), place)
    known = {
        "table": Argument("table", "float", rows=rows),
        "row": Argument("row", "int32_t"),
        "found": Argument("found", "float", True),
    }
    call = made(known, [Store(found, "found")])
    for count in SIZES:
        values, rows_of = uniform(rows, count) - np.float32(0.5), RNG.integers(0, rows, count).astype(np.int32)
        arrays = {"table": values, "row": rows_of, "found": uniform(count)}
        call(count, arrays)
        np.testing.assert_array_equal(arrays["found"], values[rows_of, np.arange(count)])


def test_tables_of_whole_numbers_share_one_table_of_bits_as_far_as_they_fit() -> None:
    tables = [RNG.integers(0, most + 1, 40) for most in (0, 1, 2, 7, 1000, 1023, 4, 30_000, 5, 32_767)]
    tables += [tables[3].copy(), RNG.integers(-3, 3, 40), RNG.integers(0, 70_000, 40) + 70_000]
    tables.append(RNG.random(40) < 0.5)
    index, other = recording.customers("index", INT), recording.customers("other", INT)
    found = [functions.take(table, index) for table in tables] + [functions.take(tables[4], other)]
    known = {name: Argument(name, "int32_t") for name in ("index", "other")}
    known |= {f"found{place}x": Argument(f"found{place}x", "int32_t", True) for place in range(len(found))}
    stores = [Store(each, f"found{place}x") for place, each in enumerate(found)]
    text = function("some", known, stores, [], False)
    assert text.count("static const int32_t some_packed") == 4  # three at one index, one at the other
    call = made(known, stores)
    here, there = (RNG.integers(0, 40, 200).astype(np.int32) for _ in range(2))
    arrays = {"index": here, "other": there} | {f"found{place}x": here.copy() for place in range(len(found))}
    call(200, arrays)
    for place, table in enumerate(tables):
        np.testing.assert_array_equal(arrays[f"found{place}x"], table[here], err_msg=str(place))
    np.testing.assert_array_equal(arrays[f"found{len(tables)}x"], tables[4][there])


def test_a_loop_of_its_own_for_each_exponential() -> None:
    writer = Writer("some", {"x": Argument("x", "float")})
    x = Node("input", FLOAT, ("x", 0))
    inner = Node("exp", FLOAT, (Node("negative", FLOAT, (x,)),))
    outer = Node("exp", FLOAT, (Node("add", FLOAT, (inner, x)),))
    name = writer.name_of(Node("multiply", FLOAT, (outer, inner)))
    between, lines = staged(writer.statements, [Sink(f"kept[j] = {name};", name)], "first + j")
    loops = "\n".join(lines).split("INDEPENDENT for")[1:]
    assert [each.count("exponential(") for each in loops] == [0, 1, 0, 1, 0]
    assert f"kept[j] = {name};" in loops[-1]
    assert set(between.values()) == {"float"}
    plain = staged({}, [Sink("kept[j] = 1;", "1")], "first + j")
    assert plain.between == {}
    assert "kept[j] = 1;" in plain.lines
