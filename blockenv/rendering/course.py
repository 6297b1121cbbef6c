"""The panels over time: who could be reached, messages, blocks, and value beside silence.

Draws what it is given into axes of its caller, and nothing else.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blockenv.rendering.scene import BETTER, DASHES, INK, NEUTRAL, NOW, WORSE, Scene, colours, money

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPANS = (4, 8, 13, 26, 39, 52, 78, 104, 156)  # weeks on the time axis, which grows in steps to hold still in between
_FEW = 20  # customers whose lines coincide


def reach(axes: "Axes", scene: Scene) -> None:
    """Share of customers whom each channel reaches."""
    from matplotlib.transforms import ScaledTranslation

    week = np.arange(scene.days + 1) / 7.0
    axes.plot(week, 100.0 * scene.alive, color=NEUTRAL, linestyle=DASHES, linewidth=1.4)
    for number, ((_, color), share) in enumerate(zip(colours(scene), scene.reach.T, strict=True)):
        (line,) = axes.plot(week, 100.0 * share, color=color, linewidth=2.0, **NOW)
        if len(scene.gain) <= _FEW:
            # Shares of a few customers coincide all the time: two points apart, every line can be seen.
            apart = (number - (len(scene.channels) - 1) / 2) * 2.0 / 72.0
            line.set_transform(axes.transData + ScaledTranslation(0.0, apart, axes.figure.dpi_scale_trans))
    axes.set(title="Who can be reached", ylabel="customers, %", xlabel="week", ylim=(-5, 106))
    axes.set_yticks(range(0, 101, 20))
    _time_axis(axes, scene)


def stack(axes: "Axes", scene: Scene, rates: NDArray[np.float64], title: str, unit: str) -> None:
    """Weekly rates of the channels on top of each other, as steps."""
    edges = np.minimum(np.arange(len(rates) + 1), scene.days / 7.0)
    lower = np.zeros(len(rates))
    for (_, color), rate in zip(colours(scene), rates.T, strict=True):
        if len(rate):
            axes.stairs(lower + rate, edges, baseline=lower, fill=True, color=color, linewidth=0)
        lower = lower + rate
    axes.set(title=title, ylabel=unit)
    axes.set_ylim(0, 1.1 * lower.max() if lower.any() else 1.0)
    axes.locator_params(axis="y", nbins=4)
    _time_axis(axes, scene)


def value(upper: "Axes", lower: "Axes", scene: Scene) -> None:
    """What a customer has earned, with these messages and in silence, and the difference between the two."""
    week, gain = np.arange(len(scene.value)) / 7.0, scene.value - scene.silent
    color = WORSE if gain[-1] < 0.0 else BETTER
    upper.plot(week, scene.value, color=color, linewidth=2.2, label=f"messages {money(scene.value[-1])}", **NOW)
    upper.plot(
        week,
        scene.silent,
        color=INK,
        linestyle=DASHES,
        linewidth=1.3,
        label=f"silence {money(scene.silent[-1])}",
    )
    low = min(0.0, float(scene.value.min()))
    high = max(float(scene.value.max()), float(scene.silent.max())) or 1.0
    upper.set(title="Value", ylabel="money a\ncustomer", ylim=(1.1 * low, 1.08 * high))
    upper.legend(loc="lower right", bbox_to_anchor=(1.02, 0.96), ncols=2, fontsize=8.5, columnspacing=0.9)
    for part, shade in ((np.maximum(gain, 0.0), BETTER), (np.minimum(gain, 0.0), WORSE)):
        lower.fill_between(week, part, 0.0, color=shade, alpha=0.25, linewidth=0)
    lower.plot(week, gain, color=color, linewidth=2.0, **NOW)
    lower.axhline(0.0, color=INK, linewidth=1.0)
    margin = 0.1 * float(np.abs(gain).max()) or 1.0
    lower.set(ylabel="money over\nsilence", xlabel="week")
    lower.set_ylim(min(0.0, gain.min()) - margin, max(0.0, gain.max()) + margin)
    for axes in (upper, lower):
        axes.locator_params(axis="y", nbins=4)
        _time_axis(axes, scene)
    upper.set_xticks([])


def _time_axis(axes: "Axes", scene: Scene) -> None:
    axes.yaxis.set_label_coords(-0.14, 0.5)
    weeks = max(scene.days / 7.0, 1.0)
    span = next((span for span in _SPANS if weeks <= span), weeks)
    axes.set_xlim(0, span)
    step = next(step for step in (1, 2, 4, 13, 26, 52, 260, span) if span / step <= 6.5)
    axes.set_xticks(np.arange(0, span + 0.5, step))
