"""Lion (Chen et al. 2023, arXiv:2302.06675, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import ema
from betaplane.rules._options import StepOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class LionState(NamedTuple):
    """One moment."""

    m: Tensor  # like x, gradient units


@dataclass(frozen=True)
class Lion(StepOptions):
    r"""Lion: the sign of a mixture of gradient and momentum; the momentum has a longer memory.

    ```
    x = x (1 - lr weight_decay)
    c = beta1 m + (1 - beta1) g          with the m of the step before
    x = x - lr sign(c)                   sign(0) = 0
    m = beta2 m + (1 - beta2) g
    ```

    Every element moves by lr, whatever the gradient. Take an lr 3 to 10 times smaller than Adam's,
    and a weight_decay as many times larger.

    Args:
        beta1: weight of m, against the new gradient, in the direction whose sign is the update.
        beta2: decay rate of m, the moving average of gradients, over 1 / (1 - beta2) steps.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.

    Source: X. Chen et al., 2023, arXiv:2302.06675, Algorithm 2.

    Example:
        Three steps on one element. g = 1: x falls by lr. g = -0.05: m = 0.01, so c = 0.009 - 0.005
        is still positive and x falls again. g = -0.2: m = 0.0099 - 0.0005, c = 0.00846 - 0.02, and
        x rises by lr.

        >>> lion = Lion()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = lion.init(x)
        >>> for g in (1.0, -0.05, -0.2):
        ...     x, s = lion.step(x, torch.tensor([g]), s, lr=0.001)
        ...     print(f"{x.item():.4f}")
        0.9990
        0.9980
        0.9990
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.99  # in [0, 1)
    weight_decay: float = 0.0  # per unit of lr, >= 0

    holds = {"m": "EMA of g"}
    laws = Laws(scale_free=True, first_step=1.0, bound=1.0)
    ranges = {"beta1": UNIT[0.9], "beta2": UNIT[0.99], "weight_decay": at_least_zero(0.0)}
    lr = 1e-4
    source = "Chen et al. 2023, arXiv:2302.06675"

    def init(self, x: Tensor) -> LionState:
        """The state before the first step."""
        return LionState(m=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: LionState, lr: float | Tensor
    ) -> tuple[Tensor, LionState]:
        """One update, as in the equations above."""
        x, g = self.apply_decay(x, g, lr)
        u = ema(s.m, g, self.beta1).sign()
        m = ema(s.m, g, self.beta2)
        x = x - lr * self.clip_and_mask(u, g)
        return x, LionState(m)
