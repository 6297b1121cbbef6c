"""Reference values: those of the simulator, kept through kills, refused when stale; and no board goes beyond 100."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import exact, references, store
from benchmarks.exact import OPTIMUM, SILENCE, Answer, Ledger, Question, decoded, encoded, exact_values
from benchmarks.exact_caps import Cap, best_cap, caps_of, caps_table, caps_text
from benchmarks.leaderboard import boards
from benchmarks.readme import section
from benchmarks.references import Reference, ReferencesError, fitting, held_out, read, score, write
from benchmarks.statistics import Estimate, paired_difference
from benchmarks.tables import cells_of, csv_text, header, markdown
from blockenv import EVALUATION_SEED, mdp, play, population
from blockenv.scenarios import SCENARIOS, Scenario, changed, get
from scripts.references import app

WORLD = get("Frequency-v0")
DAYS = 10
RESULTS = references.FOLDER.parent


class Capped:
    """Plays a cap in the simulator, where it is shown the customers' true fatigue."""

    def __init__(self, scenario: Scenario, cap: Cap) -> None:
        self.rules, self.cap = population.rules(scenario), cap

    def meet(self, cohort):
        self.state = cohort.state

    def act(self, observation, action_mask, rng):
        action = np.zeros(len(observation), np.int64)
        for message in reversed(self.cap.messages):
            is_open = self.state.reachable[self.rules.channel_of[message]]
            action = np.where(is_open & (self.state.fatigue <= self.cap.level), message, action)
        return action


def filled(tmp_path: Path, customers: int = 6, scenario: Scenario = WORLD, days: int = DAYS) -> Ledger:
    ledger = Ledger(scenario, days, tmp_path / "parts.jsonl")
    ledger.settle(held_out(ledger, customers), 1, lambda _: None)
    return ledger


@pytest.mark.parametrize("name", ["Style-v0", "Omnichannel-v0"])
def test_the_exact_value_of_a_cap_is_that_of_the_simulator(name: str) -> None:
    world, clones = get(name), 40
    first = [int(np.flatnonzero(population.rules(world).channel_of == each)[-1]) for each in (0, 1)]
    cap = Cap(tuple(first), 1)
    customers = tuple(range(clones))
    exactly = exact_values(Question(world, EVALUATION_SEED, caps_text([cap]), customers, 200)).values
    played = play(Capped(world, cap), world, EVALUATION_SEED, clones, days=200)
    assert played.messages.sum() > 0
    differences = played.value - exactly
    assert abs(differences.mean()) < 3.5 * differences.std(ddof=1) / np.sqrt(clones)


def test_caps_by_segment_send_what_their_segment_says() -> None:
    world = get("Style-v0")
    traits = population.draw(world, np.full(40, 5, np.uint64), np.arange(40), np.float64)
    caps = [Cap((1,), 0), Cap((), 0), Cap((4, 2), 3), Cap((6,), 16)]
    for batch in mdp.batches(world, traits, 40):
        table = caps_table(caps, batch)
        for row, segment in enumerate(batch.traits.segment):
            assert set(np.unique(table[row])) <= {0, *caps[segment].messages}
            np.testing.assert_array_equal(table[row], caps_table([caps[segment]], batch)[row])
    assert caps_of(caps_text(caps)) == caps
    with pytest.raises(ValueError, match="policy: 'best', expected silence"):
        caps_of("best")


