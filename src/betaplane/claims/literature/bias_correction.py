"""What bias correction does in the first steps, and whether the first moment needs it."""

from __future__ import annotations

import numpy as np
import torch

from betaplane.claims.checks import Below, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import loss_panel
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.claims.tuning import final_loss
from betaplane.replicas import Run
from betaplane.rules import Adam, AdamD
from betaplane.rules._rule import Rule

STEPS = 300
WARMUP = 0.1  # share of the steps
WEIGHT_STEP = 10  # at which the weight of the first gradient is measured
FACTOR = 4.0  # of the best learning rate, at which warmup matters


def measure(lab: Lab) -> None:
    """Take first steps with and without correction, and train with and without warmup."""
    _first_steps(lab)
    contenders: dict[str, Rule] = {"Adam": Adam(), "AdamD": AdamD()}
    warm = small_text(STEPS, schedule="warmup_cosine", warmup=WARMUP)
    cold = warm.with_(warmup=0.0)
    tuned = lab.tune(warm, contenders, (0.0025, 0.01, 0.04))
    curves = {}
    for name, rule in contenders.items():
        finals = {}
        for label, problem in (("with", warm), ("without", cold)):
            runs = [Run(rule, FACTOR * tuned.lr(name), 16, seed) for seed in lab.seeds]
            outcomes = lab.train(problem, runs)
            finals[label] = np.array([final_loss(outcome) for outcome in outcomes])
            lab.measure(f"final loss of {name} {label} warmup", finals[label])
            curves[f"{name} {label} warmup"] = outcomes
        lab.measure(f"what warmup gains for {name}", finals["without"] - finals["with"], "nats")
    lab.draw(loss_panel("Text, 4 times the best lr", STEPS, curves))


def _first_steps(lab: Lab) -> None:
    """The sizes of the first updates at a constant gradient, and the weight of the first one."""
    rules = {"corrected": Adam(eps=0.0), "not corrected": Adam(eps=0.0, debias="none")}
    sizes = {name: _updates(lab, rule, torch.ones(300)) for name, rule in rules.items()}
    lab.measure("first update without correction, / lr", sizes["not corrected"][0])
    lab.measure("first update with correction, / lr", sizes["corrected"][0])
    impulse = torch.zeros(WEIGHT_STEP)
    impulse[0] = 1.0
    lab.measure(
        f"weight of the first gradient in m_hat at step {WEIGHT_STEP}", _m_hat(lab, impulse)
    )
    steps = np.arange(1, 301)
    series = [Series(name, steps, values) for name, values in sizes.items()]
    lab.draw(Panel("Updates at a constant gradient", "step", "|update| / lr", series))


def _updates(lab: Lab, rule: Rule, gradients: torch.Tensor) -> list[float]:
    rule = lab.rule(rule)
    x = torch.zeros(1, dtype=torch.float64)
    s, sizes = rule.init(x), []
    for g in gradients.double():
        after, s = rule.step(x, g.reshape(1), s, 1.0)
        sizes.append(abs((after - x).item()))
        x = after
    return sizes


def _m_hat(lab: Lab, gradients: torch.Tensor) -> float:
    """m_hat after the gradients: Adam with a beta2 of 0 and an eps that hides v."""
    large = 1e12
    return _updates(lab, Adam(beta2=0.0, eps=large), gradients)[-1] * large


CLAIM = Claim(
    name="bias-correction",
    title="What bias correction does",
    statement="Without correction the first updates are (1 - beta1) / sqrt(1 - beta2) = 3.16 times "
    "lr; the correction gives early gradients a weight of (1 - beta1) beta1^(t-1) / (1 - beta1^t); and "
    "leaving the first moment uncorrected (AdamD) reduces the need for warmup.",
    sources=(
        Source("D. P. Kingma, J. Ba", 2015, "1412.6980", "Section 3"),
        Source("J. St John", 2021, "2110.10828", "AdamD"),
    ),
    setting="Updates at a constant gradient, in float64. Warmup: a character model of width 16, 300 "
    "steps with a cosine, at 4 times the best learning rate with a warmup of 30 steps.",
    checks=(
        Near("first update without correction, / lr", 0.1 / 0.001**0.5, 1e-9),
        Near("first update with correction, / lr", 1.0, 1e-9),
        Near(
            f"weight of the first gradient in m_hat at step {WEIGHT_STEP}",
            0.1 * 0.9 ** (WEIGHT_STEP - 1) / (1 - 0.9**WEIGHT_STEP),
            1e-9,
        ),
        Below("what warmup gains for AdamD", "what warmup gains for Adam"),
    ),
    measure=measure,
    seeds=12,
)
