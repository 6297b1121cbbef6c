"""Pictures have to be right before they are handsome: their numbers are checked, not their looks."""

import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockenv import SCENARIOS, Cohort
from blockenv.dynamics import Outcome
from blockenv.rendering import Chronicle
from blockenv.rendering.silence import Silence
from blockenv.rendering.timeline import Timeline

SHAPE = (800, 1200, 3)


def a_cohort(name: str = "Omnichannel-v0", customers: int = 64, seed: int = 5) -> Cohort:
    return Cohort(SCENARIOS[name], np.full(customers, seed, np.uint64), np.arange(customers))


def busy(cohort: Cohort, day: int) -> np.ndarray:
    """Legal messages on most days, every customer on a cycle of their own."""
    legal = cohort.legal_actions()
    wish = (np.arange(len(cohort)) * 7 + day * 5) % legal.shape[1]
    return np.where(legal[np.arange(len(cohort)), wish], wish, 0)


def live(chronicle: Chronicle, cohort: Cohort, days: int, policy: Any = busy) -> list[Outcome]:
    outcomes = []
    for day in range(days):
        action = policy(cohort, day)
        outcomes.append(cohort.step(action))
        chronicle.record(cohort, action, outcomes[-1])
    return outcomes


def silent(cohort: Cohort, day: int) -> np.ndarray:
    return np.zeros(len(cohort), np.int64)


@pytest.mark.parametrize("name", SCENARIOS)
def test_picture_of_every_scenario_changes_over_time(name: str) -> None:
    cohort = a_cohort(name)
    chronicle = Chronicle(cohort)
    first = chronicle.frame("rgb_array")
    live(chronicle, cohort, 10)
    later = chronicle.frame("rgb_array")
    assert isinstance(first, np.ndarray)
    assert isinstance(later, np.ndarray)
    assert first.shape == later.shape == SHAPE
    assert first.dtype == later.dtype == np.uint8
    assert (first != later).any(axis=2).mean() > 0.01
    assert first.std() > 10


@pytest.mark.parametrize("customers", [1, 4096])
def test_picture_of_few_and_many(customers: int) -> None:
    cohort = a_cohort(customers=customers)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, 9)
    frame = chronicle.frame("rgb_array")
    assert isinstance(frame, np.ndarray)
    assert frame.shape == SHAPE


def a_doomed_cohort(customers: int) -> Cohort:
    world = SCENARIOS["Frequency-v0"]
    response = world.response.model_copy(update={"churn_probability": 0.9999})
    deadly = world.model_copy(update={"response": response})
    return Cohort(deadly, np.full(customers, 1, np.uint64), np.arange(customers))


def test_picture_when_nobody_is_left() -> None:
    cohort = a_doomed_cohort(8)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, 9)
    assert not cohort.state.alive.any()
    frame, text = chronicle.frame("rgb_array"), chronicle.frame("ansi")
    assert isinstance(frame, np.ndarray)
    assert frame.shape == SHAPE
    assert isinstance(text, str)
    assert "#" in text.splitlines()[4]


def test_rates_are_a_week_and_a_living_customer() -> None:
    cohort = a_cohort("Style-v0", customers=500)
    chronicle = Chronicle(cohort)
    alive, outcomes = [], []
    for day in range(10):
        alive.append(cohort.state.alive.sum())
        outcomes += live(chronicle, cohort, 1, lambda cohort, _, day=day: busy(cohort, day))
    scene = chronicle._scene()
    sent = np.array([outcome.sent.sum() for outcome in outcomes])
    blocked = np.array([outcome.blocked.sum() for outcome in outcomes])
    for week, days in enumerate((slice(0, 7), slice(7, 10))):
        living = sum(alive[days])
        assert scene.messages[week].sum() == pytest.approx(7 * sent[days].sum() / living)
        assert scene.blocks[week].sum() == pytest.approx(700 * blocked[days].sum() / living)
    assert blocked.sum() > 0
    assert np.allclose(scene.reach[0], cohort.traits.opted_in.mean(axis=1))
    assert np.allclose(scene.reach[-1], (cohort.state.reachable & cohort.state.alive).mean(axis=1))
    assert scene.standing.sum() == cohort.state.alive.sum()
    assert (scene.tiles == -1).sum() == (~cohort.state.alive).sum()


