"""Channels and segments of an estimated world: the fit's unknowns in the terms of a scenario.

A fit has a level of blocking for each class and each channel, and one of relevance; a scenario has them elsewhere, so they
are moved without changing any hazard. This file must never estimate.
"""

from typing import Any

import numpy as np

from calibration.estimation.bond import resting_bond
from calibration.estimation.effects import delta
from calibration.estimation.findings import Findings
from calibration.estimation.numbers import Numbers
from calibration.estimation.panel import Floats, canon_channel
from calibration.estimation.parameters import contrasts
from calibration.sources import NORMAL_95, Estimate

_LEAST_LOAD, _MOST_LOAD = 0.05, 20.0


def channel_fields(findings: Findings, numbers: Numbers, place: int) -> dict[str, Any]:
    """Of the log's channel at `place`."""
    panel, joint = findings.panel, findings.joint
    name = panel.channels[place]
    canon, path = canon_channel(name), f"channels.{name}"
    layout = joint.layout

    def rates(theta: Floats) -> Floats:
        share, level, taste = _levels(findings, theta)
        slope = layout.common_of(theta, "block_relevance")[0]
        block = layout.common_of(theta, "block_log_rate")[place] + share @ level - slope * taste
        return np.array([block, layout.common_of(theta, "open_logit")[place] + taste])

    (block, opening), (block_error, open_error) = delta(joint, rates)
    low, high = (1.0 - np.exp(-np.exp(block + side * NORMAL_95 * block_error)) for side in (-1.0, 1.0))
    opted_in = float(panel.opted_in[:, place].mean())
    return {
        "name": name,
        "load": numbers.assumed(f"{path}.load", canon.load if canon.name == name else 1.0),
        "cost": numbers.assumed(f"{path}.cost", canon.cost),
        "visibility": numbers.assumed(f"{path}.visibility", canon.visibility),
        "win_back_rate": numbers.assumed(f"{path}.win_back_rate", 0.0),
        "opt_in": numbers.derived(f"{path}.opt_in", opted_in, None, None),
        "block_probability": numbers.derived(
            f"{path}.block_probability", float(1.0 - np.exp(-np.exp(block))), float(low), float(high)
        ),
        "background_share": float(np.clip(numbers.estimate(f"{path}.background_share", findings.background), 0.0, 1.0)),
        "open_logit": numbers.derived(
            f"{path}.open_logit",
            float(opening),
            float(opening - NORMAL_95 * open_error),
            float(opening + NORMAL_95 * open_error),
        ),
        "buy_logit": numbers.estimate(f"{path}.buy_logit", _buy_at_half(findings, place)),
    }


def _buy_at_half(findings: Findings, place: int) -> Estimate:
    """Logit at relevance 1/2; the level of relevance moves from the products to the channels."""
    found, taste = findings.prompted.channels[place], _levels(findings, findings.joint.theta)[2]
    move = findings.prompted.relevance.value * taste
    return Estimate(found.value + move, *(None if end is None else end + move for end in (found.low, found.high)))


def _levels(findings: Findings, theta: Floats) -> tuple[Floats, Floats, float]:
    """Shares (K,), block levels (K,) and the population's mean relevance above 1/2."""
    layout = findings.joint.layout
    weight = layout.table(theta, "log_weight")[:, 0]
    share = np.exp(weight - weight.max())
    share = share / share.sum()
    return share, layout.table(theta, "level")[:, 0], float(share @ layout.table(theta, "relevance").mean(axis=1))


def segment_fields(findings: Findings, numbers: Numbers, each: int, place: int) -> dict[str, Any]:
    """Of the class `each`, which is the world's segment at `place`."""
    panel, joint, given = findings.panel, findings.joint, findings.given
    layout = joint.layout
    name = f"segment_{place + 1}"
    path = f"segments.{name}"

    def table(theta: Floats) -> Floats:
        share, level, taste = _levels(findings, theta)
        own = level[each] - share @ level
        slots = contrasts(len(panel.slots)) @ layout.of_class(theta, "slot_block", each)
        styles = own + contrasts(len(panel.styles)) @ layout.of_class(theta, "style_block", each)
        relevance = 0.5 + layout.of_class(theta, "relevance", each) - taste
        rest = [
            layout.of_class(theta, field, each)[0]
            for field in ("weekend_block", "log_ideal_load", "reactance", "reciprocity")
        ]
        return np.concatenate([slots, styles, relevance, rest, [np.log(share[each])]])

    value, error = delta(joint, table)
    low, high = value - NORMAL_95 * error, value + NORMAL_95 * error
    at = iter(range(len(value)))

    def take(field: str, least: float, most: float, logarithmic: bool = False) -> float:
        number = next(at)
        triple = [value[number], low[number], high[number]]
        if logarithmic:
            triple = list(np.exp(triple))
        found = numbers.derived(f"{path}.{field}", *map(float, triple))
        return float(np.clip(found, least, most))

    slots = {slot: take(f"slot_block.{slot}", -10.0, 10.0) for slot in panel.slots}
    styles = {style: take(f"style_block.{style}", -10.0, 10.0) for style in panel.styles}
    relevance = {product: take(f"relevance.{product}", 0.0, 1.0) for product in panel.products}
    buys = findings.prompted.styles[each]
    contact = [segment.churn_contact for segment in given.segments]
    weights = [segment.weight for segment in given.segments]
    return {
        "name": name,
        "slot_block": slots,
        "style_block": styles,
        "relevance": relevance,
        "weekend_block": take("weekend_block", -3.0, 3.0),
        "ideal_load": take("ideal_load", _LEAST_LOAD, _MOST_LOAD, logarithmic=True),
        "reactance": take("reactance", 0.0, 3.0),
        "reciprocity": take("reciprocity", 0.0, 1.0),
        "weight": take("weight", 1e-4, 1.0, logarithmic=True),
        "style_buy": {
            style: numbers.estimate(f"{path}.style_buy.{style}", found)
            for style, found in zip(panel.styles, buys, strict=True)
        },
        "organic_rate": numbers.estimate(f"{path}.organic_rate", findings.organic.rates[each]),
        "churn_contact": numbers.assumed(f"{path}.churn_contact", float(np.average(contact, weights=weights))),
        "resting_bond": numbers.assumed(f"{path}.resting_bond", round(resting_bond(given), 4)),
    }
