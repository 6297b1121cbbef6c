"""The two ends of the score, reckoned exactly for the held-out customers of a scenario: 0 is silence, 100 knows it all.

A reference holds for one set of numbers of a scenario and for no other: one of another digest is never used.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import blockenv
from agents.agent import training_seed, write_whole
from agents.rules import immediate_profit
from benchmarks import provenance
from benchmarks.exact import (
    MYOPIC,
    OPTIMUM,
    SILENCE,
    Ledger,
    Question,
    decoded,
    encoded,
    exact_code,
    exact_values,
)
from benchmarks.exact_caps import Cap, best_cap, caps_text, described, first_messages
from benchmarks.statistics import Estimate
from blockenv import EVALUATION_SEED, population

FOLDER = Path(__file__).resolve().parent / "results" / "references"
CAP, SEGMENT_CAPS = "fatigue_cap", "segment_caps"
ATTAINED = "attained"  # what `attainable` adds to a reference
_ALWAYS = (SILENCE, OPTIMUM, MYOPIC)
TUNING_SEED = training_seed(0, 3)
_DRAWN = 4096  # training customers among whom those of a segment are looked for

Values = NDArray[np.float64]
Told = Callable[[Question], None]


class Tuning(NamedTuple):
    """The best caps found on training customers."""

    cap: Cap
    segment_caps: list[Cap]
    customers: int


class Reference(NamedTuple):
    """Exact values of the first held-out customers of a scenario, discounted money a customer."""

    scenario: str
    digest: str
    days: int
    values: dict[str, Values]  # by policy (N,), customers 0..N-1 of the evaluation seed; kept as float32
    facts: dict[str, Any]  # the rest of the file: how it was made, and the caps in words

    @property
    def gap(self) -> Values:
        """(N,) what full information is worth over silence."""
        return self.values[OPTIMUM] - self.values[SILENCE]


class ReferencesError(ValueError):
    """A reference that cannot be read, or that is of other numbers; the message names file or scenario."""


def path_of(scenario: str, folder: Path) -> Path:
    """Where the reference of a scenario is kept."""
    return folder / f"{scenario}.json"


def read(scenario: str, folder: Path = FOLDER) -> Reference | None:
    """The reference of a scenario, by name; None where there is none.

    Raises:
        ReferencesError: the file is damaged.
    """
    path = path_of(scenario, folder)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = {policy: decoded(text, "<f4") for policy, text in content.pop("values").items()}
        found = Reference(content["scenario"], content["digest"], int(content["days"]), values, content)
        if {len(each) for each in values.values()} != {len(found.gap)} or len(found.gap) < 2:
            raise ValueError("expected values of the same two customers or more under silence and the optimum")
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReferencesError(f"{path}: cannot be read as a reference ({type(error).__name__}: {error})") from error
    return found


def fitting(scenario: str, digest: str, days: int, folder: Path = FOLDER) -> Reference | None:
    """The reference of a scenario if it is of these numbers and this window; None where there is none at all.

    Raises:
        ReferencesError: it is damaged, or of other numbers or another window.
    """
    found = read(scenario, folder)
    if found is None:
        return None
    again = f"run `python -m scripts.references {scenario}`"
    if found.digest != digest:
        raise ReferencesError(
            f"{scenario}: reference values are stale, they are of digest {found.digest}, not of {digest}; {again}"
        )
    if found.days != days:
        raise ReferencesError(f"{scenario}: reference values are of {found.days:,} days, not of {days:,}")
    return found


def is_kept(ledger: Ledger, customers: int, folder: Path, any_code: bool = False) -> bool:
    """Whether the reference in `folder` is of the ledger's numbers, window and code, and of so many customers."""
    try:
        found = fitting(ledger.scenario.name, ledger.scenario.digest, ledger.days, folder)
    except ReferencesError:
        return False
    return found is not None and len(found.gap) == customers and (any_code or found.facts.get("code") == exact_code())


def score(over_silence: Estimate, profile: Values, gap: Values) -> Estimate:
    """100 x what an agent earns over silence / what full information is worth over it.

    A ratio of means, with the interval of the delta method. The gap's sampling error counts, and so does that the
    first customers of both are the same ones: where an agent is good on those on whom much can be gained, most of the
    luck of the draw cancels.

    Args:
        over_silence: of the agent, paired, over all customers and training seeds.
        profile: (M,) by customer, averaged over training seeds.
        gap: (N,) exact, of the same first customers.

    Raises:
        ValueError: full information is worth nothing over silence.
    """
    whole, shared = float(gap.mean()), min(len(profile), len(gap))
    if not whole > 0:
        raise ValueError(f"gap: mean {whole:.6g}, expected something to be gained over silence")
    ratio = over_silence.mean / whole
    both = float(np.cov(profile[:shared], gap[:shared])[0, 1]) * shared / (len(profile) * len(gap))
    variance = over_silence.standard_error**2 - 2 * ratio * both + ratio**2 * float(gap.var(ddof=1)) / len(gap)
    error = math.sqrt(max(0.0, variance)) / whole
    # Student's quantile of the money's interval, which knows the training seeds.
    spread = over_silence.high - over_silence.mean
    half = error * (spread / over_silence.standard_error if over_silence.standard_error > 0 else 1.96)
    return Estimate(100 * ratio, 100 * (ratio - half), 100 * (ratio + half), 100 * error)


