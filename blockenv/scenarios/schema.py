"""A scenario is one written-down world: every number that decides how its customers live, buy and block.

This module only says what a scenario is made of and refuses numbers that cannot be; it never holds the numbers
of a particular world (see `canon`), draws nobody and computes no probability.
"""

import hashlib
import json
from typing import Literal, Self

from pydantic import Field, model_validator

from blockenv.scenarios.parts import (
    Bond,
    Calendar,
    Channel,
    Commerce,
    Fatigue,
    Provenance,
    Response,
    Segment,
    Spread,
    Style,
    Visibility,
)
from blockenv.scenarios.records import Label, Name, Record, changed, number

__all__ = [
    "Bond",
    "Calendar",
    "Channel",
    "Commerce",
    "Fatigue",
    "Label",
    "Provenance",
    "Record",
    "Response",
    "Scenario",
    "Segment",
    "Spread",
    "Style",
    "Visibility",
    "changed",
]


class Scenario(Record):
    """Every number of one world. See the class of each part for units, sources and ranges."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*-v[0-9]+$")
    isolates: str = Field(min_length=1, description="the one thing a sender must learn here")
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=8)
    slots: tuple[Name, ...] = Field(default=("any",), min_length=1)
    styles: tuple[Style, ...] = Field(default=(Style(name="plain"),), min_length=1)
    products: tuple[Name, ...] = Field(default=("any",), min_length=1)
    segments: tuple[Segment, ...] = Field(min_length=1)
    spread: Spread = Spread()
    fatigue: Fatigue = Fatigue()
    bond: Bond = Bond()
    response: Response = Response()
    commerce: Commerce = Commerce()
    calendar: Calendar = Calendar()
    hint_noise: float = number(
        "standard deviation of the covariates that hint at the segment (one for each, signal 1)",
        "ASSUMED",
        "a sensitivity axis",
        default=0.5,
        ge=0,
        le=100,
    )
    discount: float = number("factor a day", "ASSUMED", "0.9997 a day is 10 % a year", default=0.9997, gt=0, le=1)
    horizon: int = number("days of a training episode", "ASSUMED", "a year of 52 weeks", default=364, ge=1)
    evaluation_days: int = number(
        "days of the evaluation window", "FOUND", "the usual three-year CLV window", default=1092, ge=1
    )
    observe: Literal["log", "full"] = Field(
        default="log", description="full adds the hidden state and traits, for analysis"
    )
    provenance: dict[str, Provenance] = Field(
        default={}, description="field path -> source, where it differs from the field's own"
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        tables = {
            "channels": [channel.name for channel in self.channels],
            "slots": list(self.slots),
            "styles": [style.name for style in self.styles],
            "products": list(self.products),
            "segments": [segment.name for segment in self.segments],
        }
        for field, names in tables.items():
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"{field}: {doubled} named twice; every name must be unique")
        effects = {"style_block": "styles", "style_buy": "styles", "slot_block": "slots", "relevance": "products"}
        for segment in self.segments:
            for field, table in effects.items():
                unknown = sorted(set(getattr(segment, field)) - set(tables[table]))
                if unknown:
                    raise ValueError(f"segments.{segment.name}.{field}: {unknown} not among {table} {tables[table]}")
        if self.fatigue.start > self.fatigue.top:
            raise ValueError(f"fatigue.start: {self.fatigue.start} above fatigue.top {self.fatigue.top}")
        return self

    @property
    def actions(self) -> int:
        """Silence and every message: 1 + channels x slots x styles x products."""
        return 1 + len(self.channels) * len(self.slots) * len(self.styles) * len(self.products)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any number of the scenario, and with nothing else."""
        numbers = self.model_dump(mode="json", exclude={"isolates", "provenance"})
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]

    def message_name(self, action: int) -> str:
        """The words for an action, such as `push/evening/promo/shoes`, or `silence`."""
        if not 0 <= action < self.actions:
            raise ValueError(f"action: {action} is not among 0..{self.actions - 1} of {self.name}")
        if action == 0:
            return "silence"
        rest, product = divmod(action - 1, len(self.products))
        rest, style = divmod(rest, len(self.styles))
        channel, slot = divmod(rest, len(self.slots))
        return "/".join(
            (self.channels[channel].name, self.slots[slot], self.styles[style].name, self.products[product])
        )