def test_the_search_for_a_cap_finds_the_best_of_a_known_hill() -> None:
    world = get("Opposites-v0")
    channel = population.rules(world).channel_of
    wanted = {0: int(np.flatnonzero(channel == 0)[-1]), 1: int(np.flatnonzero(channel == 1)[5])}

    def scores(caps):
        return np.array(
            [
                sum(1.0 + (wanted[channel[each]] == each) for each in cap.messages)
                - 0.1 * abs(cap.level - 7) * len(cap.messages)
                for cap in caps
            ]
        )

    rules = population.rules(world)
    reachable = {0: wanted[0], 1: wanted[1]}
    # Coordinate by coordinate a hill that rises in one coordinate only is out of sight; these start one step away.
    parts = (rules.slot_of, rules.style_of, rules.product_of)
    first = [
        int(next(m for m in np.flatnonzero(channel == c) if rules.sends[m] and sum(p[m] != p[w] for p in parts) == 1))
        for c, w in reachable.items()
    ]
    cap = best_cap(world, first, scores)
    assert set(cap.messages) == set(wanted.values())
    assert cap.level == 7
    assert best_cap(world, first, lambda caps: -np.array([float(len(cap.messages)) for cap in caps])).messages == ()


def test_a_kill_costs_no_finished_tile_and_a_torn_line_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "parts.jsonl"
    ledger = filled(tmp_path)
    whole = path.read_bytes()
    before = ledger.values(EVALUATION_SEED, OPTIMUM, range(6))
    assert held_out(Ledger(WORLD, DAYS, path), 6) == []
    path.write_bytes(whole[:-40])
    torn = Ledger(WORLD, DAYS, path)
    (left,) = held_out(torn, 6)
    torn.settle([left], 1, lambda _: None)
    again = Ledger(WORLD, DAYS, path)
    assert held_out(again, 6) == []
    np.testing.assert_array_equal(again.values(EVALUATION_SEED, OPTIMUM, range(6)), before)
    assert {len(each.customers) for each in held_out(again, 8)} == {2}  # more customers later: only the new ones


def test_what_other_numbers_windows_or_code_gave_is_reckoned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parts.jsonl"
    filled(tmp_path)
    other = changed(WORLD, commerce=changed(WORLD.commerce, margin=0.9))
    assert held_out(Ledger(other, DAYS, path), 6)
    assert held_out(Ledger(WORLD, DAYS + 1, path), 6)
    monkeypatch.setattr(exact, "exact_code", lambda: "other")
    assert held_out(Ledger(WORLD, DAYS, path), 6)


def test_processes_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_FEW", 1)
    ledger = Ledger(WORLD, DAYS, tmp_path / "two.jsonl")
    ledger.settle(held_out(ledger, 6), 2, lambda _: None)
    for policy in (SILENCE, OPTIMUM):
        expected = filled(tmp_path).values(EVALUATION_SEED, policy, range(6))
        np.testing.assert_array_equal(ledger.values(EVALUATION_SEED, policy, range(6)), expected)


