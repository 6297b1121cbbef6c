"""A policy that was learned in an estimated world, serving the customers of another: it sees them as its own world would.

What a firm has to do before it can use such a policy: turn covariates into the world's hints, and measure order values
against the world's typical order. This file must never show a policy anything but the firm's own log and covariates.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockenv.observation import layout
from blockenv.policies import Policy
from blockenv.scenarios import Scenario
from calibration.estimation.hints import HintMap


class Deployed:
    """`policy` of the world `home` among the customers of `there`; their channels and messages must agree in order."""

    def __init__(self, policy: Policy, home: Scenario, there: Scenario, hints: HintMap | None = None) -> None:
        """`hints` takes `there`'s hints, named `hint_1` and so on as in a simulated log; None where they are the same.

        Raises:
            ValueError: observations differ in something else than hints, or hints are unknown.
        """
        self._policy, self._hints = policy, hints
        own, theirs = (layout(world.model_copy(update={"observe": "log"})) for world in (home, there))
        for name, place in own.items():
            if place != theirs[name] and not (name == "hints" and hints is not None):
                raise ValueError(
                    f"{name}: columns {place.start}..{place.stop} in {home.name}, {theirs[name].start}.."
                    f"{theirs[name].stop} in {there.name}; expected the same, or for hints a map beside the estimate"
                )
        self._before, self._value = own["hints"].start, own["order_value"].start
        self._typical = there.commerce.order_value / home.commerce.order_value
        known = [f"hint_{number}" for number, _ in enumerate(there.segments, start=1)]
        unknown = sorted(set(hints.covariates) - set(known)) if hints is not None else []
        if unknown:
            raise ValueError(f"covariates: {', '.join(unknown)} not among {', '.join(known)} of {there.name}")
        self._columns = [self._before + known.index(name) for name in hints.covariates] if hints is not None else []

    def act(
        self, observation: NDArray[np.floating[Any]], action_mask: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.integer[Any]]:
        """As the policy would at home."""
        return self._policy.act(self.seen(observation), action_mask, rng)

    def seen(self, observation: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """(N, D) what the policy is shown."""
        found = observation.copy()
        if self._hints is not None:
            hints = self._hints.hints(observation[:, self._columns]).astype(observation.dtype)
            found = np.concatenate([observation[:, : self._before], hints], axis=1)
        # v / (v + r) with the r of home; exactly 1/2 stands for no orders in either world.
        share = found[:, self._value]
        moved = share * self._typical / (share * self._typical + 1.0 - share)
        found[:, self._value] = np.where(share == 0.5, share, moved)
        return found
