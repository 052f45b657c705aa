"""Detector of dead rows: rows of a weight matrix that no gradient reaches."""

from __future__ import annotations

from torch import Tensor

from betaplane.monitor.detectors.detector import Detector, Finding
from betaplane.monitor.detectors.thresholds import limits
from betaplane.monitor.history import History
from betaplane.monitor.reading_history import TouchedRows

CAUSE = "dead rows"
SILENT_READINGS: int = limits(CAUSE)["silent"]


def _find_dead_rows(history: History, threshold: float) -> Finding | None:
    for layer, rows in history.readings.rows.items():
        dead = _dead_rows(rows)
        if dead is None or float(dead.float().mean()) <= threshold:
            continue
        reading = history.readings[layer][-1]
        lr = reading.lr / 3
        evidence = (
            f"{int(dead.sum())} of {len(dead)} rows had no gradient for {SILENT_READINGS} "
            "readings or more"
        )
        change = f"reinitialize these rows and continue with lr={lr:.2g}, a third of it"
        indices = _row_indices(dead, reading.shape[0])
        return Finding(layer, evidence, change, {"reinitialise": indices, "lr": lr})
    return None


def _dead_rows(rows: TouchedRows) -> Tensor | None:
    """Whether each row is dead; None if there is too little evidence."""
    if rows.readings < SILENT_READINGS:
        return None
    silent = rows.readings - rows.last >= SILENT_READINGS
    if not bool(silent.any()) or bool(silent.all()):
        return None  # if all are silent, the layer is no longer trained
    touched = rows.count > 0
    dense = 2 * rows.count >= rows.last
    if not bool(touched.any()) or not bool(dense[touched].float().mean() > 0.5):
        return None  # rows that come and go, as in an embedding of rare words
    return silent & (dense | ~touched)


def _row_indices(dead: Tensor, height: int) -> list[int]:
    """The indices of the dead rows in a matrix; evenly spaced rows of a tall one are sampled."""
    spacing = -(-height // len(dead))
    return [spacing * i for i in dead.nonzero()[:, 0].tolist()]


DEAD_ROWS = Detector(
    cause=CAUSE,
    why="Units that no input reaches get no gradient and never recover.",
    find=_find_dead_rows,
)
