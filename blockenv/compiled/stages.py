"""Statements on single customers as loops over a block of them, cut where one of them would wait for another.

An exponential is a long chain of operations that wait for each other. In a loop of its own many customers are under way
at a time, while in one loop with everything else a processor cannot look far enough ahead to begin with the next.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from blockenv.compiled.expressions import Statement


class Sink(NamedTuple):
    """A statement that keeps a value."""

    text: str
    needs: str  # the value's name; that of no statement if it is a number


class Loops(NamedTuple):
    """What a block is taken through."""

    between: dict[str, str]  # arrays of the block that one loop writes and later ones read, and their C types
    lines: list[str]


def staged(statements: Mapping[str, Statement], sinks: list[Sink], place: str) -> Loops:
    """Loops that compute all statements, in an order in which each finds what it needs, and keep the sinks.

    Args:
        statements: by name; each comes after those that it needs.
        sinks: what is kept.
        place: the C expression of the customer's number, from the number j within the block.
    """
    stage: dict[str, int] = {}
    for name, each in statements.items():
        stage[name] = max((stage[need] for need in each.needs), default=0) + each.long
    long = {name for name, each in statements.items() if each.long}
    loaded = {name for name, each in statements.items() if not each.needs and not each.long}  # again where needed
    asked: list[set[str]] = [set() for _ in range(max(stage.values(), default=0) + 1)]
    between = {need for name in long for need in statements[name].needs} - loaded
    for name in statements.keys() - long - loaded:
        asked[stage[name]].update(statements[name].needs)
    kept: list[list[str]] = [[] for _ in asked]
    for sink in sinks:
        kept[stage.get(sink.needs, 0)].append(sink.text)
        asked[stage.get(sink.needs, 0)].update({sink.needs} & statements.keys())
    for number, names in enumerate(asked):
        between |= {name for name in names - loaded if stage[name] < number or name in long}
    lines: list[str] = []
    for number, names in enumerate(asked):
        for name in (each for each in statements if each in long and stage[each] == number):
            fetched = _fetched(statements[name].needs, statements, loaded)
            lines += loop(place, [*fetched, f"{_array(name)}[j] = {statements[name].text};"])
        own = [name for name in statements if stage[name] == number and name not in loaded | long]
        body = list(_fetched([name for name in statements if name in names.difference(own)], statements, loaded))
        for name in own:
            body.append(f"const {statements[name].c_type} {name} = {statements[name].text};")
            body += [f"{_array(name)}[j] = {name};"] * (name in between)
        lines += loop(place, [*body, *kept[number]])
    return Loops({_array(name): each.c_type for name, each in statements.items() if name in between}, lines)


def loop(place: str, statements: Iterable[str]) -> Iterator[str]:
    """One loop of statements over the customers of a block."""
    yield from ["INDEPENDENT for (long j = 0; j < count; j++) {", f"const long i = {place};", *statements, "}"]


def _fetched(names: Iterable[str], statements: Mapping[str, Statement], loaded: set[str]) -> Iterator[str]:
    """Statements that fetch values of other loops from where they are kept."""
    for name in names:
        each = statements[name]
        yield f"const {each.c_type} {name} = {each.text if name in loaded else f'{_array(name)}[j]'};"


def _array(name: str) -> str:
    return f"all_{name}"
