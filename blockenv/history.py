"""The firm's own log of each customer: what it sent, and what it could notice of the answer.

Pure like the dynamics, and fed only with what a firm can know: never the hidden state, the traits, or a block that
its channel does not disclose. Tables of the log keep the customers first, (N, K), as the observation is laid out.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.dynamics import Array, Outcome, array_namespace
from blockenv.scenarios.schema import Scenario

LONG, RECENT = 60.0, 7.0  # half-lives of the two windows, days
NEVER = 1000.0  # days since something that has not happened yet


class Ledger(NamedTuple):
    """How a scenario's log is kept."""

    long_decay: float
    recent_decay: float
    parts: Array  # (A, K) 1 where an action has the part: its channel, slot, style and product
    channel_parts: Array  # (A, C) the channels alone
    channels: Array  # (C, 1) int
    channel_of: Array  # (A,) int
    seen_at_once: Array  # (C, 1) bool, a block is visible on its day
    seen_on_failure: Array  # (C, 1) bool, a failed send discloses the block


class History(NamedTuple):
    """The log. Windows are exponentially weighted counts with the half-lives `LONG` and `RECENT`."""

    day: Array  # (N,) int, days since the customer joined
    known_reachable: Array  # (C, N) bool, not known to be blocked
    sent: Array  # (N, K) messages by part, long window; those known to have failed do not count
    recent: Array  # (N, C) messages by channel, recent window
    opened: Array  # (N, K) opens by part, long window
    prompted: Array  # (N, K) orders through messages by part, long window
    orders: Array  # (N,) orders of any kind, long window
    lifetime_orders: Array  # (N,)
    lifetime_spend: Array  # (N,) money
    since_send: Array  # (N,) days, NEVER or more where there was none
    since_open: Array  # (N,) days
    since_order: Array  # (N,) days


def part_names(scenario: Scenario) -> tuple[str, ...]:
    """The K parts a message can be made of; tables with a single entry are left out, except channels."""
    names = [f"channel:{channel.name}" for channel in scenario.channels]
    tables = {
        "slot": scenario.slots,
        "style": tuple(each.name for each in scenario.styles),
        "product": scenario.products,
    }
    for table, entries in tables.items():
        names += [f"{table}:{entry}" for entry in entries if len(entries) > 1]
    return tuple(names)


def ledger(scenario: Scenario, dtype: type = np.float32) -> Ledger:
    """The log-keeping rules of `scenario`, tables as NumPy arrays."""
    names = part_names(scenario)
    parts: NDArray[Any] = np.zeros((scenario.actions, len(names)), dtype)
    for action in range(1, scenario.actions):
        words = zip(("channel", "slot", "style", "product"), scenario.message_name(action).split("/"), strict=True)
        for table, entry in words:
            if f"{table}:{entry}" in names:
                parts[action, names.index(f"{table}:{entry}")] = 1.0
    count = len(scenario.channels)
    visibility = np.array([[channel.visibility] for channel in scenario.channels])
    return Ledger(
        long_decay=0.5 ** (1.0 / LONG),
        recent_decay=0.5 ** (1.0 / RECENT),
        parts=parts,
        channel_parts=parts[:, :count].copy(),
        channels=np.arange(count)[:, None],
        channel_of=parts[:, :count].argmax(axis=1),
        seen_at_once=visibility == "at_once",
        seen_on_failure=visibility != "never",
    )


def begin(rules: Ledger, opted_in: Array, dtype: Any = np.float32) -> History:
    """The empty log of customers who have just joined; `opted_in` (C, N) bool is known to the firm. NumPy only."""
    channels, customers = opted_in.shape
    parts = rules.parts.shape[1]

    def nothing(*shape: int) -> Any:
        return np.zeros((customers, *shape), dtype)

    return History(
        day=np.zeros(customers, np.int64),
        known_reachable=np.array(opted_in, bool),
        sent=nothing(parts),
        recent=nothing(channels),
        opened=nothing(parts),
        prompted=nothing(parts),
        orders=nothing(),
        lifetime_orders=nothing(),
        lifetime_spend=nothing(),
        since_send=nothing() + NEVER,
        since_open=nothing() + NEVER,
        since_order=nothing() + NEVER,
    )


def update(rules: Ledger, log: History, action: Array, outcome: Outcome) -> History:
    """The log after a day: `action` (N,) int as chosen, `outcome` as it happened."""
    xp = array_namespace(log.sent)
    kind = log.sent.dtype
    to_channel = rules.channels == xp.take(rules.channel_of, action)
    failed = to_channel & (outcome.sent & ~outcome.delivered) & rules.seen_on_failure
    noticed = failed | (outcome.blocked & rules.seen_at_once)
    counted = action * xp.astype(outcome.sent & ~xp.any(failed, axis=0), action.dtype)
    ordered = xp.astype(outcome.ordered, kind)

    def windowed(table: Array, decay: float, by_action: Array, event: Array) -> Array:
        return table * decay + xp.take(by_action, event, axis=0)

    def since(days: Array, event: Array) -> Array:
        return xp.where(event, 0.0, days + 1.0)

    return History(
        day=log.day + 1,
        known_reachable=(log.known_reachable & ~noticed) | outcome.reopened,
        sent=windowed(log.sent, rules.long_decay, rules.parts, counted),
        recent=windowed(log.recent, rules.recent_decay, rules.channel_parts, counted),
        opened=windowed(log.opened, rules.long_decay, rules.parts, action * xp.astype(outcome.opened, action.dtype)),
        prompted=windowed(
            log.prompted, rules.long_decay, rules.parts, action * xp.astype(outcome.prompted, action.dtype)
        ),
        orders=log.orders * rules.long_decay + ordered,
        lifetime_orders=log.lifetime_orders + ordered,
        lifetime_spend=log.lifetime_spend + outcome.order_value,
        since_send=since(log.since_send, counted > 0),
        since_open=since(log.since_open, outcome.opened),
        since_order=since(log.since_order, outcome.ordered),
    )