def test_days_that_do_not_count_are_left_out() -> None:
    cohort = a_cohort("Frequency-v0", customers=4)
    chronicle = Chronicle(cohort)
    action = np.ones(4, np.int64)
    outcome = cohort.step(action)
    chronicle.record(cohort, action, outcome, np.array([False, True, True, False]))
    assert chronicle._scene().messages[0, 0] == pytest.approx(7.0)
    assert chronicle._table["living"][1] == 2
    cohort.replace(np.array([True, False, False, False]))
    assert "day 0" in str(chronicle.frame("ansi"))


def test_chronicle_outgrows_its_first_table() -> None:
    cohort = a_cohort("Frequency-v0", customers=2)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, 600)
    assert len(chronicle._table) == 1024
    assert chronicle._table.nbytes < 2**17
    assert len(chronicle._scene().messages) == 86
    assert chronicle._scene().reach.shape == (601, 1)


@settings(max_examples=10, deadline=None)
@given(
    name=st.sampled_from(sorted(SCENARIOS)),
    seed=st.integers(0, 2**40),
    quiet=st.integers(0, 20),
    customers=st.integers(1, 40),
)
def test_silence_gains_exactly_nothing(name: str, seed: int, quiet: int, customers: int) -> None:
    cohort = a_cohort(name, customers, seed)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, quiet, silent)
    assert np.array_equal(chronicle.silence.value, chronicle.silence.silent)
    assert chronicle.silence.days == quiet
    assert quiet == 0 or chronicle.silence.value.sum() > 0


def test_value_is_the_discounted_expected_reward() -> None:
    cohort, alone = a_cohort(customers=200), a_cohort(customers=200)
    chronicle = Chronicle(cohort)
    outcomes = live(chronicle, cohort, 30)
    without = [alone.step(np.zeros(200, np.int64)) for _ in range(30)]
    factor = cohort.scenario.discount ** np.arange(30)
    assert np.allclose(chronicle.silence.value, factor @ np.array([each.expected_reward for each in outcomes]))
    assert np.allclose(chronicle.silence.silent, factor @ np.array([each.expected_reward for each in without]))
    assert (chronicle.silence.value != chronicle.silence.silent).any()


def test_only_first_customers_are_compared_to_the_end_of_their_episode() -> None:
    cohort, alone = a_cohort("Frequency-v0", customers=400), a_cohort("Frequency-v0", customers=400)
    limit = 20 + np.arange(400) % 30
    silence, twins = Silence(cohort, limit), np.zeros(400)
    mine = np.zeros(400)
    for day in range(60):
        first = cohort.customer == np.arange(400)
        counts = day < limit
        outcome = cohort.step(np.ones(400, np.int64))
        silence.record(cohort, outcome)
        mine += cohort.scenario.discount**day * np.where(first & counts, outcome.expected_reward, 0.0)
        without = alone.step(np.zeros(400, np.int64))
        twins += cohort.scenario.discount**day * np.where(counts, without.expected_reward, 0.0)
        cohort.replace(outcome.churned | (cohort.log.day >= limit))
    assert (cohort.customer != np.arange(400)).all()
    assert silence.days == 49
    assert np.allclose(silence.value, mine)
    assert np.allclose(silence.silent, twins)


def test_comparison_ends_when_a_living_customer_is_taken_away() -> None:
    cohort = a_cohort("Frequency-v0", customers=20)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, 3)
    value = chronicle.silence.value.copy()
    cohort.replace(np.arange(20) == np.flatnonzero(cohort.state.alive)[0])
    live(chronicle, cohort, 3)
    assert chronicle.silence.days == 3
    assert np.array_equal(chronicle.silence.value, value)
    assert chronicle.days == 6
    assert len(chronicle._scene().value) == 4


