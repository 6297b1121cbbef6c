"""A score for every customer on the last day of the log: how likely a block, an order, and what a message would change.

Learned from what was known at a cut in time and what came after it; gains judge each customer by a model that has not
learned from them. This file must never let the time after the cut into a feature that is learned from.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from calibration.estimation.bond import loads_by_day
from calibration.estimation.confounding import engagement
from calibration.estimation.decisions import sampled_days, sent_on
from calibration.estimation.findings import Findings
from calibration.estimation.panel import CANON, Floats, Panel, loads_of
from calibration.estimation.uplift import Trial, t_learner, t_predict, x_learner

WINDOW = 28  # days after the cut
SAMPLE = 200_000  # customer-days of the uplift model
FEATURES = (
    "open_index",
    "order_index",
    "load",
    "messages_28",
    "orders",
    "days_since_order",
    "blocked_channels",
    "tenure",
)


class Scores(NamedTuple):
    """`files`: a row for every customer and model; `gains`: a row for every decile and model.

    Of the model `uplift`, `probability` is what a message adds to that of an order on its day, and there are no odds.
    """

    files: pd.DataFrame
    gains: pd.DataFrame


def features_at(panel: Panel, customer: NDArray[np.int64], day: NDArray[np.int64]) -> Floats:
    """(K, 8 + S) what was known of customers on the mornings of these days."""
    loads = np.array([loads_of(panel.channels)[name] for name in panel.channels])
    course = loads_by_day(panel, CANON, loads)
    sent, ordered = panel.by_day(panel.customer, panel.day), panel.by_day(panel.order_customer, panel.order_day)
    blocked = panel.by_day(panel.block_customer, panel.block_day)
    so_far = [np.cumsum(each, axis=1) - each for each in (sent, ordered, blocked)]
    month_ago = np.maximum(day - 28, 0)
    number = np.where(ordered > 0, np.arange(panel.days), -1)
    last = np.maximum.accumulate(np.concatenate([np.full((panel.size, 1), -1), number[:, :-1]], axis=1), axis=1)
    since = np.where(last[customer, day] >= 0, day - last[customer, day], 365)
    past = engagement(panel, customer, day)
    return np.column_stack(
        [
            past[:, :2],
            course[customer, day],
            so_far[0][customer, day] - so_far[0][customer, month_ago],
            so_far[1][customer, day],
            since,
            so_far[2][customer, day],
            day,
            past[:, 2:],
        ]
    )


def trial_of(findings: Findings, seed: int = 0) -> Trial | None:
    """Customer-days on which a message was drawn by lot, outcome the order of that day; None where no chance is told."""
    panel = findings.panel
    if not np.isfinite(panel.send_probability).any():
        return None
    customer, day = sampled_days(panel, SAMPLE, np.random.default_rng(seed), findings.stops)
    told = np.isfinite(panel.send_probability[customer])
    customer, day = customer[told], day[told]
    ordered = panel.by_day(panel.order_customer, panel.order_day) > 0
    return Trial(
        features_at(panel, customer, day),
        sent_on(panel, customer, day).astype(np.float64),
        ordered[customer, day].astype(np.float64),
        panel.send_probability[customer],
        customer,
    )


def score(findings: Findings, trial: Trial | None, seed: int = 0) -> Scores:
    """Probabilities for the next `WINDOW` days, as of the last morning of each customer's watch.

    The cut is `WINDOW` days before the end of the watch, or half-way where that is later. A model with fewer than 20
    customers on either side is left out.
    """
    panel = findings.panel
    everybody = np.arange(panel.size)
    cut = np.maximum(panel.watched - WINDOW, panel.watched // 2)
    features, today = features_at(panel, everybody, cut), features_at(panel, everybody, panel.watched - 1)
    after = np.arange(panel.days) >= cut[:, None]
    outcomes: dict[str, NDArray[np.bool_]] = {
        "block": np.any(panel.by_day(panel.block_customer, panel.block_day) * after, axis=1),
        "order": np.any(panel.by_day(panel.order_customer, panel.order_day) * after, axis=1),
    }
    files, gains = [], []
    for model, happened in outcomes.items():
        if min(happened.sum(), (~happened).sum()) < 20:
            continue
        held_out = np.zeros(panel.size)
        for learn, judge in StratifiedKFold(5, shuffle=True, random_state=seed).split(features, happened):
            held_out[judge] = _learned(features[learn], happened[learn], features[judge])
        files.append(_file(panel, model, _learned(features, happened, today)))
        gains.append(gains_table(model, held_out, happened.astype(np.float64)))
    if trial is not None:
        effect = t_predict(trial, today, seed)
        rows = _file(panel, "uplift", effect)
        rows["odds"] = np.nan
        files.append(rows)
    empty = pd.DataFrame({"customer": [], "model": [], "probability": [], "odds": [], "decile": []})
    return Scores(pd.concat(files) if files else empty, pd.concat(gains) if gains else pd.DataFrame())


def _learned(features: Floats, happened: NDArray[np.bool_], there: Floats) -> Floats:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(features, happened)
    return np.asarray(model.predict_proba(there)[:, 1], np.float64)


def gains_table(model: str, probability: Floats, happened: Floats) -> pd.DataFrame:
    """By decile, the likeliest first: customers, events, mean probability, share of all events so far, and lift."""
    decile = deciles(probability)
    table = pd.DataFrame({"decile": decile, "probability": probability, "events": happened})
    table = table.groupby("decile").agg(
        customers=("events", "size"), events=("events", "sum"), probability=("probability", "mean")
    )
    table["captured"] = table["events"].cumsum() / max(float(table["events"].sum()), 1.0)
    table["lift"] = table["captured"] / (table["customers"].cumsum() / table["customers"].sum())
    return table.reset_index().assign(model=model)


def deciles(score: Floats) -> NDArray[np.int64]:
    """(N,) 1 for the highest tenth, 10 for the lowest; ties by place."""
    rank = np.empty(len(score), np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(len(score))
    return np.asarray(rank * 10 // len(score) + 1)


def effects_of(trial: Trial, seed: int = 0) -> dict[str, Floats]:
    """Predicted effects on the trial's own units, by learner."""
    return {"T-learner": t_learner(trial, seed), "X-learner": x_learner(trial, seed)}


def _file(panel: Panel, model: str, probability: Floats) -> pd.DataFrame:
    odds = probability / np.maximum(1.0 - probability, 1e-12)
    return pd.DataFrame(
        {
            "customer": panel.names,
            "model": model,
            "probability": probability,
            "odds": odds,
            "decile": deciles(probability),
        }
    )
