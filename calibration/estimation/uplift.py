"""What a message changed, as against what followed it: incremental effects of a treatment drawn by lot.

Plain arrays in, frozen records out: the same code for an experiment's rows and for the customer-days of a log. This file
must never be given a treatment without the chance with which it was drawn.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold

from calibration.estimation.panel import Floats
from calibration.sources import Estimate, normal_estimate

FOLDS = 3
_TRIM = 0.01  # chances beyond which a row would count a hundredfold


class Trial(NamedTuple):
    """N units: features (N, K), treated (N,) 0 or 1, outcome (N,), the chance of treatment (N,), and whose rows they are."""

    features: Floats
    treated: Floats
    outcome: Floats
    chance: Floats
    owner: NDArray[np.int64]


class Curve(NamedTuple):
    """Gain by share of units treated, best first; `area` between it and treating at random, in outcomes a unit."""

    share: Floats
    gain: Floats
    area: Estimate


def weights(trial: Trial) -> Floats:
    """(N,) inverse of the chance of what happened; positive for the treated, negative for the others."""
    chance = np.clip(trial.chance, _TRIM, 1.0 - _TRIM)
    return np.where(trial.treated > 0, 1.0 / chance, -1.0 / (1.0 - chance))


def average_effect(trial: Trial, rows: NDArray[np.bool_] | None = None) -> Estimate:
    """Difference of weighted means (Hajek 1971), the error clustered by owner; of some rows only, if given."""
    part = trial
    if rows is not None:
        part = Trial(
            trial.features[rows], trial.treated[rows], trial.outcome[rows], trial.chance[rows], trial.owner[rows]
        )
    weight = np.abs(weights(part))
    influence, effect = np.zeros(len(part.treated)), 0.0
    for arm, sign in ((part.treated > 0, 1.0), (part.treated <= 0, -1.0)):
        total = float(weight[arm].sum())
        if total == 0.0:
            raise ValueError("treated: all alike; expected treated and untreated units")
        mean = float((weight[arm] * part.outcome[arm]).sum()) / total
        effect += sign * mean
        influence[arm] = sign * weight[arm] * (part.outcome[arm] - mean) / total
    _, place = np.unique(part.owner, return_inverse=True)
    by_owner = np.bincount(place, influence)
    return normal_estimate(effect, float(np.sqrt((by_owner**2).sum())))


def t_learner(trial: Trial, seed: int = 0) -> Floats:
    """(N,) effects: one regression for each arm (Künzel et al. 2019), predicted for units that were not learned from."""
    effect = np.zeros(len(trial.treated))
    for learn, judge in GroupKFold(FOLDS).split(trial.features, groups=trial.owner):
        treated, others = _arms(trial, learn, seed)
        effect[judge] = treated.predict(trial.features[judge]) - others.predict(trial.features[judge])
    return effect


def t_predict(trial: Trial, features: Floats, seed: int = 0) -> Floats:
    """(M,) the T-learner's effects for other units, `features` (M, K)."""
    treated, others = _arms(trial, np.arange(len(trial.treated)), seed)
    return np.asarray(treated.predict(features) - others.predict(features), np.float64)


def x_learner(trial: Trial, seed: int = 0) -> Floats:
    """(N,) effects: each arm's surprise by the other's regression, weighed by the chance (Künzel et al. 2019)."""
    effect = np.zeros(len(trial.treated))
    for learn, judge in GroupKFold(FOLDS).split(trial.features, groups=trial.owner):
        treated, others = _arms(trial, learn, seed)
        own = learn[trial.treated[learn] > 0]
        rest = learn[trial.treated[learn] <= 0]
        gain = _regression(seed).fit(trial.features[own], trial.outcome[own] - others.predict(trial.features[own]))
        loss = _regression(seed).fit(trial.features[rest], treated.predict(trial.features[rest]) - trial.outcome[rest])
        chance, there = trial.chance[judge], trial.features[judge]
        effect[judge] = chance * loss.predict(there) + (1.0 - chance) * gain.predict(there)
    return effect


def qini(trial: Trial, score: Floats, points: int = 50) -> Curve:
    """Gain a unit if only the best by `score` are treated (Radcliffe 2007, with inverse chances as weights).

    The area's interval is clustered by owner and takes the score for given.
    """
    order = np.argsort(-score, kind="stable")
    size = len(order)
    signed = weights(trial) * trial.outcome / size
    total = np.concatenate([[0.0], np.cumsum(signed[order])])
    place = np.linspace(0, size, points + 1).round().astype(int)
    # A unit of rank r counts for all shares above r: the area is a sum over units.
    lead = np.empty(size)
    lead[order] = 0.5 - (np.arange(size) + 0.5) / size
    _, owner = np.unique(trial.owner, return_inverse=True)
    by_owner = np.bincount(owner, lead * signed)
    area = float(by_owner.sum())
    error = float(np.sqrt(((by_owner - by_owner.mean()) ** 2).sum()))
    return Curve(place / size, total[place], normal_estimate(area, error))


def _arms(
    trial: Trial, rows: NDArray[np.int64], seed: int
) -> tuple[HistGradientBoostingRegressor, HistGradientBoostingRegressor]:
    treated, others = rows[trial.treated[rows] > 0], rows[trial.treated[rows] <= 0]
    if not len(treated) or not len(others):
        raise ValueError("treated: all alike; expected treated and untreated units")
    first, second = (_regression(seed).fit(trial.features[arm], trial.outcome[arm]) for arm in (treated, others))
    return first, second


def _regression(seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=60,
        max_leaf_nodes=8,
        learning_rate=0.05,
        min_samples_leaf=200,
        l2_regularization=10.0,
        random_state=seed,
    )
