"""The cap that runs are compared with is tuned once, and tuned anew whenever it could have become another."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.caps import FrequencyCap
from benchmarks import configs
from benchmarks import tuned_cap as tuned_cap_module
from benchmarks.tuned_cap import FILE, tuned_cap
from blockenv.scenarios import changed, get

WORLD = get("Frequency-v0")


@pytest.fixture
def tunings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scenarios that a cap has been tuned for, in order; tuning is short."""
    settle(tmp_path, monkeypatch, customers=16)
    found: list[str] = []
    fit = FrequencyCap.fit

    def noting(self: FrequencyCap, *arguments: Any) -> None:
        found.append(self.scenario.digest)
        fit(self, *arguments)

    monkeypatch.setattr(FrequencyCap, "fit", noting)
    return found


def settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: int) -> None:
    folder = tmp_path / "configs"
    folder.mkdir(exist_ok=True)
    (folder / "cap.yaml").write_text(json.dumps({"default": {"days": 20, **settings}}))
    monkeypatch.setattr(configs, "AGENT_CONFIGS", folder)


def test_it_is_tuned_once(tunings: list[str], tmp_path: Path) -> None:
    first = tuned_cap(WORLD, tmp_path)
    second = tuned_cap(WORLD, tmp_path)
    assert tunings == [WORLD.digest]
    assert first.learned() == second.learned()
    assert first.settings.customers == second.settings.customers == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "configs"]


def test_another_world_other_settings_or_other_code_tune_it_anew(
    tunings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned_cap(WORLD, tmp_path)
    other = changed(WORLD, commerce=changed(WORLD.commerce, margin=0.9))
    assert tuned_cap(other, tmp_path).scenario is other
    assert tunings == [WORLD.digest, other.digest]
    settle(tmp_path, monkeypatch, customers=17)
    assert tuned_cap(other, tmp_path).settings.customers == 17
    assert len(tunings) == 3
    monkeypatch.setattr(tuned_cap_module, "code_of", lambda kind: "0ther")
    tuned_cap(other, tmp_path)
    assert len(tunings) == 4
    tuned_cap(other, tmp_path)
    assert len(tunings) == 4, "the latest is kept"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: "null",
        lambda text: text.replace('"gap"', '"pag"'),
        lambda text: json.dumps(json.loads(text) | {"learned": None}),
        lambda text: json.dumps(json.loads(text) | {"learned": {"gap": 7, "messages": [99]}}),
        lambda text: json.dumps(json.loads(text) | {"learned": {"gap": float("inf"), "messages": [1]}}),
    ],
)
def test_a_damaged_file_is_no_cap(damage: Any, tunings: list[str], tmp_path: Path) -> None:
    expected = tuned_cap(WORLD, tmp_path).learned()
    path = tmp_path / FILE
    path.write_text(damage(path.read_text()))
    assert tuned_cap(WORLD, tmp_path).learned() == expected
    assert len(tunings) == 2
    tuned_cap(WORLD, tmp_path)
    assert len(tunings) == 2, "and it is mended"


def test_where_it_cannot_be_kept_it_is_tuned_all_the_same(tunings: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert tuned_cap(WORLD, tmp_path / "absent").gap >= 1
    assert len(tunings) == 2
    assert not (tmp_path / "absent").exists()
