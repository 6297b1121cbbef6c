"""How one column of a file becomes a value: text, name, time, flag or number, as SQL.

What is there but cannot be understood becomes null here, never a guess; `parsing` turns that into a reject.
"""

from typing import NamedTuple

from calibration.logs.engine import literal
from calibration.logs.files import Column, Source
from calibration.logs.mapping import Mapping
from calibration.logs.schema import MISSING_WORDS, Kind, LogError

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_REAL = ("FLOAT", "DOUBLE")
_MISSING = ", ".join(map(literal, MISSING_WORDS))
_UNITS = {"seconds": 1_000_000, "milliseconds": 1_000}  # microseconds
# An offset stands behind a time of the day: the date alone ends in what looks like one.
_OFFSET = r":\d{2}.*([zZ]|UTC|[+-]\d{2}(:?\d{2})?)$"


class Value(NamedTuple):
    """A field of a row in SQL, over the columns of a scan."""

    value: str  # typed; null where there is nothing, or nothing that can be understood
    given: str  # true where the file says something
    shown: str  # as text, for the list of rejects


def value(kind: Kind, source: Source, field: str, columns: list[tuple[str, Column]], mapping: Mapping) -> Value:
    """A field read from its columns, (name, column) each.

    Raises:
        LogError: a column of a type that cannot be such a field.
    """
    if kind == "number" and len(columns) > 1:
        raise LogError(
            f"{source.path}: {field!r} is a number and takes one column, not {[name for name, _ in columns]}"
        )
    parts = [_part(kind, source, field, name, column, mapping) for name, column in columns]
    if len(parts) == 1:
        return parts[0]
    values = ", ".join(part.value for part in parts)
    if kind in ("text", "name"):
        joined = f"concat_ws('/', {values})" if kind == "text" else f"concat_ws(' ', {values})"
        merged = f"nullif({joined}, '')"
    elif kind == "time":
        merged = f"least({values})"
    else:
        merged = f"list_bool_or([{values}])"
    understood = " AND ".join(f"(NOT {part.given} OR {part.value} IS NOT NULL)" for part in parts)
    return Value(
        f"CASE WHEN {understood} THEN {merged} END",
        "(" + " OR ".join(part.given for part in parts) + ")",
        "concat_ws(', ', " + ", ".join(part.shown for part in parts) + ")",
    )


def _part(kind: Kind, source: Source, field: str, name: str, column: Column, mapping: Mapping) -> Value:
    makers = {"text": _text, "name": _text, "time": _time, "flag": _flag, "number": _number}
    made = makers[kind](column, mapping)
    if made is None:
        raise LogError(
            f"{source.path}: column {name!r} of type {column.type} cannot be the {_CALLED[kind]} {field!r}"
            + ("; whole numbers need time_format: seconds or milliseconds" if _is_number(column.type) else "")
        )
    given = f"{_bare(column)} IS NOT NULL"
    return Value(made, given, f"CAST({column.sql} AS VARCHAR)")


_CALLED: dict[Kind, str] = {"text": "text", "name": "name", "time": "time", "flag": "flag", "number": "number"}


def _is_number(kind: str) -> bool:
    return kind in (*_WHOLE, *_REAL) or kind.startswith("DECIMAL")


def _bare(column: Column) -> str:
    """The column with nothing for what means nothing: blanks, words for it, and the NaN of pandas."""
    if column.type == "VARCHAR":
        return f"CASE WHEN trim({column.sql}) NOT IN ({_MISSING}) THEN trim({column.sql}) END"
    if column.type in _REAL:
        return f"CASE WHEN NOT isnan({column.sql}) THEN {column.sql} END"
    return column.sql


def _text(column: Column, mapping: Mapping) -> str | None:
    if column.type in _REAL:
        # Whole numbers with gaps become floats on the way through pandas; 17.0 is customer 17.
        whole = f"{column.sql} = floor({column.sql}) AND abs({column.sql}) < 1e15"
        return (
            f"CASE WHEN {whole} THEN CAST(CAST({column.sql} AS BIGINT) AS VARCHAR) "
            f"WHEN NOT isnan({column.sql}) THEN CAST({column.sql} AS VARCHAR) END"
        )
    if column.type == "VARCHAR":
        return _bare(column)
    plain = (*_WHOLE, "UUID", "BOOLEAN", "DATE", "TIMESTAMP")
    if column.type.startswith(("DECIMAL", "ENUM")) or column.type in plain:
        return f"CAST({column.sql} AS VARCHAR)"
    return None


def _time(column: Column, mapping: Mapping) -> str | None:
    zone, recorded = literal(mapping.timezone), literal(mapping.recorded_in or mapping.timezone)

    def local(naive: str) -> str:
        return naive if zone == recorded else f"timezone({zone}, timezone({recorded}, {naive}))"

    bare, unit = _bare(column), _UNITS.get(mapping.time_format or "")
    if unit is not None and (_is_number(column.type) or column.type == "VARCHAR"):
        # Beyond the year 9000 the sum would overflow; such a time is out of any range as it is.
        number = f"TRY_CAST({bare} AS DOUBLE)"
        since = f"make_timestamp(CAST(greatest(least({number} * {unit}, 2.2e17), -2.2e17) AS BIGINT))"
        return f"CASE WHEN isfinite({number}) THEN timezone({zone}, timezone('UTC', {since})) END"
    if column.type == "TIMESTAMP WITH TIME ZONE":
        return f"timezone({zone}, {bare})"
    if column.type.startswith("TIMESTAMP") or column.type == "DATE":
        return local(f"CAST({bare} AS TIMESTAMP)")
    if column.type != "VARCHAR":
        return None
    if mapping.time_format is not None:
        parsed = f"try_strptime({bare}, {literal(mapping.time_format)})"
        return f"timezone({zone}, {parsed})" if "%z" in mapping.time_format.lower() else local(parsed)
    # A bare TIMESTAMP would take a time with an offset and drop the offset.
    return (
        f"CASE WHEN regexp_matches({bare}, {literal(_OFFSET)}) THEN timezone({zone}, TRY_CAST({bare} AS TIMESTAMPTZ)) "
        f"ELSE {local(f'TRY_CAST({bare} AS TIMESTAMP)')} END"
    )


def _flag(column: Column, mapping: Mapping) -> str | None:
    if column.type == "BOOLEAN":
        return column.sql
    bare = _bare(column)
    if _is_number(column.type):
        return f"CASE {bare} WHEN 0 THEN false WHEN 1 THEN true END"
    if column.type == "VARCHAR":
        return f"coalesce(TRY_CAST({bare} AS BOOLEAN), CASE {bare} WHEN '1.0' THEN true WHEN '0.0' THEN false END)"
    return None


def _number(column: Column, mapping: Mapping) -> str | None:
    bare = _bare(column)
    if column.type == "VARCHAR" and mapping.decimal_comma:
        bare = f"replace(replace({bare}, '.', ''), ',', '.')"
    if column.type != "VARCHAR" and not _is_number(column.type):
        return None
    number = f"TRY_CAST({bare} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"
