"""Plan the few runs of a large model that confirm where it fails along beta2.

A replay of its recorded gradients predicts the boundary of failure; the map of a narrower model on
the same data may add another prediction. Runs are chosen where they decide most, and their results
update the belief. Predictions only choose the runs: they never outweigh them, since each may be
wrong with a probability of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.boundary_belief import MAX_RUNS, Belief, belief, choose, contradictions
from betaplane.maps.grid import position, round_horizon
from betaplane.maps.imports.read import read_sweep
from betaplane.maps.phase_map import FAILING, VERDICTS, Thresholds
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store
from betaplane.maps.verdicts import median_of_finite, score, verdict
from betaplane.replay import Gradients, horizons, replay_gradients, thresholds
from betaplane.replay.predict import FAILING_ABOVE

HIGHEST = 4.0  # decades of the longest horizon of beta2 that is considered
MAX_CONTRADICTIONS = 2
SAME_BETA1 = 0.25  # decades; a proxy's column or a result this near counts as at beta1


@dataclass(frozen=True)
class Confirmation:
    """What is known about the boundary at one beta1, and which runs to make next."""

    beta1: float
    predictions: Mapping[str, float]  # beta2 of the boundary, by what predicted it
    results: int  # runs that were taken into account
    # results that contradict a single boundary; from MAX_CONTRADICTIONS on it is unknown
    contradictions: int
    boundary: tuple[float, float, float] | None  # beta2: 5%, 50% and 95% quantile
    deviation: float  # standard deviation of the boundary, in decades of the horizon
    runs: tuple[dict[str, float], ...]  # settings, in ascending beta2
    expected_deviation: float  # after these runs


def confirm(
    recording: Gradients,
    beta1: float = 0.9,
    runs: int = 8,
    *,
    batch_size: int | None = None,
    proxy: str | Path | None = None,
    results: str | Path | None = None,
    initial: float | None = None,
    loss: str | None = None,
) -> Confirmation:
    """Choose the runs that confirm where training fails along beta2.

    Args:
        recording: gradients of the large model.
        beta1: at which beta2 is varied, in [0, 1).
        runs: number of runs to choose, in [1, 12].
        batch_size: of the runs, if it is not that of the recording.
        proxy: JSON of the map of a narrower model on the same data (`betaplane map --json`).
        results: runs that were made: a file that `import_sweep` reads, or a store.
        initial: the loss before training, if the results have final losses only.
        loss: name of the column of the loss in the results.

    Raises:
        BadInput: an argument is out of range, or a file does not fit.

    Example:
        >>> from betaplane.problems import counterexample
        >>> from betaplane.replay import record_problem
        >>> found = confirm(record_problem(counterexample(n=10), steps=160), runs=3)
        >>> len(found.runs), found.deviation > 2 * found.expected_deviation
        (3, True)
    """
    _check(beta1, runs)
    predictions = {"replay": predicted_position(recording, beta1, batch_size)}
    if proxy is not None:
        predictions["proxy map"] = proxy_position(proxy, beta1)
    outcomes = _outcomes(results, beta1, initial, loss) if results is not None else []
    known = belief(0.0, HIGHEST, list(predictions.values())).after(outcomes)
    chosen, against = choose(known, runs), contradictions(outcomes)
    return Confirmation(
        beta1=beta1,
        predictions={name: beta2_at(place) for name, place in predictions.items()},
        results=len(outcomes),
        contradictions=against,
        boundary=None if against >= MAX_CONTRADICTIONS else _quantiles(known),
        deviation=known.deviation(),
        runs=tuple({"beta1": beta1, "beta2": beta2_at(q)} for q in sorted(chosen.places)),
        expected_deviation=chosen.deviation,
    )


def beta2_at(place: float) -> float:
    """The beta2 at a position.

    Example:
        >>> beta2_at(0.0), beta2_at(2.0), beta2_at(1.3)
        (0.0, 0.99, 0.94988)
    """
    return round_horizon(1 - 10.0**-place)


def _quantiles(known: Belief) -> tuple[float, float, float]:
    low, high = known.interval()
    return beta2_at(low), beta2_at(known.quantile(0.5)), beta2_at(high)


def _check(beta1: float, runs: int) -> None:
    if not 0 <= beta1 < 1:
        raise BadInput(
            "beta1 is out of range",
            value=beta1,
            allowed="[0, 1)",
            where="beta1",
            instead="beta1=0.9",
        )
    if not 1 <= runs <= MAX_RUNS:
        raise BadInput(
            "The number of runs is out of range",
            value=runs,
            allowed=f"[1, {MAX_RUNS}]",
            where="runs",
            instead="runs=8",
        )


def predicted_position(stream: Gradients, beta1: float, batch_size: int | None = None) -> float:
    """The end of the failing region that a replay predicts, in decades; 0 if nothing fails."""
    beta2 = horizons(10**HIGHEST)
    replay = replay_gradients(stream, [beta1], beta2, batch_size=batch_size)
    threshold = float(thresholds(replay, most=FAILING_ABOVE)[0])
    return HIGHEST if math.isnan(threshold) else position("beta2", threshold)


def proxy_position(path: str | Path, beta1: float) -> float:
    """The end of the failing region on a map, in decades: between the highest failing beta2 and the
    next one, at the nearest beta1.
    """
    cells = _proxy_cells(path)
    columns = {float(cell["beta1"]) for cell in cells}
    place = position("beta1", beta1)
    column = min(columns, key=lambda value: abs(position("beta1", value) - place))
    if abs(position("beta1", column) - place) > SAME_BETA1:
        raise BadInput(
            "The proxy map has no cells near beta1",
            value=column,
            allowed=f"a map whose beta1 includes {beta1:g}",
            where="proxy",
        )
    line = sorted((float(c["beta2"]), c["verdict"]) for c in cells if c["beta1"] == column)
    places = np.array([position("beta2", beta2) for beta2, _ in line])
    failing = [k for k, (_, word) in enumerate(line) if word == VERDICTS[FAILING]]
    if not failing:
        return 0.0
    last = failing[-1]
    return float(places[last : last + 2].mean())


def _proxy_cells(path: str | Path) -> list[dict[str, Any]]:
    try:
        cells = json.loads(Path(path).read_text())["cells"]
        good = bool(cells) and all({"beta1", "beta2", "verdict"} <= set(cell) for cell in cells)
    except (OSError, UnicodeError, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise BadInput(
            "The file is not the JSON of a map over beta1 and beta2",
            value=str(path),
            where="proxy",
            instead="betaplane map proxy.py:problem --json > proxy.json",
        )
    return cells


def _outcomes(
    source: str | Path, beta1: float, initial: float | None, loss: str | None
) -> list[tuple[float, bool]]:
    """Position, and whether it failed, of each run at beta1; a run without beta1 counts too."""
    place = position("beta1", beta1)
    records = [
        record
        for record in _records(source, initial, loss)
        if "beta2" in record.settings
        and abs(position("beta1", float(record.settings.get("beta1", beta1))) - place) < 1e-3
    ]
    if not records:
        raise BadInput(
            f"No result has a beta2 and beta1 = {beta1:g}",
            value=str(source),
            allowed="runs with the settings that were planned",
            where="results",
        )
    return [(position("beta2", float(r.settings["beta2"])), f) for r, f in _failed(records)]


def _records(source: str | Path, initial: float | None, loss: str | None) -> Sequence[Record]:
    if Path(source).suffix == ".sqlite" and "://" not in str(source):
        with Store.reopen(source) as store:
            return list(store.all())
    runs = read_sweep(str(source), loss=loss)
    if initial is None and any(run.is_final for run in runs):
        raise BadInput(
            "The loss before training is not known: the results have final losses only",
            allowed="the loss of the untrained model, which scores 1",
            where="initial",
            instead="initial=10.8  # for 50,000 tokens",
        )
    return [run.record(initial) for run in runs]


def _failed(records: Sequence[Record]) -> list[tuple[Record, bool]]:
    first = median_of_finite(record.initial for record in records)
    best = min((r.final for r in records if math.isfinite(r.final)), default=first)
    return [
        (record, verdict(score(record.final, first, best), Thresholds()) == FAILING)
        for record in records
    ]
