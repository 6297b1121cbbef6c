"""The named worlds that everybody is compared on, each isolating one thing a sender must learn.

A change of any number here makes a new version of that scenario: published results carry its digest. Never let
one scenario's numbers depend on another's by mutation; records are frozen, and variants are built with `_variant`.
"""

from typing import Any

from blockenv.scenarios.retail import RETAIL
from blockenv.scenarios.schema import Calendar, Channel, Provenance, Scenario, Segment, Spread, Style, changed

PUSH = Channel(
    name="push",
    load=1.0,
    cost=0.0005,
    block_probability=0.0015,
    open_logit=-2.2,
    buy_logit=-4.0,
    visibility="next_send",
    opt_in=0.6,
)
MESSENGER = Channel(
    name="messenger",
    load=1.3,
    cost=0.04,
    block_probability=0.003,
    open_logit=0.6,
    buy_logit=-5.0,
    visibility="next_send",
    opt_in=0.5,
)
SMS = Channel(name="sms", load=1.5, cost=0.045, block_probability=0.005, open_logit=1.4, buy_logit=-4.9, opt_in=0.35)
EMAIL = Channel(
    name="email", load=0.6, cost=0.0015, block_probability=0.0008, open_logit=-1.2, buy_logit=-5.4, opt_in=0.8
)
SOCIAL = Channel(
    name="social", load=0.5, cost=0.0005, block_probability=0.0015, open_logit=-2.2, buy_logit=-5.1, opt_in=0.4
)

_CHANNELS = {channel.name: channel for channel in (PUSH, MESSENGER, SMS, EMAIL, SOCIAL)}
SLOTS = ("commute", "work", "evening")
STYLES = (Style(name="promo", discount=0.1), Style(name="info"), Style(name="personal"))
PRODUCTS = ("fashion", "home", "media")

SEGMENTS = (
    Segment(
        name="deal_seeker",
        weight=0.30,
        ideal_load=5.0,
        reactance=0.35,
        reciprocity=0.04,
        style_block={"promo": -0.5, "info": 0.2, "personal": -0.1},
        slot_block={"commute": 0.3, "work": 0.0, "evening": -0.2},
        style_buy={"promo": 0.6, "info": -0.3, "personal": 0.2},
        relevance={"fashion": 0.9, "home": 0.4, "media": 0.1},
        weekend_block=-0.2,
        churn_contact=-0.10,
        resting_bond=0.20,
        organic_rate=0.010,
    ),
    Segment(
        name="informed_fan",
        weight=0.25,
        ideal_load=3.0,
        reactance=0.30,
        reciprocity=0.08,
        style_block={"promo": 0.6, "info": -0.5, "personal": -0.2},
        slot_block={"commute": 0.5, "work": 0.3, "evening": -0.4},
        style_buy={"promo": -0.2, "info": 0.4, "personal": 0.3},
        relevance={"fashion": 0.2, "home": 0.8, "media": 0.5},
        weekend_block=0.4,
        churn_contact=-0.15,
        resting_bond=0.35,
        organic_rate=0.012,
    ),
    Segment(
        name="reactant",
        weight=0.25,
        ideal_load=0.8,
        reactance=0.55,
        reciprocity=0.0,
        style_block={"promo": 0.5, "info": 0.0, "personal": 0.7},
        slot_block={"commute": 0.9, "work": 0.6, "evening": 0.1},
        style_buy={"promo": -0.2, "info": 0.1, "personal": -0.4},
        relevance={"fashion": 0.5, "home": 0.3, "media": 0.7},
        weekend_block=0.8,
        churn_contact=0.60,
        resting_bond=0.30,
        organic_rate=0.010,
    ),
    Segment(
        name="forgetful",
        weight=0.20,
        ideal_load=3.5,
        reactance=0.25,
        reciprocity=0.12,
        style_block={"promo": 0.1, "info": -0.1, "personal": -0.3},
        slot_block={"commute": -0.2, "work": 0.5, "evening": 0.1},
        style_buy={"promo": 0.2, "info": 0.1, "personal": 0.4},
        relevance={"fashion": 0.6, "home": 0.7, "media": 0.2},
        weekend_block=-0.4,
        churn_contact=-0.30,
        resting_bond=0.05,
        organic_rate=0.008,
    ),
)

_PROVENANCE = {
    "channels.push.block_probability": Provenance(
        label="ASSUMED", source="no rate a message found; between .1 and .5 %"
    ),
    "channels.social.block_probability": Provenance(
        label="ASSUMED", source="a post multiplies unfollowing; its level was not found"
    ),
    "channels.sms.open_logit": Provenance(label="RECALLED", source="about nine in ten are read, by common belief"),
    "channels.social.open_logit": Provenance(label="RECALLED", source="between 5 and 20 % of followers see a post"),
    "channels.push.buy_logit": Provenance(label="RECALLED", source="delivered conversion of .05 to .3 %"),
    "channels.messenger.buy_logit": Provenance(label="RECALLED", source="delivered conversion of .3 to 1 %"),
    "channels.social.cost": Provenance(label="ASSUMED", source="close to nothing"),
}

_OMNICHANNEL = Scenario(
    name="Omnichannel-v0",
    isolates="everything at once: whom, when, on which channel, in which style, about what",
    channels=(PUSH, MESSENGER, SMS, EMAIL, SOCIAL),
    slots=SLOTS,
    styles=STYLES,
    products=PRODUCTS,
    segments=SEGMENTS,
    provenance=_PROVENANCE,
)


_ONLY_PRODUCT = 0.8  # relevance where a firm has one product: its customers came for it


