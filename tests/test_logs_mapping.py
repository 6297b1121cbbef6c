"""Mapping files: what is taken, what is refused, and that the refusal names it."""

from pathlib import Path

import pytest

from calibration.logs.mapping import Mapping, load, parse, slot_hours
from calibration.logs.schema import LogError


def test_an_empty_mapping_takes_the_tables_own_names() -> None:
    assert parse({}) == Mapping()
    assert Mapping().messages.sent_at == ("sent_at",)


def test_a_file_says_other_names(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "timezone: Europe/Berlin\nchannels: {Mobile Push: push}\nslots: {day: [6, 22], night: [22, 6]}\n"
        "messages:\n  customer: client\n  blocked_at: [unsubscribed_at, complained_at]\n  product: null\n"
        "  lookup: {file: campaigns.csv, match: {campaign: id}}\n"
    )
    found = load(path)
    assert found.messages.customer == ("client",)
    assert found.messages.blocked_at == ("unsubscribed_at", "complained_at")
    assert found.messages.product is None
    assert found.messages.lookup is not None
    assert found.messages.lookup.file == str(tmp_path / "campaigns.csv")
    assert found.messages.model_fields_set == {"customer", "blocked_at", "product", "lookup"}
    assert found.channels == {"Mobile Push": "push"}


def test_hours_go_over_midnight() -> None:
    assert slot_hours(22, 2) == [22, 23, 0, 1]
    assert slot_hours(9, 11) == [9, 10]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"mesages": {}}, "mesages: Extra inputs are not permitted"),
        ({"messages": {"sentat": "x"}}, "messages.sentat: Extra inputs"),
        ({"timezone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' is no time zone"),
        ({"recorded_in": "../etc"}, "recorded_in: '../etc' is no time zone"),
        ({"channels": {"Push": "Mobile Push"}}, "channels.Push"),
        ({"slots": {"a": [8, 12], "b": [11, 14]}}, "slots.b: hour 11 is already in a"),
        ({"slots": {"a": [8, 8]}}, r"slots.a: \[8, 8\) holds no hour"),
        ({"slots": {"a": [8, 25]}}, "slots.a.1"),
        ({"margin_share": 1.5}, "margin_share"),
        ({"margin_share": True}, "margin_share.*truth value"),
        ({"latest": "1980-01-01"}, "latest: 1980-01-01 is before earliest"),
        ({"messages": {"customer": None}}, "messages.customer"),
        ({"messages": {"id": []}}, "messages.id"),
        ({"customers": {"covariates": ["age", "age"]}}, "covariates"),
        ({"customers": {"covariates": ["joined_at"]}}, r"covariates: \['joined_at'\]"),
        ({"customers": {"covariates": ["opted_in_push"]}}, "covariates"),
    ],
)
def test_what_cannot_be_is_refused_by_name(content: dict[str, object], reason: str) -> None:
    with pytest.raises(LogError, match=reason) as caught:
        parse(content, "here.yaml")
    assert str(caught.value).startswith("here.yaml: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a: [", "cannot be read as a mapping"), ("- 1", "holds list"), ("!!python/object:os.system x", "cannot be read")],
)
def test_files_that_are_no_mapping(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(LogError, match=reason):
        load(path)
    with pytest.raises(LogError, match="cannot be read"):
        load(tmp_path / "absent.yaml")
