"""Reading logs: every way a row can be wrong, every kind of file, and folders that are whole or not there."""

import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from calibration.logs import ingest as module
from calibration.logs.ingest import REJECTS, ingest
from calibration.logs.log import Log
from calibration.logs.mapping import parse
from calibration.logs.names import tidy_names
from calibration.logs.schema import LogError
from calibration.logs.synthetic import synthesise

ROOT = Path(__file__).parent.parent
HEADER = "customer,id,sent_at,channel,slot,style,product,delivered,opened,opened_at,clicked_at,blocked_at,propensity"
GOOD = "ann,1,2021-03-01 10:00:00,push,morning,promo,shoes,true,true,2021-03-01 10:05:00,,,0.25"


def message(**changes: object) -> str:
    """A right row with some fields changed."""
    row = dict(zip(HEADER.split(","), GOOD.split(","), strict=True))
    assert set(changes) <= set(row)
    return ",".join(str(value) for value in (row | changes).values())


def written(path: Path, rows: Sequence[str], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def rejects(folder: Path) -> list[dict[str, str]]:
    with (folder / REJECTS).open(newline="") as file:
        return list(csv.DictReader(file))


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in Log(folder).frame(table).to_dict("records")]


# --- rows that cannot be right ---

WRONG_MESSAGES = [
    ({"customer": ""}, "missing value", "customer"),
    ({"customer": "NULL"}, "missing value", "customer"),
    ({"sent_at": ""}, "missing value", "sent_at"),
    ({"sent_at": "yesterday"}, "unparsable time", "sent_at"),
    ({"sent_at": "1901-01-01 00:00:00"}, "time out of range", "sent_at"),
    ({"sent_at": "2999-01-01 00:00:00"}, "time out of range", "sent_at"),
    ({"sent_at": "infinity"}, "time out of range", "sent_at"),
    ({"channel": ""}, "missing value", "channel"),
    ({"channel": "pigeon"}, "unknown channel", "channel"),
    ({"delivered": "perhaps"}, "unparsable flag", "delivered"),
    ({"opened_at": "soon"}, "unparsable time", "opened_at"),
    ({"opened_at": "2021-03-01 09:59:59"}, "open before send", "opened_at"),
    ({"clicked_at": "2021-03-01 09:59:59"}, "click before send", "clicked_at"),
    ({"blocked_at": "2021-02-28 10:00:00"}, "block before send", "blocked_at"),
    ({"opened": "false"}, "flag contradicts time", "opened"),
    ({"delivered": "false"}, "opened but not delivered", "opened"),
    ({"delivered": "0", "opened": "", "opened_at": "", "clicked_at": "2021-03-01 11:00:00"},
     "clicked but not delivered", "clicked_at"),
    ({"propensity": "0"}, "propensity outside 0 to 1", "propensity"),
    ({"propensity": "1.01"}, "propensity outside 0 to 1", "propensity"),
    ({"propensity": "often"}, "unparsable number", "propensity"),
    ({"propensity": "inf"}, "unparsable number", "propensity"),
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_wrong_messages_are_listed_with_reason_and_place(tmp_path: Path, suffix: str) -> None:
    wrong = [message(id=f"w{place}", **changes) for place, (changes, _, _) in enumerate(WRONG_MESSAGES)]
    path = written(tmp_path / "messages.csv", [GOOD, *wrong, message(id="last", customer="bob")])
    if suffix == "csv.gz":
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    elif suffix == "parquet":
        path = path.with_suffix(".parquet")
        duckdb.sql(f"COPY (SELECT * FROM read_csv('{tmp_path}/messages.csv', all_varchar=true)) TO '{path}'")
    found = ingest(tmp_path / "log", path, mapping=parse({"channels": {"push": "push"}}))
    told = [(row["reason"], row["field"], int(row["row"])) for row in rejects(tmp_path / "log")]
    assert told == [(reason, field, place) for place, (_, reason, field) in enumerate(WRONG_MESSAGES, start=2)]
    assert {row["file"] for row in rejects(tmp_path / "log")} == {str(path)}
    table = found.tables["messages"]
    assert (table.rows, table.accepted, table.rejected) == (len(wrong) + 2, 2, len(wrong))
    counts = Counter((reason, field) for _, reason, field in WRONG_MESSAGES)
    assert {(each.reason, each.field): each.rows for each in table.reasons} == counts
    assert sum(rows for *_, rows, _ in found.summary()) == len(wrong) + 2
    assert sorted(row["name"] for row in rows_of(tmp_path / "log", "customers")) == ["ann", "bob"]


def test_rejects_show_what_was_there(tmp_path: Path) -> None:
    rows = [GOOD, message(id="2", sent_at="31.12.2020"), message(id="3", propensity="often")]
    found = ingest(tmp_path / "log", written(tmp_path / "m.csv", rows))
    assert [row["value"] for row in rejects(tmp_path / "log")] == ["31.12.2020", "often"]
    assert [(each.row, each.value) for each in found.tables["messages"].reasons] == [(3, "often"), (2, "31.12.2020")]


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"customer": ""}, "missing value", "customer"),
        ({"at": ""}, "missing value", "at"),
        ({"at": "noon"}, "unparsable time", "at"),
        ({"at": "1950-01-01"}, "time out of range", "at"),
        ({"amount": ""}, "missing value", "amount"),
        ({"amount": "NaN"}, "missing value", "amount"),
        ({"amount": "ten"}, "unparsable number", "amount"),
        ({"amount": "-0.01"}, "negative amount", "amount"),
        ({"margin": "x"}, "unparsable number", "margin"),
        ({"discount": "-5"}, "negative amount", "discount"),
        ({"id": "o1"}, "duplicate id", "id"),
    ],
)
def test_wrong_orders(tmp_path: Path, changes: dict[str, str], reason: str, field: str) -> None:
    good = {"customer": "ann", "id": "o1", "at": "2021-03-02", "amount": "10", "margin": "-2", "discount": ""}
    rows = [",".join(row.values()) for row in (good, good | {"id": "o2"} | changes)]
    orders = written(tmp_path / "orders.csv", rows, ",".join(good))
    found = ingest(tmp_path / "log", written(tmp_path / "messages.csv", [GOOD]), orders)
    (reject,) = rejects(tmp_path / "log")
    assert (reject["table"], reject["row"], reject["reason"], reject["field"]) == ("orders", "2", reason, field)
    assert found.tables["orders"].accepted == 1
    (order,) = rows_of(tmp_path / "log", "orders")
    assert (order["amount"], order["margin"]) == (10.0, -2.0)


