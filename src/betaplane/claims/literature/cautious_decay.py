"""Weight decay only where the update shrinks the weight as well (cautious weight decay)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import loss_panel
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.claims.tuning import final_loss
from betaplane.replicas import Run
from betaplane.rules import AdamW
from betaplane.rules._rule import Rule
from betaplane.rules.adamw import AdamWState

STEPS = 400
DECAYS = (0.0, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class CautiousDecayAdamW(AdamW):
    """AdamW that decays the elements of x whose update has the sign of x.

    ```
    x = x - lr (u + weight_decay [u x >= 0] x)
    ```
    """

    def step(
        self, x: Tensor, g: Tensor, s: AdamWState, lr: float | Tensor
    ) -> tuple[Tensor, AdamWState]:
        """One update, as in the equation above."""
        decayed, s = super().step(x, g, s, lr)
        update = (x * (1 - lr * self.weight_decay) - decayed) / lr
        return torch.where(update * x >= 0, decayed, x - lr * update), s


RULES = {"AdamW": AdamW, "cautious decay": CautiousDecayAdamW}


def measure(lab: Lab) -> None:
    """Tune the decay and the learning rate of both alike, and measure the best setting."""
    problem = small_text(STEPS, schedule="warmup_cosine", warmup=0.1)
    best, curves = {}, {}
    for name, cls in RULES.items():
        contenders: dict[str, Rule] = {
            f"{name}, decay {decay:g}": cls(beta2=0.99, weight_decay=decay) for decay in DECAYS
        }
        tuned = lab.tune(problem, contenders, (0.01, 0.02, 0.04))
        means = [min(tuned.losses[label].values()) for label in contenders]
        best[name] = [*contenders][int(np.argmin(means))]
        lr = tuned.lr(best[name])
        runs = [Run(contenders[best[name]], lr, 16, seed) for seed in lab.seeds]
        curves[name] = lab.train(problem, runs)
        lab.measure(f"best decay of {name}", DECAYS[int(np.argmin(means))])
        lab.measure(f"final loss of {name}", [final_loss(outcome) for outcome in curves[name]])
        lab.panels[:1] = [_by_decay(lab, name, means)]
    lab.draw(loss_panel("Text, both at their best decay", STEPS, curves))


def _by_decay(lab: Lab, name: str, means: list[float]) -> Panel:
    """The panel of both rules, by decay; made again with each rule."""
    before = lab.panels[0].series if lab.panels else ()
    series = (*before, Series(name, DECAYS, means))
    return Panel("Text: loss by decay, best lr", "weight decay", "loss", series)


CLAIM = Claim(
    name="cautious-decay",
    title="Cautious weight decay",
    statement="AdamW reaches a lower loss if it decays only the elements whose update has the sign of the "
    "weight.",
    sources=(Source("L. Chen and others", 2025, "2510.12402", "Algorithm 1, main claim"),),
    setting="A character model of width 16, batch 16, 400 steps with warmup and cosine: one pass over few "
    "examples, where decay has little to do. Decay 0 to 1 and three learning rates for both rules.",
    checks=(Below("final loss of cautious decay", "final loss of AdamW"),),
    measure=measure,
    seeds=8,
    slow=True,
)
