"""Channels, slots, styles and products under the names that a scenario can take.

This file must never merge two names that differ in more than case, spaces and punctuation.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

from calibration.logs.schema import LogError

MOST = 10_000
_LONGEST = 40


def tidy_names(kind: str, given: Iterable[str]) -> dict[str, str]:
    """Name in the files -> name here: lower case, letters, digits and underscores, beginning with a letter.

    Raises:
        LogError: so many different values that these cannot be kinds of messages.
    """
    values = sorted(given)
    if len(values) > MOST:
        raise LogError(f"{kind}: more than {MOST:,} different values, such as {values[0]!r}; map a coarser column")
    names: dict[str, str] = {}  # by what is left of a value
    found = {}
    for number, value in enumerate(values, start=1):
        plain = _plain(value)
        if not plain:
            # Nothing that ASCII can write, as in another alphabet.
            plain = names_key = f"{kind}_{number}"
        else:
            names_key = plain
            plain = plain if plain[0].isalpha() else f"{kind}_{plain}"
        if names_key not in names:
            names[names_key] = _free(plain[:_LONGEST], set(names.values()))
        found[value] = names[names_key]
    return found


def renamed(names: Mapping[str, str]) -> dict[str, str]:
    """Name here -> name in the files, the first of several, where the two differ."""
    changes: dict[str, str] = {}
    for value, name in names.items():
        if value != name:
            changes.setdefault(name, value)
    return changes


def _plain(value: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    # Half of a word in another alphabet would say something else than the word.
    kept = sum(character.isalnum() for character in ascii_only)
    if kept < sum(character.isalnum() for character in value):
        return ""
    return re.sub(r"[^a-z0-9]+", "_", ascii_only.lower()).strip("_")


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        ending = f"_{number}"
        free = name[: _LONGEST - len(ending)] + ending
    return free
