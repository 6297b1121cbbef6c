"""Does the firm write to those who liked it anyway? If so, its log cannot be read as an experiment.

Predicts from past engagement whether a customer gets a message today; a coin cannot be predicted. This file must never
correct an estimate, it only warns.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from calibration.estimation.decisions import sampled_days, sent_on
from calibration.estimation.panel import Floats, Panel, Places

SAMPLE = 60_000  # customer-days
SUSPICIOUS = 0.55
TOLERANCE = 0.1  # relative, between how often messages arrived and how often they were to be sent
_LEFT = " (a firm that writes to nobody who has left should say --stops)"
_BURN_IN = 14  # days, before which there is no past to speak of


@dataclass(frozen=True)
class Confounding:
    """How well messages can be predicted; `warning` is empty where there is nothing to warn of."""

    area: float  # under the ROC curve of message against silence, 1/2 for a coin
    has_propensities: bool
    warning: str


def check_confounding(panel: Panel, stops: bool = False, seed: int = 0) -> Confounding:
    """Cross-validated by customer; features are shares and rates, so that a high frequency alone predicts nothing.

    Args:
        stops: see `sampled_days`.
    """
    owner, day = sampled_days(panel, SAMPLE, np.random.default_rng(seed), stops, _BURN_IN)
    features, treated = engagement(panel, owner, day), sent_on(panel, owner, day).astype(np.float64)
    predicted = np.zeros(len(treated))
    for learn, judge in GroupKFold(n_splits=3).split(features, treated, owner):
        model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=seed)
        predicted[judge] = model.fit(features[learn], treated[learn]).predict_proba(features[judge])[:, 1]
    area = float(roc_auc_score(treated, predicted)) if 0 < treated.sum() < len(treated) else 0.5
    told = bool(np.isfinite(panel.propensity).mean() > 0.9)
    reasons = []
    if area > SUSPICIOUS:
        reasons.append(
            f"who gets a message can be predicted from past engagement and covariates (area under the curve {area:.2f}, "
            "a coin has 0.50): customers who get many messages differ from those who get few, so plain comparisons of "
            "frequencies are wrong, and adjusted ones right only as far as the log shows what the firm went by"
            + ("" if stops else _LEFT)
        )
    chance = panel.send_probability[owner]
    known = np.isfinite(chance)
    if known.any() and abs(treated[known].mean() / chance[known].mean() - 1.0) > TOLERANCE:
        reasons.append(
            f"messages arrived on {treated[known].mean():.1%} of the days on which they could, while the chances told add up to "
            f"{chance[known].mean():.1%}: the chances do not hold, and what is called incremental is wrong"
            + ("" if stops else _LEFT)
        )
    if not told:
        reasons.append("the log does not say how likely each message was, so that chance cannot be told from choice")
    return Confounding(area, told, "; ".join(reasons))


def engagement(panel: Panel, customer: Places, day: Places) -> Floats:
    """(K, 2 + S) opens beyond the usual and orders a day before the given mornings, shrunk, and covariates."""
    usual = np.bincount(panel.channel, panel.opened) / np.maximum(np.bincount(panel.channel), 1)
    before = [
        np.cumsum(each, axis=1) - each
        for each in (
            panel.by_day(panel.customer, panel.day, panel.opened),
            panel.by_day(panel.customer, panel.day, usual[panel.channel]),
            panel.by_day(panel.order_customer, panel.order_day),
        )
    ]
    opened, expected, ordered = (each[customer, day] for each in before)
    rate = panel.order_customer.size / max(float(panel.watched.sum()), 1.0)
    return np.column_stack(
        [(opened + 2.0) / (expected + 2.0), (ordered + 1.0) / (rate * day + 1.0), panel.hints[customer]]
    )
