"""Faults that recommendations of other criteria have, counted in those of maps.

`python -m benchmarks.recommend_figures [digits | recommendations | small ...] [PROBLEM ...]`, by
default all three tables. The learning rate and betas of a recommendation are compared with the
default on twelve seeds that no map used; "better" and "worse" mean that the 95% interval of the
gain, over paired seeds, excludes 0.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.recommend import DEFAULT, SEEDS
from benchmarks.stored_maps import open_trials, small_map, small_store
from benchmarks.verdicts import TWELVE
from betaplane.maps import PhaseMap, map_phases
from betaplane.maps.decision import Gain, gain
from betaplane.maps.phase_map import FAILING, GOOD
from betaplane.maps.recommend import is_on_edge
from betaplane.maps.resources import temporary_store
from betaplane.problems.source import as_problem

SMALL = (
    "digits:steps=300",
    "digits:model=logistic,steps=300",
    "sparse:steps=300",
    "counterexample:n=10",
)
FAULTS = ("beta1 = 0", "beta1 >= sqrt(beta2)", "on an edge of the map", "on an unmarked edge")


def main(arguments: list[str]) -> None:
    """Print the tables."""
    sources = [argument for argument in arguments if argument not in TABLES]
    names = [name for name in TABLES if name in arguments]
    for name in names or (["recommendations"] if sources else TABLES):
        start = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name](*([sources] if name == "recommendations" else []))
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)


def digits_table() -> None:
    """The map of the digits as `betaplane map digits` makes it: mean training loss of the
    recommendation, of the default, and of the map's best cell at the given learning rate.
    """
    with ExitStack() as stack:
        path = temporary_store(stack)
        phase_map = map_phases("digits", store=path, workers=1, progress=False)
        found = phase_map.recommendation
        assert found is not None
        assert found.decision is not None
        best = min(phase_map.cells.values(), key=lambda cell: cell.score)
        settings = {
            "recommended": found.settings,
            "default at the given lr": found.decision.default,
            "default at its best lr": found.decision.best_default,
            "best cell at the given lr": best.settings,
        }
        names = ("lr", "beta1", "beta2")
        trials = open_trials(as_problem("digits"), path, stack, runs=48)
        chosen = [{name: s[name] for name in names} for s in settings.values()]
        finals = trials.finals(chosen, SEEDS)
    for name, s, losses in zip(settings, chosen, finals, strict=True):
        text = f"lr {s['lr']:.3g} ({s['beta1']:.4g}, {s['beta2']:.5g})"
        print(f"{name:<28}{text:<32}{losses.mean():.4f}")


@dataclass(frozen=True)
class Compared:
    """A recommendation against the default."""

    at_given_lr: Gain
    at_best_lr: Gain
    lr_alone: Gain  # of the default at its best learning rate over the given one
    faults: tuple[str, ...]


def recommendations_table(sources: list[str]) -> None:
    """Recommendations of maps of 8 x 8 cells, on twelve problems or on those given: their gains over
    the default at the given and at its best learning rate, and what is wrong with them.
    """
    rows = [compare(source) for source in sources or TWELVE]
    found = [row for row in rows if row is not None]
    print(f"no recommendation: {len(rows) - len(found)} of {len(rows)}")
    for name in ("at_given_lr", "at_best_lr"):
        counts = Counter(outcome(getattr(row, name)) for row in found)
        where = name.removeprefix("at_").replace("_", " ")
        print(
            f"default at the {where}: better {counts['better']}, even {counts['even']}, "
            f"worse {counts['worse']}"
        )
    faults = Counter(fault for row in found for fault in row.faults)
    for fault in FAULTS:
        print(f"{fault}: {faults[fault]} of {len(found)}")
    alone = np.median([row.lr_alone.middle for row in found])
    betas = np.median([row.at_best_lr.middle for row in found])
    print(f"median gain of the learning rate alone {alone:.1%}, of betas beyond it {betas:.1%}")


def compare(source: str) -> Compared | None:
    """Compare the recommendation of a problem's map with the default, and print a row."""
    phase_map = small_map(source)
    found = phase_map.recommendation
    if found is None or found.decision is None:
        print(f"{phase_map.problem:<20} no recommendation", flush=True)
        return None
    names = ("lr", "beta1", "beta2")
    settings = [found.settings, found.decision.default, found.decision.best_default]
    with ExitStack() as stack:
        trials = open_trials(as_problem(source), small_store(source), stack, runs=36)
        finals = trials.finals([{n: s[n] for n in names} for s in settings], SEEDS)
        initial = trials.initials(SEEDS)
    row = Compared(
        gain(finals[0], finals[1], initial),
        gain(finals[0], finals[2], initial),
        gain(finals[2], finals[1], initial),
        tuple(faults_of(phase_map)),
    )
    lr, beta1, beta2 = (found.settings[name] for name in names)
    text = f"lr {lr:.3g} ({beta1:.4g}, {beta2:.5g})"
    shown = f"{row.at_given_lr.middle:>9.1%}{row.at_best_lr.middle:>9.1%}"
    print(f"{phase_map.problem:<20}{text:<30}{shown}  {', '.join(row.faults)}", flush=True)
    return row


def faults_of(phase_map: PhaseMap) -> list[str]:
    """What is wrong with a map's recommendation, unless it keeps the default betas."""
    found = phase_map.recommendation
    assert found is not None
    beta1, beta2 = found.settings["beta1"], found.settings["beta2"]
    if (beta1, beta2) == DEFAULT:
        return []
    on_edge = is_on_edge(phase_map.x, phase_map.y, found.spot)
    marked = any("edge of the map" in note for note in found.notes)
    holds = (beta1 == 0, 0 < beta1 >= beta2**0.5, on_edge, on_edge and not marked)
    return [fault for fault, is_fault in zip(FAULTS, holds, strict=True) if is_fault]


def outcome(found: Gain) -> str:
    """Whether a setting is better or worse than another beyond noise."""
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "even"


def small_table() -> None:
    """Maps of 5 x 5 and 6 x 6 cells against dense maps of the same cells: inferred cells, those
    inferred to fail that are good, and all those with another verdict.
    """
    heads = ("inferred", "good", "other")
    print(f"{'problem':<34}{'cells':>6}", *(f"{head:>9}" for head in heads))
    for source in SMALL:
        for points in (5, 6):
            small_row(source, points)


def small_row(source: str, points: int) -> None:
    """A row of `small_table`."""
    how: dict[str, Any] = {"search_lr": False, "workers": 1, "progress": False}
    refined = map_phases(source, points=points, **how)
    dense = map_phases(source, points=points, dense=True, **how)
    inferred = np.ones(refined.verdicts.shape, bool)
    for spot in refined.cells:
        inferred[spot] = False
    other = inferred & (refined.verdicts != dense.verdicts)
    good = inferred & (refined.verdicts == FAILING) & (dense.verdicts == GOOD)
    counts = (inferred.sum(), good.sum(), other.sum())
    print(f"{source:<34}{points} x {points}", *(f"{n:>9}" for n in counts), flush=True)


TABLES = {
    "digits": digits_table,
    "recommendations": recommendations_table,
    "small": small_table,
}

if __name__ == "__main__":
    main(sys.argv[1:])
