"""What one e-mail changed: 64,000 past buyers drawn by lot for a men's, a women's or no e-mail.

Source: K. Hillstrom, MineThatData E-Mail Analytics Challenge, 2008. This file must never write its rows out,
only the summaries below, and must never say anything about blocking: the source has no unsubscribes.

An effect is the difference of means between an arm and the arm without e-mail, so it is caused, not merely
attributed. Relevance is read from the past year's purchases: a women's e-mail to someone who bought only
men's goods is off target. It is one campaign with two creatives, so relevance is confounded with whatever
else distinguished the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.sources import (
    Estimate,
    Figure,
    Label,
    LogMoments,
    SourceError,
    figure,
    log_moments,
    normal_estimate,
    positive_estimate,
    proportion,
    read_table,
)

FILE = "hillstrom_minethatdata_2008.csv"
SOURCE = "Hillstrom, MineThatData E-Mail Analytics Challenge, 2008"
COLUMNS = ("recency", "history", "mens", "womens", "channel", "segment", "visit", "conversion", "spend")
NUMBERS = ("recency", "history", "mens", "womens", "visit", "conversion", "spend")
ARMS = {"No E-Mail": "none", "Mens E-Mail": "mens", "Womens E-Mail": "womens"}
OUTCOMES = ("visit", "conversion", "spend")
CATEGORIES = ("mens only", "womens only", "both")
UNITS = {
    "visit": "share of customers in 2 weeks",
    "conversion": "share of customers in 2 weeks",
    "spend": "dollars in 2 weeks",
}


@dataclass(frozen=True)
class Outcomes:
    """Per customer in two weeks: share who visit, share who buy, dollars spent; or differences thereof."""

    visit: Estimate
    conversion: Estimate
    spend: Estimate


@dataclass(frozen=True)
class Hillstrom:
    """The experiment in figures; e-mails are "mens" and "womens", arms these and "none".

    `effects[email]` and `effects_by_category[email][past category]` are differences from the arm without
    e-mail, with standard errors. `matched_to_mismatched[email]`: visit effect among those who bought only the
    e-mail's category, relative to those who bought only the other. `visit_effect_sd[email]`: standard
    deviation of the true visit effect between cells of past category x recency x channel (DerSimonian & Laird
    1986), and `visit_effect_cells` how many cells. `conversion_given_visit`: by arm. `order_value` and
    `past_spend` in dollars; past spend is cut off below at $29.99.
    """

    customers: Mapping[str, int]
    outcomes: Mapping[str, Outcomes]
    effects: Mapping[str, Outcomes]
    effects_by_category: Mapping[str, Mapping[str, Outcomes]]
    matched_to_mismatched: Mapping[str, Estimate]
    visit_effect_sd: Mapping[str, float]
    visit_effect_cells: Mapping[str, int]
    conversion_given_visit: Mapping[str, Estimate]
    visit_by_recency: Mapping[str, Estimate]
    order_value: LogMoments
    orders: int
    past_spend: LogMoments


def measure(folder: Path) -> Hillstrom:
    """The record of this source, read in `folder`; `SourceError` where the file is missing or wrong."""
    table = _read(folder)
    arms = {arm: table[table["arm"] == arm] for arm in ARMS.values()}
    emails = ("mens", "womens")
    effects_by_category = {
        email: {
            category: _effects(_in_category(arms[email], category), _in_category(arms["none"], category))
            for category in CATEGORIES
        }
        for email in emails
    }
    spreads = {email: _between_cells(arms[email], arms["none"]) for email in emails}
    buyers = table[table["conversion"] == 1]
    return Hillstrom(
        customers={arm: len(rows) for arm, rows in arms.items()},
        outcomes={arm: _outcomes(rows) for arm, rows in arms.items()},
        effects={email: _effects(arms[email], arms["none"]) for email in emails},
        effects_by_category=effects_by_category,
        matched_to_mismatched={
            email: _ratio(by_category[f"{email} only"].visit, by_category[f"{other} only"].visit)
            for (email, other), by_category in zip((emails, emails[::-1]), effects_by_category.values(), strict=True)
        },
        visit_effect_sd={email: deviation for email, (deviation, _) in spreads.items()},
        visit_effect_cells={email: cells for email, (_, cells) in spreads.items()},
        conversion_given_visit={
            arm: proportion(float(rows["conversion"].sum()), float(rows["visit"].sum())) for arm, rows in arms.items()
        },
        visit_by_recency={
            str(int(float(str(month)))): proportion(float(rows["visit"].sum()), len(rows))
            for month, rows in table.groupby("recency")
        },
        order_value=log_moments(buyers["spend"].to_numpy()),
        orders=len(buyers),
        past_spend=log_moments(table["history"].to_numpy()),
    )


def _read(folder: Path) -> pd.DataFrame:
    path = folder / FILE
    table = read_table(path, COLUMNS, NUMBERS)
    for column in ("mens", "womens", "visit", "conversion"):
        strange = table.loc[~table[column].isin([0.0, 1.0]), column]
        if len(strange):
            raise SourceError(f"{path}: column {column!r} holds {strange.iloc[0]}; expected 0 or 1")
    table = table.assign(arm=table["segment"].map(ARMS))
    if table["arm"].isna().any():
        strange_arm = table.loc[table["arm"].isna(), "segment"].iloc[0]
        raise SourceError(f"{path}: column 'segment' holds {strange_arm!r}; expected one of {', '.join(ARMS)}")
    if ((table["conversion"] == 1) != (table["spend"] > 0)).any():
        raise SourceError(
            f"{path}: column 'spend' is not positive exactly where column 'conversion' is 1; expected that"
        )
    if table["history"].min() == 0:
        raise SourceError(f"{path}: column 'history' holds 0; expected the past year's spend of a buyer, above 0")
    for arm in ARMS.values():
        if table.loc[table["arm"] == arm, "conversion"].sum() < 2:
            raise SourceError(f"{path}: column 'conversion' has fewer than 2 buyers in arm {arm!r}; expected more")
        for category in CATEGORIES:
            if len(_in_category(table[table["arm"] == arm], category)) < 2:
                raise SourceError(
                    f"{path}: fewer than 2 rows of arm {arm!r} and past category {category!r}; expected more"
                )
    return table


def _in_category(rows: pd.DataFrame, category: str) -> pd.DataFrame:
    mens, womens = {"mens only": (1, 0), "womens only": (0, 1), "both": (1, 1)}[category]
    return rows[(rows["mens"] == mens) & (rows["womens"] == womens)]


def _outcomes(rows: pd.DataFrame) -> Outcomes:
    visit, conversion = (proportion(float(rows[outcome].sum()), len(rows)) for outcome in ("visit", "conversion"))
    spend = normal_estimate(float(rows["spend"].mean()), float(rows["spend"].std()) / len(rows) ** 0.5)
    return Outcomes(visit=visit, conversion=conversion, spend=spend)


def _effects(treated: pd.DataFrame, control: pd.DataFrame) -> Outcomes:
    """Differences of means; the variances of the two arms are not pooled (Welch)."""
    differences = []
    for outcome in OUTCOMES:
        here, there = treated[outcome], control[outcome]
        error = (float(here.var()) / len(here) + float(there.var()) / len(there)) ** 0.5
        differences.append(normal_estimate(float(here.mean()) - float(there.mean()), error))
    visit, conversion, spend = differences
    return Outcomes(visit=visit, conversion=conversion, spend=spend)


def _ratio(matched: Estimate, mismatched: Estimate) -> Estimate:
    """Ratio of two effects, its interval normal in the logarithm; none unless both are clearly positive."""
    if matched.low is None or mismatched.low is None or min(matched.low, mismatched.low) <= 0:
        return Estimate(matched.value / mismatched.value)
    relative = np.array([(effect.standard_error or 0.0) / effect.value for effect in (matched, mismatched)])
    return positive_estimate(float(np.log(matched.value / mismatched.value)), float((relative**2).sum() ** 0.5))


def _between_cells(treated: pd.DataFrame, control: pd.DataFrame) -> tuple[float, int]:
    """Spread of the visit effect between cells beyond sampling error, and the number of cells used."""
    moments = []
    for rows in (treated, control):
        pairs_of_months = ((rows["recency"] - 1) // 2).rename("months")
        moments.append(
            rows.groupby(["mens", "womens", pairs_of_months, "channel"])["visit"].agg(["mean", "var", "size"])
        )
    here, there = moments[0].align(moments[1], join="inner")
    effects = (here["mean"] - there["mean"]).to_numpy(dtype=np.float64)
    variances = (here["var"] / here["size"] + there["var"] / there["size"]).to_numpy(dtype=np.float64)
    told = np.isfinite(variances) & (variances > 0)
    return between_study_sd(effects[told], variances[told]), int(told.sum())


def between_study_sd(effects: NDArray[np.float64], variances: NDArray[np.float64]) -> float:
    """Standard deviation of true effects behind estimates, both (K,), after DerSimonian & Laird (1986)."""
    weights = 1.0 / variances
    excess = float(weights @ (effects - weights @ effects / weights.sum()) ** 2) - (effects.size - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    return (max(excess, 0.0) / scale) ** 0.5 if scale > 0 else 0.0


def figures(folder: Path) -> list[Figure]:
    """What a calibration card may show of this source; `SourceError` where the file is missing or wrong."""
    record = measure(folder)
    lines = []
    for arm, outcomes in record.outcomes.items():
        lines.append(_line(f"customers, e-mail {arm}", Estimate(record.customers[arm]), "customers", "FOUND"))
        lines += _outcome_lines(f"e-mail {arm}", outcomes, "FOUND")
        lines.append(
            _line(
                f"conversion given visit, e-mail {arm}",
                record.conversion_given_visit[arm],
                "share of visitors",
                "FOUND",
            )
        )
    for email, effects in record.effects.items():
        lines += _outcome_lines(f"effect of {email} e-mail", effects, "DERIVED")
        for category, part in record.effects_by_category[email].items():
            lines += _outcome_lines(f"effect of {email} e-mail on past buyers of {category}", part, "DERIVED")
        ratio, spread = record.matched_to_mismatched[email], Estimate(record.visit_effect_sd[email])
        lines.append(
            _line(f"visit effect of {email} e-mail, on target relative to off target", ratio, "ratio", "DERIVED")
        )
        lines.append(_line(f"visit effect of {email} e-mail, sd between cells", spread, UNITS["visit"], "DERIVED"))
    for month, estimate in record.visit_by_recency.items():
        lines.append(_line(f"visit, last purchase {month} months ago", estimate, UNITS["visit"], "FOUND"))
    for name, moments in (("order value", record.order_value), ("past year's spend", record.past_spend)):
        lines.append(_line(f"{name}, log-mean", moments.log_mean, "log dollars", "FOUND"))
        lines.append(_line(f"{name}, log-sd", moments.log_sd, "log dollars", "FOUND"))
    return lines


def _outcome_lines(name: str, outcomes: Outcomes, label: Label) -> list[Figure]:
    return [_line(f"{name}, {outcome}", getattr(outcomes, outcome), UNITS[outcome], label) for outcome in OUTCOMES]


def _line(name: str, estimate: Estimate, unit: str, label: Label) -> Figure:
    return figure(f"Hillstrom {name}", estimate, unit, label, SOURCE)
