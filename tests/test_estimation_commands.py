import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from blockenv.scenarios import changed, get, save
from calibration.estimation.hints import HINTS, HintMap
from scripts.recovery import app as recovery
from scripts.transfer import app as transfer


def test_recovery_compares_estimates_with_the_truth(tmp_path: Path) -> None:
    out = tmp_path / "recovery"
    asked = ["--scenario", "Style-v0", "--draws", "1", "--customers", "600", "--days", "42", "--no-search"]
    answer = CliRunner().invoke(recovery, ["--out", str(out), "--no-confounded", *asked])
    assert answer.exit_code == 0, answer.output
    summary = json.loads((out / "recovery.json").read_text(encoding="utf-8"))
    assert [line["effect"] for line in summary["coverage"]][:2] == ["load 8 against 4", "weekend"]
    true = {line["effect"]: line["true"] for line in summary["coverage"]}
    assert sum(true[f"style {name}"] for name in ("promo", "info", "personal")) == pytest.approx(0.0, abs=1e-9)
    assert summary["confounded"] is None
    assert "intervals" in (out / "recovery.md").read_text(encoding="utf-8")
    before = (out / "randomised-1.json").stat().st_mtime_ns
    assert CliRunner().invoke(recovery, ["--out", str(out), "--no-confounded", *asked]).exit_code == 0
    assert (out / "randomised-1.json").stat().st_mtime_ns == before


def test_a_policy_from_the_truth_itself_keeps_everything(tmp_path: Path) -> None:
    world = get("Style-v0")
    save(changed(world, name="Estimated-v0"), tmp_path / "same.yaml")
    asked = ["Style-v0", str(tmp_path / "same.yaml"), "--agent", "weekly", "-n", "64", "--days", "28"]
    answer = CliRunner().invoke(transfer, [*asked, "--json", str(tmp_path / "transfer.json")])
    assert answer.exit_code == 0, answer.output
    rows = json.loads((tmp_path / "transfer.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["policy"], row["trained_in"]) for row in rows] == [
        ("silence", ""),
        ("weekly", "truth"),
        ("weekly", "estimate"),
    ]
    assert rows[1]["clv"] == rows[2]["clv"]
    mean, low, high = rows[1]["over_silence"]
    assert low < mean < high
    if low > 0:
        assert rows[2]["kept"] == pytest.approx([1.0, 1.0, 1.0])
    else:
        assert rows[2]["kept"] is None


def test_a_network_from_a_world_with_fewer_segments_serves_the_truth(tmp_path: Path) -> None:
    world = get("Style-v0")
    save(changed(world, name="Estimated-v0", segments=world.segments[:2]), tmp_path / "scenario.yaml")
    hints = HintMap(("hint_1", "hint_2"), np.eye(2), np.zeros(2))
    (tmp_path / HINTS).write_text(hints.text(), encoding="utf-8")
    asked = ["Style-v0", str(tmp_path / "scenario.yaml"), "--agent", "ppo=2", "--steps", "8192"]
    answer = CliRunner().invoke(transfer, [*asked, "-n", "32", "--days", "14", "--json", str(tmp_path / "out.json")])
    assert answer.exit_code == 0, answer.output
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert found["segments"] == {"truth": len(world.segments), "estimate": 2}
    assert [row["seeds"] for row in found["rows"]] == [1, 2, 2]
    assert answer.output.count("over silence, ") == 4


def test_trainings_are_a_number(tmp_path: Path) -> None:
    save(changed(get("Style-v0"), name="Estimated-v0"), tmp_path / "same.yaml")
    answer = CliRunner().invoke(transfer, ["Style-v0", str(tmp_path / "same.yaml"), "--agent", "ppo=many"])
    assert answer.exit_code == 2


def test_worlds_with_other_segments_cannot_share_a_policy(tmp_path: Path) -> None:
    world = get("Style-v0")
    save(changed(world, name="Estimated-v0", segments=world.segments[:2]), tmp_path / "other.yaml")
    answer = CliRunner().invoke(transfer, ["Style-v0", str(tmp_path / "other.yaml"), "--agent", "weekly"])
    assert answer.exit_code == 2
