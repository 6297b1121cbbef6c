"""The report on a log: what it says about blocking and buying, how sure that is, and what stays an assumption.

Everything shown comes in as findings; this file must never estimate anything of its own.
"""

import numpy as np

from calibration.estimation.effects import LOADS, Effect
from calibration.estimation.findings import MOST_CLASSES
from calibration.estimation.ordering import segment_order
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.rates import EXPOSURE_EDGES, LOAD_EDGES, Rates, rates_by_load, rates_by_messages_before
from calibration.report import charts
from calibration.report.material import Material
from calibration.report.page import figures, heading, page, paragraph, table
from calibration.report.sections import buying, card, identified

LEAST_MESSAGES = 50  # below which a rate is not drawn
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def report(material: Material) -> str:
    """The HTML file, as text."""
    parts = [*_summary(material), *_effects(material), *_exposure(material), *_segments(material)]
    parts += [*buying(material), *card(material), *identified(material)]
    return page(f"What the log says: {material.world.name}", parts)


def _summary(material: Material) -> list[str]:
    manifest, panel = material.manifest, material.findings.panel
    parts = [
        paragraph(
            f"{manifest.tables['messages'].accepted:,} messages and "
            f"{manifest.tables['orders'].accepted if 'orders' in manifest.tables else 0:,} orders of {manifest.customers:,} customers, "
            f"{manifest.first:%Y-%m-%d} to {manifest.last:%Y-%m-%d}. Estimates use {panel.size:,} customers, drawn by lot "
            f"among those who were written to, and {len(panel.customer):,} delivered messages, of which "
            f"{int(panel.blocked.sum()):,} led to a block."
        ),
        paragraph(_covariates(material)),
    ]
    if material.confounding.warning:
        parts.append(paragraph(f"Warning: {material.confounding.warning}.", "warning"))
    else:
        parts.append(
            paragraph(
                f"Who got a message could not be predicted from engagement (area under the curve {material.confounding.area:.2f}, a "
                "coin has 0.50), and the log says how likely each message was: it can be read as an experiment."
            )
        )
    rows = [
        (name, outcome, field, f"{count:,}", f"{share:.2%}")
        for name, outcome, field, count, share in manifest.summary()
    ]
    return [*parts, table(("table", "rows", "field", "count", "share"), rows)]


def _covariates(material: Material) -> str:
    used, told = material.findings.panel.covariates.names, material.manifest.covariates
    left_out = [name for name in told if name not in used]
    words = f"Covariates that point to kinds of customers: {', '.join(used) or 'none'}."
    return words + (f" Left out, as no numbers or all alike: {', '.join(left_out)}." if left_out else "")


def _effects(material: Material) -> list[str]:
    days = [-_half_life(material) * np.log2(1.0 - 1.0 / load) for load in LOADS]
    rows = []
    for effect, pooled in zip(material.findings.effects, material.pooled, strict=True):
        rows.append((effect.kind, effect.name, _ratio(effect), _ratio(pooled)))
    return [
        heading("What moves blocking"),
        paragraph(
            "How many times likelier a block is (hazard ratio) for a message with this property than for the mean of its kind, "
            f"and at a load of {LOADS[1]:g} than at {LOADS[0]:g}, with 95 % intervals; above 1 drives customers away. A load sums "
            f"up past messages, each worn off by half in {_half_life(material):g} days: a message of load 1 every "
            f"{days[0]:.1f} days settles at {LOADS[0]:g}, every {days[1]:.1f} days at {LOADS[1]:g}. Here a message counts "
            f"{_loads(material)}; half-life and loads are assumed. The joint model allows for customers who differ; the pooled "
            "regression takes them for alike, and its ratio of loads is drawn towards 1, as those who mind leave early."
        ),
        table(("kind", "effect", "joint model", "pooled"), rows),
    ]


def _half_life(material: Material) -> float:
    """Days in which a load wears off by half."""
    return material.findings.given.fatigue.half_life


def _loads(material: Material) -> str:
    return ", ".join(f"{channel.load:g} ({channel.name})" for channel in material.world.channels)


