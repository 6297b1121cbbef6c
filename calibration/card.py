"""The calibration card of a scenario: what its customers do under plain timetables, beside what has been published.

A card reports and never repairs: it must not change a scenario, and a row that fails stays in. Customers of a card
are never those a scenario was matched on.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from blockenv.scenarios import ScenarioLike, get
from calibration import published, retail_rows
from calibration.facts import facts
from calibration.newsletter import MESSAGES_BEFORE_OPT_OUT
from calibration.published import Band
from calibration.retail_targets import QUARTER, YEAR
from calibration.retail_world import NAME
from calibration.rows import Row, Sample, estimate, jackknife, row, share
from calibration.tally import Tally, Timetable

SEED = 2**42
WEEK = 7


class Card(NamedTuple):
    """All rows of one scenario."""

    scenario: str
    digest: str
    customers: int
    rows: tuple[Row, ...]


def card(
    scenario: ScenarioLike, customers: int = 4096, seed: int = SEED, progress: Callable[[int], None] | None = None
) -> Card:
    """Play `scenario` and compare.

    Args:
        scenario: a scenario, its name, or a file.
        customers: in every play, at least 8.
        seed: of the customers and their luck.
        progress: called with the number of customer-days just finished.

    Raises:
        ScenarioError: no such scenario.
        ValueError: fewer than 8 customers.
    """
    world = get(scenario)
    sample = Sample(world, customers, seed, progress)
    is_retail = world.name == NAME
    rows = [*(retail_rows.demand(sample) if is_retail else _demand(sample))]
    rows += retail_rows.messages(sample) if is_retail else _channels(sample)
    if any(channel.block_probability > 0.0 for channel in world.channels):
        rows += retail_rows.survival(sample) if is_retail else _attrition(sample)
        rows.append(_saturation(sample))
        rows += facts(world, customers, seed, progress)
    return Card(world.name, world.digest, customers, tuple(rows))


def messages_of(sample: Sample, channel: int) -> Sequence[int]:
    """All the actions on a channel."""
    each = (sample.scenario.actions - 1) // len(sample.scenario.channels)
    return range(1 + channel * each, 1 + (channel + 1) * each)


def _demand(sample: Sample) -> Iterator[Row]:
    """Orders and churn of customers nobody writes to."""
    silent = sample.play(Timetable([], 1), YEAR + QUARTER, late=YEAR)
    orders = estimate(silent, retail_rows.orders_in_a_year)
    yield row("orders in the first year, silence", orders, "orders a customer", published.ORDERS_YEAR)
    yield row(
        "coefficient of variation of these", estimate(silent, retail_rows.variation), "ratio", published.ORDERS_CV
    )
    yield row(
        "churn a month, silence", estimate(silent, retail_rows.churn_a_month), "share of customers", published.CHURN
    )


def _channels(sample: Sample) -> Iterator[Row]:
    """One message a week on a channel, all its messages in rotation."""
    nothing = Band(None, None, None, "ASSUMED", "a channel of the user's own")
    for place, channel in enumerate(sample.scenario.channels):
        weekly = sample.play(Timetable(messages_of(sample, place), WEEK), YEAR)
        blocks = channel.block_probability > 0.0
        figures = [("open", "opened", published.OPEN), ("order", "prompted", published.ORDER)]
        if blocks:
            figures.insert(0, ("block", "blocked", published.BLOCK))
        for what, events, table in figures:
            yield row(
                f"{channel.name}: {what} a message, weekly",
                estimate(weekly, share(events, "delivered", place)),
                "share of delivered",
                table.get(channel.name, nothing),
            )
        if blocks:
            yield retail_rows.yearly(weekly, place, channel.name)


def _attrition(sample: Sample) -> Iterator[Row]:
    """A message every day on one channel: how the pooled hazard falls as the frail leave."""
    place, name = _main_channel(sample)
    daily = sample.play(Timetable(messages_of(sample, place), 1), MESSAGES_BEFORE_OPT_OUT[-1])

    def decline(counts: Tally) -> float:
        first, second, third = MESSAGES_BEFORE_OPT_OUT
        hazard = retail_rows.hazard(counts, place)
        early, late = hazard[:first].mean(), hazard[second:third].mean()
        return float(late / early) if early > 0.0 else float("nan")

    yield row(
        f"{name}: hazard of daily messages 88-313 relative to 1-16",
        estimate(daily, decline),
        "ratio",
        published.DECLINE,
    )


def _saturation(sample: Sample) -> Row:
    """How much more a message every other day sells than one a week."""
    place, name = _main_channel(sample)
    often, seldom = (sample.play(Timetable(messages_of(sample, place), gap), 8 * WEEK) for gap in (2, WEEK))

    def ratio(pairs: Sequence[tuple[Tally, Tally]]) -> float:
        more, fewer = (sum(float(pair[side].prompted[place].sum()) for pair in pairs) for side in (0, 1))
        return more / fewer if fewer > 0.0 else float("nan")

    return row(
        f"{name}: orders through a message every 2 days relative to one a week",
        jackknife(list(zip(often, seldom, strict=True)), ratio),
        "ratio",
        published.SATURATION,
    )


def _main_channel(sample: Sample) -> tuple[int, str]:
    """E-mail where there is one, as that is what the figures are about."""
    names = [channel.name for channel in sample.scenario.channels]
    place = names.index("email") if "email" in names else 0
    return place, names[place]
