"""The firm's log counts what happened, forgets at its pace, and knows of a block only what its channel discloses."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, population
from blockenv.dynamics import Outcome, State, Traits
from blockenv.history import LONG, NEVER, RECENT, History, Ledger
from blockenv.scenarios import SCENARIOS, Scenario, get

NAMES = list(SCENARIOS)
DAYS = 60

# One channel of each visibility, blocked and won back all the time; a table of one product.
OPEN_BOOK: dict[str, Any] = {
    "name": "Book-v0",
    "isolates": "every visibility of a block",
    "channels": [
        {"name": "sms", "load": 1.0, "cost": 0.1, "block_probability": 0.05, "open_logit": 0, "buy_logit": -1,
         "visibility": "at_once", "win_back_rate": 0.1},
        {"name": "push", "load": 1.0, "cost": 0.1, "block_probability": 0.05, "open_logit": 0, "buy_logit": -1,
         "visibility": "next_send", "win_back_rate": 0.1, "opt_in": 0.8},
        {"name": "email", "load": 1.0, "cost": 0.1, "block_probability": 0.05, "open_logit": 0, "buy_logit": -1,
         "visibility": "never", "win_back_rate": 0.1, "opt_in": 0.7},
    ],
    "slots": ["morning", "evening"],
    "styles": [{"name": "promo", "discount": 0.2}, {"name": "info"}],
    "products": ["books"],
    "segments": [
        {"name": "all", "weight": 1, "ideal_load": 3, "reactance": 0.3, "reciprocity": 0.1, "churn_contact": 0.1,
         "resting_bond": 0.4, "organic_rate": 0.1},
    ],
    "response": {"churn_probability": 0.01, "spill_over": 0.3},
}  # fmt: skip
SMS, PUSH, EMAIL = 0, 1, 2


class Evening(NamedTuple):
    """What a day brought, and the log after it."""

    state: State
    action: NDArray[np.int64]
    outcome: Outcome
    log: History


def lives(
    scenario: Scenario, customers: int, days: int, seed: int = 1, dtype: type = np.float64
) -> tuple[Traits, Ledger, Iterator[Evening]]:
    """Customers under a random policy that minds no mask, day by day."""
    rules, ledger = population.rules(scenario, dtype), history.ledger(scenario, dtype)
    seeds, row = np.full(customers, seed, np.uint64), np.arange(customers)
    traits = population.draw(scenario, seeds, row, dtype)
    key, space = noise.address(seeds, noise.LUCK, row), noise.workspace(customers, len(scenario.channels))
    rng = np.random.default_rng(seed)

    def evenings() -> Iterator[Evening]:
        state, log = population.newcomers(scenario, traits), history.begin(ledger, traits.opted_in, dtype)
        for _ in range(days):
            action = rng.integers(0, scenario.actions, customers) * (rng.random(customers) < 0.8)
            state, outcome = dynamics.step(
                rules, traits, state, log.day, action, noise.luck(key, log.day, space), row
            )  # fmt: skip
            log = history.update(ledger, log, action, outcome)
            yield Evening(state, action, outcome, log)

    return traits, ledger, evenings()


def words(scenario: Scenario, action: int) -> set[str]:
    """The parts of a message that are counted: no table with a single entry, except channels."""
    if action == 0:
        return set()
    entries = dict(zip(("channel", "slot", "style", "product"), scenario.message_name(action).split("/"), strict=True))
    several = {
        "channel": 2,
        "slot": len(scenario.slots),
        "style": len(scenario.styles),
        "product": len(scenario.products),
    }
    return {f"{table}:{entry}" for table, entry in entries.items() if several[table] > 1}


def slow_log(scenario: Scenario, evenings: list[Evening], opted_in: list[bool], row: int) -> dict[str, Any]:
    """One customer's log by going through the diary, event by event."""
    parts = history.part_names(scenario)
    sent, recent = dict.fromkeys(parts, 0.0), [0.0] * len(scenario.channels)
    opened, prompted = dict.fromkeys(parts, 0.0), dict.fromkeys(parts, 0.0)
    known, orders, number, spend = list(opted_in), 0.0, 0, 0.0
    last: dict[str, int] = {}
    for today, evening in enumerate(evenings):
        age = len(evenings) - 1 - today
        long, short = 0.5 ** (age / LONG), 0.5 ** (age / RECENT)
        outcome, action = evening.outcome, int(evening.action[row])
        channel = (
            [each.name for each in scenario.channels].index(scenario.message_name(action).split("/")[0])
            if action
            else -1
        )
        failed = outcome.sent[row] and not outcome.delivered[row]
        told = failed and scenario.channels[channel].visibility != "never"
        if outcome.sent[row] and not told:
            last["send"] = today
            recent[channel] += short
            for part in words(scenario, action):
                sent[part] += long
        for event, table in (("opened", opened), ("prompted", prompted)):
            if getattr(outcome, event)[row]:
                for part in words(scenario, action):
                    table[part] += long
        if outcome.opened[row]:
            last["open"] = today
        if outcome.ordered[row]:
            last["order"] = today
            orders, number, spend = orders + long, number + 1, spend + outcome.order_value[row]
        if told:
            known[channel] = False
        for index, each in enumerate(scenario.channels):
            if outcome.blocked[index, row] and each.visibility == "at_once":
                known[index] = False
            if outcome.reopened[index, row]:
                known[index] = True
    days = len(evenings)
    return {
        "day": days,
        "known_reachable": known,
        "sent": list(sent.values()),
        "recent": recent,
        "opened": list(opened.values()),
        "prompted": list(prompted.values()),
        "orders": orders,
        "lifetime_orders": number,
        "lifetime_spend": spend,
        **{
            f"since_{event}": days - 1 - last[event] if event in last else NEVER + days
            for event in ("send", "open", "order")
        },
    }


