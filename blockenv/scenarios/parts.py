"""The parts of a scenario: channels, styles, kinds of customers, and the numbers that all customers share.

This module only says which numbers there are, in which unit and range, and where their defaults come from; it never
holds the numbers of a particular world.
"""

from typing import Annotated, Literal

from pydantic import Field

from blockenv.scenarios.records import NO_SOURCE, Effect, Label, Name, Record, number

Visibility = Literal["at_once", "next_send", "never"]


class Provenance(Record):
    """Where the numbers of one part of a scenario come from, when not from the field's own default."""

    label: Label
    source: str = Field(min_length=1)


class Channel(Record):
    """A way to reach a customer, which the customer can block."""

    name: Name
    load: float = number(
        "fatigue units a message", "ASSUMED", "Godfrey et al. 2011: several channels add up; sizes are ours", ge=0, le=5
    )
    cost: float = number("money a message", "FOUND", "published tariffs, see docs/evidence.md", ge=0, le=10)
    block_probability: float = number(
        "probability a message, median customer at ideal load and bond 1/2",
        "DERIVED",
        "published opt-outs a message, halved: a pooled rate is above the median's, as customers differ",
        ge=0,
        lt=1,
    )
    background_share: float = number(
        "daily hazard without a message, share of the hazard of a message",
        "DERIVED",
        "Wang, Greenwood & Pavlou 2020: a post multiplies unfollowing by 3.8, so silence is not perfectly safe; "
        "per day rather than per post, hence far below 1/3.8",
        default=0.02,
        ge=0,
        le=1,
    )
    open_logit: float = number("logit of opening a delivered message", "FOUND", "open rates by channel", ge=-12, le=12)
    buy_logit: float = number(
        "logit of ordering after an open", "DERIVED", "delivered conversion divided by open rate", ge=-20, le=5
    )
    visibility: Visibility = number(
        "when the firm learns of a block", "FOUND", "see docs/evidence.md: a property of the channel", default="at_once"
    )
    opt_in: float = number(
        "share of customers reachable on the first day", "ASSUMED", "sources conflict", default=1.0, ge=0, le=1
    )
    win_back_rate: float = number(
        "probability a day that a blocked channel reopens at bond 1/2",
        "ASSUMED",
        "nobody has measured it; 0 by default",
        default=0.0,
        ge=0,
        le=0.2,
    )


class Style(Record):
    """How a message speaks; a style may promise a discount."""

    name: Name
    discount: float = number(
        "share of the order's value, if the message was opened",
        "ASSUMED",
        "usual retail coupon",
        default=0.0,
        ge=0,
        le=0.9,
    )


class Segment(Record):
    """The centre of one kind of customer. Effects that are not listed are zero, a relevance not listed is 1/2."""

    name: Name
    weight: float = number("share of the population", "ASSUMED", "no source gives shares", gt=0, le=1e6)
    ideal_load: float = number(
        "fatigue units", "ASSUMED", "stated thresholds of 1 to 10 messages a week (Localytics 2017)", gt=0, le=20
    )
    reactance: float = number(
        "log-hazard a unit of load above the ideal", "ASSUMED", "form: Godfrey et al. 2011; range .2 to .6", ge=0, le=3
    )
    reciprocity: float = number(
        "log-hazard a unit of load below the ideal", "ASSUMED", "form: Godfrey et al. 2011; range 0 to .12", ge=0, le=1
    )
    style_block: dict[Name, Effect] = number(
        "log-hazard by style", "ASSUMED", "Sahni et al. 2018: -.19; signs differ", default={}
    )
    slot_block: dict[Name, Effect] = number(
        "log-hazard by slot", "ASSUMED", "Tempting Fate: commuting hours worse", default={}
    )
    style_buy: dict[Name, Effect] = number("logit of ordering by style", "ASSUMED", "Ellickson et al.", default={})
    relevance: dict[Name, Annotated[float, Field(ge=0, le=1)]] = number(
        "relevance by product, 0 to 1", "ASSUMED", "irrelevance is the first-named cause of blocking", default={}
    )
    weekend_block: float = number(
        "log-hazard of a weekend message",
        "ASSUMED",
        "retail SMS: 1.8 % on weekdays, 8.5 % at weekends",
        default=0.0,
        ge=-3,
        le=3,
    )
    churn_contact: float = number(
        "log-hazard of churn on a day with contact",
        "ASSUMED",
        "sign and upper end from Ascarza et al. 2016; shares and sizes are ours",
        ge=-3,
        le=3,
    )
    resting_bond: float = number("bond without contact, 0 to 1", "ASSUMED", "Nerlove & Arrow 1962 (form)", ge=0, le=1)
    organic_rate: float = number("orders a day without messages", "RECALLED", "3 to 5 orders a year", ge=0, le=1)


