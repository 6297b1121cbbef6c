"""What every record of numbers is made of: frozen, strict about names and numbers, each number with its source.

This module knows no world and no agent; it never guesses what a value was meant to be.
"""

from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Label = Literal["FOUND", "RECALLED", "DERIVED", "ASSUMED"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]

Effect = Annotated[float, Field(ge=-10, le=10)]  # beyond that float32 has nothing left to tell apart

NO_SOURCE = "no source found; a sensitivity axis"


def number(unit: str, label: Label, source: str, **rules: Any) -> Any:
    """A field that carries its unit, where its default comes from, and the range it may take."""
    return Field(json_schema_extra={"unit": unit, "label": label, "source": source}, **rules)


class Table(dict[Any, Any]):
    """A dictionary that cannot be changed; it is pickled, copied and written down like any other."""

    def _refuse(self, *arguments: Any, **named: Any) -> NoReturn:
        raise TypeError("a record's table cannot be changed; make another record with `changed`")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[Self], tuple[dict[Any, Any]]]:
        return type(self), (dict(self),)


class Record(BaseModel):
    """Frozen, tables included, and strict: a misspelt field, a NaN, or a word in place of a number is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        _check_numbers(cls.model_fields[info.field_name].annotation, value)
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _tables_stay(cls, value: Any) -> Any:
        return Table(value) if type(value) is dict else value


AnyRecord = TypeVar("AnyRecord", bound=Record)


def changed(record: AnyRecord, **fields: Any) -> AnyRecord:
    """The same record with other values in some fields, checked like a new one; `model_copy` would check nothing.

    Raises:
        pydantic.ValidationError: a field that does not exist, or a value that cannot be.
    """
    return type(record).model_validate({**dict(record), **fields})


def _check_numbers(kind: Any, value: Any, place: str = "") -> None:
    """Refuse truth values and text where `kind` is a number or holds numbers: pydantic would read both as numbers.

    A `true` in a file is a slip, not a 1; and a number in quotes was meant to be text.
    """
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    outer, inner = get_origin(kind), get_args(kind)
    if kind in (int, float):
        if isinstance(value, bool | str | bytes):
            reason = f"{place}expected a number, not {'a truth value' if isinstance(value, bool) else 'text'}"
            raise PydanticCustomError("not_a_number", "{reason}", {"reason": reason})
    elif outer in (Union, UnionType):
        numbers = [each for each in inner if each is not NoneType]
        if len(numbers) == 1:  # an optional number; of several kinds, pydantic finds the one that fits
            _check_numbers(numbers[0], value, place)
    elif (outer is list or inner[1:] == (...,)) and isinstance(value, list | tuple):
        _check_all(inner[0], enumerate(value), place)
    elif outer is dict and isinstance(value, Mapping):
        _check_all(inner[1], value.items(), place)


def _check_all(kind: Any, values: Iterable[tuple[Any, Any]], place: str) -> None:
    for name, value in values:
        _check_numbers(kind, value, f"{place}{name}: ")
