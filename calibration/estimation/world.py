"""A scenario that can be played, from what a log says: every estimated number with its interval, the rest as assumed.

This file must never estimate; it only puts numbers where the scenario has them, and says of each where it is from.
"""

import numpy as np

from blockenv.scenarios import Scenario
from calibration.estimation.findings import Findings
from calibration.estimation.hints import NO_HINT, hint_noise
from calibration.estimation.numbers import Numbers
from calibration.estimation.ordering import segment_order
from calibration.estimation.parts import channel_fields, segment_fields
from calibration.sources import NORMAL_95


def build_world(findings: Findings, name: str, log: str) -> Scenario:
    """The estimated scenario; `log` is what sources call the log."""
    panel, given, joint = findings.panel, findings.given, findings.joint
    numbers = Numbers(log)
    order = segment_order(findings)
    segments = [segment_fields(findings, numbers, each, place) for place, each in enumerate(order)]
    channels = [channel_fields(findings, numbers, place) for place in range(len(panel.channels))]
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
            "hint_noise": _hint_noise(findings, numbers),
            "horizon": given.horizon,
            "evaluation_days": given.evaluation_days,
            "discount": given.discount,
            "provenance": numbers.provenance,
        }
    )


def _hint_noise(findings: Findings, numbers: Numbers) -> float:
    """Noise of a hint relative to how far apart it sets the classes."""
    noise = hint_noise(findings)
    if noise == NO_HINT:
        return float(numbers.assumed("hint_noise", NO_HINT))
    return numbers.derived("hint_noise", noise, None, None)


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
