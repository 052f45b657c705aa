"""The counterexample (Zhang et al. 2022): the critical beta2 by training, against theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.known_results.table import best_loss, deviation, row
from betaplane.maps.phase_map import FAILING, Thresholds
from betaplane.maps.verdicts import score, verdict
from betaplane.problems import Problem, counterexample
from betaplane.problems.problem import Order
from betaplane.replicas import Options, Run, train_stacked
from betaplane.rules import Adam
from betaplane.theory import critical_beta2, critical_with_replacement

Pairs = Sequence[tuple[float, float]]  # (beta1, 1 - beta2)
Divergence = Callable[[Pairs], np.ndarray]  # > 0 for pairs at which Adam diverges


def far_field(n: int, order: Order = "cyclic", steps: int = 10_000) -> Problem:
    """The counterexample with a start so far away that no run arrives at the minimum, and a
    constant lr.

    In float64, since at x = 1000 steps of this size would be rounded to multiples of float32's
    spacing.
    """
    return counterexample(
        n, order=order, x0=1e3, steps=steps, lr=0.01, schedule="constant", dtype=torch.float64
    )


def speed(problem: Problem, pairs: Pairs, seeds: int = 1) -> np.ndarray:
    """The mean increase of x per step over lr, in the second half of the steps; (pairs, seeds)."""
    runs = [adam(problem, *pair, seed) for pair in pairs for seed in range(seeds)]
    independent = problem.order != "cyclic"
    outcomes = train_stacked(problem, runs, Options(early_stop=False, independent=independent))
    unit = problem.steps / 2 * problem.lr * float(problem.inputs.mean())
    increases = np.array([o.curve[-1] - o.curve[49] for o in outcomes], dtype=float)
    return increases.reshape(len(pairs), seeds) / unit


def adam(problem: Problem, beta1: float, q: float, seed: int = 0) -> Run:
    return Run(Adam(beta1=beta1, beta2=1 - q), problem.lr, problem.batch_size, seed)


def failing(problem: Problem, pairs: Pairs) -> np.ndarray:
    """1 for pairs that are failing on a map, else -1."""
    outcomes = train_stacked(problem, [adam(problem, *pair) for pair in pairs])
    scores = [score(outcome.final, outcome.initial, best_loss(problem)) for outcome in outcomes]
    return np.array([1.0 if verdict(s, Thresholds()) == FAILING else -1.0 for s in scores])


def boundaries(
    divergence: Divergence, beta1s: Sequence[float], lowest: float = 3e-4
) -> list[float]:
    """The smallest 1 - beta2 at which Adam diverges, for each beta1; nan if there is none, 0 if it
    diverges at the lowest.

    It is found on a grid over (lowest, 1), then on a finer grid around the change.
    """
    grids = {beta1: np.geomspace(lowest, 1.0, 24) for beta1 in beta1s}
    smallest = dict.fromkeys(beta1s, math.nan)
    for _ in range(2):
        pairs = [(beta1, float(q)) for beta1, grid in grids.items() for q in grid]
        scores = iter(divergence(pairs))
        for beta1, grid in list(grids.items()):
            values = np.array([next(scores) for _ in grid])
            first = int((values > 0).argmax())
            if first == 0:  # Adam diverges at all points, or at none
                smallest[beta1] = 0.0 if values[0] > 0 else math.nan
                del grids[beta1]
                continue
            (low, high), q = values[first - 1 : first + 1], np.log(grid[first - 1 : first + 1])
            smallest[beta1] = math.exp(q[0] - low * (q[1] - q[0]) / (high - low))
            grids[beta1] = np.exp(np.linspace(q[0], q[1], 12))
    return [smallest[beta1] for beta1 in beta1s]


def random_order_boundary(n: int, beta1: float, order: Order) -> float:
    """The 1 - beta2 at which the mean speed changes sign if the losses have a random order.

    It is the root of a parabola in log(1 - beta2) through the means over seeds; nan if the parabola
    does not have exactly one root in the window.
    """
    center = (
        1 - critical_beta2(beta1, n) if order == "shuffle" else critical_with_replacement(beta1, n)
    )
    grid = center * np.geomspace(0.4, 2.0, 8)
    seeds = 32 if order == "shuffle" else 128  # independent draws are noisier
    pairs = [(beta1, float(q)) for q in grid]
    speeds = speed(far_field(n, order, steps=20_000), pairs, seeds).mean(axis=1)
    curve = np.polynomial.Polynomial.fit(np.log(grid), speeds, 2)
    inside = [
        math.exp(r.real)
        for r in curve.roots()
        if abs(r.imag) < 1e-9 and grid[0] < math.exp(r.real) < grid[-1]
    ]
    return inside[0] if len(inside) == 1 else math.nan


# Critical 1 - beta2 at a = 1 from simulated averages (3e6 steps, error about 2%).
MONTE_CARLO: dict[tuple[int, float, Order], float] = {
    (10, 0.0, "shuffle"): 0.0419,
    (10, 0.9, "shuffle"): 0.135,
    (20, 0.0, "shuffle"): 0.0103,
    (20, 0.9, "shuffle"): 0.0210,
    (10, 0.0, "replacement"): 0.0223,
    (10, 0.9, "replacement"): 0.0270,
    (20, 0.0, "replacement"): 0.00526,
    (20, 0.9, "replacement"): 0.00554,
}


def counterexample_table() -> None:
    """Critical 1 - beta2 in cyclic order, by the direction of x and by the verdict of a map with
    its defaults.

    Verdicts are for 20,000 steps from x0 = 1. If the drift is slow (large n), some converging runs
    have not arrived yet. Near the minimum, if beta1 > sqrt(beta2), Adam can diverge although it
    would converge from far away.
    """
    row("n", "beta1", "closed form", "by direction", "off by", "by verdict", "off by")
    beta1s = (0.0, 0.5, 0.9)
    for n in (5, 10, 20, 50):
        far, near = far_field(n), counterexample(n)
        by_direction = boundaries(lambda pairs, p=far: speed(p, pairs)[:, 0], beta1s)
        by_verdict = (
            boundaries(lambda pairs, p=near: failing(p, pairs), beta1s)
            if n < 50
            else [math.nan] * 3
        )
        for beta1, direction, judged in zip(beta1s, by_direction, by_verdict, strict=True):
            exact = 1 - critical_beta2(beta1, n)
            errors = deviation(direction, exact, ".2%"), deviation(judged, exact)
            row(n, beta1, exact, direction, errors[0], judged, errors[1])


def order_table() -> None:
    """Critical 1 - beta2 in random order; 32 (shuffle) or 128 seeds of 20,000 steps per point."""
    row("n", "beta1", "order", "by direction", "simulated", "off by", "1st order", "cyclic")
    for (n, beta1, order), simulated in MONTE_CARLO.items():
        measured = random_order_boundary(n, beta1, order)
        first = critical_with_replacement(beta1, n) if order == "replacement" else math.nan
        error, cyclic = deviation(measured, simulated), 1 - critical_beta2(beta1, n)
        row(n, beta1, order, measured, simulated, error, first, cyclic)
