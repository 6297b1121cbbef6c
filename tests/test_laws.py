"""Worlds that break the model break it where they say, at the same luck, and leave the simulator as it is."""

from typing import Any

import numpy as np
import pytest

from agents import agent_class
from benchmarks.laws import LAWS, Bent, Law
from blockenv import Result, play
from blockenv.scenarios import Scenario, get

STYLE = get("Style-v0")
PLAIN = get("Frequency-v0")


class Always:
    """One message as often as it is told to."""

    def __init__(self, message: int, gap: int = 1) -> None:
        self.message, self.gap, self.day = message, gap, 0

    def act(self, seen: Any, mask: Any, rng: np.random.Generator) -> Any:
        self.day += 1
        return np.where(mask[:, self.message] & (self.day % self.gap == 0), self.message, 0)


def played(law: Law | None, policy: Any, scenario: Scenario = STYLE, days: int = 120, customers: int = 300) -> Result:
    return play(policy if law is None else Bent(policy, law), scenario, customers=customers, days=days)


def made(name: str, scenario: Scenario = STYLE, customers: int = 300) -> Law:
    return LAWS[name](scenario, customers)


def test_a_law_that_changes_nothing_changes_nothing() -> None:
    plain, bent = played(None, Always(1, 3)), played(Law(STYLE, 300), Always(1, 3))
    for name in Result._fields:
        np.testing.assert_array_equal(getattr(plain, name), getattr(bent, name))


@pytest.mark.parametrize("name", ["two_clocks", "pulled_forward", "reference_price"])
def test_who_is_left_alone_lives_as_ever(name: str) -> None:
    silence = agent_class("silence")(STYLE)
    np.testing.assert_array_equal(played(None, silence).value, played(made(name), silence).value)


def test_below_the_threshold_hardly_anybody_blocks_and_above_it_everybody() -> None:
    background = played(None, agent_class("silence")(STYLE), days=364, customers=2000).blocks.sum()
    laws = (None, made("threshold", customers=2000))
    seldom = [played(law, Always(4, 28), days=364, customers=2000).blocks.sum() - background for law in laws]
    assert seldom[0] > 20
    assert seldom[1] < 0.5 * seldom[0]
    daily = [played(law, Always(4), days=60).blocks.sum() for law in (None, made("threshold"))]
    assert daily[1] > 1.5 * daily[0]


def test_the_slow_clock_makes_later_messages_worse() -> None:
    plain, bent = (played(law, Always(1, 2), days=180) for law in (None, made("two_clocks")))
    assert bent.overloaded.sum() > 1.1 * plain.overloaded.sum()
    assert bent.blocks.sum() > plain.blocks.sum()
    assert bent.daily_messages[1] == plain.daily_messages[1]  # on the first days there is nothing to remember


def test_what_is_pulled_forward_is_missing_later() -> None:
    plain, bent = (played(law, Always(1, 2), days=240) for law in (None, made("pulled_forward")))
    assert bent.orders.sum() < 0.97 * plain.orders.sum()
    assert bent.value.mean() < plain.value.mean()


def test_offers_spoil_the_price_and_other_messages_do_not() -> None:
    offers = [action for action in range(1, STYLE.actions) if "promo" in STYLE.message_name(action)]
    others = [action for action in range(1, STYLE.actions) if "info" in STYLE.message_name(action)]
    spoilt = [played(law, Always(offers[0], 2)).orders.sum() for law in (None, made("reference_price"))]
    assert spoilt[1] < 0.9 * spoilt[0]
    same = [played(law, Always(others[0], 2)).value for law in (None, made("reference_price"))]
    np.testing.assert_array_equal(*same)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("scenario", [PLAIN, get("Omnichannel-v0")], ids=lambda each: each.name)
def test_every_law_holds_in_batches_and_for_those_who_leave(name: str, scenario: Scenario) -> None:
    """Customers in two batches, and rows that are left out when their customers have gone, remember the same."""
    whole = play(Bent(Always(1, 3), made(name, scenario, 90)), scenario, customers=90, days=200)
    law, parts = made(name, scenario, 90), []
    for first in (0, 40):
        size = 40 if first == 0 else 50
        parts.append(play(Bent(Always(1, 3), law), scenario, customers=size, first_customer=first, days=200))
    np.testing.assert_array_equal(whole.value, np.concatenate([part.value for part in parts]))
    loose = play(Bent(Always(1, 3), made(name, scenario, 90)), scenario, customers=90, days=200, compact=False)
    np.testing.assert_array_equal(whole.value, loose.value)


def test_every_law_says_what_it_breaks_and_changes_something() -> None:
    for name, law in LAWS.items():
        assert law.says != Law.says
        plain, bent = (played(each, Always(1, 2), days=90) for each in (None, made(name)))
        assert not np.array_equal(plain.value, bent.value)


def test_a_reference_line_sees_the_customers_as_they_are() -> None:
    class Curious(Always):
        loads: list[float] = []

        def meet(self, cohort: Any) -> None:
            self.loads.append(float(np.mean(cohort.traits.ideal_load[np.asarray(cohort.state.alive)])))

    curious = Curious(1)
    played(made("two_clocks"), curious, days=20, customers=50)
    assert len(curious.loads) == 20
    assert curious.loads[-1] < curious.loads[0]


def test_whoever_remembers_is_told_who_is_who() -> None:
    class Remembers(Always):
        known: list[int] = []

        def recognise(self, customers: Any) -> None:
            self.known.append(len(set(customers.tolist())))

    remembers = Remembers(1)
    played(made("two_clocks"), remembers, days=3, customers=50)
    assert remembers.known == [50] * 3


def test_what_is_no_action_is_refused() -> None:
    class Wrong:
        def act(self, seen: Any, mask: Any, rng: np.random.Generator) -> Any:
            return np.full(len(seen), 99)

    with pytest.raises(ValueError, match=r"action\[0\]: 99"):
        played(made("threshold"), Wrong(), days=2)
