"""How the open channels of a customer change in a day: blocks by the message, by themselves, by spill-over; win-back.

The matrices mix tomorrow's values of all masks into planes for each mask of this morning. They depend neither on
fatigue nor on the message, only on its channel (with win-back on bond and on whether there was an order). Blocking
of the message's own channel is not in here: it has a plane of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv import dynamics
from blockenv.mdp.batches import Batch, open_masks

Floats = NDArray[np.floating[Any]]


def silent_mixing(batch: Batch) -> Floats:
    """Mixing on a day without contact, for all masks.

    Returns:
        (N, B or 1, M', Y * 2 * M): from tomorrow's mask to (ordered today or not, plane, this morning's mask). Planes:
        nothing blocked, something blocked. Without win-back neither bond nor order matter, and B and Y are 1.
    """
    _, background, reopening = _chances(batch)
    kept, all_ways = _product(background, reopening, None), _product(background, reopening, None, blocks=True)
    return _columns([kept, all_ways - kept], np.arange(2**batch.places))


def message_mixing(batch: Batch, place: int) -> Floats:
    """Mixing on a day with a message on `place`, for the masks in which it is open.

    Returns:
        (N, B or 1, M', Y * 3 * M/2) as in `silent_mixing`. Planes: nothing blocked; the message's channel not blocked,
        but another; the message's channel blocked, and perhaps others.
    """
    spilled, background, reopening = _chances(batch)
    kept = _product(background, reopening, (place, 1))
    all_ways = _product(background, reopening, (place, 1), blocks=True)
    lost = _product(spilled, reopening, (place, 0), blocks=True)
    return _columns([kept, all_ways - kept, lost], open_masks(batch.places, place))


def blocks_elsewhere(batch: Batch, place: int) -> tuple[Floats, Floats]:
    """Expected blocks on a day, but for the message's own channel: (N, masks) without a block of that one and with.

    `place` is 0 for silence, where all channels count, and 1..k for a message.
    """
    spilled, background, _ = _chances(batch)
    masks = np.arange(2**batch.places) if place == 0 else open_masks(batch.places, place - 1)
    counted = (masks >> np.arange(batch.places)[:, None]) & 1
    if place:
        counted[place - 1] = 0
    return background.T @ counted, spilled.T @ counted


def _chances(batch: Batch) -> tuple[Floats, Floats, Floats]:
    """Probabilities of a block beside a blocked message and without one, (k, N), and of reopening, (k, N, B, Y)."""
    rules, traits = batch.rules, batch.traits
    row = np.arange(batch.size)[:, None]
    background = np.asarray(traits.background_block, np.float64)[batch.channels, row].T
    spilled = dynamics.union(background, rules.spill_over)
    if not rules.win_back:
        return spilled, background, np.zeros((batch.places, batch.size, 1, 1))
    bond = dynamics.bond_of(rules, traits, np.arange(rules.bond_levels)).astype(np.float64)
    reopening = [dynamics.win_back_probability(rules, bond, float(ordered)) for ordered in (0, 1)]
    return spilled, background, np.moveaxis(np.stack(reopening, axis=-1)[batch.channels], 1, 0)


def _product(blocking: Floats, reopening: Floats, fixed: tuple[int, int] | None, blocks: bool = False) -> Floats:
    """Probabilities (N, B or 1, Y, M', M) that this morning's mask becomes tomorrow's, places being independent.

    `fixed` is a place and the bit it shall have tomorrow, with certainty. Unless `blocks`, nothing may be blocked,
    and the probabilities do not add up to one.
    """
    places = len(blocking)
    bits = (np.arange(2**places)[:, None] >> np.arange(places)) & 1
    chances = np.ones((*reopening.shape[1:], 2**places, 2**places))
    for place in range(places):
        tomorrow, today = bits[:, None, place], bits[None, :, place]
        if fixed is not None and place == fixed[0]:
            chances = chances * (tomorrow == fixed[1])
            continue
        block, reopen = blocking[place][:, None, None, None, None], reopening[place][..., None, None]
        opened = np.where(tomorrow == 1, 1.0 - block, block * blocks)
        closed = np.where(tomorrow == 1, reopen, 1.0 - reopen)
        chances = chances * np.where(today == 1, opened, closed)
    return chances


def _columns(planes: list[Floats], masks: NDArray[np.int64]) -> Floats:
    stacked = np.stack([plane[..., masks] for plane in planes], axis=-2)  # (N, B, Y, M', planes, masks)
    ordered = np.moveaxis(stacked, 2, 3)
    return ordered.reshape(*ordered.shape[:3], -1)