def _variant(name: str, isolates: str, **changes: Any) -> Scenario:
    """Omnichannel with other numbers; effects on slots, styles and products it no longer has are dropped."""
    fields = {**dict(_OMNICHANNEL), "name": name, "isolates": isolates, **changes}
    if fields["products"] == ("any",):
        fields["segments"] = tuple(changed(segment, relevance={"any": _ONLY_PRODUCT}) for segment in fields["segments"])
    kept = {
        "style_block": {style.name for style in fields["styles"]},
        "style_buy": {style.name for style in fields["styles"]},
        "slot_block": set(fields["slots"]),
        "relevance": set(fields["products"]),
    }
    fields["segments"] = tuple(
        changed(
            segment,
            **{
                effect: {key: value for key, value in getattr(segment, effect).items() if key in names}
                for effect, names in kept.items()
            },
        )
        for segment in fields["segments"]
    )
    names = {channel.name for channel in fields["channels"]}
    assumed = Provenance(label="ASSUMED", source=f"set for {name}: {isolates}")
    fields["provenance"] = {path: source for path, source in _PROVENANCE.items() if path.split(".")[1] in names} | {
        f"channels.{channel.name}.{field}": assumed
        for channel in fields["channels"]
        for field in ("block_probability", "visibility")
        if getattr(channel, field) != getattr(_CHANNELS[channel.name], field)
    }
    return Scenario(**fields)


def _open_to_all(channel: Channel, **changes: Any) -> Channel:
    return changed(channel, **{"opt_in": 1.0, **changes})


_ONE_SLOT: dict[str, Any] = {"slots": ("any",)}
_ONE_STYLE: dict[str, Any] = {"styles": (Style(name="plain"),)}
_ONE_PRODUCT: dict[str, Any] = {"products": ("any",)}

_NO_WEEKEND: dict[str, Any] = {
    "segments": tuple(changed(segment, weekend_block=0.0) for segment in SEGMENTS),
    "spread": Spread(weekend=0.0),
}

OPPOSITES = (
    Segment(
        name="sociable",
        weight=0.5,
        ideal_load=4.5,
        reactance=0.3,
        reciprocity=0.10,
        style_block={"promo": -0.6, "info": 0.6, "personal": -0.6},
        slot_block={"commute": -0.5, "work": 0.5, "evening": 0.0},
        style_buy={"promo": 0.6, "info": -0.4, "personal": 0.4},
        relevance={"fashion": 0.9, "home": 0.2},
        churn_contact=-0.30,
        resting_bond=0.20,
        organic_rate=0.010,
    ),
    Segment(
        name="private",
        weight=0.5,
        ideal_load=0.8,
        reactance=0.5,
        reciprocity=0.0,
        style_block={"promo": 0.6, "info": -0.6, "personal": 0.6},
        slot_block={"commute": 0.9, "work": -0.3, "evening": 0.4},
        style_buy={"promo": -0.4, "info": 0.6, "personal": -0.4},
        relevance={"fashion": 0.2, "home": 0.9},
        churn_contact=0.50,
        resting_bond=0.30,
        organic_rate=0.010,
    ),
)

_CANON = (
    _variant(
        "Frequency-v0",
        "when to speak at all: one channel, one message",
        channels=(_open_to_all(EMAIL),),
        **_ONE_SLOT,
        **_ONE_STYLE,
        **_ONE_PRODUCT,
        **_NO_WEEKEND,
    ),
    _variant(
        "Timing-v0",
        "slots of the day and days of the week",
        channels=(_open_to_all(PUSH),),
        **_ONE_STYLE,
        **_ONE_PRODUCT,
    ),
    _variant(
        "Style-v0",
        "styles with opposed effects",
        channels=(_open_to_all(PUSH), _open_to_all(EMAIL)),
        **_ONE_SLOT,
        **_ONE_PRODUCT,
        **_NO_WEEKEND,
    ),
    _variant(
        "Product-v0",
        "relevance of what the message is about",
        channels=(_open_to_all(EMAIL), _open_to_all(MESSENGER)),
        **_ONE_SLOT,
        **_ONE_STYLE,
        **_NO_WEEKEND,
    ),
    _variant(
        "Opposites-v0",
        "two kinds of customers whose signs oppose, hardly told apart by any covariate",
        channels=(_open_to_all(PUSH), _open_to_all(EMAIL)),
        segments=OPPOSITES,
        products=("fashion", "home"),
        hint_noise=3.0,
    ),
    _OMNICHANNEL,
    _variant(
        "Silent-v0",
        "Omnichannel with blocks that the firm never gets to see",
        channels=tuple(changed(channel, visibility="never") for channel in _OMNICHANNEL.channels),
    ),
    _variant(
        "Winback-v0",
        "channels that can be won back",
        channels=tuple(
            _open_to_all(channel, win_back_rate=0.004, block_probability=3 * channel.block_probability)
            for channel in (PUSH, EMAIL, MESSENGER)
        ),
        **_ONE_SLOT,
        **_NO_WEEKEND,
    ),
    _variant(
        "Drift-v0",
        "customers who grow more sensitive over the first year",
        channels=(_open_to_all(PUSH), _open_to_all(EMAIL)),
        calendar=Calendar(tolerance_drift=0.7, season=0.2),
        **_ONE_SLOT,
        **_ONE_PRODUCT,
        **_NO_WEEKEND,
    ),
    RETAIL,
    _variant(
        "NoBlocking-v0",
        "the ablation: nobody ever blocks, so a result that survives here is not about blocking",
        channels=tuple(changed(channel, block_probability=0.0) for channel in _OMNICHANNEL.channels),
    ),
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _CANON}
