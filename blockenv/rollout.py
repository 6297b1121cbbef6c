"""Play a policy on a population and measure what it is worth: the one evaluation loop of the whole project.

Every policy meets the same customers with the same luck, so results are paired customer by customer. A customer who
leaves is not replaced. Never trains, and never shows a policy more than its observation unless it asks by name.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blockenv import noise
from blockenv.cohort import Cohort
from blockenv.policies import Placed, Policy, Student, greeting
from blockenv.scenarios import ScenarioLike, get

EVALUATION_SEED = 2**40  # populations of evaluation; training seeds are smaller, so the two never meet
_YEAR = 364
_COMPACT_EVERY = 28


class Result(NamedTuple):
    """What became of N customers in D days under one policy."""

    value: NDArray[np.float64]  # (N,) discounted expected margin net of discounts and costs, money
    realised: NDArray[np.float64]  # (N,) the same with orders as they fell
    segment: NDArray[np.int32]  # (N,)
    days: NDArray[np.int64]  # (N,) days alive
    messages: NDArray[np.int64]  # (N,) attempts
    blocks: NDArray[np.int64]  # (N,) channels blocked
    orders: NDArray[np.int64]  # (N,)
    cost: NDArray[np.float64]  # (N,) money, undiscounted, messages and discounts
    relevant: NDArray[np.int64]  # (N,) opened messages of relevance above 1/2: contacts the customer wanted
    overloaded: NDArray[np.int64]  # (N,) messages beyond the ideal load
    reach_after_year: NDArray[np.bool_]  # (C, N) open at day 364 (or the last day) and alive
    opted_in: NDArray[np.bool_]  # (C, N) open on the first day
    daily_value: NDArray[np.float64]  # (D,) undiscounted expected reward a customer
    daily_messages: NDArray[np.float64]  # (D,) messages a customer
    daily_blocks: NDArray[np.float64]  # (D,) blocks a customer
    daily_alive: NDArray[np.float64]  # (D,) share alive in the morning
    daily_reach: NDArray[np.float64]  # (D, C) share with the channel open in the morning, among all


def play(
    policy: Policy,
    scenario: ScenarioLike,
    seed: int = EVALUATION_SEED,
    customers: int | NDArray[np.int64] = 4096,
    *,
    days: int | None = None,
    first_customer: int = 0,
    batch: int = 4096,
    compact: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Serve `customers` for `days` under `policy`.

    Args:
        policy: see `Policy`; one that also has `meet` is shown the cohort itself, one that has `recognise` is told the
            customers' numbers, one that has `keep_rows` which rows are kept, one that has `hear` how the day went.
        scenario: a scenario, its name, or a file.
        seed: of the population and its luck, 0..2^63-1.
        customers: how many, numbered from `first_customer` on; or the numbers themselves, (N,) int64.
        days: the scenario's evaluation window by default.
        batch: customers at a time; results do not depend on it, unless the policy flips coins.
        compact: leave the dead out of the batch from time to time; who must not notice that they are gone says False.
        progress: called with the number of customer-days just finished.

    Raises:
        ValueError: a count below one, or actions of wrong shape, type or range.
    """
    world = get(scenario)
    days = world.evaluation_days if days is None else days
    for name, number, least in (
        ("seed", seed, 0),
        ("first_customer", first_customer, 0),
        ("days", days, 1),
        ("batch", batch, 1),
    ):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or not least <= number < 2**63:
            raise ValueError(f"{name}: {number!r}, expected a whole number from {least} to 2^63-1")
    everybody = (
        first_customer + np.arange(customers) if isinstance(customers, int | np.integer) else np.asarray(customers)
    )
    if everybody.ndim != 1 or len(everybody) == 0 or not np.issubdtype(everybody.dtype, np.integer):
        raise ValueError(f"customers: {customers!r}, expected a number of at least 1 or the customers' own numbers")
    parts = []
    for start in range(0, len(everybody), batch):
        numbers = everybody[start : start + batch].astype(np.int64)
        cohort = Cohort(world, np.full(len(numbers), seed, np.uint64), numbers)
        rng = policy_generator(seed, int(numbers[0]))
        parts.append((_play_batch(policy, cohort, days, rng, compact, progress), len(numbers)))
    return _join(parts)