def nothing_happened(cohort: Cohort) -> Outcome:
    rows, channels = len(cohort), len(cohort.scenario.channels)
    no, none = np.zeros(rows, bool), np.zeros(rows, np.float32)
    blank = np.zeros((channels, rows), bool)
    fields: dict[str, Any] = dict.fromkeys(Outcome._fields, none)
    fields |= dict.fromkeys(("sent", "delivered", "opened", "ordered", "prompted", "churned"), no)
    return Outcome(**(fields | {"blocked": blank, "reopened": blank}))


def test_diary_of_a_made_up_week() -> None:
    cohort = a_cohort("Omnichannel-v0", customers=1)
    names = [channel.name for channel in cohort.scenario.channels]
    messages = cohort.scenario.actions // len(names)
    push, sms, social = (1 + names.index(name) * messages for name in ("push", "sms", "social"))
    yes, of_push = np.ones(1, bool), np.array([[name == "push"] for name in names])
    diary = Timeline(cohort)
    blank = (int(cohort.traits.joined[0]) % 7) * 7
    week: list[tuple[int, dict[str, Any], str]] = [
        (0, {}, "."),
        (push, {"sent": yes, "delivered": yes}, "P"),
        (push, {"sent": yes, "delivered": yes, "opened": yes, "ordered": yes}, "P+$"),
        (0, {"ordered": yes}, ".$"),
        (push, {"sent": yes, "delivered": yes, "blocked": of_push}, "P!"),
        (push, {"sent": yes}, "p"),
        (sms, {"sent": yes, "delivered": yes, "opened": yes}, "S+"),
        (social, {"sent": yes, "delivered": yes, "reopened": of_push}, "O^"),
        (0, {"churned": yes}, ".#"),
    ]
    for day, (action, events, _) in enumerate(week):
        cohort.log = cohort.log._replace(day=np.array([day + 1]))
        outcome = nothing_happened(cohort)._replace(**events)
        if outcome.blocked.any():
            cohort.state = cohort.state._replace(reachable=cohort.state.reachable & ~outcome.blocked)
        diary.record(cohort, action, outcome)
    text = diary.text(cohort)
    lines = [line for line in text.splitlines() if line.startswith("week")]
    cells = "".join(line[10 : 10 + 49] for line in lines)[blank:].split()
    assert cells == [cell for _, _, cell in week]
    assert "P  push: blocked on day 5" in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert "day 9" in text.splitlines()[0]


def test_diary_puts_the_weekend_where_the_world_has_it() -> None:
    cohort = a_cohort("Timing-v0", customers=1)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, 14)
    joined = int(cohort.traits.joined[0])
    first = next(line for line in str(chronicle.frame("ansi")).splitlines() if line.startswith("week"))
    assert (len(first[10:59]) - len(first[10:59].lstrip())) // 7 == joined % 7


def test_diary_begins_anew_with_a_new_customer() -> None:
    cohort = a_cohort("Frequency-v0", customers=2)
    chronicle = Chronicle(cohort)
    live(chronicle, cohort, 3)
    assert "customer 0, day 3" in str(chronicle.frame("ansi"))
    cohort.replace(np.array([True, False]))
    assert f"customer {cohort.customer[0]}, day 0" in str(chronicle.frame("ansi"))
    live(chronicle, cohort, 2)
    assert f"customer {cohort.customer[0]}, day 2" in str(chronicle.frame("ansi"))
    cohort.restart(np.array([True, False]), np.array([9], np.uint64), cohort.customer[:1])
    live(chronicle, cohort, 1)
    assert f"customer {cohort.customer[0]}, day 1" in str(chronicle.frame("ansi"))


def test_diary_of_a_newcomer_who_leaves_on_the_first_day() -> None:
    cohort = a_doomed_cohort(1)
    chronicle = Chronicle(cohort)
    for _ in range(2):
        live(chronicle, cohort, 1)
        assert not cohort.state.alive.any()
        page = str(chronicle.frame("ansi")).splitlines()
        assert page[0].endswith(f"customer {cohort.customer[0]}, day 1, has left")
        assert "#" in "".join(line for line in page if line.startswith("week"))
        cohort.replace(np.ones(1, bool))


