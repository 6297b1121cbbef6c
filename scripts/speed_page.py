"""Writes the figures of `scripts.speed` as a page of Markdown with a plot; it measures nothing."""

from pathlib import Path

from blockenv.arrivals import FEW_ROWS
from scripts.speed_measures import BARE, CART_POLE, COMPILED, NUMPY, REFILLED, SHARD, Growth, Memory
from scripts.stopwatch import Rate

HUNDRED_MILLION = 10**8
_WHAT_RUNS = """## What runs

The equations are written once, in `blockenv.dynamics`, `history` and `observation`.

- **NumPy** is what every machine runs, and the reference.
- **Compiled**: the same functions are called once with arrays that write down what is done to them, and the record
  is compiled by the machine's own C compiler (`blockenv.compiled`). It takes over by itself after some seconds of
  NumPy, or at once where it was compiled before, if it gives the same bits as NumPy on a sample; nothing changes but
  the speed. `PopulationEnv(..., compiled_code=False)` keeps to NumPy.
- **Tensors**: the same functions on PyTorch tensors of any device (`blockenv.envs.tensor_population`). The luck is the
  same to the bit; real numbers agree to the rounding of single precision, so that an event may fall otherwise where a
  uniform lies within that rounding of a probability: none did in two million customer-days on a CPU."""


def page(
    world: str,
    machine: dict[str, str],
    rates: dict[int, dict[str, Rate]],
    processes: dict[int, float],
    shares: dict[str, dict[str, float]],
    shares_customers: int,
    memory: Memory,
    growth: list[Growth],
    planning: dict[str, dict[str, float]],
    training: dict[str, float],
    training_shares: dict[str, dict[str, float]],
    picture: str,
) -> str:
    """The page, from what `speed_measures` and `speed_agents` found; `picture` is where the plot lies, seen from the page."""
    parts = [
        "# Speed\n\nWritten by `python -m scripts.speed --page docs/speed.md`; numbers are of one run on one machine, "
        "and only ratios carry over.\n"
        "A second is one of processor time of one core unless said otherwise. "
        "Things of a table took turns, so that other work hit all alike.",
        "\n".join(f"- {name}: {text}" for name, text in machine.items()),
        _WHAT_RUNS,
        f"## Customers\n\nMillions of customer-days a second on {world} with random actions; in brackets, of "
        f"Gymnasium's vector CartPole of as many rows in the same turns. Medians.\n\n{_rates(rates)}\n\n"
        f"![Customer-days a second by number of customers]({picture})",
        _overhead(rates),
        f"## Processes\n\nCustomer-days a second on the wall, each process with {shares_customers:,} customers of its "
        f"own.\n\n"
        + _table(["processes", "M days/s"], [[str(count), _millions(rate)] for count, rate in processes.items()]),
        f"## Where a step goes\n\nNanoseconds a customer-day with {shares_customers:,} customers, and shares of the "
        f"step.\n\n{_shares(shares)}",
        f"## Memory\n\nBytes a customer: {_memory(memory)}.",
        f"## Growth\n\nPopulations in shards of at most {SHARD:,} customers, observations included; memory is that of "
        f"the whole process and does not grow with the population. 100 million are extrapolated from the largest.\n\n"
        f"{_growth(growth)}",
    ]
    if training:
        rows = [[name, f"{rate / 1e3:.1f}"] for name, rate in training.items()]
        parts.append(
            "## Training\n\nThousands of steps a second, end to end, with one thread; [training.md](training.md) has "
            f"seconds to a score.\n\n{_table(['learner', 'k steps/s'], rows)}\n\n"
            f"Nanoseconds of a training step, and shares of it.\n\n{_shares(training_shares, 'learner')}"
        )
    if planning:
        rows = [[name, *(f"{rate:,.1f}" for rate in found.values())] for name, found in planning.items()]
        parts.append(
            "## Planning\n\nCustomers a second for whom every day of a year is planned exactly, in all states, by "
            "backward induction; a year because the cost grows with its days.\n\n"
            + _table(["scenario", *next(iter(planning.values()))], rows)
        )
    return "\n\n".join(parts) + "\n"