def policy_generator(seed: int, first_customer: int) -> np.random.Generator:
    """The stream a policy flips its coins with when it serves customers from `first_customer` on."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, noise.POLICY], counter=[first_customer, 0, 0, 0]))


def checked_actions(action: Any, rows: int, actions: int) -> NDArray[np.int64]:
    """`action` as (rows,) int64, or a ValueError that names what is wrong with it."""
    array = np.asarray(action)
    if array.shape != (rows,):
        raise ValueError(f"action: shape {array.shape}, expected ({rows},)")
    if array.dtype.kind not in "iu":
        raise ValueError(f"action: dtype {array.dtype}, expected integers")
    # A negative action wraps to a huge unsigned one, so one comparison checks both ends.
    if rows and int(array.astype(np.int64, copy=False).view(np.uint64).max()) >= actions:
        row = int(np.flatnonzero((array < 0) | (array >= actions))[0])
        raise ValueError(f"action[{row}]: {array[row]} is not among 0..{actions - 1}")
    return array.astype(np.int64, copy=False)


def _play_batch(
    policy: Policy,
    cohort: Cohort,
    days: int,
    rng: np.random.Generator,
    compact: bool,
    progress: Callable[[int], None] | None,
) -> Result:
    world, size, channels = cohort.scenario, len(cohort), len(cohort.scenario.channels)
    begin_morning = greeting(policy)
    placed = policy if isinstance(policy, Placed) else None
    student = policy if isinstance(policy, Student) else None
    sums = _Sums(size)
    curves = {name: np.zeros(days) for name in ("value", "messages", "blocks", "alive")}
    reach_curve = np.zeros((days, channels))
    reach = np.zeros((channels, size), bool)
    segment, opted_in = cohort.traits.segment.copy(), cohort.traits.opted_in.copy()
    factor = 1.0
    for day in range(days):
        alive = cohort.state.alive
        if compact and day % _COMPACT_EVERY == 0 and alive.mean() < 0.8:
            cohort.keep(alive)
            sums.keep(alive)
            if placed is not None:
                placed.keep_rows(alive)
            alive = cohort.state.alive
        within_reach = cohort.state.reachable & alive
        if day == min(_YEAR, days - 1):
            reach[:, sums.customer] = within_reach
        if len(cohort) == 0:
            break
        curves["alive"][day] = np.count_nonzero(alive) / size
        reach_curve[day] = [np.count_nonzero(channel) / size for channel in within_reach]
        begin_morning(cohort, cohort.customer)
        seen = cohort.observe()
        action = checked_actions(policy.act(seen, cohort.copy_of_legal_actions(), rng), len(cohort), world.actions)
        known = None if student is None else cohort.log.known_reachable.copy()
        outcome = cohort.step(action)
        if student is not None:
            student.hear(seen, action, outcome.reward, (known & ~cohort.log.known_reachable).sum(axis=0))
        sums.add(
            value=factor * outcome.expected_reward,
            realised=factor * outcome.reward,
            cost=outcome.cost + outcome.discount,
            days=alive,
            messages=outcome.sent,
            blocks=outcome.blocked.sum(axis=0, dtype=np.uint8),
            orders=outcome.ordered,
            relevant=outcome.opened & (outcome.relevance > 0.5),
            overloaded=outcome.delivered & (outcome.overload > 0.0),
        )
        curves["value"][day] = outcome.expected_reward.sum(dtype=np.float64) / size
        curves["messages"][day] = np.count_nonzero(outcome.sent) / size
        curves["blocks"][day] = np.count_nonzero(outcome.blocked) / size
        factor *= world.discount
        if progress is not None:
            progress(size)
    return Result(
        **sums.of_everybody(),
        segment=segment,
        reach_after_year=reach,
        opted_in=opted_in,
        daily_value=curves["value"],
        daily_messages=curves["messages"],
        daily_blocks=curves["blocks"],
        daily_alive=curves["alive"],
        daily_reach=reach_curve,
    )


class _Sums:
    """What a batch adds up over the days, customer by customer.

    Sums are kept in the order of the rows, which is the order they are added in; those of all customers are written
    only when somebody is left out, and at the end.
    """

    _KINDS: ClassVar[dict[str, type]] = dict.fromkeys(("value", "realised", "cost"), np.float64) | dict.fromkeys(
        ("days", "messages", "blocks", "orders", "relevant", "overloaded"), np.int64
    )

    def __init__(self, size: int) -> None:
        self.customer = np.arange(size)  # (N,) place in the batch of the customer in each row
        self._everybody: dict[str, NDArray[Any]] = {name: np.zeros(size, kind) for name, kind in self._KINDS.items()}
        self._rows = self._everybody

    def add(self, **today: NDArray[Any]) -> None:
        """Add what came of each row (N,) today."""
        for name, amount in today.items():
            self._rows[name] += amount

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Go on with `rows` (N,) alone."""
        everybody = self.of_everybody()
        self.customer = self.customer[rows]
        self._rows = {name: sums[self.customer] for name, sums in everybody.items()}

    def of_everybody(self) -> dict[str, Any]:
        """The sums of all customers of the batch so far, by name."""
        if self._rows is not self._everybody:
            for name, sums in self._rows.items():
                self._everybody[name][self.customer] = sums
        return self._everybody


def _join(parts: list[tuple[Result, int]]) -> Result:
    """Customers side by side; daily curves averaged with the number of customers as weight."""
    sizes = np.array([size for _, size in parts], float)
    fields = {}
    for name in Result._fields:
        values = [getattr(part, name) for part, _ in parts]
        if name.startswith("daily_"):
            fields[name] = np.average(values, axis=0, weights=sizes)
        else:
            fields[name] = np.concatenate(values, axis=-1)
    return Result(**fields)
