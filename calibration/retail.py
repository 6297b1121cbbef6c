"""Make the shop `Retail-v0` count what real shops counted, by playing it and correcting its numbers.

Every number comes with where it is from. This file must never write rows of a source out, and never take an
attributed order for a caused one or a dead push token for a reaction.

Choices that matter:

- A base is a mixture of tenures, and frail customers have left those who are tenured. The e-mail base of REES46 is
  read as customers who joined evenly over the time that its inflow (welcome e-mails) takes to fill its largest
  broadcast, and the *simulated pooled* rate of such a base is matched, not the rate of a first message.
- The newsletter is another firm, with another base rate; it says how unlike customers are. One base rate serves
  both all the same: the shop pins it, the survival after 16, 87 and 313 daily messages pins the spread.
- The effect of an e-mail is the experiment's (Hillstrom: orders caused within two weeks), not the attributed rate
  of REES46, which is five times lower for a list with many silent addresses.
- Customers of CDNOW stop after an order, ours at any time; so yearly counts are matched (mean, spread, and how many
  orders are left in the following quarter), not the parameters of BG/NBD.
- The simulated figures are those of customers who still live; a source cannot tell who has left.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv.scenarios.schema import Provenance, Scenario
from calibration import hillstrom, newsletter, purchases, rees46
from calibration.matching import match
from calibration.retail_targets import QUARTER, YEAR, Constants, Targets, measure
from calibration.retail_world import (
    ASSUMED,
    EVENT,
    MENS,
    ON_TARGET,
    PATHS,
    SALE,
    SERVICE,
    WOMENS,
    Derived,
    build,
    three_digits,
)
from calibration.tally import Timetable, tally

Floats = NDArray[np.float64]
SEED = 2**41  # of the customers the numbers are matched on; never those of a card
CUSTOMERS = 32768
TWO_WEEKS = 14
ROUNDS = 4  # of correcting, after the slopes are known


def action(scenario: Scenario, channel: str, style: str, product: str) -> int:
    """The action with these parts."""
    name = "/".join((channel, scenario.slots[0], style, product))
    return [scenario.message_name(each) for each in range(scenario.actions)].index(name)


def counts_in_silence(scenario: Scenario, customers: int, seed: int) -> dict[str, float]:
    """The counts of `Targets` that concern customers nobody writes to."""
    counts = tally(scenario, Timetable([], 1), seed, customers, YEAR + QUARTER, late=YEAR)
    year = counts.orders - counts.late_orders
    return {
        "orders_year": float(year.mean()),
        "orders_cv": float(year.std() / year.mean()),
        "orders_quarter": float(counts.late_orders.mean()),
    }


def counts_of_messages(
    scenario: Scenario, constants: Constants, customers: int, seed: int
) -> dict[str, float | tuple[float, ...]]:
    """The counts of `Targets` that concern messages, each under the timetable of its source."""

    def email(style: str, product: str = MENS) -> int:
        return action(scenario, "email", style, product)

    bulk = tally(
        scenario, Timetable([email(SALE)], constants.email_gap), seed, customers, constants.base_days, expect=True
    )
    opens, _, blocks = bulk.expected.sum(axis=2) / bulk.expected_delivered[:, 0].sum()
    push_message = action(scenario, "push", SALE, MENS)
    push = tally(scenario, Timetable([push_message], constants.push_gap), seed, customers, constants.base_days)
    trial = tally(scenario, Timetable([email(SALE)], TWO_WEEKS), seed, customers, YEAR, expect=True)
    orders = trial.expected[1]  # (A, S)
    sent = trial.expected_delivered[:, 0]
    womens = np.array([segment.name.endswith(WOMENS) for segment in scenario.segments])
    by_goods = orders[email(SALE, WOMENS)]
    on_target, off_target = (by_goods[group].sum() / sent[group].sum() for group in (womens, ~womens))
    daily = tally(scenario, Timetable([email(EVENT)], 1), seed, customers, newsletter.MESSAGES_BEFORE_OPT_OUT[-1])
    hazard = daily.daily_blocked[:, 0] / np.maximum(daily.daily_delivered[:, 0], 1.0)
    survival = np.cumprod(1.0 - hazard)
    return {
        "email_block": float(blocks[email(SALE)]),
        "event_ratio": float(blocks[email(EVENT)] / blocks[email(SALE)]),
        "service_ratio": float(blocks[email(SERVICE)] / blocks[email(SALE)]),
        "email_open": float(opens[email(SALE)]),
        "push_open": float(push.opened[1].sum() / push.delivered[1].sum()),
        "push_lost": float(push.failed[1].sum() / push.sent[1].sum()),
        "survival": tuple(float(survival[messages - 1]) for messages in newsletter.MESSAGES_BEFORE_OPT_OUT),
        "effect_mens": float(orders[email(SALE, MENS)].sum() / sent.sum()),
        "effect_womens": float(orders[email(SALE, WOMENS)].sum() / sent.sum()),
        "on_to_off": float(on_target / off_target),
    }


_TOLERANCE = {  # of a mismatch of one; the relative error of the source, or what rounding to three digits leaves
    "email_block": 0.01,
    "event_ratio": 0.02,
    "service_ratio": 0.02,
    "email_open": 0.01,
    "push_open": 0.01,
    "push_lost": 0.02,
    "survival": 0.01,  # in share of readers
    "effect_mens": 0.13,
    "effect_womens": 0.26,
    "on_to_off": 0.4,
    "orders_year": 0.01,
    "orders_cv": 0.02,
    "orders_quarter": 0.02,
}


def mismatch(counts: dict[str, float | tuple[float, ...]] | dict[str, float], targets: Targets) -> Floats:
    """How far `counts` are off their targets, in units of what is tolerated."""
    miss = []
    for name, value in counts.items():
        target = getattr(targets, name)
        if isinstance(value, tuple):
            miss += [(own - aim) / _TOLERANCE[name] for own, aim in zip(value, target, strict=True)]
        else:
            miss.append(math.log(value / target) / _TOLERANCE[name])
    return np.array(miss)


class _Unknown(NamedTuple):
    """A number to be matched: on which scale it moves, where it starts, and how far it may go."""

    field: str
    start: float
    step: float
    lowest: float
    highest: float
    logarithmic: bool = False


_IN_SILENCE = (
    _Unknown("organic_rate", math.log(0.006), 0.1, -8.0, -2.0, logarithmic=True),
    _Unknown("churn", math.log(0.0013), 0.2, -9.0, -4.0, logarithmic=True),
    _Unknown("organic_shape", math.log(0.3), 0.2, -3.0, 2.0, logarithmic=True),
)
_OF_MESSAGES = (
    _Unknown("email_block", -11.0, 0.3, -16.0, -4.0, logarithmic=True),
    _Unknown("channel_block", 1.5, 0.3, 0.0, 3.0),
    _Unknown("push_block", -6.5, 0.4, -16.0, -3.0, logarithmic=True),
    _Unknown("event_block", -0.6, 0.2, -3.0, 1.0),
    _Unknown("service_block", -1.3, 0.2, -4.0, 1.0),
    _Unknown("email_open", -1.9, 0.2, -5.0, 1.0),
    _Unknown("push_open", -2.4, 0.2, -6.0, 1.0),
    _Unknown("buy", -3.9, 0.2, -9.0, 0.0),
    _Unknown("off_target", 0.06, 0.03, 0.0, 0.5),
)


def derive(folder: Path, progress: Callable[[int, int], None] | None = None) -> Scenario:
    """`Retail-v0` from the data files in `folder`: a minute or three on one core, the same on every run.

    `progress` is called with the number of simulations done and the most there will be.
    Raises `SourceError` where a file is missing or wrong.
    """
    targets, constants = measure(folder)
    numbers = {field.name: 0.0 for field in fields(Derived)}
    numbers |= {name: value for name, value in constants._asdict().items() if name in numbers}
    numbers |= {each.field: _value(each, each.start) for each in (*_IN_SILENCE, *_OF_MESSAGES)}
    most, done = sum(1 + len(unknowns) + ROUNDS for unknowns in (_IN_SILENCE, _OF_MESSAGES)), 0

    def residuals(unknowns: tuple[_Unknown, ...], point: Floats) -> Floats:
        nonlocal done
        scenario = build(Derived(**(numbers | _values(unknowns, point))))
        if unknowns is _IN_SILENCE:
            miss = mismatch(counts_in_silence(scenario, CUSTOMERS, SEED), targets)
        else:
            miss = mismatch(counts_of_messages(scenario, constants, CUSTOMERS // 2, SEED), targets)
        done += 1
        if progress is not None:
            progress(done, most)
        return miss

    for unknowns in (_IN_SILENCE, _OF_MESSAGES):

        def of_these(point: Floats, unknowns: tuple[_Unknown, ...] = unknowns) -> Floats:
            return residuals(unknowns, point)

        table = {part: [getattr(each, part) for each in unknowns] for part in ("start", "step", "lowest", "highest")}
        found = match(of_these, table["start"], table["step"], table["lowest"], table["highest"], ROUNDS)
        numbers |= {name: three_digits(value) for name, value in _values(unknowns, found).items()}
    return build(Derived(**numbers), provenance(targets, constants))


def _value(unknown: _Unknown, point: float) -> float:
    return math.exp(point) if unknown.logarithmic else float(point)


def _values(unknowns: tuple[_Unknown, ...], point: Floats) -> dict[str, float]:
    return {each.field: _value(each, value) for each, value in zip(unknowns, point.tolist(), strict=True)}


def provenance(targets: Targets, constants: Constants) -> dict[str, Provenance]:
    """Field path -> label and source, for every number that is not the field's own default."""
    shop, trial, cdnow = rees46.SOURCE, hillstrom.SOURCE, purchases.SOURCE
    base = f"a base that joined evenly over {constants.base_days} days, simulated"
    days = ", ".join(str(messages) for messages in newsletter.MESSAGES_BEFORE_OPT_OUT)
    words = {
        "email_block": f"pooled {targets.email_block:.2%} blocks a bulk e-mail, one in {constants.email_gap} days, in "
        f"{base}; {shop}",
        "push_block": f"{targets.push_lost:.2%} of push broadcasts every {constants.push_gap} days find a lost token, "
        f"in {base}; a flow of days, not a reaction to the message (see background_share); {shop}",
        "frailty": f"closed form: readers differ by this where nothing but differences between them matters; survival "
        f"{targets.survival} after {days} daily messages; {newsletter.SOURCE}",
        "channel_block": "what has to come on top of frailty to match the same survival in simulation, where daily "
        f"mail wears everybody down; one channel cannot tell the two apart; {newsletter.SOURCE}",
        "event_block": f"event e-mails have {targets.event_ratio:.2f} times the block rate of sale e-mails, signs "
        f"between archetypes ASSUMED; not randomised; {shop}",
        "service_block": f"transactional e-mails have {targets.service_ratio:.2f} times the block rate of sale "
        f"e-mails; nobody can send these at will, so it is a lower bound; {shop}",
        "weekend_block": f"trigger e-mails, Saturday and Sunday against weekdays; {shop}",
        "email_open": f"{targets.email_open:.1%} of bulk e-mails opened, {base}; {shop}",
        "push_open": f"{targets.push_open:.1%} of later push broadcasts opened, {base}; {shop}",
        "buy": f"an e-mail caused {targets.effect_mens:.4f} (men's) and {targets.effect_womens:.4f} (women's) orders "
        f"in two weeks, randomised; the effect on living customers of one e-mail a fortnight, simulated; {trial}",
        "off_target": f"the women's e-mail moved visits {targets.on_to_off:.1f} times as much among past buyers of "
        f"women's goods only as among those of men's only; on target = {ON_TARGET}; {trial}",
        "womens_share": f"{constants.womens_share:.1%} bought women's goods in the past year; {trial}; shares of the "
        "archetypes ASSUMED, independent of it",
        "organic_rate": f"{targets.orders_year:.2f} orders in the year after the first, simulated in silence; ratios "
        f"between archetypes ASSUMED; {cdnow}",
        "organic_shape": f"coefficient of variation {targets.orders_cv:.2f} of these counts, simulated; the rate "
        f"while active of BG/NBD varies by 1.99, with dropout tied to orders; {cdnow}",
        "churn": f"{targets.orders_quarter:.3f} orders in the quarter after that year, simulated in silence; {cdnow}",
        "order_value": f"log-mean over customers; {cdnow}",
        "order_value_between": f"log standard deviation between customers; {cdnow}",
        "order_value_within": f"log standard deviation within a customer; {cdnow}",
    }
    derived = {path: Provenance(label="DERIVED", source=words[field]) for field, path in PATHS.items()}
    return derived | {path: Provenance(label="ASSUMED", source=source) for path, source in ASSUMED.items()}
