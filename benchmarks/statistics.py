"""Turns tables of customer values into averages with honest error bars, and says which agents tie.

It must never read a file, draw from a generator that was not handed in, or trim, weight or drop a customer.

**Data.** One agent in one scenario is an array of shape (S, N): row s is a training seed (a rule has one
row), column i a held-out customer, the entry that customer's discounted value in money. Column i is the same
customer with the same luck in every row of every agent.

**Model.** value[s, i] = mean + seed effect[s] + customer effect[i] + rest[s, i]. Customers are an independent
sample; seed effects and rests are independent over training seeds and agents; customer effects may correlate
over agents (pairing lives off that). Then the variance of a mean, or of a difference of means, is

    Var(profile) / N  +  sum over agents of max(0, Var(seed means) / S - Var(rest) / (S N))

where the profile is the customer's value averaged over seeds, for a difference the difference of the two; it
carries the rest already, and the subtraction keeps that from being counted twice. This is the two-way
clustered variance of Cameron, Gelbach & Miller (2011), with the seeds' part kept from going negative. One row
has no seed variance: right for a deterministic rule, too narrow for a learner that was trained once.

**Degrees of freedom.** Satterthwaite (1946) pools the seed variances of the agents; with the customers' N - 1
they are mixed as 1 / df = share / df_seeds + (1 - share) / (N - 1), `share` being the seeds' share of the
variance. Satterthwaite's own squared shares claim too many degrees when a few seeds happen to agree.

**Measured.** 95 % intervals cover 94 to 98 % with five seeds or more and for rules, 93 to 98 % with three,
and down to 89 % where one side has two: train at least three. Above 95 % where seeds make no difference.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]

# Equal numbers summed in another order differ by about 1e-16 of their size; agents that act alike must tie.
ROUNDING = 1e-12


class Estimate(NamedTuple):
    """A number, the ends of its interval and its standard error, all in the unit of the number."""

    mean: float
    low: float
    high: float
    standard_error: float


class Rank(NamedTuple):
    """Where an agent stands; rank 1 is best, and agents that share a letter are not separable."""

    low: int  # 1 + number of agents significantly better
    high: int  # number of agents - number significantly worse
    tied_with_best: bool  # nobody is significantly better
    letters: str  # compact letter display; the highest mean has an "a"


class AgentSummary(NamedTuple):
    """What intervals and comparisons need of an agent's table (seeds, customers)."""

    mean: float
    profile: FloatArray  # (N,) averaged over seeds
    seed_effects: FloatArray  # (S,)
    seed_variance: float  # of the mean over seeds, the rest's share included
    rest_variance: float  # the rest's share
    magnitude: float


class _Contrast(NamedTuple):
    mean: float
    standard_error: float
    degrees: float


