"""Fatigue caps: send while a customer is calm, whatever the day; the best of them found by exact values.

A cap knows a customer's true fatigue and open channels, and no trait: it is what a frequency cap could be at best, for
everybody alike or for each segment. Never looks at a held-out customer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv import mdp, population
from blockenv.scenarios import Scenario

START_LEVEL = 2  # of the fatigue ladder, from which the search sets out


class Cap(NamedTuple):
    """Send the first of some messages whose channel is open, while fatigue is at most a level of its ladder."""

    messages: tuple[int, ...]  # the scenario's numbers, first choice first; none is silence
    level: int


Scores = Callable[[Sequence[Cap]], NDArray[np.float64]]  # mean value of each cap, money


def caps_text(caps: Sequence[Cap]) -> str:
    """A cap for everybody, or one for each segment, as one word: `12,30@2` or `12@2|@0|7@5`."""
    return "|".join(f"{','.join(map(str, cap.messages))}@{cap.level}" for cap in caps)


def caps_of(text: str) -> list[Cap]:
    """What `caps_text` wrote.

    Raises:
        ValueError: it is something else.
    """
    found = []
    for word in text.split("|"):
        messages, at, level = word.partition("@")
        if not at:
            raise ValueError(f"policy: {text!r}, expected silence, optimum, myopic, or caps such as 12,30@2")
        found.append(Cap(tuple(int(each) for each in messages.split(",") if each), int(level)))
    return found


def caps_table(caps: Sequence[Cap], batch: mdp.Batch) -> NDArray[np.int64]:
    """The policy as a table (N, F, B, M) of actions: one cap for all customers, or one for each segment."""
    own = [caps[0]] * batch.size if len(caps) == 1 else [caps[segment] for segment in batch.traits.segment]
    table = np.zeros(batch.shape, np.int64)
    for cap in set(own):
        rows = np.array([each == cap for each in own])
        threshold = (cap.level + 0.5) * batch.rules.fatigue_step  # between levels, safe from rounding
        for message in reversed(cap.messages):
            action = np.broadcast_to(np.asarray(mdp.fatigue_cap(message, threshold)(batch)), batch.shape)
            table[rows] = np.where(action[rows] > 0, action[rows], table[rows])
    return table


def described(cap: Cap, scenario: Scenario) -> dict[str, object]:
    """A cap in words, its threshold in fatigue units before the message."""
    step = scenario.fatigue.top / (scenario.fatigue.levels - 1)
    return {"messages": [scenario.message_name(each) for each in cap.messages], "fatigue_at_most": cap.level * step}


def best_cap(scenario: Scenario, first: Sequence[int], scores: Scores) -> Cap:
    """Coordinate search: slot, style and product of each channel's message, its threshold, then which channels, in turn.

    Args:
        scenario: the world.
        first: a message of each channel to set out from.
        scores: mean value of each of several caps over the customers that the cap is for.
    """
    top = scenario.fatigue.levels - 1
    alone = [_best_message(scenario, message, scores) for message in first]
    singles = [_climbed(Cap((message,), START_LEVEL), top, scores) for message in alone]
    worth = scores(singles)
    order = np.argsort(-worth, kind="stable")
    best = Cap((), 0)
    for place in order:
        longer = Cap((*best.messages, *singles[place].messages), best.level if best.messages else singles[place].level)
        longer = _climbed(longer, top, scores)
        if scores([longer])[0] > scores([best])[0]:
            best = longer
    return best


def first_messages(scenario: Scenario, profit: NDArray[np.floating]) -> list[int]:
    """The message of each channel with the largest `profit` (actions,)."""
    rules = population.rules(scenario)
    channels = [np.flatnonzero(rules.sends & (rules.channel_of == each)) for each in range(len(scenario.channels))]
    return [int(messages[profit[messages].argmax()]) for messages in channels]


def _best_message(scenario: Scenario, message: int, scores: Scores) -> int:
    rules = population.rules(scenario)
    parts = (rules.slot_of, rules.style_of, rules.product_of)
    for part in parts:
        others = [rules.channel_of, *(each for each in parts if each is not part)]
        same = rules.sends & np.all([other == other[message] for other in others], axis=0)
        options = [int(each) for each in np.flatnonzero(same)]
        if len(options) > 1:
            message = options[int(scores([Cap((each,), START_LEVEL) for each in options]).argmax())]
    return message


def _climbed(cap: Cap, top: int, scores: Scores) -> Cap:
    """The threshold that no neighbouring one beats."""
    while True:
        around = [cap._replace(level=level) for level in (cap.level, cap.level - 1, cap.level + 1) if 0 <= level <= top]
        better = around[int(scores(around).argmax())]
        if better == cap:
            return cap
        cap = better
