"""Three phases of Adam on |x|^k / k (Bai et al. 2026)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from betaplane.claims.checks import AtLeast, AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import power
from betaplane.replicas import Run
from betaplane.rules import SGD, Adam
from betaplane.rules._rule import Rule
from betaplane.theory import degenerate_critical_beta2, degenerate_ratio

STEPS, POINTS = 1000, 200
LR = 0.01
BETA1S = (0.7, 0.8, 0.85, 0.9)
BETA2S = np.linspace(0.3, 0.995, 140)
SMALLEST = 1e-37  # loss; below, the float32 of a curve loses digits
STEADY = slice(POINTS // 2, None)  # the second half of a curve


def measure(lab: Lab) -> None:
    """Measure the rates on both sides of the boundary, and the boundary itself."""
    _measure_rates(lab)
    for k in (4, 8):
        _measure_boundary(lab, k)


def _measure_rates(lab: Lab) -> None:
    stable, spiking = _curves(lab, 4, [_adam(0.9, 0.93), _adam(0.9, 0.88)])
    (sgd,) = _curves(lab, 4, [SGD()])
    lab.measure("ratio per step at k = 4, betas 0.9, 0.93", _ratio(stable, 4), "", 0.982020914)
    lab.measure("ratio per step of gradient descent", _ratio(sgd, 4))
    lab.measure("largest rise of the loss at beta2 = 0.93, factor", _rise(stable))
    lab.measure("largest rise of the loss at beta2 = 0.88, factor", _rise(spiking))
    steps = np.arange(1, POINTS + 1) * STEPS / POINTS
    series = (
        Series("Adam, beta2 = 0.93", steps, stable),
        Series("Adam, beta2 = 0.88", steps, spiking),
        Series("gradient descent", steps, sgd),
    )
    title = "Loss on x^4 / 4, beta1 = 0.9"
    lab.draw(Panel(title, "step", "loss", series, y_scale="log"))


def _measure_boundary(lab: Lab, k: int) -> None:
    """The smallest beta2 at which the loss only falls, against the exact curve."""
    pairs = [(beta1, beta2) for beta1 in BETA1S for beta2 in BETA2S]
    rises = [_rise(curve) for curve in _curves(lab, k, [_adam(*pair) for pair in pairs])]
    falling = np.array(rises).reshape(len(BETA1S), -1) <= 1
    smallest = np.array([_edge(row) for row in falling])
    exact = np.array([degenerate_critical_beta2(beta1, k) for beta1 in BETA1S])
    name = f"largest distance to the exact boundary at k = {k}, in beta2"
    lab.measure(name, float(np.abs(smallest - exact).max()))
    dense = np.linspace(0.4, 0.95, 60)
    series = (
        Series("measured", BETA1S, smallest, style="points"),
        Series("exact", dense, np.array([degenerate_critical_beta2(b, k) for b in dense])),
        Series("beta1 = sqrt(beta2)", dense, dense**2, style="dashed"),
    )
    lab.draw(Panel(f"Smallest stable beta2 on x^{k} / {k}", "beta1", "beta2", series))


def _adam(beta1: float, beta2: float) -> Adam:
    return Adam(beta1=beta1, beta2=float(beta2), eps=0.0)


def _curves(lab: Lab, k: int, rules: Sequence[Rule]) -> list[np.ndarray]:
    runs = [Run(rule, LR, 1, 0) for rule in rules]
    options = replace(WHOLE, points=POINTS)
    return [o.curve.astype(float) for o in lab.train(power(k=k, steps=STEPS), runs, options)]


def _ratio(curve: np.ndarray, k: int) -> float:
    """The ratio of x per step in the last quarter of a curve."""
    tail = curve[-POINTS // 4 :]
    steps = (len(tail) - 1) * STEPS / POINTS
    return float((tail[-1] / tail[0]) ** (1 / (k * steps)))


def _rise(curve: np.ndarray) -> float:
    """The largest factor by which the loss rises above an earlier value; 1 if it only falls."""
    tail = curve[STEADY]
    tail = tail[tail > SMALLEST]
    if not len(tail):
        return 1.0
    return float((tail / np.minimum.accumulate(tail)).max()) if np.isfinite(tail).all() else np.inf


def _edge(falling: np.ndarray) -> float:
    """The beta2 above which every run falls, midway between two points of the grid."""
    rising = np.flatnonzero(~falling)
    if not len(rising):
        return float(BETA2S[0])
    if rising[-1] == len(BETA2S) - 1:
        return 1.0
    return float(BETA2S[rising[-1]] + BETA2S[rising[-1] + 1]) / 2


CLAIM = Claim(
    name="degenerate-minimum",
    title="Three phases at a degenerate minimum",
    statement="On |x|^k / k, full batch, at a constant lr, Adam converges geometrically by "
    "beta2^(1 / (2 (k - 2))) per step if beta1 < beta2^(k / (2 (k - 2))), and spikes below that beta2; "
    "gradient descent converges sublinearly.",
    sources=(
        Source(
            "Z. Bai, J. Zhao, Z. Zhou, Z.-Q. J. Xu, Y. Zhang", 2026, "2603.09581", "main theorem"
        ),
    ),
    setting="lr 0.01, eps 0, x0 = 1, 1,000 steps in float64. A run counts as stable if its loss never "
    "rises in the second half.",
    checks=(
        Near("ratio per step at k = 4, betas 0.9, 0.93", float(degenerate_ratio(0.93, 4)), 1e-8),
        AtMost("largest rise of the loss at beta2 = 0.93, factor", 1.0),
        AtLeast("largest rise of the loss at beta2 = 0.88, factor", 10.0),
        AtMost("largest distance to the exact boundary at k = 4, in beta2", 0.02),
        AtMost("largest distance to the exact boundary at k = 8, in beta2", 0.02),
        AtLeast("ratio per step of gradient descent", 0.998),
    ),
    measure=measure,
    seeds=1,
)
