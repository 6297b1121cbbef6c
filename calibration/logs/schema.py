"""What a message log consists of: its tables, their columns, and the ways in which a row can be wrong.

This file must never read a file; names and orders here are what files, rejects and manifests are written with.
"""

from typing import Literal, NamedTuple

TableName = Literal["messages", "orders", "customers", "blocks"]
Kind = Literal["text", "name", "time", "flag", "number"]

MISSING_WORDS = ("", "NULL", "null", r"\N", "NaN", "nan", "NaT", "None")  # how files write that nothing is there


class LogError(ValueError):
    """A log that cannot be read, mapped or written; the message names file, column and expectation in one line."""


class Field(NamedTuple):
    """A column of an incoming table."""

    name: str
    kind: Kind
    required: bool = False


FIELDS: dict[TableName, tuple[Field, ...]] = {
    "messages": (
        Field("customer", "text", required=True),
        Field("id", "text"),
        Field("sent_at", "time", required=True),
        Field("channel", "name", required=True),
        Field("slot", "name"),
        Field("style", "name"),
        Field("product", "name"),
        Field("delivered", "flag"),
        Field("failed", "flag"),
        Field("opened", "flag"),
        Field("opened_at", "time"),
        Field("clicked", "flag"),
        Field("clicked_at", "time"),
        Field("blocked", "flag"),
        Field("blocked_at", "time"),
        Field("propensity", "number"),
    ),
    "orders": (
        Field("customer", "text", required=True),
        Field("id", "text"),
        Field("at", "time", required=True),
        Field("amount", "number", required=True),
        Field("margin", "number"),
        Field("discount", "number"),
    ),
    "customers": (
        Field("customer", "text", required=True),
        Field("joined_at", "time"),
        Field("observed_until", "time"),
        Field("send_probability", "number"),
    ),
    "blocks": (
        Field("customer", "text", required=True),
        Field("at", "time", required=True),
        Field("channel", "name", required=True),
        Field("message", "text"),
    ),
}

# What a table without the column says about each row.
ABSENT_NAMES = {"slot": "any", "style": "plain", "product": "any"}
ANSWERS = ("opened", "clicked", "blocked")

MALFORMED = "malformed row"
MISSING = "missing value"
UNPARSABLE_TIME = "unparsable time"
TIME_RANGE = "time out of range"
UNPARSABLE_FLAG = "unparsable flag"
UNPARSABLE_NUMBER = "unparsable number"
UNKNOWN_CHANNEL = "unknown channel"
PROPENSITY_RANGE = "propensity outside 0 to 1"
BEFORE_SEND = "{} before send"
CONTRADICTION = "flag contradicts time"
UNDELIVERED = "{} but not delivered"
NEGATIVE = "negative amount"
WRONG_PERIOD = "observed until before joining"
DUPLICATE = "duplicate id"
REPEATED = "repeated row"


class Reason(NamedTuple):
    """Why a row is rejected, and the field that shows it; the first reason in a table's order counts."""

    reason: str
    field: str
