"""Puts a population on one page, in memory or in a window on the screen.

Never touches the caller's matplotlib state: no pyplot except for the window, and the caller's style is put aside
while drawing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blockenv.rendering import course, customers
from blockenv.rendering.scene import DASHES, FAINT, INK, NEUTRAL, Scene, colours, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES, _DPI = (12.0, 8.0), 100
_NOTE = (
    "Value: expected margin less discounts and message costs, discounted to the first day. Silence: the same customers "
    "with the same luck, never written to.\nCompared are the customers whom the rows held at the start, until their "
    "episode is over; a row's later customers are not."
)
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": NEUTRAL,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.3,
    "legend.handletextpad": 0.5,
}


def paint(scene: Scene) -> NDArray[np.uint8]:
    """The scene as (800, 1200, 3) uint8, drawn in memory.

    Raises:
        ImportError: matplotlib is missing.
    """
    with _drawing():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        canvas: Any = FigureCanvasAgg(Figure(figsize=_INCHES, dpi=_DPI))
        _compose(canvas.figure, scene)
        canvas.draw()
        return np.array(np.asarray(canvas.buffer_rgba())[..., :3], np.uint8)


class Window:
    """A window on the screen, kept and drawn anew; `opened` is False where there is no display for one."""

    def __init__(self) -> None:
        """Open it, with the backend that matplotlib chooses.

        Raises:
            ImportError: matplotlib is missing.
        """
        self.opened = False
        with _drawing():
            import matplotlib.pyplot as plt
            from matplotlib.backend_bases import FigureManagerBase

            try:
                self._figure = plt.figure(figsize=_INCHES, dpi=_DPI)
            except ImportError:  # the backend that was asked for finds no display
                return
            manager = self._figure.canvas.manager
            if manager is None or type(manager).show is FigureManagerBase.show:  # draws into files only
                plt.close(self._figure)
                return
            manager.show()
            self.opened = True

    def show(self, scene: Scene) -> None:
        """Draw `scene` into the window; nothing happens once the user has closed it."""
        import matplotlib.pyplot as plt

        if not plt.fignum_exists(self._figure.number):
            return
        with _drawing():
            self._figure.clear()
            _compose(self._figure, scene)
            self._figure.canvas.draw()
        self._figure.canvas.flush_events()

    def close(self) -> None:
        """Close it; again is allowed."""
        if self.opened:
            import matplotlib.pyplot as plt

            plt.close(self._figure)


@contextmanager
def _drawing() -> Iterator[None]:
    """The house style inside, the caller's settings untouched outside."""
    try:
        import matplotlib.style
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'blockenv[plot]'", name="matplotlib") from error
    with matplotlib.style.context(["default", _STYLE]):
        yield


def _compose(figure: "Figure", scene: Scene) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.set_facecolor("white")
    people = "1 customer" if len(scene.gain) == 1 else f"{len(scene.gain):,} customers"
    week = f"week {(scene.days - 1) // 7 + 1}, day {scene.days}" if scene.days else "the first morning"
    figure.text(0.066, 0.955, f"{scene.name}: {people}, {week}", fontsize=15, weight="bold")
    limit = 16 if len(scene.channels) <= 5 else 10
    handles: list[Any] = [Patch(color=color, label=short(name, limit)) for name, color in colours(scene)]
    handles.append(Line2D([], [], color=NEUTRAL, linestyle=DASHES, linewidth=1.4, label="has not left"))
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.059, 0.947), ncols=len(handles), fontsize=9.5)
    grid = figure.add_gridspec(2, 3, left=0.066, right=0.974, top=0.86, bottom=0.125, wspace=0.25, hspace=0.42)
    traffic = grid[0, 1].subgridspec(2, 1, hspace=0.38)
    course.reach(figure.add_subplot(grid[0, 0]), scene)
    messages, blocks = figure.add_subplot(traffic[0]), figure.add_subplot(traffic[1])
    course.stack(messages, scene, scene.messages, "Messages", "a week,\na customer")
    course.stack(blocks, scene, scene.blocks, "Blocks", "a week,\n100 customers")
    messages.set_xticks([])
    blocks.set_xlabel("week")
    customers.mosaic(figure.add_subplot(grid[0, 2]), scene)
    earned = grid[1, 0].subgridspec(2, 1, hspace=0.16, height_ratios=[3, 2])
    course.value(figure.add_subplot(earned[0]), figure.add_subplot(earned[1]), scene)
    customers.segments(figure.add_subplot(grid[1, 1]), scene)
    customers.standing(figure.add_subplot(grid[1, 2]), scene)
    figure.text(0.066, 0.009, _NOTE, fontsize=8.5, color="#5A5A5A", linespacing=1.35)
