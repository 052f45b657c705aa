"""After one gradient that is far too large, LaProp recovers as slowly as Adam at the same beta2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.claims.checks import AtLeast, Below, Near, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem
from betaplane.replicas import Run
from betaplane.rules import Adam, LaProp
from betaplane.rules._rule import Rule

FACTOR, AFTER = 1000.0, 9000
BETA2S, TRAINED = (0.999, 0.99, 0.95), (0.999, 0.95)
RULES: Mapping[str, type[Adam] | type[LaProp]] = {"Adam": Adam, "LaProp": LaProp}


def measure(lab: Lab) -> None:
    """Steps until the update is half as large as before, by rule and beta2, and by training."""
    rows, series = [], []
    for beta2 in BETA2S:
        for name, rule in RULES.items():
            updates = _updates(lab, rule(beta1=0.9, beta2=beta2, eps=0.0))
            small = np.flatnonzero(updates < 0.5)
            steps = int(small[-1] + 2) if len(small) else 0
            lab.measure(f"{name}, beta2 = {beta2:g}: steps to half the update", steps, "steps")
            rows.append((name, beta2, steps, _closed_form(beta2)))
            if beta2 != 0.99:
                k = np.unique(np.geomspace(1, AFTER, 200).round()).astype(int)
                series.append(Series(f"{name}, beta2 = {beta2:g}", k, updates[k - 1]))
    columns = ("rule", "beta2", "steps to half the update", "closed form")
    lab.tabulate(Table("Recovery from one gradient 1,000 times too large", columns, rows))
    title = "Updates after a gradient 1,000 times too large"
    label = "update / update before"
    lab.draw(Panel(title, "steps after it", label, series, "log", "log"))
    steps = {(name, beta2): count for name, beta2, count, _ in rows}
    for beta2 in BETA2S:
        ratio = steps["LaProp", beta2] / steps["Adam", beta2]
        lab.measure(f"LaProp / Adam, steps at beta2 = {beta2:g}", ratio)
        ratio = steps["Adam", beta2] / _closed_form(beta2)
        lab.measure(f"Adam / closed form, steps at beta2 = {beta2:g}", ratio)
    ratio = steps["Adam", 0.999] / steps["Adam", 0.95]
    lab.measure("steps at beta2 = 0.999 / steps at 0.95", ratio)
    _measure_training(lab)


def _updates(lab: Lab, rule: Rule) -> np.ndarray:
    """The updates after a giant gradient in the steady state of a gradient of 1, in which they are
    1.
    """
    rule, x = lab.rule(rule), torch.zeros(1, dtype=torch.float64)
    one = torch.ones_like(x)
    state, updates = rule.init(x), []
    settled = {"t": state.t + 10**9, "m": one, "v": one, "c": torch.ones_like(state.t)}
    state = state._replace(**{name: settled[name] for name in state._fields})
    for g in (FACTOR, *[1.0] * AFTER):
        after, state = rule.step(x, g * one, state, 1.0)
        updates.append(-after.item())
    return np.array(updates[1:])


def _closed_form(beta2: float) -> float:
    """The k at which v / v_before = 1 + (1 - beta2) (c^2 - 1) beta2^k has fallen to 4; m is as
    before by then.
    """
    return math.log((1 - beta2) * (FACTOR**2 - 1) / 3) / -math.log(beta2)


def _measure_training(lab: Lab) -> None:
    """The share of the way that a run with a giant gradient loses against a run without."""
    options = replace(WHOLE, independent=False)
    for beta2 in TRAINED:
        for name, rule in RULES.items():
            runs = [Run(rule(beta1=0.9, beta2=beta2), 0.004, 1, 0)]
            (giant,), (usual,) = (
                lab.train(_far_goal(factor), runs, options) for factor in (FACTOR, 1.0)
            )
            lost = (giant.final - usual.final) / (usual.initial - usual.final)
            lab.measure(f"{name}, beta2 = {beta2:g}: lost share of the way", lost)


def _far_goal(factor: float) -> Problem:
    """The mean of |x_i - 10|, with the 501st of 2,000 gradients multiplied by a factor."""
    scale = torch.ones(2000, dtype=torch.float64)
    scale[500] = factor
    targets = torch.zeros_like(scale)
    return Problem(
        "far-goal", _Goal, _mean, scale, targets, 1, order="cyclic", steps=2000, best=0.0
    )


class _Goal(nn.Module):
    """Parameter x of shape (20,); forward(scale) = scale |x - 10| averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(20, dtype=torch.float64))

    def forward(self, scale: Tensor) -> Tensor:
        return scale * (self.x - 10).abs().mean()


def _mean(output: Tensor, target: Tensor) -> Tensor:
    del target
    return output.mean()


CLAIM = Claim(
    name="giant-gradient",
    title="Recovery from a giant gradient: LaProp or beta2?",
    statement="After one gradient a thousand times too large LaProp with its small beta2 recovers "
    "faster than Adam; it is beta2 that does it, not the rule.",
    sources=(Source("L. Ziyin, Z. Wang, M. Ueda", 2020, "2002.04839", "Section 4 (stability)"),),
    setting="A constant gradient of 1 with one of 1,000, eps 0; recovered once the update remains at "
    "half its size. In both rules v needs ln((1 - beta2) c^2 / 3) / -ln(beta2) steps; the rules "
    "differ in m alone, whose memory LaProp needs in addition. The paper compares LaProp at a small "
    "beta2 with Adam, for which that beta2 is unusual.",
    checks=(
        *(AtLeast(f"LaProp / Adam, steps at beta2 = {b:g}", 1.0) for b in BETA2S),
        *(Near(f"Adam / closed form, steps at beta2 = {b:g}", 1.0, 0.02) for b in BETA2S),
        AtLeast("steps at beta2 = 0.999 / steps at 0.95", 10),
        *(
            Same(
                f"LaProp, beta2 = {b:g}: lost share of the way",
                f"Adam, beta2 = {b:g}: lost share of the way",
                0.05,
            )
            for b in TRAINED
        ),
        Below(
            "Adam, beta2 = 0.95: lost share of the way",
            "Adam, beta2 = 0.999: lost share of the way",
            0.1,
        ),
    ),
    measure=measure,
    seeds=1,
)
