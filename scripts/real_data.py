"""What real data say through this project's estimates: `python -m scripts.real_data DATA_FOLDER`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scripts.cli import command, console, say, table

if TYPE_CHECKING:
    from calibration.purchase_models import RepeatHistory
    from calibration.sources import Estimate

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
@command
def real_data(
    folder: Annotated[Path, typer.Argument(help="Holds the files of Hillstrom, CDNOW and REES46.", exists=True)],
) -> None:
    """Incremental effects, purchase process with its hold-out, attrition and block rates, from the files."""
    _experiment(folder)
    _purchases(folder)
    _attrition()
    _block_rates(folder)


def _experiment(folder: Path) -> None:
    """Hillstrom's e-mails: effects by inverse chances, overall and by past category, and how well learners sort."""
    from calibration.estimation.experiment import read_trial
    from calibration.estimation.uplift import average_effect, qini, t_learner, x_learner

    rows, sorted_rows = [], []
    for email in ("mens", "womens"):
        for outcome in ("visit", "conversion", "spend"):
            trial, groups = read_trial(folder, email, outcome)
            for name, who in {"all": None, **groups}.items():
                effect = average_effect(trial, who)
                rows.append((email, outcome, name, f"{effect.value:.4f}", f"{effect.low:.4f} .. {effect.high:.4f}"))
            if outcome == "visit":
                for learner, fit in (("T-learner", t_learner), ("X-learner", x_learner)):
                    curve = qini(trial, fit(trial))
                    sorted_rows.append((email, learner, f"{curve.gain[-1]:.4f}", _told(curve.area)))
    console.print(
        table("Hillstrom: what an e-mail changed", ("e-mail", "outcome", "past year", "effect", "95 %"), rows)
    )
    console.print(
        table("Hillstrom: visits a customer", ("e-mail", "learner", "gain if all", "area above chance"), sorted_rows)
    )


def _told(area: "Estimate") -> str:
    return f"{area.value:.5f} ({area.low:.5f} .. {area.high:.5f})"


def _purchases(folder: Path) -> None:
    """CDNOW: 39 weeks fitted, 39 weeks predicted, beside the package `lifetimes` where it is installed."""
    from calibration import purchases

    record = purchases.measure(folder)
    model = record.bg_nbd
    names = ("r", "alpha", "a", "b")
    other = _lifetimes(folder)
    rows = [
        (name, f"{getattr(model, name).value:.3f}", "" if other is None else f"{other[name]:.3f}") for name in names
    ]
    console.print(table("CDNOW: BG/NBD on 39 weeks", ("parameter", "here", "lifetimes"), rows))
    lines = [
        (group.repeats, f"{group.customers}", f"{group.observed.value:.3f}", f"{group.predicted:.3f}")
        for group in record.hold_out
    ]
    title = f"CDNOW: orders in the following {record.hold_out_weeks:.0f} weeks"
    console.print(table(title, ("repeats so far", "customers", "observed", "predicted"), lines))
    if other is None:
        say("the package lifetimes is not installed, so that its figures cannot stand beside these")
    else:
        say(f"lifetimes predicts {other['hold_out']:.3f} orders a customer in the hold-out")


def _lifetimes(folder: Path) -> dict[str, float] | None:
    """The same model by the package, or None."""
    try:
        from lifetimes import BetaGeoFitter  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    history, weeks = _history(folder)
    fitter = BetaGeoFitter(penalizer_coef=0.0)
    fitter.fit(history.repeats, history.recency, history.age)
    later = fitter.conditional_expected_number_of_purchases_up_to_time(
        weeks, history.repeats, history.recency, history.age
    )
    return {**{name: float(fitter.params_[name]) for name in ("r", "alpha", "a", "b")}, "hold_out": float(later.mean())}


def _history(folder: Path) -> "tuple[RepeatHistory, float]":
    """Repeat orders of the first 39 weeks, times in weeks, and the weeks after."""
    import numpy as np
    import pandas as pd

    from calibration.purchase_models import RepeatHistory
    from calibration.purchases import CALIBRATION_END, COLUMNS, FILE
    from calibration.sources import read_days, read_table

    rows = read_table(folder / FILE, COLUMNS, ["dollar_value"], whitespace_separated=True)
    dates = read_days(folder / FILE, rows["date"], "%Y%m%d")
    orders = pd.DataFrame({"customer_id": rows["customer_id"], "date": dates}).drop_duplicates()
    days = orders[orders["date"] <= CALIBRATION_END].groupby("customer_id")["date"].agg(["min", "max", "size"])
    repeats, recency, age = (
        np.asarray(column, np.float64)
        for column in (
            days["size"] - 1,
            (days["max"] - days["min"]).dt.days / 7,
            (CALIBRATION_END - days["min"]).dt.days / 7,
        )
    )
    return RepeatHistory(repeats, recency, age), (dates.max() - CALIBRATION_END).days / 7


def _attrition() -> None:
    """The daily newsletter's survival, fitted."""
    from calibration import newsletter

    record = newsletter.measure()
    fits = {"beta-geometric": record.shifted_beta_geometric, "normal frailty": record.normal_frailty}
    rows = [
        (f"{messages}", f"{share:.3f}", *(f"{fit.survival[place]:.3f}" for fit in fits.values()))
        for place, (messages, share) in enumerate(
            zip(newsletter.MESSAGES_BEFORE_OPT_OUT, newsletter.SURVIVAL, strict=True)
        )
    ]
    console.print(table("Newsletter: share of readers left", ("messages", "published", *fits), rows))


def _block_rates(folder: Path) -> None:
    """REES46: blocks a message by kind and channel."""
    from calibration import rees46

    rows = [
        (kind, f"{each.messages:,}", f"{each.block.value:.5f}", f"{each.block.low:.5f} .. {each.block.high:.5f}")
        for kind, each in rees46.measure(folder).by_kind_and_channel.items()
    ]
    console.print(table("REES46: blocks a message", ("kind and channel", "messages", "rate", "95 %"), rows))


if __name__ == "__main__":
    app()
