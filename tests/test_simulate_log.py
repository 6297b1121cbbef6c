"""Logs of a simulated firm: the same world as everywhere else, propensities that are true, and whole folders."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from blockenv import population
from blockenv.cohort import Cohort
from blockenv.scenarios import Scenario, changed, get
from calibration.logs.events import record
from calibration.logs.ingest import ingest
from calibration.logs.log import Log
from calibration.logs.policies import Confounded, Randomised, coins, drawn, streams
from calibration.logs.schema import LogError
from calibration.logs.simulate import ANCHOR, MAPPING, Settings, checked_settings, simulate_log
from scripts.simulate_log import app

ROOT = Path(__file__).parent.parent
WORLD = get("Omnichannel-v0")


def simulated(folder: Path, scenario: Scenario = WORLD, policy: Any = None, **settings: Any) -> Path:
    chosen = Settings(**{"customers": 300, "days": 60, "seed": 5, **settings})
    simulate_log(scenario, policy or Randomised(), "randomised", folder, chosen)
    return folder


def read(folder: Path, table: str, suffix: str = "parquet") -> pd.DataFrame:
    return duckdb.sql(f"SELECT * FROM '{folder / table}.{suffix}'").df()


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.simulate_log", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


# --- the same world ---


def test_the_log_tells_what_the_cohort_lived_through(tmp_path: Path) -> None:
    folder = simulated(tmp_path / "log", customers=200, days=80)
    sent, bought, blocks = (read(folder, table) for table in ("messages", "orders", "blocks"))
    numbers = np.arange(200)
    cohort = Cohort(WORLD, np.full(200, 5, np.uint64), numbers)
    key, policy = streams(5, numbers), Randomised()
    rows: dict[str, list[tuple[Any, ...]]] = {"messages": [], "orders": [], "blocks": []}
    for day in range(80):
        action = policy.decide(cohort, cohort.legal_actions().copy(), key, day).action
        outcome = cohort.step(action)
        for customer in np.flatnonzero(outcome.sent):
            words = WORLD.message_name(int(action[customer])).split("/")
            rows["messages"].append((customer, day, *words, outcome.delivered[customer], outcome.opened[customer]))
        for customer in np.flatnonzero(outcome.ordered):
            rows["orders"].append((customer, day, outcome.order_value[customer], outcome.discount[customer]))
        for channel, customer in zip(*np.nonzero(outcome.blocked), strict=True):
            with_message = outcome.delivered[customer] and cohort.rules.channel_of[action[customer]] == channel
            rows["blocks"].append((customer, day, WORLD.channels[channel].name, with_message))
    joined = pd.Timestamp(ANCHOR) + pd.to_timedelta(np.asarray(cohort.traits.joined), unit="D")

    def own_day(table: pd.DataFrame, at: str) -> pd.Series:
        return (table[at].dt.normalize() - joined[table["customer"]]).dt.days

    told = zip(
        sent["customer"], own_day(sent, "sent_at"), sent["channel"], sent["slot"], sent["style"], sent["product"],
        sent["delivered"], sent["opened_at"].notna(), strict=True,
    )  # fmt: skip
    assert sorted(told) == sorted(rows["messages"])
    assert (own_day(sent, "sent_at") == sent["id"].str.split("-").str[1].astype(int)).all()
    paid = sorted(zip(bought["customer"], own_day(bought, "at"), strict=True))
    assert paid == sorted((customer, day) for customer, day, *_ in rows["orders"])
    values = sorted((bought["amount"] + bought["discount"]).tolist())
    np.testing.assert_allclose(values, sorted(value for *_, value, _ in rows["orders"]), atol=0.011)
    assert bought["discount"].sum() == pytest.approx(sum(each[3] for each in rows["orders"]), abs=0.5)
    lost = zip(blocks["customer"], own_day(blocks, "at"), blocks["channel"], blocks["message"].notna(), strict=True)
    assert sorted(lost) == sorted(rows["blocks"])
    assert sent["blocked_at"].notna().sum() == blocks["message"].notna().sum() > 0
    assert set(blocks["message"].dropna()) == set(sent.loc[sent["blocked_at"].notna(), "id"])


def test_events_of_a_day_follow_each_other(tmp_path: Path) -> None:
    folder = simulated(tmp_path / "log", customers=400)
    sent = read(folder, "messages")
    hours = {"commute": (8, 13), "work": (13, 17), "evening": (17, 22)}
    for slot, (start, end) in hours.items():
        assert sent.loc[sent["slot"] == slot, "sent_at"].dt.hour.between(start, end - 1).all()
    for answer in ("opened_at", "blocked_at"):
        later = sent[sent[answer].notna()]
        assert len(later) > 10
        assert (later[answer] >= later["sent_at"]).all()
        assert (later[answer].dt.date == later["sent_at"].dt.date).all()
    both = sent[sent["opened_at"].notna() & sent["blocked_at"].notna()]
    assert (both["blocked_at"] >= both["opened_at"]).all()
    assert sent["clicked_at"].isna().all()
    people = read(folder, "customers")
    assert (people["observed_until"] - people["joined_at"] == pd.Timedelta(days=60)).all()
    assert people["joined_at"].between(pd.Timestamp(ANCHOR), pd.Timestamp("2001-12-30")).all()


def test_truth_is_the_population_and_is_kept_apart(tmp_path: Path) -> None:
    folder = simulated(tmp_path / "log", customers=100)
    truth = read(folder, "truth")
    traits = population.draw(WORLD, np.full(100, 5, np.uint64), np.arange(100))
    assert list(truth["segment"]) == [WORLD.segments[number].name for number in traits.segment]
    np.testing.assert_allclose(truth["ideal_load"], traits.ideal_load)
    np.testing.assert_allclose(truth["style_block_promo"], traits.style_block[0])
    np.testing.assert_allclose(truth["relevance_home"], traits.relevance[1])
    assert truth["left_at"].notna().any()
    known = {column for table in ("messages", "orders", "blocks", "customers") for column in read(folder, table)}
    assert known & set(truth) == {"customer"}
    people = read(folder, "customers")
    np.testing.assert_allclose(people[["hint_1", "hint_2", "hint_3", "hint_4"]], traits.hints, rtol=1e-6)
    for place, channel in enumerate(WORLD.channels):
        assert (people[f"opted_in_{channel.name}"] == traits.opted_in[place]).all()


# --- propensities ---


def test_coins_are_each_customers_own() -> None:
    key = streams(3, np.arange(50))
    assert np.array_equal(coins(key, 4, 2)[:, 10:20], coins(key[10:20], 4, 2))
    assert not np.array_equal(coins(key, 4, 2), coins(key, 5, 2))


def test_the_chance_of_every_action_is_the_one_written_down() -> None:
    rng = np.random.default_rng(1)
    legal = np.array(
        [[True, True, False, True, True], [True, False, False, False, False], [True, True, True, True, True]]
    )
    chance = np.array([0.4, 0.7, 0.2])
    counts, told = np.zeros(legal.shape), np.zeros(legal.shape)
    draws = 40_000
    for _ in range(10):
        rows = np.repeat(np.arange(3), draws // 10)
        made = drawn(chance[rows], legal[rows], rng.random((2, len(rows))))
        np.add.at(counts, (rows, made.action), 1)
        told[rows, made.action] = made.propensity
    assert not counts[~legal].any()
    expected = np.array([[0.6, 0.4 / 3, 0, 0.4 / 3, 0.4 / 3], [1, 0, 0, 0, 0], [0.8, 0.05, 0.05, 0.05, 0.05]])
    np.testing.assert_allclose(told, expected)
    error = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(counts / draws - expected) <= 4.5 * error + 1e-12).all()


def test_propensities_of_the_randomised_policy_match_frequencies(tmp_path: Path) -> None:
    folder = simulated(tmp_path / "log", policy=Randomised(0.3, rate_spread=0.7), customers=1500, decisions=True)
    chosen = read(folder, "decisions").merge(read(folder, "customers")[["customer", "send_probability"]], on="customer")
    sends = chosen["channel"].notna()
    reachable = chosen["propensity"] < 1.0
    # Silence has one minus the customer's chance, or 1 where nothing is legal.
    silent = chosen[~sends & reachable]
    np.testing.assert_allclose(silent["propensity"], 1.0 - silent["send_probability"])
    assert not sends[~reachable].any()
    # Within each customer's chance the share of days with a message is that chance.
    some = chosen[reachable]
    expected, variance = (
        some["send_probability"].sum(),
        (some["send_probability"] * (1 - some["send_probability"])).sum(),
    )
    assert abs(sends[reachable].sum() - expected) < 4 * variance**0.5
    assert some["send_probability"].std() > 0.1
    # Inverse propensity weights of each message sum to the number of days on which it was legal.
    sent = read(folder, "messages")
    assert sent["propensity"].between(0, 1).all()
    messages = chosen[sends]
    assert len(messages) == len(sent)
    np.testing.assert_allclose(np.sort(messages["propensity"]), np.sort(sent["propensity"]))
    email = messages[messages["channel"] == "email"]
    share = email["slot"].value_counts(normalize=True)
    assert (np.abs(share - 1 / 3) < 4 * (2 / 9 / len(email)) ** 0.5).all()
    # Over all customers and days, sum(1 / p) over what was done estimates 1 a day for each legal action.
    weighted = (1 / chosen["propensity"]).sum() / len(chosen)
    legal = np.where(sends, np.round(chosen["send_probability"] / chosen["propensity"]) + 1, np.nan)
    assert weighted == pytest.approx(np.nanmean(legal), rel=0.1)


def test_the_confounded_policy_writes_more_to_the_engaged(tmp_path: Path) -> None:
    policy = Confounded(WORLD, 0.3, 1.5)
    hidden = simulated(tmp_path / "a", policy=policy, customers=800, reveal_propensity=False)
    assert read(hidden, "messages")["propensity"].isna().all()
    assert "send_probability" not in read(hidden, "customers")
    shown = simulated(tmp_path / "b", policy=policy, customers=800)
    told = read(shown, "messages")
    assert told["propensity"].notna().all()
    assert told.drop(columns="propensity").equals(read(hidden, "messages").drop(columns="propensity"))
    loads = read(shown, "truth").set_index("customer")["ideal_load"]
    sent = told.groupby("customer").size().reindex(loads.index, fill_value=0)
    fair = (
        read(simulated(tmp_path / "c", customers=800), "messages")
        .groupby("customer")
        .size()
        .reindex(loads.index, fill_value=0)
    )
    assert np.corrcoef(np.log(loads), sent)[0, 1] > 0.4
    assert abs(np.corrcoef(np.log(loads), fair)[0, 1]) < 0.25
    cohort = Cohort(WORLD, np.full(50, 5, np.uint64), np.arange(50))
    cohort.step(np.zeros(50, np.int64))
    legal = cohort.legal_actions()
    usual = sum(each.weight * each.ideal_load for each in WORLD.segments) / sum(each.weight for each in WORLD.segments)
    engagement = 2 * (cohort.bond() - 0.5) + np.log(cohort.traits.ideal_load / usual)
    chance = 1 / (1 + np.exp(-(np.log(0.3 / 0.7) + 1.5 * engagement)))
    made = policy.decide(cohort, legal.copy(), streams(5, np.arange(50)), 1)
    messages = legal[:, 1:].sum(axis=1)
    wanted = np.where(made.action > 0, chance / np.maximum(messages, 1), np.where(messages > 0, 1 - chance, 1))
    np.testing.assert_allclose(made.propensity, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "reason"), [((0.0,), "send_probability: 0.0"), ((1.0,), "send_prob"), ((0.5, -1.0), "rate_spread: -1")]
)
def test_chances_that_cannot_be(values: tuple[float, ...], reason: str) -> None:
    with pytest.raises(LogError, match=reason):
        Randomised(*values)


# --- what a firm would see ---


def test_a_firm_sees_only_what_it_can(tmp_path: Path) -> None:
    quick = changed(WORLD, channels=tuple(changed(each, block_probability=0.1) for each in WORLD.channels))
    everything = simulated(tmp_path / "all", quick)
    seen = simulated(tmp_path / "firm", quick, visibility="firm")
    full, firm = read(everything, "messages"), read(seen, "messages")
    at_once = {each.name for each in quick.channels if each.visibility == "at_once"}
    assert set(full.loc[full["blocked_at"].notna(), "channel"]) == {each.name for each in quick.channels}
    assert set(firm.loc[firm["blocked_at"].notna(), "channel"]) == at_once
    hidden = full["channel"].isin(at_once)
    assert full[hidden].equals(firm[hidden])
    # Blocks that only a failed send discloses are dated by that send, and are fewer by those never tried again.
    lost, noticed = read(everything, "blocks"), read(seen, "blocks")
    failures = full[~full["delivered"]]
    late = noticed[~noticed["channel"].isin(at_once)]
    assert sorted(zip(late["customer"], late["at"], strict=True)) == sorted(
        zip(failures["customer"], failures["sent_at"], strict=True)
    )
    assert 0 < len(late) < (~lost["channel"].isin(at_once)).sum()
    never = changed(quick, channels=tuple(changed(each, visibility="never") for each in quick.channels))
    blind = simulated(tmp_path / "blind", never, visibility="firm")
    assert not (blind / "blocks.parquet").exists()
    assert read(blind, "messages")["delivered"].all()
    assert not read(simulated(tmp_path / "truth", never), "messages")["delivered"].all()


def test_those_who_left_may_still_be_written_to(tmp_path: Path) -> None:
    leaving = changed(WORLD, response=changed(WORLD.response, churn_probability=0.03))
    stops = simulated(tmp_path / "stop", leaving)
    goes_on = simulated(tmp_path / "send", leaving, after_leaving="send")
    left = read(stops, "truth").set_index("customer")["left_at"]
    assert read(goes_on, "truth").set_index("customer")["left_at"].equals(left)
    assert left.notna().mean() > 0.5
    shorter, longer = read(stops, "messages"), read(goes_on, "messages")
    gone = longer["sent_at"] > left.reindex(longer["customer"]).to_numpy()
    assert not (shorter["sent_at"] > left.reindex(shorter["customer"]).to_numpy()).any()
    assert longer[~gone].reset_index(drop=True).equals(shorter)
    assert gone.sum() > 100
    assert longer.loc[gone, ["opened_at", "blocked_at"]].isna().all(axis=None)
    assert read(goes_on, "orders").equals(read(stops, "orders"))
    # A channel that has failed once is given up, as before.
    failed = longer[gone & ~longer["delivered"]]
    assert not failed.duplicated(["customer", "channel"]).any()


def test_only_policies_that_need_no_log_write_to_those_who_left(tmp_path: Path) -> None:
    class Reader(Randomised):
        reads_log = True

    with pytest.raises(LogError, match="after_leaving: 'reader' goes by the log"):
        simulate_log(WORLD, Reader(), "reader", tmp_path / "log", Settings(customers=1, days=1, after_leaving="send"))


# --- files ---


def test_the_same_seed_gives_the_same_files_whatever_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = simulated(tmp_path / "a", decisions=True)
    again = simulated(tmp_path / "b", decisions=True)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(
        [f"{table}.parquet" for table in ("messages", "orders", "blocks", "customers", "truth", "decisions")]
        + ["log.json", MAPPING]
    )
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    monkeypatch.setattr("calibration.logs.simulate.BATCH", 70)
    small = simulated(tmp_path / "c", decisions=True)
    other = simulated(tmp_path / "d", seed=6)
    for table in ("messages", "orders", "blocks", "customers", "truth", "decisions"):
        assert read(first, table).equals(read(small, table)), table
    assert not read(first, "messages").equals(read(other, "messages"))


def test_a_stop_halfway_leaves_no_folder_and_a_repeat_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibration.logs.simulate.BATCH", 100)
    settings, policy = Settings(customers=300, days=20, seed=5), Randomised()
    played = []

    def stop(days: int) -> None:
        played.append(days)
        if sum(played) > 2500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_log(WORLD, policy, "randomised", tmp_path / "log", settings, stop)
    assert [path.name for path in tmp_path.iterdir()] == [".log.partial"]
    monkeypatch.setattr(
        "calibration.logs.simulate.record", lambda *given, **named: recorded.append(given) or record(*given, **named)
    )
    recorded: list[Any] = []
    simulate_log(WORLD, policy, "randomised", tmp_path / "log", settings)
    assert len(recorded) == 2
    simulate_log(WORLD, policy, "randomised", tmp_path / "fresh", settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "log"]
    for path in (tmp_path / "fresh").iterdir():
        assert (tmp_path / "log" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(LogError, match="is there already"):
        simulate_log(WORLD, policy, "randomised", tmp_path / "log", settings)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("visibility", ["all", "firm"])
def test_what_is_written_is_what_is_read(tmp_path: Path, suffix: str, visibility: str) -> None:
    folder = simulated(tmp_path / "log", format=suffix, visibility=visibility, policy=Randomised(0.3, 0.5))
    tables = {table: folder / f"{table}.{suffix}" for table in ("messages", "orders", "customers", "blocks")}
    found = ingest(tmp_path / "tidy", **tables, mapping=folder / MAPPING, shard_rows=2_000, threads=1)
    about = json.loads((folder / "log.json").read_text())
    for table, counts in found.tables.items():
        assert (counts.accepted, counts.rejected) == (about["rows"][table], 0), table
    assert (found.channels, found.opted_in) == (
        tuple(sorted(each.name for each in WORLD.channels)),
        tuple(each.name for each in WORLD.channels),
    )
    assert found.has_propensities
    log = Log(tmp_path / "tidy")
    people = log.frame("customers")
    numbers = dict(zip(people["customer"], people["name"].astype(int), strict=True))
    given = read(folder, "messages", suffix)
    told = log.frame("messages")
    told = told.assign(customer=told["customer"].map(numbers)).sort_values(["customer", "sent_at"], ignore_index=True)
    for column in (
        "customer",
        "sent_at",
        "channel",
        "slot",
        "style",
        "product",
        "delivered",
        "blocked_at",
        "propensity",
    ):
        expected = pd.to_datetime(given[column]) if column.endswith("_at") else given[column]
        pd.testing.assert_series_equal(told[column].astype(expected.dtype), expected, check_names=False)
    assert told["opened"].sum() == given["opened_at"].notna().sum()
    given_people = read(folder, "customers", suffix)
    people = people.assign(customer=people["customer"].map(numbers)).sort_values("customer", ignore_index=True)
    for column in ("opted_in_push", "hint_2", "send_probability"):
        pd.testing.assert_series_equal(people[column], given_people[column])
    blocks = log.frame("blocks")
    assert blocks["by_message"].sum() == read(folder, "blocks", suffix)["message"].notna().sum()


def test_no_orders_and_no_blocks_are_no_files(tmp_path: Path) -> None:
    folder = simulated(tmp_path / "log", get("NoBlocking-v0"), customers=3, days=2)
    assert not (folder / "blocks.parquet").exists()
    about = json.loads((folder / "log.json").read_text())
    assert about["rows"]["blocks"] == 0
    assert (about["scenario"], about["anchor"]) == ("NoBlocking-v0", "2001-01-01")


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(LogError, match=r"days: .*greater than or equal to 1 \(got 0\)"):
        checked_settings(customers=1, days=0)
    with pytest.raises(LogError, match=r"format: .*'parquet' or 'csv'"):
        checked_settings(customers=1, days=1, format="xls")


# --- the command ---


def test_the_command_writes_a_log_by_a_rule(tmp_path: Path) -> None:
    done = command(
        "Style-v0", "--policy", "random", "-n", 50, "--days", 20, "--format", "csv", "--out", tmp_path / "log"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "random in Style-v0" in " ".join(done.stdout.split())
    assert f"next: python -m scripts.calibrate {tmp_path / 'log' / 'messages.csv'}" in done.stdout
    assert f"--mapping {tmp_path / 'log' / MAPPING}" in done.stdout
    sent = read(tmp_path / "log", "messages", "csv")
    assert len(sent) > 300
    assert sent["propensity"].isna().all()
    assert re.search(rf"messages.*{len(sent)}", done.stdout)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["Nowhere-v0"], "scenario: 'Nowhere-v0'"),
        (
            ["Style-v0", "--policy", "ppo"],
            "--policy: 'ppo' needs training; of the agents these do not: silence, random",
        ),
        (["Style-v0", "--policy", "chance"], "--policy: 'chance' is none of randomised, confounded, silence"),
        (["Style-v0", "--policy", "weekly", "--rate-spread", "1"], "--rate-spread: no setting of the policy 'weekly'"),
        (["Style-v0", "--send-probability", "2"], "send_probability: 2.0, expected above 0 and below 1"),
        (["Style-v0", "--visibility", "none"], "visibility: Input should be 'all' or 'firm'"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, words: list[str], reason: str) -> None:
    options = ["--out", str(tmp_path / "log"), "-n", "10", "--days", "5"]
    done = CliRunner().invoke(app, [*words, *options], env={"COLUMNS": "300"})
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert not list(tmp_path.iterdir())


def test_a_killed_command_leaves_no_folder(tmp_path: Path) -> None:
    words = ["Omnichannel-v0", "--out", str(tmp_path / "log"), "-n", "100000", "--days", "364"]
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.simulate_log", *words], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not (tmp_path / ".log.partial" / "fingerprint").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".log.partial"]
