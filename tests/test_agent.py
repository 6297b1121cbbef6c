"""What all agents share: names, settings, training seeds, and files that appear whole or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from agents import AGENTS, agent_class
from agents.agent import (
    Agent,
    AgentError,
    AgentSettings,
    Monitor,
    Unwatched,
    load_record,
    parsed,
    save_record,
    training_seed,
    write_whole,
)
from agents.rules import Silence
from blockenv import EVALUATION_SEED
from blockenv.scenarios import get


class Some(AgentSettings):
    """Settings to be tried."""

    width: float = Field(default=1.0, gt=0)
    days: int = Field(default=7, ge=1)


@pytest.mark.parametrize("name", AGENTS)
def test_every_name_leads_to_a_class(name: str) -> None:
    kind = agent_class(name)
    assert isinstance(kind, type)
    assert issubclass(kind.Settings, AgentSettings)
    assert kind is agent_class(AGENTS[name])


@pytest.mark.parametrize(
    "name",
    ["", "nobody", "agents.rules", "agents.nowhere:Silence", "agents.rules:Nobody", ":Silence", ".rules:Silence"],
)
def test_an_agent_that_does_not_exist(name: str) -> None:
    with pytest.raises(AgentError) as error:
        agent_class(name)
    assert repr(name) in str(error.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AgentError, match="silence, random, greedy"):
        agent_class("nobody")


def test_settings_are_frozen_and_default() -> None:
    found = parsed(Some, {"days": 3}, "here")
    assert (found.width, found.days) == (1.0, 3)
    with pytest.raises(ValueError, match="frozen"):
        found.days = 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 2.0}, r"here: widht: .*got 2\.0.*Settings are: width, days"),
        ({"width": 0.0}, r"here: width: .*got 0\.0"),
        ({"width": float("nan")}, "here: width: .*got nan"),
        ({"width": float("-inf")}, "here: width: .*got -inf"),
        ({"days": "a week"}, "here: days: .*got 'a week'"),
        ({"days": 1.5}, r"here: days: .*got 1\.5"),
        ({"days": 0, "width": -1}, "here: width: .*got -1.*; days: .*got 0"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        parsed(Some, values, "here")


@given(st.integers(0, 2**31 - 1), st.integers(0, 63))
def test_training_never_meets_customers_of_evaluation_or_of_another_run(seed: int, purpose: int) -> None:
    found = training_seed(seed, purpose)
    assert 0 <= found < EVALUATION_SEED
    assert divmod(found, 64) == (seed, purpose)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_training_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(AgentError, match=f"seed: {seed}, expected"):
        training_seed(seed)


def test_files_appear_whole_and_replace_their_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first, and longer")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_whole(kept, "text is no bytes")  # type: ignore[arg-type]
    assert kept.read_bytes() == b"old"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", b"new")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "folder"}


def test_records_say_what_they_are(tmp_path: Path) -> None:
    world = get("Style-v0")
    save_record(tmp_path / "a" / "b", Silence(world), {"number": 1.5}, Some(days=2))
    content = json.loads((tmp_path / "a" / "b" / "agent.json").read_text())
    assert content["scenario"] == "Style-v0"
    assert content["digest"] == world.digest
    settings, learned = load_record(tmp_path / "a" / "b", "Silence", Some)
    assert settings == Some(days=2)
    assert learned == {"number": 1.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as a saved agent"),
        ("null", "holds 'NoneType', expected an agent 'Silence'"),
        ("{}", "holds None, expected an agent 'Silence'"),
        ('{"agent": "Greedy", "settings": {}, "learned": {}}', "holds 'Greedy', expected an agent 'Silence'"),
        ('{"agent": "Silence", "settings": {}}', "'settings' and 'learned' must be mappings"),
        ('{"agent": "Silence", "settings": {"days": 0}, "learned": {}}', "days: .*got 0"),
        ('{"agent": "Silence", "settings": {"width": NaN}, "learned": {}}', "width: .*got nan"),
    ],
)
def test_records_that_cannot_be_read_name_the_file(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text(content)
    with pytest.raises(AgentError, match=rf"agent\.json: .*{message}"):
        load_record(tmp_path, "Silence", Some)


def test_a_record_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"nowhere/agent\.json: cannot be read"):
        load_record(tmp_path / "nowhere", "Silence", Some)


def test_protocols() -> None:
    watcher: Monitor = Unwatched()
    watcher.advance(1, 2, {})
    assert isinstance(Silence(get("Style-v0")), Agent)
    assert not isinstance(watcher, Agent)
