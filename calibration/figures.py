"""All that the data say, in one list: what a calibration card may show beside simulated figures.

Only gathers what the sources measure; a figure never changes on the way.
"""

from pathlib import Path

from calibration import hillstrom, newsletter, purchases, rees46
from calibration.sources import Figure


def figures(folder: Path) -> list[Figure]:
    """Every figure of every source, read from the data files in `folder`.

    Raises `SourceError` where a file or a column is missing or wrong.
    """
    return [
        *rees46.figures(folder),
        *hillstrom.figures(folder),
        *purchases.figures(folder),
        *newsletter.figures(),
    ]
