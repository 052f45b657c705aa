"""The update after a jump of the gradient: stale v if it rises, stale m if it falls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from betaplane.claims.checks import AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import Lab
from betaplane.rules import Adam
from betaplane.theory import jump, jump_peak, update_bound

HUGE = 1e8  # stands for an infinite jump
# beta1, beta2, factor of the jump, peak and its step
PEAKS = (
    (0.9, 0.999, HUGE, 6.57, 12),
    (0.9, 0.999, 10.0, 5.20, 17),
    (0.9, 0.95, HUGE, 1.097, 20),
    (0.95, 0.9, 1e-3, 1.557, 129),
    (0.99, 0.9, 1e-3, 210.5, 145),
    (0.99, 0.95, 0.1, 3.43, 106),
)
STEPS = 400


def measure(lab: Lab) -> None:
    """Feed Adam constant gradients that jump, and read its updates."""
    rows, worst = [], 0.0
    for beta1, beta2, factor, _, _ in PEAKS:
        updates = _updates(lab, beta1, beta2, factor)
        exact = np.asarray(jump(np.arange(1, STEPS + 1), beta1, beta2, factor))
        worst = max(worst, float(np.abs(updates / exact - 1).max()))
        k = int(np.abs(updates).argmax())
        name, peak = _name(beta1, beta2, factor), jump_peak(beta1, beta2, factor)
        lab.measure(f"peak {name}", abs(updates[k]), "lr")
        lab.measure(f"step of the peak {name}", k + 1)
        rows.append((beta1, beta2, factor, abs(updates[k]), k + 1, peak.u, peak.k))
    lab.measure("largest relative distance to the closed form", worst)
    columns = ("beta1", "beta2", "factor", "peak, lr", "at step", "closed form", "at step")
    lab.tabulate(Table("Peaks after a jump", columns, rows))
    _measure_edges(lab)
    _draw(lab)


def _measure_edges(lab: Lab) -> None:
    """Equal betas never overshoot, and a gradient that vanishes gives a geometric update."""
    factors = [0.0, 1e-3, 0.1, 3.0, 10.0, HUGE]
    largest = [np.abs(_updates(lab, 0.95, 0.95, c)).max() for c in factors]
    lab.measure("largest update at equal betas, all jumps", max(largest), "lr")
    for beta1, beta2 in ((0.9, 0.75), (0.9, 0.95)):
        u = _updates(lab, beta1, beta2, 0.0)
        rate = (u[199] / u[99]) ** (1 / 100)
        lab.measure(f"growth per step after g = 0 at {beta1:g}, {beta2:g}", rate)
    peak = np.abs(_updates(lab, 0.9, 0.999, HUGE)).max()
    share = peak / float(update_bound(0.9, 0.999))
    lab.measure("peak after an infinite jump / supremum of all gradients at 0.9, 0.999", share)
    crossing = _updates(lab, 0.9, 0.999, -1.0)
    lab.measure("last step with the old sign after a flip, beta1 = 0.9", int((crossing > 0).sum()))


def _draw(lab: Lab) -> None:
    k = np.arange(1, 151)
    for title, factor, pairs in (
        ("Gradient rises tenfold: v is stale", 10.0, ((0.9, 0.999), (0.9, 0.95), (0.95, 0.95))),
        ("Gradient falls to 1/1000: m is stale", 1e-3, ((0.95, 0.9), (0.9, 0.9), (0.9, 0.95))),
    ):
        series = [
            Series(f"{b1:g}, {b2:g}", k, _updates(lab, b1, b2, factor)[:150]) for b1, b2 in pairs
        ]
        lab.draw(Panel(title, "steps after the jump", "update / lr", series))


def _updates(lab: Lab, beta1: float, beta2: float, factor: float) -> np.ndarray:
    """The update m / sqrt(v) at the steps after a jump, from the steady state of a gradient of 1."""
    adam = lab.rule(Adam(beta1=beta1, beta2=beta2, eps=0.0, debias="none"))
    x, one = torch.zeros(1).double(), torch.ones(1).double()
    state = adam.init(x)
    state = state._replace(m=one, v=one)
    return np.array(_steps(adam, x, state, [factor] * STEPS))


def _steps(adam, x: torch.Tensor, state, gradients: Sequence[float]) -> list[float]:
    updates = []
    for g in gradients:
        after, state = adam.step(x, torch.full_like(x, g), state, 1.0)
        updates.append(-(after - x).item())
    return updates


def _name(beta1: float, beta2: float, factor: float) -> str:
    jump_text = "infinite" if factor == HUGE else f"{factor:g}"
    return f"at {beta1:g}, {beta2:g}, factor {jump_text}"


CLAIM = Claim(
    name="jump-transient",
    title="After a jump of the gradient",
    statement="If the gradient rises, v is stale and the update overshoots when beta2 > beta1; if it "
    "falls, m is stale and the update overshoots when beta1 > beta2; the peaks are those of a closed "
    "form, and equal betas never overshoot.",
    sources=(
        Source("M. Wortsman et al.", 2023, "2304.13013", "Section 3.2 (stale v)"),
        Source("A. Orvieto, R. Gower", 2025, "2505.21829", "Section 4 (equal betas)"),
    ),
    setting="One element in the steady state of a constant gradient, which jumps by a factor; eps 0, "
    "no bias correction. The peaks follow from the two recursions, `betaplane.theory.jump_peak`.",
    checks=(
        *(
            Near(
                f"peak {_name(b1, b2, c)}", u, 0.5 * 10.0 ** -(3 if u < 2 else 2 if u < 100 else 1)
            )
            for b1, b2, c, u, _ in PEAKS
        ),
        *(Near(f"step of the peak {_name(b1, b2, c)}", k, 0) for b1, b2, c, _, k in PEAKS),
        AtMost("largest relative distance to the closed form", 1e-9),
        AtMost("largest update at equal betas, all jumps", 1 + 1e-12),
        Near("growth per step after g = 0 at 0.9, 0.75", 0.9 / math.sqrt(0.75), 1e-9),
        Near("growth per step after g = 0 at 0.9, 0.95", 0.9 / math.sqrt(0.95), 1e-9),
        Near("peak after an infinite jump / supremum of all gradients at 0.9, 0.999", 0.9, 0.01),
        Near("last step with the old sign after a flip, beta1 = 0.9", 6, 0),
    ),
    measure=measure,
    seeds=1,
)
