"""Quantities that a report shows over layers and steps: names, units, and thresholds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from betaplane.errors import unknown
from betaplane.figures.report.run import WatchedRun


class Quantity(NamedTuple):
    """One quantity of a reading."""

    name: str
    label: str
    about: str
    log: bool  # whether its scale is logarithmic
    edge: float | None = None  # the value from which it is colored as trouble


QUANTITIES = (
    Quantity("update_rms", "update RMS", "in units of lr; independent gradients give at most 1", True, 1.25),
    Quantity("lag", "RMS_t", "how far v lags behind g^2: 1 in a steady state, spikes follow 2.3", True, 2.3),
    Quantity("ratio", "update / weight", "RMS of lr times update over RMS of the weights", True, 0.3),
    Quantity("below_eps", "share below eps", "share of elements with 0 < sqrt(v_hat) < eps", False, 0.5),
    Quantity("reach", "share of the bound", "largest |m_hat| / sqrt(v_hat) over its bound at t", False, 1.01),
    Quantity("snr", "signal to noise", "of the gradients, powers, from the update's RMS", True),
    Quantity("agreement", "sign agreement", "share of elements with equal signs of m and g; chance: 0.5", False),
    Quantity("g_rms", "gradient RMS", "RMS of the gradient", True),
    Quantity("root_rms", "sqrt(v_hat) RMS", "RMS of sqrt(v_hat), gradient units", True),
    Quantity("weight_rms", "weight RMS", "RMS of the weights", True),
    Quantity("angle", "angle", "radians by which an update rotates the weights", True),
    Quantity("lost", "v underflowed", "share of elements with v = 0 although g is not 0", False, 0.25),
    Quantity("still", "v unchanged", "share of elements with unchanged v although g^2 differs from it", False, 0.25),
)  # fmt: skip
DEFAULT_QUANTITIES = ("update_rms",)
QUANTITIES_OF_CAUSE = {  # that show a cause better than the size of the update
    "stale second moment": ("lag",),
    "eps dominates": ("below_eps",),
    "learning rate too large": ("ratio",),
    "second moment underflow": ("lost", "still"),
    "non-finite gradients": ("g_rms",),
    "sudden data change": ("g_rms",),
    "dead rows": ("g_rms",),
}


def available_quantities(run: WatchedRun) -> list[Quantity]:
    """The quantities that a run has finite values of."""
    return [
        quantity
        for quantity in QUANTITIES
        if np.isfinite(run.values.get(quantity.name, np.nan)).any()
    ]


def quantity(run: WatchedRun, name: str | None = None) -> Quantity | None:
    """A quantity by its name; by default, the one that shows the run's first cause.

    Raises:
        BadInput: the run has no such quantity.
    """
    by_name = {quantity.name: quantity for quantity in available_quantities(run)}
    if name is None:
        return by_name.get(_best_for_first_cause(run)) or next(iter(by_name.values()), None)
    if name not in by_name:
        raise unknown("quantity", name, by_name, where="quantity", instead='quantity="{}"')
    return by_name[name]


def _best_for_first_cause(run: WatchedRun) -> str:
    """The quantity that shows the first cause; of two, the larger one."""
    cause = run.alerts[0]["cause"] if run.alerts else ""
    names = QUANTITIES_OF_CAUSE.get(cause, DEFAULT_QUANTITIES)
    return max(names, key=lambda name: np.nanmax(run.values.get(name, np.zeros(1)), initial=0.0))


def column_starts(run: WatchedRun, max_columns: int) -> np.ndarray:
    """The index of the first reading of each column, (C,), for at most so many columns."""
    count = len(run.at)
    return np.unique(np.linspace(0, count, min(max_columns, count) + 1).astype(int)[:-1])


def column_maxima(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The largest value of the readings of each column, (L, C); nan if there is none.

    Args:
        values: (L, R).
        starts: of the columns, (C,), from `column_starts`.

    Example:
        >>> column_maxima(np.array([[1.0, 5.0, np.nan]]), np.array([0, 2])).tolist()
        [[5.0, nan]]
    """
    return np.fmax.reduceat(values, starts, axis=1) if values.size else values


def edges(run: WatchedRun, starts: np.ndarray) -> np.ndarray:
    """The steps between columns, (C + 1,)."""
    first, last = run.at[starts], run.at[np.append(starts[1:], len(run.at)) - 1]
    between = (last[:-1] + first[1:]) / 2
    return np.concatenate([[first[0] - 0.5], between, [last[-1] + 0.5]])
