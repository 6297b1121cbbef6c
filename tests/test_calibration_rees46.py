"""Rates by channel, kind and topic: exact on a small table, equal to the evidence page on the real one."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from calibration.rees46 import FILE, Rees46, Response, figures, measure
from calibration.sources import SourceError, proportion

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
HEADER = (
    "campaign_type,message_channel,topic,date,total_messages_sent,total_opens,total_clicks,"
    "total_unsubscribes,total_bounces,total_purchases\n"
)
ROWS = [
    "bulk,email,sale out,2021-05-03,10000,2000,200,40,10,9",
    "bulk,email,sale out,2021-05-04,10000,1000,100,10,0,1",
    "bulk,email,event,2021-05-04,4000,900,90,5,0,2",
    "bulk,mobile_push,,2021-05-05,5000,500,0,1000,0,0",
    "bulk,mobile_push,sale out,2021-05-06,5000,600,5,100,0,0",
    "transactional,email,order created,2021-05-03,8000,4000,400,4,1,80",
    "trigger,email,subscribed,2021-05-03,1000,300,100,20,90,1",
    "trigger,email,abandoned cart,2021-05-03,2000,300,90,4,1,8",
    "trigger,email,abandoned cart,2021-05-09,3000,500,95,9,1,9",
    "trigger,web_push,abandoned cart,2021-05-09,0,0,0,0,0,0",
]


def written(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    (folder / FILE).write_text(header + "\n".join(rows) + "\n")
    return folder


def test_rates_of_a_small_table(tmp_path: Path) -> None:
    record = measure(written(tmp_path, ROWS))
    assert record.messages == 48_000
    assert record.by_kind_and_channel["bulk email"] == Response(
        messages=24_000,
        block=proportion(55, 24_000),
        open=proportion(3900, 24_000),
        click=proportion(390, 24_000),
        bounce=proportion(10, 24_000),
        purchase=proportion(12, 24_000),
    )
    assert "trigger web_push" not in record.by_kind_and_channel
    assert record.email_by_topic["sale out"].block == proportion(50, 20_000)
    assert record.push_first_broadcast.block == proportion(1000, 5000)
    assert record.push_later.block == proportion(100, 5000)
    assert record.trigger_email_without_welcome.block == proportion(13, 5000)
    by_day = {day: response.block for day, response in record.trigger_email_by_weekday.items()}
    assert by_day == {"Monday": proportion(4, 2000), "Sunday": proportion(9, 3000)}


def test_style_ratio_and_spread_between_campaigns(tmp_path: Path) -> None:
    record = measure(written(tmp_path, ROWS))
    event, transactional = record.style_block_ratio["event"], record.style_block_ratio["transactional"]
    assert event.value == pytest.approx((5 / 4000) / (50 / 20_000))
    assert transactional.value == pytest.approx((4 / 8000) / (50 / 20_000))
    assert event.low is not None
    assert event.high is not None
    assert event.low < event.value < event.high
    error = (1 / 5 - 1 / 4000 + 1 / 50 - 1 / 20_000) ** 0.5
    assert event.high / event.value == pytest.approx(math.exp(1.96 * error), rel=1e-4)
    assert event.low * event.high == pytest.approx(event.value**2)
    # Two campaign-days whose rates differ tenfold: half the log-ratio times the square root of two.
    assert record.campaign_log_sd["mobile_push"].value == pytest.approx(2.302585 / 2**0.5)


def test_the_card_leaves_out_what_push_did_not_record_and_what_is_too_small(tmp_path: Path) -> None:
    names = {line.name for line in figures(written(tmp_path, [*ROWS, "trigger,email,rare,2021-05-03,999,1,1,1,1,1"]))}
    assert "REES46 bulk mobile_push, block" in names
    assert "REES46 bulk mobile_push, click" not in names
    assert "REES46 bulk mobile_push, later, purchase" not in names
    assert "REES46 email topic subscribed, block" in names
    assert not any("rare" in name for name in names)


def test_the_record_is_plain_data(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(asdict(measure(written(tmp_path, ROWS)))))
    assert plain["push_later"]["messages"] == 5000


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (
            ["bulk,email,sale out,2021-05-03,10,20,2,0,0,0"],
            r"'total_opens' is 20 in data row 1; expected at most the 10",
        ),
        (["bulk,email,sale out,3.5.2021,10,2,2,0,0,0"], r"column 'date' holds '3\.5\.2021' in data row 1"),
        (["bulk,email,sale out,2021-05-03,ten,2,2,0,0,0"], r"column 'total_messages_sent' holds 'ten'"),
        ([row for row in ROWS if "push" not in row], r"no messages of the kind 'bulk mobile_push'"),
        (
            [row for row in ROWS if "transactional" not in row],
            r"no messages of the kind 'transactional email'",
        ),
        (
            [row for row in ROWS if "05-06" not in row],
            r"no messages of the kind 'bulk mobile_push after the first day'",
        ),
        (
            [row.replace(",event,2021-05-04,4000,900,90,5", ",event,2021-05-04,4000,900,90,0") for row in ROWS],
            "adds up to 0",
        ),
        (
            [row.replace("10000", "999").replace("2000,200", "9,9") for row in ROWS if "1000,100,10" not in row],
            "expected 2 or more",
        ),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, rows: list[str], complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint) as caught:
        measure(written(tmp_path, rows))
    assert FILE in str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    header = HEADER.replace("total_unsubscribes", "optouts")
    with pytest.raises(
        SourceError, match=r"column 'total_unsubscribes' is missing; expected campaign_type, message_channel"
    ):
        measure(written(tmp_path, ROWS, header))
    with pytest.raises(SourceError, match="no such file"):
        measure(tmp_path / "elsewhere")


@pytest.fixture(scope="module")
def real() -> Rees46:
    if not (DATA / FILE).is_file():
        pytest.skip(f"../shared/data/{FILE} is absent: its rows are not part of the repository")
    return measure(DATA)


# Evidence, part B1: messages, then open, click, block and purchase in per cent of messages, as rounded there.
@pytest.mark.parametrize(
    ("kind", "messages", "opened", "click", "block", "purchase"),
    [
        ("bulk email", 2_834_010, 17.26, 2.86, 0.340, 0.088),
        ("bulk mobile_push", 4_228_385, 11.84, 0.13, 6.70, 0.0),
        ("trigger email", 2_138_268, 17.16, 4.96, 0.448, 0.218),
        ("transactional email", 798_931, 32.15, 5.34, 0.101, 0.648),
    ],
)
def test_evidence_by_kind(
    real: Rees46, kind: str, messages: int, opened: float, click: float, block: float, purchase: float
) -> None:
    response = real.by_kind_and_channel[kind]
    assert response.messages == messages
    assert 100 * response.open.value == pytest.approx(opened, abs=0.006)
    assert 100 * response.click.value == pytest.approx(click, abs=0.006)
    assert 100 * response.block.value == pytest.approx(block, abs=0.004 if block > 1 else 0.0006)
    assert 100 * response.purchase.value == pytest.approx(purchase, abs=0.0006)


def test_evidence_details(real: Rees46) -> None:
    def per_cent(response: Response) -> tuple[float, float, float]:
        share, low, high, _ = response.block
        assert low is not None
        assert high is not None
        return 100 * share, 100 * low, 100 * high

    assert real.messages == 10_000_000
    assert per_cent(real.by_kind_and_channel["bulk email"]) == pytest.approx((0.340, 0.333, 0.346), abs=6e-4)
    assert per_cent(real.push_first_broadcast)[0] == pytest.approx(15.7, abs=0.05)
    assert per_cent(real.push_later) == pytest.approx((3.59, 3.57, 3.61), abs=6e-3)
    assert per_cent(real.trigger_email_without_welcome) == pytest.approx((0.227, 0.220, 0.234), abs=6e-4)
    assert per_cent(real.email_by_topic["event"]) == pytest.approx((0.185, 0.111, 0.259), abs=0.02)
    topics = {
        "subscribed": 1.792,
        "profile updated": 0.512,
        "recent purchase": 0.341,
        "abandoned cart": 0.158,
    }
    topics |= {
        "order created": 0.052,
        "bonuses expired": 0.0,
        "wish list status": 0.0,
        "added to wish list": 0.120,
    }
    assert {topic: per_cent(real.email_by_topic[topic])[0] for topic in topics} == pytest.approx(topics, abs=6e-4)
    assert real.email_by_topic["bonuses expired"].messages == 168_998
    assert real.email_by_topic["subscribed"].bounce.value == pytest.approx(0.095, abs=6e-4)
    week = [per_cent(response)[0] for response in real.trigger_email_by_weekday.values()]
    assert week == pytest.approx([0.226, 0.235, 0.226, 0.225, 0.213, 0.217, 0.245], abs=6e-4)
    ratios = {style: ratio.value for style, ratio in real.style_block_ratio.items()}
    assert ratios == pytest.approx({"event": 0.55, "transactional": 0.30}, abs=0.006)
    spreads = {channel: spread.value for channel, spread in real.campaign_log_sd.items()}
    assert spreads == pytest.approx({"email": 0.32, "mobile_push": 1.07}, abs=6e-3)
