"""The panels of who the customers are: everybody today, the gain by segment, and fatigue against bond.

Draws what it is given into axes of its caller, and nothing else.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from blockenv.rendering.scene import BETTER, DASHES, INK, NAMED, NEUTRAL, WORSE, Scene, money, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TILES = 4096  # squares drawn at most
_PERCENTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_CAPTION = 0.075  # height of a name in the panel of squares


def mosaic(axes: "Axes", scene: Scene) -> None:
    """Every customer a square, a block for each segment; within it rows keep their order."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    channels, tiles, kind = len(scene.channels), scene.tiles[:_TILES], scene.kind[:_TILES]
    blues = colormaps["Blues"](np.linspace(1.0, 0.3, channels)[::-1])
    colors = ["#F1F1F1", "#C6C6C6", *blues, WORSE]
    columns = min(int(np.ceil(np.sqrt(1.8 * len(tiles)))), len(tiles))
    blocks = [(scene.segments[each], tiles[kind == each]) for each in np.unique(kind)]
    if len(blocks) > NAMED:
        blocks = [("all segments", tiles)]
    lines = [-(-len(block) // columns) for _, block in blocks]
    height = (1.0 - _CAPTION * len(blocks)) / sum(lines)
    top = 1.0
    for (name, block), count in zip(blocks, lines, strict=True):
        axes.text(0, top - 0.55 * _CAPTION, short(name, 30), va="center", fontsize=8.5)
        top -= _CAPTION
        field = np.full(count * columns, np.nan)
        field[: len(block)] = block
        bottom = top - height * count
        axes.imshow(
            field.reshape(count, columns),
            cmap=ListedColormap(colors),
            vmin=-1.5,
            vmax=channels + 1.5,
            interpolation="nearest",
            extent=(0, columns, bottom, top),
            aspect="auto",
        )
        if columns <= 40:
            axes.hlines(np.linspace(bottom, top, count + 1), 0, columns, color="white", linewidth=1.0)
        top = bottom
    if columns <= 40:
        axes.vlines(np.arange(columns + 1), 0, 1, color="white", linewidth=1.0)
    axes.set(xticks=[], yticks=[], xlim=(0, columns), ylim=(0, 1))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    shown = "Every customer" if len(tiles) == len(scene.tiles) else f"{len(tiles):,} of the customers"
    axes.set_title(f"{shown}, today")
    every = 1 if channels <= 5 else 2
    numbers = {f"{number}": colors[1 + number] for number in range(0, channels, every)}
    labels = {"left": colors[0], **numbers, f"{channels} open": colors[-2], "blocked today": colors[-1]}
    axes.legend(
        handles=[Patch(facecolor=c, edgecolor=NEUTRAL, linewidth=0.6, label=label) for label, c in labels.items()],
        loc="upper left",
        bbox_to_anchor=(-0.03, 0.0),
        ncols=len(labels),
        handlelength=0.8,
        columnspacing=0.6,
        handletextpad=0.3,
        fontsize=8,
    )


def segments(axes: "Axes", scene: Scene) -> None:
    """Mean gain of each segment with its 95 % interval, over the range of the middle 80 % of its customers."""
    sizes = np.bincount(scene.segment, minlength=len(scene.segments))
    shown = np.sort(np.argsort(-sizes, kind="stable")[:NAMED])
    reach = [0.0]
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    label: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "center",
        "fontsize": 9,
        "bbox": box,
    }
    for line, number in enumerate(shown):
        gain = scene.gain[scene.segment == number]
        name = short(scene.segments[number], 20)
        axes.text(0.0, line - 0.3, name, ha="left", **label)
        if len(gain) == 0:
            note = "nobody"
        else:
            low, high = np.quantile(gain, [0.1, 0.9])
            mean, half = gain.mean(), 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
            color = NEUTRAL if abs(mean) <= half or mean == 0.0 else BETTER if mean > 0.0 else WORSE
            axes.barh(line + 0.12, high - low, left=low, height=0.3, color=color, alpha=0.22, linewidth=0)
            axes.errorbar(mean, line + 0.12, xerr=half, color=color, marker="o", markersize=7, capsize=3, linewidth=1.8)
            note = f"{money(mean, '+')} ± {money(half)}" if len(gain) > 1 else money(mean, "+")
            reach += [abs(low), abs(high), abs(mean) + half]
        axes.text(1.0, line - 0.3, note, ha="right", **label)
    axes.axvline(0.0, color=INK, linewidth=1.0)
    limit = 1.1 * max(reach) or 1.0
    more = f": the {len(shown)} largest" if len(shown) < len(sizes) else ""
    axes.set(title=f"Who gains, who loses{more}", yticks=[])
    axes.set_xlabel("value over silence, money a customer\n(mean ± 95 %; bar: the middle 80 % of the customers)")
    axes.set(xlim=(-limit, limit), ylim=(len(shown) - 0.45, -0.6))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.locator_params(axis="x", nbins=7)


def standing(axes: "Axes", scene: Scene) -> None:
    """Where the living are between fatigue and bond."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    living = int(scene.standing.sum())
    axes.set_xlabel("fatigue, units (dashed: median ideal load)")
    axes.set(title="Fatigue and bond of the living", ylabel="bond, 0 to 1")
    axes.grid(visible=False)
    levels, bonds = scene.standing.shape
    fatigue, bond = scene.fatigue_step, scene.bond_step
    extent = (-fatigue / 2, (levels - 0.5) * fatigue, -bond / 2, (bonds - 0.5) * bond)
    share = 100.0 * scene.standing / max(living, 1)
    top = float(share.max()) or 100.0
    bottom = min(100.0 / max(living, 1), top / 10.0)
    image = axes.imshow(
        np.where(share > 0, share, np.nan).T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=ListedColormap(colormaps["YlGnBu"](np.linspace(0.18, 1.0, 256))),
        norm=LogNorm(bottom, top),
    )
    axes.locator_params(axis="x", integer=True)
    ticks = [percent for percent in _PERCENTS if bottom <= percent <= top]
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02, aspect=26, ticks=ticks, format="%g")
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label("customers, %")
    if living == 0:
        axes.text(0.5, 0.5, "nobody is left", transform=axes.transAxes, ha="center", color=NEUTRAL)
    if scene.ideal_load is not None and scene.ideal_load < extent[1]:
        axes.axvline(scene.ideal_load, color=WORSE, linestyle=DASHES, linewidth=1.4)
