"""Small pictures drawn as text: lines, bars and heat maps in SVG that follow the reader's light or dark colours.

Numbers in, a string out; nothing is loaded from anywhere. This file must never compute a statistic.
"""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from calibration.estimation.panel import Floats

WIDTH, HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 46


class Line(NamedTuple):
    """A curve, with a band around it where `low` and `high` are given; all (K,)."""

    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


def lines(title: str, x_name: str, y_name: str, curves: Sequence[Line]) -> str:
    """Curves over a common axis."""
    every_x = np.concatenate([curve.x for curve in curves])
    ends = [each for curve in curves for each in (curve.y, curve.low, curve.high) if each is not None]
    every_y = np.concatenate([*ends, [0.0]])
    every_y = every_y[np.isfinite(every_y)]
    frame = _Frame(_span(every_x), _span(every_y))
    parts = [frame.axes(x_name, y_name)]
    for place, curve in enumerate(curves):
        if curve.low is not None and curve.high is not None:
            edge = [*zip(curve.x, curve.high, strict=True), *zip(curve.x[::-1], curve.low[::-1], strict=True)]
            parts.append(f'<polygon class="s{place % 6} band" points="{frame.points(edge)}"/>')
        told = [pair for pair in zip(curve.x, curve.y, strict=True) if np.isfinite(pair[1])]
        parts.append(f'<polyline class="s{place % 6} line" points="{frame.points(told)}"/>')
    return _figure(title, parts, [curve.name for curve in curves])


def bars(title: str, names: Sequence[str], groups: Sequence[tuple[str, Floats]], unit: str) -> str:
    """Bars side by side for each name; a negative one hangs below zero."""
    heights = np.concatenate([values for _, values in groups] + [np.zeros(1)])
    frame = _Frame((0.0, float(len(names))), _span(heights))
    parts = [frame.axes("", unit, ticks=False)]
    wide = 0.8 / len(groups)
    for place, (_, values) in enumerate(groups):
        for number, value in enumerate(values):
            x0, x1 = (frame.x(number + 0.1 + wide * (place + side)) for side in (0.0, 0.92))
            y0, y1 = sorted((frame.y(0.0), frame.y(float(value))))
            parts.append(
                f'<rect class="s{place % 6} bar" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{max(y1 - y0, 0.5):.1f}"/>'
            )
    for number, name in enumerate(names):
        parts.append(
            f'<text class="tick" x="{frame.x(number + 0.5):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{html.escape(name)}</text>'
        )
    return _figure(title, parts, [name for name, _ in groups])


def heat(title: str, rows: Sequence[str], columns: Sequence[str], values: Floats, unit: str) -> str:
    """A table of shades; `values` (R, C), NaN stays empty."""
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    wide, high = (WIDTH - 90) / len(columns), min(34.0, 240.0 / len(rows))
    parts = []
    for number, row in enumerate(rows):
        y = 26 + number * high
        parts.append(
            f'<text class="tick" x="82" y="{y + high / 2 + 4:.1f}" text-anchor="end">{html.escape(row)}</text>'
        )
        for place in range(len(columns)):
            value = float(values[number, place])
            if np.isfinite(value):
                shade = 0.08 + 0.92 * (value - least) / max(most - least, 1e-12)
                x = 90 + place * wide
                parts.append(
                    f'<rect class="s0 bar" x="{x:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" height="{high - 1:.1f}" opacity="{shade:.2f}">'
                    f"<title>{html.escape(row)}, {html.escape(columns[place])}: {value:.3g} {html.escape(unit)}</title></rect>"
                )
    for place, column in enumerate(columns):
        parts.append(
            f'<text class="tick" x="{90 + (place + 0.5) * wide:.1f}" y="18" text-anchor="middle">{html.escape(column)}</text>'
        )
    note = f"from {least:.3g} (pale) to {most:.3g} (full) {unit}"
    return _figure(title, parts, [note], int(34 + len(rows) * high), False)


class _Frame:
    """From numbers to places in the picture."""

    def __init__(self, x_span: tuple[float, float], y_span: tuple[float, float]) -> None:
        self._x, self._y = x_span, y_span

    def x(self, value: float) -> float:
        return _LEFT + (value - self._x[0]) / (self._x[1] - self._x[0]) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value - self._y[0]) / (self._y[1] - self._y[0]) * (HEIGHT - _TOP - _BOTTOM)

    def points(self, pairs: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(float(x)):.1f},{self.y(float(y)):.1f}" for x, y in pairs)

    def axes(self, x_name: str, y_name: str, ticks: bool = True) -> str:
        parts = []
        for value in round_numbers(*self._y):
            y, kind = self.y(value), "zero" if value == 0.0 else "grid"
            parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
        if ticks:
            for value in round_numbers(*self._x):
                parts.append(
                    f'<text class="tick" x="{self.x(value):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:.4g}</text>'
                )
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(
            f'<text class="name" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_name)}</text>'
        )
        half = (HEIGHT - _BOTTOM) / 2
        parts.append(
            f'<text class="name" x="12" y="{half}" text-anchor="middle" transform="rotate(-90 12 {half})">{html.escape(y_name)}</text>'
        )
        return "".join(parts)


def round_numbers(low: float, high: float) -> list[float]:
    """Two to seven numbers between the two, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5.0
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(power * next(each for each in (1.0, 2.0, 5.0, 10.0) if each * power >= rough * 0.75))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _span(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _figure(title: str, parts: Sequence[str], names: Sequence[str], height: int = HEIGHT, keys: bool = True) -> str:
    items = "".join(
        f"<li>{f'<i class=k{place % 6}></i>' if keys else ''}{html.escape(name)}</li>"
        for place, name in enumerate(names)
    )
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(title)}">{"".join(parts)}</svg><ul class="legend">{items}</ul></figure>'
    )