def mean_estimate(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean value of one agent, `values` of shape (S, N), for new customers and new training seeds.

    Raises ValueError for a wrong shape, fewer than two customers, entries that are not finite, or a level
    outside (0, 1).
    """
    return _interval(_contrast(summaries([values], ["values"]), [1.0]), level)


def paired_difference(values_a: ArrayLike, values_b: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean value of a minus that of b, `values_a` (S_a, N) and `values_b` (S_b, N), paired by customer.

    Where equal training seeds push both agents the same way, the interval is too wide rather than too narrow.
    Raises ValueError as `mean_estimate` does, and when the numbers of customers differ.
    """
    agents = summaries([values_a, values_b], ["values_a", "values_b"])
    return _interval(_contrast(agents, [1.0, -1.0]), level)


def relative(values: ArrayLike, reference: ArrayLike, level: float = 0.95) -> Estimate:
    """Uplift (V - V0) / V0 of `values` (S, N) over `reference` (S_0, N), usually silence; 0.1 is 10 %.

    A ratio of means, paired by customer, with the interval of the delta method.
    Raises ValueError as `paired_difference` does, and when the interval of the reference's mean is not above
    zero, since the ratio has no meaning then.
    """
    agents = summaries([values, reference], ["values", "reference"])
    base = _interval(_contrast(agents[1:], [1.0]), level)
    if base.low <= 0:
        interval = f"[{base.low:.6g}, {base.high:.6g}]"
        raise ValueError(f"reference: mean {base.mean:.6g}, interval {interval}; expected one above zero")
    uplift = _contrast(agents, [1 / base.mean, -1 / base.mean]).mean
    noise = _contrast(agents, [1 / base.mean, -(1 + uplift) / base.mean])
    return _interval(noise._replace(mean=uplift), level)


def ranks(values: Sequence[ArrayLike], level: float = 0.95) -> list[Rank]:
    """Rank intervals and tie groups of agents, each (S_k, N), in the order given; higher values are better.

    All pairs are compared, two-sided, with the correction of Holm (1979): the chance of any false verdict is
    at most 1 - level. With that confidence all true ranks lie in their intervals, and the truly best agent is
    among those tied with the best. Letters by insert and absorb (Piepho 2004): two agents share a letter
    exactly when they are not separable.
    Raises ValueError as `paired_difference` does, and for no agents.
    """
    check_sizes(level)
    agents = summaries(values, [f"values[{k}]" for k in range(len(values))])
    pairs = list(combinations(range(len(agents)), 2))
    contrasts = [_contrast([agents[i], agents[j]], [1.0, -1.0]) for i, j in pairs]
    chances = [_chance(contrast) for contrast in contrasts]
    better = np.zeros((len(agents), len(agents)), dtype=np.bool_)
    for step, k in enumerate(np.argsort(chances, kind="stable")):
        if chances[k] > (1 - level) / (len(pairs) - step):
            break
        better[pairs[k] if contrasts[k].mean > 0 else pairs[k][::-1]] = True
    letters = _letters(better | better.T, [agent.mean for agent in agents])
    lows, highs = 1 + better.sum(axis=0), len(agents) - better.sum(axis=1)
    return [
        Rank(int(low), int(high), bool(low == 1), group) for low, high, group in zip(lows, highs, letters, strict=True)
    ]


def check_sizes(level: float, draws: int = 100) -> None:
    """Raise a ValueError for a level outside (0, 1), or fewer than 100 draws."""
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; expected a number between 0 and 1")
    if draws < 100:
        raise ValueError(f"draws: {draws}; expected at least 100")


def as_tables(values: Sequence[ArrayLike], names: Sequence[str]) -> list[FloatArray]:
    """Tables (seeds, customers) of the same customers as arrays.

    Raises:
        ValueError: none, or one that is not such a table; it is called by its name.
    """
    if len(values) == 0:
        raise ValueError("values: no agents; expected at least one")
    tables: list[FloatArray] = []
    for name, given in zip(names, values, strict=True):
        try:
            table = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: not a table of numbers ({error}); expected (seeds, customers)") from error
        if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
            raise ValueError(f"{name}: shape {table.shape}; expected (seeds, customers), customers >= 2")
        if tables and table.shape[1] != tables[0].shape[1]:
            expected = f"the {tables[0].shape[1]} of {names[0]}, paired by customer"
            raise ValueError(f"{name}: {table.shape[1]} customers; expected {expected}")
        if not np.isfinite(table).all():
            wrong = np.argwhere(~np.isfinite(table))
            where = f"seed {wrong[0, 0]}, customer {wrong[0, 1]}"
            raise ValueError(f"{name}: {len(wrong)} entries not finite, first at {where}; expected finite money")
        tables.append(table)
    return tables


def summaries(values: Sequence[ArrayLike], names: Sequence[str]) -> list[AgentSummary]:
    """What is needed of tables; see `as_tables`."""
    return [_summary(table) for table in as_tables(values, names)]


def _summary(table: FloatArray) -> AgentSummary:
    seeds, customers = table.shape
    profile = table.mean(axis=0)
    mean = float(profile.mean())
    seed_effects = table.mean(axis=1) - mean
    seed_variance = rest_variance = 0.0
    if seeds > 1:
        rest = table - profile - seed_effects[:, None]
        seed_variance = float(np.square(seed_effects).sum()) / ((seeds - 1) * seeds)
        rest_variance = float(np.square(rest).sum()) / ((seeds - 1) * (customers - 1) * seeds * customers)
    return AgentSummary(mean, profile, seed_effects, seed_variance, rest_variance, float(np.abs(table).max()))


def _contrast(agents: Sequence[AgentSummary], weights: Sequence[float]) -> _Contrast:
    """Weighted sum of the agents' means."""
    weighted = list(zip(weights, agents, strict=True))
    mean = sum(weight * agent.mean for weight, agent in weighted)
    if abs(mean) <= ROUNDING * max(abs(weight) * agent.magnitude for weight, agent in weighted):
        mean = 0.0
    customers = len(agents[0].profile)
    profile = np.sum([weight * agent.profile for weight, agent in weighted], axis=0)
    variance = float(profile.var(ddof=1)) / customers
    variance += sum(w**2 * max(0.0, agent.seed_variance - agent.rest_variance) for w, agent in weighted)
    if variance == 0:
        return _Contrast(mean, 0.0, customers - 1)
    parts = [(w**2 * agent.seed_variance, len(agent.seed_effects) - 1) for w, agent in weighted]
    seeds = sum(part for part, _ in parts)
    share = min(1.0, seeds / variance)
    # No seed variance, no division by it: an agent with one row has zero degrees.
    inverse = sum((part / seeds) ** 2 / degrees for part, degrees in parts if part > 0)
    return _Contrast(mean, math.sqrt(variance), 1 / (share * inverse + (1 - share) / (customers - 1)))


def _interval(contrast: _Contrast, level: float) -> Estimate:
    check_sizes(level)
    half = _student_quantile(level, contrast.degrees) * contrast.standard_error
    return Estimate(contrast.mean, contrast.mean - half, contrast.mean + half, contrast.standard_error)


def _chance(contrast: _Contrast) -> float:
    """Two-sided p-value of "the mean is zero"."""
    if contrast.mean == 0 or contrast.standard_error == 0:
        return float(contrast.mean == 0)
    return _student_tail(abs(contrast.mean) / contrast.standard_error, contrast.degrees)


def _student_tail(t: float, degrees: float) -> float:
    """P(|T| > t) for Student's T: the incomplete beta function as a continued fraction (DLMF 8.17.22)."""
    a, b = degrees / 2, 0.5
    x, rest = degrees / (degrees + t * t), t * t / (degrees + t * t)
    if x == 0 or rest == 0:
        return float(x > 0)
    # The fraction converges fast on one side of the beta distribution's mean only; symmetry serves the other.
    swap = x > (a + 1) / (a + b + 2)
    if swap:
        a, b, x, rest = b, a, rest, x
    c, d, fraction = 1.0, 0.0, 1.0
    for k in range(1, 10_000):
        m = k // 2
        top = -(a + m) * (a + b + m) if k % 2 else m * (b - m)
        term = top * x / ((a + k - 1) * (a + k))
        d, c = 1 / (1 + term * d), 1 + term / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    tail = math.exp(logarithm) / (a * fraction)
    return 1 - tail if swap else tail


def _student_quantile(level: float, degrees: float) -> float:
    """t with P(|T| <= t) = level. The tail is convex, so Newton's steps from zero only ever go up."""
    t = 0.0
    gammas = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    for _ in range(200):
        kernel = (degrees + 1) / 2 * math.log1p(t * t / degrees) + math.log(degrees * math.pi) / 2
        step = (_student_tail(t, degrees) - (1 - level)) / (2 * math.exp(gammas - kernel))
        t += step
        if step <= 1e-12 * t:
            break
    return t


def _letters(separable: NDArray[np.bool_], means: Sequence[float]) -> list[str]:
    groups = [frozenset(range(len(means)))]
    for i, j in np.argwhere(np.triu(separable)).tolist():
        both = [group for group in groups if {i, j} <= group]
        split = {*groups, *(group - {i} for group in both), *(group - {j} for group in both)} - {*both}
        groups = [group for group in split if not any(group < other for other in split)]
    groups.sort(key=lambda group: sorted(((means[k], -k) for k in group), reverse=True), reverse=True)
    signs = [chr(ord("a") + k % 26) + (str(k // 26) if k >= 26 else "") for k in range(len(groups))]
    return ["".join(signs[g] for g, group in enumerate(groups) if k in group) for k in range(len(means))]
