"""Does the estimated world count what the log counts? The same figures of both, side by side.

The world is played under a policy that sends as often as the firm did, by lot. This file must never change a world.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from blockenv.scenarios import Scenario
from calibration.estimation.alive import Alive, first_guess
from calibration.estimation.findings import Findings
from calibration.estimation.panel import Panel, read_panel
from calibration.logs.ingest import ingest
from calibration.logs.log import Log
from calibration.logs.policies import Randomised
from calibration.logs.simulate import Settings, simulate_log
from calibration.published import Band
from calibration.rows import GROUPS, Interval, Row, jackknife, row

CUSTOMERS = (1000, 5000)  # of the simulated log
SEED = 2**43
TOLERANCE = 0.15  # relative; a world whose counts are so far off is no longer called the same


class Check(NamedTuple):
    """The card's rows, and the simulated log that they come from."""

    rows: tuple[Row, ...]
    panel: Panel
    alive: Alive


def check(findings: Findings, world: Scenario, customers: int | None = None, source: str = "the log") -> Check:
    """Simulate and compare; with as many customers as the log has, within `CUSTOMERS`, if not said otherwise."""
    panel = findings.panel
    customers = int(np.clip(panel.size, *CUSTOMERS)) if customers is None else customers
    probability, spread = sending(panel, findings.alive)
    days = int(np.median(panel.watched))
    with tempfile.TemporaryDirectory() as scratch:
        leaving: Literal["stop", "send"] = "stop" if findings.stops else "send"
        settings = Settings(customers=customers, days=days, seed=SEED, after_leaving=leaving)
        written = simulate_log(world, Randomised(probability, spread), "randomised", Path(scratch) / "log", settings)
        mail, orders, people, blocks = (
            path if path.is_file() else None
            for path in (written.folder / f"{table}.parquet" for table in ("messages", "orders", "customers", "blocks"))
        )
        if mail is None:
            raise ValueError("messages: the estimated world got none; expected a log with messages")
        tidy = Path(scratch) / "tidy"
        ingest(tidy, mail, orders, people, blocks, written.folder / "mapping.yaml")
        simulated = read_panel(Log(tidy), customers)
    rows = []
    for name, unit, figure in _figures(panel):
        theirs, ours = (_interval(each, figure) for each in (panel, simulated))
        low, high = (None, None)
        if theirs.low is not None and theirs.high is not None and np.isfinite(theirs.value):
            room = TOLERANCE * abs(theirs.value)
            low, high = min(theirs.low, theirs.value - room), max(theirs.high, theirs.value + room)
        rows.append(row(name, ours, unit, Band(theirs.value, low, high, "FOUND", source)))
    return Check(tuple(rows), simulated, first_guess(simulated, findings.stops))


def sending(panel: Panel, alive: Alive) -> tuple[float, float]:
    """Chance of a message a day of the median customer, and the standard deviation of its logit between customers."""
    last = np.tile(panel.watched[:, None], len(panel.channels))
    np.minimum.at(last, (panel.block_customer, panel.block_channel), panel.block_day + 1)
    reachable = np.where(panel.opted_in, last, 0).max(axis=1)
    days = np.minimum(reachable, panel.watched)
    sent = (panel.by_day(panel.customer, panel.day) > 0).sum(axis=1)
    told = days >= 14
    share = (sent[told] + 0.5) / (days[told] + 1.0)
    logits = logit(np.clip(share, 1e-4, 1.0 - 1e-4))
    # What luck alone would spread is taken out.
    noise = float(np.mean(1.0 / (days[told] * np.clip(share * (1.0 - share), 1e-4, None))))
    spread = float(np.sqrt(max(float(np.var(logits)) - noise, 0.0)))
    return float(np.clip(expit(np.median(logits)), 0.001, 0.97)), spread


def _figures(panel: Panel) -> list[tuple[str, str, Callable[[Panel, NDArray[np.bool_]], float]]]:
    """Name, unit and how to count it among some customers."""
    found: list[tuple[str, str, Callable[[Panel, NDArray[np.bool_]], float]]] = []
    for place, channel in enumerate(panel.channels):
        name = channel

        def rate(what: str, of_channel: str = name) -> Callable[[Panel, NDArray[np.bool_]], float]:
            def share(each: Panel, who: NDArray[np.bool_]) -> float:
                rows = who[each.customer] & (each.channel == each.channels.index(of_channel))
                return float(getattr(each, what)[rows].mean()) if rows.any() else float("nan")

            return share

        if (panel.channel == place).any():
            found.append((f"{channel}: blocks a message", "share of delivered", rate("blocked")))
            found.append((f"{channel}: opens a message", "share of delivered", rate("opened")))

    def per_customer(customers: str) -> Callable[[Panel, NDArray[np.bool_]], float]:
        def mean(each: Panel, who: NDArray[np.bool_]) -> float:
            days = float(each.watched[who].sum())
            return 100.0 * float(who[getattr(each, customers)].sum()) / days if days else float("nan")

        return mean

    found.append(("messages", "in 100 days a customer", per_customer("customer")))
    found.append(("orders", "in 100 days a customer", per_customer("order_customer")))
    found.append(("channels lost", "in 100 days a customer", per_customer("block_customer")))

    def value(each: Panel, who: NDArray[np.bool_]) -> float:
        rows = who[each.order_customer]
        return float(each.order_amount[rows].mean()) if rows.any() else float("nan")

    found.append(("order value, after discount", "money", value))

    def twice(each: Panel, who: NDArray[np.bool_]) -> float:
        count = np.bincount(each.order_customer, minlength=each.size)[who]
        return float(count.std() / count.mean()) if count.any() else float("nan")

    found.append(("coefficient of variation of order counts", "ratio", twice))

    def decline(each: Panel, who: NDArray[np.bool_]) -> float:
        rows = who[each.customer]
        early, late = rows & (each.day < 28), rows & (each.day >= 56)
        return (
            float(each.blocked[late].mean() / each.blocked[early].mean())
            if late.any() and each.blocked[early].any()
            else float("nan")
        )

    found.append(("blocks a message from day 56 on, relative to the first 28 days", "ratio", decline))
    return found


def _interval(panel: Panel, figure: Callable[[Panel, NDArray[np.bool_]], float]) -> Interval:
    group = np.arange(panel.size) % GROUPS
    return jackknife(list(range(GROUPS)), lambda some: figure(panel, np.isin(group, list(some))))
