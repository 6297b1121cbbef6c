"""Read the public REES46 "direct messaging" log (messages-demo.csv and its kin) as a message log.

The schema is that of the data set on Kaggle (mkechinov/direct-messaging). Its messages tell of a purchase that was
attributed to them, not of its amount, so that orders have none. This file must never read the shop's events, nor
pretend that an attributed purchase was caused.

An unsubscribe or a spam complaint is a block. A bounce, or a refusal by the provider (is_blocked), is a message that
failed. Times are taken as those of the shop, as nothing is said of a zone; a push "unsubscribe" is mostly a dead
token that the next send found, see `calibration.rees46`.
"""

from pathlib import Path

from calibration.logs.engine import MEMORY
from calibration.logs.files import Paths
from calibration.logs.ingest import Progress, ingest
from calibration.logs.manifest import Manifest
from calibration.logs.mapping import Lookup, Mapping, MessageColumns, OrderColumns

CHANNELS = {
    "email": "email",
    "mobile_push": "push",
    "multichannel": "multichannel",
    "sms": "sms",
    "web_push": "web_push",
}
SLOTS = {"night": (22, 6), "morning": (6, 12), "afternoon": (12, 17), "evening": (17, 22)}


def mapping(campaigns: str | Path | None = None) -> Mapping:
    """The mapping of this schema.

    Styles are kinds of messages: bulk, trigger, transactional; with the file `campaigns` (campaigns.csv) also their
    topics, as "bulk_sale_out".
    """
    lookup = None
    if campaigns is not None:
        lookup = Lookup(file=str(campaigns), match={"campaign_id": "id", "message_type": "campaign_type"})
    messages = MessageColumns(
        customer=("client_id",),
        id=("message_id",),
        sent_at=("sent_at",),
        channel=("channel",),
        slot=None,
        style=("message_type",) if campaigns is None else ("message_type", "topic"),
        product=None,
        delivered=None,
        failed=("is_hard_bounced", "is_soft_bounced", "is_blocked"),
        opened=("is_opened",),
        opened_at=("opened_first_time_at",),
        clicked=("is_clicked",),
        clicked_at=("clicked_first_time_at",),
        blocked=("is_unsubscribed", "is_complained"),
        blocked_at=("unsubscribed_at", "complained_at"),
        propensity=None,
        lookup=lookup,
    )
    orders = OrderColumns(
        customer=("client_id",),
        id=("message_id",),
        at=("purchased_at",),
        amount=None,
        margin=None,
        discount=None,
        where=("is_purchased",),
    )
    return Mapping(channels=CHANNELS, slots=SLOTS, messages=messages, orders=orders)


def ingest_rees46(
    out: str | Path,
    messages: Paths,
    campaigns: str | Path | None = None,
    *,
    memory: str = MEMORY,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Make the folder `out` of the message files; see `ingest` for the rest.

    Raises:
        LogError: a file is missing, or is not of this schema.
    """
    read = mapping(campaigns)
    return ingest(out, messages, orders=messages, mapping=read, memory=memory, threads=threads, progress=progress)
