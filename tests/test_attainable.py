"""The attainable line is played on the customers of a reference, kept in its file and shown with the scores."""

from pathlib import Path

import numpy as np
import pytest

from agents.belief import BeliefSettings
from agents.rules import Silence
from benchmarks import attainable, references, store
from benchmarks.leaderboard import boards
from benchmarks.references import ReferencesError, path_of, read
from benchmarks.tables import in_words, markdown
from blockenv import EVALUATION_SEED, play
from tests.test_references import DAYS, WORLD, filled

SMALL = BeliefSettings(prototypes=24, particles=16, trial_customers=16, trial_days=20)


def test_a_line_is_kept_beside_the_reference_and_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "references"
    reference = references.write(filled(tmp_path, customers=20), 20, folder)
    assert attainable.line(reference) is None
    assert attainable.line(None) is None
    told: list[tuple[str, int, int]] = []
    facts = attainable.attained(WORLD, 20, DAYS, SMALL, lambda *words: told.append(words))
    assert [words for words in told if words[0] == "planning"][-1] == ("planning", 24, 24)
    assert told[-1] == ("playing", 20 * DAYS, 20 * DAYS)
    assert facts["settings"]["prototypes"] == 24
    attainable.write(reference, facts, folder)

    kept = read(WORLD.name, folder)
    assert kept is not None
    line = attainable.line(kept)
    assert line is not None
    assert line.over_silence.mean == pytest.approx(facts["mean"]["mean"], rel=1e-4)
    assert line.score.mean == pytest.approx(100 * line.over_silence.mean / kept.gap.mean(), rel=1e-6)
    # Reckoning the reference anew keeps the line.
    references.write(filled(tmp_path, customers=20), 20, folder)
    assert attainable.line(read(WORLD.name, folder)) == line

    quiet = play(Silence(WORLD), WORLD, EVALUATION_SEED, 20, days=DAYS).value
    row = {"key": "silence", "scenario": WORLD.name, "digest": WORLD.digest, "agent": "silence", "seed": 0,
           "customers": 20, "days": DAYS, "settings": {}, "commit": "c0ffee", "messages_a_week": 0.0,
           "reach_after_year": {"email": 0.5}}  # fmt: skip
    store.write(tmp_path, row, np.asarray(quiet))
    (board,) = boards(store.read_rows(tmp_path), tmp_path, folder)
    assert board.line == line
    assert in_words(line) in markdown([board], "One")


def test_a_line_that_cannot_be_read_is_an_error_that_names_the_scenario(tmp_path: Path) -> None:
    reference = references.write(filled(tmp_path, customers=20), 20, tmp_path)
    attainable.write(reference, {"agent": "belief"}, tmp_path)
    damaged = read(WORLD.name, tmp_path)
    with pytest.raises(ReferencesError, match=WORLD.name):
        attainable.line(damaged)
    assert path_of(WORLD.name, tmp_path).exists()
