"""The second half of the report: buying and scores, the calibration card, and what the log identifies.

This file must never estimate anything of its own.
"""

import numpy as np

from calibration.estimation.panel import CANON
from calibration.estimation.scores import WINDOW
from calibration.report import charts
from calibration.report.material import Material
from calibration.report.page import figures, heading, paragraph, table
from calibration.sources import Estimate


def buying(material: Material) -> list[str]:
    """What a message adds, how customers buy, and how well scores sort them."""
    parts = [heading("Buying and scores")]
    if material.incremental is not None:
        effect = material.incremental
        parts.append(
            paragraph(
                f"1,000 messages add {_in_thousand(effect, 2)} orders on their day, by inverse chances of being sent, among "
                "all who could be written to, also those who may have left. This is caused, not attributed; what a message "
                "does on later days is not in it."
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
                f"{model.mean_dropout.value:.3f}."
            )
        )
    left = 1.0 - (1.0 - material.findings.alive.leaving) ** 364
    parts.append(paragraph(f"About {left:.0%} of customers a year leave without a word, as far as silence tells."))
    pictures = []
    if material.curves:
        curves = [charts.Line(name, curve.share, 1e3 * curve.gain) for name, curve in material.curves.items()]
        whole = float(np.mean([curve.y[-1] for curve in curves]))
        curves.append(charts.Line("at random", np.array([0.0, 1.0]), np.array([0.0, whole])))
        pictures.append(
            charts.lines(
                "Incremental orders if only the best are written to",
                "share of customer-days",
                "orders in 1,000 customer-days",
                curves,
            )
        )
        told = "; ".join(f"{name} {_in_thousand(curve.area, 3)}" for name, curve in material.curves.items())
        parts.append(
            paragraph(
                f"Area between the curve of each learner and sending at random, orders in 1,000 customer-days: {told}. An "
                "interval that holds 0 means that these scores do not sort customers by what a message adds."
            )
        )
    gains, tables = material.scores.gains, []
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
        words = (
            f"Deciles by the predicted probability of a block or an order within {WINDOW} days, each customer judged by a model "
            f"that has not learned from them. scores.parquet has the probabilities for the {WINDOW} days after the log."
        )
        heads = ("model", "decile", "customers", "events", "mean probability", "lift")
        tables = [paragraph(words, "note"), table(heads, rows)]
    return [*parts, figures(pictures), *tables]


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
            f"{derived} numbers are estimated (DERIVED), {len(rows) - derived} are not identified by the log (ASSUMED) and are "
            f"those of the built-in scenario {CANON.name}. Loads of channels, half-lives and the increments of the bond are "
            "assumptions that all estimates rest on. Costs of messages and whether the firm notices a block are the firm's to "
            "know: set them in scenario.yaml before a policy is trained."
        ),
        table(("number", "label", "source"), rows),
    ]


def _in_thousand(estimate: Estimate, digits: int) -> str:
    low, high = (float("nan") if end is None else 1e3 * end for end in (estimate.low, estimate.high))
    return f"{1e3 * estimate.value:.{digits}f} (95 % interval {low:.{digits}f} to {high:.{digits}f})"
