"""A sender who knows the population and the rules of a day, but not the customer: the attainable line.

It believes in prototypes weighed by what the firm's log says (`particles`) and does today what is best on average over
them when tomorrow's choices are optimal. It reads the log of a cohort and its covariates, never traits or states.
"""

import io
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.agent import (
    AgentError,
    AgentSettings,
    Monitor,
    load_record,
    parsed,
    save_record,
    training_seed,
    write_whole,
)
from agents.particles import Particles, noticed
from agents.prototypes import Prototypes, Worths, stages_of
from agents.rules import Actions, Mask, Observation
from blockenv import history, observation, population
from blockenv.arrivals import pick
from blockenv.cohort import Cohort
from blockenv.history import History
from blockenv.mdp.batches import among_open
from blockenv.rollout import play
from blockenv.scenarios import Scenario

_PURPOSE = 5  # of the training seed that prototypes are drawn from
_MEMORY = 240_000_000  # bytes of gains that the default number of prototypes may take
_MOST, _FEWEST = 512, 48  # prototypes by default


class BeliefSettings(AgentSettings):
    """How the belief is kept and acted upon."""

    prototypes: int = Field(default=0, ge=0, description="customers planned for; 0 for as many as memory allows")
    particles: int = Field(default=192, ge=2, description="prototypes kept for each customer")
    rule: Literal["auto", "expected", "sampled"] = Field(
        default="auto",
        description="the best on average over the belief (QMDP), or for one customer drawn from it (posterior sampling); "
        "auto takes what earns more from training customers",
    )
    spared: float = Field(default=0.4, gt=0, le=1, description="share of the particles that evidence leaves weight to")
    resample_days: int = Field(default=7, ge=1, description="how long a drawn customer is acted for")
    trial_customers: int = Field(default=384, ge=2, description="training customers on whom auto compares")
    trial_days: int = Field(default=728, ge=1, description="days they are served")


# Where covariates say who a customer is, doubt is small and caution pays; where only answers can tell, sampling does.
_TRIALS: tuple[dict[str, Any], ...] = (
    {"rule": "expected", "spared": 0.4},
    {"rule": "expected", "spared": 0.1},
    {"rule": "sampled", "spared": 0.05},
)