class Spread(Record):
    """How far customers of one segment differ from its centre."""

    ideal_load: float = number(
        "log standard deviation", "ASSUMED", "evidence: thresholds spread widely", default=0.3, ge=0, le=2
    )
    effect: float = number(
        "standard deviation of style and slot effects", "ASSUMED", "range .2 to .4", default=0.2, ge=0, le=3
    )
    weekend: float = number("standard deviation of the weekend effect", "ASSUMED", NO_SOURCE, default=0.2, ge=0, le=3)
    relevance: float = number("standard deviation", "ASSUMED", "clipped to 0..1", default=0.1, ge=0, le=1)
    frailty: float = number(
        "standard deviation of the log block rate of a customer, all channels",
        "DERIVED",
        "the pooled hazard of a daily newsletter falls tenfold with exposure by sorting alone",
        default=0.9,
        ge=0,
        le=4,
    )
    channel_block: float = number(
        "log standard deviation, channel by channel", "ASSUMED", NO_SOURCE, default=0.3, ge=0, le=3
    )
    open_logit: float = number(
        "standard deviation of a customer's open logits", "ASSUMED", NO_SOURCE, default=0.5, ge=0, le=4
    )
    buy_logit: float = number(
        "standard deviation of a customer's order logits", "ASSUMED", NO_SOURCE, default=0.4, ge=0, le=4
    )
    churn_contact: float = number("standard deviation", "ASSUMED", NO_SOURCE, default=0.1, ge=0, le=2)
    resting_bond: float = number("standard deviation, clipped to 0..1", "ASSUMED", NO_SOURCE, default=0.05, ge=0, le=1)
    organic_shape: float = number(
        "shape of the Gamma distribution of organic rates (CV = shape^-1/2)",
        "RECALLED",
        "BG/NBD tradition, CV about 1",
        default=1.0,
        gt=0,
        le=100,
    )
    order_value: float = number(
        "log standard deviation between customers", "FOUND", "CDNOW, Hillstrom", default=0.4, ge=0, le=3
    )


class Fatigue(Record):
    """Load that wears off: one ladder shared by all channels."""

    half_life: float = number("days", "ASSUMED", "evidence between 3 and 21 days", default=7.0, gt=0, le=365)
    top: float = number(
        "fatigue units at the highest level", "ASSUMED", "daily pushes rest at 10.6", default=12.0, ge=0.01, le=100
    )
    levels: int = number(
        "levels of the ladder", "ASSUMED", "a finite ladder makes the optimum exact", default=17, ge=2, le=200
    )
    start: float = number("fatigue units on the first day", "ASSUMED", "nobody has been contacted", default=0.0, ge=0)


class Bond(Record):
    """Goodwill between 0 and 1, on a ladder; relevant contacts and orders build it, overload and blocks wear it."""

    half_life: float = number("days", "ASSUMED", "evidence between 30 and 180 days", default=60.0, gt=0, le=3650)
    levels: int = number(
        "levels of the ladder", "ASSUMED", "a finite ladder makes the optimum exact", default=11, ge=2, le=200
    )
    start: float = number("bond on the first day", "ASSUMED", "a new customer", default=0.4, ge=0, le=1)
    relevant_open: float = number(
        "bond an open at full relevance", "ASSUMED", "range .02 to .05", default=0.03, ge=0, le=1
    )
    neutral_relevance: float = number(
        "relevance at which an open builds nothing", "ASSUMED", NO_SOURCE, default=0.35, ge=0, le=1
    )
    overload: float = number(
        "bond a unit of load above the ideal, a message", "ASSUMED", NO_SOURCE, default=0.006, ge=0, le=1
    )
    order: float = number("bond an order", "ASSUMED", "range .03 to .08", default=0.05, ge=0, le=1)
    block: float = number("bond a block", "ASSUMED", "range .05 to .15", default=0.10, ge=0, le=1)


