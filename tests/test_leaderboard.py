"""The table of results: known answers on made-up values, and nothing that does not belong together on one board."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import store
from benchmarks.leaderboard import MEASURES, boards
from benchmarks.statistics import paired_difference
from benchmarks.tables import cells_of, csv_text, header, markdown

CUSTOMERS = 40
SILENCE = 10.0 + np.linspace(-1, 1, CUSTOMERS)


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    """Writes rows with values and returns what a store gives back."""

    def write(*given: tuple[str, int, NDArray[np.float64]], **fields: Any) -> list[dict[str, Any]]:
        for agent, seed, values in given:
            row = {
                "key": f"{fields.get('scenario', 'A-v0')}-{agent}-{seed}-{len(store.read_rows(tmp_path))}",
                "scenario": "A-v0",
                "digest": "d1",
                "agent": agent,
                "seed": seed,
                "customers": CUSTOMERS,
                "days": 28,
                "settings": {"gap": 7},
                "commit": "c0ffee",
                "messages_a_week": 1.0 + seed,
                "blocks_per_1000_messages": None if agent == "silence" else 4.0,
                "reach_after_year": {"push": 0.5, "email": 0.7 + 0.1 * seed},
                "alive_at_end": 0.9,
                "overloaded_contacts": 2.0,
                "training_seconds": 3.0,
            } | fields
            store.write(tmp_path, row, values)
        return store.read_rows(tmp_path)

    return write


def noisy(gain: float, seed: int) -> NDArray[np.float64]:
    return SILENCE + gain + 0.01 * np.random.default_rng(seed).standard_normal(CUSTOMERS)


def test_known_answers(rows: Any, tmp_path: Path) -> None:
    given = rows(
        ("silence", 0, SILENCE),
        ("cap", 0, SILENCE + 1),
        ("twin", 0, SILENCE + 1),
        ("ppo", 0, noisy(1.9, 1)),
        ("ppo", 1, noisy(2.1, 2)),
        ("ppo", 2, noisy(2.0, 3)),
    )
    (board,) = boards(given, tmp_path)
    assert (board.scenario, board.digest, board.customers, board.days, board.commits) == (
        "A-v0",
        "d1",
        CUSTOMERS,
        28,
        ["c0ffee"],
    )
    ppo, *middle, silence = board.entries
    assert (ppo.agent, silence.agent, {entry.agent for entry in middle}) == ("ppo", "silence", {"cap", "twin"})
    assert (ppo.seeds, ppo.rank.low, ppo.rank.high) == (3, 1, 1)
    assert [(entry.rank.low, entry.rank.high) for entry in middle] == [(2, 3), (2, 3)]
    assert (silence.rank.low, silence.rank.high) == (4, 4)
    assert silence.over_silence is None
    assert silence.uplift is None
    assert silence.over_cap is not None
    assert silence.over_cap[:3] == pytest.approx((-1, -1, -1), abs=1e-6)
    for entry in middle:
        assert entry.over_silence is not None
        assert entry.uplift is not None
        assert entry.over_silence[:3] == pytest.approx((1, 1, 1), abs=1e-6)
        assert entry.uplift.mean == pytest.approx(0.1, rel=1e-6)
        assert (entry.over_cap is None) == (entry.agent == "cap")
    stored = [store.read_values(tmp_path, row) for row in given if row["agent"] == "ppo"]
    assert ppo.over_silence == paired_difference(stored, store.read_values(tmp_path, given[0])[None])
    assert ppo.measures == {
        "messages_a_week": 2.0,
        "blocks_per_1000_messages": 4.0,
        "reach": pytest.approx(0.65),
        "alive_at_end": 0.9,
        "overloaded_contacts": 2.0,
        "training_seconds": 3.0,
    }
    assert silence.measures["blocks_per_1000_messages"] is None
    words = dict(zip(header(), cells_of(middle[0]), strict=True))
    assert words["rank"] == "2-3"
    assert words["over silence"] == "+1.0 [+1.0, +1.0]"
    assert words["uplift"] == "+10.0 %"


def test_the_order_of_rows_does_not_matter(rows: Any, tmp_path: Path) -> None:
    given = rows(("silence", 0, SILENCE), ("ppo", 1, noisy(1, 1)), ("ppo", 0, noisy(2, 2)), ("cap", 0, noisy(0, 3)))
    assert boards(given, tmp_path) == boards(given[::-1], tmp_path)


def test_one_agent_alone_has_a_board(rows: Any, tmp_path: Path) -> None:
    (board,) = boards(rows(("ppo", 0, SILENCE)), tmp_path)
    (entry,) = board.entries
    assert (entry.rank.low, entry.rank.high, entry.over_silence, entry.over_cap, entry.uplift) == (
        1,
        1,
        None,
        None,
        None,
    )
    assert cells_of(entry)[:6] == ["1", "ppo", "10.0", "", "", ""]
    assert "| 1 | ppo | 10.0 |" in markdown([board], "One")


def test_uplift_is_left_out_where_silence_may_be_worth_nothing(rows: Any, tmp_path: Path) -> None:
    (board,) = boards(rows(("silence", 0, SILENCE - 10), ("cap", 0, SILENCE)), tmp_path)
    assert board.entries[0].uplift is None
    assert board.entries[0].over_silence is not None


def test_no_rows_make_no_board(tmp_path: Path) -> None:
    assert boards([], tmp_path) == []


def test_scenarios_have_a_board_each_in_the_order_of_their_rows(rows: Any, tmp_path: Path) -> None:
    rows(("silence", 0, SILENCE), scenario="B-v0", digest="d2")
    given = rows(("silence", 0, SILENCE), ("cap", 0, SILENCE + 1))
    found = boards(given, tmp_path)
    assert [(board.scenario, len(board.entries)) for board in found] == [("B-v0", 1), ("A-v0", 2)]


@pytest.mark.parametrize(("field", "value"), [("digest", "d2"), ("customers", 41), ("days", 27)])
def test_what_is_not_comparable_is_refused(rows: Any, tmp_path: Path, field: str, value: Any) -> None:
    rows(("silence", 0, SILENCE))
    given = rows(("cap", 0, SILENCE), **{field: value})
    with pytest.raises(ValueError, match=rf"A-v0: rows of different {field} .*{value}.* cannot share a board"):
        boards(given, tmp_path)


def test_seeds_of_other_settings_or_twice_the_same_are_refused(rows: Any, tmp_path: Path) -> None:
    rows(("ppo", 0, SILENCE))
    with pytest.raises(ValueError, match="A-v0 ppo: rows of different settings"):
        boards(rows(("ppo", 1, SILENCE), settings={"gap": 8}), tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(ValueError, match="A-v0 ppo: seed 0 has two rows"):
        boards(rows(("ppo", 0, SILENCE), ("ppo", 0, SILENCE)), tmp_path)


def test_lost_values_are_named(rows: Any, tmp_path: Path) -> None:
    given = rows(("ppo", 0, SILENCE))
    path = tmp_path / "values" / f"{given[0]['key']}.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{path.name}: cannot be read as values"):
        boards(given, tmp_path)


def test_markdown_and_csv_say_the_same_numbers(rows: Any, tmp_path: Path) -> None:
    found = boards(rows(("silence", 0, SILENCE), ("cap", 0, noisy(1, 1)), ("ppo", 0, noisy(2, 2))), tmp_path)
    table = list(csv.DictReader(io.StringIO(csv_text(found))))
    lines = [line for line in markdown(found, "Two").splitlines() if line.startswith("| ")]
    assert [word.strip() for word in lines[0].strip("|").split("|")] == header()
    for entry, line, numbers in zip(found[0].entries, lines[1:], table, strict=True):
        assert [word.strip() for word in line.strip("|").split("|")] == cells_of(entry)
        assert numbers["agent"] == entry.agent
        for name in ("value", "over_silence", "over_cap", "uplift"):
            estimate = getattr(entry, name)
            texts = [numbers[name], numbers[f"{name}_low"], numbers[f"{name}_high"]]
            assert texts == ["", "", ""] if estimate is None else [float(text) for text in texts] == list(estimate[:3])
        for name in MEASURES:
            assert numbers[name] == ("" if entry.measures[name] is None else str(entry.measures[name]))
        assert (int(numbers["rank_low"]), int(numbers["rank_high"])) == (entry.rank.low, entry.rank.high)
