"""The page on how fast PPO learns, from figures that have been measured; it measures nothing itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TEXT = """# How fast PPO learns

Written by `python -m scripts.time_to_score ... --page`. What counts is seconds to a score, not steps a second: the clock
runs while PPO learns and stands still while it is judged, twenty times a training, on {customers:,} customers who are neither
trained on nor held out. {threads} of PyTorch; {steps:,} customer-days a training, whose learning rate falls to zero at its
end. On {processor}; {load}.

- **tensors**: customers, rollouts and updates are tensors on one device, gradients are written out by hand
  (`agents/tensor_ppo.py`, `agents/gradients.py`). The default.
- **stable_baselines3**: the library's PPO with batched rollouts (`agents/algorithms.py`), same network, same settings.

*Reached* is the first of the twenty moments that is at or above the mark and not below it at the next: what the tuned cap
is worth on the same customers, and half of the attainable line. All money over silence a customer, in three years.

{table}

![Money over silence against seconds of learning]({picture})
"""


def rows(found: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Names of columns and the rows of a table, one a training."""
    names = ["scenario", "learner", "k steps/s", "cap", "reached, s", "half the line", "reached, s", "at the end", "s"]
    table = []
    for each in found:
        last, half = each["moments"][-1], each["marks"]["half_of_line"]
        cells = [
            f"{each['steps_a_second'] / 1e3:.0f}",
            f"{each['marks']['cap']:+.1f}",
            _seconds(each["seconds_to_cap"]),
            "" if half is None else f"{half:+.1f}",
            "" if half is None else _seconds(each["seconds_to_half_of_line"]),
            f"{last['over_silence']:+.1f} ±{last['error']:.1f}",
            f"{last['seconds']:.1f}",
        ]
        table.append([each["scenario"], each["learner"], *cells])
    return names, table


def page(found: Sequence[dict[str, Any]], machine: dict[str, str], customers: int, picture: str) -> str:
    """The page as Markdown."""
    names, table = rows(found)
    lines = [names, ["---", "---", *["---:"] * (len(names) - 2)], *table]
    threads = found[0]["threads"]
    return _TEXT.format(
        customers=customers,
        threads="One thread" if threads == 1 else f"{threads} threads",
        steps=found[0]["moments"][-1]["steps"],
        processor=machine["processor"],
        load=machine["load"],
        table="\n".join("| " + " | ".join(cells) + " |" for cells in lines),
        picture=picture,
    )


def draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Money over silence against seconds, a panel a scenario, as a PNG at `path`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    worlds = list(dict.fromkeys(each["scenario"] for each in found))
    learners = list(dict.fromkeys(each["learner"] for each in found))
    columns = min(4, len(worlds))
    lines = -(-len(worlds) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(2.6 * columns + 0.6, 2.3 * lines + 0.5), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(worlds) :]:
        axes.axis("off")
    for axes, world in zip(grid.flat, worlds, strict=False):
        for each in (one for one in found if one["scenario"] == world):
            colour = f"C{learners.index(each['learner'])}"
            times = [moment["seconds"] for moment in each["moments"]]
            axes.plot(
                times, [moment["over_silence"] for moment in each["moments"]], color=colour, label=each["learner"]
            )
        marks = next(one["marks"] for one in found if one["scenario"] == world)
        axes.axhline(marks["cap"], color="grey", linestyle="--", linewidth=1, label="tuned cap")
        if marks["half_of_line"] is not None:
            axes.axhline(marks["half_of_line"], color="grey", linestyle=":", linewidth=1, label="half the line")
        axes.set_title(world, fontsize="small")
        axes.grid(alpha=0.3)
    grid[0][0].legend(fontsize="x-small")
    figure.supxlabel("seconds of learning", fontsize="small")
    figure.supylabel("money over silence", fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _seconds(found: float | None) -> str:
    return "not" if found is None else f"{found:.1f}"
