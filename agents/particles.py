"""What a sender who knows the population may believe about each customer: prototypes, their hidden states, weights.

Fed with the firm's own log alone: covariates on the first day, then what was noticed of each day. Never the customer.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.prototypes import Prototypes
from blockenv import dynamics, population
from blockenv.dynamics import Traits
from blockenv.history import History
from blockenv.scenarios import Scenario

Reals = NDArray[np.floating]
Truths = NDArray[np.bool_]

_HALVINGS = 6  # of the search for how much of the evidence counts
_LEAST = 1e-30  # stands for a likelihood of zero where its logarithm is taken
_OF_A_DAY = ("ideal_load", "reactance", "reciprocity", "weekend_block", "churn_contact", "resting_bond",
             "organic_rate", "order_log_value")  # fmt: skip


class Noticed(NamedTuple):
    """What the firm could notice of a day, from its log of the morning and of the next."""

    opened: Truths  # (N,)
    ordered: Truths  # (N,)
    prompted: Truths  # (N,)
    order_value: Reals  # (N,) money
    reachable_before: Truths  # (C, N) not known to be blocked
    reachable_after: Truths  # (C, N)


def noticed(before: History, after: History, long_decay: float) -> Noticed:
    """Read a day off the log; windows of the log shrink by `long_decay` a day."""
    return Noticed(
        opened=np.asarray(after.since_open == 0.0),
        ordered=np.asarray(after.since_order == 0.0),
        prompted=np.asarray(((after.prompted - before.prompted * long_decay) > 0.5).any(axis=1)),
        order_value=np.asarray(after.lifetime_spend - before.lifetime_spend),
        reachable_before=before.known_reachable,
        reachable_after=after.known_reachable,
    )


class Particles:
    """K prototypes for each of N customers, each with a sampled fatigue and bond of its own.

    A bootstrap particle filter (Gordon, Salmond & Smith 1993) over states, with prototypes that stay. A few hundred
    prototypes cannot be near every customer in twenty traits: full Bayesian weights would soon rest on one or two,
    who fit the well-measured traits and are anybody in the others. So evidence counts only as far as `spared`
    particles' worth of weight (the effective sample size, Kong 1992) is left: weights are prior x likelihood^t with
    the largest such t up to 1, customer by customer.

    Attributes:
        prototype, fatigue, bond: (N, K) int.
        open: (N, K, C) float32, probability that a channel is open.
        evidence: (N, K) float32, log-likelihood of all that was noticed.
    """

    def __init__(
        self,
        scenario: Scenario,
        prototypes: Prototypes,
        count: int,
        spared: float,
        hints: Reals,
        joined: NDArray[np.int64],
        opted_in: Truths,
        rng: np.random.Generator,
    ) -> None:
        """Begin with customers' first morning.

        Args:
            scenario, prototypes: the population.
            count: K.
            spared: particles' worth of weight that evidence leaves.
            hints: (N, S) the covariates as they are observed.
            joined: (N,) dates of joining.
            opted_in: (C, N) channels, as the firm knows.
            rng: draws prototypes and states.
        """
        self._known, self._spared, self._rng = prototypes, min(spared, count), rng
        self._at_once = np.array([each.visibility == "at_once" for each in scenario.channels])
        self._never = np.array([each.visibility == "never" for each in scenario.channels])
        self._rules = prototypes.rules
        self._background = np.ascontiguousarray(prototypes.traits.background_block.T)  # (M, C)
        shares = population.hint_likelihoods(scenario, hints)[:, prototypes.traits.segment]
        self.prototype = _systematic(shares, count, rng)
        self.joined = joined
        shape = self.prototype.shape
        begin = population.newcomers(scenario, prototypes.traits)
        self.fatigue = np.full(shape, begin.fatigue[0], np.int32)
        self.bond = np.full(shape, begin.bond[0], np.int32)
        self.open = np.repeat(opted_in.T[:, None, :], count, axis=1).astype(np.float32)
        self.evidence = np.zeros(shape, np.float32)

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Go on with the customers `rows` alone."""
        self.prototype, self.fatigue, self.bond = self.prototype[rows], self.fatigue[rows], self.bond[rows]
        self.open, self.evidence, self.joined = self.open[rows], self.evidence[rows], self.joined[rows]

    def weights(self) -> Reals:
        """(N, K) float32, summing to one in each row."""
        low, high = np.zeros((len(self.evidence), 1), np.float32), np.ones((len(self.evidence), 1), np.float32)
        low[_effective(self.evidence) >= self._spared] = 1.0
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            enough = _effective(middle * self.evidence)[:, None] >= self._spared
            low, high = np.where(enough, middle, low), np.where(enough, high, middle)
        found = np.exp(low * self.evidence)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def learn(self, day: NDArray[np.int64], action: NDArray[np.int64], seen: Noticed) -> None:
        """Weigh the particles by what was noticed of `day` (N,) after `action` (N,), and bring them to the next morning.

        All probabilities are `dynamics`' own, of the day that the prototype would have had.
        """
        rules, rows = self._rules, np.arange(len(action))
        traits, now = self._traits(), dynamics.today(rules, self._known.traits._replace(joined=self.joined), day)
        now = now._replace(**{name: value[:, None] for name, value in now._asdict().items()})
        mail = dynamics.message(rules, self._known.traits, action[:, None], self.prototype)
        fatigue = self.fatigue * np.float32(rules.fatigue_step)
        bond = self.bond * np.float32(rules.bond_step)
        ideal = dynamics.ideal_load(traits, now)

        sent, channel = action > 0, rules.channel_of[action]
        lost = seen.reachable_before & ~seen.reachable_after
        unseen, at_once = self._never[channel] & sent, self._at_once[channel] & sent
        failed = sent & ~unseen & ~at_once & lost[channel, rows]
        was_open = self.open[rows, :, channel]
        open_p = dynamics.open_probability(rules, fatigue, bond, ideal, mail)
        prompted_p = dynamics.prompted_probability(rules, fatigue, bond, ideal, mail)
        organic_p = dynamics.organic_probability(rules, traits, now, bond)

        answer_p = np.where(seen.opened[:, None], open_p, 1.0 - open_p)
        arrived_p = np.where(unseen[:, None], _posterior(was_open, answer_p, seen.opened[:, None]), ~failed[:, None])
        contact = (self._uniform() < arrived_p * sent[:, None]).astype(np.float32)
        chances = [
            np.where(failed[:, None], 1.0 - was_open, was_open * answer_p) + (unseen & ~seen.opened)[:, None] * (1.0 - was_open),
            np.where(
                seen.prompted[:, None],
                prompted_p,
                np.where(seen.ordered[:, None], organic_p, 1.0 - organic_p)
                * np.where(seen.opened[:, None], 1.0 - prompted_p, 1.0),
            ),
        ]  # fmt: skip
        chances[0] = np.where(sent[:, None], chances[0], 1.0)

        loaded = dynamics.fatigue_after(rules, fatigue, mail.load * contact)
        overload = dynamics.overload_after(loaded, ideal, contact)
        block_p = dynamics.block_probability(rules, traits, now, loaded, bond, ideal, mail)
        background = self._background[self.prototype]
        own_p = dynamics.union(background[rows, :, channel], block_p)
        own_lost = (at_once & lost[channel, rows])[:, None]
        own = np.where(at_once[:, None], own_lost, self._uniform() < own_p * contact)
        chances.append(np.where(at_once[:, None], np.where(own_lost, own_p, 1.0 - own_p), 1.0))
        elsewhere_p = dynamics.union(background, (rules.spill_over * own)[:, :, None])
        chances.append(self._disclosed(elsewhere_p, seen, lost, sent, channel))
        chances.append(1.0 - dynamics.churn_probability(rules, traits, bond, contact, overload))

        self.evidence += sum(np.log(np.maximum(chance, _LEAST)) for chance in chances)
        self._weigh_orders(seen)
        self.evidence -= self.evidence.max(axis=1, keepdims=True)

        blocked = own | (lost & self._at_once[:, None]).any(axis=0)[:, None]
        ordered = seen.ordered[:, None].astype(np.float32)
        bond_next = dynamics.bond_after(
            rules, traits, bond, mail.relevance, seen.opened[:, None].astype(np.float32), ordered,
            blocked.astype(np.float32), overload,
        )  # fmt: skip
        self.fatigue = self._rounded(loaded, rules.fatigue_step, rules.fatigue_levels)
        self.bond = self._rounded(bond_next, rules.bond_step, rules.bond_levels)
        self.open *= 1.0 - elsewhere_p
        self.open[rows[sent], :, channel[sent]] = (arrived_p * (1.0 - own_p))[sent]
        self._reopen(bond, ordered, seen)

    def _traits(self) -> Traits:
        """The prototypes' numbers that a day asks for, (N, K); the others as they are."""
        return self._known.traits._replace(
            **{name: getattr(self._known.traits, name)[self.prototype] for name in _OF_A_DAY}
        )

    def _disclosed(
        self, elsewhere_p: Reals, seen: Noticed, lost: Truths, sent: Truths, channel: NDArray[np.int64]
    ) -> Reals:
        """Likelihood (N, K) of what was and was not blocked on the disclosed channels without a message."""
        told = self._at_once[:, None] & seen.reachable_before
        told[channel[sent], np.flatnonzero(sent)] = False
        chance = np.where(lost.T[:, None, :], elsewhere_p, 1.0 - elsewhere_p)
        return np.asarray(np.where(told.T[:, None, :], chance, 1.0).prod(axis=2))

    def _weigh_orders(self, seen: Noticed) -> None:
        rows = np.flatnonzero(seen.ordered & (seen.order_value > 0.0))
        spread = self._rules.order_log_sd
        if spread > 0.0 and rows.size:
            typical = self._known.traits.order_log_value[self.prototype[rows]]
            self.evidence[rows] -= 0.5 * ((np.log(seen.order_value[rows])[:, None] - typical) / spread) ** 2

    def _reopen(self, bond: Reals, ordered: Reals, seen: Noticed) -> None:
        """Hidden blocks may be won back unnoticed; what the firm knows to be open or closed is so."""
        rules = self._rules
        if rules.win_back:
            shaped = rules._replace(win_back_log_rate=rules.win_back_log_rate[:, :, None])
            self.open += (1.0 - self.open) * np.moveaxis(dynamics.win_back_probability(shaped, bond, ordered), 0, -1)
        reopened = (seen.reachable_after & ~seen.reachable_before).T[:, None, :]
        self.open = np.where(reopened | self._at_once, 1.0, self.open).astype(np.float32)
        self.open *= seen.reachable_after.T[:, None, :]

    def _rounded(self, value: Reals, step: float, levels: int) -> NDArray[np.int32]:
        lower, upper_p = dynamics.neighbours(value, step, levels)
        return np.asarray(np.broadcast_to(lower, upper_p.shape) + (self._uniform() < upper_p), np.int32)

    def _uniform(self) -> Reals:
        return self._rng.random(self.prototype.shape, dtype=np.float32)


def _posterior(was_open: Reals, answer_p: Reals, opened: Truths) -> Reals:
    """Probability that a message arrived whose fate is not disclosed."""
    return np.asarray(
        np.where(opened, 1.0, was_open * answer_p / np.maximum(was_open * answer_p + 1.0 - was_open, _LEAST))
    )


def _effective(logarithms: Reals) -> Reals:
    """(N,) effective sample size of weights given by their logarithms (N, K), the largest of which is 0."""
    weights = np.exp(logarithms)
    return np.asarray(weights.sum(axis=1) ** 2 / (weights * weights).sum(axis=1))


def _systematic(shares: Reals, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` prototypes a customer, as even as their shares (N, M) allow (Kitagawa 1996)."""
    upto = np.cumsum(shares, axis=1)
    places = (rng.random((len(shares), 1)) + np.arange(count)) / count * upto[:, -1:]
    found = [np.searchsorted(row, place) for row, place in zip(upto, places, strict=True)]
    return np.asarray(np.minimum(np.array(found, np.int64), shares.shape[1] - 1))