class Response(Record):
    """Slopes that all customers share."""

    open_bond: float = number("logit of opening, bond 0 to 1", "ASSUMED", NO_SOURCE, default=0.8, ge=0, le=5)
    open_relevance: float = number("logit of opening, relevance 0 to 1", "ASSUMED", NO_SOURCE, default=1.0, ge=0, le=5)
    open_fatigue: float = number(
        "logit of opening a unit of load above the ideal",
        "ASSUMED",
        "Wohllebe et al. 2021 (sign)",
        default=0.10,
        ge=0,
        le=3,
    )
    open_slot: float = number(
        "logit of opening a unit of slot log-hazard", "ASSUMED", NO_SOURCE, default=0.5, ge=0, le=3
    )
    block_relevance: float = number(
        "log-hazard, relevance 0 to 1", "ASSUMED", "range .5 to 1.5", default=1.0, ge=0, le=5
    )
    block_bond: float = number("log-hazard, bond 0 to 1", "ASSUMED", "range 1 to 2.5", default=2.0, ge=0, le=5)
    buy_relevance: float = number("logit of ordering, relevance 0 to 1", "ASSUMED", NO_SOURCE, default=1.5, ge=0, le=5)
    buy_bond: float = number("logit of ordering, bond 0 to 1", "ASSUMED", NO_SOURCE, default=1.0, ge=0, le=5)
    buy_fatigue: float = number(
        "logit of ordering a unit of load above the ideal", "ASSUMED", NO_SOURCE, default=0.08, ge=0, le=3
    )
    organic_bond: float = number("log organic rate, bond 0 to 1", "ASSUMED", NO_SOURCE, default=0.8, ge=0, le=5)
    churn_probability: float = number(
        "probability a day at bond 1/2", "FOUND", "2 to 5 % a month", default=0.0012, ge=0, lt=1
    )
    churn_bond: float = number("log-hazard, bond 0 to 1", "ASSUMED", NO_SOURCE, default=1.2, ge=0, le=5)
    churn_overload: float = number(
        "log-hazard a unit of load above the ideal, on a day with contact",
        "ASSUMED",
        NO_SOURCE,
        default=0.05,
        ge=0,
        le=3,
    )
    spill_over: float = number(
        "hazard on the other channels on the day of a block", "ASSUMED", NO_SOURCE, default=0.1, ge=0, le=10
    )
    win_back_bond: float = number("log-hazard of reopening, bond 0 to 1", "ASSUMED", NO_SOURCE, default=1.0, ge=0, le=5)
    win_back_order: float = number(
        "factor on the hazard of reopening on the day of an order", "ASSUMED", NO_SOURCE, default=5.0, ge=1, le=100
    )


class Commerce(Record):
    """What an order is worth."""

    order_value: float = number(
        "money, median order of the median customer", "ASSUMED", "mid-size retail basket", default=60.0, ge=0.01, le=1e9
    )
    order_log_sd: float = number(
        "log standard deviation from order to order", "FOUND", "CDNOW, Hillstrom", default=0.5, ge=0, le=3
    )
    margin: float = number("share of the order value", "ASSUMED", "usual retail gross margin", default=0.35, gt=0, le=1)


class Calendar(Record):
    """What the date does, the same for everybody."""

    season: float = number("amplitude of organic demand over 364 days", "ASSUMED", NO_SOURCE, default=0.0, ge=0, lt=1)
    tolerance_drift: float = number(
        "log change of tolerance over drift_days: ideal load falls, block rate rises",
        "ASSUMED",
        "a named scenario of ours",
        default=0.0,
        ge=0,
        le=3,
    )
    drift_days: int = number("days until tolerance has drifted", "ASSUMED", NO_SOURCE, default=364, ge=1, le=100_000)
