"""Block-heterogeneous Hessians need Adam, homogeneous ones do not (Zhang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, AtMost, Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.problems import Problem
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam
from betaplane.rules._rule import Rule

BLOCKS = {
    "heterogeneous": ((1, 2, 3), (99, 100, 101), (4998, 4999, 5000)),
    "homogeneous": ((1, 99, 4998), (2, 100, 4999), (3, 101, 5000)),
}
STEPS, BATCH = 500, 3
PUBLISHED = (0.003, 0.01, 0.03)  # learning rates of Adam in the notebook
CONTENDERS: Mapping[str, Rule] = {"SGD": SGD(), "Adam": Adam(beta1=0.95, beta2=0.95)}
LRS = {"SGD": (1e-5, 3e-5, 1e-4, 3e-4), "Adam": (0.003, 0.01, 0.03, 0.1)}


def measure(lab: Lab) -> None:
    """Final losses of SGD and Adam at tuned learning rates, for both orders of one spectrum."""
    for kind in BLOCKS:
        problem = _quadratic(kind)
        tuned = lab.tune(problem, CONTENDERS, LRS)
        curves = {name: _curves(lab, problem, name, tuned.lr(name)) for name in CONTENDERS}
        lr = min(PUBLISHED, key=lambda lr: tuned.losses["Adam"][lr])
        curves["Adam, published grid"] = _curves(lab, problem, "Adam", lr)
        finals = {name: np.log10(each[:, -1]) for name, each in curves.items()}
        for name, logs in finals.items():
            lab.measure(f"{name}, {kind}: log10 of the final loss", logs)
        for name in ("Adam", "Adam, published grid"):
            lead = finals["SGD"] - finals[name]
            lab.measure(f"lead of {name} in decades of loss, {kind}", lead)
        _draw(lab, kind, curves)


def _curves(lab: Lab, problem: Problem, name: str, lr: float) -> np.ndarray:
    """The losses of every seed, (seeds, points)."""
    runs = [Run(CONTENDERS[name], lr, BATCH, seed) for seed in lab.seeds]
    return np.array([outcome.curve for outcome in lab.train(problem, runs)], dtype=float)


def _draw(lab: Lab, kind: str, curves: Mapping[str, np.ndarray]) -> None:
    series = []
    for name, losses in curves.items():
        low, middle, high = np.quantile(losses, (0.25, 0.5, 0.75), axis=0)
        steps = np.linspace(0, STEPS, len(middle) + 1)[1:]
        series.append(Series(name, steps, middle, low, high))
    title = f"{kind.capitalize()} blocks, 1 to 5,000"
    lab.draw(Panel(title, "step", "loss", series, y_scale="log"))


def _quadratic(kind: str) -> Problem:
    """|X_B' w|^2 / (2 |B|) over three of nine columns, with X X' / 9 of three dense blocks."""
    rotations = torch.Generator().manual_seed(0)
    blocks = []
    for eigenvalues in BLOCKS[kind]:
        a = torch.randn(3, 6, generator=rotations, dtype=torch.float64)
        u = torch.linalg.eigh(a @ a.T / 6)[1]
        blocks.append(u * torch.tensor(eigenvalues, dtype=torch.float64).sqrt())
    x = 3 * torch.block_diag(*blocks)  # a column is an example
    return Problem(
        kind,
        partial(_Linear, 9),
        _half_square,
        inputs=x.T.contiguous(),
        targets=torch.zeros(9, dtype=torch.float64),
        batch_size=BATCH,
        steps=STEPS,
        schedule="warmup_cosine",
        warmup=0.05,
        record="full",
        best=0.0,
    )


class _Linear(nn.Module):
    """Parameter w, initially 1; forward of rows (B, d) is their products with w."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(d, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def _half_square(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (output - target).square().mean()


CLAIM = Claim(
    name="block-hessian",
    title="Who needs Adam: heterogeneous blocks",
    statement="On a quadratic whose Hessian has blocks of different scale SGD is far worse than Adam; if "
    "the same eigenvalues are spread over the blocks, it is not.",
    sources=(
        Source(
            "Y. Zhang, C. Chen, T. Ding, Z. Li, R. Sun, Z.-Q. Luo", 2024, "2402.16788", "Section 3"
        ),
        Source("A. Orvieto, R. Gower", 2025, "2505.21829", "the nine-dimensional quadratic"),
    ),
    setting="Nine dimensions, three blocks of 3 x 3, batches of 3 of 9 columns, 500 steps, 5% warmup "
    "and cosine, as in the notebook of Orvieto and Gower; Adam with equal betas 0.95; learning rates "
    "tuned on seeds of their own.",
    checks=(
        AtLeast("lead of Adam in decades of loss, heterogeneous", 0.3),
        Below(
            "lead of Adam in decades of loss, homogeneous",
            "lead of Adam in decades of loss, heterogeneous",
        ),
        AtMost("lead of Adam in decades of loss, homogeneous", 0.3, when="the grid of lr is open"),
        AtMost(
            "lead of Adam, published grid in decades of loss, homogeneous",
            0.3,
            when="lr is from the published grid",
        ),
    ),
    measure=measure,
    seeds=10,
)
