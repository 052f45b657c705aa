"""AdamW's weights end within 1 / weight_decay, and decoupling frees the best decay of lr."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, AtMost, Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Heat, Panel, Series, Table
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import Adam, AdamW

DECAYS = (0.25, 0.5, 1.0, 2.0)
BOUND_LR, BOUND_STEPS = 0.02, 1000
Kind = Literal["l2", "decoupled", "independent"]
LRS = np.geomspace(2e-3, 2e-2, 4)
# values of weight_decay: in gradient units, per unit of lr, and as the share that a step removes
GRIDS: dict[Kind, np.ndarray] = {
    "l2": np.geomspace(1e-6, 1e-1, 9),
    "decoupled": np.geomspace(1e-3, 10, 9),
    "independent": np.geomspace(1e-6, 1e-1, 9),
}
NAMES: dict[Kind, str] = {
    "l2": "Adam + L2",
    "decoupled": "AdamW in torch's form",
    "independent": "AdamW in the paper's form",
}
STEPS = 600


def measure(lab: Lab) -> None:
    """The largest weight of runs with strong decay, and maps of lr and decay."""
    _measure_bound(lab)
    for kind in NAMES:
        losses = _map(lab, kind)
        lab.measure(f"{NAMES[kind]}: loss added by the best decay of another lr", _transfer(losses))
        mean, grid = losses.mean(0), GRIDS[kind]
        best = grid[mean.argmin(1)]
        title = f"Held-out loss, {NAMES[kind]}"
        series = (Series("best decay", LRS, best, style="points"),)
        heat = Heat(LRS, grid, np.minimum(mean.T, 1.0), "held-out loss, nats", log=True)
        lab.draw(Panel(title, "lr", "weight decay", series, "log", "log", heat))
        rows = [
            (f"{lr:.2g}", f"{wd:.2g}", low)
            for lr, wd, low in zip(LRS, best, mean.min(1), strict=True)
        ]
        lab.tabulate(Table(title, ("lr", "best decay", "held-out loss"), rows))


def _measure_bound(lab: Lab) -> None:
    """The largest |weight| times weight_decay along runs of AdamW, full batch."""
    problem = digits("logistic", steps=BOUND_STEPS)
    few = problem.inputs[:256], problem.targets[:256]
    problem = problem.with_(inputs=few[0], targets=few[1], batch_size=256)
    problem = problem.with_(validation=(few[0][:1], few[1][:1]), metric=_largest_weight)
    runs = [Run(AdamW(weight_decay=wd), BOUND_LR, 256, 0) for wd in DECAYS]
    outcomes = lab.train(problem, runs, replace(WHOLE, points=20, independent=False))
    paths = [np.zeros(0) if o.held_out is None else np.array(o.held_out) for o in outcomes]
    ends = [float(path[-1]) * wd for path, wd in zip(paths, DECAYS, strict=True)]
    lab.measure("largest |weight| x weight_decay at the end", max(ends))
    lab.measure("the same at the largest weight_decay", ends[-1])
    steps = np.linspace(0, BOUND_STEPS, len(paths[0]) + 1)[1:]
    series = [
        Series(f"weight_decay {wd:g}", steps, path * wd)
        for path, wd in zip(paths, DECAYS, strict=True)
    ]
    title = "AdamW: largest weight against its bound"
    lab.draw(Panel(title, "step", "largest |weight| x weight_decay", series))


def _largest_weight(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    del batch
    return torch.stack([p.abs().max() for p in model.parameters()]).max()


def _map(lab: Lab, kind: Kind) -> np.ndarray:
    """Held-out losses over lr and decay, (seeds, lr, decay)."""
    problem, options = _split(), replace(WHOLE, points=10)
    runs = [
        Run(Adam(weight_decay=float(wd), decay=kind), float(lr), 32, seed)
        for seed in lab.seeds
        for lr in LRS
        for wd in GRIDS[kind]
    ]
    outcomes = lab.train(problem, runs, options)
    finals = [np.nan if o.held_out is None else o.held_out[-1] for o in outcomes]
    return np.array(finals).reshape(len(lab.seeds), len(LRS), -1)


def _split() -> Problem:
    """A fifth of the digits to train on, and as many as held-out data."""
    problem = digits(steps=STEPS, schedule="warmup_cosine")
    train = torch.arange(0, 360)
    held_out = torch.arange(720, 1080)
    validation = problem.inputs[held_out], problem.targets[held_out]
    inputs, targets = problem.inputs[train], problem.targets[train]
    return problem.with_(inputs=inputs, targets=targets, validation=validation)


def _transfer(losses: np.ndarray) -> np.ndarray:
    """The loss that is added, on average over pairs of learning rates, if the decay is the best of
    another one, (seeds,).
    """
    losses = np.minimum(np.nan_to_num(losses, nan=np.inf), np.log(10))  # a guess at random
    best = losses.mean(0).argmin(1)
    added = losses[:, :, best] - losses[:, np.arange(len(LRS)), best][:, :, None]
    return added.mean((1, 2)) * len(LRS) / (len(LRS) - 1)


CLAIM = Claim(
    name="decoupled-decay",
    title="AdamW: a bound on weights, and a decay free of lr",
    statement="AdamW's weights end within 1 / weight_decay, and decoupling makes the best decay "
    "independent of the learning rate.",
    sources=(
        Source("S. Xie, Z. Li", 2024, "2404.04454", "Theorem 1.1"),
        Source("I. Loshchilov, F. Hutter", 2019, "1711.05101", "Section 4.1, Figure 2"),
    ),
    setting="The bound: softmax regression on 256 digits, full batch, lr 0.02. The decay: an mlp on "
    "360 digits, 600 steps with a cosine schedule, loss on 360 others, lr 0.002 to 0.02; Adam with "
    "L2 against decoupled decay in the paper's form, in which a step removes a share of a weight that "
    "does not depend on the peak of lr, and in torch's, in which lr multiplies it. The paper trains a "
    "ResNet on CIFAR-10.",
    checks=(
        AtMost("largest |weight| x weight_decay at the end", 1.0),
        AtLeast("the same at the largest weight_decay", 0.5),
        *(
            Below(
                f"AdamW in {form} form: loss added by the best decay of another lr",
                "Adam + L2: loss added by the best decay of another lr",
                when=f"the decay is in {form} form",
            )
            for form in ("the paper's", "torch's")
        ),
    ),
    measure=measure,
    seeds=3,
)
