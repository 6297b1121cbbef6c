"""What a message does in a day, as weights of tomorrow's values: the dynamics' own probabilities, arranged for products.

Every probability comes from `blockenv.dynamics`. Axes while weights are made: customers N, fatigue F, tomorrow's bond
level T, groups of messages G, products R, this morning's bond B; messages A = G x R.
"""

from collections.abc import Sequence
from typing import NamedTuple

import array_api_compat

from blockenv import dynamics
from blockenv.dynamics import Array, Message, Rules, Today, Traits, array_namespace

_NUMBERS = (
    "ideal_load",
    "reactance",
    "reciprocity",
    "weekend_block",
    "churn_contact",
    "resting_bond",
    "organic_rate",
    "order_log_value",
)


class Weights(NamedTuple):
    """One kind of day for one place, or for silence.

    K = T x Y x planes as in `masks`; rows are (B or 1, F) blocks of messages times the bond levels that share them.
    """

    tomorrow: Array  # (N, B or 1, F, K, rows) discounted, and only for those who stay
    reward: Array  # (N, B or 1, F, 1, rows) money
    own_block: Array | None  # like `reward`, probability that the message's channel is blocked; None for silence


class World(NamedTuple):
    """A batch's customers in the library and precision of the arithmetic."""

    rules: Rules
    traits: Traits
    discount: float

    def along(self, now: Today) -> Today:
        """The calendar (N,) as (N, 1, 1, 1, 1, 1)."""
        return Today(*(_along(each) for each in now))

    def wide(self) -> Traits:
        """The traits that are one number a customer as (N, 1, 1, 1, 1, 1)."""
        return self.traits._replace(**{name: _along(getattr(self.traits, name)) for name in _NUMBERS})


def mail_of(world: World, actions: Array, row: Array, products: int) -> Message:
    """Messages (N * A,) by customer as (N, 1, 1, G, R, 1); all of a customer are on one channel."""
    xp = array_namespace(world.traits.ideal_load)
    customers = world.traits.ideal_load.shape[0]
    flat = dynamics.message(world.rules, world.traits, actions, row)
    mail = Message(*(xp.reshape(field, (customers, 1, 1, -1, products, 1)) for field in flat))
    first = mail.load[:, :, :, :1, :1], mail.relevance[:, :, :, :1]
    return mail._replace(load=first[0], relevance=first[1])


def weights(
    world: World,
    now: Today,
    ladders: tuple[Array, Array],
    mail: Message,
    background: Array | None,
    organics: Sequence[Array],
) -> list[Weights]:
    """Weights of a day, for each of several probabilities of an unprompted order.

    Args:
        world, now: the customers, and what the date does, (N,).
        ladders: fatigue (N or 1, F, 1, 1, 1, 1) and bond (N or 1, 1, 1, 1, 1, B) levels of this morning.
        mail: the messages; silence where `background` is None.
        background: (N, 1, 1, 1, 1, 1) probability that the channel is blocked without a message.
        organics: (N, 1, 1, 1, 1, B) each.
    """
    rules, traits, xp = world.rules, world.wide(), array_namespace(organics[0])
    now = world.along(now)
    fatigue, bond = dynamics.fatigue_of(rules, traits, ladders[0]), dynamics.bond_of(rules, traits, ladders[1])
    ideal = dynamics.ideal_load(traits, now)
    loaded = dynamics.fatigue_after(rules, fatigue, mail.load)
    contact, open_p, prompted_p, own_block = 0.0, organics[0] * 0.0, organics[0] * 0.0, None
    if background is not None:
        contact = 1.0
        open_p = dynamics.open_probability(rules, fatigue, bond, ideal, mail)
        prompted_p = dynamics.prompted_probability(rules, fatigue, bond, ideal, mail)
        block_p = dynamics.block_probability(rules, traits, now, loaded, bond, ideal, mail)
        own_block = dynamics.union(background, block_p)
    overload = dynamics.overload_after(loaded, ideal, contact)
    stays = world.discount * (1.0 - dynamics.churn_probability(rules, traits, bond, contact, overload))
    opening_p = (stays * (1.0 - open_p), stays * open_p)
    levels = xp.arange(rules.bond_levels, dtype=open_p.dtype, device=array_api_compat.device(open_p))
    levels = xp.reshape(levels, (1, 1, -1, 1, 1, 1))

    def rounding(opened: int, ordered: int, blocked: int) -> Array:
        """(N, F, T, 1, R, B) probabilities of tomorrow's bond level after the events of a day."""
        later = dynamics.bond_after(
            rules,
            traits,
            bond,
            mail.relevance if opened else 0.0,
            float(opened),
            float(ordered),
            float(blocked),
            overload,
        )
        lower, upper_p = dynamics.neighbours(later, rules.bond_step, rules.bond_levels)
        return xp.maximum(1.0 - xp.abs(xp.astype(lower, upper_p.dtype) + upper_p - levels), 0.0)

    events = [[[rounding(opened, ordered, blocked) for opened in (0, 1)] for blocked in (0, 1)] for ordered in (0, 1)]

    def made(organic: Array) -> Weights:
        ordering_p = (organic, dynamics.union(organic, prompted_p))  # unopened, opened
        none = [opens * (1.0 - orders) for opens, orders in zip(opening_p, ordering_p, strict=True)]
        some = [opens * orders for opens, orders in zip(opening_p, ordering_p, strict=True)]
        orders = [
            [chances[0] * unopened + chances[1] * opened for unopened, opened in by_block]
            for chances, by_block in zip((none, some), events, strict=True)
        ]
        if not rules.win_back:
            orders = [[first + second for first, second in zip(*orders, strict=True)]]
        planes = []
        for unharmed, harmed in orders:
            if own_block is None:
                planes += [unharmed, harmed]
            else:
                planes += [unharmed * (1.0 - own_block), harmed * (1.0 - own_block), harmed * own_block]
        reward = dynamics.expected_reward(rules, traits, mail, organic, open_p, prompted_p)
        return Weights(
            tomorrow=_arranged(rules, xp.stack(planes, axis=3)),
            reward=_arranged(rules, xp.expand_dims(reward, axis=3)),
            own_block=None if own_block is None else _arranged(rules, xp.expand_dims(own_block, axis=3)),
        )

    return [made(organic) for organic in organics]


def difference(one: Weights, other: Weights) -> Weights:
    """What one day's weights have more than another's; blocks are the same on both."""
    return Weights(one.tomorrow - other.tomorrow, one.reward - other.reward, one.own_block)


def _along(column: Array) -> Array:
    return array_namespace(column).reshape(column, (-1, 1, 1, 1, 1, 1))


def _arranged(rules: Rules, table: Array) -> Array:
    """(N, F, T, Y * planes, G, R, B) as (N, 1, F, K, A * B), or (N, B, F, K, A) with win-back."""
    xp = array_namespace(table)
    customers, fatigues, _, _, _, _, bonds = table.shape
    flat = xp.reshape(table, (customers, fatigues, table.shape[2] * table.shape[3], -1, bonds))
    if rules.win_back:
        # Joining axes that are not neighbours in memory makes the copy that the products want.
        joined = xp.reshape(xp.permute_dims(flat, (0, 4, 1, 2, 3)), (customers, bonds * fatigues, flat.shape[2], -1))
        return xp.reshape(joined, (customers, bonds, fatigues, *joined.shape[2:]))
    return xp.reshape(flat, (customers, 1, fatigues, flat.shape[2], -1))
