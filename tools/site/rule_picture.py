"""The picture of a rule: what it does with steady gradients, one large one, a change of sign, and none."""

from __future__ import annotations

import numpy as np
import torch

from betaplane.rules import Rule
from tools.site.pictures import MUTED, STYLED, STYLES, panels, svg

SCALES = (1.0, 0.1, 0.01)  # of the gradients of the three rows
PHASES = (
    (1.0, 40),
    (10.0, 1),
    (1.0, 39),
    (-1.0, 40),
    (0.0, 40),
)  # a gradient, and for how many steps


def gradients() -> np.ndarray:
    """The gradient of the first row at each step, shape (steps,)."""
    return np.concatenate([np.full(steps, value) for value, steps in PHASES])


def updates(rule: Rule) -> np.ndarray:
    """The steps (x - x') / lr of the three rows, shape (steps, 3), from x = 1.

    The parameter is a matrix of three equal columns, so that rules that look at rows or columns have both.
    """
    x = torch.ones(3, 3, dtype=torch.float64)
    scales = torch.tensor(SCALES, dtype=torch.float64)[:, None].expand(3, 3)
    state, rows = rule.init(x), []
    for value in gradients():
        new, state = rule.step(x, value * scales, state, rule.lr)
        rows.append(((x - new) / rule.lr)[:, 0].numpy())
        x = new
    return np.array(rows)


@STYLED
def draw(kind: type[Rule]) -> str:
    """The update at the rule's default settings, next to the gradients that cause it, as SVG."""
    figure, (above, below) = panels(2, height=3.0, bottom=0.85)
    steps = np.arange(1, len(gradients()) + 1)
    for scale, style, row in zip(SCALES, STYLES, updates(kind()).T, strict=True):
        above.plot(steps, scale * gradients(), label=f"gradients times {scale:g}", **style)
        below.plot(steps, row, **style)
    above.set(title="gradient g", xlabel="step")
    above.set_yscale("symlog", linthresh=0.01)
    below.set(title=f"update of {kind.__name__}, (x - x') / lr", xlabel="step")
    below.axhline(0, color=MUTED, lw=0.8)
    figure.legend(loc="lower center", ncols=3)
    return svg(figure)
