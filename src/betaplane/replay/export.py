"""Export a replay as plain data for JSON: numbers that are not finite are None."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from betaplane.replay.predict import FAILING_ABOVE, LIMITS, predicted, thresholds
from betaplane.replay.quantities import Quantities, Replay
from betaplane.text import json_safe

VERDICT_NAMES = ("not failing", "not failing", "failing", "no gradient")


def to_json(replay: Replay) -> dict[str, Any]:
    """Axes, predicted verdicts, thresholds, and every quantity of the model and of each layer.

    Rows of two-dimensional values are beta1, columns beta2.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> from betaplane.replay.replay import replay_gradients
        >>> data = to_json(replay_gradients(record_problem(counterexample(n=10), steps=10), [0.0], [0.5, 0.999]))
        >>> data["verdicts"], data["model"]["cost"][0][0], round(data["threshold"]["cost 2"][0], 3)
        ([['failing', 'not failing']], None, 0.978)
    """
    stream = replay.stream
    return {
        "limits": LIMITS,
        "steps": stream.steps,
        "coordinates": stream.coordinates,
        "batch_size": stream.batch_size,
        "changed": stream.changed,
        "frozen": stream.frozen,
        "step": stream.step,
        "eps": replay.eps,
        "about": dict(stream.about),
        "beta1": replay.beta1.tolist(),
        "beta2": replay.beta2.tolist(),
        "verdicts": [[VERDICT_NAMES[verdict] for verdict in row] for row in predicted(replay)],
        "threshold": {
            "cost 2": _plain(thresholds(replay)),
            "not failing": _plain(thresholds(replay, most=FAILING_ABOVE)),
        },
        "model": _plain_quantities(replay.whole),
        "layers": {name: _plain_quantities(layer) for name, layer in replay.layers.items()},
    }


def _plain_quantities(quantities: Quantities) -> dict[str, Any]:
    return {f.name: _plain(getattr(quantities, f.name)) for f in fields(quantities)}


def _plain(values: np.ndarray | float) -> Any:
    return json_safe(np.asarray(values, dtype=float).tolist(), digits=6)
