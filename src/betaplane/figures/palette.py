"""The colors of the three verdicts, shared by all figures.

Good is light, degraded is in the middle, failing is dark, so the order survives a gray printer;
teal, orange and plum differ in the blue-yellow direction too, so it survives red-green blindness
(tests/figures/test_palette.py measures both). Within a verdict a cell darkens towards the next one,
so that the slope is visible.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

INK = "#1b1f24"  # text and lines
MUTED = "#68707b"  # secondary text
FAINT = "#d9dde2"  # lines and frames
PAPER = "#ffffff"
RAMPS = (  # per verdict: the colors of its best and its worst score
    ("#d8f1eb", "#90d1c8"),
    ("#e79b38", "#ca6623"),
    ("#83264c", "#2f0e2c"),
)
# of a predicted map: cells that are not predicted to fail have no verdict, and no color
PREDICTED_RAMPS = (("#eceef1", "#eceef1"), *RAMPS[1:])
# per verdict: for text, chips and swatches on paper
SOLID = ("#4aa79d", "#df8530", "#6b1c40")


def rgb(color: str) -> np.ndarray:
    """The components of a "#rrggbb" color, shape (3,), in [0, 1].

    Example:
        >>> rgb("#ff0000").tolist()
        [1.0, 0.0, 0.0]
    """
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def hexadecimal(color: np.ndarray) -> str:
    """The inverse of `rgb`."""
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in color)


def paint(
    verdicts: np.ndarray, shades: np.ndarray, ramps: Sequence[tuple[str, str]] = RAMPS
) -> np.ndarray:
    """Colors of cells from their verdicts and shades, shape (..., 3), in [0, 1].

    Args:
        verdicts: 0 good, 1 degraded, 2 failing.
        shades: like verdicts, in [0, 1]: 0 the best score of the verdict, 1 the worst.
        ramps: the colors of the best and the worst score of each verdict.
    """
    ends = np.array([[rgb(start), rgb(end)] for start, end in ramps])
    start, end = ends[verdicts, 0], ends[verdicts, 1]
    return start + (end - start) * np.clip(shades, 0.0, 1.0)[..., None]
