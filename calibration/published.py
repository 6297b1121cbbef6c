"""What has been published or measured about blocking, opening and buying, with the band a simulation must fall in.

A summary table of our own: never rows of a source, and never a number without saying where it is from. Vendor
benchmarks are attributed figures of senders that a platform selected. A band without limits passes everything, and
such a row of a card says "no data".
"""

from typing import NamedTuple

from calibration.retail_targets import Constants, Targets
from calibration.sources import Label


class Band(NamedTuple):
    """A published figure and what is accepted; None where nothing is published or a side is open."""

    value: float | None
    low: float | None
    high: float | None
    label: Label
    source: str


_REES46 = "REES46 Open CDP direct messaging, demo part of 10 million messages, 2021"
_HILLSTROM = "Hillstrom, MineThatData E-Mail Analytics Challenge, 2008 (randomised)"
_CDNOW = "CDNOW master data (Fader & Hardie), 1997-98"
_NEWSLETTER = "third-party aggregate of a daily book newsletter, 705,144 subscribers, 2014-17"
_NOTHING = "no figure found"
_MAILCHIMP = "Mailchimp benchmarks 2019, https://mailchimp.com/resources/email-marketing-benchmarks/"
_BSANDCO = "agency, 7.1 million sends, https://bsandco.us/blog-post/ecommerce-email-marketing-benchmarks-january-2026"
_LINE = "LINE block rates, https://mico-inc.com/blog/line-block-rate/; 25 % over 24 to 104 messages"
_KLAVIYO = "Klaviyo, https://help.klaviyo.com/hc/en-us/articles/4404612542619"
_PUSH = "https://www.businessofapps.com/marketplace/push-notifications/research/push-notifications-statistics/"
_WHATSAPP = "https://richautomate.in/blog/whatsapp-marketing-benchmarks-india-2026"
_TEMPTING = "Wang, Greenwood & Pavlou 2020, https://papers.ssrn.com/sol3/papers.cfm?abstract_id=2999804"

# As `calibration.retail_targets.measure` finds them in the data files.
TARGETS = Targets(
    email_block=0.003395,
    event_ratio=0.5445,
    service_ratio=0.2980,
    email_open=0.1726,
    push_open=0.1150,
    push_lost=0.03593,
    survival=(0.935, 0.868, 0.786),
    effect_mens=0.006805,
    effect_womens=0.003111,
    on_to_off=6.678,
    orders_year=1.469,
    orders_cv=2.198,
    orders_quarter=0.2722,
)
CONSTANTS = Constants(
    base_days=119,
    email_gap=7,
    push_gap=6,
    frailty=3.82,
    weekend_block=0.031,
    womens_share=0.55,
    order_value=24.9,
    order_value_between=0.444,
    order_value_within=0.58,
)

