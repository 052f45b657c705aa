"""The RMS of updates and of weights in the long run, and the end of a schedule (AdamC)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.follow import Moment
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem, digits
from betaplane.replicas import Run
from betaplane.rules import Adam, AdamC, AdamW
from betaplane.rules._rule import Rule
from betaplane.theory import update_rms, weight_rms

ELEMENTS, NOISE_STEPS = 400, 3000
SETTINGS = ((0.01, 0.1), (0.01, 0.3), (0.003, 1.0), (0.03, 0.1))  # lr, weight_decay
UPDATE_BETAS = ((0.9, 0.999), (0.9, 0.95), (0.8, 0.95))
PEAK_LR, DECAY, STEPS, BATCH = 0.01, 1.0, 1500, 16
RANDOM_LABELS = 0.4  # share, so that the noise of gradients does not end with training


def measure(lab: Lab) -> None:
    """Feed noise to Adam and AdamW, and train a network with a normalized layer to the end."""
    _measure_updates(lab)
    _measure_weights(lab)
    _measure_schedule_end(lab)


def _measure_updates(lab: Lab) -> None:
    """The RMS of the update over lr, on independent normal gradients."""
    rows = []
    for beta1, beta2 in UPDATE_BETAS:
        values = [_update_rms(lab, Adam(beta1=beta1, beta2=beta2), seed) for seed in lab.seeds]
        note = "the mean field, sqrt((1 - beta1) / (1 + beta1)); 0.2 in words at beta1 = 0.9"
        exact = float(update_rms(beta1))
        lab.measure(f"update RMS / lr at {beta1:g}, {beta2:g}", values, "", exact, note)
        rows.append((beta1, beta2, np.mean(values), float(update_rms(beta1))))
    columns = ("beta1", "beta2", "update RMS / lr", "mean field")
    lab.tabulate(Table("Updates on pure noise", columns, rows))


def _update_rms(lab: Lab, rule: Rule, seed: int) -> float:
    rule, generator = lab.rule(rule), torch.Generator().manual_seed(seed)
    x = torch.zeros(ELEMENTS, dtype=torch.float64)
    state, squares = rule.init(x), []
    for _ in range(NOISE_STEPS):
        g = torch.randn(ELEMENTS, generator=generator, dtype=torch.float64)
        after, state = rule.step(x, g, state, 1.0)
        squares.append((after - x).square().mean().item())
    return float(np.sqrt(np.mean(squares[NOISE_STEPS // 2 :])))


def _measure_weights(lab: Lab) -> None:
    """The RMS of weights under noise alone, against sqrt(lr / (2 weight_decay))."""
    series = []
    for lr, decay in SETTINGS:
        problem = _noise()
        runs = [Run(AdamW(weight_decay=decay), lr, 1, seed) for seed in lab.seeds]
        outcomes = lab.train(problem, runs)
        paths = np.array([o.held_out for o in outcomes], dtype=float)
        limit = float(weight_rms(lr, decay))
        last = paths[:, -paths.shape[1] // 4 :].mean(1) / limit
        lab.measure(f"weight RMS / sqrt(lr / (2 wd)) at lr {lr:g}, wd {decay:g}", last)
        steps = np.linspace(0, problem.steps, paths.shape[1] + 1)[1:]
        series.append(Series(f"lr {lr:g}, wd {decay:g}", steps, paths.mean(0) / limit))
    label = "weight RMS / sqrt(lr / (2 wd))"
    lab.draw(Panel("Weights of AdamW under noise", "step", label, series))


def _noise() -> Problem:
    """Gradients that are rows of normal noise of mean exactly 0, and the RMS of the weights."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2000, ELEMENTS, generator=generator)
    z -= z.mean(0)
    zeros = torch.zeros(len(z))
    problem = Problem("noise", _Weights, _mean, z, zeros, 1, steps=8000, order="replacement")
    return problem.with_(validation=(z[:1], zeros[:1]), metric=_weights_rms)


