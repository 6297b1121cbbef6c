"""A population for learners whose tensors live on a GPU: rows that serve one customer after another, all as tensors.

Not a Gymnasium environment, as those speak NumPy. It computes no probability, and never copies an observation to the
host.
"""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from blockenv import observation
from blockenv.dynamics import Outcome
from blockenv.envs.arguments import first_limits, one_seed, reward_field, whole_number
from blockenv.scenarios import ScenarioLike, get
from blockenv.tensors import SharedCohort, Tensor, TensorCohort


class TensorStep(NamedTuple):
    """A day of N rows, all on the device. Rows whose episode ended have their next customer already."""

    observation: Tensor  # (N, D) float32, of newcomers where an episode ended
    reward: Tensor  # (N,) float32
    terminated: Tensor  # (N,) bool, the customer left for ever
    truncated: Tensor  # (N,) bool, cut off by the time limit alone
    final_rows: Tensor  # (M,) int64, rows whose episode ended, ascending
    final_observation: Tensor  # (M, D) float32, the last that was seen of them
    outcome: Outcome  # of (N,) and (C, N) tensors; also what happened on the last day of an episode


class TensorPopulation:
    """N rows on one device, refilled within the step (`SameStep` of Gymnasium).

    The same customers with the same luck as `PopulationEnv(num_envs, scenario, autoreset_mode="SameStep")`.
    """

    def __init__(
        self,
        num_envs: int,
        scenario: ScenarioLike,
        device: torch.device | str = "cpu",
        max_episode_steps: int | None = None,
        first_customer: int = 0,
        reward: str = "realised",
        stagger: bool = False,
        compiled: bool = False,
        shared: bool = False,
    ) -> None:
        """Set up the rows; the customers come with `reset`.

        Args:
            num_envs: rows N.
            scenario: a `Scenario`, the name of one of the canon, a YAML file, or a plain dict.
            device: of all tensors.
            max_episode_steps: days of an episode; the scenario's horizon by default.
            first_customer: number of row 0's first customer, so that a population can be split into shards.
            reward: `realised` orders, or their `expected` value given state and action.
            stagger: let first episodes end at different times, so that rows are spread over all days of a life.
            compiled: see `TensorCohort`.
            shared: let a `Cohort` of arrays live the days, whose memory the tensors share: the fastest on a CPU.

        Raises:
            ScenarioError: unknown scenario, or numbers that cannot be.
            ValueError: any other argument out of range.
        """
        self.scenario = get(scenario)
        self.num_envs = whole_number("num_envs", num_envs, 1)
        horizon = self.scenario.horizon if max_episode_steps is None else max_episode_steps
        self._horizon = whole_number("max_episode_steps", horizon, 1)
        self._first_customer = whole_number("first_customer", first_customer, 0)
        self._reward_field = reward_field(reward)
        self.device = torch.device(device)
        self._stagger, self._compiled = stagger, compiled
        self.features = observation.layout(self.scenario)
        if shared and self.device.type != "cpu":
            raise ValueError(f"shared: True with device {self.device}, expected a CPU")
        self._shared = shared
        self._cohort: TensorCohort | SharedCohort | None = None
        self._limit = torch.zeros(0, dtype=torch.int64)

    @property
    def cohort(self) -> TensorCohort | SharedCohort:
        """The customers themselves.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
        """
        if self._cohort is None:
            raise gym.error.ResetNeeded("call reset() before using the environment")
        return self._cohort

    def reset(self, seed: int) -> Tensor:
        """Start the population of `seed` at `first_customer`: observations (N, D).

        Raises:
            ValueError: a seed that cannot be.
        """
        customers = self._first_customer + np.arange(self.num_envs, dtype=np.int64)
        seeds = np.full(self.num_envs, one_seed(seed, lambda: 0), np.uint64)
        if self._shared:
            self._cohort = SharedCohort(self.scenario, seeds, customers)
        else:
            self._cohort = TensorCohort(self.scenario, seeds, customers, self.device, self._compiled)
        limits = first_limits(customers, self._horizon, self._stagger)
        self._limit = torch.from_numpy(limits).to(self.device)
        return self._cohort.observe()

    @torch.no_grad()
    def step(self, action: Tensor) -> TensorStep:
        """Live one day under `action` (N,) int64 in 0..A-1 on the device, which is not checked.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
        """
        cohort = self.cohort
        outcome = cohort.step(action)
        truncated = (cohort.day >= self._limit) & ~outcome.churned
        rows = (outcome.churned | truncated).nonzero().squeeze(1)
        seen = cohort.observe()
        final = seen[rows]
        if len(rows):
            cohort.replace(rows)
            self._limit[rows] = self._horizon
            seen[rows] = cohort.observe(rows)
        reward = getattr(outcome, self._reward_field)
        return TensorStep(seen, reward, outcome.churned, truncated, rows, final, outcome)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """The whole population as arrays on the host: customers, their state, their log and their clocks."""
        return self.cohort.snapshot() | {"limit": self._limit.cpu().numpy().copy()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot` as if nothing had happened in between.

        Raises:
            gymnasium.error.ResetNeeded: before the first `reset`.
            KeyError, ValueError: an array is missing or of another shape.
        """
        self.cohort.restore(arrays)
        limit = torch.from_numpy(arrays["limit"].copy())
        if limit.shape != self._limit.shape or limit.dtype != self._limit.dtype:
            found, expected = (f"{each.dtype}{tuple(each.shape)}" for each in (limit, self._limit))
            raise ValueError(f"limit: {found}, expected {expected}")
        self._limit = limit.to(self.device)

    def action_masks(self) -> Tensor:
        """(N, A) bool, True where the action is legal today."""
        return self.cohort.legal_actions()
