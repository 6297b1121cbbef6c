"""A scenario that can be played, from what a log says: every estimated number with its interval, the rest as assumed.

This file must never estimate; it only puts numbers where the scenario has them, and says of each where it is from.
"""

from typing import Any

import numpy as np

from blockenv.scenarios import Scenario
from calibration.estimation.effects import delta
from calibration.estimation.findings import Findings, resting_bond
from calibration.estimation.numbers import Numbers
from calibration.estimation.ordering import segment_order
from calibration.estimation.panel import Floats, canon_channel
from calibration.estimation.parameters import contrasts
from calibration.sources import NORMAL_95, Estimate

_LEAST_LOAD, _MOST_LOAD = 0.05, 20.0


def build_world(findings: Findings, name: str, log: str) -> Scenario:
    """The estimated scenario; `log` is what sources call the log."""
    panel, given, joint = findings.panel, findings.given, findings.joint
    numbers = Numbers(log)
    order = segment_order(findings)
    segments = [_segment(findings, numbers, each, place) for place, each in enumerate(order)]
    channels = [_channel(findings, numbers, place) for place in range(len(panel.channels))]
    styles = []
    for style in panel.styles:
        found = findings.money.discounts.get(style)
        share = 0.0
        if found is not None:
            share = float(np.clip(numbers.estimate(f"styles.{style}.discount", found), 0.0, 0.9))
        styles.append({"name": style, "discount": share})
    response, spread, bond, fatigue = (
        getattr(given, part).model_dump() for part in ("response", "spread", "bond", "fatigue")
    )
    for part, fields in (("bond", bond), ("fatigue", fatigue)):
        for field in fields:
            numbers.assumed(f"{part}.{field}", None)
    common, error = joint.layout.common_of, np.sqrt(np.diag(joint.covariance))
    for field, most in (
        ("block_bond", 5.0),
        ("block_relevance", 5.0),
        ("open_bond", 5.0),
        ("open_fatigue", 3.0),
        ("open_slot", 3.0),
    ):
        value, deviation = float(common(joint.theta, field)[0]), float(error[joint.layout.places[field]][0])
        response[field] = float(np.clip(value, 0.0, most))
        numbers.derived(f"response.{field}", value, value - NORMAL_95 * deviation, value + NORMAL_95 * deviation)
    response["buy_relevance"] = float(
        np.clip(numbers.estimate("response.buy_relevance", findings.prompted.relevance), 0.0, 5.0)
    )
    response["spill_over"] = float(np.clip(numbers.estimate("response.spill_over", findings.spill_over), 0.0, 10.0))
    leaving = findings.alive
    ratio = _leaving_ratio(findings)
    response["churn_probability"] = numbers.derived(
        "response.churn_probability", leaving.leaving / ratio, leaving.leaving_low / ratio, leaving.leaving_high / ratio
    )
    for field in response:
        if f"response.{field}" not in numbers.provenance:
            numbers.assumed(f"response.{field}", None)
    spread["frailty"] = _frailty(findings, numbers)
    log_spread, log_error = (float(each[joint.layout.places["log_open_spread"]][0]) for each in (joint.theta, error))
    ends = (log_spread, log_spread - NORMAL_95 * log_error, log_spread + NORMAL_95 * log_error)
    spread["open_logit"] = float(np.clip(numbers.derived("spread.open_logit", *np.exp(ends).tolist()), 0.0, 4.0))
    spread["organic_shape"] = numbers.estimate("spread.organic_shape", findings.organic.shape)
    commerce = given.commerce.model_dump()
    money = findings.money
    if money.spread is not None:
        log_mean = money.spread.customer_log_mean
        low, high = (None if end is None else float(np.exp(end)) for end in (log_mean.low, log_mean.high))
        commerce["order_value"] = numbers.derived("commerce.order_value", float(np.exp(log_mean.value)), low, high)
        commerce["order_log_sd"] = numbers.estimate("commerce.order_log_sd", money.spread.within_log_sd)
        spread["order_value"] = numbers.estimate("spread.order_value", money.spread.between_log_sd)
    if money.margin is not None:
        commerce["margin"] = float(np.clip(numbers.estimate("commerce.margin", money.margin), 0.001, 1.0))
    for part, fields in (("commerce", commerce), ("spread", spread)):
        for field in fields:
            if f"{part}.{field}" not in numbers.provenance:
                numbers.assumed(f"{part}.{field}", None)
    for field in ("calendar.season", "calendar.tolerance_drift", "discount"):
        numbers.assumed(field, None)
    return Scenario.model_validate(
        {
            "name": name,
            "isolates": f"the customers of {log}, as estimated",
            "channels": channels,
            "slots": panel.slots,
            "styles": styles,
            "products": panel.products,
            "segments": segments,
            "spread": spread,
            "fatigue": fatigue,
            "bond": bond,
            "response": response,
            "commerce": commerce,
            "hint_noise": _hint_noise(findings, numbers, order),
            "horizon": given.horizon,
            "evaluation_days": given.evaluation_days,
            "discount": given.discount,
            "provenance": numbers.provenance,
        }
    )


def _hint_noise(findings: Findings, numbers: Numbers, order: list[int]) -> float:
    """Noise of a covariate relative to how far apart it sets its class; the canon's where there are none to match."""
    layout, theta = findings.joint.layout, findings.joint.theta
    hints = layout.table(theta, "hint")[order]
    if hints.shape[1] != hints.shape[0] or hints.shape[0] < 2:
        return float(numbers.assumed("hint_noise", 100.0 if not hints.shape[1] else findings.given.hint_noise))
    noise = np.exp(layout.common_of(theta, "log_hint_noise"))
    others = (hints.sum(axis=0) - np.diag(hints)) / (len(hints) - 1)
    return numbers.derived(
        "hint_noise", float(np.clip(np.mean(noise / np.maximum(np.diag(hints) - others, 1e-3)), 0.0, 100.0)), None, None
    )


def _channel(findings: Findings, numbers: Numbers, place: int) -> dict[str, Any]:
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


def _segment(findings: Findings, numbers: Numbers, each: int, place: int) -> dict[str, Any]:
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


def _leaving_ratio(findings: Findings) -> float:
    """Mean hazard of leaving in the log relative to bond 1/2 without contact, by the canon's slopes."""
    response, alive = findings.given.response, findings.alive.by_day
    posterior = findings.joint.evaluation.posterior
    course = sum(posterior[:, each, None] * course for each, course in enumerate(findings.courses))
    return float((alive * np.exp(-response.churn_bond * (course - 0.5))).sum() / alive.sum())


def _frailty(findings: Findings, numbers: Numbers) -> float:
    """The fitted deviation holds that of the customer's channels, slots and styles as well; these are given."""
    joint, spread, panel = findings.joint, findings.given.spread, findings.panel
    fitted = float(joint.layout.common_of(joint.theta, "log_frailty")[0])
    error = float(
        np.sqrt(joint.covariance[joint.layout.places["log_frailty"], joint.layout.places["log_frailty"]][0, 0])
    )
    open_channels = max(float(panel.opted_in.sum(axis=1).mean()), 1.0)
    others = spread.channel_block**2 / open_channels
    others += spread.effect**2 * sum(1.0 / len(names) for names in (panel.slots, panel.styles) if len(names) > 1)

    def own(log_sd: float) -> float:
        return float(np.sqrt(max(np.exp(2.0 * log_sd) - others, 0.0)))

    return float(
        np.clip(
            numbers.derived(
                "spread.frailty", own(fitted), own(fitted - NORMAL_95 * error), own(fitted + NORMAL_95 * error)
            ),
            0.0,
            4.0,
        )
    )
