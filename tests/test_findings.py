"""What the page shows is what the statistics say of the rows, and nothing that they do not hold."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import experiment, store
from benchmarks.comparisons import kind_of
from benchmarks.configs import Suite
from benchmarks.findings import findings
from benchmarks.leaderboard import boards
from benchmarks.statistics import mean_estimate, paired_difference
from tests.tiny_agents import TINY, known

SUITE = Suite(
    title="Tiny",
    scenarios=["Frequency-v0", "Style-v0"],
    agents=["silence", "weekly", "cap", "lints"],
    seeds=2,
    customers=120,
    settings={
        "weekly": {"customers": 16, "days": 7},
        "cap": {"gap": 7, "messages": [1], "customers": 32, "days": 28},
        "lints": known("lints", TINY),
    },
)


@pytest.fixture(scope="module")
def store_of(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("store")
    return folder, experiment.run(SUITE, folder, 1)


def table(folder: Path, rows: list[dict[str, Any]], scenario: str, agent: str) -> np.ndarray[Any, Any]:
    mine = [row for row in rows if (row["scenario"], row["agent"]) == (scenario, agent)]
    return np.stack([store.read_values(folder, row) for row in mine])


def test_boards_are_told_as_they_are(store_of: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = store_of
    found = findings(rows, folder, "Tiny", "the command")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["title"], found["command"]) == ("Tiny", "the command")
    for board, scenario in zip(boards(rows, folder), found["scenarios"], strict=True):
        assert (scenario["name"], scenario["digest"]) == (board.scenario, board.digest)
        for entry, told in zip(board.entries, scenario["entries"], strict=True):
            assert (told["agent"], told["rank"]) == (entry.agent, [entry.rank.low, entry.rank.high])
            assert told["value"] == pytest.approx(entry.value[:3], rel=1e-5)
            assert (told["score"] is None) == (entry.agent == "silence")
            assert told["courses"]["value"][-1] == pytest.approx(entry.value.mean, rel=1e-4)
            assert [row["seed"] for row in told["rows"]] == list(range(entry.seeds))


def test_segments_are_paired_and_add_up(store_of: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = store_of
    scenario = findings(rows, folder, "Tiny")["scenarios"][0]
    entry = next(each for each in scenario["entries"] if each["agent"] == "lints")
    sizes = np.array([each["customers"] for each in entry["segments"]])
    assert sizes.sum() == 120
    gains = [each["over_silence"][0] for each in entry["segments"]]
    assert sizes @ gains / 120 == pytest.approx(entry["over_silence"][0], rel=1e-3)
    for each in entry["segments"]:
        assert each["over_silence"][1] <= each["over_silence"][0] <= each["over_silence"][2]
        assert each["messages"] >= 0


def test_the_overall_score_is_the_mean_of_the_scores(store_of: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = store_of
    found = findings(rows, folder, "Tiny")
    assert found["overall"]["scenarios"] == ["Frequency-v0", "Style-v0"]
    for entry in found["overall"]["entries"]:
        single = [
            next(each["score"] for each in scenario["entries"] if each["agent"] == entry["agent"])
            for scenario in found["scenarios"]
        ]
        if entry["agent"] == "silence":
            assert entry["score"] == [0.0, 0.0, 0.0]
            continue
        assert entry["score"][0] == pytest.approx(np.mean([each[0] for each in single]), rel=1e-4)
        # Customers with the same luck in both worlds: no narrower than if the two were one sample twice as large.
        assert entry["score"][2] - entry["score"][1] > 0.5 * min(each[2] - each[1] for each in single)
        shares = [each[0] for each in entry["profile"]]
        assert shares == sorted(shares, reverse=True)
    scores = [entry["score"][0] for entry in found["overall"]["entries"]]
    assert scores == sorted(scores, reverse=True)


def test_neighbours_are_paired_differences(store_of: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, rows = store_of
    scenario = findings(rows, folder, "Tiny")["scenarios"][1]
    order = [entry["agent"] for entry in scenario["entries"]]
    pairs = scenario["neighbours"]
    assert [(pair["better"], pair["than"]) for pair in pairs[:3]] == list(itertools.pairwise(order))
    for pair in pairs:
        one, other = (table(folder, rows, "Style-v0", pair[each]) for each in ("better", "than"))
        assert pair["difference"] == pytest.approx(paired_difference(one, other)[:3], rel=1e-4, abs=1e-6)
        assert 0 <= pair["chance"][1] <= pair["chance"][0] <= pair["chance"][2] <= 1
    assert {pair["better"] for pair in pairs if pair["than"] == "cap"} == {*order} - {"cap"}


def test_without_references_there_are_no_scores_and_nothing_overall(
    store_of: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, rows = store_of
    found = findings(rows, folder, "Tiny", reference_folder=tmp_path)
    assert found["overall"]["entries"] == []
    assert all(entry["score"] is None for scenario in found["scenarios"] for entry in scenario["entries"])
    assert "no reference values" in found["scenarios"][0]["remark"]


def test_rows_without_courses_and_failed_ones_are_told_as_such(
    store_of: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, rows = store_of
    old = [{name: each for name, each in row.items() if name not in ("courses", "segments")} for row in rows]
    lost = {name: old[0][name] for name in ("key", "scenario", "digest", "customers", "days", "settings")}
    found = findings([*old, lost | {"agent": "my:Own", "seed": 0, "failed": "took too long"}], folder, "Tiny")
    entry = found["scenarios"][0]["entries"][0]
    assert entry["courses"] is None
    assert entry["segments"][0]["customers"] > 0
    assert "messages" not in entry["segments"][0]
    assert found["overall"]["failed"] == [{"agent": "my:Own", "reason": "Frequency-v0: took too long"}]
    assert found["scenarios"][1]["failed"] == []


def test_an_unknown_world_has_no_segments(store_of: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    folder, rows = store_of
    own = [row | {"scenario": "Mine-v0"} for row in rows if row["scenario"] == "Style-v0"]
    (scenario,) = findings(own, folder, "Tiny")["scenarios"]
    assert (scenario["isolates"], scenario["entries"][0]["segments"]) == ("", [])
    (silence,) = (entry for entry in scenario["entries"] if entry["agent"] == "silence")
    values = mean_estimate(table(folder, rows, "Style-v0", "silence"))
    assert silence["value"] == pytest.approx(values[:3], rel=1e-5)


def test_kinds() -> None:
    assert [kind_of(agent) for agent in ("cap", "ppo", "my_package.mine:Own")] == ["rule", "learner", "submission"]
