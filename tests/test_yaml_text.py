"""YAML holds plain data: numbers are read as numbers, texts as texts, and what is written is read back."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blockenv.scenarios.yaml_text import ERRORS, parse_yaml, yaml_text

TEXT = st.text(st.characters(exclude_categories=["C"]), max_size=12) | st.from_regex(
    r"-?[0-9._]{0,3}[eE][+-]?[0-9]+", fullmatch=True, alphabet="0123456789._eE+-"
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(PLAIN)
@example({"source": "1e5"})
@example([1e-05, 1e22, "1.e-3", "-1E+3", ".5e1", "e3"])
def test_what_is_written_is_read_back(content: Any) -> None:
    found = parse_yaml(yaml_text(content))
    assert found == content
    assert repr(found) == repr(content), "2 and 2.0 are equal, but not the same"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1e3),
        ("-2e6", -2e6),
        ("+1.5e+2", 150.0),
        ("1.e2", 100.0),
        (".5e1", 5.0),
        ("2_000e3", 2e6),
        ("1.0e-3", 1e-3),
        ("3", 3),
        ("0.5", 0.5),
    ],
)
def test_numbers_with_exponents_are_numbers(text: str, number: float) -> None:
    found = parse_yaml(text)
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize("text", ["e3", "1e", "1e-", "1e3x", "x1e3", "1e3 days", "'1e3'", '"1e-3"', "1e1.5", "--1e3"])
def test_texts_that_only_look_like_numbers_stay_texts(text: str) -> None:
    assert parse_yaml(text) == text.strip("'\"")


@pytest.mark.parametrize(
    "text", ["a: [", "!!python/name:os.system", "!!bool perhaps", "2001-99-99", "[" * 1000, "!!float much", "? []"]
)
def test_what_is_no_plain_data_is_one_of_the_errors_told(text: str) -> None:
    with pytest.raises(ERRORS):
        parse_yaml(text)
