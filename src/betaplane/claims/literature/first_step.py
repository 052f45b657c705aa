"""The first step of Adam is lr sign(g), whatever the size of the gradient."""

from __future__ import annotations

import torch

from betaplane.claims.checks import Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import Lab
from betaplane.rules import Adam

LR = 0.001
X = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
G = torch.tensor([0.1, -0.5, 0.3], dtype=torch.float64)
SCALES = [10.0**k for k in range(-12, 5)]


def measure(lab: Lab) -> None:
    """Take one step on three parameters, and on gradients of many sizes."""
    adam = lab.rule(Adam())
    s = adam.init(X)
    x, s = adam.step(X, G, s, LR)
    m_hat, v_hat = s.m / (1 - 0.9), s.v / (1 - 0.999)
    for i, update in enumerate((x - X).tolist(), start=1):
        lab.measure(f"update of x{i} / lr", update / LR)
    rows = list(zip(*(t.tolist() for t in (X, G, s.m, s.v, m_hat, v_hat, x)), strict=True))
    columns = ("x", "g", "m", "v", "m_hat", "v_hat", "x after the step")
    lab.tabulate(Table(f"One step of Adam() at lr {LR}", columns, rows))
    lab.measure("update at a gradient of 1e-8, / lr", _first_update(lab, 1e-8) / LR)
    sizes = [abs(_first_update(lab, scale)) / LR for scale in SCALES]
    sgd = SCALES  # its first update is lr g
    series = Series("Adam", SCALES, sizes), Series("SGD", SCALES, sgd, style="dashed")
    title = "The size of the first step against that of g"
    lab.draw(Panel(title, "gradient", "|update| / lr", series, "log", "log", x_lines=(1e-8,)))


def _first_update(lab: Lab, g: float) -> float:
    adam = lab.rule(Adam())
    x = torch.zeros(1, dtype=torch.float64)
    after, _ = adam.step(x, torch.full_like(x, g), adam.init(x), LR)
    return after.item()


CLAIM = Claim(
    name="first-step",
    title="The first step is the sign of the gradient",
    statement="With bias correction, m_hat = g and v_hat = g^2 after one step, so that Adam's first "
    "update is -lr sign(g) for every gradient that is large against eps.",
    sources=(Source("D. P. Kingma, J. Ba", 2015, "1412.6980", "Algorithm 1, Section 2.1"),),
    setting="Three parameters in float64, default betas and eps 1e-8. At a gradient as small as eps "
    "the update is half as large.",
    checks=(
        Near("update of x1 / lr", -1.0, 1e-6),
        Near("update of x2 / lr", 1.0, 1e-6),
        Near("update of x3 / lr", -1.0, 1e-6),
        Near("update at a gradient of 1e-8, / lr", -0.5, 1e-9),
    ),
    measure=measure,
    seeds=1,
)