@pytest.mark.parametrize("name", ["Book", "Frequency-v0", "Omnichannel-v0", "Silent-v0", "Winback-v0"])
@pytest.mark.parametrize("days", [1, DAYS])
def test_the_log_counts_what_a_slow_reader_of_the_diary_counts(name: str, days: int) -> None:
    scenario = get(OPEN_BOOK) if name == "Book" else SCENARIOS[name]
    traits, _, evenings = lives(scenario, 30, days)
    diary = list(evenings)
    for row in range(30):
        expected = slow_log(scenario, diary, traits.opted_in[:, row].tolist(), row)
        assert set(expected) == set(History._fields)
        for field, value in expected.items():
            table = getattr(diary[-1].log, field)
            found = table[:, row] if field == "known_reachable" else table[row]
            assert np.asarray(found).tolist() == pytest.approx(value, rel=1e-9, abs=1e-12), field


def test_the_diary_of_that_test_holds_all_that_can_happen() -> None:
    scenario = get(OPEN_BOOK)
    diary = list(lives(scenario, 30, DAYS)[2])
    for field in ("sent", "delivered", "opened", "ordered", "prompted", "blocked", "reopened", "churned"):
        events = np.array([getattr(evening.outcome, field) for evening in diary])
        assert 5 < events.sum() < events.size, field
    failed = np.array([evening.outcome.sent & ~evening.outcome.delivered for evening in diary])
    channel = np.array([population.rules(scenario).channel_of[evening.action] for evening in diary])
    assert all((failed & (channel == each)).sum() > 5 for each in (SMS, PUSH, EMAIL))


# --- what a firm can notice of a block ---


def uneventful(action: NDArray[np.int64], **events: Any) -> Outcome:
    """A day on which messages are delivered and nothing else happens, but for `events`."""
    count = len(action)
    tables = {"blocked", "reopened"}
    floats = (
        "order_value",
        "margin",
        "discount",
        "cost",
        "reward",
        "expected_reward",
        "churn_probability",
        "overload",
        "relevance",
    )
    quiet = {
        field: np.zeros((3, count) if field in tables else count, float if field in floats else bool)
        for field in Outcome._fields
    }
    return Outcome(**{**quiet, "sent": action > 0, "delivered": action > 0, **events})


