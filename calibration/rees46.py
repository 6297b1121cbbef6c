"""How often people unsubscribe, open, click and buy after messages of a real shop, by channel and topic.

Source: REES46 Open CDP direct messaging, demo part (10 million messages, 2021-04-30 to 2021-06-14), as daily
totals of campaigns by Panagiotis-Savvidis/marketing-campaign-analytics. This file must never write those
totals out, only the summaries below.

Read with care. The intervals treat messages as independent, but campaigns differ (`campaign_log_sd`), so they
are too narrow for the next campaign. A push "unsubscribe" is mostly a dead token found at the next send, most
of all at the first broadcast: the push figures are a flow of lost tokens between sends and must not be used
as a reaction to a message. Purchases are attributed, not caused; to push none is attributed and clicks are
missing before 19 May, so the card shows neither of them for push. Nothing here is randomised: a style ratio
compares different readers too, and only two small campaigns are of the event style.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2

from calibration.sources import (
    Estimate,
    Figure,
    Label,
    SourceError,
    figure,
    positive_estimate,
    proportion,
    read_days,
    read_table,
)

FILE = "rees46_demo_campaign_day_channel.csv"
SOURCE = "REES46 Open CDP direct messaging, demo part, 2021-04-30 to 2021-06-14"

NAMES = ("campaign_type", "message_channel", "topic", "date")
COUNTS = {
    "messages": "total_messages_sent",
    "blocks": "total_unsubscribes",
    "opens": "total_opens",
    "clicks": "total_clicks",
    "bounces": "total_bounces",
    "purchases": "total_purchases",
}
WELCOME, SALE, EVENT = "subscribed", "sale out", "event"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
LEAST_MESSAGES = 1000  # below this a rate says too little for the card, and a campaign's log-rate is mostly noise


@dataclass(frozen=True)
class Response:
    """Shares of sent messages that were followed by an event; `block` is the source's unsubscribe."""

    messages: int
    block: Estimate
    open: Estimate
    click: Estimate
    bounce: Estimate
    purchase: Estimate


@dataclass(frozen=True)
class Rees46:
    """Rates per sent message.

    `by_kind_and_channel`: keys like "bulk email". `email_by_topic`: every topic sent by e-mail.
    `push_first_broadcast`: bulk push on the first day of bulk push; `push_later`: on all later days.
    `trigger_email_by_weekday`: without the welcome message. `style_block_ratio`: block rate relative to a
    bulk sale e-mail. `campaign_log_sd`: by channel, the standard deviation of the log block rate between bulk
    campaign-days of at least 1000 messages.
    """

    messages: int
    by_kind_and_channel: Mapping[str, Response]
    email_by_topic: Mapping[str, Response]
    push_first_broadcast: Response
    push_later: Response
    trigger_email_without_welcome: Response
    trigger_email_by_weekday: Mapping[str, Response]
    style_block_ratio: Mapping[str, Estimate]
    campaign_log_sd: Mapping[str, Estimate]


def measure(folder: Path) -> Rees46:
    """The record of this source, read in `folder`; `SourceError` where the file is missing or wrong."""
    table = _read(folder)
    is_bulk, is_trigger = table["campaign_type"] == "bulk", table["campaign_type"] == "trigger"
    is_email, is_push = table["message_channel"] == "email", table["message_channel"] == "mobile_push"
    push = _filled(table[is_bulk & is_push], "bulk mobile_push")
    is_first = push["date"] == push["date"].min()
    triggers = _filled(table[is_trigger & is_email & (table["topic"] != WELCOME)], "trigger email without welcome")
    kinds = table["campaign_type"] + " " + table["message_channel"]
    emails = table[is_email & (table["topic"] != "")]
    topics = {str(topic): _response(rows) for topic, rows in emails.groupby("topic")}
    sale = _filled(table[is_bulk & is_email & (table["topic"] == SALE)], "bulk sale email")
    event = _filled(table[is_bulk & is_email & (table["topic"] == EVENT)], "bulk event email")
    transactional = _filled(table[is_email & (table["campaign_type"] == "transactional")], "transactional email")
    return Rees46(
        messages=int(table["messages"].sum()),
        by_kind_and_channel={str(kind): _response(rows) for kind, rows in table.groupby(kinds)},
        email_by_topic=topics,
        push_first_broadcast=_response(push[is_first]),
        push_later=_response(_filled(push[~is_first], "bulk mobile_push after the first day")),
        trigger_email_without_welcome=_response(triggers),
        trigger_email_by_weekday={
            WEEKDAYS[int(str(number))]: _response(rows)
            for number, rows in triggers.groupby(triggers["date"].dt.day_of_week)
        },
        style_block_ratio={
            "event": _block_ratio(event, sale),
            "transactional": _block_ratio(transactional, sale),
        },
        campaign_log_sd={
            "email": _campaign_log_sd(table[is_bulk & is_email]),
            "mobile_push": _campaign_log_sd(push),
        },
    )


