"""Plots of the closed forms that take or return whole arrays, or whose natural picture is not that of one argument."""

from __future__ import annotations

import numpy as np

from betaplane import theory
from betaplane.theory.schedules import NAMES
from tools.site.theory_plots import BETAS, STEPS, Plot

RUN = np.arange(1, 201)
BETA2S = (0.9, 0.99, 0.999)
PROBLEM = theory.Constants(gap=4.3, R=2.0, L=1.0)


def _regret(steps: float, beta1: float) -> float:
    """AMSGrad's bound on Reddi's problem, whose gradients are 3, -1, -1, 3, ..."""
    gradients = np.resize([3.0, -1.0, -1.0], int(steps))
    return theory.amsgrad_regret(gradients, lr=0.5, diameter=2.0, beta1=beta1, beta2=0.99)


def _momentum_variance(step: float, beta: float) -> float:
    gradients = np.where(RUN < 100, 1.0, -1.0)
    return theory.variance_about_momentum(gradients, beta)[int(step) - 1]


def _curvature(ratio: float, beta1: float) -> object:
    """Of two coordinates with curvatures 1 and `ratio`, both with v_hat = 1."""
    return theory.preconditioned_curvature(
        np.diag([1.0, ratio]), g=[1.0, 1.0], v_hat=[1.0, 1.0], beta1=beta1
    )


def _resting(coupling: float, which: int) -> float:
    """Of two coordinates with curvatures 50 and 10, coupled by the off-diagonal element."""
    hessian = [[50.0, coupling], [coupling, 10.0]]
    return theory.resting_root_v_of([0.05, 0.05], hessian, lr=0.01)[which]


SPECIAL: dict[str, Plot] = {
    "adam_lr": Plot(
        "batch / noise scale",
        np.geomspace(1e-3, 1e3, 80),
        "beta1",
        (0.0, 0.5, 0.9),
        lambda batch, beta1: theory.adam_lr(batch, 1.0, beta1),
    ),
    "adagrad_bound": Plot(
        "steps",
        STEPS,
        "lr",
        (0.1, 0.5, 1.0),
        lambda steps, lr: theory.adagrad_bound(PROBLEM, lr, int(steps)),
    ),
    "adam_bound": Plot(
        "steps",
        STEPS,
        "beta2",
        BETA2S,
        lambda steps, beta2: theory.adam_bound(PROBLEM, 0.01, beta2, int(steps)),
    ),
    "amsgrad_regret": Plot("steps", STEPS[::4], "beta1", (0.0, 0.5, 0.9), _regret),
    "concentration": Plot(
        "beta2",
        1 - 1 / np.geomspace(1e3, 1e7, 60),
        "n",
        (10, 20, 50),
        lambda beta2, n: theory.concentration(n, beta2),
    ),
    "deepspeed_bytes": Plot(
        "ranks",
        2.0 ** np.arange(11),
        "stage",
        (2, 3),
        lambda ranks, stage: theory.deepspeed_bytes(7e9, ranks, stage),
    ),
    "extremal_gradients": Plot(
        "i",
        np.arange(1, 101),
        "beta2",
        BETA2S,
        lambda i, beta2: theory.extremal_gradients(0.9, beta2, 100)[int(i) - 1],
    ),
    "laprop_bound": Plot(
        "beta2", BETAS, "beta1", (0.0, 0.9), lambda beta2, beta1: theory.laprop_bound(beta1, beta2)
    ),
    "multipliers": Plot(
        "step",
        RUN,
        "name",
        NAMES,
        lambda step, name: theory.multipliers(name, 200, 0.1)[int(step) - 1],
    ),
    "number_bytes": Plot(
        "block",
        2.0 ** np.arange(5, 13),
        "form",
        ("8bit", "4bit"),
        lambda block, form: theory.number_bytes(form, block),
    ),
    "preconditioned_curvature": Plot(
        "curvature", np.geomspace(1, 100, 60), "beta1", (0.0, 0.9), _curvature
    ),
    "resting_root_v_of": Plot(
        "off-diagonal element", np.linspace(0, 20, 30), "coordinate", (0, 1), _resting
    ),
    "rms_ratio": Plot(
        "g / sqrt(v)",
        np.geomspace(0.01, 100, 60),
        None,
        (None,),
        lambda ratio, _: theory.rms_ratio([ratio], [1.0]),
    ),
    "vanishing_gradient": Plot(
        "dtype",
        np.array(["float64", "float32", "bfloat16", "float16"]),
        "flushed",
        (False, True),
        lambda dtype, flushed: theory.vanishing_gradient(str(dtype), flushed),
    ),
    "variance_about_momentum": Plot("step", RUN, "beta", (0.8, 0.9, 0.98), _momentum_variance),
    "weight_rms_path": Plot(
        "step",
        STEPS,
        "weight_decay",
        (0.01, 0.1, 1.0),
        lambda step, decay: theory.weight_rms_path(np.full(int(step), 1e-2), decay)[-1],
    ),
}