def test_a_reference_comes_back_and_is_refused_for_other_numbers(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    written = write(ledger, 6, tmp_path)
    found = read(WORLD.name, tmp_path)
    assert found is not None
    for policy, values in written.values.items():
        np.testing.assert_allclose(found.values[policy], values, rtol=1e-6)
    assert (found.gap > 0).all()
    assert found.facts["digest"] == WORLD.digest
    assert found.facts["mean"]["optimum"]["mean"] == pytest.approx(found.values[OPTIMUM].mean(), rel=1e-5)
    assert fitting(WORLD.name, WORLD.digest, DAYS, tmp_path) is not None
    assert fitting("Nowhere-v0", "d", DAYS, tmp_path) is None
    with pytest.raises(ReferencesError, match=rf"Frequency-v0: .* stale.*{WORLD.digest}.* not of other"):
        fitting(WORLD.name, "other", DAYS, tmp_path)
    with pytest.raises(ReferencesError, match="are of 10 days, not of 11"):
        fitting(WORLD.name, WORLD.digest, 11, tmp_path)
    assert references.is_kept(ledger, 6, tmp_path)
    assert not references.is_kept(ledger, 5, tmp_path)
    assert not references.is_kept(Ledger(WORLD, DAYS + 1, tmp_path / "no"), 6, tmp_path)
    path = references.path_of(WORLD.name, tmp_path)
    content = json.loads(path.read_text())
    content["values"]["optimum"] = encoded(np.ones(3), "<f4")
    for damaged in ("{", json.dumps(content), "[]"):
        path.write_text(damaged)
        with pytest.raises(ReferencesError, match=r"Frequency-v0\.json: cannot be read"):
            read(WORLD.name, tmp_path)


def test_numbers_survive_as_text() -> None:
    values = np.random.default_rng(0).normal(size=7)
    np.testing.assert_array_equal(decoded(encoded(values, "<f8"), "<f8"), values)
    np.testing.assert_array_equal(decoded(encoded(values, "<f4"), "<f4"), values.astype(np.float32))


def test_the_interval_of_a_score_covers_the_truth_and_pairing_narrows_it() -> None:
    rng, hits, widths = np.random.default_rng(1), 0, []
    for _ in range(400):
        gap = rng.gamma(0.5, 40.0, 300)
        earned = 0.6 * gap + rng.normal(0.0, 10.0, 300)
        over = paired_difference(earned[None], np.zeros((1, 300)))
        found = score(over, earned, gap[:200])
        hits += found.low <= 60 <= found.high
        widths.append((found.standard_error, score(over, rng.permutation(earned), gap[:200]).standard_error))
    assert 0.92 <= hits / 400 <= 0.98
    mine, unpaired = np.mean(widths, axis=0)
    assert mine < 0.8 * unpaired


def test_silence_scores_zero_and_full_information_a_hundred() -> None:
    gap = np.array([1.0, 5.0, 2.0, 8.0])
    silence, best = np.zeros((1, 4)), gap[None]
    assert score(paired_difference(best, silence), gap, gap)[:3] == pytest.approx((100, 100, 100))
    assert score(paired_difference(silence, silence), 0 * gap, gap)[:3] == pytest.approx((0, 0, 0))
    with pytest.raises(ValueError, match="gap: mean 0, expected something to be gained"):
        score(Estimate(1, 0, 2, 0.5), gap, 0 * gap)


@pytest.fixture
def store_of_rows(tmp_path: Path) -> Path:
    """Rows of silence, an oracle that is as good as it can be, and a rule that gets half, with their reference."""
    reference = write(filled(tmp_path, customers=20), 20, tmp_path / "references")
    silence, gap = reference.values[SILENCE], reference.gap
    for agent, values in {"silence": silence, "oracle": silence + gap, "weekly": silence + gap / 2}.items():
        row = {
            "key": agent,
            "scenario": WORLD.name,
            "digest": WORLD.digest,
            "agent": agent,
            "seed": 0,
            "customers": 20,
            "days": DAYS,
            "settings": {},
            "commit": "c0ffee",
            "messages_a_week": 1.0,
            "reach_after_year": {"email": 0.5},
        }
        store.write(tmp_path, row, values)
    return tmp_path


def test_boards_show_scores_and_the_lines(store_of_rows: Path) -> None:
    (board,) = boards(store.read_rows(store_of_rows), store_of_rows, store_of_rows / "references")
    assert board.remark == ""
    oracle, weekly, silence = board.entries
    assert oracle.score is not None
    assert weekly.score is not None
    assert oracle.score.mean == pytest.approx(100, rel=1e-3)
    assert weekly.score.mean == pytest.approx(50, rel=1e-3)
    assert silence.score is None
    words = dict(zip(header(), cells_of(oracle), strict=True))
    assert (words["agent"], words["score"]) == ("oracle, full information", "100 [100, 100]")
    assert "| 100 [100, 100] |" in markdown([board], "Two")
    table = store_of_rows / "leaderboard.csv"
    table.write_text(csv_text([board]).replace(",weekly,", ",cap,"))
    text = section(table)
    assert "Scores with 95 % intervals" in text
    assert "| oracle, full information | 100 | 100 [100, 100] |" in text
    assert "| cap | 50 |" in text


def test_boards_of_other_numbers_or_windows_have_no_scores_and_say_why(store_of_rows: Path) -> None:
    rows = store.read_rows(store_of_rows)
    changed_rows = [row | {"digest": "0ld"} for row in rows]
    (stale,) = boards(changed_rows, store_of_rows, store_of_rows / "references")
    assert "stale" in stale.remark
    assert WORLD.digest in stale.remark
    assert "0ld" in stale.remark
    assert stale.remark in markdown([stale], "Old")
    assert all(entry.score is None for entry in stale.entries)
    (none,) = boards(rows, store_of_rows, store_of_rows / "nothing")
    assert none.remark == "Frequency-v0: no reference values, hence no scores"


def test_the_command_resumes_and_tunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["Frequency-v0", "--customers", "8", "--days", "12", "--tuning", "8", "--no-belief"]
    where = ["--out", str(tmp_path / "out"), "--parts", str(tmp_path / "parts")]
    planned = CliRunner().invoke(app, [*words, *where, "--plan"])
    assert planned.exit_code == 0, planned.output
    assert "24 of 24 values to reckon" in planned.output
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*words, *where])
    assert done.exit_code == 0, done.output
    found = read("Frequency-v0", tmp_path / "out")
    assert found is not None
    assert set(found.values) == {"silence", "optimum", "myopic", "fatigue_cap", "segment_caps"}
    assert (found.values["optimum"] >= np.max([found.values[each] for each in found.values], axis=0) - 1e-4).all()
    assert set(found.facts["tuning"]["segment_caps"]) == {segment.name for segment in WORLD.segments}

    def refused(question: Question) -> Answer:
        raise AssertionError(f"reckoned again: {question}")

    monkeypatch.setattr(exact, "exact_values", refused)
    monkeypatch.setattr(references, "exact_values", refused)
    again = CliRunner().invoke(app, [*words, *where])
    assert again.exit_code == 0, again.output


