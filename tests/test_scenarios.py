"""Scenarios are data: they survive being written down, refuse what cannot be, and own up to every number."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from blockenv.scenarios import SCENARIOS, Record, Scenario, ScenarioError, get, load, save

DETERMINISTIC = settings(deadline=None, derandomize=True, max_examples=150)
NAMES = list(SCENARIOS)
ROOT = Path(__file__).resolve().parents[1]

Leaf = tuple[tuple[str | int, ...], Any]


def leaves(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """Every value of a plain scenario with the keys that lead to it."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from leaves(value, (*path, index))
    else:
        yield path, content


def replaced(content: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """The same plain scenario with one value changed."""
    if not path:
        return value
    if isinstance(content, list):
        return [replaced(each, path[1:], value) if i == path[0] else each for i, each in enumerate(content)]
    return {**content, path[0]: replaced(content.get(path[0]), path[1:], value)}


def plain(name: str) -> dict[str, Any]:
    return SCENARIOS[name].model_dump(mode="json")


def nudged(name: str, path: tuple[str | int, ...], number: float) -> Scenario:
    """A valid scenario in which the number at `path` is slightly different."""
    whole = isinstance(number, int)
    candidates = (number + 1, number - 1) if whole else (number * 1.0001, number * 0.9999, number + 1e-9, number - 1e-9)
    for candidate in candidates:
        try:
            changed = Scenario.model_validate(replaced(plain(name), path, candidate))
        except ValidationError:
            continue
        if candidate != number:
            return changed
    raise AssertionError(f"{name}: no neighbour of {path} = {number} is valid")


NUMBERS = {
    name: [(path, value) for path, value in leaves(plain(name)) if isinstance(value, int | float)] for name in NAMES
}


# --- the canon ---


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_of_the_canon_survives_being_a_dict_and_a_file(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    assert scenario.name == name
    assert get(scenario.model_dump()) == scenario
    assert get(json.loads(scenario.model_dump_json())) == scenario
    for file in ("world.yaml", "world.yml"):
        save(scenario, tmp_path / file)
        assert load(tmp_path / file) == scenario
        assert get(tmp_path / file).digest == scenario.digest
    (tmp_path / "world.json").write_text(scenario.model_dump_json(), encoding="utf-8")
    assert get(str(tmp_path / "world.json")) == scenario


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_is_found_by_itself_its_name_and_its_gymnasium_id(name: str) -> None:
    assert get(SCENARIOS[name]) is get(name) is get(f"blockenv/{name}") is SCENARIOS[name]


def test_digests_are_sixteen_hex_digits_and_tell_the_canon_apart() -> None:
    digests = [scenario.digest for scenario in SCENARIOS.values()]
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


@pytest.mark.parametrize("hash_seed", ["1", "77"])
def test_a_digest_is_the_same_in_every_process(hash_seed: str) -> None:
    code = "from blockenv.scenarios import SCENARIOS; print(*(each.digest for each in SCENARIOS.values()))"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.split() == [scenario.digest for scenario in SCENARIOS.values()]


@DETERMINISTIC
@given(st.data())
def test_a_digest_changes_with_any_number(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    path, number = data.draw(st.sampled_from(NUMBERS[name]))
    assert nudged(name, path, number).digest != SCENARIOS[name].digest


def test_a_digest_changes_with_each_number_of_the_largest_scenario() -> None:
    name = max(NAMES, key=lambda each: len(NUMBERS[each]))
    unchanged = [path for path, value in NUMBERS[name] if nudged(name, path, value).digest == SCENARIOS[name].digest]
    assert unchanged == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "Other-v0"),
        (("observe",), "full"),
        (("channels", 0, "visibility"), "never"),
        (("slots",), ["a", "b"]),
    ],
)
def test_a_digest_changes_with_what_is_not_a_number(path: tuple[str | int, ...], value: Any) -> None:
    changed = get(replaced(plain("Frequency-v0"), path, value))
    assert changed.digest != SCENARIOS["Frequency-v0"].digest


@pytest.mark.parametrize(
    ("field", "value"),
    [("isolates", "something else"), ("provenance", {"commerce.margin": {"label": "FOUND", "source": "a report"}})],
)
def test_a_digest_does_not_change_with_words(field: str, value: Any) -> None:
    changed = get({**plain("Style-v0"), field: value})
    assert changed != SCENARIOS["Style-v0"]
    assert changed.digest == SCENARIOS["Style-v0"].digest


