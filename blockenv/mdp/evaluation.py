"""The exact value of a policy that is a table over states, and where it leads customers, without simulating anybody.

A table holds the scenario's action numbers and broadcasts to (N, F, B, M). A message on a closed channel is charged
and does nothing, as in the simulator.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.dynamics import Array
from blockenv.mdp.backup import Backup
from blockenv.mdp.batches import Batch, Cells, Ints, to_host
from blockenv.mdp.layout import by_row, by_state, read_open, write_open
from blockenv.mdp.masks import blocks_elsewhere
from blockenv.mdp.menus import Menu, chosen_menu

Table = Array  # int, broadcasts to (N, F, B, M); of NumPy or of the batch's library
Mixture = Sequence[tuple[float, Table]]  # probabilities that add up to one, and the table each goes with
Choice = Table | Mixture
Policy = Choice | Callable[[int], Choice]  # stationary, or by day; return the same object while nothing changes


class Occupancy(NamedTuple):
    """What customers go through under a policy: expected values by day and customer, over all their possible lives."""

    alive: NDArray[np.floating[Any]]  # (D, N) in the morning
    reach: NDArray[np.floating[Any]]  # (D, C, N) alive in the morning with the channel open
    messages: NDArray[np.floating[Any]]  # (D, N) attempts
    blocks: NDArray[np.floating[Any]]  # (D, N) channels blocked
    reward: NDArray[np.floating[Any]]  # (D, N) money, not discounted


class _Shares(NamedTuple):
    """A choice taken apart: how likely each message is in each state."""

    quiet: Array  # (N, F, B, M) nothing is delivered
    wasted: Array  # (N, F, B, M) money spent on closed channels
    attempts: Array  # (N, F, B, M)
    places: list[Array | None]  # (N, B or 1, F, masks, A, 1 or B)


def policy_value(batch: Batch, policy: Policy, days: int, actions: Ints | None = None) -> Array:
    """Value (N, F, B, M) of a policy on the first of `days` days.

    Args:
        batch: the customers.
        policy: a table, a mixture of tables, or a function from the day to either.
        days: the horizon.
        actions: (L,) or (N, L) the messages that a policy given as a function may send; all by default, which costs
            as much as an optimum without shortened menus. Those of a table are read from it.

    Raises:
        ValueError: an action that is not the scenario's, or not among `actions`.
    """
    player = _Player(batch, policy, actions)
    value = batch.asarray(np.zeros(batch.shape, batch.traits.ideal_load.dtype))
    for day in range(days - 1, -1, -1):
        value = player.back(day, value)
    return value


def occupancy(batch: Batch, policy: Policy, days: int, start: Cells, actions: Ints | None = None) -> Occupancy:
    """Expected course of `days` days from the cells `start` under a policy; arguments as in `policy_value`."""
    player = _Player(batch, policy, actions)
    now = np.zeros(batch.shape, batch.traits.ideal_load.dtype)
    now[np.arange(batch.size), start.fatigue, start.bond, start.mask] = start.alive
    there, found = batch.asarray(now), []
    for day in range(days):
        there, course = player.forth(day, there)
        found.append([to_host(each) for each in course])
    alive, reach, messages, blocks, reward = (np.stack(each) for each in zip(*found, strict=True))
    by_channel = np.zeros((days, len(batch.traits.opted_in), batch.size), now.dtype)
    by_channel[:, batch.channels.T, np.arange(batch.size)] = reach
    return Occupancy(alive, by_channel, messages, blocks, reward)


class _Player:
    """A policy on a batch: its days backwards in value and forwards in probability."""

    def __init__(self, batch: Batch, policy: Policy, actions: Ints | None) -> None:
        self.batch, self._policy = batch, policy
        if actions is None and not callable(policy):
            actions = _occurring(batch, policy)
        menus = None
        if actions is not None:
            own = np.broadcast_to(actions, (batch.size, np.shape(actions)[-1]))
            menus = [chosen_menu(batch, place, own) for place in range(batch.places)]
        self.backup = Backup(batch, menus)
        self.xp = self.backup.xp
        kind = batch.traits.ideal_load.dtype
        self._elsewhere = [
            (batch.asarray(spared.astype(kind)), batch.asarray(hit.astype(kind)))
            for spared, hit in (blocks_elsewhere(batch, place) for place in range(batch.places + 1))
        ]
        self._choice: Choice | None = None
        self._shares: _Shares | None = None

    def back(self, day: int, later: Array) -> Array:
        """This morning's values from tomorrow's."""
        shares, backup = self._today(day), self.backup
        value = shares.quiet * backup.silence(day, later) - shares.wasted
        for place, share in enumerate(shares.places):
            if share is not None:
                worth = backup.worth(day, backup.planes(later, place + 1), place + 1)
                part = by_state(self.xp.sum(share * worth, axis=-2))
                write_open(value, place, read_open(value, place) + part)
        return value

    def forth(self, day: int, there: Array) -> tuple[Array, list[Array]]:
        """Tomorrow's distribution over states from this morning's, and what `Occupancy` says of the day."""
        shares, backup, batch, xp = self._today(day), self.backup, self.batch, self.xp
        quiet = xp.expand_dims(by_row(there * shares.quiet, batch.rules.win_back), axis=-2)
        parts = [quiet, *(None if share is None else self._sent(there, share, place)
                          for place, share in enumerate(shares.places))]  # fmt: skip
        tomorrow, reward, blocks = 0.0, -_total(xp, there * shares.wasted), 0.0
        for place, part in enumerate(parts):
            if part is None:
                continue
            arrived, earned, blocked = backup.forth(day, part, place, self._elsewhere[place])
            tomorrow, reward, blocks = tomorrow + arrived, reward + earned, blocks + blocked
        reach = [_total(xp, read_open(there, place)) for place in range(batch.places)]
        reaching = xp.stack(reach) if reach else batch.asarray(np.zeros((0, batch.size), to_host(there).dtype))
        return tomorrow, [_total(xp, there), reaching, _total(xp, there * shares.attempts), blocks, reward]

    def _sent(self, there: Array, share: Array, place: int) -> Array:
        return share * self.xp.expand_dims(by_row(read_open(there, place), self.batch.rules.win_back), axis=-2)

    def _today(self, day: int) -> _Shares:
        choice = self._policy(day) if callable(self._policy) else self._policy
        if self._shares is None or choice is not self._choice:
            self._choice, self._shares = choice, self._taken_apart(choice)
        return self._shares

    def _taken_apart(self, choice: Choice) -> _Shares:
        batch, backup, rules = self.batch, self.backup, self.batch.rules
        kind = batch.traits.ideal_load.dtype
        quiet, wasted, attempts = np.zeros(batch.shape), np.zeros(batch.shape), np.zeros(batch.shape)
        places: list[Any] = [0.0] * batch.places
        for chance, table in _tables(choice):
            action = _checked(batch, table)
            delivered = np.zeros(batch.shape, bool)
            for place, menu in enumerate(backup.menus):
                own = rules.sends[action] & (rules.channel_of[action] == batch.channels[:, place, None, None, None])
                own &= (np.arange(batch.shape[3]) >> place & 1).astype(bool)
                delivered |= own
                chosen = _matches(read_open(action, place), menu, rules.win_back)
                if chosen.sum() != own.sum():
                    raise ValueError(f"actions: {np.unique(action[own])} are sent, expected those of the policy")
                places[place] = places[place] + chance * chosen
            closed = rules.sends[action] & ~delivered
            quiet += chance * ~delivered
            wasted += chance * closed * rules.cost_of[action]
            attempts += chance * rules.sends[action]
        on_device = [
            None if menu is None else batch.asarray(np.ascontiguousarray(each, kind))
            for menu, each in zip(backup.menus, places, strict=True)
        ]
        whole = [batch.asarray(each.astype(kind)) for each in (quiet, wasted, attempts)]
        return _Shares(whole[0], whole[1], whole[2], on_device)


def _tables(choice: Choice) -> list[tuple[float, Table]]:
    return list(choice) if isinstance(choice, list | tuple) else [(1.0, choice)]


def _checked(batch: Batch, table: Table) -> NDArray[np.integer[Any]]:
    """The whole table (N, F, B, M) in NumPy."""
    action, known = np.broadcast_to(to_host(table), batch.shape), len(batch.rules.sends)
    if action.min() < 0 or action.max() >= known:
        raise ValueError(f"policy: actions {action.min()}..{action.max()}, expected 0..{known - 1}")
    return action


def _occurring(batch: Batch, choice: Choice) -> NDArray[np.int64]:
    """(N, L) the messages of each customer's tables; 0 fills up."""
    by_customer: list[list[int]] = [[] for _ in range(batch.size)]
    for _, table in _tables(choice):
        action = _checked(batch, table).reshape(batch.size, -1)
        by_customer = [
            sorted({*known, *np.unique(own).tolist()}) for known, own in zip(by_customer, action, strict=True)
        ]
    width = max(len(own) for own in by_customer)
    return np.array([own + [0] * (width - len(own)) for own in by_customer], np.int64)


def _matches(action: Ints, menu: Menu | None, win_back: bool) -> NDArray[np.bool_]:
    """(N, B or 1, F, masks, A, 1 or B) which message of the menu an action (N, F, B, masks) is."""
    rows = by_row(action, win_back)[..., None, :]
    if menu is None:
        return np.zeros(rows.shape, bool)
    ids = menu.actions.reshape(len(action), 1, 1, 1, -1, 1)
    return np.asarray((rows == ids) & menu.first.reshape(ids.shape))


def _total(xp: Any, table: Array) -> Array:
    return xp.sum(table, axis=(1, 2, 3))
