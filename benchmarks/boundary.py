"""Misjudged area of maps with few runs, and that of peers: `OMP_NUM_THREADS=1 python -m
benchmarks.boundary [RUNS ...] [--cases NAME ...]`.

Each method chooses its runs, and judges 100 x 100 places of the plane from their verdicts; the
figure is the share of places that it judges unlike the truth. The peers are a regular grid, whose
cells have the verdict of the nearest run, and, if it is installed, LearnerND of python-adaptive,
which splits the triangle with the largest change and interpolates linearly.

Cases: `counterexample` (n = 10, trained, over the horizons of beta1 and beta2, against the exact
boundary), `exact` (the same with exact verdicts), `bays` (a wave and an island), `noisy` (the same
with random verdicts near the boundary), `tongues` (thin strips). Required of `exact`: at most 0.8%
at 100 runs and 0.6% at 400. Runs of finite length cannot reach it on `counterexample`: the last line
is the share that is misjudged if every place is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from benchmarks.synthetic_maps import Bay, tongue, train
from betaplane.maps.phase_map import FAILING, GOOD, Thresholds
from betaplane.maps.sampling.ask_tell import Refine
from betaplane.maps.sampling.infer import judge_places
from betaplane.maps.verdicts import score, verdict
from betaplane.problems import counterexample
from betaplane.replicas import Run, train_stacked
from betaplane.rules import Adam

SIDE = 100  # places per axis that are judged
CELLS = 64  # of our map, per axis
DECADES = np.array([2.0, 4.0])  # of the horizons of beta1 and beta2
PROBLEM = counterexample(n=10)
RUNS = (50, 100, 400)
Place = tuple[float, float]  # shares of both axes
Label = Callable[[Sequence[Place], int], np.ndarray]  # whether runs at places fail, with a seed
Case = tuple[Label, np.ndarray]  # verdicts of runs, and the truth at PLACES

SHARES = (np.arange(SIDE) + 0.5) / SIDE
PLACES = np.array([(x, y) for x in SHARES for y in SHARES])


def ours(label: Label, runs: int, one_seed: bool) -> np.ndarray:
    """Refinement with a budget, judged by its surface."""
    boundary_seeds = 1 if one_seed else 4
    chooser = Refine((CELLS, CELLS), seeds=1, boundary_seeds=boundary_seeds, budget=runs)

    def vote(spot: tuple[int, int], seed: int) -> int:
        place = spot[0] / (CELLS - 1), spot[1] / (CELLS - 1)
        return FAILING if label([place], seed)[0] else GOOD

    votes = train(chooser, vote)
    assert sum(map(len, votes.values())) <= runs
    return judge_places(votes, PLACES * (CELLS - 1))[0] == FAILING


def regular_grid(label: Label, runs: int, _: bool) -> np.ndarray:
    """Each run stands for its cell."""
    nx = max(n for n in range(1, int(runs**0.5) + 1) if runs % n == 0)
    sides = [(np.arange(n) + 0.5) / n for n in (nx, runs // nx)]
    places = [(float(x), float(y)) for x in sides[0] for y in sides[1]]
    fails = np.array([label([place], 0)[0] for place in places])
    nearest = np.square(PLACES[:, None] - np.array(places)[None]).sum(-1).argmin(1)
    return fails[nearest]


def learner_nd(label: Label, runs: int, _: bool) -> np.ndarray:
    from adaptive import LearnerND, runner  # pyright: ignore[reportMissingImports]

    learner = LearnerND(lambda place: float(label([place], 0)[0]), [(0.0, 1.0), (0.0, 1.0)])
    runner.simple(learner, npoints_goal=runs)
    return learner._ip()(PLACES) > 0.5


def peers() -> dict[str, Callable[[Label, int, bool], np.ndarray]]:
    methods = {"betaplane": ours, "regular grid": regular_grid}
    try:
        import adaptive  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("python-adaptive is not installed: its column is left out")
        return methods
    return {**methods, "LearnerND": learner_nd}


def betas(place: Place) -> dict[str, Any]:
    at = np.array(place) * DECADES
    return {"beta1": float(1 - 10.0 ** -at[0]), "beta2": float(1 - 10.0 ** -at[1])}


def trained(places: Sequence[Place]) -> np.ndarray:
    """Whether runs at places fail."""
    runs = [Run(Adam(**betas(place)), PROBLEM.lr, 1, 0) for place in places]
    outcomes, best = train_stacked(PROBLEM, runs), PROBLEM.best
    assert best is not None
    scores = [score(outcome.final, outcome.initial, best) for outcome in outcomes]
    return np.array([verdict(value, Thresholds()) == FAILING for value in scores])


def of_counterexample(is_trained: bool) -> Case:
    known = PROBLEM.boundary
    assert known is not None
    critical = cache(known)

    def exact(place: Place) -> bool:
        setting = betas(place)
        return setting["beta2"] < critical(setting["beta1"])

    one = cache(lambda place: bool(trained([place])[0])) if is_trained else exact
    truth = np.array([exact((float(x), float(y))) for x, y in PLACES])
    return lambda places, _: np.array([one((float(x), float(y))) for x, y in places]), truth


def limit_of_training() -> float:
    """The misjudged area if every place is trained: verdicts of runs of finite length, some of
    which reach the minimum before they would diverge.
    """
    fails = trained([(float(x), float(y)) for x, y in PLACES])
    return float((fails != of_counterexample(False)[1]).mean())


def of_field(p_fail: np.ndarray, seed: int) -> Case:
    """Runs that fail with the probability of the nearest cell."""
    points = len(p_fail)
    drawn = np.random.default_rng(seed).random((points, points, 8)) < p_fail[..., None]

    def at(places: Sequence[Place] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells = np.minimum((np.array(places) * points).astype(int), points - 1)
        return cells[:, 0], cells[:, 1]

    return lambda places, run: drawn[..., run][at(places)], p_fail[at(PLACES)] > 0.5


CASES: dict[str, Callable[[], list[Case]]] = {
    "counterexample": lambda: [of_counterexample(True)],
    "exact": lambda: [of_counterexample(False)],
    "bays": lambda: [of_field(Bay(k, 256).p_fail(0.0), k) for k in range(5)],
    "noisy": lambda: [of_field(Bay(k, 256).p_fail(0.03), k) for k in range(5)],
    "tongues": lambda: [of_field(tongue(256, 16, k)[0].astype(float), k) for k in range(5)],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="*", type=int, default=RUNS)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    methods = peers()
    print(f"{'misjudged area, mean (worst)':28}" + "".join(f"{name:>18}" for name in methods))
    for name in arguments.cases:
        cases = CASES[name]()
        for runs in arguments.runs or RUNS:
            row = f"{name}, {runs} runs"
            print(f"{row:28}", end="", flush=True)
            for method in methods.values():
                wrong = [(method(label, runs, name != "noisy") != t).mean() for label, t in cases]
                print(f"{f'{np.mean(wrong):.2%} ({max(wrong):.2%})':>18}", end="", flush=True)
            print(flush=True)
        if name == "counterexample":
            print(f"  every place trained: {limit_of_training():.2%}", flush=True)


if __name__ == "__main__":
    main()
