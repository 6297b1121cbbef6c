"""Configs are data: every file of the repository is sound, and one that is not is refused by file and field."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from agents import AGENTS, agent_class
from agents.agent import AgentError
from benchmarks import configs
from benchmarks.configs import ConfigError, agent_settings, assignments, read_yaml, suite
from blockenv.scenarios import SCENARIOS, get, save

SOUND = "title: Tiny\nscenarios: [Frequency-v0]\nagents: [silence, cap]\n"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str, name: str = "tiny.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


# --- the repository's own files ---


@pytest.mark.parametrize("path", sorted((configs.ROOT / "configs" / "suites").glob("*")), ids=lambda path: path.name)
def test_every_suite_of_the_repository_is_sound(path: Path) -> None:
    assert path.suffix == ".yaml"
    assert suite(path).title


def test_every_agent_config_belongs_to_an_agent_and_all_its_sections_are_sound() -> None:
    for path in configs.AGENT_CONFIGS.glob("*"):
        assert path.suffix == ".yaml"
        assert path.stem in AGENTS
        for section in read_yaml(path):
            assert section == "default" or section in SCENARIOS
            agent_settings(path.stem, "Frequency-v0" if section == "default" else section)


@pytest.mark.parametrize("agent", AGENTS)
def test_every_agent_has_settings_for_every_scenario(agent: str) -> None:
    for scenario in SCENARIOS:
        settings = agent_settings(agent, scenario)
        assert type(settings).model_validate(settings.model_dump(mode="json")) == settings


# --- suites ---


def test_a_suite_says_what_it_leaves_out_by_defaults(written: Any) -> None:
    found = suite(written(SOUND))
    assert (found.seeds, found.customers, found.days, found.settings) == (3, 2048, None, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SOUND + "sedes: 3\n", "sedes: Extra inputs are not permitted"),
        (SOUND + "seeds: many\n", "seeds: expected a number, not text.*'many'"),
        (SOUND + "seeds: true\n", "seeds: expected a number, not a truth value.*got True"),
        (SOUND + "days: '28'\n", "days: expected a number, not text.*got '28'"),
        (SOUND + "seeds: 0\n", "seeds: .*greater than or equal to 1.*got 0"),
        (SOUND + "customers: 1\n", "customers: .*greater than or equal to 2"),
        (SOUND + "days: 1.5\n", "days: .*1.5"),
        (SOUND.replace("Frequency-v0", "Frequence-v0"), "scenario: 'Frequence-v0' is neither .* one of Frequency-v0"),
        (SOUND.replace("silence", "silent"), "agent: 'silent' is neither one of silence"),
        (SOUND.replace("silence", "no.such:Agent"), "agent: 'no.such:Agent' cannot be imported"),
        (SOUND.replace("silence", "pathlib:Path"), "agent: 'pathlib:Path' has no method act"),
        (SOUND.replace("[silence, cap]", "silence"), "agents: .*valid list"),
        (SOUND.replace("silence", "cap"), r"agents: \['cap'\] listed more than once"),
        (SOUND.replace("[F", "[Frequency-v0, F"), r"scenarios: \['Frequency-v0'\] listed more than once"),
        (SOUND.replace("[F", "[blockenv/Frequency-v0, F"), "expected a name of its own for each"),
        (SOUND.replace("title: Tiny\n", ""), "title: Field required"),
        (SOUND + "settings: {ppo: {}}\n", r"settings: \['ppo'\] are not among the agents"),
        (SOUND + "settings: {cap: {gaps: 3}}\n", "settings of cap: gaps: .*Settings are: customers"),
        (SOUND + "settings: {cap: {gap: often}}\n", "settings of cap: gap: .*'often'"),
        (SOUND + "settings: {cap: {gap: yes}}\n", "settings of cap: gap: expected a number, not a truth value"),
        (SOUND + "settings: {cap: 3}\n", "settings.cap: .*dictionary"),
        ("- a\n- b\n", "holds list, expected a mapping"),
        ("", "holds NoneType, expected a mapping"),
        ("title: [", "cannot be read as YAML"),
        ("title: 2001-99-99", "cannot be read as YAML"),
        ("[" * 4000, "cannot be read as YAML"),
        ("1: 2\n" + SOUND, "should be strings"),
    ],
)
def test_a_wrong_suite_is_refused_by_file_and_field(written: Any, text: str, reason: str) -> None:
    path = written(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        suite(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_python_in_yaml_is_not_run(written: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = written(f"title: !!python/object/apply:os.mkdir ['{trace}']\n")
    with pytest.raises(ConfigError, match=r"could not determine a constructor"):
        suite(path)
    with pytest.raises(AgentError, match="the value is not YAML"):
        assignments([f"gap=!!python/object/apply:os.mkdir ['{trace}']"])
    assert not trace.exists()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read as YAML") as caught:
            suite(path)
        assert str(path) in str(caught.value)
    path = tmp_path / "latin.yaml"
    path.write_bytes("title: Grüße".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read as YAML"):
        suite(path)


def test_a_suite_takes_scenario_files_and_agents_by_import_path(written: Any, tmp_path: Path) -> None:
    world = tmp_path / "mine.yaml"
    save(get("Frequency-v0").model_copy(update={"name": "Mine-v0"}), world)
    found = suite(written(f"title: Own\nscenarios: ['{world}']\nagents: ['agents.rules:Silence']\n"))
    assert found.agents == ["agents.rules:Silence"]


# --- settings of agents ---


def test_a_change_beats_the_scenario_beats_the_default_beats_the_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = {"default": {"days": 11, "gap": 12}, "Style-v0": {"gap": 13, "messages": [1]}}
    (tmp_path / "cap.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(configs, "AGENT_CONFIGS", tmp_path)
    own = agent_class("cap").Settings().customers
    plain = agent_settings("cap", "Frequency-v0")
    assert (plain.customers, plain.days, plain.gap, plain.messages) == (own, 11, 12, [])
    special = agent_settings("cap", "Style-v0")
    assert (special.customers, special.days, special.gap, special.messages) == (own, 11, 13, [1])
    changed = agent_settings("cap", "Style-v0", {"gap": 14, "customers": 9})
    assert (changed.customers, changed.days, changed.gap, changed.messages) == (9, 11, 14, [1])
    # The file is the agent's of that name, not of one that is given by its import path.
    assert agent_settings("agents.caps:FrequencyCap", "Style-v0").gap is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Frequence-v0: {gap: 3}", "'Frequence-v0' is neither"),
        ("default: {gap: 0}", "default: gap: .*greater than or equal to 1"),
        ("default: {gap: 1}\nFrequency-v0: {pag: 1}", "Frequency-v0: pag: Extra inputs"),
        ("default: [gap]", "default: holds list, expected a mapping"),
        ("default:", "default: holds NoneType, expected a mapping"),
        ("[default]", "holds list, expected a mapping"),
    ],
)
def test_a_wrong_agent_config_is_refused_by_file_and_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "cap.yaml").write_text(text)
    monkeypatch.setattr(configs, "AGENT_CONFIGS", tmp_path)
    with pytest.raises(ConfigError, match=r"cap\.yaml: .*" + reason):
        agent_settings("cap", "Frequency-v0")


def test_assignments_are_read_as_yaml() -> None:
    found = assignments(["steps=2_000_000", "rate=1e-3", "hidden=[64, 32]", "sample=false", "text=a=b", "none="])
    expected = {"steps": 2_000_000, "rate": 1e-3, "hidden": [64, 32], "sample": False, "text": "a=b", "none": None}
    assert found == expected


@pytest.mark.parametrize("word", ["gap", "=3", "gap=[", "gap=2001-99-99"])
def test_an_assignment_that_cannot_be_is_named(word: str) -> None:
    with pytest.raises(AgentError, match="--set"):
        assignments([word])