class Belief:
    """A belief about each customer, and the message that is best on average over it.

    With `expected` it takes the future to be free of doubt (QMDP, Littman, Cassandra & Kaelbling 1995), so it never
    sends a message to learn from it; with `sampled` it acts for one prototype at a time, drawn from the belief
    (Thompson 1933; Strens 2000).
    """

    Settings: ClassVar[type[Any]] = BeliefSettings
    learns: ClassVar[bool] = True  # the prototypes depend on the seed

    def __init__(self, scenario: Scenario, settings: Any = None) -> None:
        self.scenario = scenario
        self.settings: BeliefSettings = settings or BeliefSettings()
        self.chosen: BeliefSettings = self.settings  # what is acted by; `auto` is decided in `fit`
        self.prototypes: Prototypes | None = None
        self._seed = 0
        self._columns = observation.layout(scenario)
        self._ledger = history.ledger(scenario)
        self._believed: Particles | None = None
        self._customer: NDArray[np.int64] = np.empty(0, np.int64)
        self._log: History | None = None
        self._action: NDArray[np.int64] = np.empty(0, np.int64)
        self._drawn: NDArray[np.int64] = np.empty(0, np.int64)
        self._rng = np.random.default_rng(0)

    def fit(self, seed: int, monitor: Monitor) -> None:
        """Draw the prototypes and plan for each; then find out which rule to act by."""
        count = self.settings.prototypes or default_count(self.scenario)
        self._seed = seed

        def told(done: int, of: int) -> None:
            monitor.advance(done, of, {"prototypes": float(done)})

        self.prototypes = Prototypes.planned(self.scenario, training_seed(seed, _PURPOSE), count, told)
        if self.settings.rule == "auto":
            self.chosen = self._tried(seed)

    def _tried(self, seed: int) -> BeliefSettings:
        """The settings that earn most from training customers other than the prototypes."""
        settings, earned = self.settings, []
        options = [settings.model_copy(update=trial) for trial in _TRIALS]
        for self.chosen in options:
            # In batches, as particles take memory.
            found = play(
                self, self.scenario, training_seed(seed, _PURPOSE + 1), settings.trial_customers,
                days=settings.trial_days, batch=256,
            )  # fmt: skip
            earned.append(float(found.value.mean()))
        return options[int(np.argmax(earned))]

    def meet(self, cohort: Cohort) -> None:
        """Learn from what the firm's log says of yesterday; begin with newcomers."""
        if self.prototypes is None:
            raise AgentError("belief: has planned for nobody yet, expected `fit` or `load` first")
        log = cohort.log
        if self._believed is None or self._log is None or not _goes_on(self._customer, self._log, cohort):
            if log.day.any():
                raise AgentError("belief: meets customers it has not served from their first day")
            self._begin(cohort)
            return
        before = self._log
        if len(cohort) < len(self._customer):
            rows = np.flatnonzero(np.isin(self._customer, cohort.customer))
            self._believed.keep(rows)
            self._customer, self._action, self._drawn = self._customer[rows], self._action[rows], self._drawn[rows]
            before = pick(before, rows)
        self._believed.learn(before.day, self._action, noticed(before, log, self._ledger.long_decay))
        self._log = _kept(log)

    def act(self, seen: Observation, mask: Mask, rng: np.random.Generator) -> Actions:
        """The message of the largest expected gain, or silence where none has any.

        Raises:
            AgentError: it has not met these customers this morning.
        """
        if self._believed is None or self._log is None or self.prototypes is None or len(seen) != len(self._customer):
            raise AgentError("belief: acts on the log, so it plays in `blockenv.play`, which lets it meet the cohort")
        chosen = np.zeros(len(seen), np.int64)
        most = np.zeros(len(seen))
        weights = self._weights(rng)
        for rows, actions, gains in self._gains(self.prototypes, self._believed, weights, seen):
            gains = np.where(mask[rows][:, actions], gains, -np.inf)
            best = gains.argmax(axis=1)
            gain = gains[np.arange(len(rows)), best]
            better = gain > most[rows]
            chosen[rows[better]], most[rows[better]] = actions[best[better]], gain[better]
        self._action = chosen
        return chosen

    def save(self, folder: Path) -> None:
        """Write the values of the prototypes' states; gains are worked out again when they are read."""
        assert self.prototypes is not None, "nothing is learned yet"
        save_record(folder, self, {"seed": self._seed, "chosen": self.chosen.model_dump(mode="json")}, self.settings)
        content = io.BytesIO()
        np.savez(content, **self.prototypes.worths._asdict())
        write_whole(folder / "worths.npz", content.getvalue())

    @classmethod
    def load(cls, folder: Path, scenario: Scenario) -> Self:
        """Read it back.

        Raises:
            AgentError: a file is missing, damaged, or of another scenario.
        """
        settings, learned = load_record(folder, cls.__name__, BeliefSettings)
        agent, path = cls(scenario, settings), folder / "worths.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                worths = Worths(arrays["stages"], arrays["later"])
            agent._seed, agent.chosen = int(learned["seed"]), parsed(BeliefSettings, learned["chosen"], str(folder))
            _check(worths, scenario)
            agent.prototypes = Prototypes(scenario, training_seed(agent._seed, _PURPOSE), worths)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise AgentError(f"{path}: cannot be read as the values of prototypes ({error})") from error
        return agent

    def _begin(self, cohort: Cohort) -> None:
        assert self.prototypes is not None
        self._customer, self._log = cohort.customer.copy(), _kept(cohort.log)
        self._action = np.zeros(len(cohort), np.int64)
        self._drawn = np.zeros(len(cohort), np.int64)
        # Luck of its own for these customers, so that another batch of them does not change it.
        self._rng = np.random.default_rng([self._seed, int(cohort.customer[0]), len(cohort)])
        hints = cohort.observe()[:, self._columns["hints"]]
        # The date is on every message of the log; the firm reads it off its calendar.
        self._believed = Particles(
            self.scenario, self.prototypes, self.settings.particles, self.chosen.spared * self.settings.particles,
            hints, cohort.traits.joined.copy(), cohort.log.known_reachable, self._rng,
        )  # fmt: skip

    def _weights(self, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
        assert self._believed is not None
        assert self._log is not None
        weights = self._believed.weights()
        if self.chosen.rule == "expected":
            return weights
        upto = np.cumsum(weights, axis=1)
        drawn = (upto < rng.random((len(weights), 1)) * upto[:, -1:]).sum(axis=1)
        again = self._log.day % self.chosen.resample_days == 0
        self._drawn = np.where(again, np.minimum(drawn, weights.shape[1] - 1), self._drawn)
        alone = np.zeros_like(weights)
        alone[np.arange(len(alone)), self._drawn] = 1.0
        return alone

    def _gains(
        self, known: Prototypes, believed: Particles, weights: NDArray[np.floating[Any]], seen: Observation
    ) -> Any:
        """Rows, messages and expected gains over silence, channel by channel; a closed channel costs the message."""
        assert self._log is not None
        stage, weekend = known.stage(int(self._log.day[0])), seen[:, self._columns["date"].start] > 0.5
        reachable = self._log.known_reachable
        # Which of the other channels are open matters little for one: they are taken as they most likely are.
        likely = reachable.T & (np.einsum("nk,nkc->nc", weights, believed.open) > 0.5)
        for place, actions in enumerate(known.actions):
            others = among_open((likely << np.arange(likely.shape[1])).sum(axis=1), place)
            for kind, tables in enumerate(known.gains[stage]):
                right = weekend == bool(kind) if len(known.gains[stage]) > 1 else np.ones(len(seen), bool)
                rows = np.flatnonzero(reachable[place] & right)
                if rows.size == 0:
                    continue
                table = tables[place]
                cell = believed.prototype[rows] * table.shape[1] + others[rows, None]
                cell = (cell * table.shape[2] + believed.fatigue[rows]) * table.shape[3] + believed.bond[rows]
                opened = weights[rows] * believed.open[rows, :, place]
                gains = np.take(table.reshape(-1, len(actions)), cell, axis=0).astype(np.float32)
                expected = np.matmul(opened[:, None, :].astype(np.float32), gains)[:, 0]
                closed = (weights[rows] - opened).sum(axis=1)
                yield rows, actions, expected - closed[:, None] * known.rules.cost_of[actions]


def default_count(scenario: Scenario) -> int:
    """How many prototypes a scenario is given: as many as a fixed amount of memory holds gains of."""
    rules = population.rules(scenario)
    states = rules.fatigue_levels * rules.bond_levels * 2 ** (len(scenario.channels) - 1)
    weekends = 2 if scenario.spread.weekend or any(each.weekend_block for each in scenario.segments) else 1
    fit = _MEMORY // (2 * states * (scenario.actions - 1) * weekends * len(stages_of(rules)))
    return int(min(_MOST, max(_FEWEST, fit)))


def _goes_on(customer: NDArray[np.int64], log: History, cohort: Cohort) -> bool:
    """Whether a cohort is the customers of yesterday, or some of them, one day later."""
    return bool(
        len(cohort) > 0
        and len(cohort) <= len(customer)
        and cohort.log.day[0] == log.day[0] + 1
        and np.isin(cohort.customer, customer).all()
    )


def _kept(log: History) -> History:
    """A copy, as the next day may be written over this one."""
    return pick(log, np.arange(len(log.day)))


def _check(worths: Worths, scenario: Scenario) -> None:
    rules = population.rules(scenario)
    expected = rules.fatigue_levels, rules.bond_levels, 2 ** len(scenario.channels)
    if worths.later.ndim != 6 or worths.later.shape[3:] != expected or worths.later.shape[0] != len(worths.stages):
        raise ValueError(f"later: shape {worths.later.shape}, expected (stages, kinds, prototypes) and {expected}")
    if not np.isfinite(worths.later).all():
        raise ValueError("later: expected finite values")