@pytest.mark.parametrize("name", SCENARIOS)
def test_diary_fits_and_grows(name: str) -> None:
    cohort = a_cohort(name, customers=1)
    chronicle = Chronicle(cohort)
    seen = set()
    for _ in range(4):
        live(chronicle, cohort, 7)
        text = chronicle.frame("ansi")
        assert isinstance(text, str)
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 80
        seen.add(text)
    assert len(seen) == 4


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode: 'svg', expected one of rgb_array, human, ansi"):
        Chronicle(a_cohort(customers=1)).frame("svg")


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    chronicle = Chronicle(a_cohort(customers=1))
    for module in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for mode in ("rgb_array", "human"):
        with pytest.raises(ImportError, match=r"blockenv\[plot\]"):
            chronicle.frame(mode)
    assert "day 0" in str(chronicle.frame("ansi"))


def test_matplotlib_is_loaded_late_and_settings_leak_neither_way() -> None:
    code = """
import sys, numpy as np
from blockenv import SCENARIOS, Cohort
from blockenv.rendering import Chronicle
chronicle = Chronicle(Cohort(SCENARIOS["Frequency-v0"], np.zeros(3, np.uint64), np.arange(3)))
chronicle.frame("ansi")
assert "matplotlib" not in sys.modules
import matplotlib
backend = dict.__getitem__(matplotlib.rcParams, "backend")
plain = chronicle.frame("rgb_array")
matplotlib.rcParams.update({"font.size": 33, "axes.facecolor": "black", "figure.dpi": 20})
assert (chronicle.frame("rgb_array") == plain).all()
assert matplotlib.rcParams["font.size"] == 33
assert dict.__getitem__(matplotlib.rcParams, "backend") is backend
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=sys.path[0] or None)


@pytest.fixture
def screen() -> Iterator[types.ModuleType]:
    """A backend that claims to have a display, and counts what it shows; matplotlib's own template of one."""
    from matplotlib import pyplot as plt
    from matplotlib.backend_bases import FigureManagerBase
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    module = types.ModuleType("blockenv_test_screen")
    module.shown, module.flushed = 0, 0  # type: ignore[attr-defined]

    class Manager(FigureManagerBase):
        def show(self) -> None:
            module.shown += 1  # type: ignore[attr-defined]

    class Canvas(FigureCanvasAgg):
        manager_class = Manager

        def flush_events(self) -> None:
            module.flushed += 1  # type: ignore[attr-defined]

    module.FigureCanvas, module.FigureManager = Canvas, Manager  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    plt.switch_backend(f"module://{module.__name__}")
    yield module
    plt.close("all")
    plt.switch_backend("agg")
    del sys.modules[module.__name__]


def test_window_is_opened_once_and_updated(screen: Any) -> None:
    from matplotlib import pyplot as plt

    cohort = a_cohort("Frequency-v0", customers=3)
    chronicle = Chronicle(cohort)
    assert chronicle.frame("human") is None
    (number,) = plt.get_fignums()
    before = np.asarray(plt.figure(number).canvas.buffer_rgba()).copy()  # type: ignore[attr-defined]
    live(chronicle, cohort, 8)
    assert chronicle.frame("human") is None
    after = np.asarray(plt.figure(number).canvas.buffer_rgba())  # type: ignore[attr-defined]
    assert (screen.shown, screen.flushed, plt.get_fignums()) == (1, 2, [number])
    assert (before != after).any()
    plt.close(number)  # as a user would
    assert chronicle.frame("human") is None
    assert screen.flushed == 2
    chronicle.close()
    chronicle.close()
    assert plt.get_fignums() == []


def test_without_a_display_human_warns_once() -> None:
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    chronicle = Chronicle(a_cohort(customers=1))
    with pytest.warns(RuntimeWarning, match="rgb_array"):
        assert chronicle.frame("human") is None
    assert chronicle.frame("human") is None  # an error, were it to warn again
    assert plt.get_fignums() == []
    chronicle.close()
