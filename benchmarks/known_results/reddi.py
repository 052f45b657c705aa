"""Reddi et al. 2018: Adam ends at the worst point x = 1, AMSGrad at the best point x = -1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.known_results.table import best_loss, row
from betaplane.problems import Problem, reddi
from betaplane.replicas import Options, Outcome, Run, train_stacked
from betaplane.replicas.run import windows
from betaplane.rules import Adam, AMSGrad


def ends(problem: Problem, runs: Sequence[Run]) -> list[float]:
    """x after the last step; the loss on all data is the mean slope times x."""
    slope = float(problem.inputs.double().mean())
    return [float(outcome.curve[-1]) / slope for outcome in train(problem, runs)]


def regrets(problem: Problem, runs: Sequence[Run]) -> list[float]:
    """R_T / T against x = -1: the mean of all losses, minus the smallest possible loss."""
    lengths = windows(problem.steps, Options().points)
    outcomes = train(problem.with_(record="minibatch"), runs)
    return [float(np.average(o.curve, weights=lengths)) - best_loss(problem) for o in outcomes]


def train(problem: Problem, runs: Sequence[Run]) -> list[Outcome]:
    return train_stacked(problem, runs, Options(early_stop=False))


def figure1(steps: int) -> Problem:
    """Figure 1 of Reddi et al.: 1010 x once in 101 steps, else -10 x, with lr .5 / sqrt(t), since
    the paper does not state its lr.
    """
    return reddi(C=101, period=101, scale=10, lr=0.5, steps=steps)


def paper(rule: type[Adam] | type[AMSGrad], problem: Problem, beta1: float, beta2: float) -> Run:
    """A run as in the paper, in which AMSGrad has no bias correction (for Adam it makes no
    difference here).
    """
    betas = {"beta1": beta1, "beta2": beta2, "eps": 0.0}
    return Run(
        AMSGrad(**betas, debias="none") if rule is AMSGrad else Adam(**betas), problem.lr, 1, 0
    )


def theorem1(C: float, steps: int) -> tuple[Problem, float]:
    """Theorem 1's example, C x once in 3 steps, else -x, at beta1 = 0, and its beta2."""
    beta2 = 1 / (1 + C**2)
    return reddi(C=C, period=3, lr=0.9 * math.sqrt(1 - beta2), steps=steps), beta2


def by_hand(
    problem: Problem, rule: type, beta1: float, beta2: float, corrected: bool = True
) -> tuple[float, float]:
    """x_T and R_T / T of the paper's algorithms in plain floats; bias correction is optional."""
    s = problem.inputs.tolist()
    x = m = v = v_max = total = 0.0
    for t in range(1, problem.steps + 1):
        g = s[(t - 1) % len(s)]
        total += g * x
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        v_max = max(v_max, v)
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if corrected else (m, v)
        x -= problem.lr / math.sqrt(t) * m_hat / math.sqrt(v_max if rule is AMSGrad else v_hat)
        x = min(1.0, max(-1.0, x))
    return x, total / problem.steps - best_loss(problem)


TABLE_C = (2.5, 3, 5, 10, 15, 100)


def reddi_table() -> None:
    """The last x and the regret R_T / T. For Adam at x = +1, R_T / T tends to 2 (C - 2) / 3
    (Theorem 1) and to .198 (Figure 1).

    "By hand" is the algorithm in plain 64-bit floats.
    """
    row(
        "example",
        "T",
        "Adam x",
        "by hand",
        "R/T",
        "by hand",
        "tends to",
        "AMSGrad x",
        "by hand",
        "beta2 large",
    )
    for C in TABLE_C:
        problem, beta2 = theorem1(C, steps=2499)
        reddi_row(f"C = {C:g}", problem, 0.0, beta2, (0.9, 0.999), 2 * (C - 2) / 3)
    reddi_row("Figure 1", figure1(steps=500 * 101), 0.9, 0.99, (0.9, 0.9999), 20 / 101)


def reddi_row(
    label: str,
    problem: Problem,
    beta1: float,
    beta2: float,
    large: tuple[float, float],
    limit: float,
):
    runs = [paper(Adam, problem, beta1, beta2), paper(Adam, problem, *large)]
    (x_adam, x_large), (regret, _) = ends(problem, runs), regrets(problem, runs)
    (x_amsgrad,) = ends(problem, [paper(AMSGrad, problem, beta1, beta2)])
    x, regret_by_hand = by_hand(problem, Adam, beta1, beta2)
    x_amsgrad_by_hand, _ = by_hand(problem, AMSGrad, beta1, beta2, corrected=False)
    row(
        label,
        problem.steps,
        x_adam,
        x,
        regret,
        regret_by_hand,
        limit,
        x_amsgrad,
        x_amsgrad_by_hand,
        x_large,
    )
