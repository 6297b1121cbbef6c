from html.parser import HTMLParser

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from calibration.report import charts
from calibration.report.page import page, paragraph, table

VOID = {"meta", "br"}


class _Nested(HTMLParser):
    """Checks that what is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str) -> None:
    """Well nested, and nothing from outside."""
    parser = _Nested()
    parser.feed(text)
    assert not parser.open
    for outside in ("http:", "https:", "src=", "@import", "<script", "url("):
        assert outside not in text


def test_pages_are_whole_and_need_nothing_from_outside() -> None:
    x = np.linspace(0.0, 1.0, 5)
    pictures = [
        charts.lines("a < b", "x", "y", [charts.Line("one", x, x**2, x**2 - 0.1, x**2 + 0.1)]),
        charts.bars("bars", ["a", "b"], [("one", np.array([1.0, -2.0]))], "unit"),
        charts.heat("heat", ["r"], ["c", "d"], np.array([[0.5, np.nan]]), "share"),
    ]
    text = page("A & B", [*pictures, paragraph("5 < 6", "warning"), table(("a", "b"), [("<x>", "long " * 20)])])
    check_page(text)
    assert "A &amp; B" in text
    assert "&lt;x&gt;" in text
    assert "prefers-color-scheme:dark" in text
    assert "width=device-width" in text


@given(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6))
def test_axes_are_marked_with_round_numbers(low: float, width: float) -> None:
    marks = charts.round_numbers(low, low + width)
    assert 2 <= len(marks) <= 7
    assert all(low - 1e-6 * width <= mark <= low + width * (1 + 1e-6) for mark in marks)
    steps = np.diff(marks)
    assert np.allclose(steps, steps[0], rtol=1e-4)


def test_a_flat_curve_has_a_picture_as_well() -> None:
    assert "nan" not in charts.lines("flat", "x", "y", [charts.Line("zero", np.zeros(3), np.zeros(3))])


def test_missing_points_are_left_out() -> None:
    text = charts.lines("gaps", "x", "y", [charts.Line("one", np.arange(3.0), np.array([1.0, np.nan, 2.0]))])
    assert "nan" not in text
