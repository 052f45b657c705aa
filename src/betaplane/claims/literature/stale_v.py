"""Too large a beta2: spikes from a stale v, their remedies, and the edge of stability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, Below, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.follow import Moment
from betaplane.claims.lab import WHOLE, Lab
from betaplane.monitor.quantities.sharpness import sharpness
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import Adam, StableAdamW
from betaplane.rules._rule import Rule
from betaplane.theory import rms_ratio, stability_threshold

BEFORE, AFTER = 800, 200  # steps before and after the gradients grow
REMEDIES: Mapping[str, Rule] = {
    "beta2 = 0.999": Adam(),
    "beta2 = 0.95": Adam(beta2=0.95),
    "beta2 = 0.999, clip = 0.5": Adam(clip=0.5),
    "StableAdamW, beta2 = 0.999": StableAdamW(beta2=0.999, weight_decay=0.0),
}
STALE, *CURES = REMEDIES
GROWTH, DIMENSION, BOWL_LR = 100.0, 20, 0.01
CONTRAST, BATCH, DIGITS_LR = 10.0, 32, 0.01
# beta1, lr and the published threshold, over lr
EDGES = {"RMSProp": (0.0, 1e-3, 2.0), "Adam": (0.9, 1e-2, 38.0)}
EDGE_STEPS, EDGE_EVERY = 1500, 50
FEW = 4  # seeds of the edge, which varies little


def measure(lab: Lab) -> None:
    """Let the gradients grow while v remembers small ones, and train full batch to the edge."""
    _measure_bowl(lab)
    _measure_digits(lab)
    _measure_edges(lab)


def _measure_bowl(lab: Lab) -> None:
    """|x|^2 after a hundredfold growth of the loss, over its mean before."""
    series = []
    for name, rule in REMEDIES.items():
        paths, ratios = zip(*(_bowl_path(lab, rule, seed) for seed in lab.seeds), strict=True)
        peaks = [
            max(path[BEFORE : BEFORE + 60]) / np.mean(path[BEFORE // 2 : BEFORE]) for path in paths
        ]
        lab.measure(f"bowl, {name}: peak of |x|^2 / before", peaks)
        if name == STALE:
            lab.measure("bowl, largest RMS of g / sqrt(v) at beta2 = 0.999", ratios)
        shown = np.mean(paths, axis=0)[BEFORE - 100 :]
        series.append(Series(name, np.arange(-100, AFTER), shown))
    title = "Quadratic whose loss grows a hundredfold"
    lab.draw(Panel(title, "steps after the growth", "|x|^2", series, y_scale="log"))


def _bowl_path(lab: Lab, rule: Rule, seed: int) -> tuple[list[float], float]:
    """|x|^2 at each step, and the largest lag of v after the growth."""
    squares: list[float] = []
    lag = [0.0]

    def look(moment: Moment) -> None:
        squares.append(float(moment.params["x"].square().sum()))
        if BEFORE < moment.t <= BEFORE + 5:
            v = moment.states["x"]["exp_avg_sq"] / (1 - 0.999**moment.t)
            lag.append(rms_ratio(moment.gradients["x"].numpy(), v.numpy()))

    lab.follow(_bowl(seed), Run(rule, BOWL_LR, 1, seed), look, replace(WHOLE, points=10))
    return squares, max(lag)


def _bowl(seed: int) -> Problem:
    """Losses s_t (|x|^2 / 2 + z_t . x), z_t normal, whose scale s_t grows from 1 to 100."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(BEFORE + AFTER, DIMENSION, generator=generator, dtype=torch.float64)
    scale = torch.ones(len(z), dtype=torch.float64)
    scale[BEFORE:] = GROWTH
    rows = torch.cat([scale[:, None], z], 1)
    targets = torch.zeros(len(z), dtype=torch.float64)
    return Problem("bowl", _Bowl, _mean, rows, targets, 1, order="cyclic", steps=len(z), lr=BOWL_LR)


