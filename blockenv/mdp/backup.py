"""One day of a batch backwards: what every message is worth when the values of tomorrow's states are known.

Tables over states are (N, F, B, M) arrays of the batch's library. A `Backup` keeps the weights of the kinds of day
that occur, never a table, and draws no random number: what it computes is exact but for the rounding of arithmetic.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from blockenv import dynamics
from blockenv.dynamics import Array, Today, array_namespace
from blockenv.mdp.batches import Batch, Cells
from blockenv.mdp.layout import by_state
from blockenv.mdp.menus import Menu, full_menu
from blockenv.mdp.tables import Tables, own_levels, tables
from blockenv.mdp.weights import Weights, difference, mail_of, weights


class _Date(NamedTuple):
    """A day of the calendar in the batch's library."""

    day: int
    now: Today  # (N,)
    organic: Array  # (N, 1, 1, 1, 1, B) probability of an unprompted order
    weekend: bool  # one that matters
    drifting: bool  # like no other day


class _Made(NamedTuple):
    """The weights of a place on one kind of day.

    `sure` is None without a season; with one, `weights` are of a day without unprompted orders, and `sure` is what a
    certain unprompted order would add, so that a day is `weights` + its probability x `sure`.
    """

    weights: Weights
    sure: Weights | None


class Backup:
    """The days of a batch.

    Args:
        batch: the customers.
        menus: by place, the messages to reckon with, or None for a place nobody writes to; all messages by default.
        where: reckon only with each customer's own levels of fatigue and bond, so that F = B = 1 in this morning's
            tables (tomorrow's keep all levels).
        like: another `Backup` of the batch, to take from it what does not depend on menus and levels.
    """

    def __init__(
        self,
        batch: Batch,
        menus: Sequence[Menu | None] | None = None,
        where: Cells | None = None,
        like: "Backup | None" = None,
    ) -> None:
        self.batch = batch
        self.menus = [full_menu(batch, place) for place in range(batch.places)] if menus is None else list(menus)
        self.shared: Tables = tables(batch) if like is None else like.shared
        self.tables = self.shared
        self.xp = array_namespace(self.tables.world.traits.ideal_load)
        _, fatigues, bonds, _ = batch.shape
        levels = (np.arange(fatigues)[None], np.arange(bonds)[None])
        if where is not None:
            levels = (where.fatigue[:, None], where.bond[:, None])
            self.tables = own_levels(self.shared, batch, where)
        self._fatigue = batch.asarray(levels[0].reshape(len(levels[0]), -1, 1, 1, 1, 1))
        self._bond = batch.asarray(levels[1].reshape(len(levels[1]), 1, 1, 1, 1, -1))
        self._weekends = bool(batch.traits.weekend_block.any())
        self._made: dict[tuple[bool, int], _Made] = {}  # by weekend and place
        self._date: _Date | None = None

    def planes(self, later: Array, place: int) -> Array:
        """Tomorrow's values (N, F', B', M) mixed over fatigue and masks, for silence (0) or a place (1..k).

        Returns:
            (N, B or 1, F, K, masks): K as in `Weights`; masks are those in which the place is open.
        """
        xp = self.xp
        size, fatigues, bonds, states = later.shape
        rounded = xp.matmul(self.tables.fatigue[place], xp.reshape(later, (size, fatigues, bonds * states)))
        mixing = self.tables.mixing[place]
        planes = xp.matmul(xp.reshape(rounded, (size, 1, -1, states)), mixing)
        masks_there = states if place == 0 else states // 2
        return xp.reshape(planes, (size, mixing.shape[1], rounded.shape[1], -1, masks_there))

    def worth(self, day: int, planes: Array, place: int) -> Array:
        """Value of silence (0) or of every message of a place (1..k) on `day`.

        Returns:
            (N, B or 1, F, masks, A, 1 or B): bond comes second with win-back, else last.
        """
        xp, made = self.xp, self._weights(day, place)
        rows = xp.matrix_transpose(planes)
        worth = self._by_message(xp.matmul(rows, made.weights.tomorrow) + made.weights.reward, place)
        if made.sure is None:
            return worth
        more = self._by_message(xp.matmul(rows, made.sure.tomorrow) + made.sure.reward, place)
        return worth + self._ordering(day) * more

    def silence(self, day: int, later: Array) -> Array:
        """Value (N, F, B, M) of sending nothing on `day`, from the values `later` of tomorrow's states."""
        return by_state(self.worth(day, self.planes(later, 0), 0)[..., 0, :])

    def forth(self, day: int, part: Array, place: int, elsewhere: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        """Where a share of the customers goes, who get a message of a place (1..k) or nothing (0) on `day`.

        Args:
            day, place: which day and place.
            part: (N, B or 1, F, masks, A, 1 or B) probabilities of being in a state and getting a message.
            elsewhere: (N, masks) each, blocks expected on other channels, without a block of the message's and with.

        Returns:
            Tomorrow's distribution (N, F', B', M) over states, and rewards and blocks today, (N,) each.
        """
        xp, (weights, sure) = self.xp, self._weights(day, place)
        rows = xp.reshape(part, (*part.shape[:-2], -1))
        planes = xp.matmul(rows, xp.matrix_transpose(weights.tomorrow))
        reward = xp.sum(rows * weights.reward, axis=(1, 2, 3, 4))
        if sure is not None:
            ordering = xp.reshape(part * self._ordering(day), rows.shape)
            planes = planes + xp.matmul(ordering, xp.matrix_transpose(sure.tomorrow))
            reward = reward + xp.sum(ordering * sure.reward, axis=(1, 2, 3, 4))
        size, outer, fatigues, _, _ = planes.shape
        _, _, bonds, states = self.batch.shape
        mixing = xp.matrix_transpose(self.tables.mixing[place])
        unmixed = xp.reshape(xp.matrix_transpose(planes), (size, outer, fatigues * bonds, -1))
        mixed = xp.reshape(xp.sum(xp.matmul(unmixed, mixing), axis=1), (size, fatigues, bonds * states))
        arrived = xp.matmul(xp.matrix_transpose(self.tables.fatigue[place]), mixed) / self.batch.discount

        spared, hit = (xp.reshape(each, (size, 1, 1, -1, 1)) for each in elsewhere)
        blocks = rows * spared
        if weights.own_block is not None:
            blocks = blocks + rows * weights.own_block * (1.0 + hit - spared)
        return xp.reshape(arrived, (size, -1, bonds, states)), reward, xp.sum(blocks, axis=(1, 2, 3, 4))

    def _weights(self, day: int, place: int) -> _Made:
        """The weights of a place (1..k) or of silence (0), made when they are first asked for."""
        date = self._on(day)
        key = date.weekend, place
        if key not in self._made:
            self._made[key] = self._make(date, place)
        return self._made[key]

    def _on(self, day: int) -> _Date:
        if self._date is not None and self._date.day == day:
            return self._date
        batch, rules, world = self.batch, self.batch.rules, self.tables.world
        now = dynamics.today(rules, batch.traits, np.full(batch.size, day))
        there = Today(*(batch.asarray(np.ascontiguousarray(each)) for each in now))
        bond = dynamics.bond_of(world.rules, world.traits, self._bond)
        organic = dynamics.organic_probability(world.rules, world.wide(), world.along(there), bond)
        drifting = rules.tolerance_drift != 0.0 and day < rules.drift_days
        if drifting or (self._date is not None and self._date.drifting):
            self._made = {}
        self._date = _Date(day, there, organic, bool(now.weekend[0]) and self._weekends, drifting)
        return self._date

    def _make(self, date: _Date, place: int) -> _Made:
        batch, world = self.batch, self.tables.world
        menu = self.menus[place - 1] if place else Menu(np.zeros((batch.size, 1), np.int64), 1)
        assert menu is not None, "a place without a menu is not asked"
        actions = batch.asarray(np.ascontiguousarray(menu.actions.reshape(-1)))
        row = batch.asarray(np.repeat(np.arange(batch.size), menu.actions.shape[1]))
        mail = mail_of(world, actions, row, menu.products)
        organics = [date.organic]
        if batch.rules.season != 0.0 and not date.drifting:
            organics = [0.0 * date.organic, 0.0 * date.organic + 1.0]
        made = weights(
            world, date.now, (self._fatigue, self._bond), mail, self.tables.background[place], organics
        )  # fmt: skip
        return _Made(made[0], None if len(made) == 1 else difference(made[1], made[0]))

    def _ordering(self, day: int) -> Array:
        """The probability of an unprompted order as (N, B or 1, 1, 1, 1, 1 or B)."""
        organic = self._on(day).organic
        size, bonds = organic.shape[0], organic.shape[-1]
        shape = (size, bonds, 1, 1, 1, 1) if self.batch.rules.win_back else (size, 1, 1, 1, 1, bonds)
        return self.xp.reshape(organic, shape)

    def _by_message(self, worth: Array, place: int) -> Array:
        """(..., masks, rows) as (..., masks, A, 1 or B)."""
        menu = self.menus[place - 1] if place else None
        count = 1 if menu is None else menu.actions.shape[1]
        return self.xp.reshape(worth, (*worth.shape[:-1], count, worth.shape[-1] // count))
