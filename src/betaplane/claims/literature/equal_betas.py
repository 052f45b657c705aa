"""Equal betas: near-optimal on a language model, and v - m^2 as a variance."""

from __future__ import annotations

import numpy as np
import torch

from betaplane.claims.checks import AtMost, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Heat, Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.claims.tuning import SEEDS, final_loss
from betaplane.replicas import Run
from betaplane.rules import Adam
from betaplane.theory import variance_about_momentum

STEPS = 300
BETAS = (0.6, 0.8, 0.9, 0.95, 0.975, 0.99)
LRS = (0.01, 0.02, 0.04)


def measure(lab: Lab) -> None:
    """Check the identity, and train over a grid of betas and learning rates."""
    _identity(lab)
    problem = small_text(STEPS, schedule="warmup_cosine", warmup=0.1)
    settings = [(b1, b2, lr) for b1 in BETAS for b2 in BETAS for lr in LRS]
    runs = [
        Run(Adam(beta1=b1, beta2=b2), lr, 16, seed) for b1, b2, lr in settings for seed in SEEDS
    ]
    losses = np.array([final_loss(o) for o in lab.train(problem, runs)]).reshape(-1, len(SEEDS))
    means = dict(zip(settings, losses.mean(axis=1), strict=True))
    best = min(means, key=lambda setting: means[setting])
    equal = min((s for s in means if s[0] == s[1]), key=lambda setting: means[setting])
    for name, (b1, b2, lr) in {"the best betas": best, "the best equal betas": equal}.items():
        lab.measure(f"beta1 of {name}", b1)
        lab.measure(f"beta2 of {name}", b2)
        finals = lab.finals(problem, Adam(beta1=b1, beta2=b2), lr)
        lab.measure(f"final loss of {name}", finals)
    default = min((s for s in means if s[:2] == (0.9, 0.99)), key=lambda setting: means[setting])
    finals = lab.finals(problem, Adam(beta1=0.9, beta2=0.99), default[2])
    lab.measure("final loss of 0.9, 0.99", finals)
    grid = [[min(means[b1, b2, lr] for lr in LRS) for b1 in BETAS] for b2 in BETAS]
    horizons = [1 / (1 - beta) for beta in BETAS]
    heat = Heat(horizons, horizons, grid, "final loss, best of 3 lrs")
    diagonal = Series("beta1 = beta2", horizons, horizons)
    title = "Text: final loss over the betas"
    panel = Panel(title, "1 / (1 - beta1)", "1 / (1 - beta2)", (diagonal,), "log", "log", heat)
    lab.draw(panel)


def _identity(lab: Lab) -> None:
    """V - m^2 of equal betas against the moving average of squared deviations from m."""
    g = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    adam = lab.rule(Adam(beta1=0.95, beta2=0.95))
    x = torch.zeros(1, dtype=torch.float64)
    s, gaps = adam.init(x), []
    for value in g:
        x, s = adam.step(x, value.reshape(1), s, 0.0)
        gaps.append((s.v - s.m**2).item())
    exact = variance_about_momentum(g.numpy(), 0.95)
    lab.measure("largest deviation of v - m^2 from the variance", float(np.abs(gaps - exact).max()))


CLAIM = Claim(
    name="equal-betas",
    title="Equal betas are near-optimal",
    statement="With beta1 = beta2, v - m^2 is beta times a moving average of squared deviations from m, "
    "and the best equal betas train a language model about as well as the best betas.",
    sources=(Source("A. Orvieto, R. Gower", 2025, "2505.21829", "Proposition 1, Figure 2"),),
    setting="A character model of width 16, batch 16, 300 steps with warmup and cosine; 36 pairs of "
    "betas, each at 3 learning rates on 3 seeds; the winners on 8 other seeds. The paper trains 160M "
    "parameters, where 0.95, 0.95 loses nothing.",
    checks=(
        AtMost("largest deviation of v - m^2 from the variance", 1e-14),
        Same("final loss of the best equal betas", "final loss of the best betas", 0.03),
    ),
    measure=measure,
    seeds=8,
)
