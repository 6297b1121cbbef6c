"""Customers as PyTorch tensors on one device: the same equations and the same luck, where a learner's tensors are.

Newcomers are drawn on the host in large numbers; nothing else of a day leaves the device but the numbers of the rows
that are refilled. Only this module and `envs.tensor_population` know PyTorch, and nothing imports them unasked.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from blockenv import dynamics, history, noise, observation, population, snapshots
from blockenv.arrivals import CUSTOMERS_FIRST, GENERATION, Arrivals, Queues, arrive, pick
from blockenv.cohort import Cohort
from blockenv.dynamics import Outcome, State, Traits
from blockenv.history import History
from blockenv.scenarios.schema import Scenario

R = TypeVar("R")
Tensor = torch.Tensor

# The constants of `noise` as signed numbers: PyTorch has no unsigned 64-bit arithmetic, and wrapping is the same.
_WEYL, _FACTOR_1, _FACTOR_2 = (int(np.uint64(each).astype(np.int64)) for each in noise.CONSTANTS)


def luck(key: Tensor, day: Tensor, channels: int) -> noise.Noise:
    """The uniforms of one day, bit for bit those of `noise.luck`.

    Args:
        key: (N,) int64, the bits of `noise.address(seed, LUCK, customer)`.
        day: (N,) int64, each customer's own day.
        channels: C.

    Returns:
        Noise of (N,) float32 tensors and one (C, N) tensor on the same device.
    """
    count = (len(noise.SCALARS) + channels + 1) // 2
    steps = torch.arange(1, count + 1, dtype=torch.int64, device=key.device)
    word = _mixed(_mixed(key + (day + 1) * _WEYL) + (steps * _WEYL)[:, None])
    halves = torch.stack([(word >> 8) & 0xFFFFFF, (word >> 40) & 0xFFFFFF], dim=1)
    rows = (halves.to(torch.float32) * 2.0**-24).reshape(2 * count, -1)
    scalars = len(noise.SCALARS)
    return noise.Noise(*rows[:scalars].unbind(), rows[scalars : scalars + channels])  # type: ignore[arg-type, call-arg]


def _mixed(word: Tensor) -> Tensor:
    """SplitMix64's finaliser; a shift of signed numbers drags the sign along, which is masked away."""
    word = (word ^ ((word >> 30) & (2**34 - 1))) * _FACTOR_1
    word = (word ^ ((word >> 27) & (2**37 - 1))) * _FACTOR_2
    return word ^ ((word >> 31) & (2**33 - 1))