def test_answers_of_other_code_count_if_asked_for_and_once_this_code_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled(tmp_path, customers=6)
    monkeypatch.setattr(exact, "exact_code", lambda: "0ther")
    path = tmp_path / "parts.jsonl"
    assert held_out(Ledger(WORLD, DAYS, path), 6)
    ledger = Ledger(WORLD, DAYS, path, any_code=True)
    assert not held_out(ledger, 6)
    references.checked(ledger)
    values = before.values(EVALUATION_SEED, SILENCE, range(6))
    np.testing.assert_array_equal(ledger.values(EVALUATION_SEED, SILENCE, range(6)), values)
    ledger._known[EVALUATION_SEED, SILENCE][0] += 1e-3
    with pytest.raises(ReferencesError, match="silence, customer 0"):
        references.checked(ledger)


@pytest.mark.parametrize("table", sorted(RESULTS.glob("*/leaderboard.csv")), ids=lambda path: path.parent.name)
def test_no_agent_of_a_committed_board_exceeds_full_information(table: Path) -> None:
    compared = 0
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("score"):
                assert float(row["score_low"]) <= 100, (row["scenario"], row["agent"])
            try:
                reference = fitting(row["scenario"], row["digest"], int(row["days"]))
            except ReferencesError:
                continue
            if reference is None or not row["over_silence"]:
                continue
            compared += 1
            low = score(_estimate(row), np.zeros(len(reference.gap)), reference.gap).low
            assert low <= 100, (row["scenario"], row["agent"], low)
    if not compared:
        pytest.skip(f"no reference fits a scenario of {table}")


@pytest.mark.parametrize("path", sorted(references.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_committed_references_are_of_the_canon_and_no_simple_policy_beats_the_optimum(path: Path) -> None:
    world = SCENARIOS[path.stem]
    found: Reference | None = fitting(world.name, world.digest, world.evaluation_days)
    assert found is not None
    assert len(found.gap) >= 1024
    for policy, values in found.values.items():
        assert (values <= found.values[OPTIMUM] * (1 + 1e-5) + 1e-4).all(), policy


def _estimate(row: dict[str, str]) -> Estimate:
    mean, low, high = (float(row[f"over_silence{end}"]) for end in ("", "_low", "_high"))
    return Estimate(mean, low, high, (high - low) / (2 * 1.96))