def test_wrong_customers_and_blocks(tmp_path: Path) -> None:
    customers = written(
        tmp_path / "customers.csv",
        ["ann,2021-01-01,2022-01-01,yes,0.5", "bob,2021-01-01,2020-01-01,no,1", "ann,2021-01-01,,no,1", "eve,,,maybe,1",
         "joe,,,no,much"],
        "customer,joined_at,observed_until,push_ok,age",
    )  # fmt: skip
    blocks = written(
        tmp_path / "blocks.csv",
        ["ann,2021-03-05,push,", "ann,2021-03-05,push,", "ann,2021-03-05,fax,1", "ann,never,push,"],
        "customer,at,channel,message",
    )
    mapping = parse(
        {"channels": {"push": "push"}, "customers": {"opted_in": {"push": "push_ok"}, "covariates": ["age"]}}
    )
    found = ingest(tmp_path / "log", written(tmp_path / "m.csv", [GOOD]), None, customers, blocks, mapping)
    told = [(row["table"], row["row"], row["reason"], row["field"]) for row in rejects(tmp_path / "log")]
    assert told == [
        ("customers", "2", "observed until before joining", "observed_until"),
        ("customers", "3", "duplicate id", "customer"),
        ("customers", "4", "unparsable flag", "opted_in_push"),
        ("customers", "5", "unparsable number", "age"),
        ("blocks", "2", "repeated row", ""),
        ("blocks", "3", "unknown channel", "channel"),
        ("blocks", "4", "unparsable time", "at"),
    ]
    assert (found.opted_in, found.covariates) == (("push",), ("age",))
    (ann,) = rows_of(tmp_path / "log", "customers")
    assert (ann["name"], ann["opted_in_push"], ann["age"]) == ("ann", True, 0.5)
    assert ann["observed_until"] == datetime(2022, 1, 1)
    (block,) = rows_of(tmp_path / "log", "blocks")
    assert (block["channel"], block["by_message"]) == ("push", False)