def _read(folder: Path) -> pd.DataFrame:
    path = folder / FILE
    table = read_table(path, [*NAMES, *COUNTS.values()], list(COUNTS.values()))
    table = table.rename(columns={column: name for name, column in COUNTS.items()})
    for name, column in COUNTS.items():
        wrong = table[name] > table["messages"]
        if wrong.any():
            row = int(np.flatnonzero(wrong.to_numpy())[0])
            raise SourceError(
                f"{path}: column {column!r} is {table[name].iloc[row]:.0f} in data row {row + 1}; "
                f"expected at most the {table['messages'].iloc[row]:.0f} messages sent"
            )
    days = read_days(path, table["date"], "%Y-%m-%d")
    return table.assign(date=days, topic=table["topic"].fillna(""))[table["messages"] > 0]


def _filled(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    if rows["messages"].sum() == 0:
        raise SourceError(
            f"{FILE}: no messages of the kind {what!r} in columns campaign_type, message_channel, topic, date"
        )
    return rows


def _response(rows: pd.DataFrame) -> Response:
    sent = float(rows["messages"].sum())
    block, opened, click, bounce, purchase = (
        proportion(float(rows[name].sum()), sent) for name in ("blocks", "opens", "clicks", "bounces", "purchases")
    )
    return Response(messages=int(sent), block=block, open=opened, click=click, bounce=bounce, purchase=purchase)


def _block_ratio(rows: pd.DataFrame, reference: pd.DataFrame) -> Estimate:
    """Ratio of two block rates; the interval is normal in the logarithm (Katz et al. 1978)."""
    counts = [float(rows["blocks"].sum()), float(reference["blocks"].sum())]
    sent = [float(rows["messages"].sum()), float(reference["messages"].sum())]
    if min(counts) == 0:
        raise SourceError(f"{FILE}: column {COUNTS['blocks']!r} adds up to 0 for a style; expected at least 1")
    variance = 1 / counts[0] - 1 / sent[0] + 1 / counts[1] - 1 / sent[1]
    return positive_estimate(float(np.log(counts[0] / sent[0]) - np.log(counts[1] / sent[1])), variance**0.5)


def _campaign_log_sd(rows: pd.DataFrame) -> Estimate:
    """Spread of log block rates; the interval is the one of normal data."""
    large = rows[(rows["messages"] >= LEAST_MESSAGES) & (rows["blocks"] > 0)]
    if len(large) < 2:
        raise SourceError(
            f"{FILE}: {len(large)} bulk campaign-days of a channel with a block and at least "
            f"{LEAST_MESSAGES} messages; expected 2 or more"
        )
    deviation = float(np.log(large["blocks"] / large["messages"]).std(ddof=1))
    freedom = len(large) - 1
    high, low = (deviation * float(freedom / chi2.ppf(tail, freedom)) ** 0.5 for tail in (0.025, 0.975))
    return Estimate(deviation, low, high)


def figures(folder: Path) -> list[Figure]:
    """What a calibration card may show of this source; `SourceError` where the file is missing or wrong."""
    record = measure(folder)
    groups = {
        **record.by_kind_and_channel,
        "bulk mobile_push, first broadcast": record.push_first_broadcast,
        "bulk mobile_push, later": record.push_later,
        "trigger email without welcome": record.trigger_email_without_welcome,
        **{f"email topic {topic}": response for topic, response in record.email_by_topic.items()},
    }
    lines = []
    for group, response in groups.items():
        if response.messages < LEAST_MESSAGES:
            continue
        shares = {"block": response.block, "open": response.open}
        if "push" not in group:
            shares |= {"click": response.click, "purchase": response.purchase}
        lines += [_line(f"{group}, {event}", share, "share of sent messages") for event, share in shares.items()]
    for day, response in record.trigger_email_by_weekday.items():
        lines.append(_line(f"trigger email without welcome on {day}, block", response.block, "share of sent messages"))
    for style, ratio in record.style_block_ratio.items():
        lines.append(_line(f"email block rate, {style} relative to sale", ratio, "ratio", "DERIVED"))
    for channel, deviation in record.campaign_log_sd.items():
        lines.append(
            _line(f"bulk {channel}, log block rate between campaign-days, sd", deviation, "log units", "DERIVED")
        )
    return lines


def _line(name: str, estimate: Estimate, unit: str, label: Label = "FOUND") -> Figure:
    return figure(f"REES46 {name}", estimate, unit, label, SOURCE)
