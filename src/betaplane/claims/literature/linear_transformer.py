"""A linear transformer of 150 parameters trains like a large one (Ahn et al. 2024)."""

from __future__ import annotations

import numpy as np
import torch

from betaplane.claims.checks import AtLeast, Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import contest
from betaplane.claims.figure import Heat, Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.tuning import final_loss
from betaplane.problems import Problem, linear_transformer
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam

HORIZONS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
SEEN = 64  # minibatches whose gradients are compared
LRS = {"Adam": (0.005, 0.02, 0.08), "SGD with momentum": (0.005, 0.02, 0.08)}


def measure(lab: Lab) -> None:
    """Tune Adam and SGD, map Adam's betas, and measure the noise of the gradients."""
    problem = linear_transformer()
    contenders = {"Adam": Adam(beta2=0.99), "SGD with momentum": SGD(momentum=0.9)}
    contest(lab, problem, contenders, LRS, title="Linear transformer, 150 parameters")
    ratios = [_noise_tail(problem, seed) for seed in lab.seeds]
    lab.measure("largest over median error of a minibatch gradient", ratios)
    runs = [
        Run(Adam(beta1=1 - 1 / h1, beta2=1 - 1 / h2), 0.02, problem.batch_size, 0)
        for h2 in HORIZONS
        for h1 in HORIZONS
    ]
    finals = np.array([final_loss(outcome) for outcome in lab.train(problem, runs)])
    grid = finals.reshape(len(HORIZONS), -1)
    heat = Heat(
        HORIZONS, HORIZONS, np.where(np.isfinite(grid), grid, np.nan), "final loss", log=True
    )
    curve = Series("beta1 = sqrt(beta2)", *_square_root_curve(), style="dashed")
    title = "Map of Adam at lr 0.02"
    panel = Panel(title, "1 / (1 - beta1)", "1 / (1 - beta2)", (curve,), "log", "log", heat)
    lab.draw(panel)


def _square_root_curve() -> tuple[np.ndarray, np.ndarray]:
    beta1 = 1 - 1 / np.geomspace(1.05, HORIZONS[-1], 60)
    inside = 1 / (1 - beta1**2) <= HORIZONS[-1]
    return 1 / (1 - beta1[inside]), 1 / (1 - beta1[inside] ** 2)


def _noise_tail(problem: Problem, seed: int) -> float:
    """The largest over the median distance of a minibatch gradient from the mean of all."""
    module, gradients = problem.fresh(seed), []
    batches = problem.batches(problem.batch_size, seed)
    for _ in range(SEEN):
        module.zero_grad()
        problem.loss_of(module, next(batches)).backward()
        grads = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
        gradients.append(torch.cat(grads))
    stack = torch.stack(gradients)
    distances = (stack - stack.mean(0)).norm(dim=1)
    return float(distances.max() / distances.median())


CLAIM = Claim(
    name="linear-transformer",
    title="A linear transformer shows it all",
    statement="A linear transformer of three layers on linear regression in its context shows what large "
    "transformers show: Adam trains faster than SGD with momentum, and the gradient noise has a heavy tail.",
    sources=(
        Source("K. Ahn and others", 2024, "2310.01082", "Figures 1 to 3; 3 layers, d = 5, n = 20"),
    ),
    setting="Matrices A, B of 5 x 5 in each of 3 layers, 150 parameters in all; 4,096 prompts of 20 pairs, "
    "batch 32, 500 steps. Heavy tail: of 64 minibatch gradients, the one farthest from the mean is "
    "more than 3 times as far as the median; normal gradients in 150 dimensions give 1.2.",
    checks=(
        Below("final loss of Adam", "final loss of SGD with momentum"),
        AtLeast("largest over median error of a minibatch gradient", 3.0),
    ),
    measure=measure,
    seeds=20,
)
