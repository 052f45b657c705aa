"""The quantities that a report can show over layers and steps: their names, units, and where
trouble begins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from betaplane.errors import BadInput, nearest
from betaplane.figures.report.run import WatchedRun


class Quantity(NamedTuple):
    """One quantity of a reading."""

    name: str
    label: str
    about: str
    log: bool  # whether it is shown on a logarithmic scale
    edge: float | None = None  # from where on it is coloured as trouble


QUANTITIES = (
    Quantity("update_rms", "update RMS", "in units of lr; independent gradients give at most 1", True, 1.25),
    Quantity("lag", "RMS_t", "how far v lags behind g^2: 1 in a steady state, spikes follow 2.3", True, 2.3),
    Quantity("ratio", "update / weight", "RMS of lr times update over RMS of the weights", True, 0.3),
    Quantity("below_eps", "share below eps", "share of coordinates with 0 < sqrt(v_hat) < eps", False, 0.5),
    Quantity("reach", "share of the bound", "largest |m_hat| / sqrt(v_hat) over its bound at t", False, 1.01),
    Quantity("snr", "signal to noise", "of the gradients, powers, from the update's RMS", True),
    Quantity("agreement", "agreement of signs", "share of coordinates where m and g agree; chance: 0.5", False),
    Quantity("g_rms", "gradient RMS", "RMS of the gradient", True),
    Quantity("root_rms", "sqrt(v_hat) RMS", "RMS of sqrt(v_hat), gradient units", True),
    Quantity("weight_rms", "weight RMS", "RMS of the weights", True),
    Quantity("angle", "angle", "radians that an update turns the weights by", True),
    Quantity("lost", "v lost", "share of coordinates with v = 0 where g is not 0", False, 0.25),
    Quantity("still", "v standing still", "share of coordinates whose v did not move though g^2 is not v", False, 0.25),
)  # fmt: skip
SHOWS = {  # which quantities show a cause, where it is not the update's size
    "stale second moment": ("lag",),
    "eps dominates": ("below_eps",),
    "learning rate too large": ("ratio",),
    "second moment underflow": ("lost", "still"),
    "non-finite gradients": ("g_rms",),
    "sudden data change": ("g_rms",),
    "dead rows": ("g_rms",),
}


def offered(run: WatchedRun) -> list[Quantity]:
    """The quantities that a run has numbers of."""
    return [each for each in QUANTITIES if np.isfinite(run.values.get(each.name, np.nan)).any()]


def quantity(run: WatchedRun, name: str | None = None) -> Quantity | None:
    """A quantity by its name; where None, the one that shows the run's first cause.

    Raises:
        BadInput: the run has no such quantity.
    """
    known = {each.name: each for each in offered(run)}
    if name is None:
        return known.get(_usual(run)) or next(iter(known.values()), None)
    if name not in known:
        near = nearest(name, known, next(iter(known), "update_rms"))
        where, instead = "--quantity", f"--quantity {near}"
        raise BadInput(
            "The run has no such quantity",
            value=name,
            allowed=", ".join(known),
            where=where,
            instead=instead,
        )
    return known[name]


def _usual(run: WatchedRun) -> str:
    """What shows the first cause; of two the one that went higher."""
    names = SHOWS.get(run.alerts[0]["cause"] if run.alerts else "", ("update_rms",))
    return max(names, key=lambda name: np.nanmax(run.values.get(name, np.zeros(1)), initial=0.0))


def columns(run: WatchedRun, most: int) -> np.ndarray:
    """Where readings are put together so that there are at most so many columns: the first of each,
    (C,).
    """
    count = len(run.at)
    return np.unique(np.linspace(0, count, min(most, count) + 1).astype(int)[:-1])


def squeezed(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The largest value of the readings of each column, (L, C); nan where there is none.

    Args:
        values: (L, R).
        starts: of the columns, (C,), from `columns`.

    Example:
        >>> squeezed(np.array([[1.0, 5.0, np.nan]]), np.array([0, 2])).tolist()
        [[5.0, nan]]
    """
    return np.fmax.reduceat(values, starts, axis=1) if values.size else values


def edges(run: WatchedRun, starts: np.ndarray) -> np.ndarray:
    """The steps between columns, (C + 1,)."""
    first, last = run.at[starts], run.at[np.append(starts[1:], len(run.at)) - 1]
    between = (last[:-1] + first[1:]) / 2
    return np.concatenate([[first[0] - 0.5], between, [last[-1] + 0.5]])