def on(channel: int) -> NDArray[np.bool_]:
    """An event on one channel of a single customer, (3, 1)."""
    found: NDArray[np.bool_] = np.arange(3)[:, None] == channel
    return found


def message_on(channel: int) -> NDArray[np.int64]:
    """The first message on the channel."""
    rules = population.rules(get(OPEN_BOOK))
    return np.flatnonzero(rules.sends & (rules.channel_of == channel))[:1]


def start(opted_in: bool = True) -> tuple[Ledger, History]:
    ledger = history.ledger(get(OPEN_BOOK), np.float64)
    return ledger, history.begin(ledger, np.full((3, 1), opted_in), np.float64)


SILENCE = np.array([0])


@pytest.mark.parametrize(
    ("channel", "known_after_block", "known_after_failure"),
    [(SMS, False, False), (PUSH, True, False), (EMAIL, True, True)],
)
def test_a_block_is_known_when_its_channel_discloses_it(
    channel: int, known_after_block: bool, known_after_failure: bool
) -> None:
    ledger, log = start()
    send = message_on(channel)
    log = history.update(ledger, log, send, uneventful(send, blocked=on(channel)))
    assert log.known_reachable[channel, 0] == known_after_block
    log = history.update(ledger, log, SILENCE, uneventful(SILENCE))
    assert log.known_reachable[channel, 0] == known_after_block
    before = log.sent
    log = history.update(ledger, log, send, uneventful(send, delivered=np.array([False])))
    assert log.known_reachable[channel, 0] == known_after_failure
    assert log.known_reachable.sum() == 2 + known_after_failure
    # A send that is known to have failed is no message; one that vanishes unseen looks like any other.
    np.testing.assert_allclose(log.sent, before * 0.5 ** (1 / LONG) + ledger.parts[send] * known_after_failure)
    assert (log.since_send[0] == 0) == known_after_failure
    log = history.update(ledger, log, SILENCE, uneventful(SILENCE, reopened=on(channel)))
    assert log.known_reachable.all()


def test_a_block_without_a_message_is_known_likewise() -> None:
    """Background blocks and spill-over, on a day of silence."""
    ledger, log = start()
    log = history.update(ledger, log, SILENCE, uneventful(SILENCE, blocked=np.ones((3, 1), bool)))
    assert log.known_reachable[:, 0].tolist() == [False, True, True]


def test_a_failed_send_on_one_channel_says_nothing_of_another() -> None:
    ledger, log = start()
    send = message_on(PUSH)
    everything_blocked = uneventful(send, delivered=np.array([False]))
    log = history.update(ledger, log, send, everything_blocked)
    assert log.known_reachable[:, 0].tolist() == [True, False, True]


def test_who_never_opted_in_is_known_from_the_first_day_and_what_opens_is_noticed() -> None:
    ledger, log = start(opted_in=False)
    assert not log.known_reachable.any()
    for channel in (SMS, PUSH, EMAIL):
        won = history.update(ledger, log, SILENCE, uneventful(SILENCE, reopened=on(channel)))
        assert np.array_equal(won.known_reachable, on(channel))


@pytest.mark.parametrize("name", ["Book", *NAMES])
def test_what_is_known_follows_from_what_is_disclosed(name: str) -> None:
    scenario = get(OPEN_BOOK) if name == "Book" else SCENARIOS[name]
    traits, _, evenings = lives(scenario, 200, 80, dtype=np.float32)
    unsuspected = traits.opted_in.copy()
    for evening in evenings:
        unsuspected |= evening.outcome.reopened
        for index, channel in enumerate(scenario.channels):
            known, reachable = evening.log.known_reachable[index], evening.state.reachable[index]
            if channel.visibility == "at_once":
                assert np.array_equal(known, reachable)
            elif channel.visibility == "next_send":
                assert not np.any(reachable & ~known)
            else:
                assert np.array_equal(known, unsuspected[index])


