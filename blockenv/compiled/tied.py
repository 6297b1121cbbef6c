"""Compiled functions tied to the arrays of one cohort.

It hands over addresses and makes the arrays for results; what is computed is written in `day`.
"""

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.arrivals import CUSTOMERS_FIRST, Arrivals
from blockenv.compiled import library
from blockenv.compiled.day import EVENTS, REAL, People, Program
from blockenv.dynamics import Outcome, State, Traits
from blockenv.history import History

_NAMES: tuple[tuple[str, Any], ...] = (("traits", Traits), ("state", State), ("log", History))


class CompiledDay:
    """The functions of one scenario, ready to be tied to cohorts of it."""

    def __init__(self, written: Program) -> None:
        """Compile, or take what was compiled before.

        Raises:
            CompilerError: no compiler, or it failed.
        """
        functions = library.load(written.text)
        self.arguments, self.columns, self.actions = written.arguments, written.columns, written.actions
        self.live, self.observe, self.observe_some = functions.live, functions.observe, functions.observe_some
        self.legal, self.place = functions.legal, functions.place
        for each in (self.live, self.observe, self.observe_some, self.legal):
            each.argtypes, each.restype = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p], None
        self.place.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p]
        self.place.restype = None


class Tied:
    """Compiled functions tied to the arrays of one cohort, from one morning to the next.

    What a step returns is in new arrays, and fields of one kind share a block of memory; only the wide tables of the
    log are written in place.
    """

    def __init__(self, compiled: CompiledDay, people: People, key: NDArray[np.uint64]) -> None:
        """Tie `compiled` to arrays of C order that nobody moves between two steps."""
        self.compiled, self._key = compiled, key
        self._traits, self._state, self._log = people
        self._size = people.state.alive.size
        self._places = {name: place for place, name in enumerate(compiled.arguments)}
        self._memory: NDArray[np.int64] = np.zeros(len(self._places), np.int64)  # addresses
        self._memory_address = _address(self._memory)
        self._point("key", key)
        for prefix, record in (("traits", people.traits), ("state", people.state), ("log", people.log)):
            for name, values in record._asdict().items():
                assert values.flags.c_contiguous, name
                self._point(f"{prefix}_{name}", values)
        self._results = _Results(people)
        self._now = np.array([self._places[name] for name in self._results.names])
        self._then = np.array([self._places[f"next_{name}"] for name in self._results.names])
        self._arrivals: Arrivals | None = None

    def holds(self, traits: Traits, state: State, log: History, key: NDArray[np.uint64]) -> bool:
        """Whether these are the arrays of this morning."""
        return state is self._state and log is self._log and traits is self._traits and key is self._key

    def step(self, action: NDArray[np.int64]) -> "Evening":
        """Live one day under `action` (N,) int64 of C order."""
        size, channels = self._size, len(self._state.reachable)
        real = np.empty((len(REAL), size), np.float32)
        events = np.empty((len(EVENTS) + 2 * channels, size), np.bool_)
        self._point("action", action)
        self._point("real", real)
        self._point("events", events)
        addresses, fields = self._results.make()
        self._memory[self._then] = addresses
        self.compiled.live(size, size, self._memory_address)
        self._memory[self._now] = addresses
        self._state = State(*fields[: len(State._fields)])
        self._log = History(*fields[len(State._fields) :])
        singles = len(EVENTS)
        named = dict(zip((*REAL, *EVENTS), (*real, *events[:singles]), strict=True))
        outcome = Outcome(**named, blocked=events[singles:-channels], reopened=events[-channels:])
        return Evening(self._state, self._log, outcome)

    def observe(self, index: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """What is seen this morning of everybody, or of the rows `index` (M,) int64: (N or M, D), a new array."""
        rows = self._size if index is None else len(index)
        seen = np.empty((rows, self.compiled.columns), np.float32)
        self._point("seen", seen)
        if index is None:
            self.compiled.observe(rows, rows, self._memory_address)
        else:
            self._point("index", index)
            self.compiled.observe_some(self._size, rows, self._memory_address)
        return seen

    def legal_actions(self) -> NDArray[np.bool_]:
        """(N, A), a new array."""
        legal = np.empty((self._size, self.compiled.actions), np.bool_)
        self._point("legal_actions", legal)
        self.compiled.legal(self._size, self._size, self._memory_address)
        return legal

    def place(self, arrivals: Arrivals, to: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        """Write the customers `source` (M,) of `arrivals`, whose arrays stay where they are, into the rows `to`."""
        if self._arrivals is not arrivals:
            self._arrivals, self._lines = arrivals, _lines(self._traits, self._state, self._log, self._key, arrivals)
            names = [f"{prefix}_{name}" for prefix, record in _NAMES for name in record._fields]
            self._line_places = np.array([self._places[name] for name in [*names, "key"]])
        self._lines[:, 0] = self._memory[self._line_places]
        self.compiled.place(len(to), _address(to), _address(source), len(self._lines), _address(self._lines))

    def _point(self, name: str, values: NDArray[Any]) -> None:
        self._memory[self._places[name]] = _address(values)


class Evening(NamedTuple):
    """What a compiled step leaves behind."""

    state: State
    log: History
    outcome: Outcome


class _Results:
    """The arrays that a step makes for tomorrow's state and log: one for all fields of a type.

    Tables with the customers first, most of what there is, stay where they are and are written in place.
    """

    def __init__(self, people: People) -> None:
        size = people.state.alive.size
        rows: dict[Any, int] = {}  # of each block
        places: list[tuple[Any, Any]] = []  # the block and its rows; the array itself where it stays
        offsets = []
        self.names = []
        for prefix, record in (("state", people.state), ("log", people.log)):
            for name, values in record._asdict().items():
                self.names.append(f"{prefix}_{name}")
                if name in CUSTOMERS_FIRST:
                    places.append((None, values))
                    offsets.append(_address(values))
                    continue
                start = rows.get(values.dtype, 0)
                rows[values.dtype] = end = start + (1 if values.ndim == 1 else len(values))
                places.append((values.dtype, start if values.ndim == 1 else slice(start, end)))
                offsets.append(start * size * values.dtype.itemsize)
        order: list[Any] = [None, *rows]
        self._places = [(order.index(block), where) for block, where in places]
        self._shapes = [((count, size), dtype) for dtype, count in rows.items()]
        self._block_of = np.array([block for block, _ in self._places])
        self._offsets = np.array(offsets)

    def make(self) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
        """The addresses of arrays for all fields, and the arrays."""
        blocks = [np.empty(shape, dtype) for shape, dtype in self._shapes]
        starts = np.array([0, *map(_address, blocks)])
        fields = [blocks[block - 1][where] if block else where for block, where in self._places]
        return starts[self._block_of] + self._offsets, fields


def _lines(*arrays: Any) -> NDArray[np.int64]:
    """For each array, and its counterpart in the arrivals given last: 0, its address, and what `place` in C needs."""
    *mine, arrivals = arrays
    pairs = [
        (name in CUSTOMERS_FIRST, getattr(here, name), getattr(there, name))
        for here, there in zip(mine[:3], arrivals[:3], strict=True)
        for name in here._fields
    ]
    lines = []
    for first, here, there in [*pairs, (False, mine[3], arrivals[3])]:
        assert there.flags.c_contiguous
        size = here.itemsize * (here.shape[1] if first else 1)
        rows = 1 if first or here.ndim == 1 else len(here)
        lines.append([0, _address(there), size, rows, here.nbytes // rows, there.nbytes // rows])
    return np.array(lines, np.int64)


_NOTHING = ctypes.c_char * 0


def _address(values: NDArray[Any]) -> int:
    if values.flags.writeable and values.size:
        return ctypes.addressof(_NOTHING.from_buffer(values.data))  # in a third of the time
    address: int = values.__array_interface__["data"][0]
    return address
