"""The second half of the report: buying and scores, the calibration card, and what the log identifies.

This file must never estimate anything of its own.
"""

import numpy as np

from calibration.report import charts
from calibration.report.material import Material
from calibration.report.page import figures, heading, paragraph, table


def buying(material: Material) -> list[str]:
    """What a message adds, how customers buy, and how well scores sort them."""
    parts = [heading("Buying and scores")]
    if material.incremental is not None:
        effect = material.incremental
        parts.append(
            paragraph(
                f"A message adds {effect.value:.5f} orders on its day (95 % interval {effect.low:.5f} to {effect.high:.5f}), "
                "by inverse chances of being sent. This is caused, not attributed."
            )
        )
    else:
        parts.append(paragraph("No chance of sending is told, so that no incremental effect can be given.", "warning"))
    money = material.findings.money
    if money.bg_nbd is not None:
        model = money.bg_nbd
        parts.append(
            paragraph(
                f"BG/NBD: {model.mean_rate_per_week.value:.3f} orders a week while active, dropout after an order "
                f"{model.mean_dropout.value:.3f}. Leaving without a word: {material.findings.alive.leaving:.5f} a day."
            )
        )
    pictures = (
        [
            charts.lines(
                "Incremental orders if only the best are written to",
                "share of customer-days",
                "orders a customer-day",
                [charts.Line(name, curve.share, curve.gain) for name, curve in material.curves.items()],
            )
        ]
        if material.curves
        else []
    )
    gains = material.scores.gains
    if len(gains):
        curves = [
            charts.Line(str(model), np.append(0.0, part["decile"] / 10.0), np.append(0.0, part["captured"]))
            for model, part in gains.groupby("model")
        ]
        curves.append(charts.Line("at random", np.array([0.0, 1.0]), np.array([0.0, 1.0])))
        pictures.append(charts.lines("Gains of the score files", "share of customers", "share of events", curves))
        rows = [
            (
                str(line.model),
                str(line.decile),
                str(line.customers),
                f"{line.events:.0f}",
                f"{line.probability:.4f}",
                f"{line.lift:.2f}",
            )
            for line in gains.itertuples()
        ]
        parts.append(figures(pictures))
        parts.append(table(("model", "decile", "customers", "events", "mean probability", "lift"), rows))
    return parts


def card(material: Material) -> list[str]:
    """The estimated world beside the log."""
    rows = [
        (
            line.name,
            "" if line.simulated is None else f"{line.simulated:.4g}",
            "" if line.published is None else f"{line.published:.4g}",
            "" if line.low is None or line.high is None else f"{line.low:.4g} .. {line.high:.4g}",
            line.verdict,
        )
        for line in material.check.rows
    ]
    return [
        heading("Calibration card: the estimated world beside the log"),
        paragraph(
            "The band is the log's 95 % interval or 15 % of its figure to each side, whichever is wider.", "note"
        ),
        table(("figure", "simulated", "log", "band", "verdict"), rows),
    ]


def identified(material: Material) -> list[str]:
    """Every number of the world with its label."""
    rows = [(path, told.label, told.source) for path, told in sorted(material.world.provenance.items())]
    derived = sum(label == "DERIVED" for _, label, _ in rows)
    return [
        heading("What the log identifies, and what stays an assumption"),
        paragraph(
            f"{derived} numbers are estimated, {len(rows) - derived} are not identified by the log and stay the canon's. Loads of "
            "channels, half-lives and the increments of the bond are assumptions that all estimates rest on."
        ),
        table(("number", "label", "source"), rows),
    ]
