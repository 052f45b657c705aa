"""Where Adam comes to rest on problems whose gradients do not vanish at the minimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from betaplane.claims.checks import AtMost, Below, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem, quadratic
from betaplane.problems.order import Order
from betaplane.replicas import Run
from betaplane.rules import Adam
from betaplane.theory import rest_shift

ORDERS: tuple[Order, ...] = ("replacement", "shuffle", "cyclic")
Q = np.geomspace(7e-4, 3e-3, 4)  # 1 - beta2, far below the 0.022 at which Adam diverges
REFERENCE = 1e-6  # 1 - beta2 of a run with the same minibatches, whose noise is subtracted
BETA1S = (0.0, 0.9)
STEPS, LR, CONSTANT = 1_000_000, 0.1, 0.02  # LR / sqrt(t), as in the source
# The gradients at x are 2 (x - 1) once in 10 and -0.2 (x - 10 / 9) else; f'(x) = x / 50
SKEWNESS, CURVATURE = -8 / 3, 1 / 50


def measure(lab: Lab) -> None:
    """The distance to the minimum in the long run, against 1 - beta2, order and schedule."""
    series, rows = [], []
    for order in ORDERS:
        shifts = {beta1: _shifts(lab, order, beta1) for beta1 in BETA1S}
        for beta1, shift in shifts.items():
            powers = [np.polyfit(np.log(Q), np.log(np.abs(x)), 1)[0] for x in shift]
            lab.measure(f"power of 1 - beta2, {order}, beta1 = {beta1:g}", powers)
            rows += [
                (order, beta1, f"{q:.2g}", f"{x:.4g}")
                for q, x in zip(Q, shift.mean(0), strict=True)
            ]
        size = np.abs(shifts[0.0].mean(0))
        series.append(Series(f"{order}, beta1 = 0", Q, size, style="points"))
        if order == "replacement":
            _compare(lab, shifts)
    series.append(Series("first order, replacement", Q, np.abs(_first_order(0.0)), style="dashed"))
    title = "Distance from the minimum at rest"
    lab.draw(Panel(title, "1 - beta2", "|x|", series, "log", "log"))
    lab.tabulate(Table("Where Adam rests", ("order", "beta1", "1 - beta2", "mean x"), rows))
    _measure_schedules(lab)
    _measure_realizable(lab)


def _shifts(lab: Lab, order: Order, beta1: float) -> np.ndarray:
    """The mean x of the second half of a run, less that of the reference, (seeds, Q)."""
    problem = _observed(order, A=1.0, x0=0.0)
    paths = _paths(lab, problem, [_adam(beta1, q) for q in (*Q, REFERENCE)])
    means = paths[:, :, paths.shape[2] // 2 :].mean(2)
    return means[:, :-1] - means[:, -1:]


def _compare(lab: Lab, shifts: dict[float, np.ndarray]) -> None:
    for beta1, shift in shifts.items():
        ratios = (shift / _first_order(beta1)).mean(1)
        lab.measure(f"x at rest / first order in 1 - beta2, beta1 = {beta1:g}", ratios)


def _first_order(beta1: float) -> np.ndarray:
    """The zero of Adam's mean update, for draws with replacement: f'(x) = sigma(x) shift, with
    sigma(x) = 0.3 (20 / 9 - 2.2 x).
    """
    shift = np.asarray(rest_shift(beta1, 1 - Q, SKEWNESS))
    return 0.3 * 20 / 9 * shift / (CURVATURE + 0.3 * 2.2 * shift)


def _measure_schedules(lab: Lab) -> None:
    """The distance at the end with a constant and with a diminishing learning rate."""
    problem, rule = _observed("replacement", A=1.0, x0=0.0), [_adam(0.0, Q[0])]
    diminishing = _paths(lab, problem, rule)
    constant = _paths(lab, problem.with_(schedule="constant"), rule, CONSTANT)
    for name, paths in {"lr 0.1 / sqrt(t)": diminishing, "constant lr 0.02": constant}.items():
        last = paths[:, 0, paths.shape[2] // 2 :]
        lab.measure(f"RMS distance, {name}", np.sqrt(np.square(last).mean(1)))


def _measure_realizable(lab: Lab) -> None:
    """The distance at the end if all gradients vanish at the minimum."""
    series, steps = [], np.zeros(0)
    for order in ORDERS:
        problem = _observed(order, A=0.0, x0=1.0)
        paths = np.abs(_paths(lab, problem, [_adam(0.9, Q[0])])[:, 0])
        last = paths[:, paths.shape[1] // 2 :]
        lab.measure(f"final |x|, realizable, {order}", _geometric_mean(last))
        steps = np.linspace(0, STEPS, paths.shape[1] + 1)[1:]
        series.append(Series(order, steps, _geometric_mean(paths.T)))
    series.append(Series("lr", steps, LR / np.sqrt(steps), style="dashed"))
    title = "Realizable: exact convergence"
    lab.draw(Panel(title, "step", "|x|", series, "log", "log"))


def _geometric_mean(x: np.ndarray) -> np.ndarray:
    """The geometric mean over the last axis; numbers that underflow count as 1e-300."""
    return np.exp(np.log(np.maximum(x, 1e-300)).mean(-1))


def _paths(lab: Lab, problem: Problem, rules: list[Adam], lr: float = LR) -> np.ndarray:
    """The path of x, (seeds, rules, points); the runs of a seed share their minibatches."""
    options = replace(WHOLE, points=20, independent=False)
    paths = []
    for seed in lab.seeds if problem.order != "cyclic" else (0,):
        outcomes = lab.train(problem, [Run(rule, lr, 1, seed) for rule in rules], options)
        paths.append([outcome.held_out for outcome in outcomes])
    return np.array(paths, dtype=float)


def _observed(order: Order, A: float, x0: float) -> Problem:
    """The sum of a bowl and nine domes, with x as the value that is measured along a run."""
    problem = quadratic(A=A, order=order, x0=x0, steps=STEPS, lr=LR, dtype=torch.float64)
    return problem.with_(validation=(problem.inputs, problem.targets), metric=_x)


def _x(model: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    del batch
    assert isinstance(model.x, Tensor)
    return model.x.sum()


def _adam(beta1: float, q: float) -> Adam:
    return Adam(beta1=beta1, beta2=1 - float(q), eps=0.0)


CLAIM = Claim(
    name="neighborhood",
    title="The neighborhood in which Adam ends",
    statement="If the gradients do not vanish at the minimum, Adam ends in a neighborhood whose size "
    "shrinks linearly with 1 - beta2; if they do, it converges exactly.",
    sources=(
        Source(
            "Y. Zhang, C. Li, C. Chen, Z.-Q. Luo, R. Sun",
            2026,
            "2603.02092",
            "Theorem 2.2, Fig. 2.3",
        ),
        Source(
            "N. Shi, D. Li, M. Hong, R. Sun", 2021, "openreview.net/forum?id=3UDSdyIcBDA", "ICLR"
        ),
    ),
    setting="The bowl and nine domes of the source, A = 1 or 0, lr 0.1 / sqrt(t), a million steps, "
    "eps 0. x is compared with a run of the same minibatches at beta2 = 0.999999, which removes the "
    "noise that both share. The final |x| is the geometric mean of the second half of a run. The "
    "first order in 1 - beta2 is `betaplane.theory.rest_shift`, with the gradients at that point.",
    checks=(
        *(
            Near(f"power of 1 - beta2, {order}, beta1 = {beta1:g}", 1.0, 0.15)
            for order in ORDERS
            for beta1 in BETA1S
        ),
        *(Near(f"x at rest / first order in 1 - beta2, beta1 = {b:g}", 1.0, 0.15) for b in BETA1S),
        Below("RMS distance, lr 0.1 / sqrt(t)", "RMS distance, constant lr 0.02"),
        *(AtMost(f"final |x|, realizable, {order}", 1e-3) for order in ORDERS),
    ),
    measure=measure,
    seeds=8,
)
