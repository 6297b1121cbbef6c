"""Turn the rows of a file into typed rows, each with the first reason why it cannot be right, or none.

This file must never drop a row or mend one; it only writes the SQL that reads, types and judges.
"""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import NamedTuple

from calibration.logs import schema
from calibration.logs.engine import listed, literal, quoted
from calibration.logs.files import Column, Source, missing_column
from calibration.logs.mapping import CustomerColumns, Mapping, OrderColumns, slot_hours
from calibration.logs.schema import ABSENT_NAMES, ANSWERS, FIELDS, Field, Reason, TableName
from calibration.logs.values import Value, value


class Parsed(NamedTuple):
    """How a file is read."""

    query: str  # row, fault (1 is the first of `reasons`, null where the row is right), value, and the fields
    reasons: list[Reason]
    has_id: bool  # rows can be told apart by the table's own id


Fault = tuple[str, str, str, str]  # condition, reason, field, value shown
ROW = '"#row"'  # no file calls a column so


def parse(table: TableName, source: Source, mapping: Mapping, latest: date, lookup: Source | None = None) -> Parsed:
    """The query over one file of a table.

    Raises:
        LogError: a required column is missing, one that the mapping names, or one of a type that cannot be.
    """
    values = _values(table, source, mapping, lookup)
    raw = f"SELECT {source.number} AS {ROW}, * FROM {source.scan}"
    if lookup is not None:
        raw = _looked_up(raw, source, lookup, mapping)
    typed = ", ".join(f"{each.value} AS {quoted('is_' + name)}" for name, each in values.items())
    shown = ", ".join(
        f"{each.given} AS {quoted('given_' + name)}, {each.shown} AS {quoted('shown_' + name)}"
        for name, each in values.items()
    )
    faults = list(_faults(table, values, mapping, latest))
    fault = " ".join(f"WHEN {condition} THEN {number}" for number, (condition, *_) in enumerate(faults, start=1))
    told = " ".join(f"WHEN {number} THEN {text}" for number, (_, _, _, text) in enumerate(faults, start=1))
    columns = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in _columns(table, values, mapping))
    query = (
        f"SELECT {ROW} AS row, fault, CASE fault {told} END AS value, {columns} FROM ("
        f"SELECT *, CAST(CASE {fault} END AS USMALLINT) AS fault FROM ("
        f"SELECT {ROW}, {typed}, {shown} FROM ({raw}){_only(table, values)}))"
    )
    return Parsed(query, [Reason(reason, field) for _, reason, field, _ in faults], "id" in values)


def _fields(table: TableName, mapping: Mapping) -> Iterator[tuple[Field, tuple[str, ...] | None]]:
    """Every field of a table and the columns it is looked for in."""
    columns = getattr(mapping, table)
    for field in FIELDS[table]:
        yield field, getattr(columns, field.name)
    if isinstance(columns, CustomerColumns):
        for channel, column in columns.opted_in.items():
            yield Field(f"opted_in_{channel}", "flag"), (column,)
        for covariate in columns.covariates:
            yield Field(covariate, "number"), (covariate,)
    if isinstance(columns, OrderColumns) and columns.where is not None:
        yield Field("where", "flag"), columns.where


def _values(table: TableName, source: Source, mapping: Mapping, lookup: Source | None) -> dict[str, Value]:
    """The fields that this file has."""
    optional = {field.name for field in FIELDS[table] if not field.required} - getattr(mapping, table).model_fields_set
    values = {}
    for field, names in _fields(table, mapping):
        if names is None:
            continue
        columns: list[tuple[str, Column]] = []
        for name in names:
            if name in source.columns:
                columns.append((name, source.columns[name]))
            elif lookup is not None and name in lookup.columns:
                columns.append((name, Column(quoted("lookup_" + name), lookup.columns[name].type)))
            elif field.name not in optional:
                raise missing_column(source, name, field.name)
        if columns:
            values[field.name] = value(field.kind, source, field.name, columns, mapping)
    return values


def _looked_up(raw: str, source: Source, lookup: Source, mapping: Mapping) -> str:
    """`raw` with the columns of the lookup table beside each row, named lookup_..."""
    table = mapping.messages.lookup
    assert table is not None
    for here, there in table.match.items():
        if here not in source.columns:
            raise missing_column(source, here, "lookup.match")
        if there not in lookup.columns:
            raise missing_column(lookup, there, "lookup.match")
    said = ", ".join(f"{column.sql} AS {quoted('lookup_' + name)}" for name, column in lookup.columns.items())
    on = " AND ".join(
        f"CAST({source.columns[here].sql} AS VARCHAR) = CAST({quoted('lookup_' + there)} AS VARCHAR)"
        for here, there in table.match.items()
    )
    return f"SELECT * FROM ({raw}) LEFT JOIN (SELECT {said} FROM {lookup.strict}) ON {on}"


def _only(table: TableName, values: dict[str, Value]) -> str:
    """Rows that are not meant to be of this table are passed over; those that do not say so clearly are not."""
    if table != "orders" or "where" not in values:
        return ""
    where = values["where"]
    return f" WHERE coalesce({where.value}, {where.given})"