def test_of_repeated_ids_the_first_right_row_stays_wherever_it_stands(tmp_path: Path) -> None:
    first = written(
        tmp_path / "a.csv", [message(id="7", sent_at="bad"), message(id="7", customer="bob"), message(id="")]
    )
    second = written(tmp_path / "b.csv", [message(id="7", customer="eve"), message(id=""), message(id="8")])
    found = ingest(tmp_path / "log", [first, second])
    told = [(Path(row["file"]).name, row["row"], row["reason"], row["value"]) for row in rejects(tmp_path / "log")]
    assert told == [("a.csv", "1", "unparsable time", "bad"), ("b.csv", "1", "duplicate id", "7")]
    kept = {(row["source_file"], row["source_row"]) for row in rows_of(tmp_path / "log", "messages")}
    assert kept == {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert found.tables["messages"].accepted == 4


@pytest.mark.parametrize("keep", [False, True])
def test_without_ids_rows_that_are_the_same_throughout_are_repeats(tmp_path: Path, keep: bool) -> None:
    rows = ["ann,2021-03-01,push", "ann,2021-03-01,push", "ann,2021-03-01,email"]
    messages = written(tmp_path / "m.csv", rows, "customer,sent_at,channel")
    orders = written(tmp_path / "o.csv", ["ann,2021-03-01,5", "ann,2021-03-01,5"], "customer,at,amount")
    found = ingest(tmp_path / "log", messages, orders, mapping=parse({"keep_repeated": keep}))
    assert (found.tables["messages"].accepted, found.tables["orders"].accepted) == ((3, 2) if keep else (2, 1))
    assert {row["reason"] for row in rejects(tmp_path / "log")} == (set() if keep else {"repeated row"})


def test_lines_that_cannot_be_split_are_listed_and_do_not_shift_the_numbers(tmp_path: Path) -> None:
    rows = [
        GOOD,
        "ann,2",
        message(id="3", sent_at="bad"),
        message(id="4") + ",one,two",
        message(id="5", product='"two\nlines"'),
        message(id="6", sent_at="bad"),
    ]
    found = ingest(tmp_path / "log", written(tmp_path / "m.csv", rows))
    told = [(int(row["row"]), row["reason"]) for row in rejects(tmp_path / "log")]
    assert told == [(2, "malformed row"), (3, "unparsable time"), (4, "malformed row"), (6, "unparsable time")]
    assert rejects(tmp_path / "log")[0]["value"] == "ann,2"
    assert found.tables["messages"].rows == 6
    assert {row["source_row"] for row in rows_of(tmp_path / "log", "messages")} == {1, 5}
    assert found.products == ("shoes", "two_lines")


def test_numbers_of_rows_are_right_deep_in_a_large_file(tmp_path: Path) -> None:
    rows = [f"c{number},{number},2021-03-01 10:00:00,push" for number in range(1, 60_001)]
    rows[9_999], rows[19_999], rows[59_998] = "broken", "x,y,z,w,v", "c,1000000,late,push"
    path = written(tmp_path / "m.csv", rows, "customer,id,sent_at,channel")
    ingest(tmp_path / "log", path)
    assert [int(row["row"]) for row in rejects(tmp_path / "log")] == [10_000, 20_000, 59_999]
    with Log(tmp_path / "log").connect() as connection:
        joined = (
            "SELECT count(*), sum((name = 'c' || source_row)::INTEGER) FROM messages JOIN customers USING (customer)"
        )
        assert connection.execute(joined).fetchall() == [(59_997, 59_997)]


# --- values ---


@pytest.mark.parametrize(
    ("mapping", "given", "expected"),
    [
        ({}, "2021-03-01 10:00:00", "2021-03-01 10:00:00"),
        ({}, "2021-03-01T10:00:00.250", "2021-03-01 10:00:00.250000"),
        ({}, "2021-03-01", "2021-03-01 00:00:00"),
        ({}, "2021-03-01T10:00:00+03:00", "2021-03-01 07:00:00"),
        ({}, "2021-03-01T10:00Z", "2021-03-01 10:00:00"),
        ({"timezone": "Europe/Moscow"}, "2021-03-01 10:00:00", "2021-03-01 10:00:00"),
        ({"timezone": "Europe/Moscow"}, "2021-03-01 10:00:00-02", "2021-03-01 15:00:00"),
        ({"timezone": "Europe/Moscow", "recorded_in": "UTC"}, "2021-03-01 10:00:00", "2021-03-01 13:00:00"),
        ({"timezone": "Europe/Berlin", "recorded_in": "UTC"}, "2021-07-01 10:00:00", "2021-07-01 12:00:00"),
        ({"time_format": "%d.%m.%Y %H:%M"}, "05.03.2021 10:30", "2021-03-05 10:30:00"),
        ({"time_format": "%d.%m.%Y %H:%M %z"}, "05.03.2021 10:30 +0200", "2021-03-05 08:30:00"),
        ({"time_format": "seconds"}, "1614592800", "2021-03-01 10:00:00"),
        ({"time_format": "milliseconds", "timezone": "Asia/Tokyo"}, "1614592800500", "2021-03-01 19:00:00.500000"),
    ],
)
def test_clocks(tmp_path: Path, mapping: dict[str, object], given: str, expected: str) -> None:
    messages = written(tmp_path / "m.csv", [f"ann,{given},push"], "customer,sent_at,channel")
    found = ingest(tmp_path / "log", messages, mapping=parse(mapping))
    assert str(found.first) == expected


def test_typed_parquet_of_pandas_kind(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    duckdb.sql(
        "COPY (SELECT * FROM (VALUES (17.0::DOUBLE, 1::BIGINT, TIMESTAMPTZ '2021-03-01 10:00:00+03', 'Push', 1::TINYINT, "
        "'NaN'::DOUBLE, 3), (18.0, 2, TIMESTAMPTZ '2021-03-02 10:00:00+03', 'push', 0, 0.5, 4)) "
        f"AS t(customer, id, sent_at, channel, delivered, propensity, \"row\")) TO '{path}'"
    )
    orders = written(tmp_path / "o.csv", ['17,2021-03-04,"1.234,5"', "19,2021-03-04,2"], "customer,at,amount")
    mapping = parse({"decimal_comma": True, "margin_share": 0.5, "timezone": "UTC"})
    found = ingest(tmp_path / "log", path, orders, mapping=mapping)
    people = {row["customer"]: row["name"] for row in rows_of(tmp_path / "log", "customers")}
    assert sorted(people.values()) == ["17", "18", "19"]
    sent = {people[row["customer"]]: row for row in rows_of(tmp_path / "log", "messages")}
    assert (sent["17"]["delivered"], sent["18"]["delivered"]) == (True, False)
    assert sent["17"]["sent_at"] == datetime(2021, 3, 1, 7)
    assert sent["18"]["propensity"] == 0.5
    bought = {people[row["customer"]]: (row["amount"], row["margin"]) for row in rows_of(tmp_path / "log", "orders")}
    assert bought == {"17": (1234.5, 617.25), "19": (2.0, 1.0)}
    assert found.channels == ("push",)
    assert found.renamed["channel"] == {"push": "Push"}


def test_texts_of_other_programs(tmp_path: Path) -> None:
    """Semicolons, a byte order mark, Windows line ends, blanks, doubled quotes, an old encoding in one line."""
    text = (
        "\ufeffcustomer;sent_at;channel;style\r\n"
        ' ann ;2021-03-01 10:00;"push";"say ""hi"""\r\n'
        "bob;2021-03-02 10:00; push ;caf\r\n"
        "eve;2021-03-03 10:00;push;plain\r\n"
    )
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode().replace(b"caf", "café".encode("latin-1")))
    found = ingest(tmp_path / "log", path)
    assert sorted(row["name"] for row in rows_of(tmp_path / "log", "customers")) == ["ann", "eve"]
    assert (found.channels, found.styles) == (("push",), ("plain", "say_hi"))
    assert [(row["row"], row["reason"]) for row in rejects(tmp_path / "log")] == [("2", "malformed row")]


def test_a_folder_of_files_is_one_table(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path / "in" / f"part-{number}.csv", [message(id=number, customer=f"c{number}")])
    found = ingest(tmp_path / "log", tmp_path / "in")
    assert [Path(each.path).name for each in found.inputs] == ["part-0.csv", "part-1.csv", "part-2.csv"]
    assert found.customers == 3


def test_flags_times_and_names_from_several_columns(tmp_path: Path) -> None:
    header = "customer,sent_at,channel,unsub,complaint,unsub_at,complaint_at,bounced,kind,topic"
    rows = [
        "ann,2021-03-01 10:00,push,t,f,2021-03-03 10:00,,f,bulk,sale out",
        "bob,2021-03-01 10:00,push,f,t,2021-03-05 10:00,2021-03-02 10:00,f,bulk,",
        "eve,2021-03-01 10:00,push,f,f,,,t,trigger,cart",
        "joe,2021-03-01 10:00,push,f,f,,,f,trigger,cart",
    ]
    columns = {
        "blocked": ["unsub", "complaint"],
        "blocked_at": ["unsub_at", "complaint_at"],
        "failed": "bounced",
        "style": ["kind", "topic"],
    }
    found = ingest(tmp_path / "log", written(tmp_path / "m.csv", rows, header), mapping=parse({"messages": columns}))
    people = {row["customer"]: row["name"] for row in rows_of(tmp_path / "log", "customers")}
    sent = {people[row["customer"]]: row for row in rows_of(tmp_path / "log", "messages")}
    assert [sent[name]["blocked"] for name in ("ann", "bob", "eve", "joe")] == [True, True, False, False]
    assert sent["bob"]["blocked_at"] == datetime(2021, 3, 2, 10)
    assert [sent[name]["delivered"] for name in ("ann", "eve")] == [True, False]
    assert found.styles == ("bulk", "bulk_sale_out", "trigger_cart")
    assert found.renamed["style"] == {"bulk_sale_out": "bulk sale out", "trigger_cart": "trigger cart"}
    blocked = {people[row["customer"]]: row for row in rows_of(tmp_path / "log", "blocks")}
    assert set(blocked) == {"ann", "bob"}
    assert blocked["ann"]["at"] == datetime(2021, 3, 3, 10)
    assert blocked["ann"]["by_message"]


def test_slots_by_hours_in_the_customers_time_zone(tmp_path: Path) -> None:
    rows = [f"c{hour},2021-03-01 {hour:02}:30:00,push" for hour in range(24)]
    mapping = parse({"slots": {"night": [22, 6], "day": [8, 22]}, "timezone": "Asia/Tokyo", "recorded_in": "UTC"})
    ingest(tmp_path / "log", written(tmp_path / "m.csv", rows, "customer,sent_at,channel"), mapping=mapping)
    slots = {row["sent_at"].hour: row["slot"] for row in rows_of(tmp_path / "log", "messages")}
    night = [22, 23, *range(6)]
    assert slots == {hour: "night" if hour in night else "other" if hour in (6, 7) else "day" for hour in range(24)}


def test_a_table_of_campaigns_is_looked_up(tmp_path: Path) -> None:
    messages = written(
        tmp_path / "m.csv",
        ["ann,2021-03-01,push,7", "bob,2021-03-01,push,8", "bad,soon,push,7"],
        "customer,sent_at,channel,campaign",
    )
    campaigns = written(tmp_path / "campaigns.csv", ["7,Sale!,shoes", "9,x,y"], "id,theme,goods")
    columns = {"style": "theme", "product": "goods", "lookup": {"file": str(campaigns), "match": {"campaign": "id"}}}
    found = ingest(tmp_path / "log", messages, mapping=parse({"messages": columns}))
    assert (found.styles, found.products) == (("plain", "sale"), ("any", "shoes"))
    assert [row["row"] for row in rejects(tmp_path / "log")] == ["3"]
    campaigns.write_text("id,theme,goods\n7,a,b\n7,c,d\n")
    with pytest.raises(LogError, match="id = 7 stands twice"):
        ingest(tmp_path / "log2", messages, mapping=parse({"messages": columns}))
    campaigns.write_text("number,theme,goods\n7,a,b\n")
    with pytest.raises(LogError, match=r"column 'id' for the field 'lookup\.match' is missing"):
        ingest(tmp_path / "log2", messages, mapping=parse({"messages": columns}))


def test_names_become_those_a_scenario_can_take() -> None:
    names = tidy_names("style", ["Sale Out!", "sale_out", "2 for 1", "Распродажа", "Новости", "x" * 60, "x" * 60 + "y"])
    assert names["Sale Out!"] == names["sale_out"] == "sale_out"
    assert names["2 for 1"] == "style_2_for_1"
    assert names["Распродажа"] != names["Новости"]
    assert len(set(names.values())) == 6
    assert all(len(name) <= 40 and name[0].isalpha() and name.isascii() for name in names.values())
    with pytest.raises(LogError, match="product: more than 10,000"):
        tidy_names("product", map(str, range(10_001)))


# --- errors that stop the reading ---


@pytest.mark.parametrize(
    ("header", "row", "mapping", "reason"),
    [
        ("customer,sentat,channel", "a,2021-03-01,push", {}, "column 'sent_at' for the field 'sent_at' is missing; did you mean 'sentat'"),
        ("customer,Sent_At,channel", "a,2021-03-01,push", {}, "did you mean 'Sent_At'"),
        ("customer,sent_at,channel", "a,2021-03-01,push", {"messages": {"style": "theme"}}, "column 'theme' for the field 'style'"),
        ("customer,sent_at,sent_at", "a,b,c", {}, "column 'sent_at' stands twice"),
        ("customer,sent_at,channel", "a,soon,push", {}, "no row of the messages can be used; 1 of 1: unparsable time (sent_at), first 'soon' in row 1"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong_with_a_file(
    tmp_path: Path, header: str, row: str, mapping: dict[str, object], reason: str
) -> None:
    path = written(tmp_path / "m.csv", [row], header)
    with pytest.raises(LogError) as caught:
        ingest(tmp_path / "log", path, mapping=parse(mapping))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("m.csv", b"", "is empty"),
        ("m.csv", b"customer,sent_at,channel\n", "has no rows below the header customer, sent_at, channel"),
        ("m.csv", b"\n\n", "has no header line"),
        ("m.parquet", b"customer,sent_at\n", "cannot be read as Parquet"),
        ("m.csv.gz", b"not gzip", "cannot be read as text"),
        ("m.xlsx", b"PK", "expected one of .parquet"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LogError, match=reason):
        ingest(tmp_path / "log", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_columns_of_types_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    for sent_at, channel, reason in (
        (
            "17",
            "'push'",
            "column 'sent_at' of type INTEGER cannot be the time 'sent_at'; whole numbers need time_format",
        ),
        ("true", "'push'", "column 'sent_at' of type BOOLEAN cannot be the time"),
        ("DATE '2021-03-01'", "['push']", r"column 'channel' of type VARCHAR\[\] cannot be the name"),
    ):
        duckdb.sql(f"COPY (SELECT 'a' AS customer, {sent_at} AS sent_at, {channel} AS channel) TO '{path}'")
        with pytest.raises(LogError, match=reason):
            ingest(tmp_path / "log", path)
    duckdb.sql(
        f"COPY (SELECT 'a' AS customer, DATE '2021-03-01' AS sent_at, 'push' AS channel WHERE false) TO '{path}'"
    )
    with pytest.raises(LogError, match="has no rows"):
        ingest(tmp_path / "log", path)


def test_what_cannot_be_found_or_done(tmp_path: Path) -> None:
    good = written(tmp_path / "m.csv", [GOOD])
    for paths, reason in (
        (tmp_path / "absent.csv", "no such file"),
        ([good, good], "named twice"),
        (tmp_path / "void", "no such file"),
    ):
        with pytest.raises(LogError, match=reason):
            ingest(tmp_path / "log", paths)
    for options, reason in (
        ({"memory": "lots"}, "memory 'lots'"),
        ({"threads": 0}, "threads 0"),
        ({"shard_rows": 0}, "shard_rows"),
    ):
        with pytest.raises(LogError, match=reason):
            ingest(tmp_path / "log", good, **options)  # type: ignore[arg-type]
    (tmp_path / "log").mkdir()
    with pytest.raises(LogError, match="is there already"):
        ingest(tmp_path / "log", good)
    with pytest.raises(LogError, match="is no ingested log"):
        Log(tmp_path / "log")


# --- folders ---


def test_customers_are_whole_in_shards_and_rows_in_order(tmp_path: Path) -> None:
    messages, orders = synthesise(tmp_path, 20_000, "parquet", threads=1)
    found = ingest(tmp_path / "log", messages, orders, shard_rows=3_000)
    assert len(found.shards) == 7
    log = Log(tmp_path / "log")
    total = 0
    for number, (shard, sent) in enumerate(zip(found.shards, log.frames("messages"), strict=True)):
        assert len(sent) == shard.messages
        assert sent["customer"].between(shard.first_customer, shard.first_customer + shard.customers - 1).all()
        assert sent[["customer", "sent_at"]].apply(tuple, axis=1).is_monotonic_increasing
        assert list(log.frame("customers", shards=[number])["customer"]) == list(range(total, total + shard.customers))
        total += shard.customers
    assert total == found.customers
    assert sum(shard.messages for shard in found.shards) == found.tables["messages"].accepted
    assert sum(shard.orders for shard in found.shards) == found.tables["orders"].accepted
    wrong = {(each.reason, each.field): each.rows for each in found.tables["messages"].reasons}
    assert wrong.pop(("block before send", "blocked_at")) > 0
    assert wrong == {
        ("missing value", "customer"): 20,
        ("missing value", "channel"): 20,
        ("unparsable time", "sent_at"): 20,
        ("duplicate id", "id"): 19,
    }


def test_the_result_does_not_depend_on_shards_threads_or_memory(tmp_path: Path) -> None:
    messages, orders = synthesise(tmp_path, 5_000, "csv", threads=1)
    wanted = None
    for number, options in enumerate(({}, {"shard_rows": 700}, {"threads": 1, "memory": "200MB"})):
        ingest(tmp_path / f"log{number}", messages, orders, **options)  # type: ignore[arg-type]
        with Log(tmp_path / f"log{number}").connect() as connection:
            rows = connection.execute(
                "SELECT name, messages.* EXCLUDE (customer) FROM messages JOIN customers USING (customer) ORDER BY source_row"
            ).fetchall()
        assert wanted is None or rows == wanted
        wanted = rows


def test_the_same_log_is_not_read_twice_and_another_is_not_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "m.csv", [GOOD])
    first = ingest(tmp_path / "log", path)
    steps: list[str] = []
    assert ingest(tmp_path / "log", path, progress=lambda what, *_: steps.append(what)) == first
    assert not steps
    with pytest.raises(LogError, match="is there already"):
        ingest(tmp_path / "log", path, mapping=parse({"timezone": "Asia/Tokyo"}))
    assert Log(tmp_path / "log").manifest == first


def test_an_error_halfway_leaves_nothing_but_what_a_repeat_goes_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, orders = synthesise(tmp_path / "in", 3_000, "csv", threads=1)

    def stop(what: str, done: int, steps: int) -> None:
        if what == "writing shard 3 of 4":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(tmp_path / "log", messages, orders, shard_rows=1_000, progress=stop)
    assert [path.name for path in tmp_path.iterdir() if path.name != "in"] == [".log.partial"]
    # What is finished is not read again: the files may even have gone out of reach of the database.
    monkeypatch.setattr("calibration.logs.staging.parse", None)
    resumed = ingest(tmp_path / "log", messages, orders, shard_rows=1_000)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "log"]
    fresh = ingest(tmp_path / "fresh", messages, orders, shard_rows=1_000)
    assert resumed == fresh
    for path in sorted((tmp_path / "fresh").rglob("*")):
        if path.is_file() and path.name != module.manifest.FILE:
            assert (tmp_path / "log" / path.relative_to(tmp_path / "fresh")).read_bytes() == path.read_bytes(), path


def test_a_killed_process_leaves_nothing_half_written(tmp_path: Path) -> None:
    messages, orders = synthesise(tmp_path / "in", 20_000, "csv", threads=1)
    code = (
        "import sys; from calibration.logs.ingest import ingest\n"
        "ingest(*sys.argv[1:4], shard_rows=2_000, threads=1, progress=lambda *step: print(step, flush=True))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "log"), str(messages), str(orders)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "writing shard" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == [".log.partial", "in"]
    found = ingest(tmp_path / "log", messages, orders, shard_rows=2_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "log"]
    assert found == ingest(tmp_path / "fresh", messages, orders, shard_rows=2_000)


def test_two_at_a_time_do_not_mix(tmp_path: Path) -> None:
    path = written(tmp_path / "m.csv", [GOOD])

    def meanwhile(*step: object) -> None:
        with pytest.raises(LogError, match="somebody else is writing it"):
            ingest(tmp_path / "log", path)

    ingest(tmp_path / "log", path, progress=meanwhile)
    assert Log(tmp_path / "log").manifest.customers == 1


def test_little_memory_is_kept_to(tmp_path: Path) -> None:
    messages, _ = synthesise(tmp_path, 150_000, "parquet", threads=1)
    started = time.perf_counter()
    found = ingest(tmp_path / "log", messages, memory="100MB", threads=1)
    assert found.tables["messages"].accepted > 149_000
    with pytest.raises(LogError, match="memory: 1MB is not enough"):
        ingest(tmp_path / "small", messages, memory="1MB", threads=1)
    assert time.perf_counter() - started < 30


# --- reading it back ---


def test_a_log_is_read_in_part(tmp_path: Path) -> None:
    messages, orders = synthesise(tmp_path, 2_000, "parquet", threads=1)
    ingest(tmp_path / "log", messages, orders, shard_rows=500)
    log = Log(tmp_path / "log")
    some = log.frame("messages", ["customer", "channel"], shards=[1], where="channel = 'sms'")
    assert list(some.columns) == ["customer", "channel"]
    assert list(some["channel"].cat.categories) == ["email", "push", "sms"]
    assert (some["channel"] == "sms").all()
    with pytest.raises(LogError, match="has no table 'exposures'; found messages, orders, customers, blocks"):
        log.frame("exposures")
    with pytest.raises(LogError, match="shard: 99, expected 0"):
        log.frame("messages", shards=[99])
    with pytest.raises(LogError, match=r"messages: .*colour"):
        log.frame("messages", ["colour"])
