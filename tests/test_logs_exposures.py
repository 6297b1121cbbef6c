"""The table of exposures and that of customers: every column against the plain definition, event by event."""

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.logs.decay import before, counts_before, decayed_sums, since
from calibration.logs.exposures import ExposureSettings, derive_exposures
from calibration.logs.ingest import ingest
from calibration.logs.log import Log
from calibration.logs.profiles import derive_profiles
from calibration.logs.schema import LogError

START = datetime(2021, 3, 1)  # a Monday


# --- sums that wear off ---


@st.composite
def streams(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Days, weights and the first places of a few customers."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    days, first = [], []
    for size in sizes:
        first += [len(first)] * size
        days += sorted(draw(st.lists(st.floats(0, 5000), min_size=size, max_size=size)))
    weights = draw(st.lists(st.floats(0, 10), min_size=len(days), max_size=len(days)))
    return np.array(days), np.array(weights), np.array(first)


@settings(max_examples=150)
@given(stream=streams(), half_life=st.floats(0.01, 1000))
def test_decayed_sums_are_the_sums_they_are_said_to_be(
    stream: tuple[np.ndarray, np.ndarray, np.ndarray], half_life: float
) -> None:
    days, weights, first = stream
    plain = np.zeros(len(days))
    earlier = np.zeros(len(days))
    for place in range(len(days)):
        for other in range(first[place], place + 1):
            worn = weights[other] * 0.5 ** ((days[place] - days[other]) / half_life)
            plain[place] += worn
            earlier[place] += worn if other < place else 0.0
    sums = decayed_sums(weights[None], days, first, half_life)
    np.testing.assert_allclose(sums[0], plain, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(before(sums, days, first, half_life)[0], earlier, rtol=1e-10, atol=1e-12)


def test_neither_short_half_lives_nor_long_logs_overflow() -> None:
    days = np.linspace(0.0, 100_000.0, 4096)
    sums = decayed_sums(np.ones((1, 4096)), days, np.zeros(4096, np.int64), 0.001)
    assert np.array_equal(sums, np.ones((1, 4096)))
    endless = decayed_sums(np.ones((1, 3000)), np.arange(3000.0), np.zeros(3000, np.int64), 7.0)
    assert endless[0, -1] == pytest.approx(1 / (1 - 0.5 ** (1 / 7)))


def test_nobody_and_one_event() -> None:
    none, nowhere = np.zeros(0), np.zeros(0, np.int64)
    assert decayed_sums(np.zeros((2, 0)), none, nowhere, 7.0).shape == (2, 0)
    assert since(np.zeros(0, bool), none, nowhere).shape == (0,)
    assert counts_before(none, nowhere).shape == (0,)
    one = np.zeros(1, np.int64)
    assert decayed_sums(np.array([[3.0]]), np.zeros(1), one, 7.0) == 3.0
    assert np.isnan(since(np.ones(1, bool), np.zeros(1), one))


# --- a small log, counted by hand ---


def random_log(folder: Path, seed: int, customers: int = 12) -> tuple[Log, dict[str, list[dict[str, Any]]]]:
    """A log of random rows, ingested, and the rows."""
    rng = np.random.default_rng(seed)
    tables: dict[str, list[dict[str, Any]]] = {"messages": [], "orders": []}
    for customer in range(customers):
        for _ in range(rng.integers(0, 25)):
            # Few moments: many things happen at the same one, or a whole window apart.
            sent = START + timedelta(hours=6 * int(rng.integers(0, 40 * 4)))
            delivered = bool(rng.random() < 0.9)
            tables["messages"].append(
                {
                    "customer": f"c{customer}",
                    "id": str(len(tables["messages"])),
                    "sent_at": sent,
                    "channel": str(rng.choice(["email", "push"])),
                    "delivered": delivered,
                    "opened_at": sent + timedelta(hours=int(rng.integers(0, 72)))
                    if delivered and rng.random() < 0.4
                    else None,
                    "clicked_at": sent + timedelta(hours=3) if delivered and rng.random() < 0.2 else None,
                    "blocked_at": sent + timedelta(hours=1) if rng.random() < 0.1 else None,
                }
            )
        for _ in range(rng.integers(0, 6)):
            bought = START + timedelta(hours=6 * int(rng.integers(0, 45 * 4)))
            order = {"customer": f"c{customer}", "id": str(len(tables["orders"])), "at": bought}
            tables["orders"].append(order | {"amount": round(float(rng.gamma(2, 20)), 2), "margin": 1.5})
    paths = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        paths[name] = folder / f"{name}.csv"
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        paths[name].write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    ingest(folder / "log", paths["messages"], paths["orders"], shard_rows=100, threads=1)
    return Log(folder / "log"), tables


def days(delta: timedelta) -> float:
    return delta / timedelta(days=1)


@pytest.mark.parametrize("whole_days", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_column_against_its_definition(tmp_path: Path, seed: int, whole_days: bool) -> None:
    log, tables = random_log(tmp_path, seed)
    loads = {"email": 0.6, "push": 1.3}
    chosen = ExposureSettings(
        load_half_life=3.0,
        long_half_life=20.0,
        loads={"email": 0.6, "push": 1.3},
        attribution_days=2.0,
        whole_days=whole_days,
    )
    derive_exposures(log, chosen, threads=1)
    people = dict(zip(log.frame("customers")["customer"], log.frame("customers")["name"], strict=True))
    sent = {row["customer"]: [] for row in tables["messages"]}
    for row in sorted(tables["messages"], key=lambda row: (row["sent_at"], int(row["id"]))):
        if row["delivered"]:
            sent[row["customer"]].append(row)
    bought: dict[str, list[dict[str, Any]]] = {name: [] for name in people.values()}
    for row in sorted(tables["orders"], key=lambda row: row["at"]):
        bought[row["customer"]].append(row)
    blocks: dict[str, list[tuple[datetime, str]]] = {name: [] for name in people.values()}
    for row in tables["messages"]:
        if row["blocked_at"]:
            blocks[row["customer"]].append((row["blocked_at"], row["channel"]))
    end = log.manifest.last
    exposures = [
        {str(column): value for column, value in row.items()} for row in log.frame("exposures").to_dict("records")
    ]
    assert len(exposures) == sum(map(len, sent.values()))

    def worn(then: datetime, now: datetime, half_life: float) -> float:
        gone = (now.date() - then.date()).days if whole_days else days(now - then)
        return float(0.5 ** (gone / half_life))

    place = dict.fromkeys(sent, 0)
    for row in exposures:
        name = people[row["customer"]]
        mine, number = sent[name], place[name]
        place[name] += 1
        message, now = mine[number], mine[number]["sent_at"]
        past = mine[:number]
        opens = [
            min(each for each in (other["opened_at"], other["clicked_at"]) if each)
            for other in mine
            if other["opened_at"] or other["clicked_at"]
        ]
        opens = sorted(each for each in opens if each < now)
        orders = [each for each in bought[name] if each["at"] < now]
        after = [each for each in bought[name] if now < each["at"] <= now + timedelta(days=2)]
        load = sum(loads[each["channel"]] * worn(each["sent_at"], now, 3.0) for each in past)
        own = [each for each in past if each["channel"] == message["channel"]]
        expected = {
            "sent_at": now,
            "channel": message["channel"],
            "day": days(now - mine[0]["sent_at"]),
            "tenure": days(now - min(each["sent_at"] for each in tables["messages"] if each["customer"] == name)),
            "hour": now.hour,
            "weekday": now.weekday(),
            "is_weekend": now.weekday() >= 5,
            "load_before": load,
            "load_after": load + loads[message["channel"]],
            "channel_load_before": sum(loads[each["channel"]] * worn(each["sent_at"], now, 3.0) for each in own),
            "messages_weighted": sum(worn(each["sent_at"], now, 20.0) for each in past),
            "opens_weighted": sum(worn(each, now, 20.0) for each in opens),
            "orders_weighted": sum(worn(each["at"], now, 20.0) for each in orders),
            "spend_weighted": sum(each["amount"] * worn(each["at"], now, 20.0) for each in orders),
            "messages_before": number,
            "opens_before": len(opens),
            "orders_before": len(orders),
            "spend_before": sum(each["amount"] for each in orders),
            "messages_week": sum(days(now - each["sent_at"]) <= 7 for each in past),
            "messages_month": sum(days(now - each["sent_at"]) <= 28 for each in past),
            "days_since_message": days(now - past[-1]["sent_at"]) if past else math.nan,
            "days_since_open": days(now - opens[-1]) if opens else math.nan,
            "days_since_order": days(now - orders[-1]["at"]) if orders else math.nan,
            "was_blocked": any(at < now and channel == message["channel"] for at, channel in blocks[name]),
            "opened": bool(message["opened_at"] or message["clicked_at"]),
            "clicked": bool(message["clicked_at"]),
            "blocked": bool(message["blocked_at"]),
            "orders_after": len(after),
            "spend_after": sum(each["amount"] for each in after),
            "days_to_next": days(mine[number + 1]["sent_at"] - now) if number + 1 < len(mine) else math.nan,
            "days_followed": days(end - now),
        }
        for column, value in expected.items():
            if isinstance(value, float):
                assert row[column] == pytest.approx(value, rel=1e-5, abs=1e-5, nan_ok=True), (column, name, now)
            else:
                assert row[column] == value, (column, name, now)
    assert set(exposures[0]) - set(expected) == {"customer", "slot", "style", "product", "propensity"}


def test_profiles_against_their_definition(tmp_path: Path) -> None:
    log, tables = random_log(tmp_path, 5, customers=8)
    derive_profiles(log, threads=1)
    people = dict(zip(log.frame("customers")["name"], log.frame("customers")["customer"], strict=True))
    profiles = log.frame("profiles").set_index("customer")
    assert list(profiles.index) == sorted(people.values())
    for name, customer in people.items():
        row = profiles.loc[customer]
        sent = [each for each in tables["messages"] if each["customer"] == name]
        bought = sorted((each for each in tables["orders"] if each["customer"] == name), key=lambda each: each["at"])
        delivered = [each for each in sent if each["delivered"]]
        assert row["messages"] == len(delivered)
        assert row["failed"] == len(sent) - len(delivered)
        assert row["opens"] == sum(bool(each["opened_at"] or each["clicked_at"]) for each in sent)
        assert row["clicks"] == sum(bool(each["clicked_at"]) for each in sent)
        assert row["blocks"] == sum(bool(each["blocked_at"]) for each in sent)
        assert row["orders"] == len(bought)
        assert row["spend"] == pytest.approx(sum(each["amount"] for each in bought))
        assert row["margin"] == pytest.approx(1.5 * len(bought))
        began = min([each["sent_at"] for each in sent] + [each["at"] for each in bought])
        assert row["tenure"] == pytest.approx(days(log.manifest.last - began))
        if bought:
            buying_days = sorted({each["at"].date() for each in bought})
            assert row["recency"] == pytest.approx(days(log.manifest.last - bought[-1]["at"]))
            assert row["monetary"] == pytest.approx(row["spend"] / len(bought))
            assert row["repeats"] == len(buying_days) - 1
            assert row["repeat_days"] == (buying_days[-1] - buying_days[0]).days
            assert row["order_days_watched"] == (log.manifest.last.date() - buying_days[0]).days


def test_a_past_holds_nothing_of_the_answer(tmp_path: Path) -> None:
    def exposures(folder: Path, answered: str) -> Any:
        rows = [f"a,{answered}", "a,2021-03-02 10:00,push,,,"]
        folder.mkdir()
        (folder / "m.csv").write_text(
            "customer,sent_at,channel,opened_at,clicked_at,blocked_at\n" + "\n".join(rows) + "\n"
        )
        ingest(folder / "log", folder / "m.csv", threads=1)
        derive_exposures(Log(folder / "log"), threads=1)
        return Log(folder / "log").frame("exposures").drop(columns=["opened", "clicked", "blocked", "days_followed"])

    at_once = exposures(tmp_path / "a", "2021-03-01 10:00,push,2021-03-01 10:00,2021-03-01 10:00,2021-03-01 10:00")
    silent = exposures(tmp_path / "b", "2021-03-01 10:00,push,,,")
    assert at_once.iloc[0].equals(silent.iloc[0])
    assert (at_once.iloc[1]["opens_before"], silent.iloc[1]["opens_before"]) == (1, 0)


def test_it_is_made_once_and_anew_with_other_settings(tmp_path: Path) -> None:
    log, _ = random_log(tmp_path, 3, customers=6)
    shards: list[int] = []

    def make(chosen: ExposureSettings | None = None) -> int:
        shards.clear()
        derive_exposures(log, chosen, progress=lambda done, of: shards.append(done), threads=1)
        return len(shards)

    assert make() == len(log.manifest.shards)
    assert make() == 0
    before_ = log.frame("exposures")["load_before"].sum()
    assert make(ExposureSettings(loads={"push": 3.0})) == len(log.manifest.shards)
    assert log.frame("exposures")["load_before"].sum() > before_
    with pytest.raises(LogError, match=r"loads: \['pigeon'\] not among the channels \['email', 'push'\]"):
        derive_exposures(log, ExposureSettings(loads={"pigeon": 1.0}))

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        derive_exposures(log, ExposureSettings(load_half_life=1.0), progress=stop)
    assert not log.has("exposures")
    assert make(ExposureSettings(load_half_life=1.0)) == len(log.manifest.shards)


def test_a_log_without_orders_or_opens_and_a_single_message(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("customer,sent_at,channel,delivered\na,2021-03-06 10:00,push,1\nb,2021-03-06 10:00,push,0\n")
    ingest(tmp_path / "log", path)
    log = Log(tmp_path / "log")
    derive_exposures(log)
    derive_profiles(log)
    (row,) = log.frame("exposures").to_dict("records")
    assert (row["load_after"], row["messages_before"], row["is_weekend"], row["orders_after"]) == (1.0, 0, True, 0)
    assert list(log.frame("profiles")["failed"]) == [0, 1]
    with log.connect() as connection:
        assert connection.execute("SELECT count(*) FROM exposures JOIN profiles USING (customer)").fetchall() == [(1,)]
