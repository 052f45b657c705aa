"""What the trackers of experiments share: which readings they get, under which names, and how
rarely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.monitor.alert import Alert
from betaplane.monitor.quantities.aggregates import together
from betaplane.monitor.sinks.sink import Sink

# of a tensor; a file of JSON lines has them all
QUANTITIES = ("update_rms", "ratio", "lag", "below_eps")
# a point comes when the step has grown by this share: all of the first 100, about 230 a decade
APART = 0.01


class Tracker(Sink):
    """Thin readings as scalars `betaplane.lag` of the whole model and `betaplane.lag/LAYER`, alarms
    as text.

    A tracker says how either is written.
    """

    def __init__(self) -> None:
        self._next = {"loss": 0.0, "readings": 0.0}

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Write a few quantities of every tensor, unless the last ones are too close."""
        step = rows[0]["step"]
        if self._due("readings", step):
            found = {f"betaplane.{name}": value for name, value in _whole(rows).items()}
            found |= {
                f"betaplane.{name}/{row['layer']}": row.get(name)
                for row in rows
                for name in QUANTITIES
            }
            self._write(
                {name: x for name, x in found.items() if x is not None and math.isfinite(x)}, step
            )

    def loss(self, step: int, loss: float) -> None:
        """Write a loss, unless the last one is too close."""
        if math.isfinite(loss) and self._due("loss", step):
            self._write({"betaplane.loss": loss}, step)

    def alert(self, alert: Alert) -> None:
        """Write an alarm."""
        self._tell(alert)

    def _due(self, kind: str, step: int) -> bool:
        if step < self._next[kind]:
            return False
        self._next[kind] = step * (1 + APART)
        return True

    def _write(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers of a step."""
        raise NotImplementedError

    def _tell(self, alert: Alert) -> None:
        """Write an alarm."""
        raise NotImplementedError


def _whole(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The quantities of all tensors as of one."""
    if not all(name in row for row in rows for name in (*QUANTITIES, "shape", "weight_rms")):
        return {}
    sizes = np.array([math.prod(row["shape"]) for row in rows])
    values = {
        name: np.array([[row[name]] for row in rows], dtype=float)
        for name in (*QUANTITIES, "weight_rms")
    }
    return {name: float(together(name, values, sizes)[0]) for name in QUANTITIES}


def needed(package: str, extra: str) -> Any:
    """A package that only this tracker needs.

    Args:
        package: its name in Python.
        extra: the extra of betaplane that installs it.

    Raises:
        BadInput: it is not installed.

    Example:
        >>> needed("json", extra="none").dumps(1)
        '1'
    """
    try:
        return import_module(package)
    except ImportError as error:
        told = f"The package for this tracker cannot be imported ({error})"
        raise BadInput(
            told, value=extra, where="to", instead=f"pip install betaplane[{extra}]"
        ) from error
