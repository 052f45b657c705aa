"""Rows of weights that no gradient reaches."""

from __future__ import annotations

from torch import Tensor

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.history import History

LOOKS = 50  # readings without a gradient


def _dead(history: History, threshold: float) -> Finding | None:
    for layer, rows in history.rows.items():
        if rows.looks < LOOKS:
            continue
        late = rows.looks - rows.last >= LOOKS
        if not bool(late.any()) or bool(late.all()):
            continue  # none; or nothing here is trained any more
        touched = rows.count > 0
        dense = 2 * rows.count >= rows.last
        if not bool(touched.any()) or not bool(dense[touched].float().mean() > 0.5):
            continue  # rows that come and go, as in an embedding of rare words
        silent = late & (dense | ~touched)
        share = float(silent.float().mean())
        if share > threshold:
            told = f"{int(silent.sum())} of {len(silent)} rows had no gradient for {LOOKS} readings or more"
            lr, height = history.readings[layer][-1].lr, history.readings[layer][-1].shape[0]
            change = f"initialise these rows anew, and go on with lr={lr / 3:.2g}, a third of it"
            return Finding(
                layer, told, change, {"reinitialise": _numbers(silent, height), "lr": lr / 3}
            )
    return None


def _numbers(silent: Tensor, height: int) -> list[int]:
    """Which rows of the matrix these are: of a tall one, evenly spaced ones are looked at."""
    apart = -(-height // len(silent))
    return [apart * i for i in silent.nonzero()[:, 0].tolist()]


DEAD = Detector(
    "dead rows",
    "Units that no input reaches get no gradient and never come back.",
    0.4,
    "share of a matrix's rows (in a small healthy net a third may die), silent for 50 readings after having had a "
    "gradient in half of them, or never touched in a layer whose other rows are",
    "L. Lu et al., 2020, arXiv:1903.06733",
    _dead,
)
