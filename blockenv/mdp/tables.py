"""What is the same on every day of a batch: its traits in its library, rounding of fatigue, mixing of masks.

Nothing here depends on the day, on the state of the bond (but with win-back) or on which message is sent.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from blockenv import dynamics
from blockenv.dynamics import Array, array_namespace
from blockenv.mdp import masks
from blockenv.mdp.batches import Batch, Cells, Ints
from blockenv.mdp.menus import full_menu
from blockenv.mdp.weights import World


class Tables(NamedTuple):
    """What is the same every day, in the batch's library; lists hold silence first, then the places."""

    world: World
    fatigue: list[Array]  # (N, F, F') rounding to tomorrow's level
    mixing: list[Array]  # (N, B or 1, M', columns) see `masks`
    background: list[Array | None]  # (N, 1, 1, 1, 1, 1)


def tables(batch: Batch) -> Tables:
    """The tables of a batch; the small ones are made in float64 and rounded once."""
    rules, traits, asarray = batch.rules, batch.traits, batch.asarray
    kind, size = traits.ideal_load.dtype, batch.size
    world = World(
        rules._replace(**{name: asarray(each) for name, each in rules._asdict().items() if isinstance(each, np.ndarray)}),
        type(traits)(*(asarray(each) for each in traits)),
        batch.discount,
    )  # fmt: skip
    loads = np.zeros((batch.places + 1, size))
    background: list[Array | None] = [None]
    mixing = [masks.silent_mixing(batch)]
    for place in range(batch.places):
        channels = batch.channels[:, place]
        loads[place + 1] = rules.load_of[full_menu(batch, place).actions[:, 0]]
        block = traits.background_block[channels, np.arange(size)]
        background.append(asarray(np.ascontiguousarray(block).reshape(-1, 1, 1, 1, 1, 1)))
        mixing.append(masks.message_mixing(batch, place))
    levels = np.arange(rules.fatigue_levels)
    fatigue = dynamics.fatigue_of(rules, traits, levels)
    rounding = []
    for load in loads:
        loaded = dynamics.fatigue_after(rules, fatigue.astype(np.float64)[None, :, None], load[:, None, None])
        lower, upper_p = dynamics.neighbours(loaded, rules.fatigue_step, rules.fatigue_levels)
        rounding.append(np.where(levels == lower, 1.0 - upper_p, 0.0) + np.where(levels == lower + 1, upper_p, 0.0))

    def moved(arrays: Sequence[Any]) -> list[Array]:
        return [asarray(np.ascontiguousarray(each, kind)) for each in arrays]

    return Tables(world, moved(rounding), moved(mixing), background)


def own_levels(shared: Tables, batch: Batch, where: Cells) -> Tables:
    """The rows of the tables at each customer's own levels."""
    xp = array_namespace(shared.world.traits.ideal_load)

    def own(table: Array, level: Ints) -> Array:
        count = table.shape[1]
        flat = xp.reshape(table, (-1, 1, *table.shape[2:]))
        place = np.arange(batch.size) * count + (level if count > 1 else 0 * level)
        return xp.take(flat, batch.asarray(place), axis=0)

    return shared._replace(
        fatigue=[own(each, where.fatigue) for each in shared.fatigue],
        mixing=[own(each, where.bond) for each in shared.mixing],
    )
