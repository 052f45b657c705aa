"""Fixed betas and then a problem, or a fixed problem and then betas (Reddi, Zhang)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from betaplane.claims.checks import AtLeast, AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem, counterexample
from betaplane.replicas import Run
from betaplane.rules import Adam
from betaplane.theory import critical_beta2, failing_period, reddi_period

BETAS = ((0.0, 0.9), (0.0, 0.99), (0.9, 0.95), (0.9, 0.99), (0.9, 0.999))
PERIODS = range(3, 91)
PROBLEMS = (5, 10, 20, 50)  # n
BETA1S = (0.0, 0.5, 0.9)
STEPS = 40_000  # at least; whole cycles, the second half is measured
LR = 1e-6  # so small that every run remains where the losses are linear
TRAINED_N, TRAINED_BETA1 = 10, 0.9


def measure(lab: Lab) -> None:
    """Search the smallest failing n at fixed betas, and the threshold of beta2 at fixed n."""
    _measure_periods(lab)
    rows = [row for n in PROBLEMS for row in _measure_thresholds(lab, n)]
    columns = ("n", "beta1", "critical 1 - beta2, measured", "exact")
    lab.tabulate(Table("The threshold of a fixed problem", columns, rows))
    _train_to_the_end(lab)


def _measure_periods(lab: Lab) -> None:
    """The smallest n at which Adam moves away from the minimum, for several betas."""
    rises = np.array([_speeds(lab, n, BETAS) for n in PERIODS]) > 0
    smallest = [PERIODS[int(column.argmax())] if column.any() else math.inf for column in rises.T]
    for betas, n in zip(BETAS, smallest, strict=True):
        note = "the smallest even n that Theorem 2's condition covers: sufficient, not necessary"
        published = float(reddi_period(*betas))
        lab.measure(f"smallest failing n at {_text(betas)}", n, "losses", published, note)
    exact = [failing_period(*betas) for betas in BETAS]
    rows = [(*b, n, e) for b, n, e in zip(BETAS, smallest, exact, strict=True)]
    columns = ("beta1", "beta2", "smallest failing n, measured", "from the sign of the drift")
    lab.tabulate(Table("The smallest n on which fixed betas fail", columns, rows))


def _measure_thresholds(lab: Lab, n: int) -> list[tuple[float, ...]]:
    """The beta2 at which the motion turns, by two grids of 1 - beta2, the second one finer."""
    rows = []
    for beta1 in BETA1S:
        exact = critical_beta2(beta1, n)
        if math.isnan(exact):
            continue
        grid = np.geomspace(3e-4, 0.9, 60)
        for points in (30, 0):
            q, grid = _turn(grid, _speeds(lab, n, [(beta1, 1 - float(q)) for q in grid]), points)
        name = f"critical 1 - beta2 at n = {n}, beta1 = {beta1:g}, measured / exact"
        lab.measure(name, q / (1 - exact))
        rows.append((n, beta1, q, 1 - exact))
    return rows


def _turn(grid: np.ndarray, speeds: np.ndarray, points: int) -> tuple[float, np.ndarray]:
    """The first 1 - beta2 at which the speed turns positive, and a finer grid around it."""
    rising = np.flatnonzero(speeds > 0)
    if not len(rising) or rising[0] == 0:
        return math.nan, grid
    i = rising[0]
    low, high = math.log(grid[i - 1]), math.log(grid[i])
    share = -speeds[i - 1] / (speeds[i] - speeds[i - 1])
    finer = np.exp(np.linspace(low, high, points)) if points else grid
    return math.exp(low + share * (high - low)), finer


def _train_to_the_end(lab: Lab) -> None:
    """Final losses on both sides of the threshold, with the diminishing steps of the theorem."""
    problem = counterexample(TRAINED_N, steps=20_000)
    critical = 1 - critical_beta2(TRAINED_BETA1, TRAINED_N)
    ratios = np.geomspace(0.05, 4, 40)
    runs = [_run(TRAINED_BETA1, 1 - critical * float(r), problem.lr) for r in ratios]
    outcomes = lab.train(problem, runs, _options(100))
    best = float(problem.best or 0)
    gaps = np.array([outcome.final - best for outcome in outcomes]) / (outcomes[0].initial - best)
    above, below = ratios < 0.7, (ratios > 1.4) & (critical * ratios < 0.8)
    lab.measure("largest remaining loss at beta2 above the threshold", gaps[above].max())
    lab.measure("smallest remaining loss at beta2 below the threshold", gaps[below].min())
    title = f"Fixed n = {TRAINED_N}, beta1 = {TRAINED_BETA1}: a threshold"
    series = (Series("after 20,000 steps", critical * ratios, gaps),)
    label = "remaining share of the initial loss"
    lab.draw(Panel(title, "1 - beta2", label, series, "log", "log", x_lines=(critical,)))
    _draw_periods(lab)


def _draw_periods(lab: Lab) -> None:
    q = np.geomspace(0.001, 0.2, 24)
    exact = {b1: [failing_period(b1, 1 - float(each)) for each in q] for b1 in (0.0, 0.9)}
    measured = {
        betas: lab.measured[f"smallest failing n at {_text(betas)}"].mean for betas in BETAS
    }
    series = [Series(f"beta1 = {b1:g}, exact", q, ns) for b1, ns in exact.items()]
    for b1 in exact:
        x = [1 - beta2 for beta1, beta2 in BETAS if beta1 == b1]
        y = [n for (beta1, _), n in measured.items() if beta1 == b1]
        series.append(Series(f"beta1 = {b1:g}, measured", x, y, style="points"))
    title = "Fixed betas: there is a problem that fails"
    lab.draw(Panel(title, "1 - beta2", "smallest failing n", series, "log", "log"))


def _speeds(lab: Lab, n: int, pairs: Sequence[tuple[float, float]]) -> np.ndarray:
    """How far x moves in the second half of a run over whole cycles; > 0 is away from x*."""
    problem = _far(n)
    outcomes = lab.train(problem, [_run(*pair, LR) for pair in pairs], _options(2))
    return np.array([float(outcome.curve[1]) - float(outcome.curve[0]) for outcome in outcomes])


def _far(n: int) -> Problem:
    """The counterexample at a learning rate so small that x remains near 0, in the linear part."""
    steps = 2 * n * math.ceil(STEPS / 2 / n)
    return counterexample(n, x0=0.0, steps=steps, lr=LR, schedule="constant", dtype=torch.float64)


def _run(beta1: float, beta2: float, lr: float) -> Run:
    return Run(Adam(beta1=beta1, beta2=beta2, eps=0.0), lr, 1, 0)


def _options(points: int):
    return replace(WHOLE, points=points, independent=False)


def _text(betas: tuple[float, float]) -> str:
    return f"beta1 = {betas[0]:g}, beta2 = {betas[1]:g}"


CLAIM = Claim(
    name="fixed-betas",
    title="Which comes first: the betas or the problem",
    statement="For every fixed beta1 < sqrt(beta2) there is a convex problem on which Adam moves "
    "away from the minimum; for every fixed problem there is a beta2 above which it converges.",
    sources=(
        Source("S. Reddi, S. Kale, S. Kumar", 2018, "1904.09237", "Theorem 2"),
        Source("Y. Zhang, C. Chen, N. Shi, R. Sun, Z.-Q. Luo", 2022, "2208.09632", "Theorem 3.1"),
        Source("Y. Zhang, C. Li, C. Chen, Z.-Q. Luo, R. Sun", 2026, "2603.02092", "Theorem 2.2"),
    ),
    setting="The counterexample of n losses in cyclic order (a = 1), eps 0: the direction of motion "
    "far from the minimum in float64, and runs to the end with lr 0.7 / sqrt(t). The exact values "
    "follow from the stationary drift, `betaplane.theory.drift`.",
    checks=(
        *(Near(f"smallest failing n at {_text(b)}", failing_period(*b), 0) for b in BETAS),
        *(
            Near(f"critical 1 - beta2 at n = {n}, beta1 = {b:g}, measured / exact", 1.0, 0.002)
            for n in PROBLEMS
            for b in BETA1S
            if not math.isnan(critical_beta2(b, n))
        ),
        AtMost("largest remaining loss at beta2 above the threshold", 0.05),
        AtLeast("smallest remaining loss at beta2 below the threshold", 1.0),
    ),
    measure=measure,
    seeds=1,
)
