"""The report on a log: what it says about blocking and buying, how sure that is, and what stays an assumption.

Everything shown comes in as findings; this file must never estimate anything of its own.
"""

import numpy as np

from calibration.estimation.check import EXPOSURE_EDGES, LOAD_EDGES, hazard_by_exposure
from calibration.estimation.effects import Effect
from calibration.estimation.ordering import segment_order
from calibration.estimation.panel import Floats, Panel
from calibration.estimation.pooled import block_rates_by_load
from calibration.report import charts
from calibration.report.material import Material
from calibration.report.page import figures, heading, page, paragraph, table
from calibration.report.sections import buying, card, identified

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
            f"{manifest.first:%Y-%m-%d} to {manifest.last:%Y-%m-%d}. Estimates use {panel.size:,} customers and "
            f"{len(panel.customer):,} delivered messages, of which {int(panel.blocked.sum()):,} led to a block."
        )
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


def _effects(material: Material) -> list[str]:
    rows = []
    for effect, pooled in zip(material.findings.effects, material.pooled, strict=True):
        rows.append((effect.kind, effect.name, _ratio(effect), _ratio(pooled)))
    return [
        heading("What moves blocking"),
        paragraph(
            "Hazard ratios of blocking for a message with this property against the mean of its kind, and of a load of 8 against "
            "4 fatigue units, with 95 % intervals. The joint model allows for customers who differ; the pooled regression "
            "takes them for alike, and its ratios are drawn towards 1, as those who mind leave early."
        ),
        table(("kind", "effect", "joint model", "pooled"), rows),
    ]


def _exposure(material: Material) -> list[str]:
    findings, check = material.findings, material.check
    panels = [("log", findings.panel, findings.alive), ("simulated", check.panel, check.alive)]
    by_load, by_order, by_number = [], [], []
    for name, panel, alive in panels:
        weight = alive.of_messages(panel)
        blocks, sent, orders = block_rates_by_load(panel, weight, LOAD_EDGES)
        middle = (LOAD_EDGES[1:] + LOAD_EDGES[:-1]) / 2
        by_load.append(_rate_line(name, middle, blocks, sent))
        by_order.append(_rate_line(name, middle, orders, sent))
        blocks, sent = hazard_by_exposure(panel, weight)
        by_number.append(_rate_line(name, EXPOSURE_EDGES.astype(float), blocks, sent))
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
        charts.lines("Blocks a message by load", "load with this message, fatigue units", "share", by_load),
        charts.lines(
            "Orders on the day of a message by load", "load with this message, fatigue units", "share", by_order
        ),
        charts.lines("Blocks a message by messages before", "messages before", "share", by_number),
        charts.lines("Estimated effect of load by segment", "load, fatigue units", "log hazard", curves),
        _heat(panel, "Blocks a message by hour and weekday", panel.blocked.astype(np.float64)),
        _heat(panel, "Opens a message by hour and weekday", panel.opened.astype(np.float64)),
    ]
    return [
        heading("Frequency and timing"),
        paragraph(
            "Bands are 95 % intervals. A load is the sum of past messages, each worn off by half in seven days.", "note"
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
            "log hazard",
        ),
        charts.bars(
            "Style and buying",
            styles,
            [(s.name, np.array([s.style_buy[x] for x in styles])) for s in world.segments],
            "logit",
        ),
    ]
    criteria = [(str(number), f"{value:,.0f}") for number, value in sorted(findings.criteria.items())]
    told = (
        f" Adjusted Rand index against the truth: {material.rand_index:.2f}." if material.rand_index is not None else ""
    )
    return [
        heading("Kinds of customers"),
        paragraph(
            f"{len(names)} classes have the least BIC among those tried; signs may oppose each other.{told} Beside them stand "
            f"{material.micro_segments} micro-segments by recency, frequency and money in rfm.csv."
        ),
        table(("number, from the log", *names), rows),
        figures(pictures),
        table(("classes", "BIC"), criteria),
    ]


def _ratio(effect: Effect) -> str:
    value, low, high = effect.ratio
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _rate_line(name: str, x: Floats, events: Floats, of: Floats) -> charts.Line:
    kept = of >= 50
    rate = events[kept] / of[kept]
    half = 1.96 * np.sqrt(np.maximum(rate * (1.0 - rate), 1e-9) / of[kept])
    return charts.Line(name, x[kept], rate, np.maximum(rate - half, 0.0), rate + half)


def _heat(panel: Panel, title: str, events: Floats) -> str:
    cell = panel.hour * 7 + panel.weekday
    sent = np.bincount(cell, minlength=168).reshape(24, 7)
    rate = np.where(sent >= 50, np.bincount(cell, events, 168).reshape(24, 7) / np.maximum(sent, 1), np.nan)
    hours = np.flatnonzero(sent.any(axis=1))
    return charts.heat(title, [f"{hour}:00" for hour in hours], _WEEKDAYS, rate[hours], "of messages")
