"""The best a sender could do who knows the customer: exact backward induction over D days, and acting by it.

Nothing here is learned or simulated. Values are discounted expected rewards from the morning of a day to the end of
the horizon; a customer who has left is worth nothing.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from blockenv.dynamics import Array, State
from blockenv.mdp.backup import Backup
from blockenv.mdp.batches import Batch, Cells, among_open, at, cells, to_host, together
from blockenv.mdp.layout import by_state, read_open, write_open
from blockenv.mdp.menus import undominated_menu


class Best:
    """The best message of every state, day by day.

    Only the messages that nothing beats are compared, on the days and places where tomorrow's values allow that (see
    `menus`); elsewhere all of them are.
    """

    def __init__(self, batch: Batch, where: Cells | None = None, like: "Best | None" = None) -> None:
        """For all states, or for each customer's own fatigue and bond; `like` lends what does not change."""
        self.batch, self._where = batch, where
        menus = [undominated_menu(batch, place) for place in range(batch.places)] if like is None else like.short.menus
        self.short: Backup = Backup(batch, menus, where, None if like is None else like.short)
        self._full: Backup | None = None

    def value(self, day: int, later: Array) -> Array:
        """Value (N, F, B, M) this morning from the values `later` (N, F', B', M) of tomorrow's states.

        A message on a closed channel is not tried: it costs money and does nothing.
        """
        backup, xp = self.short, self.short.xp
        value = backup.silence(day, later)
        for place, _, worth in self._worths(day, later):
            found = by_state(_maximum(xp, worth))
            write_open(value, place, xp.maximum(read_open(value, place), found))
        return value

    def action(self, day: int, later: Array) -> Array:
        """The scenario's number (N, F, B, M) of the best message; ties go to silence."""
        backup, xp, asarray = self.short, self.short.xp, self.batch.asarray
        value = backup.silence(day, later)
        action = xp.zeros(value.shape, dtype=xp.int32, device=array_api_compat.device(value))
        for place, actions, worth in self._worths(day, later):
            found, best = by_state(_maximum(xp, worth)), by_state(xp.argmax(worth, axis=-2))
            row = asarray(np.arange(len(actions)).reshape(-1, 1, 1, 1) * actions.shape[1])
            numbers = xp.take(asarray(actions.astype(np.int32).reshape(-1)), xp.reshape(best + row, (-1,)))
            before, chosen = read_open(value, place), read_open(action, place)
            write_open(action, place, xp.where(found > before, xp.reshape(numbers, best.shape), chosen))
            write_open(value, place, xp.maximum(before, found))
        return action

    def _worths(self, day: int, later: Array) -> Iterator[tuple[int, NDArray[np.int64], Array]]:
        """Place by place the messages (N, A) that have to be compared, and what they are worth."""
        rising = self._shortened() and self._never_negative(later[:, :, 1:, :] - later[:, :, :-1, :], later)
        doubted = False
        for place in range(self.batch.places):
            planes = self.short.planes(later, place + 1)
            source = self.short
            if not (rising and self._unwelcome(planes, later)):
                source, doubted = self._everything(), True
            menu = source.menus[place]
            assert menu is not None
            yield place, menu.actions, source.worth(day, planes, place + 1)
        if not doubted:
            self._full = None  # its weights are ten times those of the short menus, and doubts come in stretches

    def _shortened(self) -> bool:
        return not self.batch.rules.win_back

    def _everything(self) -> Backup:
        if not self._shortened():
            return self.short
        if self._full is None:
            self._full = Backup(self.batch, None, self._where, self.short)
        return self._full

    def _unwelcome(self, planes: Array, later: Array) -> bool:
        """Whether a block of the message's channel is nowhere better than none."""
        size, _, fatigues, _, states = planes.shape
        apart = self.short.xp.reshape(planes, (size, fatigues, -1, 3, states))
        return self._never_negative(apart[:, :, :, 0] + apart[:, :, :, 1] - apart[:, :, :, 2], later)

    def _never_negative(self, gain: Array, later: Array) -> bool:
        """Up to what rounding explains."""
        xp = self.short.xp
        least = -64.0 * float(xp.finfo(later.dtype).eps) * xp.max(later, axis=(1, 2, 3))
        return bool(xp.all(xp.min(gain, axis=(1, 2, 3)) >= least))


class Outlook(Protocol):
    """Knows what the future is worth on each day, and so what to do."""

    @property
    def best(self) -> Best:
        """The choice of a day."""
        ...

    def calendar(self, day: int) -> int:
        """The day whose weights `day` is planned with."""
        ...

    def later(self, day: int) -> Array:
        """Value (N, F, B, M) of the states on the morning after `day`."""
        ...