def test_the_log_reads_only_what_a_firm_can_see() -> None:
    """Whatever else an outcome holds, the log stays the same."""
    scenario = get(OPEN_BOOK)
    _, ledger, evenings = lives(scenario, 300, 20)
    rng = np.random.default_rng(3)
    log = None
    secret = ("margin", "discount", "cost", "reward", "expected_reward", "churn_probability", "overload", "relevance")
    silent = history.ledger(scenario).channel_of == EMAIL
    for evening in evenings:
        if log is not None:
            outcome = evening.outcome
            blocked = outcome.blocked ^ ((rng.random(outcome.blocked.shape) < 0.5) & (np.arange(3)[:, None] != SMS))
            flipped = silent[evening.action] & outcome.sent & ~outcome.opened & (rng.random(300) < 0.5)
            garbled = outcome._replace(
                blocked=blocked,
                delivered=outcome.delivered ^ flipped,
                churned=~outcome.churned,
                **{field: rng.normal(size=300) for field in secret},
            )
            assert flipped.any()
            again = history.update(ledger, log, evening.action, garbled)
            for field, values, expected in zip(History._fields, again, evening.log, strict=True):
                assert np.array_equal(values, expected), field
        log = evening.log


# --- bookkeeping ---


@pytest.mark.parametrize("name", ["Book", *NAMES])
def test_every_action_is_counted_by_its_words(name: str) -> None:
    scenario = get(OPEN_BOOK) if name == "Book" else SCENARIOS[name]
    names, ledger = history.part_names(scenario), history.ledger(scenario)
    channels = len(scenario.channels)
    assert len(set(names)) == len(names)
    assert names[:channels] == tuple(f"channel:{each.name}" for each in scenario.channels)
    for action in range(scenario.actions):
        counted = {part for part, count in zip(names, ledger.parts[action], strict=True) if count}
        assert counted == words(scenario, action)
        assert set(ledger.parts[action].tolist()) <= {0.0, 1.0}
        assert np.array_equal(ledger.channel_parts[action], ledger.parts[action, :channels])
        if action:
            spoken = scenario.message_name(action).split("/")[0]
            assert scenario.channels[ledger.channel_of[action]].name == spoken


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_keeps_shapes_and_kinds_and_leaves_its_inputs_alone(dtype: type) -> None:
    scenario = get(OPEN_BOOK)
    _, ledger, evenings = lives(scenario, 20, 2, dtype=dtype)
    first, second = evenings
    kept = [values.copy() for values in first.log]
    after = history.update(ledger, first.log, second.action, second.outcome)
    assert all(np.array_equal(values, before) for values, before in zip(first.log, kept, strict=True))
    for field, values, before in zip(History._fields, after, kept, strict=True):
        assert (values.shape, values.dtype) == (before.shape, before.dtype), field
        assert values.dtype == {"day": np.int64, "known_reachable": np.bool_}.get(field, dtype), field


def test_windows_forget_half_after_their_half_lives() -> None:
    ledger, log = start()
    send = message_on(SMS)
    everything = np.array([True])
    log = history.update(
        ledger, log, send, uneventful(send, opened=everything, ordered=everything, prompted=everything)
    )
    assert log.recent[0].tolist() == [1.0, 0.0, 0.0]
    for _ in range(int(RECENT)):
        log = history.update(ledger, log, SILENCE, uneventful(SILENCE))
    assert log.recent[0, SMS] == pytest.approx(0.5)
    for _ in range(int(LONG - RECENT)):
        log = history.update(ledger, log, SILENCE, uneventful(SILENCE))
    for table in (log.sent, log.opened, log.prompted):
        assert sorted(set(table[0].tolist())) == pytest.approx([0.0, 0.5])
    assert log.orders[0] == pytest.approx(0.5)
    assert log.lifetime_orders[0] == 1.0
    assert (log.since_send[0], log.since_open[0], log.since_order[0]) == (LONG, LONG, LONG)
