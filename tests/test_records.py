"""Records hold what was written and nothing that was guessed, and nobody changes them behind their digest."""

import copy
import pickle
from collections.abc import Callable
from typing import Annotated, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from agents.agent import AgentError, AgentSettings, parsed
from benchmarks.configs import Suite
from benchmarks.training import RunConfig
from blockenv.scenarios import SCENARIOS, Record, Scenario, changed, get
from blockenv.scenarios.records import Table
from blockenv.scenarios.schema import Channel, Segment

NAMES = list(SCENARIOS)


class Part(Record):
    share: float = 0.5


class Whole(Record):
    """A field of every kind that a record of the project has."""

    real: float = 1.0
    count: int = 1
    bounded: Annotated[int, Field(ge=0)] = 1
    maybe: int | None = None
    some: list[Annotated[int, Field(ge=1)]] = [1]
    several: tuple[float, ...] = (1.0,)
    table: dict[str, float] = {}
    nested: dict[str, dict[str, int]] = {}
    parts: tuple[Part, ...] = ()
    part: Part = Part()
    flag: bool = False
    text: str = "1"
    anything: dict[str, Any] = {}


# --- numbers are numbers ---


@pytest.mark.parametrize("impostor", [True, False, "1", "0.5", "1e3", "much", b"1"])
@pytest.mark.parametrize(
    ("field", "wrap", "place"),
    [
        ("real", lambda each: each, "real"),
        ("count", lambda each: each, "count"),
        ("bounded", lambda each: each, "bounded"),
        ("maybe", lambda each: each, "maybe"),
        ("some", lambda each: [1, each], "some"),
        ("several", lambda each: [1.0, each], "several"),
        ("table", lambda each: {"a": each}, "table"),
        ("nested", lambda each: {"a": {"b": each}}, "nested"),
        ("parts", lambda each: [{"share": each}], "parts.0.share"),
        ("part", lambda each: {"share": each}, "part.share"),
    ],
)
def test_truth_values_and_text_are_no_numbers(
    field: str, wrap: Callable[[Any], Any], place: str, impostor: Any
) -> None:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate({field: wrap(impostor)})
    (reason,) = error.value.errors()
    assert ".".join(map(str, reason["loc"])) == place
    assert "expected a number, not " + ("a truth value" if isinstance(impostor, bool) else "text") in reason["msg"]


def test_an_impostor_within_a_list_or_table_is_told_by_its_place() -> None:
    with pytest.raises(ValidationError, match="b: expected a number, not text"):
        Whole.model_validate({"table": {"a": 1.0, "b": "2"}})
    with pytest.raises(ValidationError, match="1: expected a number, not a truth value"):
        Whole.model_validate({"some": [1, True]})
    with pytest.raises(ValidationError, match="a: b: expected a number"):
        Whole.model_validate({"nested": {"a": {"b": True}}})


def test_what_yaml_and_json_can_say_is_read_as_before() -> None:
    content = {"real": 2, "count": 3.0, "maybe": None, "some": [1, 2], "several": [1, 2.5], "table": {"a": 1}}
    words = {"flag": True, "text": "true", "anything": {"a": True, "b": "1"}}
    found = Whole.model_validate(content | words)
    assert found.model_dump(include=set(content)) == content | {"several": (1.0, 2.5)}
    assert isinstance(found.real, float)
    assert isinstance(found.count, int)
    assert found.model_dump(include=set(words)) == words
    assert Whole.model_validate({"maybe": 4}).maybe == 4


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (Channel.model_validate, {"name": "push", "load": True}),
        (Suite.model_validate, {"title": "T", "scenarios": ["Style-v0"], "agents": ["silence"], "seeds": True}),
        (Suite.model_validate, {"title": "T", "scenarios": ["Style-v0"], "agents": ["silence"], "days": "28"}),
        (RunConfig.model_validate, {"seed": True}),
        (RunConfig.model_validate, {"eval_freq": "10"}),
    ],
)
def test_both_rooms_and_the_benchmarks_refuse_them(make: Any, values: dict[str, Any]) -> None:
    field = next(name for name, value in values.items() if value is True or str(value).isdigit())
    with pytest.raises(ValidationError, match=rf"{field}\n  expected a number"):
        make(values)


