"""Convert a replay to a phase map: predicted verdicts without training, drawn like any other map."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from betaplane.errors import BadInput, expect
from betaplane.maps.grid import Axis
from betaplane.maps.known_curves import known_curves
from betaplane.maps.phase_map import (
    FAILING,
    GOOD,
    Cell,
    Curve,
    Mark,
    PhaseMap,
    Prediction,
    Spot,
    Thresholds,
)
from betaplane.maps.plan import common_settings
from betaplane.maps.verdicts import mark
from betaplane.replay import Gradients, Quantities, Replay, predicted, thresholds
from betaplane.replay.predict import FAILING_ABOVE, LIMITS

# The beta1 whose beta2 are described. A replay compares values of beta2 at one beta1, and does not
# compare values of beta1.
DEFAULT_BETA1 = 0.9
CHANGES = {
    "averaged": "averaged from smaller batches",
    "extrapolated": "EXTRAPOLATED from larger batches",
}


def predict_map(
    replay: Replay, name: str = "", settings: Mapping[str, float] | None = None
) -> PhaseMap:
    """The map that a replay predicts.

    Args:
        replay: the replayed plane.
        name: what was recorded, for the title; by default the recording's own name.
        settings: your own setting to mark on the map, by hyperparameter name.

    Returns:
        A map whose cells have the replay's cost as their score, and no losses.

    Raises:
        BadInput: the replay has a single value of beta1 or of beta2.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay import record_problem, replay_gradients
        >>> phase_map = predict_map(replay_gradients(record_problem(counterexample(n=10), steps=10)))
        >>> [phase_map.word(beta1=0.9, beta2=beta2) for beta2 in (0.5, 0.8, 0.99)]
        ['failing', 'not failing', 'not failing']
    """
    expect(replay, Replay, "replay", "predict_map(replay_gradients(stream))")
    _check(replay)
    stream = replay.stream
    x, y = Axis("beta1", tuple(replay.beta1.tolist())), Axis("beta2", tuple(replay.beta2.tolist()))
    verdicts = np.where(predicted(replay) == FAILING, FAILING, GOOD).astype(np.int8)
    cells = {spot: _cell(replay, spot, int(verdicts[spot])) for spot in np.ndindex(verdicts.shape)}
    fixed = {"eps": replay.eps}
    if stream.batch_size:
        fixed["batch_size"] = stream.batch_size
    return PhaseMap(
        problem=name or stream.about.get("problem", "recorded gradients"),
        rule="Adam",
        x=x,
        y=y,
        fixed=fixed,
        cells=cells,
        verdicts=verdicts,
        p_fail=np.full(verdicts.shape, np.nan),
        initial=math.nan,
        best=math.nan,
        thresholds=Thresholds(FAILING_ABOVE, FAILING_ABOVE),
        marks=_marks(fixed, settings, x, y, verdicts),
        curves=(_threshold_curve(replay), *known_curves(x, y, None)[:1]),
        facts=_facts(replay),
        predicted=Prediction(_basis(stream), LIMITS, _window(x, y, verdicts), _notes(replay.whole)),
    )


def _check(replay: Replay) -> None:
    for name, values in {"beta1": replay.beta1, "beta2": replay.beta2}.items():
        if len(values) < 2:
            raise BadInput(
                f"A map needs at least 2 values of {name}",
                value=values.tolist(),
                where="predict_map",
                instead="predict_map(replay_gradients(stream))",
            )


def _cell(replay: Replay, spot: Spot, verdict: int) -> Cell:
    betas = {"beta1": float(replay.beta1[spot[0]]), "beta2": float(replay.beta2[spot[1]])}
    cost = float(np.nan_to_num(replay.whole.cost[spot], nan=math.inf, posinf=math.inf))
    return Cell(
        settings=betas,
        finals=(),
        score=cost,
        verdict=verdict,
        p_fail=math.nan,
        p_low=math.nan,
        p_high=math.nan,
        curve=np.zeros(0),
    )


def _marks(
    fixed: Mapping[str, float],
    settings: Mapping[str, float] | None,
    x: Axis,
    y: Axis,
    verdicts: np.ndarray,
) -> tuple[Mark, ...]:
    marked = common_settings(fixed)
    if settings:
        marked["yours"] = dict(settings)
    marks = [mark(label, values, x, y, verdicts) for label, values in marked.items()]
    return tuple(m for m in marks if m is not None)


def _threshold_curve(replay: Replay) -> Curve:
    threshold = thresholds(replay, most=FAILING_ABOVE)
    return Curve("predicted beta2*", replay.beta1, np.where(threshold > 0, threshold, np.nan))


def _window(x: Axis, y: Axis, verdicts: np.ndarray) -> str:
    """The beta2 at the usual beta1 that are not predicted to fail, as a sentence."""
    column = x.nearest(DEFAULT_BETA1)
    at = f"At beta1 = {x.values[column]:.4g}"
    failing = np.flatnonzero(verdicts[column] == FAILING)
    if not len(failing):
        return f"{at}, no beta2 on the map is predicted to fail."
    if failing[-1] + 1 == len(y):
        return f"{at}, beta2 is predicted to fail up to the edge of the map."
    return f"{at}, beta2 of {y.values[failing[-1] + 1]:.4g} and above is not predicted to fail."


def _basis(stream: Gradients) -> str:
    size = f"of batch {stream.batch_size} " if stream.batch_size else ""
    gradients = f"{stream.steps} gradients {size}at {stream.coordinates} coordinates"
    parts = [f"predicted from {gradients}, nothing trained"]
    if stream.changed:
        parts.append(CHANGES[stream.changed])
    parts.append("weights frozen" if stream.frozen else "weights moving")
    return " · ".join(parts)


def _notes(whole: Quantities) -> tuple[str, ...]:
    """One line per cell, in the order of the verdicts."""
    columns = (whole.cost, whole.cosine, whole.flipped, whole.rms, whole.largest)
    cells = zip(*(column.ravel() for column in columns), strict=True)
    return tuple(
        f"cost {_format_cost(cost)}, cosine {cosine:.3f}, flipped {flipped:.1%}, "
        f"update RMS {rms:.3g}, largest {largest:.3g}"
        for cost, cosine, flipped, rms, largest in cells
    )


def _format_cost(cost: float) -> str:
    return f"{cost:.3g}" if math.isfinite(cost) else "infinite (uphill)"


def _facts(replay: Replay) -> dict[str, str]:
    stream = replay.stream
    tensors = len(stream.layers)
    facts = {
        "gradients": f"{stream.steps} rows, {stream.coordinates} coordinates of {tensors} tensors",
        "weights": _weights(stream),
        "steps before": str(stream.step),
        "noise": f"{replay.whole.noise:.3g} times the squared mean gradient",
    }
    if stream.changed:
        facts["batch"] = stream.changed
    facts |= stream.about
    if not replay.resolved:
        facts["warning"] = (
            "the mean gradient is no larger than its own sampling error: record more steps"
        )
    return facts


def _weights(stream: Gradients) -> str:
    if stream.frozen:
        return "frozen: E[m / sqrt(v)] is exact for these minibatches"
    return "moving: the change of the gradient during the recording counts as noise"
