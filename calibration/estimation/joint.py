"""One model of what a message does: blocking and opening together, for kinds of customers that differ in everything.

Blocking is complementary log-log in the form of `blockenv.dynamics.block_probability` with a normal frailty for each
customer; opening is logistic with a normal deviation for each customer and channel; a customer belongs to one of K
classes, at which covariates hint. This file must never choose K nor search for a maximum.

Choices that matter:
- Loads are known up to the rounding and to differences within a class, so a hinge at the ideal load is a hinge seen
  through a normal blur, whose mean has a closed form.
- The frailty is integrated by Gauss-Hermite quadrature, exactly as far as the nodes go: messages without a block enter
  by their sum of rates alone, so many nodes cost little. Deviations of opening are integrated by Laplace's method about
  their own maximum; about zero it would be cheaper, but then the likelihood has no upper bound.
- The bond is computed from what was seen, see `bond`, and not random.
- Very weak normal priors (`parameters.prior`) keep apart what a log cannot tell apart, as the level of relevance from
  that of opening.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, ndtr, roots_hermitenorm

from calibration.estimation.panel import Floats, Panel, Places
from calibration.estimation.parameters import Layout, contrasts

NODES = 11
BLUR = 1.0  # fatigue units
NEWTON_STEPS, CLOSE = 12, 1e-4


@dataclass
class Evaluation:
    """The model at one point."""

    log_likelihood: Floats  # (N,)
    scores: Floats  # (N, P) derivatives of these
    posterior: Floats  # (N, K) class
    frailty: Floats  # (N, K) mean of exp(u) given the class and the customer's blocks


class JointModel:
    """The likelihood of a panel; `bonds` may be set anew when the classes have moved."""

    def __init__(self, panel: Panel, layout: Layout, alive: Floats, bonds: list[Floats]) -> None:
        """`alive` (M,) weights of messages; `bonds` K arrays (M,), the bond at each message for each class."""
        self.panel, self.layout, self.bonds = panel, layout, bonds
        self._leans: dict[int, Floats] = {}
        self._alive = np.where(panel.opened | panel.blocked, 1.0, alive)
        self._events = np.flatnonzero(panel.blocked)
        self._slot, self._style = contrasts(len(panel.slots)), contrasts(len(panel.styles))
        self._node, weight = roots_hermitenorm(NODES)
        self._log_weight = np.log(weight / weight.sum())
        self._first = np.searchsorted(panel.customer, np.arange(panel.size))
        channels = len(panel.channels)
        self._pair = panel.customer * channels + panel.channel
        self._cells = {
            "channel": (panel.channel, channels),
            "slot": (panel.slot, len(panel.slots)),
            "style": (panel.style, len(panel.styles)),
            "product": (panel.product, len(panel.products)),
        }
        self._flat = {kind: panel.customer * size + code for kind, (code, size) in self._cells.items()}

    def evaluate(self, theta: Floats) -> Evaluation:
        """Likelihood, scores and posteriors at `theta` (P,)."""
        layout, panel = self.layout, self.panel
        size, classes = panel.size, layout.classes
        joint, parts, frailty = np.empty((size, classes)), [], np.empty((size, classes))
        weights = layout.table(theta, "log_weight")[:, 0]
        log_share = weights - logsumexp(weights)
        for each in range(classes):
            score = np.zeros((size, layout.size))
            blocks, frailty[:, each] = self._blocking(theta, each, score)
            opens = self._opening(theta, each, score)
            hints = self._hinting(theta, each, score)
            joint[:, each] = log_share[each] + blocks + opens + hints
            parts.append(score)
        total = logsumexp(joint, axis=1)
        posterior = np.exp(joint - total[:, None])
        scores = np.zeros((size, layout.size))
        for each in range(classes):
            scores += posterior[:, each, None] * parts[each]
            scores[:, layout.places[f"log_weight.{each}"]] += (posterior[:, each] - np.exp(log_share[each]))[:, None]
        return Evaluation(total, scores, posterior, frailty)

    def hinges(self, ideal: float, load: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean load above and below the ideal through the blur, and the probability of being above."""
        z = (load - ideal) / BLUR
        above_p = ndtr(z)
        density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
        above = BLUR * (density + z * above_p)
        return above, above - (load - ideal), above_p

    def log_rate(self, theta: Floats, each: int) -> Floats:
        """(M,) log hazard of every message to a member of a class, without frailty."""
        layout, panel = self.layout, self.panel
        relevance = layout.of_class(theta, "relevance", each)
        above, below, _ = self.hinges(
            float(np.exp(layout.of_class(theta, "log_ideal_load", each)[0])), panel.load_after
        )
        return np.asarray(
            layout.common_of(theta, "block_log_rate")[panel.channel]
            + layout.of_class(theta, "level", each)[0]
            + (self._slot @ layout.of_class(theta, "slot_block", each))[panel.slot]
            + (self._style @ layout.of_class(theta, "style_block", each))[panel.style]
            - layout.common_of(theta, "block_relevance")[0] * relevance[panel.product]
            + layout.of_class(theta, "weekend_block", each)[0] * panel.weekend
            + layout.of_class(theta, "reactance", each)[0] * above
            + layout.of_class(theta, "reciprocity", each)[0] * below
            - layout.common_of(theta, "block_bond")[0] * (self.bonds[each] - 0.5)
        )

    def open_logit(self, theta: Floats, each: int) -> Floats:
        """(M,) logit of opening of every message to a typical member of a class."""
        layout, panel = self.layout, self.panel
        above, _, _ = self.hinges(float(np.exp(layout.of_class(theta, "log_ideal_load", each)[0])), panel.load_before)
        slot = self._slot @ layout.of_class(theta, "slot_block", each)
        return np.asarray(
            layout.common_of(theta, "open_logit")[panel.channel]
            + layout.of_class(theta, "relevance", each)[panel.product]
            + layout.common_of(theta, "open_bond")[0] * (self.bonds[each] - 0.5)
            - layout.common_of(theta, "open_fatigue")[0] * above
            - layout.common_of(theta, "open_slot")[0] * slot[panel.slot]
        )

    def _sum(self, weight: Floats) -> Floats:
        """(N,) sums over each customer's messages; every customer has at least one."""
        return np.asarray(np.add.reduceat(weight, self._first))

    def _cell_sums(self, kind: str, weight: Floats) -> Floats:
        levels = self._cells[kind][1]
        return np.asarray(np.bincount(self._flat[kind], weight, self.panel.size * levels), np.float64).reshape(
            -1, levels
        )

    def _blocking(self, theta: Floats, each: int, score: Floats) -> tuple[Floats, Floats]:
        layout, panel = self.layout, self.panel
        rate = np.exp(np.minimum(self.log_rate(theta, each), 20.0))
        quiet = rate * self._alive
        quiet[self._events] = 0.0
        spread = float(np.exp(layout.common_of(theta, "log_frailty")[0]))
        factor = np.exp(spread * self._node)
        total = self._sum(quiet)
        log_density = self._log_weight - total[:, None] * factor
        at_event = rate[self._events, None] * factor
        owner = panel.customer[self._events]
        np.add.at(log_density, owner, np.log(-np.expm1(-np.maximum(at_event, 1e-12))))
        value = logsumexp(log_density, axis=1)
        node = np.exp(log_density - value[:, None])
        frailty = node @ factor
        pull = at_event / np.expm1(np.clip(at_event, 1e-12, 500.0))
        gradient = -quiet * frailty[panel.customer]
        gradient[self._events] = (pull * node[owner]).sum(axis=1)
        by_node = -total[:, None] * factor
        np.add.at(by_node, owner, pull)
        places = layout.places
        score[:, places["log_frailty"]] += ((node * by_node) @ (spread * self._node))[:, None]
        relevance = layout.of_class(theta, "relevance", each)
        slope = float(layout.common_of(theta, "block_relevance")[0])
        by_product = self._cell_sums("product", gradient)
        score[:, places["block_log_rate"]] += self._cell_sums("channel", gradient)
        score[:, places[f"level.{each}"]] += by_product.sum(axis=1, keepdims=True)
        score[:, places[f"slot_block.{each}"]] += self._cell_sums("slot", gradient) @ self._slot
        score[:, places[f"style_block.{each}"]] += self._cell_sums("style", gradient) @ self._style
        score[:, places["block_relevance"]] -= (by_product @ relevance)[:, None]
        score[:, places[f"relevance.{each}"]] -= slope * by_product
        ideal = float(np.exp(layout.of_class(theta, "log_ideal_load", each)[0]))
        above, below, above_p = self.hinges(ideal, panel.load_after)
        reactance = layout.of_class(theta, "reactance", each)[0]
        reciprocity = layout.of_class(theta, "reciprocity", each)[0]
        by_ideal = ideal * (reciprocity * (1.0 - above_p) - reactance * above_p)
        for name, column in (
            (f"weekend_block.{each}", panel.weekend),
            (f"reactance.{each}", above),
            (f"reciprocity.{each}", below),
            (f"log_ideal_load.{each}", by_ideal),
            ("block_bond", 0.5 - self.bonds[each]),
        ):
            score[:, places[name]] += self._sum(gradient * column)[:, None]
        return value, frailty

    def _opening(self, theta: Floats, each: int, score: Floats) -> Floats:
        layout, panel = self.layout, self.panel
        logit, pairs = self.open_logit(theta, each), panel.size * len(panel.channels)
        log_spread = float(layout.common_of(theta, "log_open_spread")[0])
        precision = np.exp(-2.0 * log_spread)
        lean, probability, weight = self._lean(each, logit, precision)
        stiff = weight + precision
        doubt = self._alive * probability * (1.0 - probability)
        log_one = np.log(np.where(panel.opened, np.maximum(probability, 1e-300), 1.0 - probability))
        by_pair = -0.5 * (lean**2 * precision + np.log(stiff)) - log_spread
        value = self._sum(self._alive * log_one) + by_pair.reshape(panel.size, -1).sum(axis=1)
        # The lean is at its best, so only the curvature feels that it moves.
        skew = doubt * (1.0 - 2.0 * probability)
        by_lean = -0.5 * np.bincount(self._pair, skew, pairs) / stiff
        gradient = panel.opened - self._alive * probability
        gradient += -0.5 * skew / stiff[self._pair] - (by_lean / stiff)[self._pair] * doubt
        places = layout.places
        by_spread = lean**2 * precision + precision / stiff - 1.0 + by_lean * 2.0 * lean * precision / stiff
        score[:, places["log_open_spread"]] += by_spread.reshape(panel.size, -1).sum(axis=1)[:, None]
        slope = float(layout.common_of(theta, "open_slot")[0])
        own = layout.of_class(theta, "slot_block", each)
        by_slot = self._cell_sums("slot", gradient) @ self._slot
        score[:, places["open_logit"]] += self._cell_sums("channel", gradient)
        score[:, places[f"relevance.{each}"]] += self._cell_sums("product", gradient)
        score[:, places["open_slot"]] -= (by_slot @ own)[:, None]
        score[:, places[f"slot_block.{each}"]] -= slope * by_slot
        ideal = float(np.exp(layout.of_class(theta, "log_ideal_load", each)[0]))
        above, _, above_p = self.hinges(ideal, panel.load_before)
        fatigue = float(layout.common_of(theta, "open_fatigue")[0])
        score[:, places["open_fatigue"]] -= self._sum(gradient * above)[:, None]
        score[:, places[f"log_ideal_load.{each}"]] += fatigue * ideal * self._sum(gradient * above_p)[:, None]
        score[:, places["open_bond"]] += self._sum(gradient * (self.bonds[each] - 0.5))[:, None]
        return np.asarray(value)

    def _lean(self, each: int, logit: Floats, precision: float) -> tuple[Floats, Floats, Floats]:
        """Likeliest deviation of each customer and channel, what it makes of probabilities, and the curvature there.

        Newton's method from where the last evaluation ended.
        """
        pairs = self.panel.size * len(self.panel.channels)
        lean = self._leans.get(each, np.zeros(pairs))
        for _ in range(NEWTON_STEPS):
            probability = expit(logit + lean[self._pair])
            force = np.bincount(self._pair, self.panel.opened - self._alive * probability, pairs) - lean * precision
            weight = np.bincount(self._pair, self._alive * probability * (1.0 - probability), pairs)
            move = np.clip(force / (weight + precision), -2.0, 2.0)
            lean = lean + move
            if float(np.abs(move).max()) < CLOSE:
                break
        self._leans[each] = lean
        probability = expit(logit + lean[self._pair])
        weight = np.bincount(self._pair, self._alive * probability * (1.0 - probability), pairs)
        return lean, probability, np.asarray(weight, np.float64)

    def _hinting(self, theta: Floats, each: int, score: Floats) -> Floats:
        layout, places = self.layout, self.layout.places
        if not self.panel.hints.shape[1]:
            return np.zeros(self.panel.size)
        noise = np.exp(layout.common_of(theta, "log_hint_noise"))
        away = (self.panel.hints - layout.of_class(theta, "hint", each)) / noise
        score[:, places[f"hint.{each}"]] += away / noise
        score[:, places["log_hint_noise"]] += away**2 - 1.0
        return np.asarray(-(0.5 * away**2 + np.log(noise) + 0.5 * np.log(2.0 * np.pi)).sum(axis=1))


def class_of(posterior: Floats) -> Places:
    """(N,) the likeliest class."""
    found: NDArray[np.int64] = posterior.argmax(axis=1).astype(np.int64)
    return found