class Plan:
    """The exact optimum of a batch over `days` days; its first morning's values are `value`.

    Keeps the values of every ~sqrt(days)-th morning, and those of one stretch between two of them, so that memory is
    2 sqrt(days) tables instead of `days`, and visiting all days in order costs one more backward pass.
    """

    def __init__(self, batch: Batch, days: int) -> None:
        if days < 1:
            raise ValueError(f"days: {days}, expected at least 1")
        self.days, self.best = days, Best(batch)
        self._stride = math.isqrt(days - 1) + 1
        self._kept: dict[int, Array] = {days: _nothing(batch)}
        self._stretch: dict[int, Array] = {}
        later = self._kept[days]
        for day in range(days - 1, -1, -1):
            later = self.best.value(day, later)
            if day % self._stride == 0:
                self._kept[day] = later
        self.value: Array = later  # (N, F, B, M) on day 0

    def calendar(self, day: int) -> int:
        """The same day."""
        return day

    def later(self, day: int) -> Array:
        """Value (N, F, B, M) of the states on the morning of `day + 1`.

        Raises:
            ValueError: a day outside 0..days-1.
        """
        if not 0 <= day < self.days:
            raise ValueError(f"day: {day}, expected 0..{self.days - 1}")
        morning = day + 1
        if morning in self._kept:
            return self._kept[morning]
        if morning not in self._stretch:
            start = morning // self._stride * self._stride
            end = min(start + self._stride, self.days)
            value, self._stretch = self._kept[end], {}
            for each in range(end - 1, start, -1):
                value = self._stretch[each] = self.best.value(each, value)
        return self._stretch[morning]


def optimal_value(batch: Batch, days: int) -> Array:
    """Value (N, F, B, M) of the best policy on the first of `days` days; keeps one table at a time."""
    best, value = Best(batch), _nothing(batch)
    for day in range(days - 1, -1, -1):
        value = best.value(day, value)
    return value


def optimal_table(outlook: Outlook, day: int) -> Array:
    """The best action in every state on `day`: (N, F, B, M) int32."""
    return outlook.best.action(outlook.calendar(day), outlook.later(day))


def optimal_actions(outlooks: Sequence[Outlook], day: int, state: State) -> NDArray[np.int64]:
    """What to do today with every customer of all batches, (N,): ties go to silence, and so do the dead."""
    parts = []
    for outlook in outlooks:
        batch = outlook.best.batch
        where = cells(batch, state)
        own = Best(batch, where, outlook.best)
        table = own.action(outlook.calendar(day), outlook.later(day))
        parts.append((batch, at(table, where._replace(fatigue=0 * where.fatigue, bond=0 * where.bond))))
    return together(parts).astype(np.int64)


def action_values(outlooks: Sequence[Outlook], day: int, state: State) -> NDArray[Any]:
    """Worth of every action today for every customer of all batches when the future is optimal: (N, actions)."""
    return together(
        (outlook.best.batch, _action_values(outlook, day, cells(outlook.best.batch, state))) for outlook in outlooks
    )


def _action_values(outlook: Outlook, day: int, where: Cells) -> NDArray[Any]:
    best = outlook.best
    batch, later, today = best.batch, outlook.later(day), outlook.calendar(day)
    backup = Backup(batch, None, where, best.short)
    row, here = np.arange(batch.size), where._replace(fatigue=0 * where.fatigue, bond=0 * where.bond)
    quiet = at(backup.silence(today, later), here)
    values: NDArray[Any] = quiet[:, None] - batch.rules.cost_of * where.alive[:, None]
    for place, menu in enumerate(backup.menus):
        assert menu is not None
        worth = to_host(backup.worth(today, backup.planes(later, place + 1), place + 1))[:, 0, 0, :, :, 0]
        there = np.flatnonzero(where.alive & (where.mask >> place & 1 == 1))
        column = among_open(where.mask, place)
        values[there[:, None], menu.actions[there]] = worth[row[there], column[there]]
    return values


def _nothing(batch: Batch) -> Array:
    return batch.asarray(np.zeros(batch.shape, batch.traits.ideal_load.dtype))


def _maximum(xp: Any, worth: Array) -> Array:
    """Maximum over the messages, the last axis but one.

    By halves: the library's own reduction walks the short last axis, which is several times slower on a CPU.
    """
    count = worth.shape[-2]
    while count > 1:
        half = (count + 1) // 2
        worth = xp.maximum(worth[..., :half, :], worth[..., count - half :, :])
        count = half
    return worth[..., 0, :]
