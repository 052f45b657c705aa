"""A replay as plain data for JSON: numbers that are not finite are None."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from betaplane.replay.predict import FAILING_ABOVE, predicted, thresholds
from betaplane.replay.quantities import Quantities, Replay
from betaplane.text import json_safe

WORDS = ("good", "degraded", "failing", "no gradient")


def to_json(replay: Replay) -> dict[str, Any]:
    """Axes, predicted verdicts and thresholds, every quantity of the model, and of each layer; rows
    are beta1.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay.record_problem import record_problem
        >>> from betaplane.replay.replay import replay_gradients
        >>> told = to_json(replay_gradients(record_problem(counterexample(n=10), steps=10), [0.0], [0.5, 0.999]))
        >>> told["verdicts"], told["model"]["cost"][0][0], round(told["threshold"]["good"][0], 3)
        ([['failing', 'good']], None, 0.978)
    """
    stream = replay.stream
    return {
        "steps": stream.steps, "coordinates": stream.coordinates, "batch_size": stream.batch_size,
        "changed": stream.changed, "frozen": stream.frozen, "step": stream.step, "eps": replay.eps,
        "about": dict(stream.about), "beta1": replay.beta1.tolist(), "beta2": replay.beta2.tolist(),
        "verdicts": [[WORDS[each] for each in row] for row in predicted(replay)],
        "threshold": {
            "good": _plain(thresholds(replay)), "not failing": _plain(thresholds(replay, most=FAILING_ABOVE)),
        },
        "model": _numbers(replay.whole), "layers": {name: _numbers(each) for name, each in replay.layers.items()},
    }  # fmt: skip


def _numbers(each: Quantities) -> dict[str, Any]:
    return {f.name: _plain(getattr(each, f.name)) for f in fields(each)}


def _plain(values: np.ndarray | float) -> Any:
    return json_safe(np.asarray(values, dtype=float).tolist(), digits=6)
