"""Spikes at constant curvature: v decays until the preconditioned curvature passes 2 / lr."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.follow import Moment
from betaplane.claims.lab import Lab
from betaplane.problems import Problem
from betaplane.replicas import Run
from betaplane.rules import Adam
from betaplane.theory import preconditioned_curvature

LR, BETA1, EPS, STEPS = 0.01, 0.9, 1e-8, 2500
BETA2S = (0.99, 0.95, 0.9)
CROSSINGS = {0.99: (1579, 5e-6), 0.95: (378, 7e-7)}  # step, and loss of the peak after it
DIMENSION = 10
THIN = 5  # steps between two points of a figure


def measure(lab: Lab) -> None:
    """Follow Adam on quadratics, and read its curvature in its own metric at each step."""
    rows, panels = [], []
    for beta2 in BETA2S:
        path = _follow(lab, [1.0], beta2)
        crossing = _first(path.along > 2)
        name = f"at beta2 = {beta2:g}"
        lab.measure(f"step at which the curvature passes 2 / lr {name}", crossing)
        if math.isfinite(crossing):
            before, after = path.loss[: int(crossing)], path.loss[int(crossing) :]
            lab.measure(f"log10 of the lowest loss before it {name}", np.log10(before.min()))
            lab.measure(f"log10 of the peak after it {name}", np.log10(after.max()))
            lead = int(after.argmax())
            lab.measure(f"steps from the crossing to the peak {name}", lead, "steps")
            rows.append((beta2, crossing, before.min(), after.max(), lead))
        panels.append(Series(f"beta2 = {beta2:g}", path.steps[::THIN], path.loss[::THIN]))
    columns = ("beta2", "crosses 2 / lr at step", "lowest loss before", "peak after", "lead, steps")
    lab.tabulate(Table("Spikes on x^2 / 2 at lr 0.01, beta1 = 0.9", columns, rows))
    title = "Loss on x^2 / 2, whose curvature is 1"
    lab.draw(Panel(title, "step", "loss", panels, y_scale="log"))
    _measure_directions(lab)


def _measure_directions(lab: Lab) -> None:
    """In ten dimensions, the loss rises with the curvature along the gradient."""
    path = _follow(lab, np.geomspace(0.1, 10, DIMENSION).tolist(), 0.99)
    rises = np.diff(np.log(path.loss), prepend=np.log(path.loss[0])) > 0
    late = path.steps > 200  # the start is a transient of the bias correction
    above = path.along > 2
    lab.measure("share of rising steps with the curvature above 2 / lr", rises[late & above].mean())
    below = rises[late & ~above]
    lab.measure("share of rising steps with the curvature below 2 / lr", below.mean())
    series = (
        Series("largest eigenvalue", path.steps[::THIN], path.top[::THIN]),
        Series("along the gradient", path.steps[::THIN], path.along[::THIN]),
        Series("2", [0, STEPS], [2, 2], style="dashed"),
    )
    title = "Curvature in Adam's metric, 10 dimensions"
    lab.draw(Panel(title, "step", "lr x curvature", series, y_scale="log"))


@dataclass(frozen=True)
class _Path:
    """Steps, losses, and lr times the two curvatures of `theory.preconditioned_curvature`."""

    steps: np.ndarray
    loss: np.ndarray
    top: np.ndarray
    along: np.ndarray


def _follow(lab: Lab, curvatures: list[float], beta2: float) -> _Path:
    h, rows = np.array(curvatures), []

    def look(moment: Moment) -> None:
        g, v = moment.gradients["x"].numpy(), moment.states["x"]["exp_avg_sq"].numpy()
        v_hat = v / (1 - beta2**moment.t)
        top, along = preconditioned_curvature(np.diag(h), g, v_hat, BETA1, moment.t, eps=EPS)
        rows.append((moment.t, 0.5 * float((g * g / h).sum()), LR * top, LR * along))

    run = Run(Adam(beta1=BETA1, beta2=beta2, eps=EPS), LR, 1, 0)
    lab.follow(_bowl(curvatures), run, look)
    return _Path(*np.array(rows).T)


def _bowl(curvatures: list[float]) -> Problem:
    """The quadratic sum_i h_i x_i^2 / 2, from x_i = 1."""
    one = torch.ones(1, dtype=torch.float64)
    return Problem("bowl", partial(_Bowl, curvatures), _value, one, one, 1, steps=STEPS, best=0.0)


class _Bowl(nn.Module):
    """Parameter x of shape (d,); forward is the value at x."""

    h: Tensor

    def __init__(self, curvatures: list[float]) -> None:
        super().__init__()
        self.register_buffer("h", torch.tensor(curvatures, dtype=torch.float64))
        self.x = nn.Parameter(torch.ones_like(self.h))

    def forward(self, scale: Tensor) -> Tensor:
        return scale.sum() * 0.5 * (self.h * self.x.square()).sum()


def _value(output: Tensor, target: Tensor) -> Tensor:
    del target
    return output


def _first(condition: np.ndarray) -> float:
    """The first step at which it holds, from 1; inf if never."""
    return float(condition.argmax() + 1) if condition.any() else math.inf


CLAIM = Claim(
    name="spike-without-sharpening",
    title="Spikes need no sharpening",
    statement="On a quadratic, whose curvature is constant, v decays after the gradient has vanished "
    "until the curvature of the preconditioned Hessian along the gradient passes 2 / lr; then the "
    "loss rises; a small beta2 never crosses.",
    sources=(
        Source("Y. Bai, Z. Zhou, J. Zhao, et al.", 2025, "2506.04805", "Sections 4 and 5"),
        Source("J. Cohen et al.", 2022, "2207.14484", "the stability threshold"),
    ),
    setting="f = x^2 / 2 from x = 1, lr 0.01, beta1 = 0.9, eps 1e-8, full batch, float64; and ten "
    "dimensions with curvatures 0.1 to 10. The expected numbers were computed independently.",
    checks=(
        *(
            Near(f"step at which the curvature passes 2 / lr at beta2 = {b:g}", step, 1)
            for b, (step, _) in CROSSINGS.items()
        ),
        *(
            Near(f"log10 of the peak after it at beta2 = {b:g}", math.log10(peak), 0.1)
            for b, (_, peak) in CROSSINGS.items()
        ),
        *(AtMost(f"log10 of the lowest loss before it at beta2 = {b:g}", -15) for b in CROSSINGS),
        AtLeast("step at which the curvature passes 2 / lr at beta2 = 0.9", STEPS),
        AtLeast("share of rising steps with the curvature above 2 / lr", 0.5),
        AtMost("share of rising steps with the curvature below 2 / lr", 0.5),
    ),
    measure=measure,
    seeds=1,
)
