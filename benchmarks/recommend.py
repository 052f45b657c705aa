"""Losses of the recommended setting on seeds that no map used, against the default and the best.

`python -m benchmarks.recommend [PROBLEM ...]`: built-in problems or file.py:name; by default those
of `benchmarks/recommend_problems`, about an hour and a half. For each problem a map of 8 x 8 cells is trained
and recommends a setting. Then, with fresh seeds:

- the score of the recommendation, of the rule's default betas at the given learning rate, and of the
  default at its best learning rate: 0 is the best of a lattice of 12 betas x 7 learning rates, 1 the
  loss before training;
- the gain over the default at the given learning rate, as stated and as measured, and whether the
  stated interval contains the measured gain.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.stored_maps import open_trials
from betaplane.errors import BadInput
from betaplane.maps import map_phases
from betaplane.maps.decision import gain
from betaplane.maps.resources import temporary_store
from betaplane.problems.source import as_problem

FOLDER = Path(__file__).with_name("recommend_problems")
DEFAULT = (0.9, 0.999)
BETAS = (
    DEFAULT, (0.9, 0.99), (0.9, 0.95), (0.9, 0.9), (0.95, 0.99), (0.8, 0.95),
    (0.5, 0.9), (0.5, 0.99), (0.5, 0.999), (0.0, 0.9), (0.0, 0.99), (0.98, 0.999),
)  # fmt: skip
EXPONENTS = range(-3, 4)
LATTICE_SEEDS = range(2000, 2002)
SEEDS = range(2000, 2012)


@dataclass(frozen=True)
class Row:
    """What was measured on one problem."""

    is_no_worse: bool  # than the default at the given learning rate, within noise
    holds: bool | None  # the stated interval contains the gain; None if no gain is stated
    scores: tuple[float, float, float]  # recommended, default, default at its best learning rate


def main(sources: list[str]) -> None:
    """Print a row per problem and the counts."""
    heads = (
        f"{'problem':<20}{'runs':>5}  {'recommended':<28}{'score':>7}{'default':>8}{'its lr':>8}"
    )
    print(f"{heads}  gain over the default: stated, measured")
    rows = [row for source in sources or own_problems() if (row := measure(source)) is not None]
    stated = [row.holds for row in rows if row.holds is not None]
    close = [sum(row.scores[k] <= 0.1 for row in rows) for k in range(3)]
    print(
        f"\nno worse than the default within noise: {sum(r.is_no_worse for r in rows)} of {len(rows)}"
    )
    print(f"stated intervals that contain the measured gain: {sum(stated)} of {len(stated)}")
    print(f"within 10% of the way from the best: {close[0]} of {len(rows)}; ", end="")
    print(f"the default {close[1]}, at its best lr {close[2]}")


def own_problems() -> list[str]:
    """References to the problems of the folder."""
    return [
        f"{path}:{'trainer' if 'trainer =' in path.read_text() else 'problem'}"
        for path in sorted(FOLDER.glob("*.py"))
    ]


def measure(source: str) -> Row | None:
    """Map a problem, train what is compared on fresh seeds, print a line; None without an answer."""
    start = time.perf_counter()
    with ExitStack() as stack:
        path = temporary_store(stack)
        try:
            phase_map = map_phases(source, points=8, store=path, workers=1, progress=False)
        except BadInput as error:  # such as a library that is not installed
            print(error, flush=True)
            return None
        recommendation = phase_map.recommendation
        if recommendation is None or recommendation.decision is None:
            print(f"{phase_map.problem:<20} no recommendation")
            return None
        names = ("lr", "beta1", "beta2")
        setting = {name: recommendation.settings[name] for name in names}
        finals, initial = compare(source, path, setting, stack)
    stated, measured = recommendation.decision.gain, gain(finals[0], finals[1], initial)
    holds = None if stated.middle == 0 else stated.low <= measured.middle <= stated.high
    scores = scored(finals, initial)
    text = f"lr {setting['lr']:.3g} ({setting['beta1']:.4g}, {setting['beta2']:.5g})"
    numbers = "".join(f"{score:>8.3f}" for score in scores)
    seconds = time.perf_counter() - start
    print(f"{phase_map.problem:<20}{phase_map.trainings:>5}  {text:<28}{numbers}", end="  ")
    print(f"{stated}; {measured}; {holds} ({seconds:.0f} s)", flush=True)
    return Row(measured.high >= 0, holds, scores)


def compare(
    source: str, path: Path, setting: Mapping[str, float], stack: ExitStack
) -> tuple[np.ndarray, np.ndarray]:
    """Final losses (4, seeds) of the setting, the default, the default at its best learning rate
    and the best of the lattice; initial losses (seeds,).
    """
    trials = open_trials(as_problem(source), path, stack, runs=500)
    plan = trials.plan
    lattice = [
        {"beta1": beta1, "beta2": beta2, "lr": plan.lr * 3.0**k}
        for beta1, beta2 in BETAS
        for k in EXPONENTS
    ]
    rough = trials.finals(lattice, LATTICE_SEEDS).mean(axis=1)
    rough[np.isnan(rough)] = np.inf
    at_best_lr = lattice[int(np.argmin(rough[: len(EXPONENTS)]))]
    default = {"beta1": DEFAULT[0], "beta2": DEFAULT[1], "lr": plan.lr}
    settings = [setting, default, at_best_lr, lattice[int(np.argmin(rough))]]
    return trials.finals(settings, SEEDS), trials.initials(SEEDS)


def scored(finals: np.ndarray, initial: np.ndarray) -> tuple[float, float, float]:
    """The scores of the first three settings; 0 is the best of all four."""
    mean = np.minimum(np.where(np.isfinite(finals), finals, np.inf), initial).mean(axis=1)
    way = max(float(initial.mean() - mean.min()), np.finfo(float).tiny)
    first, second, third, _ = ((mean - mean.min()) / way).tolist()
    return first, second, third


if __name__ == "__main__":
    main(sys.argv[1:])