class TensorCohort:
    """N rows, each serving one customer at a time: a `Cohort` whose arrays are tensors on `device`.

    The same customers with the same luck; real numbers agree with NumPy's to the rounding of single precision, and
    events wherever no uniform falls between two roundings of a probability.

    Attributes (the cohort's own, overwritten by `replace`: copy what you keep):
        customer: (N,) int64 numbers of the customers now in the rows, on the host.
        traits, state, log: see `dynamics.Traits`, `dynamics.State`, `history.History`.
    """

    traits: Traits
    state: State
    log: History

    def __init__(
        self,
        scenario: Scenario,
        seed: NDArray[np.uint64],
        customer: NDArray[np.int64],
        device: torch.device | str = "cpu",
        compiled: bool = False,
    ) -> None:
        """Draw the customers `customer` (N,) that belong to `seed` (N,), and bring them to `device`.

        With `compiled` a day and what is seen of it go through `torch.compile`, which takes a minute at the first
        step and needs a C++ compiler, and for a GPU Triton.
        """
        self.scenario = scenario
        self.device = torch.device(device)
        rules, ledger = population.rules(scenario), history.ledger(scenario)
        self.rules, self._host_ledger = self._moved(rules), ledger
        self._ledger, self._view = self._moved(ledger), self._moved(observation.view(scenario))
        self.customer = np.array(customer, np.int64)
        self._seed = np.array(seed, np.uint64)
        self._row = torch.arange(len(customer), device=self.device)
        self._segments = torch.arange(len(scenario.segments), device=self.device)[:, None]
        arrivals = self._arrivals(self._seed, self.customer)
        self.traits, self.state = self._moved(arrivals[0]), self._moved(arrivals[1])
        self.log = self._moved(arrivals[2])
        self._key = torch.from_numpy(arrivals[3].view(np.int64)).to(self.device)
        self._queues: Queues | None = None
        wrapped: Callable[[Any], Any] = torch.compile if compiled else lambda function: function
        self._live, self._see = wrapped(self._day), wrapped(self._seen)

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def day(self) -> Tensor:
        """(N,) int64, each customer's own."""
        days: Tensor = self.log.day
        return days

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that `restore` needs, as arrays on the host."""
        records = (_on_host(self.traits), _on_host(self.state), _on_host(self.log))
        return snapshots.taken(records, self._seed, self.customer)

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot` of a cohort of the same size and scenario.

        Raises:
            KeyError, ValueError: an array is missing or of another shape.
        """
        records = (_on_host(self.traits), _on_host(self.state), _on_host(self.log))
        traits, state, log = snapshots.put_back(arrays, records)
        self.traits, self.state, self.log = self._moved(traits), self._moved(state), self._moved(log)
        self._seed, self.customer = arrays["seed"].copy(), arrays["customer"].copy()
        key = noise.address(self._seed, noise.LUCK, self.customer)
        self._key, self._queues = torch.from_numpy(key.view(np.int64)).to(self.device), None

    @torch.no_grad()
    def step(self, action: Tensor) -> Outcome:
        """Live one day under `action` (N,) int64 in 0..A-1, on the device."""
        outcome: Outcome
        self.state, self.log, outcome = self._live(self.traits, self.state, self.log, self._key, action)
        return outcome

    @torch.no_grad()
    def replace(self, rows: Tensor) -> None:
        """Put the next customer of its queue into each of `rows` (M,) int64 on the device, in place."""
        if self._queues is None:
            self._queues = Queues(self._arrivals, self._seed, self.customer)
        index = rows.cpu().numpy()
        places = self._queues.next_of(index)
        traits, state, log, key = self._queues.waiting
        arrived: tuple[tuple[Any, Any], ...] = (
            (self.traits, pick(traits, places)),
            (self.state, pick(state, places)),
            (self.log, pick(log, places)),
        )
        for mine, theirs in arrived:
            for name, values in self._sent(theirs).items():
                if name in CUSTOMERS_FIRST:
                    getattr(mine, name)[rows] = values
                else:
                    getattr(mine, name)[..., rows] = values
        self._key[rows] = torch.from_numpy(key[places].view(np.int64)).to(self.device)
        self.customer[index] += GENERATION

    @torch.no_grad()
    def observe(self, rows: Tensor | None = None) -> Tensor:
        """What the sender sees this morning of everybody, or of `rows` (M,) int64: (N or M, D)."""
        if rows is None:
            everybody: Tensor = self._see(self.traits, self.state, self.log)
            return everybody
        return self._seen(pick(self.traits, rows), pick(self.state, rows), pick(self.log, rows))

    @torch.no_grad()
    def legal_actions(self) -> Tensor:
        """(N, A) bool, a new tensor."""
        legal: Tensor = observation.legal_actions(self.rules, self.log.known_reachable)
        return legal

    def _day(self, traits: Traits, state: State, log: History, key: Tensor, action: Tensor) -> Any:
        chance = luck(key, log.day, len(self.scenario.channels))
        state, outcome = dynamics.step(self.rules, traits, state, log.day, action, chance, self._row)
        return state, history.update(self._ledger, log, action, outcome), outcome

    def _seen(self, traits: Traits, state: State, log: History) -> Tensor:
        full = self.scenario.observe == "full"
        seen: Tensor = observation.observe_all(self.rules, self._view, log, state, traits, self._segments, full)
        return seen

    def _arrivals(self, seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> Arrivals:
        return arrive(self.scenario, self._host_ledger, seed, customer)

    def _moved(self, record: R) -> R:
        """A record whose arrays are tensors on the device; plain numbers stay what they are."""
        fields = {
            name: torch.from_numpy(np.array(values)).to(self.device)
            for name, values in record._asdict().items()  # type: ignore[attr-defined]
            if isinstance(values, np.ndarray)
        }
        moved: R = record._replace(**fields)  # type: ignore[attr-defined]
        return moved

    def _sent(self, record: Any) -> dict[str, Tensor]:
        """The arrays of M customers on the device, in one transfer for each type."""
        kinds: dict[np.dtype[Any], list[str]] = {}
        for name, values in record._asdict().items():
            kinds.setdefault(values.dtype, []).append(name)
        found: dict[str, Tensor] = {}
        for names in kinds.values():
            tables = [getattr(record, name) for name in names]
            rows = [
                table.T if name in CUSTOMERS_FIRST else np.atleast_2d(table)
                for name, table in zip(names, tables, strict=True)
            ]
            together = torch.from_numpy(np.concatenate(rows)).to(self.device)
            pieces = torch.split(together, [len(each) for each in rows])
            for name, table, piece in zip(names, tables, pieces, strict=True):
                found[name] = piece.T if name in CUSTOMERS_FIRST else piece.reshape(table.shape)
        return found


class SharedCohort:
    """A `Cohort` that is served as a `TensorCohort` is: its arrays are handed out as tensors of the same memory.

    On a processor its compiled functions are many times faster than tensor operations one after another.
    """

    def __init__(self, scenario: Scenario, seed: NDArray[np.uint64], customer: NDArray[np.int64]) -> None:
        """Draw the customers `customer` (N,) that belong to `seed` (N,)."""
        self._cohort = Cohort(scenario, seed, customer)
        self._cohort.expect_many_days()

    def __len__(self) -> int:
        return len(self._cohort)

    @property
    def customer(self) -> NDArray[np.int64]:
        """(N,) numbers of the customers now in the rows."""
        return self._cohort.customer

    @property
    def day(self) -> Tensor:
        """(N,) int64, each customer's own."""
        return torch.from_numpy(self._cohort.log.day)

    def step(self, action: Tensor) -> Outcome:
        """Live one day under `action` (N,) int64 in 0..A-1."""
        return Outcome(*map(_shared, self._cohort.step(action.numpy())))

    def replace(self, rows: Tensor) -> None:
        """Put the next customer of its queue into each of `rows` (M,) int64, in place."""
        self._cohort.replace(self._mask(rows))

    def observe(self, rows: Tensor | None = None) -> Tensor:
        """What the sender sees this morning of everybody, or of `rows` (M,) int64 ascending: (N or M, D), a new tensor."""
        return torch.from_numpy(self._cohort.observe(None if rows is None else self._mask(rows)))

    def legal_actions(self) -> Tensor:
        """(N, A) bool, a new tensor."""
        return torch.from_numpy(self._cohort.copy_of_legal_actions())

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that `restore` needs, as arrays."""
        return self._cohort.snapshot()

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from a `snapshot`; see `Cohort.restore`."""
        self._cohort.restore(arrays)

    def _mask(self, rows: Tensor) -> NDArray[np.bool_]:
        mask = np.zeros(len(self), bool)
        mask[rows.numpy()] = True
        return mask


def _on_host(record: R) -> R:
    """A record whose tensors are arrays."""
    arrays = {
        name: values.cpu().numpy() if isinstance(values, Tensor) else values
        for name, values in record._asdict().items()  # type: ignore[attr-defined]
    }
    host: R = record._replace(**arrays)  # type: ignore[attr-defined]
    return host


def _shared(values: NDArray[Any]) -> Tensor:
    """A tensor of the same memory, or of a copy of an array that may not be written to."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())