BLOCK = {
    "email": Band(
        0.0025, 0.001, 0.005, "FOUND", f"{_MAILCHIMP}: .25 %; Campaign Monitor .1 %; above .5 % is a warning"
    ),
    "push": Band(0.003, 0.001, 0.005, "ASSUMED", "no rate a message found; .1 to .5 % is our assumption"),
    "messenger": Band(0.006, 0.0028, 0.012, "DERIVED", _LINE),
    "sms": Band(0.009, 0.005, 0.02, "FOUND", f"{_KLAVIYO}: .6 to 1.4 % is good, 2 % critical"),
    "social": Band(None, None, None, "ASSUMED", _NOTHING),
}
OPEN = {
    "email": Band(0.227, 0.15, 0.40, "FOUND", f"{_MAILCHIMP}: 22.7 %; {_BSANDCO}: 38 %, inflated by privacy proxies"),
    "push": Band(0.046, 0.03, 0.13, "FOUND", f"{_PUSH}: reactions 4.6 % and 3.4 %; REES46 opens 11.8 %"),
    "messenger": Band(0.68, 0.38, 0.90, "FOUND", f"{_WHATSAPP}: measured 68 %, 38 % at scale"),
    "sms": Band(0.9, 0.7, 0.98, "RECALLED", "about 90 %, not checked"),
    "social": Band(0.1, 0.05, 0.20, "RECALLED", "5 to 20 %, not checked"),
}
ORDER = {
    "email": Band(0.0008, 0.0005, 0.0015, "FOUND", f"{_BSANDCO}: campaigns .08 %, attributed; REES46 bulk .088 %"),
    "push": Band(0.001, 0.0005, 0.003, "RECALLED", ".05 to .3 %, not checked"),
    "messenger": Band(0.006, 0.003, 0.01, "RECALLED", ".3 to 1 %, not checked"),
    "sms": Band(
        0.015, 0.003, 0.02, "FOUND", "Klaviyo, https://help.klaviyo.com/hc/en-us/articles/360051110111: 1 to 2 %"
    ),
    "social": Band(None, None, None, "ASSUMED", _NOTHING),
}
ORDERS_YEAR = Band(
    4.0, 1.2, 5.5, "RECALLED", f"3 to 5 orders a year, not checked; {_CDNOW}: 1.47 from everybody who ever came"
)
ORDERS_CV = Band(2.2, 1.0, 2.6, "FOUND", f"{_CDNOW}: counts of a year vary by 2.2 times their mean; grocery about 1")
CHURN = Band(
    0.035, 0.02, 0.05, "FOUND", "usual range; Ascarza et al. 2016: 6 % in three months without contact, 10 % with"
)
DECLINE = Band(0.105, 0.03, 0.35, "DERIVED", f"{_NEWSLETTER}: hazard of messages 88 to 313 relative to 1 to 16")
YEARLY = Band(
    0.12, 0.05, 0.35, "DERIVED", f"52 e-mails at .25 %: 12 %; {_NEWSLETTER}: 10 % after 52; LINE accounts 20 to 30 %"
)
SATURATION = Band(
    1.95,
    1.2,
    2.7,
    "FOUND",
    "one firm, https://blog.minethatdata.com/2018/05/email-frequency.html: demand at 3.5 contacts a week",
)
_ZHANG = "Zhang, Kumar & Cosguner 2017, https://eprints.exchange.isb.edu/id/eprint/520/"
TOO_MANY = Band(0.16, 0.01, None, "FOUND", f"{_ZHANG}: 10 e-mails rather than the best 7 lose 16 %; here at least 1 %")
TOO_FEW = Band(0.32, 0.01, None, "FOUND", f"{_ZHANG}: 4 e-mails rather than the best 7 lose 32 %; here at least 1 %")
GREEDY = Band(None, None, 0.0, "FOUND", "myopic mailing loses in the long run (sign): Simester, Sun & Tsitsiklis 2006")
LIFT = Band(1.06, 1.0, None, "FOUND", f"{_TEMPTING}: +6 % purchases in the short run")
PROVOKED = Band(3.8, 2.0, None, "FOUND", f"{_TEMPTING}: +280 % unfollowing")
REVERSAL = Band(
    364.0,
    28.0,
    728.0,
    "FOUND",
    "Meta 2022, https://medium.com/@AnalyticsAtMeta/notifications-why-less-is-more-how-facebook-has-been-increasing-"
    "both-user-satisfaction-and-app-9463f7325e7d: usage fell at first and was higher after about a year",
)
APART = Band(None, 0.01, None, "ASSUMED", "nobody has published shares of customers with opposed signs")

RETAIL = {
    "email_block": Band(
        TARGETS.email_block, 0.0017, 0.0040, "FOUND", f"{_REES46}: bulk e-mail; campaigns .167 to .397 %"
    ),
    "event_ratio": Band(TARGETS.event_ratio, 0.365, 0.812, "DERIVED", f"{_REES46}: event against sale e-mails"),
    "service_ratio": Band(
        TARGETS.service_ratio, 0.25, 0.35, "DERIVED", f"{_REES46}: transactional against sale e-mails"
    ),
    "email_open": Band(TARGETS.email_open, 0.15, 0.20, "FOUND", f"{_REES46}: bulk e-mail"),
    "push_open": Band(TARGETS.push_open, 0.09, 0.14, "FOUND", f"{_REES46}: bulk push after the first broadcast"),
    "push_lost": Band(TARGETS.push_lost, 0.023, 0.067, "FOUND", f"{_REES46}: later push sends lose 2.3 to 6.7 %"),
    "push_stock": Band(
        0.157, None, None, "FOUND", f"{_REES46}: first broadcast; when it was last written to is not known"
    ),
    "effect_mens": Band(TARGETS.effect_mens, 0.0050, 0.0086, "DERIVED", _HILLSTROM),
    "effect_womens": Band(TARGETS.effect_womens, 0.0015, 0.0047, "DERIVED", _HILLSTROM),
    "on_to_off": Band(TARGETS.on_to_off, 3.02, 14.8, "DERIVED", f"{_HILLSTROM}: visits"),
    "attributed": Band(
        0.00088, 0.0005, 0.0022, "FOUND", f"{_REES46}: attributed, bulk .088 %, triggers .22 %, all addresses"
    ),
    "orders_year": Band(TARGETS.orders_year, 1.40, 1.54, "FOUND", _CDNOW),
    "orders_cv": Band(TARGETS.orders_cv, 1.9, 2.5, "FOUND", _CDNOW),
    "orders_quarter": Band(TARGETS.orders_quarter, 0.25, 0.295, "FOUND", _CDNOW),
}
SURVIVAL_ROOM = 0.03  # to each side: the points are an approximate Kaplan-Meier curve of another firm


def survival_bands() -> list[Band]:
    """The newsletter's survival points, in order."""
    return [
        Band(share, share - SURVIVAL_ROOM, share + SURVIVAL_ROOM, "DERIVED", _NEWSLETTER) for share in TARGETS.survival
    ]
