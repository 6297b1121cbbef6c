"""A cohort's day and what is seen of it, written down as C.

It knows which arrays there are, not what is done with them: that is recorded from `dynamics.step`, `history.update`
and `observation.observe` themselves.
"""

from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, observation
from blockenv.arrivals import CUSTOMERS_FIRST
from blockenv.compiled import recording
from blockenv.compiled.expressions import Argument
from blockenv.compiled.recording import BOOL, FLOAT, INT, Node, Recorded, Rows
from blockenv.compiled.source import BLOCK, Store, function, width_of
from blockenv.dynamics import Outcome, Rules, State, Traits
from blockenv.history import History, Ledger
from blockenv.observation import View

_C_TYPES = {"float32": "float", "int32": "int32_t", "int64": "int64_t", "bool": "uint8_t"}
_KINDS = {"f": FLOAT, "i": INT, "b": BOOL}
REAL = (
    "order_value", "margin", "discount", "cost", "reward", "expected_reward", "churn_probability", "overload",
    "relevance",
)  # fmt: skip
EVENTS = ("sent", "delivered", "opened", "ordered", "prompted", "churned")
BY_CHANNEL = ("blocked", "reopened")


class World(NamedTuple):
    """What a scenario's customers share; the numbers of all of it become part of the compiled text."""

    rules: Rules
    ledger: Ledger
    view: View
    segments: NDArray[Any]  # (S, 1)
    full: bool  # whether the hidden state is observed as well


class People(NamedTuple):
    """The arrays of N customers."""

    traits: Traits
    state: State
    log: History


class Program(NamedTuple):
    """C text, and the arrays that each of its functions takes, in order."""

    text: str
    arguments: tuple[str, ...]  # names of the arrays whose addresses all functions take, in order
    columns: int  # of the observation
    actions: int


def program(world: World, people: People) -> Program:
    """Record a day of customers laid out like `people` (of any number) and write it down as C.

    Raises:
        TypeError: an array or an operation that cannot be recorded.
    """
    known: dict[str, Argument] = {}

    def taken(prefix: str, record: Any) -> Any:
        fields: dict[str, Recorded | Rows] = {}
        for name, values in record._asdict().items():
            full_name, kind = f"{prefix}_{name}", _KINDS[values.dtype.kind]
            first = name in CUSTOMERS_FIRST
            rows = 1 if first or values.ndim == 1 else values.shape[0]
            known[full_name] = Argument(full_name, _C_TYPES[values.dtype.name], rows=rows)
            if first:
                fields[name] = recording.table(full_name, values.shape[1])
            else:
                fields[name] = recording.customers(full_name, kind, None if values.ndim == 1 else rows)
        return record._replace(**fields)

    traits, state, log = taken("traits", people.traits), taken("state", people.state), taken("log", people.log)
    known["action"] = Argument("action", "int64_t")
    action = recording.customers("action", INT)
    luck, filling = _luck(len(world.ledger.channels))
    tomorrow, outcome = dynamics.step(world.rules, traits, state, log.day, action, luck, recording.row_number())
    evening = history.update(world.ledger, log, action, outcome)
    stores = [
        *_results("next_state", tomorrow, people.state, known),
        *_results("next_log", evening, people.log, known),
        *(Store(value, name) for name, value in _outcome(outcome).items()),
    ]
    known["real"] = Argument("real", "float", written=True)
    known["events"] = Argument("events", "uint8_t", written=True)
    known["key"], known["index"] = Argument("key", "uint64_t"), Argument("index", "int64_t")
    known["seen"] = Argument("seen", "float", written=True)
    known["legal_actions"] = Argument("legal_actions", "uint8_t", written=True)

    pieces = observation.observe_all(world.rules, world.view, log, state, traits, world.segments, world.full)
    seen = [Store(pieces, "seen")]
    written = {
        "live": (stores, filling, False),
        "observe": (seen, [], False),
        "observe_some": (seen, [], True),
        "legal": ([Store(observation.legal_actions(world.rules, log.known_reachable), "legal_actions")], [], False),
    }
    texts = [resources.files(__package__).joinpath("prelude.h").read_text("utf-8")]
    texts += [function(name, known, *how) for name, how in written.items()]
    return Program("\n".join(texts) + "\n", tuple(known), width_of(pieces), len(world.rules.sends))


def _luck(channels: int) -> tuple[noise.Noise, list[str]]:
    """The luck of a day as recorded values, and the statements that hash it as `noise.luck` does."""
    draws = len(noise.SCALARS) + channels
    words = (draws + 1) // 2
    values = [Recorded(np.array([Node("block", FLOAT, ("luck", draw))], object), -1) for draw in range(draws)]
    by_channel = np.stack([each.nodes for each in values[len(noise.SCALARS) :]])
    filling = [
        f"float luck[{2 * words}][{BLOCK}];",
        "INDEPENDENT for (long j = 0; j < count; j++) {",
        "const uint64_t start = mix(key[first + j] + ((uint64_t)log_day[first + j] + 1) * WEYL);",
    ]
    for word in range(words):
        filling += [
            f"const uint64_t word{word} = mix(start + {word + 1} * WEYL);",
            f"luck[{2 * word}][j] = (float)(int32_t)((uint32_t)word{word} >> 8) * 0x1p-24f;",
            f"luck[{2 * word + 1}][j] = (float)(int32_t)(word{word} >> 40) * 0x1p-24f;",
        ]
    return noise.Noise(*values[: len(noise.SCALARS)], Recorded(by_channel, -1)), [*filling, "}"]  # type: ignore[call-arg, arg-type]


def _results(prefix: str, record: Any, like: Any, known: dict[str, Argument]) -> list[Store]:
    """Where the fields of a record go: arrays like those of `like`."""
    stores = []
    for name, value in record._asdict().items():
        values = getattr(like, name)
        known[f"{prefix}_{name}"] = Argument(f"{prefix}_{name}", _C_TYPES[values.dtype.name], written=True)
        stores.append(Store(value, f"{prefix}_{name}"))
    return stores


def _outcome(outcome: Outcome) -> dict[str, Recorded]:
    """The outcome's fields, those of a kind on top of each other."""

    def pile(names: tuple[str, ...]) -> Recorded:
        nodes = [np.atleast_2d(getattr(outcome, name).nodes).reshape(-1, 1) for name in names]
        return Recorded(np.concatenate(nodes), -1)

    assert {*REAL, *EVENTS, *BY_CHANNEL} == set(Outcome._fields)
    return {"real": pile(REAL), "events": pile((*EVENTS, *BY_CHANNEL))}