def test_settings_of_agents_refuse_them() -> None:
    class Some(AgentSettings):
        days: int = 7

    for value, what in ((True, "a truth value"), ("7", "text")):
        with pytest.raises(AgentError, match=rf"here: days: expected a number, not {what} \(got {value!r}\)"):
            parsed(Some, {"days": value}, "here")


# --- tables stay ---


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.__setitem__("promo", 9.0),
        lambda table: table.update(promo=9.0),
        lambda table: table.pop("promo"),
        lambda table: table.popitem(),
        lambda table: table.clear(),
        lambda table: table.setdefault("new", 1.0),
        lambda table: table.__delitem__("promo"),
        lambda table: table.__ior__({"promo": 9.0}),
    ],
)
def test_a_table_of_a_scenario_cannot_be_changed(change: Any) -> None:
    scenario = SCENARIOS["Omnichannel-v0"]
    digest, before = scenario.digest, dict(scenario.segments[0].style_block)
    with pytest.raises(TypeError, match="make another record with `changed`"):
        change(scenario.segments[0].style_block)
    assert scenario.segments[0].style_block == before
    assert scenario.digest == digest


@pytest.mark.parametrize("name", NAMES)
def test_every_table_of_the_canon_is_read_only(name: str) -> None:
    tables = [value for segment in SCENARIOS[name].segments for value in dict(segment).values() if type(value) is dict]
    assert tables == []
    assert isinstance(SCENARIOS[name].provenance, Table)
    assert isinstance(SCENARIOS[name].segments[0].style_block, Table)


@pytest.mark.parametrize("name", NAMES)
def test_records_with_tables_are_copied_pickled_and_written_down(name: str) -> None:
    scenario = SCENARIOS[name]
    ways: list[Callable[[Scenario], Scenario]] = [
        copy.copy,
        copy.deepcopy,
        lambda each: each.model_copy(),
        lambda each: each.model_copy(deep=True),
        lambda each: Scenario.model_validate(each.model_dump()),
        lambda each: Scenario.model_validate_json(each.model_dump_json()),
        lambda each: get(yaml.safe_load(yaml.safe_dump(each.model_dump(mode="json")))),
        *(
            lambda each, version=version: pickle.loads(pickle.dumps(each, version))
            for version in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ]
    for way in ways:
        found = way(scenario)
        assert found == scenario
        assert found.digest == scenario.digest
        with pytest.raises(TypeError):
            found.segments[0].style_block["any"] = 1.0


def test_a_table_is_a_dictionary_to_whoever_reads_it() -> None:
    table = SCENARIOS["Omnichannel-v0"].segments[0].style_block
    assert isinstance(table, dict)
    assert table | {"x": 1.0} == {**table, "x": 1.0}
    free = dict(table)
    free["x"] = 1.0
    assert "x" not in table


# --- another record ---


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.sampled_from(NAMES), st.floats(0, 1))
def test_changed_changes_what_it_is_told_and_nothing_else(name: str, opt_in: float) -> None:
    channel = SCENARIOS[name].channels[0]
    found = changed(channel, opt_in=opt_in)
    assert type(found) is Channel
    assert found.model_dump() == channel.model_dump() | {"opt_in": opt_in}
    assert changed(channel) == channel


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"opt_in": 1.5}, "opt_in"),
        ({"opt_inn": 1.0}, "opt_inn"),
        ({"opt_in": True}, "opt_in"),
        ({"name": "Push!"}, "name"),
    ],
)
def test_changed_checks_what_a_model_copy_would_not(fields: dict[str, Any], reason: str) -> None:
    channel = SCENARIOS["Style-v0"].channels[0]
    with pytest.raises(ValidationError, match=reason):
        changed(channel, **fields)


def test_changed_checks_the_whole_and_freezes_new_tables() -> None:
    scenario = SCENARIOS["Style-v0"]
    with pytest.raises(ValidationError, match="not among products"):
        changed(scenario, products=("other",))
    segment: Segment = changed(scenario.segments[0], style_block={"promo": 1.0})
    with pytest.raises(TypeError):
        segment.style_block["promo"] = 2.0