def _faults(table: TableName, values: dict[str, Value], mapping: Mapping, latest: date) -> Iterator[Fault]:
    kinds = {field.name: field for field, _ in _fields(table, mapping)}

    def fault(condition: str, reason: str, field: str) -> Fault:
        return condition, reason, field, quoted("shown_" + field)

    after = literal((latest + timedelta(days=1)).isoformat())
    unclear = {"time": schema.UNPARSABLE_TIME, "flag": schema.UNPARSABLE_FLAG, "number": schema.UNPARSABLE_NUMBER}
    for name in values:
        is_, given = quoted("is_" + name), quoted("given_" + name)
        if kinds[name].required:
            yield fault(f"NOT {given}", schema.MISSING, name)
        if kinds[name].kind in unclear:
            yield fault(f"{given} AND {is_} IS NULL", unclear[kinds[name].kind], name)
        if kinds[name].kind == "time":
            range_ = f"TIMESTAMP '{mapping.earliest.isoformat()}' OR {is_} >= TIMESTAMP {after}"
            yield fault(f"{is_} < {range_}", schema.TIME_RANGE, name)
        if name == "channel" and mapping.channels is not None:
            known = listed(list(mapping.channels))
            yield fault(f"NOT list_contains({known}, {is_})", schema.UNKNOWN_CHANNEL, name)
        if name in ("amount", "discount"):
            yield fault(f"{is_} < 0", schema.NEGATIVE, name)
    if table == "messages":
        yield from _contradictions(values, fault)
    if table == "customers" and {"joined_at", "observed_until"} <= set(values):
        yield fault('"is_observed_until" < "is_joined_at"', schema.WRONG_PERIOD, "observed_until")


def _contradictions(values: dict[str, Value], fault: Callable[[str, str, str], Fault]) -> Iterator[Fault]:
    if "propensity" in values:
        yield fault('"is_propensity" <= 0 OR "is_propensity" > 1', schema.PROPENSITY_RANGE, "propensity")
    delivered = _delivered(values)
    for answer, noun in zip(ANSWERS, ("open", "click", "block"), strict=True):
        at = f"{answer}_at"
        if at in values:
            yield fault(f'{quoted("is_" + at)} < "is_sent_at"', schema.BEFORE_SEND.format(noun), at)
        if at in values and answer in values:
            yield fault(
                f"NOT {quoted('is_' + answer)} AND {quoted('is_' + at)} IS NOT NULL", schema.CONTRADICTION, answer
            )
        # A block may well be noticed because a message failed; an open or a click may not.
        if answer != "blocked" and (answer in values or at in values) and delivered != "true":
            shown = answer if answer in values else at
            yield fault(f"NOT ({delivered}) AND {_answered(values, answer)}", schema.UNDELIVERED.format(answer), shown)


def _delivered(values: dict[str, Value]) -> str:
    parts = []
    if "delivered" in values:
        parts.append('coalesce("is_delivered", true)')
    if "failed" in values:
        parts.append('NOT coalesce("is_failed", false)')
    return " AND ".join(parts) or "true"


def _answered(values: dict[str, Value], answer: str) -> str:
    """Whether a message was opened, clicked or blocked upon: as the flag says, or else because there is a time."""
    at = f"{quoted('is_' + answer + '_at')} IS NOT NULL" if f"{answer}_at" in values else "false"
    return f"coalesce({quoted('is_' + answer)}, {at})" if answer in values else at


def _columns(table: TableName, values: dict[str, Value], mapping: Mapping) -> Iterator[tuple[str, str]]:
    """What is kept of a row, (name, SQL) each."""
    for field, _ in _fields(table, mapping):
        if field.name in ("where", "failed"):
            continue
        is_ = quoted("is_" + field.name) if field.name in values else None
        if field.name == "delivered":
            yield field.name, _delivered(values)
        elif field.name in ANSWERS:
            yield field.name, _answered(values, field.name)
        elif field.name == "slot" and is_ is None and mapping.slots is not None:
            yield field.name, _slot_by_hour(mapping)
        elif field.name in ABSENT_NAMES:
            yield field.name, f"coalesce({is_ or 'NULL'}, {literal(ABSENT_NAMES[field.name])})"
        elif field.name == "margin" and mapping.margin_share is not None and "amount" in values:
            yield field.name, f'coalesce({is_ or "NULL"}, {mapping.margin_share} * "is_amount")'
        else:
            yield field.name, is_ or f"CAST(NULL AS {_TYPES[field.kind]})"


_TYPES = {"text": "VARCHAR", "name": "VARCHAR", "time": "TIMESTAMP", "flag": "BOOLEAN", "number": "DOUBLE"}


def _slot_by_hour(mapping: Mapping) -> str:
    hours = ["other"] * 24
    for slot, (start, end) in (mapping.slots or {}).items():
        for hour in slot_hours(start, end):
            hours[hour] = slot
    return f'{listed(hours)}[hour("is_sent_at") + 1]'