@pytest.mark.parametrize("name", NAMES)
def test_every_action_has_its_own_words(name: str) -> None:
    scenario = SCENARIOS[name]
    words = [scenario.message_name(action) for action in range(scenario.actions)]
    assert words[0] == "silence"
    expected = {
        f"{channel.name}/{slot}/{style.name}/{product}"
        for channel in scenario.channels
        for slot in scenario.slots
        for style in scenario.styles
        for product in scenario.products
    }
    assert len(words) == len(set(words)) == 1 + len(expected)
    assert set(words[1:]) == expected
    for action in (-1, scenario.actions):
        with pytest.raises(ValueError, match=f"action: {action} is not among"):
            scenario.message_name(action)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SCENARIOS["Style-v0"].discount = 0.5  # type: ignore[misc]


# --- every number says where it comes from ---


def records(record: type[Record]) -> set[type[Record]]:
    """`record` and every kind of record inside it."""
    found = {record}
    for field in record.model_fields.values():
        for part in parts(field.annotation):
            if isinstance(part, type) and issubclass(part, Record) and part is not record:
                found |= records(part)
    return found


def parts(annotation: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of."""
    if get_origin(annotation) in (tuple, dict, Annotated, Union, UnionType):
        for argument in get_args(annotation):
            yield from parts(argument)
    else:
        yield annotation


FIELDS: list[tuple[str, FieldInfo]] = sorted(
    (
        (f"{record.__name__}.{name}", field)
        for record in records(Scenario)
        for name, field in record.model_fields.items()
        if {float, int} & set(parts(field.annotation))
    ),
    key=lambda pair: pair[0],
)


def test_the_walk_finds_the_numbers_of_every_record() -> None:
    kinds = {name.split(".")[0] for name, _ in FIELDS}
    assert kinds >= {"Channel", "Style", "Segment", "Spread", "Fatigue", "Bond", "Response", "Commerce", "Calendar"}


@pytest.mark.parametrize("field", [pytest.param(field, id=name) for name, field in FIELDS])
def test_a_number_carries_its_unit_label_and_source(field: FieldInfo) -> None:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    assert set(extra) == {"unit", "label", "source"}
    assert extra["label"] in {"FOUND", "RECALLED", "DERIVED", "ASSUMED"}
    assert all(isinstance(text, str) and text.strip() for text in extra.values())


# --- a scenario of the user's own ---


def test_an_overlay_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "base: Style-v0\nname: Mine-v1\ncommerce: {margin: 0.5}\nresponse:\n  spill_over: 1e-3\nhorizon: 28\n",
        encoding="utf-8",
    )
    base = plain("Style-v0")
    expected = {**base, "name": "Mine-v1", "horizon": 28}
    expected["commerce"] = {**base["commerce"], "margin": 0.5}
    expected["response"] = {**base["response"], "spill_over": 0.001}
    assert plain("Style-v0") == base
    assert load(file).model_dump(mode="json") == expected
    assert get({"base": "Style-v0"}) == SCENARIOS["Style-v0"]


def test_an_overlay_of_one_number_keeps_its_neighbours() -> None:
    """Of a base whose numbers are not the defaults, so that a part rebuilt from the defaults would show."""
    base = SCENARIOS["Drift-v0"].calendar
    mine = get({"base": "Drift-v0", "calendar": {"season": base.season / 2}}).calendar
    assert (mine.season, mine.tolerance_drift) == (base.season / 2, base.tolerance_drift)
    assert base.tolerance_drift != type(base)().tolerance_drift


def test_an_overlay_replaces_lists_whole() -> None:
    push = {**plain("Omnichannel-v0")["channels"][0], "load": 2.5}
    mine = get({"base": "Omnichannel-v0", "channels": [push]})
    assert [(each.name, each.load) for each in mine.channels] == [(push["name"], 2.5)]


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    return dict(replaced(plain("Style-v0"), path, to))


FIRST = plain("Style-v0")["channels"][0]["name"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed("horizn", to=7), ["horizn", "7"]),
        (changed("response", "open_bnd", to=0.5), ["response.open_bnd", "0.5"]),
        (changed("channels", 1, "cost", to=float("nan")), ["channels.1.cost", "finite", "nan"]),
        (changed("commerce", "margin", to=float("inf")), ["commerce.margin", "finite", "inf"]),
        (changed("segments", 0, "style_buy", "promo", to=float("nan")), ["style_buy.promo", "nan"]),
        (changed("channels", 0, "block_probability", to=1.0), ["block_probability", "less than 1"]),
        (changed("fatigue", "half_life", to=0), ["fatigue.half_life", "greater than 0"]),
        (changed("fatigue", "levels", to=16.5), ["fatigue.levels", "integer", "16.5"]),
        (changed("discount", to="much"), ["discount", "much"]),
        (changed("discount", to="0.5"), ["discount: expected a number, not text", "'0.5'"]),
        (changed("horizon", to=True), ["horizon: expected a number, not a truth value", "True"]),
        (changed("segments", 0, "relevance", "any", to=True), ["segments.0.relevance: any: expected a number"]),
        (changed("segments", 0, "relevance", "any", to=1.5), ["relevance.any", "1.5"]),
        (changed("channels", 0, "visibility", to="seldom"), ["visibility", "at_once", "seldom"]),
        (changed("name", to="no version"), ["name", "no version"]),
        (changed("channels", 0, "name", to="Push!"), ["channels.0.name", "Push!"]),
        (changed("channels", to=[]), ["channels", "at least 1"]),
        (changed("segments", 0, "slot_block", "midnight", to=0.1), ["slot_block", "midnight", "slots"]),
        (changed("segments", 0, "style_buy", "shout", to=0.1), ["style_buy", "shout", "styles"]),
        (changed("segments", 0, "relevance", "boats", to=0.1), ["relevance", "boats", "products"]),
        (changed("slots", to=["noon", "noon"]), ["slots", "noon", "twice"]),
        (changed("channels", 1, "name", to=FIRST), ["channels", FIRST, "twice"]),
        (changed("fatigue", "start", to=99.0), ["fatigue.start", "99", "fatigue.top"]),
        (changed("provenance", to={"x": {"label": "FOUND", "source": ""}}), ["provenance.x.source"]),
        ({"name": "Empty-v0", "isolates": "nothing"}, ["channels", "segments", "required"]),
        ({"base": "Missing-v0"}, ["base", "Missing-v0", "Style-v0"]),
        ({"base": ["Style-v0"]}, ["base", "Style-v0"]),
        ({"base": "Style-v0", 3: 4}, ["3", "strings"]),
        ({"base": "Style-v0", "commerce": None}, ["commerce", "None"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_dict_that_cannot_be_is_refused_by_name(content: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ScenarioError) as error:
        get(content)
    assert [word for word in words if word not in str(error.value)] == []


@pytest.mark.parametrize("name", ["Style", "style-v0", "blockenv/Style-v9", "blockenv/blockenv/Style-v0", ""])
def test_an_unknown_id_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(repr(name))) as error:
        get(name)
    assert all(each in str(error.value) for each in NAMES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("channels: [push", "not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("- Style-v0\n- Timing-v0\n", "holds list"),
        ("", "holds NoneType"),
        ("Style-v0", "holds str"),
        ("horizon: 2001-99-99", "not valid YAML"),
        ("horizon: !!bool perhaps", "not valid YAML"),
        ("horizon: !!timestamp noon", "not valid YAML"),
        ("[" * 600, "not valid YAML"),
        ("horizon: \0", "not valid YAML"),
        ("base: Style-v0\nhorizn: 3", "horizn"),
        ("base: {a: 1}", "base"),
        ("base: Style-v0\nchannels: &a [*a]", "channels.0"),
        ("base: Style-v0\nhint_noise: .nan", "hint_noise"),
    ],
)
def test_a_file_that_is_no_scenario_is_named_with_the_reason(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=re.escape(reason)) as error:
        load(file)
    assert str(file) in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: Gru\xdf-v0".encode("latin-1"))
    (tmp_path / "folder.yaml").mkdir()
    for file in (*(tmp_path / name for name in ("absent.yaml", "latin.yaml", "folder.yaml")), Path("null\0.yaml")):
        with pytest.raises(ScenarioError, match="cannot be read") as error:
            get(file)
        assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [{}]", "!!python/object/new:os.system [{}]", "!!python/name:os.system"]
)
def test_a_file_never_runs_as_code(tag: str, tmp_path: Path) -> None:
    file, trace = tmp_path / "trap.yaml", tmp_path / "trace"
    file.write_text(f"base: Style-v0\nisolates: {tag.format(f'touch {trace}')}\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match="not valid YAML"):
        load(file)
    assert not trace.exists()


# --- writing ---


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX limits to make a write fail half-way")
    file = tmp_path / "world.yaml"
    save(SCENARIOS["Style-v0"], file)
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(SCENARIOS["Omnichannel-v0"], file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["world.yaml"]


def test_a_failed_rename_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(OSError, match="folder"):
        save(SCENARIOS["Style-v0"], tmp_path / "folder.yaml")
    assert [each.name for each in tmp_path.iterdir()] == ["folder.yaml"]
    with pytest.raises(OSError, match="absent"):
        save(SCENARIOS["Style-v0"], tmp_path / "absent" / "world.yaml")


def test_a_file_is_replaced_and_is_plain_yaml(tmp_path: Path) -> None:
    file = tmp_path / "world.yaml"
    save(SCENARIOS["Omnichannel-v0"], file)
    save(SCENARIOS["Style-v0"], file)
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == plain("Style-v0")
    assert [each.name for each in tmp_path.iterdir()] == ["world.yaml"]