def draw(rates: dict[int, dict[str, Rate]], path: Path) -> None:
    """Rates by number of customers, with quartiles, as a PNG at `path`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.0, 4.2), layout="constrained")
    for name in _names(rates):
        sizes = [size for size in rates if name in rates[size]]
        found = [rates[size][name] for size in sizes]
        axes.plot(sizes, [each.median for each in found], marker="o", markersize=3, label=name)
        axes.fill_between(sizes, [each.low for each in found], [each.high for each in found], alpha=0.15)
    axes.set(xscale="log", yscale="log", xlabel="customers", ylabel="customer-days a second")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _names(rates: dict[int, dict[str, Rate]]) -> list[str]:
    return list(dict.fromkeys(name for found in rates.values() for name in found))


def _rates(rates: dict[int, dict[str, Rate]]) -> str:
    rows = []
    for size, found in rates.items():
        cells = [
            f"{_millions(found[name].median)} ({found[name].median / found[CART_POLE].median:.2f})"
            if name in found
            else "-"
            for name in _names(rates)
        ]
        rows.append([f"{size:,}", *cells])
    return _table(["customers", *_names(rates)], rows)


def _overhead(rates: dict[int, dict[str, Rate]]) -> str:
    rows = [
        [f"{size:,}", _added(found, BARE), _added(found, REFILLED), _times(found)]
        for size, found in rates.items()
        if BARE in found
    ]
    text = (
        "What the environment adds to luck, dynamics, log, observations and masks (newcomers, info, checks), what of "
        "that is left where newcomers count with the customers, and how many times faster compiled code is than NumPy."
        "\n\n"
    )
    return text + _table(["customers", "added", "but for newcomers", "compiled against NumPy"], rows) if rows else ""


def _added(found: dict[str, Rate], without: str) -> str:
    return f"{found[without].median / found[COMPILED].median - 1:.0%}"


def _times(found: dict[str, Rate]) -> str:
    return f"{found[COMPILED].median / found[NUMPY].median:.1f}"


def _shares(shares: dict[str, dict[str, float]], kinds: str = "code") -> str:
    rows = [
        [kind, name, f"{value:.0f}", f"{value / sum(found.values()):.0%}"]
        for kind, found in shares.items()
        for name, value in found.items()
    ]
    return _table([kinds, "part", "ns", "share"], rows)


def _memory(memory: Memory) -> str:
    words = {
        "traits": memory.traits,
        "state and address": memory.state,
        "log": memory.log,
        f"newcomers drawn ahead (only where rows are refilled, and half of it above {FEW_ROWS:,} rows)": memory.ahead,
        "what a step returns": memory.shown,
    }
    return "; ".join(f"{name} {value:,.0f}" for name, value in words.items())


def _growth(growth: list[Growth]) -> str:
    last = growth[-1]
    factor = HUNDRED_MILLION / last.customers
    rows = [_growth_row(each, "") for each in growth]
    rows.append(
        _growth_row(Growth(HUNDRED_MILLION, last.drawing * factor, last.days * factor, last.peak), " (extrap.)")
    )
    return _table(["customers", "drawing, s", "a day, s", "a year, hours", "process, GB"], rows)


def _growth_row(each: Growth, note: str) -> list[str]:
    year = each.days * 364 / 3600
    cells = [f"{each.drawing:,.2f}", f"{each.days:,.3f}", f"{year:,.2f}", f"{each.peak / 1e9:.2f}"]
    return [f"{each.customers:,}{note}", *cells]


def _millions(rate: float) -> str:
    return f"{rate / 1e6:.3g}"


def _table(names: list[str], rows: list[list[str]]) -> str:
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
