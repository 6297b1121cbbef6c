"""Simulated logs to estimate from, each made once a session."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from blockenv.scenarios import SCENARIOS
from calibration.estimation.findings import Findings, find
from calibration.estimation.panel import Panel, read_panel
from calibration.logs.ingest import ingest
from calibration.logs.log import Log
from calibration.logs.policies import Confounded, Randomised
from calibration.logs.simulate import Settings, simulate_log

WORLD = SCENARIOS["Omnichannel-v0"]
_KEPT: list[Any] = []


@functools.cache
def source(policy: str = "randomised", customers: int = 1500, days: int = 70) -> Path:
    """The folder of a simulated log, as a firm would have it."""
    keep = tempfile.TemporaryDirectory()
    _KEPT.append(keep)
    chosen = Randomised(rate_spread=0.7) if policy == "randomised" else Confounded(WORLD)
    settings = Settings(
        customers=customers, days=days, seed=3, after_leaving="send", reveal_propensity=policy == "randomised"
    )
    return simulate_log(WORLD, chosen, policy, Path(keep.name) / "log", settings).folder


@functools.cache
def log(policy: str = "randomised") -> Log:
    """The same, ingested."""
    folder = source(policy)
    tidy = folder.parent / "tidy"
    mail, orders, people, blocks = (
        folder / f"{each}.parquet" for each in ("messages", "orders", "customers", "blocks")
    )
    ingest(tidy, mail, orders, people, blocks, folder / "mapping.yaml")
    return Log(tidy)


@functools.cache
def panel(policy: str = "randomised") -> Panel:
    """The same, as arrays."""
    return read_panel(log(policy))


def read_rows(path: Path) -> pd.DataFrame:
    """A Parquet file, read as the product reads it; pandas alone would need another library."""
    return duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)]).df()


@functools.cache
def truth(policy: str = "randomised") -> pd.DataFrame:
    """What the customers were, in the order of the panel."""
    rows = read_rows(source(policy) / "truth.parquet").set_index("customer")
    return rows.loc[panel(policy).names.astype(int)]


@functools.cache
def findings() -> Findings:
    """Everything that two classes find."""
    return find(panel(), classes=2)
