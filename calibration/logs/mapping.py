"""How a firm's own columns, channel names and clock translate into the log's: a small YAML file, read strictly.

A mapping is data: it goes through the safe YAML loader into strict records, and nothing in it is evaluated.
"""

from collections.abc import Mapping as Items
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from blockenv.scenarios.records import Name, Record, changed
from blockenv.scenarios.yaml_text import ERRORS, parse_yaml
from calibration.logs.schema import LogError


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


ColumnName = Annotated[str, Field(min_length=1)]
Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1), BeforeValidator(_listed)]
Hour = Annotated[int, Field(ge=0, le=24)]


class Lookup(Record):
    """A small table that says more about a message, such as one of campaigns; its columns may then be named."""

    file: str = Field(min_length=1, description="beside the mapping file, or an absolute path")
    match: dict[str, str] = Field(min_length=1, description="column of the messages -> column of this table")


class MessageColumns(Record):
    """Columns of `messages`. Null says that the log does not have it; a list of flags is true where any is.

    Of several times the earliest counts; several names are joined into one.
    """

    customer: Columns = ("customer",)
    id: Columns | None = ("id",)
    sent_at: Columns = ("sent_at",)
    channel: Columns = ("channel",)
    slot: Columns | None = ("slot",)
    style: Columns | None = ("style",)
    product: Columns | None = ("product",)
    delivered: Columns | None = ("delivered",)
    failed: Columns | None = ("failed",)
    opened: Columns | None = ("opened",)
    opened_at: Columns | None = ("opened_at",)
    clicked: Columns | None = ("clicked",)
    clicked_at: Columns | None = ("clicked_at",)
    blocked: Columns | None = ("blocked",)
    blocked_at: Columns | None = ("blocked_at",)
    propensity: Columns | None = ("propensity",)
    lookup: Lookup | None = None


class OrderColumns(Record):
    """Columns of `orders`; `where` is a flag column, and only rows where it is true are orders."""

    customer: Columns = ("customer",)
    id: Columns | None = ("id",)
    at: Columns = ("at",)
    amount: Columns | None = ("amount",)
    margin: Columns | None = ("margin",)
    discount: Columns | None = ("discount",)
    where: Columns | None = None


class CustomerColumns(Record):
    """Columns of `customers`, the optional table of who could be written to, and for how long they were watched.

    `send_probability` is the chance of a message on a day, for a policy that drew it by lot and kept it.
    """

    customer: Columns = ("customer",)
    joined_at: Columns | None = ("joined_at",)
    observed_until: Columns | None = ("observed_until",)
    send_probability: Columns | None = ("send_probability",)
    opted_in: dict[Name, ColumnName] = Field(default={}, description="channel -> flag column")
    covariates: tuple[Name, ...] = Field(default=(), description="columns of numbers, kept under their names")

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        taken = {"name", *(name for name in type(self).model_fields)}
        doubled = sorted({each for each in self.covariates if each in taken or each.startswith("opted_in_")})
        if doubled or len(set(self.covariates)) < len(self.covariates):
            raise ValueError(f"covariates: {doubled or list(self.covariates)} named twice or called like a column here")
        return self


class BlockColumns(Record):
    """Columns of `blocks`, the optional complete list of blocks, with or without a message behind them."""

    customer: Columns = ("customer",)
    at: Columns = ("at",)
    channel: Columns = ("channel",)
    message: Columns | None = ("message",)


class Mapping(Record):
    """Everything that has to be known about a log before it can be read. The defaults suit a log of `simulate_log`."""

    timezone: str = Field(default="UTC", description="in which hours and weekdays are told, as Europe/Berlin")
    recorded_in: str | None = Field(default=None, description="of times without an offset; `timezone` if null")
    time_format: str | None = Field(
        default=None, description="ISO 8601 if null; a strptime format, or `seconds` or `milliseconds` since 1970"
    )
    earliest: date = Field(default=date(1990, 1, 1), description="times before are out of range")
    latest: date | None = Field(default=None, description="times from the next day on are; if null, tomorrow")
    decimal_comma: bool = Field(default=False, description="numbers are written 1,5")
    channels: dict[str, Name] | None = Field(
        default=None, description="name in the log -> name here, others are rejected; if null, any name is taken"
    )
    slots: dict[Name, tuple[Hour, Hour]] | None = Field(
        default=None,
        description="hours [from, to) of slots, over midnight if from > to; for logs without a slot column",
    )
    margin_share: float | None = Field(default=None, ge=0, le=1, description="of the amount, for orders without margin")
    keep_repeated: bool = Field(default=False, description="without ids, keep rows that are the same in every field")
    messages: MessageColumns = MessageColumns()
    orders: OrderColumns = OrderColumns()
    customers: CustomerColumns = CustomerColumns()
    blocks: BlockColumns = BlockColumns()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for field in ("timezone", "recorded_in"):
            zone = getattr(self, field)
            try:
                ZoneInfo(zone or "UTC")
            except (KeyError, ValueError, OSError) as error:  # KeyError: ZoneInfoNotFoundError
                raise ValueError(f"{field}: {zone!r} is no time zone such as Europe/Berlin or UTC") from error
        if self.latest is not None and self.latest < self.earliest:
            raise ValueError(f"latest: {self.latest} is before earliest {self.earliest}")
        taken: dict[int, str] = {}
        for slot, (start, end) in (self.slots or {}).items():
            if start == end:
                raise ValueError(f"slots.{slot}: [{start}, {end}) holds no hour")
            for hour in slot_hours(start, end):
                if hour in taken:
                    raise ValueError(f"slots.{slot}: hour {hour} is already in {taken[hour]}")
                taken[hour] = slot
        return self


def slot_hours(start: int, end: int) -> list[int]:
    """The hours of the day in [start, end), which may go over midnight."""
    return list(range(start, end)) if start < end else [*range(start, 24), *range(end)]


def parse(content: Items[str, Any], where: str = "mapping") -> Mapping:
    """A mapping from plain values.

    Raises:
        LogError: a key is misspelt or a value cannot be; the message names both.
    """
    try:
        return Mapping.model_validate(dict(content))
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, part['loc'])) or 'mapping'}: {part['msg']} (got {part['input']!r:.80})"
            for part in error.errors()
        ]
        raise LogError(f"{where}: " + "; ".join(reasons)) from error


def load(path: str | Path) -> Mapping:
    """Read a mapping file (YAML, of which JSON is a part). A lookup's file is looked for beside it.

    Raises:
        LogError: the file cannot be read, is not YAML, or fails the schema.
    """
    try:
        content = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, *ERRORS) as error:
        raise LogError(f"{path}: cannot be read as a mapping ({error})") from error
    if not isinstance(content, Items):
        raise LogError(f"{path}: holds {type(content).__name__}, expected a mapping of names")
    found = parse(content, str(path))
    lookup = found.messages.lookup
    if lookup is None:
        return found
    beside = changed(lookup, file=str(Path(path).parent / lookup.file))
    return found.model_copy(update={"messages": found.messages.model_copy(update={"lookup": beside})})
