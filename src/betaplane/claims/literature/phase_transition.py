"""The phase transition of Adam in the (beta1, beta2) plane (Zhang et al. 2022, 2026)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from betaplane.claims.checks import AtLeast, AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Heat, Panel, Series
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import counterexample
from betaplane.replicas import Run
from betaplane.rules import Adam
from betaplane.theory import critical_beta2, diverges

SIZES = (5, 10, 20, 50)
SHARES = {5: 0.528, 10: 0.861, 20: 0.965, 50: 0.9964}  # exact, on a grid of 200 x 200
PLANE = np.linspace(0, 0.995, 200)  # betas of both axes, for the direction of motion
BETAS = np.linspace(0, 0.995, 60)  # for runs to the end
STEPS, LR = 2400, 1e-6  # at least, in whole cycles; the second half is measured
DRAWN = 10  # n of the figure


def measure(lab: Lab) -> None:
    """The direction of Adam over the plane, for every n, and runs to the end at one n."""
    shares = []
    for n in map(int, lab.sizes):
        away = _away(lab, n)
        exact = diverges(PLANE[:, None], PLANE[None, :], n)
        shares.append(float(away.mean()))
        lab.measure(f"share of the plane that diverges at n = {n}", shares[-1])
        lab.measure(f"share of wrong cells at n = {n}", float((away != exact).mean()))
        if n == DRAWN:
            _draw_plane(lab, n)
    if len(shares) > 1:
        lab.measure(
            "least growth of the share from one n to the next", float(np.diff(shares).min())
        )
    sizes = np.unique(np.geomspace(3, 100, 40).round()).astype(int)
    exact = [float(diverges(PLANE[:, None], PLANE[None, :], int(n)).mean()) for n in sizes]
    series = (Series("measured", lab.sizes, shares, style="points"), Series("exact", sizes, exact))
    title = "The failing region fills the plane"
    lab.draw(Panel(title, "number of losses n", "share of [0, 0.995]^2", series, "log"))


def _away(lab: Lab, n: int) -> np.ndarray:
    """Whether x moves away from the minimum in the long run, (beta1, beta2)."""
    steps = 2 * n * math.ceil(STEPS / 2 / n)
    problem = counterexample(
        n, x0=0.0, steps=steps, lr=LR, schedule="constant", dtype=torch.float64
    )
    curves = [outcome.curve for outcome in lab.train(problem, _runs(PLANE, LR), _options(2))]
    moved = [float(curve[1]) - float(curve[0]) for curve in curves]
    return np.array(moved).reshape(len(PLANE), len(PLANE)) > 0


def _draw_plane(lab: Lab, n: int) -> None:
    """Final losses with the diminishing steps of the theorem, under the exact boundary."""
    problem = counterexample(n)
    outcomes = lab.train(problem, _runs(BETAS, problem.lr), _options(100))
    best, finals = float(problem.best or 0), np.array([outcome.final for outcome in outcomes])
    gaps = ((finals - best) / (outcomes[0].initial - best)).reshape(len(BETAS), len(BETAS))
    below_root = BETAS[:, None] < np.sqrt(BETAS[None, :])
    failing, exact = gaps > 0.5, diverges(BETAS[:, None], BETAS[None, :], n)
    agreement = (failing == exact)[below_root].mean()
    lab.measure(f"agreement of verdicts after 20,000 steps at n = {n}", float(agreement))
    curve = np.array([critical_beta2(float(beta1), n) for beta1 in BETAS])
    known = ~np.isnan(curve)
    series = (
        Series("exact boundary", BETAS[known], curve[known]),
        Series("beta1 = sqrt(beta2)", BETAS, BETAS**2, style="dashed"),
    )
    label = "remaining share of the loss"
    heat = Heat(BETAS, BETAS, np.clip(gaps.T, 1e-3, 10), label, log=True)
    title = f"Final losses at n = {n}"
    lab.draw(Panel(title, "beta1", "beta2", series, heat=heat))


def _runs(betas: np.ndarray, lr: float) -> list[Run]:
    rules = [Adam(beta1=float(b1), beta2=float(b2), eps=0.0) for b1 in betas for b2 in betas]
    return [Run(rule, lr, 1, 0) for rule in rules]


def _options(points: int):
    return replace(WHOLE, points=points, independent=False)


CLAIM = Claim(
    name="phase-transition",
    title="Phase transition in the plane of the betas",
    statement="In the (beta1, beta2) plane Adam converges above a boundary and diverges below it; "
    "the failing region grows with the number n of minibatches and fills the whole square.",
    sources=(
        Source("Y. Zhang, C. Chen, N. Shi, R. Sun, Z.-Q. Luo", 2022, "2208.09632", "Figure 1"),
        Source("Y. Zhang, C. Li, C. Chen, Z.-Q. Luo, R. Sun", 2026, "2603.02092", "Theorem 2.3"),
    ),
    setting="The counterexample in cyclic order, eps 0: the direction of motion far from "
    "the minimum for 200 x 200 betas in [0, 0.995], and at n = 10 the loss after 20,000 steps of lr "
    "0.7 / sqrt(t). The source solves its conditions numerically at n = 20; here the boundary is the "
    "zero of the stationary drift.",
    checks=(
        *(Near(f"share of the plane that diverges at n = {n}", SHARES[n], 0.0005) for n in SIZES),
        *(AtMost(f"share of wrong cells at n = {n}", 0.005) for n in SIZES),
        AtLeast("least growth of the share from one n to the next", 0.01),
        AtLeast(f"agreement of verdicts after 20,000 steps at n = {DRAWN}", 0.95),
    ),
    measure=measure,
    seeds=1,
    sizes=SIZES,
    size_name="losses n",
)
