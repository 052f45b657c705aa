"""Tracker: what the sinks for experiment trackers share, which logs few readings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.monitor.quantities.aggregates import combine
from betaplane.monitor.sinks.sink import Sink

# logged of each tensor; a file of JSON lines has all quantities
QUANTITIES = ("update_rms", "ratio", "lag", "below_eps")
# relative step between logged points: all of the first 100, then about 230 per decade
MIN_RELATIVE_STEP = 0.01


class Tracker(Sink):
    """Log few readings as scalars: `betaplane.lag` of the whole model, `betaplane.lag/LAYER`.

    A subclass implements `_write` and `alert`.
    """

    def __init__(self) -> None:
        self._next_step = {"loss": 0.0, "readings": 0.0}

    def readings(self, rows: list[dict[str, Any]]) -> None:
        """Log a few quantities of every tensor, unless the last ones are too close."""
        step = rows[0]["step"]
        if not self._is_due("readings", step):
            return
        values = {f"betaplane.{name}": value for name, value in _whole_model(rows).items()}
        for row in rows:
            values |= {f"betaplane.{name}/{row['layer']}": row.get(name) for name in QUANTITIES}
        finite = {
            name: value
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        }
        self._write(finite, step)

    def loss(self, step: int, loss: float) -> None:
        """Log a loss, unless the last one is too close."""
        if math.isfinite(loss) and self._is_due("loss", step):
            self._write({"betaplane.loss": loss}, step)

    def _is_due(self, series: str, step: int) -> bool:
        if step < self._next_step[series]:
            return False
        self._next_step[series] = step * (1 + MIN_RELATIVE_STEP)
        return True

    def _write(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars at a step."""
        raise NotImplementedError


def _whole_model(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The quantities of all tensors combined."""
    if not all(name in row for row in rows for name in (*QUANTITIES, "shape", "weight_rms")):
        return {}
    sizes = np.array([math.prod(row["shape"]) for row in rows])
    values = {
        name: np.array([[row[name]] for row in rows], dtype=float)
        for name in (*QUANTITIES, "weight_rms")
    }
    return {name: float(combine(name, values, sizes)[0]) for name in QUANTITIES}


def import_package(package: str, extra: str) -> Any:
    """Import a package that only one tracker needs.

    Args:
        package: its name in Python.
        extra: the extra of betaplane that installs it.

    Raises:
        BadInput: it is not installed.

    Example:
        >>> import_package("json", extra="none").dumps(1)
        '1'
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise BadInput(
            f"The package of this tracker cannot be imported ({error})",
            value=extra,
            where="to",
            instead=f"pip install betaplane[{extra}]",
        ) from error
