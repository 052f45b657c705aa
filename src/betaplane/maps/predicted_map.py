"""A replay as a phase map: predicted verdicts where nothing was trained, drawn like any other map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from betaplane.errors import expect
from betaplane.maps.grid import Axis, position
from betaplane.maps.phase_map import (
    Cell,
    Curve,
    Mark,
    PhaseMap,
    Prediction,
    Recommendation,
    Spot,
    Thresholds,
)
from betaplane.maps.plan import common_settings
from betaplane.maps.verdicts import known_curves, mark, recommend
from betaplane.replay import Gradients, Quantities, Replay, predicted, thresholds
from betaplane.replay.predict import FAILING_ABOVE, GOOD_BELOW

# the beta1 whose beta2 is recommended: a replay compares beta2s at one beta1, and not beta1s
USUAL = 0.9


def predict_map(
    replay: Replay, name: str = "", settings: Mapping[str, float] | None = None
) -> PhaseMap:
    """The map a replay predicts.

    Args:
        replay: the replayed plane.
        name: what was recorded, for the title; the recording's own if left out.
        settings: a setting of your own to mark on the map, by hyperparameter name.

    Returns:
        A map whose cells hold the replay's cost as their score, and no losses.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay import record_problem, replay_gradients
        >>> phase_map = predict_map(replay_gradients(record_problem(counterexample(n=10), steps=10)))
        >>> [phase_map.word(beta1=0.9, beta2=beta2) for beta2 in (0.5, 0.8, 0.99)]
        ['failing', 'degraded', 'good']
    """
    expect(replay, Replay, "replay", "predict_map(replay_gradients(stream))")
    x, y = Axis("beta1", tuple(replay.beta1.tolist())), Axis("beta2", tuple(replay.beta2.tolist()))
    verdicts, stream = predicted(replay), replay.stream
    fixed = {"eps": replay.eps, **({"batch_size": stream.batch_size} if stream.batch_size else {})}
    cells = {spot: _cell(replay, spot, int(verdicts[spot])) for spot in np.ndindex(verdicts.shape)}
    return PhaseMap(
        problem=name or stream.about.get("problem", "recorded gradients"), rule="Adam", x=x, y=y, fixed=fixed,
        cells=cells, verdicts=verdicts, p_fail=np.full(verdicts.shape, np.nan), initial=math.nan, best=math.nan,
        thresholds=Thresholds(GOOD_BELOW, FAILING_ABOVE), marks=_marks(fixed, settings, x, y, verdicts),
        curves=(_curve(replay), *known_curves(x, y, None)[:1]), recommendation=_recommended(x, y, cells, verdicts),
        facts=_facts(replay), predicted=Prediction(_rests_on(stream), _notes(replay.whole)),
    )  # fmt: skip


def _cell(replay: Replay, spot: Spot, verdict: int) -> Cell:
    betas = {"beta1": float(replay.beta1[spot[0]]), "beta2": float(replay.beta2[spot[1]])}
    cost = float(np.nan_to_num(replay.whole.cost[spot], nan=math.inf, posinf=math.inf))
    return Cell(betas, (), cost, verdict, math.nan, math.nan, math.nan, np.zeros(0))


def _marks(
    fixed: Mapping[str, float],
    settings: Mapping[str, float] | None,
    x: Axis,
    y: Axis,
    verdicts: np.ndarray,
) -> tuple[Mark, ...]:
    every = {**common_settings(fixed), **({"yours": settings} if settings else {})}
    found = [mark(label, at, x, y, verdicts) for label, at in every.items()]
    return tuple(one for one in found if one is not None)


def _curve(replay: Replay) -> Curve:
    return Curve(
        "predicted beta2*", replay.beta1, np.where((t := thresholds(replay)) > 0, t, np.nan)
    )


def _recommended(
    x: Axis, y: Axis, cells: Mapping[Spot, Cell], verdicts: np.ndarray
) -> Recommendation | None:
    column = int(np.argmin(np.abs(x.positions - position(x.name, USUAL))))
    found = recommend(
        x, y, {spot: cell for spot, cell in cells.items() if spot[0] == column}, verdicts
    )
    if found is None:
        return None
    reason = found.reason.replace("training is good", "training is predicted to be good")
    return replace(
        found, reason=f"Of the beta2 at the usual beta1, {reason[0].lower()}{reason[1:]}"
    )


def _rests_on(stream: Gradients) -> str:
    size = f"of batch {stream.batch_size} " if stream.batch_size else ""
    how = {
        "averaged": "averaged from smaller batches",
        "extrapolated": "EXTRAPOLATED from larger batches",
    }
    parts = [
        f"predicted from {stream.steps} gradients {size}at {stream.coordinates} coordinates, nothing trained"
    ]
    parts += [how[stream.changed]] if stream.changed else []
    return " · ".join([*parts, "weights frozen" if stream.frozen else "weights moving"])


def _notes(whole: Quantities) -> tuple[str, ...]:
    """One line a cell, cell by cell as verdicts are laid out."""
    columns = (whole.cost, whole.cosine, whole.flipped, whole.rms, whole.largest)
    return tuple(
        f"cost {_short(cost)}, cosine {cosine:.3f}, flipped {flipped:.1%}, update RMS {rms:.3g}, largest {largest:.3g}"
        for cost, cosine, flipped, rms, largest in zip(
            *(each.ravel() for each in columns), strict=True
        )
    )


def _short(cost: float) -> str:
    return f"{cost:.3g}" if math.isfinite(cost) else "infinite (uphill)"


def _facts(replay: Replay) -> dict[str, str]:
    stream = replay.stream
    weights = "stood still: E[m / sqrt(v)] is exact for these minibatches" if stream.frozen else (
        "moved: what the gradient changed by on the way counts as noise"
    )  # fmt: skip
    told = {
        "gradients": f"{stream.steps} rows, {stream.coordinates} coordinates of {len(stream.layers)} tensors",
        "weights": weights,
        "steps before": str(stream.step),
        "noise": f"{replay.whole.noise:.3g} times the mean gradient, in squares",
        **({"batch": stream.changed} if stream.changed else {}),
        **stream.about,
    }
    if not replay.resolved:
        told["warning"] = (
            "the mean gradient is no larger than its own sampling error: record more steps"
        )
    return told