def checked(ledger: Ledger) -> None:
    """See that this code gives the values that other code gave, for a few customers of each policy.

    Raises:
        ReferencesError: it does not.
    """
    if found := ledger.disagreements(EVALUATION_SEED, _ALWAYS):
        raise ReferencesError(f"{ledger.scenario.name}: values of other code are not those of this one: {found[0]}")


def held_out(ledger: Ledger, customers: int) -> list[Question]:
    """What is still open about silence, the optimum and the myopic policy on the held-out customers."""
    return [question for policy in _ALWAYS for question in ledger.missing(EVALUATION_SEED, policy, range(customers))]


def tuned(ledger: Ledger, customers: int, workers: int, told: Told) -> Tuning:
    """The best cap for everybody, and for each segment, on training customers, by their exact values.

    Args:
        ledger: of the scenario and window.
        customers: on whom the cap for everybody is tuned; a quarter as many of its own for that of each segment.
        workers: processes.
        told: called with each question that has been answered.
    """
    scenario = ledger.scenario
    drawn = population.draw(scenario, np.full(_DRAWN, TUNING_SEED, np.uint64), np.arange(_DRAWN))
    first = first_messages(scenario, immediate_profit(scenario, TUNING_SEED, 2048, 28))

    def best(members: list[int]) -> Cap:
        def scores(caps: Sequence[Cap]) -> Values:
            words = [caps_text([cap]) for cap in caps]
            ledger.settle(
                [each for word in words for each in ledger.missing(TUNING_SEED, word, members)], workers, told
            )  # fmt: skip
            return np.array([ledger.values(TUNING_SEED, word, members).mean() for word in words])

        return best_cap(scenario, first, scores)

    own = [np.flatnonzero(drawn.segment == each)[: max(2, customers // 4)] for each in range(len(scenario.segments))]
    by_segment = [best(members.tolist()) if len(members) else Cap((), 0) for members in own]
    return Tuning(best(list(range(customers))), by_segment, customers)


def open_caps(ledger: Ledger, customers: int, tuning: Tuning) -> list[Question]:
    """What is still open about the tuned caps on the held-out customers."""
    words = caps_text([tuning.cap]), caps_text(tuning.segment_caps)
    return [question for word in words for question in ledger.missing(EVALUATION_SEED, word, range(customers))]


def write(ledger: Ledger, customers: int, folder: Path, tuning: Tuning | None = None) -> Reference:
    """Keep what the ledger knows of the held-out customers as the reference of its scenario.

    Raises:
        KeyError: the ledger does not know all of it.
    """
    scenario = ledger.scenario
    policies = {policy: policy for policy in _ALWAYS}
    if tuning is not None:
        policies |= {CAP: caps_text([tuning.cap]), SEGMENT_CAPS: caps_text(tuning.segment_caps)}
    values = {name: ledger.values(EVALUATION_SEED, word, range(customers)) for name, word in policies.items()}
    over = {name: each - values[SILENCE] for name, each in values.items() if name != SILENCE}
    facts: dict[str, Any] = {
        "scenario": scenario.name,
        "digest": scenario.digest,
        "days": ledger.days,
        "seed": EVALUATION_SEED,
        "customers": customers,
        "version": blockenv.__version__,
        "code": exact_code(),
        "versions": provenance.versions(),
        "seconds": round(ledger.seconds, 1),
        "mean": {name: mean_of(each) for name, each in values.items()},
        "over_silence": {name: mean_of(each) for name, each in over.items()},
    }
    if tuning is not None:
        names = [segment.name for segment in scenario.segments]
        facts["tuning"] = {
            "seed": TUNING_SEED,
            "customers": tuning.customers,
            CAP: described(tuning.cap, scenario),
            SEGMENT_CAPS: dict(zip(names, (described(each, scenario) for each in tuning.segment_caps), strict=True)),
        }
    if is_kept(ledger, customers, folder, any_code=True):  # the line was played on the same customers of the same world
        before = read(scenario.name, folder)
        assert before is not None
        facts |= {ATTAINED: before.facts[ATTAINED]} if ATTAINED in before.facts else {}
    folder.mkdir(parents=True, exist_ok=True)
    content = facts | {"values": {name: encoded(each, "<f4") for name, each in values.items()}}
    write_whole(path_of(scenario.name, folder), json.dumps(content, indent=1).encode() + b"\n")
    return Reference(scenario.name, scenario.digest, ledger.days, values, facts)


def estimated_seconds(questions: Sequence[Question]) -> float:
    """How long the questions take, guessed from short windows of the fullest tile of each policy."""
    total = 0.0
    for policy in dict.fromkeys(question.policy for question in questions):
        mine = [question for question in questions if question.policy == policy]
        tile = max(mine, key=lambda question: len(question.customers))
        # Two windows, as much is done once whatever the window, and one before them that warms up.
        _, first, second = (exact_values(tile._replace(days=min(days, tile.days))).seconds for days in (1, 7, 35))
        whole = first + max(0.0, second - first) / 28 * max(0, tile.days - 7)
        total += whole / len(tile.customers) * sum(len(question.customers) for question in mine)
    return total


def mean_of(values: Values) -> dict[str, float]:
    """Mean and standard error, as they are written into a reference."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return {"mean": round(float(values.mean()), 6), "standard_error": round(error, 6)}
