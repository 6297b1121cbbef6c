"""Two ways to lay out values of states: as the caller asks for them, and as the products of a day make them.

`by_state` is (N, F, B, masks). `by_row` is (N, B or 1, F, masks, 1 or B): bond stands last, but second with win-back.
"""

from blockenv.dynamics import Array, array_namespace


def read_open(table: Array, place: int) -> Array:
    """The columns (N, F, B, M/2) of a table (N, F, B, M) in which `place`, 0..k-1, is open."""
    return array_namespace(table).reshape(_split(table, place)[..., 1, :], (*table.shape[:3], -1))


def write_open(table: Array, place: int, part: Array) -> None:
    """Overwrite those columns, in place."""
    columns = _split(table, place)[..., 1, :]  # a view: splitting the last axis copies nothing
    columns[...] = array_namespace(table).reshape(part, columns.shape)


def by_state(table: Array) -> Array:
    """(N, B or 1, F, masks, 1 or B) as (N, F, B, masks)."""
    xp = array_namespace(table)
    size, outer, fatigues, states, inner = table.shape
    return xp.reshape(xp.permute_dims(table, (0, 2, 1, 4, 3)), (size, fatigues, outer * inner, states))


def by_row(table: Array, win_back: bool) -> Array:
    """(N, F, B, masks) as (N, B or 1, F, masks, 1 or B), the reverse of `by_state`."""
    xp = array_namespace(table)
    size, fatigues, bonds, states = table.shape
    split = xp.reshape(table, (size, fatigues, bonds if win_back else 1, -1, states))
    return xp.permute_dims(split, (0, 2, 1, 4, 3))


def _split(table: Array, place: int) -> Array:
    return array_namespace(table).reshape(table, (*table.shape[:3], -1, 2, 2**place))