def _exposure(material: Material) -> list[str]:
    findings, check = material.findings, material.check
    panels = [("log", findings.panel, findings.alive), ("simulated", check.panel, check.alive)]
    by_load, by_order, by_number = [], [], []
    for name, panel, alive in panels:
        weight = alive.of_messages(panel)
        blocks, orders = rates_by_load(panel, weight)
        middle = (LOAD_EDGES[1:] + LOAD_EDGES[:-1]) / 2
        by_load.append(_rate_line(name, middle, blocks))
        by_order.append(_rate_line(name, middle, orders))
        by_number.append(_rate_line(name, EXPOSURE_EDGES.astype(float), rates_by_messages_before(panel, weight)))
    joint = findings.joint
    grid = np.linspace(0.0, 12.0, 49)
    curves = []
    for place, each in enumerate(segment_order(findings)):
        ideal = float(np.exp(joint.layout.of_class(joint.theta, "log_ideal_load", each)[0]))
        above, below, _ = joint.model.hinges(ideal, grid)
        up, down = (joint.layout.of_class(joint.theta, name, each)[0] for name in ("reactance", "reciprocity"))
        curves.append(charts.Line(f"segment_{place + 1}", grid, up * above + down * below))
    panel = findings.panel
    pictures = [
        charts.lines("Blocks a message by load", "load with this message", "share of messages", by_load),
        charts.lines("Orders on the day of a message by load", "load with this message", "share of messages", by_order),
        charts.lines("Blocks a message by messages before", "messages before", "share of messages", by_number),
        charts.lines("Estimated effect of load by segment", "load", "log hazard of a block", curves),
        _heat(panel, "Blocks a message by hour and weekday", panel.blocked.astype(np.float64)),
        _heat(panel, "Opens a message by hour and weekday", panel.opened.astype(np.float64)),
    ]
    return [
        heading("Frequency and timing"),
        paragraph(
            "Bands are 95 % intervals, clustered by customer. Rates are as counted: who is still there at a high load or after "
            "many messages minds less, so these curves are flatter than what a message does to one customer.",
            "note",
        ),
        figures(pictures),
    ]


def _segments(material: Material) -> list[str]:
    world, findings = material.world, material.findings
    fields = ("weight", "ideal_load", "reactance", "reciprocity", "weekend_block", "organic_rate")
    rows = [(field, *(f"{getattr(segment, field):.3g}" for segment in world.segments)) for field in fields]
    for kind in ("style_block", "slot_block", "style_buy", "relevance"):
        parts = {name for segment in world.segments for name in getattr(segment, kind)}
        rows += [
            (f"{kind}: {name}", *(f"{getattr(segment, kind)[name]:+.2f}" for segment in world.segments))
            for name in sorted(parts)
        ]
    names = [segment.name for segment in world.segments]
    styles = [style.name for style in world.styles]
    pictures = [
        charts.bars(
            "Style and blocking",
            styles,
            [(s.name, np.array([s.style_block[x] for x in styles])) for s in world.segments],
            "log hazard of a block",
        ),
        charts.bars(
            "Style and buying",
            styles,
            [(s.name, np.array([s.style_buy[x] for x in styles])) for s in world.segments],
            "logit of buying after an open",
        ),
    ]
    criteria = [(str(number), f"{value:,.0f}") for number, value in sorted(findings.criteria.items())]
    told = (
        f" Adjusted Rand index against the truth: {material.rand_index:.2f}." if material.rand_index is not None else ""
    )
    return [
        heading("Kinds of customers"),
        paragraph(
            f"{_chosen(findings.criteria, len(names))} Signs may oppose each other.{told} Beside them stand "
            f"{material.micro_segments} micro-segments by recency, frequency and money in rfm.csv."
        ),
        table(("kinds", "BIC"), criteria),
        paragraph(
            "weight: share of customers. ideal_load: where blocking is least likely; reactance and reciprocity: what a unit "
            "above and below it adds to the log hazard of a block. weekend_block, slot_block, style_block: what these add to it. "
            "style_buy: added to the logit of buying after an open. relevance: from 0 to 1. organic_rate: orders a day without "
            "a message. 0.7 on a log hazard doubles it. Intervals of all numbers stand in the last table.",
            "note",
        ),
        table(("number, from the log", *names), rows),
        figures(pictures),
    ]


def _chosen(criteria: dict[int, float], kinds: int) -> str:
    # A search goes on beyond the best, or to the most classes; asked for, only one class stands beside it.
    if max(criteria) > kinds or len(criteria) == MOST_CLASSES:
        return f"{kinds} kinds have the least BIC among those tried."
    return f"{kinds} kinds, as asked for."


def _ratio(effect: Effect) -> str:
    value, low, high = effect.ratio
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _rate_line(name: str, x: Floats, rates: Rates) -> charts.Line:
    kept = rates.messages >= LEAST_MESSAGES
    return charts.Line(name, x[kept], rates.rate[kept], rates.low[kept], rates.high[kept])


def _heat(panel: Panel, title: str, events: Floats) -> str:
    cell = panel.hour * 7 + panel.weekday
    sent = np.bincount(cell, minlength=168).reshape(24, 7)
    rate = np.where(sent >= LEAST_MESSAGES, np.bincount(cell, events, 168).reshape(24, 7) / np.maximum(sent, 1), np.nan)
    hours = np.flatnonzero(sent.any(axis=1))
    return charts.heat(title, [f"{hour}:00" for hour in hours], _WEEKDAYS, rate[hours], "of messages")