class _Weights(nn.Module):
    """Parameter x, initially 0; forward(z) = z . x."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(ELEMENTS))

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.x


def _mean(output: Tensor, target: Tensor) -> Tensor:
    del target
    return output.mean()


def _weights_rms(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    del batch
    assert isinstance(model.x, Tensor)
    return model.x.square().mean().sqrt()


def _measure_schedule_end(lab: Lab) -> None:
    """The gradient over the weight of a layer before a normalization, as lr falls to 0."""
    rules: Mapping[str, Rule] = {
        "AdamW": AdamW(weight_decay=DECAY),
        "AdamC": AdamC(weight_decay=DECAY, peak_lr=PEAK_LR),
    }
    series = []
    for name, rule in rules.items():
        ratios = np.array([_ratios(lab, rule, seed) for seed in lab.seeds])
        middle = ratios[:, STEPS // 4 : STEPS // 2].mean(1)
        end = ratios[:, -STEPS // 20 : -STEPS // 100].mean(1)
        lab.measure(f"{name}: gradient / weight at the end over that at mid-schedule", end / middle)
        smooth = ratios.mean(0).reshape(-1, 25).mean(1)
        steps = np.arange(25, STEPS + 1, 25)
        series.append(Series(name, steps, smooth))
    title = "A linear schedule to 0, normalized layer"
    lab.draw(Panel(title, "step", "|gradient| / |weight|", series, y_scale="log"))


def _ratios(lab: Lab, rule: Rule, seed: int) -> list[float]:
    """|g| / |w| of the hidden weight at each step."""
    problem = _noisy_digits(seed)
    ratios: list[float] = []

    def look(moment: Moment) -> None:
        name = "0.weight"
        ratios.append(float(moment.gradients[name].norm() / moment.params[name].norm()))

    lab.follow(problem, Run(rule, PEAK_LR, BATCH, seed), look, replace(WHOLE, points=10))
    return ratios


def _noisy_digits(seed: int) -> Problem:
    """A stream of digits, some of which have a random label each time they come."""
    problem, generator = digits(), torch.Generator().manual_seed(seed)
    order = torch.randint(problem.examples, (STEPS * BATCH,), generator=generator)
    random = torch.rand(len(order), generator=generator) < RANDOM_LABELS
    labels = torch.randint(10, (len(order),), generator=generator)
    targets = torch.where(random, labels, problem.targets[order])
    return problem.with_(
        module=_normalized, inputs=problem.inputs[order], targets=targets, order="cyclic",
        steps=STEPS, batch_size=BATCH, schedule="warmup_linear",
    )  # fmt: skip


def _normalized() -> nn.Module:
    """Linear without bias, a normalization without gains, ReLU, Linear."""
    hidden = nn.Linear(64, 32, bias=False)
    norm = nn.LayerNorm(32, elementwise_affine=False)
    return nn.Sequential(hidden, norm, nn.ReLU(), nn.Linear(32, 10))


CLAIM = Claim(
    name="weight-scale",
    title="Update RMS, weight RMS and the end of a schedule",
    statement="At beta1 = 0.9 the update RMS is about 0.2 lr, AdamW's weight RMS tends to sqrt(lr / (2 "
    "weight_decay)), and the gradient of a normalized layer rises over its weight at the end of a "
    "schedule, which AdamC stops.",
    sources=(
        Source("J. Su", 2025, "kexue.fm/archives/11267", "update RMS; 11307 and 11404 for weights"),
        Source("A. Defazio", 2025, "2506.02285", "Figure 1, AdamC"),
        Source("A. Kosson, B. Messmer, M. Jaggi", 2023, "2305.17212", "rotational equilibrium"),
    ),
    setting="Independent normal gradients for the first two; digits with 32 normalized hidden units, "
    "40% random labels, batch 16, lr 0.01 falling linearly to 0, weight_decay 1, for the third. The "
    "source of AdamC trains ImageNet and a 120M language model.",
    checks=(
        *(
            Near(f"update RMS / lr at {b1:g}, {b2:g}", float(update_rms(b1)), 0.01)
            for b1, b2 in UPDATE_BETAS
        ),
        *(
            Near(f"weight RMS / sqrt(lr / (2 wd)) at lr {lr:g}, wd {wd:g}", 1.0, 0.05)
            for lr, wd in SETTINGS
        ),
        AtLeast("AdamW: gradient / weight at the end over that at mid-schedule", 1.5),
        AtMost("AdamC: gradient / weight at the end over that at mid-schedule", 1.5),
    ),
    measure=measure,
)
