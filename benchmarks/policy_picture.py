"""Draws when a customer should be written to, when a learned policy does, and how that goes with what customers bear.

Never touches the caller's matplotlib state: no pyplot, no style. Colours can be told apart without seeing red or green,
and no message is known by its colour alone.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.policy_map import BestMap, Loads, PlayedMap
from blockenv.scenarios import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), without the yellow, which is too faint on white, and the black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#332288")
MARKERS = "os^DvPX*"
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "+++", "ooo", "---")
BORDER = "#D55E00"
SILENT, UNSEEN = "#F4F4F4", "#D0D0D0"
FEWEST = 5  # visits below which a share says nothing


def picture(
    scenario: Scenario, customer: int, best: BestMap, played: tuple[str, PlayedMap] | None, loads: Loads
) -> bytes:
    """The PNG: the optimum's map, the policy's (its name and counts) if there is one, and the load that is best.

    Raises:
        ImportError: matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 2 if played is None else 3
    figure = Figure(figsize=(5.6 * panels, 5.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes: Sequence[Any] = figure.subplots(1, panels)
    who = f"{scenario.name}, customer {customer} ({best.segment.replace('_', ' ')}, opted in to {', '.join(best.channels)})"
    figure.suptitle(f"{who}, all channels open", fontsize=13)
    widest = _widest(best, None if played is None else played[1])
    _optimum(axes[0], scenario, best, widest)
    if played is not None:
        _played(axes[1], played[0], best, played[1], widest)
    _loads(axes[-1], scenario, loads)
    memory = io.BytesIO()
    middle = "" if played is None else f"; middle: how often {played[0]} sends to clones of the customer"
    text = (
        f"{who}. Left: where over fatigue and bond a message is best, by exact planning{middle}; right: the best "
        f"messages a week against the ideal load of {len(loads.segment)} customers."
    )
    figure.savefig(memory, format="png", metadata={"Description": text})
    return memory.getvalue()


def classes(scenario: Scenario, best: BestMap) -> dict[str, list[int]]:
    """The messages that the optimum sends, by channel and style, each class with its actions."""
    found: dict[str, list[int]] = {}
    for action in np.unique(best.action[best.action > 0]).tolist():
        channel, _, style, _ = scenario.message_name(action).split("/")
        found.setdefault(f"{channel}, {style}" if len(scenario.styles) > 1 else channel, []).append(action)
    return found


def _optimum(axes: "Axes", scenario: Scenario, best: BestMap, widest: float) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    fatigue, bond = _edges(best.fatigue), _edges(best.bond)
    axes.set_facecolor(SILENT)
    patches = [Patch(facecolor=SILENT, edgecolor="black", label="silence")]
    for number, (name, actions) in enumerate(classes(scenario, best).items()):
        colour, hatch = COLOURS[number % len(COLOURS)], HATCHES[number % len(HATCHES)]
        own = np.isin(best.action, actions).T
        size = fatigue[1] - fatigue[0], bond[1] - bond[0]
        cells = [Rectangle((fatigue[column], bond[row]), *size) for row, column in np.argwhere(own)]
        axes.add_collection(
            PatchCollection(cells, facecolor=colour, edgecolor="#00000080", hatch=hatch or None, linewidth=0)
        )
        patches.append(Patch(facecolor=colour, edgecolor="black", hatch=hatch, label=f"send: {name}"))
    _dressed(axes, best, widest, "What is best (full information)")
    axes.legend(handles=patches, loc="upper right", fontsize=10, framealpha=0.95)


def _played(axes: "Axes", name: str, best: BestMap, played: PlayedMap, widest: float) -> None:
    from matplotlib.collections import LineCollection

    fatigue, bond = _edges(best.fatigue), _edges(best.bond)
    seen = played.visits >= FEWEST
    share = np.where(seen, played.sends / np.maximum(played.visits, 1), np.nan)
    axes.set_facecolor(UNSEEN)
    mesh = axes.pcolormesh(fatigue, bond, share.T, cmap="viridis", vmin=0, vmax=1)
    axes.figure.colorbar(mesh, ax=axes, label="share of mornings with a message", pad=0.02)
    borders = _borders(best)
    for colour, width in (("white", 4.0), (BORDER, 2.0)):
        axes.add_collection(LineCollection(borders, colors=colour, linewidths=width, capstyle="projecting"))
    _dressed(axes, best, widest, f"What {name} does to clones")
    note = f"grey: fewer than {FEWEST} visits; orange: where the optimum's sending ends"
    axes.text(0.5, -0.15, note, transform=axes.transAxes, ha="center", va="top", fontsize=9)


def _loads(axes: "Axes", scenario: Scenario, loads: Loads) -> None:
    for number, segment in enumerate(scenario.segments):
        own = loads.segment == number
        if own.any():
            axes.scatter(
                loads.ideal_load[own],
                loads.messages_a_week[own],
                s=38,
                marker=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
                edgecolor="white",
                linewidth=0.5,
                label=segment.name.replace("_", " "),
            )
    axes.set_xscale("log")
    axes.set_xlabel("ideal load of the customer, fatigue units", fontsize=11)
    axes.set_ylabel("best messages a week, first year", fontsize=11)
    axes.set_ylim(-0.2, 7.2)
    axes.set_title(f"How often is best: {len(loads.segment)} customers", fontsize=12)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=10, framealpha=0.95)
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _dressed(axes: "Axes", best: BestMap, widest: float, title: str) -> None:
    fatigue, bond = _edges(best.fatigue), _edges(best.bond)
    axes.set_xlim(fatigue[0], widest)
    axes.set_ylim(bond[0], bond[-1])
    if best.ideal_load <= widest:
        for colour, width in (("white", 4.0), ("black", 1.8)):
            axes.axvline(best.ideal_load, color=colour, linewidth=width, linestyle="--" if width < 2 else "-")
        axes.annotate(
            "ideal load",
            (best.ideal_load, bond[0]),
            xytext=(5, 6),
            textcoords="offset points",
            fontsize=10,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        )
    axes.set_xlabel("fatigue in the morning", fontsize=11)
    axes.set_ylabel("bond in the morning", fontsize=11)
    axes.set_title(title, fontsize=12)


def _widest(best: BestMap, played: PlayedMap | None) -> float:
    """Where the axis of fatigue ends: a little beyond what matters."""
    matters = (best.action > 0).any(axis=1)
    if played is not None:
        matters = matters | (played.visits >= FEWEST).any(axis=1)
    last = int(np.flatnonzero(matters).max(initial=0)) + 3
    edges = _edges(best.fatigue)
    enough = int(np.searchsorted(edges, 1.5 * best.ideal_load))
    return float(edges[min(max(last, enough, 5), len(edges) - 1)])


def _borders(best: BestMap) -> list[list[tuple[float, float]]]:
    """The lines between cells in which the optimum sends and those in which it does not."""
    fatigue, bond, sends = _edges(best.fatigue), _edges(best.bond), best.action > 0
    lines = []
    for column, row in np.argwhere(sends[1:] != sends[:-1]):
        lines.append([(fatigue[column + 1], bond[row]), (fatigue[column + 1], bond[row + 1])])
    for column, row in np.argwhere(sends[:, 1:] != sends[:, :-1]):
        lines.append([(fatigue[column], bond[row + 1]), (fatigue[column + 1], bond[row + 1])])
    return lines


def _edges(levels: Any) -> Any:
    """The borders between cells around levels that are equally far apart."""
    step = levels[1] - levels[0]
    return np.append(levels - step / 2, levels[-1] + step / 2)
