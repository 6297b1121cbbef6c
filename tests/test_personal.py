"""Personal caps go to those whose covariates ask for them, and beat one cap for all where customers differ."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.agent import AgentError, Unwatched, parsed, training_seed
from agents.caps import FOREVER, GAPS, CapSettings, FrequencyCap
from agents.personal import PersonalCap, PersonalSettings, _around, _clearest
from blockenv import Scenario, play, population
from blockenv.cohort import Cohort
from blockenv.scenarios import get
from blockenv.scenarios.schema import Channel, Commerce, Response, Segment, Spread

SMALL: dict[str, Any] = {"customers": 128, "days": 56, "judges": 512, "judged_days": 112}
FOND, SHY = 0, 1


def segment(name: str, churn_contact: float) -> Segment:
    return Segment(
        name=name,
        weight=0.5,
        ideal_load=20.0,
        reactance=0.0,
        reciprocity=0.0,
        churn_contact=churn_contact,
        resting_bond=0.5,
        organic_rate=0.05,
    )


def two_kinds(**changes: Any) -> Scenario:
    """A message always pays with the one half; the other half is driven away by it; covariates tell who is who."""
    alike = {name: 0.0 for name in Spread.model_fields if name != "organic_shape"}
    fields: dict[str, Any] = {
        "name": "Two-v0",
        "isolates": "an answer known beforehand",
        "channels": (Channel(name="mail", load=0.0, cost=0.1, block_probability=0.0, open_logit=3.0, buy_logit=-1.0),),
        "segments": (segment("fond", 0.0), segment("shy", 3.0)),
        "spread": Spread(**alike, organic_shape=50.0),
        "response": Response(churn_probability=0.02, churn_bond=0.0),
        "commerce": Commerce(order_log_sd=0.0),
        "hint_noise": 0.0,
    }
    return Scenario(**fields | changes)


def agent(scenario: Scenario | str, **changes: Any) -> PersonalCap:
    return PersonalCap(get(scenario), parsed(PersonalSettings, SMALL | changes, "personal_cap"))


@pytest.fixture(scope="module")
def tuned() -> PersonalCap:
    found = agent(two_kinds())
    found.fit(0, Unwatched())
    return found


def kinds(scenario: Scenario, customers: int, seed: int = 77) -> tuple[NDArray[Any], NDArray[Any]]:
    """Hints (N, S) and true segments (N,) of customers that nothing was tuned on."""
    traits = population.draw(scenario, np.full(customers, seed, np.uint64), np.arange(customers))
    return np.asarray(traits.hints), np.asarray(traits.segment)


# --- known answers ---


def test_each_half_gets_what_suits_it(tuned: PersonalCap) -> None:
    hints, segments = kinds(tuned.scenario, 400)
    gaps = np.array([gap if messages else FOREVER for messages, gap in tuned.caps])[tuned.assigned(hints)]
    assert set(gaps[segments == FOND]) == {1}
    assert gaps[segments == SHY].min() >= 28


def test_it_beats_the_best_cap_for_all(tuned: PersonalCap) -> None:
    customers = np.arange(1000)
    mine = play(tuned, tuned.scenario, 77, customers, days=112).value
    for gap in (*GAPS, FOREVER):
        cap = FrequencyCap(tuned.scenario, CapSettings(gap=gap, messages=[1]))
        gain = mine - play(cap, tuned.scenario, 77, customers, days=112).value
        assert gain.mean() > 4 * gain.std() / len(gain) ** 0.5


def test_the_messages_and_the_gap_are_those_of_the_customer_s_own_cap() -> None:
    rule = agent("Style-v0")
    rule.caps = [([], FOREVER), ([2], 3), ([5], 7)]
    terms = rule._terms(np.zeros((1, len(rule.scenario.segments)))).shape[1]
    rule.weights = np.zeros((terms, 3))
    rule.weights[0] = [0.5, 0.0, 0.1]
    rule.weights[1, 1] = rule.weights[2, 2] = 1.0  # a large first covariate asks for cap 1, a second for cap 2
    cohort = Cohort(rule.scenario, np.full(600, 5, np.uint64), np.arange(600))
    own = rule.assigned(cohort.observe()[:, rule._columns["hints"]])
    assert (np.bincount(own, minlength=3) > 50).all()
    sent = []
    for _ in range(22):
        chosen = rule.act(cohort.observe(), cohort.legal_actions(), np.random.default_rng(0))
        sent.append(chosen * cohort.state.alive)
        cohort.step(chosen)
    for number, days in ((0, []), (1, range(0, 22, 3)), (2, range(0, 22, 7))):
        rows = np.array(sent)[:, own == number]
        assert set(np.unique(rows)) <= {0, *rule.caps[number][0]}
        whole = rows[:, cohort.state.reachable[:, own == number].all(axis=0) & cohort.state.alive[own == number]]
        assert whole.shape[1] > 20
        assert all(np.flatnonzero(customer).tolist() == list(days) for customer in whole.T)


# --- groups ---


def test_a_group_is_tuned_on_those_who_look_most_like_it() -> None:
    hints, segments = kinds(two_kinds(hint_noise=1.0), 2000)
    for group in (FOND, SHY):
        order = _clearest(hints, group)
        assert sorted(order) == list(range(2000))
        shares = [(segments[part] == group).mean() for part in np.array_split(order, 4)]
        assert shares[0] > 0.75
        assert shares == sorted(shares, reverse=True)
    assert _clearest(hints, None).tolist() == list(range(2000))
    assert _clearest(hints[:, :1], 0).tolist() == list(range(2000)), "with one kind there is nobody to tell it from"


def test_neighbouring_gaps_are_offered_as_well() -> None:
    assert _around(GAPS[0]) == [GAPS[0], GAPS[1]]
    assert _around(7) == [5, 7, 10]
    assert _around(GAPS[-1]) == [GAPS[-2], GAPS[-1]]


def test_caps_are_there_once_and_silence_is_one_of_them(tuned: PersonalCap) -> None:
    assert tuned.caps[0] == ([], FOREVER)
    assert all(cap not in tuned.caps[:place] for place, cap in enumerate(tuned.caps))
    assert all(messages == [1] and gap in GAPS for messages, gap in tuned.caps[1:])


def test_it_learns_from_training_customers_and_judges_on_others(monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[int, set[int]] = {7: set(), 8: set()}
    seeds: set[int] = set()

    def spying(*args: Any, **kwargs: Any) -> Any:
        seeds.add(args[2])
        served[kwargs["days"]] |= set(args[3].tolist())
        return play(*args, **kwargs)

    monkeypatch.setattr("agents.lives.play", spying)
    agent(two_kinds(), customers=16, days=7, judges=32, judged_days=8).fit(3, Unwatched())
    assert seeds == {training_seed(3, 2)}
    assert len(served[7]) > 16
    assert len(served[8]) == 32
    assert not served[7] & served[8]


# --- the regression ---


def test_the_predicted_gain_of_a_cap_is_what_it_brings(tuned: PersonalCap) -> None:
    hints, segments = kinds(tuned.scenario, 1000)
    predicted = tuned._terms(hints) @ tuned.weights
    silence = play(FrequencyCap(tuned.scenario), tuned.scenario, 77, np.arange(1000), days=112).value
    assert (predicted[:, 0] == 0).all(), "silence over silence"
    for number, (messages, gap) in enumerate(tuned.caps[1:], start=1):
        cap = FrequencyCap(tuned.scenario, CapSettings(gap=gap, messages=messages))
        gain = play(cap, tuned.scenario, 77, np.arange(1000), days=112).value - silence
        for group in (FOND, SHY):
            rows = segments == group
            error = gain[rows].std() / np.sqrt(min(rows.sum(), SMALL["judges"] / 2)) * np.sqrt(2)
            shrunk = 0.1 * abs(gain[rows].mean() - gain.mean())  # the doubt that groups differ at all
            assert abs(predicted[rows, number].mean() - gain[rows].mean()) < 4 * error + shrunk


def test_without_belief_in_differences_everybody_gets_the_same_cap() -> None:
    rule = agent(two_kinds(), ridge=1e12)
    rule.fit(0, Unwatched())
    assert len(set(rule.assigned(kinds(rule.scenario, 400)[0]))) == 1


def test_terms_are_a_constant_the_covariates_and_their_products() -> None:
    assert PersonalCap._terms(np.array([[2.0, 3.0]])).tolist() == [[1, 2, 3, 4, 6, 9]]


# --- kept ---


def test_a_kept_agent_assigns_and_acts_as_before(tuned: PersonalCap, tmp_path: Any) -> None:
    tuned.save(tmp_path)
    loaded = PersonalCap.load(tmp_path, tuned.scenario)
    hints, _ = kinds(tuned.scenario, 400)
    assert loaded.caps == tuned.caps
    np.testing.assert_array_equal(loaded.weights, tuned.weights)
    np.testing.assert_array_equal(loaded.assigned(hints), tuned.assigned(hints))
    mine, its = (play(each, tuned.scenario, 77, np.arange(50), days=20) for each in (tuned, loaded))
    np.testing.assert_array_equal(mine.value, its.value)


def test_knowledge_of_another_scenario_is_refused(tuned: PersonalCap, tmp_path: Any) -> None:
    tuned.save(tmp_path)
    with pytest.raises(AgentError, match=r"agent\.json.*not fit Style-v0"):
        PersonalCap.load(tmp_path, get("Style-v0"))


def test_the_same_seed_finds_the_same(tuned: PersonalCap) -> None:
    again = agent(two_kinds())
    again.fit(0, Unwatched())
    assert again.learned() == tuned.learned()


def test_before_tuning_it_is_silent() -> None:
    assert play(agent("Style-v0"), "Style-v0", 1, 50, days=10).messages.sum() == 0
