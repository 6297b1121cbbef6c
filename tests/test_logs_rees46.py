"""The schema of the REES46 direct messaging data, on a sample made by hand after the public column names."""

from pathlib import Path

import pytest

from calibration.logs.log import Log
from calibration.logs.rees46_messages import ingest_rees46
from calibration.logs.schema import LogError

HEADER = (
    "id,message_id,campaign_id,message_type,client_id,channel,category,platform,email_provider,stream,date,sent_at,"
    "is_opened,opened_first_time_at,opened_last_time_at,is_clicked,clicked_first_time_at,clicked_last_time_at,"
    "is_unsubscribed,unsubscribed_at,is_hard_bounced,hard_bounced_at,is_soft_bounced,soft_bounced_at,"
    "is_complained,complained_at,is_blocked,blocked_at,is_purchased,purchased_at,created_at,updated_at,user_device_id,user_id"
)


def row(number: int, **changes: str) -> str:
    names = HEADER.split(",")
    flags = {name: "f" for name in names if name.startswith("is_")}
    plain = {
        "id": str(number),
        "message_id": f"m{number}",
        "campaign_id": "31",
        "message_type": "bulk",
        "client_id": "1515915625489095763",
        "channel": "email",
        "email_provider": "mail.ru",
        "stream": "desktop",
        "date": "2021-05-01",
        "sent_at": f"2021-05-01 07:{number:02}:00",
    }
    values = dict.fromkeys(names, "") | flags | plain
    assert set(changes) <= set(values)
    return ",".join((values | changes).values())


ROWS = [
    row(1, is_opened="t", opened_first_time_at="2021-05-01 09:00:00", opened_last_time_at="2021-05-02 09:00:00"),
    row(2, is_unsubscribed="t", unsubscribed_at="2021-05-03 10:00:00"),
    row(3, is_hard_bounced="t", hard_bounced_at="2021-05-01 08:00:00"),
    row(4, message_type="transactional", campaign_id="7", is_purchased="t", purchased_at="2021-05-02 12:00:00"),
    row(5, channel="mobile_push", is_complained="t", complained_at="2021-05-01 08:30:00", client_id="22"),
    row(6, is_blocked="t", blocked_at="2021-05-01 07:30:00", client_id="22"),
    row(7, channel="carrier_pigeon"),
    row(8, is_unsubscribed="t", unsubscribed_at="2021-04-30 00:00:00"),
    row(9, is_purchased="t"),
    row(2, client_id="23"),
]


def test_the_sample(tmp_path: Path) -> None:
    messages = tmp_path / "messages-demo.csv"
    messages.write_text("\n".join([HEADER, *ROWS]) + "\n")
    found = ingest_rees46(tmp_path / "log", messages, threads=1)
    assert {(each.reason, each.field, each.row) for each in found.tables["messages"].reasons} == {
        ("unknown channel", "channel", 7),
        ("block before send", "blocked_at", 8),
        ("duplicate id", "id", 10),
    }
    orders = found.tables["orders"]
    assert (orders.rows, orders.passed_over, orders.accepted, orders.rejected) == (10, 8, 1, 1)
    assert [(each.reason, each.field, each.row) for each in orders.reasons] == [("missing value", "at", 9)]
    assert (found.channels, found.styles, found.slots) == (("email", "push"), ("bulk", "transactional"), ("morning",))
    log = Log(tmp_path / "log")
    sent = log.frame("messages").set_index("source_row")
    assert list(sent.index[sent["blocked"]].sort_values()) == [2, 5]
    assert list(sent.index[~sent["delivered"]].sort_values()) == [3, 6]
    assert list(sent.index[sent["opened"]]) == [1]
    (order,) = log.frame("orders").to_dict("records")
    assert str(order["at"]) == "2021-05-02 12:00:00"
    assert order["amount"] != order["amount"]  # not told, so not known
    assert sorted(log.frame("customers")["name"]) == ["1515915625489095763", "22"]
    # The last message of 23 is a repeat, and so is not kept; 23 is nobody then.
    assert found.customers == 2


def test_topics_come_from_the_campaigns(tmp_path: Path) -> None:
    messages, campaigns = tmp_path / "messages.csv", tmp_path / "campaigns.csv"
    messages.write_text("\n".join([HEADER, *ROWS[:4]]) + "\n")
    campaigns.write_text(
        "id,campaign_type,channel,topic\n31,bulk,email,sale out\n31,trigger,email,other\n7,transactional,email,\n"
    )
    found = ingest_rees46(tmp_path / "log", messages, campaigns, threads=1)
    assert found.styles == ("bulk_sale_out", "transactional")
    assert found.tables["messages"].accepted == 4


def test_another_schema_is_refused(tmp_path: Path) -> None:
    messages = tmp_path / "messages.csv"
    messages.write_text(HEADER.replace("is_unsubscribed", "unsubscribed") + "\n" + ROWS[0] + "\n")
    with pytest.raises(
        LogError, match=r"column 'is_unsubscribed' for the field 'blocked' is missing; did you mean 'unsub"
    ):
        ingest_rees46(tmp_path / "log", messages)
