"""How large an update of Adam can be: the exact supremum, and the bound that its paper states."""

from __future__ import annotations

import math

import numpy as np
import torch

from betaplane.claims.checks import AtLeast, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import Lab
from betaplane.rules import Adam
from betaplane.theory import (
    blow_up_rate,
    extremal_gradients,
    kingma_ba_claim,
    update_bound,
)

STEPS = 5000
BETAS = ((0.9, 0.999), (0.9, 0.99), (0.9, 0.95), (0.99, 0.999), (0.5, 0.999), (0.9, 0.9))
BEYOND = (0.9, 0.75)  # beta1 > sqrt(beta2) = 0.866
TINY = 1e-200  # eps, so that the first gradients, which underflow, do not give 0 / 0


def measure(lab: Lab) -> None:
    """Feed Adam the gradients that make its last update as large as possible."""
    rows = []
    for beta1, beta2 in BETAS:
        largest = _updates(lab, beta1, beta2)[-1]
        bound = float(update_bound(beta1, beta2, STEPS))
        stated = float(kingma_ba_claim(beta1, beta2))
        lab.measure(f"largest update at {beta1:g}, {beta2:g} / its supremum", largest / bound)
        lab.measure(f"largest update at {beta1:g}, {beta2:g} / the stated bound", largest / stated)
        rows.append((beta1, beta2, largest, bound, stated))
    columns = ("beta1", "beta2", "largest update / lr", f"supremum, {STEPS} steps", "stated bound")
    lab.tabulate(Table("Updates on the worst gradients", columns, rows))
    _beyond(lab)


def _beyond(lab: Lab) -> None:
    """The largest update if beta1 > sqrt(beta2) grows geometrically with the number of steps."""
    lengths = np.arange(20, 301, 20)
    grown = [_updates(lab, *BEYOND, steps=int(t))[-1] for t in lengths]
    rate = (grown[-1] / grown[-8]) ** (1 / (lengths[-1] - lengths[-8]))
    lab.measure("growth per step at 0.9, 0.75", rate)
    within = [_updates(lab, 0.9, 0.9, steps=int(t))[-1] for t in lengths]
    series = (
        Series("beta2 = 0.75 (beta1 > sqrt(beta2))", lengths, grown),
        Series("beta2 = 0.9", lengths, within),
    )
    title = "Largest update after t steps, beta1 = 0.9"
    lab.draw(Panel(title, "steps t", "|update| / lr", series, y_scale="log"))


def _updates(lab: Lab, beta1: float, beta2: float, steps: int = STEPS) -> list[float]:
    """|update| / lr at each step on the worst gradients for the last one, without eps."""
    adam = lab.rule(Adam(beta1=beta1, beta2=beta2, eps=TINY))
    x = torch.zeros(1, dtype=torch.float64)
    s, sizes = adam.init(x), []
    for g in extremal_gradients(beta1, beta2, steps):
        after, s = adam.step(x, torch.full_like(x, float(g)), s, 1.0)
        sizes.append(abs(after.item()))
    return sizes


CLAIM = Claim(
    name="update-bound",
    title="How large an update can be",
    statement="Below beta1 = sqrt(beta2) an update of Adam is at most lr (1 - beta1) / sqrt((1 - "
    "beta2) (1 - beta1^2 / beta2)), which is attained; beyond, it is unbounded; the bound that Kingma "
    "and Ba state in Section 2.1 is violated at the usual betas.",
    sources=(
        Source("D. P. Kingma, J. Ba", 2015, "1412.6980", "Section 2.1"),
        Source("S. Reddi, S. Kale, S. Kumar", 2018, "1904.09237", "Theorem 2 (the condition)"),
    ),
    setting="The gradients g_(t-i) = (beta1 / beta2)^i that attain the supremum after 5,000 steps, "
    "eps = 0. The supremum follows from the Cauchy-Schwarz inequality.",
    checks=(
        *(Near(f"largest update at {b1:g}, {b2:g} / its supremum", 1.0, 1e-6) for b1, b2 in BETAS),
        AtLeast("largest update at 0.9, 0.999 / the stated bound", 2.29),
        AtLeast("largest update at 0.9, 0.95 / the stated bound", 1.16),
        Near("growth per step at 0.9, 0.75", math.exp(float(blow_up_rate(*BEYOND))), 1e-3),
    ),
    measure=measure,
    seeds=1,
)