class _Bowl(nn.Module):
    """Parameter x, initially 0; forward of rows (s, z) is s (|x|^2 / 2 + z . x)."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(DIMENSION, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, 0] * (0.5 * self.x.square().sum() + rows[:, 1:] @ self.x)


def _mean(output: Tensor, target: Tensor) -> Tensor:
    del target
    return output.mean()


def _measure_digits(lab: Lab) -> None:
    """The largest loss after the contrast of the images has grown tenfold."""
    options, series = replace(WHOLE, points=BEFORE + AFTER), []
    for name, rule in REMEDIES.items():
        runs = [Run(rule, DIGITS_LR, BATCH, seed) for seed in lab.seeds]
        curves = np.array([o.curve for o in lab.train(_contrast(), runs, options)], dtype=float)
        peaks = np.log10(curves[:, BEFORE : BEFORE + 60].max(1))
        lab.measure(f"digits, {name}: log10 of the peak of the loss", peaks)
        shown = curves.mean(0)[BEFORE - 50 : BEFORE + 150]
        series.append(Series(name, np.arange(-50, 150), shown))
    title = "Digits whose contrast grows tenfold"
    lab.draw(Panel(title, "steps after the growth", "loss, nats", series, y_scale="log"))


def _contrast() -> Problem:
    """The digits as a stream, with a tenth of their contrast at first."""
    problem, steps = digits(hidden=16), BEFORE + AFTER
    order = torch.randint(1797, (steps * BATCH,), generator=torch.Generator().manual_seed(0))
    scale = torch.full((steps * BATCH, 1), 1 / CONTRAST)
    scale[BEFORE * BATCH :] = 1.0
    inputs, targets = problem.inputs[order] * scale, problem.targets[order]
    return problem.with_(
        inputs=inputs, targets=targets, order="cyclic", steps=steps, batch_size=BATCH
    )


def _measure_edges(lab: Lab) -> None:
    """The top eigenvalue of the preconditioned Hessian, full batch, in units of 1 / lr."""
    series = []
    for name, (beta1, lr, published) in EDGES.items():
        rule = Adam(beta1=beta1, beta2=0.99)
        paths = np.array([_tops(lab, rule, lr, seed) for seed in lab.seeds[:FEW]])
        threshold = float(stability_threshold(beta1))
        last = paths[:, -10:].mean(1) * threshold
        note = "the threshold, from Cohen et al."
        lab.measure(f"{name}: lr x curvature at the end", last, "", published, note)
        steps = np.arange(EDGE_EVERY, EDGE_STEPS + 1, EDGE_EVERY)
        label = f"{name}, threshold {published:g} / lr"
        series.append(Series(label, steps, paths.mean(0), paths.min(0), paths.max(0)))
    series.append(Series("the threshold", [0, EDGE_STEPS], [1, 1], style="dashed"))
    title = "Full batch: the edge of stability"
    lab.draw(Panel(title, "step", "top curvature / threshold", series))


def _tops(lab: Lab, rule: Rule, lr: float, seed: int) -> list[float]:
    """The top curvature over the threshold, along a run."""
    problem, tops = _full_batch(), []

    def look(moment: Moment) -> None:
        if moment.t % EDGE_EVERY == 0:
            loss = _loss_of(problem, moment.module)
            tops.append(sharpness(moment.optimizer, loss, rounds=20).top)

    lab.follow(problem, Run(rule, lr, problem.batch_size, seed), look, replace(WHOLE, points=10))
    return tops


def _loss_of(problem: Problem, module: nn.Module):
    return lambda: problem.loss_of(module, (problem.inputs, problem.targets))


def _full_batch() -> Problem:
    """200 digits, 12 tanh units, squared error, in float64."""
    problem = digits(steps=EDGE_STEPS)
    inputs = problem.inputs[:200].double()
    targets = nn.functional.one_hot(problem.targets[:200], 10).double()
    return Problem(
        "digits, full batch", _tanh_net, nn.functional.mse_loss, inputs, targets, 200,
        steps=EDGE_STEPS,
    )  # fmt: skip


def _tanh_net() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10)).double()


CLAIM = Claim(
    name="stale-v",
    title="Spikes from a stale v, and the edge of stability",
    statement="If gradients grow, a v that remembers small ones causes a spike; update clipping and a "
    "smaller beta2 cure it. In full batch, RMSProp and Adam settle at their stability thresholds, 2 / "
    "lr and 38 / lr at beta1 = 0.9.",
    sources=(
        Source("M. Wortsman et al.", 2023, "2304.13013", "Section 3"),
        Source("J. Cohen et al.", 2022, "2207.14484", "Figure 1, Section 3"),
    ),
    setting="A noisy quadratic in 20 dimensions whose loss is multiplied by 100 at step 800, and an "
    "mlp on digits whose contrast grows tenfold; clip = 0.5 limits the RMS of an update. The edge: "
    "200 digits, 12 tanh units, squared error, beta2 = 0.99, 1,500 steps. The edge has 4 "
    "seeds. Wortsman et al. train CLIP, "
    "in which the gradients grow by themselves.",
    checks=(
        AtLeast("bowl, largest RMS of g / sqrt(v) at beta2 = 0.999", 2.3),
        AtLeast(f"bowl, {STALE}: peak of |x|^2 / before", 3.0),
        *(
            Below(f"bowl, {cure}: peak of |x|^2 / before", f"bowl, {STALE}: peak of |x|^2 / before")
            for cure in CURES
        ),
        *(
            Below(
                f"digits, {cure}: log10 of the peak of the loss",
                f"digits, {STALE}: log10 of the peak of the loss",
            )
            for cure in CURES
        ),
        *(
            Near(f"{name}: lr x curvature at the end", c, 0.1 * c)
            for name, (_, _, c) in EDGES.items()
        ),
    ),
    measure=measure,
    seeds=16,
)
