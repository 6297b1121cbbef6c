"""Which messages a sender who knows the customer has to compare: all of a channel, or only those that can be best.

On one channel all messages weigh the same on fatigue and on churn, so for a known customer most of them are beaten in
every state by another. That needs two things of tomorrow's values, which `Backup.best` checks day by day; nothing is
left out on trust.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics
from blockenv.dynamics import Message
from blockenv.mdp.batches import Batch, Ints

Truths = NDArray[np.bool_]


class Menu(NamedTuple):
    """The messages among which one place is reckoned."""

    actions: NDArray[np.int64]  # (N, A) the scenario's numbers; where a customer has fewer, its first is repeated
    products: int  # R: messages in the same column of (A / R, R) are about the same product

    @property
    def first(self) -> Truths:
        """(N, A) False where an action only repeats an earlier one."""
        same = self.actions[:, :, None] == self.actions[:, None, :]
        return np.asarray(~np.tril(same, -1).any(axis=2))


def full_menu(batch: Batch, place: int) -> Menu:
    """Every message on each customer's channel at `place`, 0..k-1; products run fastest."""
    rules = batch.rules
    order = np.lexsort((rules.product_of, rules.style_of, rules.slot_of, rules.channel_of))
    by_channel: NDArray[np.int64] = order[rules.sends[order]].reshape(len(rules.channels), -1)
    return Menu(np.asarray(by_channel[batch.channels[:, place]]), int(rules.product_of.max()) + 1)


def chosen_menu(batch: Batch, place: int, actions: Ints) -> Menu | None:
    """The messages at `place` among `actions` (N, L), in any order and with repeats; None where nobody has any."""
    own = batch.rules.sends[actions] & (batch.rules.channel_of[actions] == batch.channels[:, place, None])
    return _packed(actions, own, full_menu(batch, place).actions[:, :1]) if own.any() else None


def undominated_menu(batch: Batch, place: int) -> Menu:
    """The messages at `place` that no other message of the channel beats in every state and on every day.

    A message beats another if it is opened, and brings an order once opened, no less often, is blocked no more often,
    is no less relevant and above the relevance from which an open builds bond, and earns no less at once. Then its day
    can be coupled with the other's so that opens and orders contain the other's and blocks are contained in them; with
    values that grow with bond and with fewer blocks it is worth no less. With win-back an order also reopens channels,
    which may be unwelcome, so nothing is left out.
    """
    full = full_menu(batch, place)
    if batch.rules.win_back:
        return full
    rules, traits, actions = batch.rules, batch.traits, full.actions.T
    count, customers = actions.shape
    row = np.tile(np.arange(customers), count)
    flat = dynamics.message(rules, traits, actions.reshape(-1), row)
    mail = Message(*(field.reshape(count, customers) for field in flat))
    earns = _rewards(batch, mail)
    number = np.arange(count)
    kept = np.ones((count, customers), bool)
    for each in range(count):

        def ahead(field: NDArray[Any], each: int = each) -> NDArray[Any]:
            return np.asarray(field - field[each])  # of every other message

        opening, buying, blocking, fit = (
            ahead(mail.open_logit),
            ahead(mail.buy_logit),
            ahead(mail.block_log_rate),
            ahead(mail.relevance),
        )
        beats = (opening >= 0) & (buying >= 0) & (blocking <= 0) & (fit >= 0)
        beats &= (mail.relevance >= rules.bond_neutral_relevance) | (opening == 0)
        beats &= mail.discount == 0 if earns is None else (earns >= earns[each]).all(axis=(1, 2))
        same = (opening == 0) & (buying == 0) & (blocking == 0) & (fit == 0) & (ahead(mail.discount) == 0)
        beats &= ~same | (number < each)[:, None]  # of equals the first is kept
        kept[each] = ~beats.any(axis=0)
    return _packed(full.actions, kept.T, full.actions[:, :1])


def _rewards(batch: Batch, mail: Message) -> NDArray[Any] | None:
    """Expected rewards (A, F, B, N) of a day, or None where days differ: then only messages without discount can beat."""
    rules, traits = batch.rules, batch.traits
    if rules.season != 0.0 or rules.tolerance_drift != 0.0:
        return None
    fatigue = dynamics.fatigue_of(rules, traits, np.arange(rules.fatigue_levels)).reshape(-1, 1, 1)
    bond = dynamics.bond_of(rules, traits, np.arange(rules.bond_levels)).reshape(-1, 1)
    now = dynamics.today(rules, traits, np.zeros(batch.size, np.int64))
    ideal = dynamics.ideal_load(traits, now)
    wide = Message(*(field[:, None, None] for field in mail))
    return np.asarray(
        dynamics.expected_reward(
            rules,
            traits,
            wide,
            dynamics.organic_probability(rules, traits, now, bond),
            dynamics.open_probability(rules, fatigue, bond, ideal, wide),
            dynamics.prompted_probability(rules, fatigue, bond, ideal, wide),
        )
    )


def _packed(actions: Ints, kept: Truths, default: Ints) -> Menu:
    """The kept actions of each customer side by side; every customer has at least its first, or the default."""
    ordered = np.where(kept, actions.astype(np.int64), np.iinfo(np.int64).max)
    ordered.sort(axis=1)
    width = int(kept.sum(axis=1).max())
    first = np.where(kept.any(axis=1, keepdims=True), ordered[:, :1], default)
    packed = np.where(ordered[:, :width] == np.iinfo(np.int64).max, first, ordered[:, :width])
    return Menu(packed, width)
