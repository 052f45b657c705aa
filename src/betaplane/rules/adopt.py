"""ADOPT (Taniguchi et al. 2024, arXiv:2411.02853): v never contains the gradient it divides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import at_least, at_most, ema, ema_of_square, zero_step
from betaplane.rules._options import StepOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class ADOPTState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, no unit: an average of normalized gradients
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class ADOPT(StepOptions):
    r"""ADOPT: g divided by the root of the previous v, clipped, then averaged; L2 weight decay.

    ```
    g = g + weight_decay x

    t = 1:                                            v = g^2, and x and m stay
    t > 1:  n = g / max(sqrt(v), eps)
            n = min(max(n, -c), c), c = (t - 1)^growth
            m = beta1 m + (1 - beta1) n
            x = x - lr m
            v = beta2 v + (1 - beta2) g^2
    ```

    There is no bias correction, and eps is a maximum and not a summand. Decoupled decay also starts
    at t = 2. The limit c was added after publication, against the huge steps that follow a first
    gradient near zero.

    Variants: limit="none" (the first version), growth=0.333 (timm), limit="t": c = t^growth
    (pytorch-optimizer, where decay also acts at t = 1). No step bound holds at all steps, since the
    limit grows: |x' - x| <= lr (t - 1)^growth.

    Args:
        beta1: decay rate of m, the moving average of normalized gradients.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: least value of the denominator, in gradient units.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        growth: exponent of the limit of normalized gradients, (t - 1)^growth; larger lets larger
            gradients pass.
        limit: what is raised to the power `growth`: "t-1" (the authors' code), "t"
            (pytorch-optimizer), or "none" for no limit.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.

    Source: S. Taniguchi et al., 2024, arXiv:2411.02853, the algorithm ADOPT with c_t = t^(1/4),
        where t counts from the second gradient on; first step and decay as in the authors' code.

    Example:
        Three steps on one element. g = 0.1: v = 0.01 and x does not move. Then g = -0.05: n = -0.5,
        m = -0.05, x rises by 0.05 lr, and v = 0.9999 * 0.01 + 0.0001 * 0.0025 = 0.00999925. Then g = 1:
        n = 10.00 is above c = 2^0.25, that is 1.1892, m = -0.045 + 0.11892, and x falls by 0.07392
        lr.

        >>> rule = ADOPT()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> x, s = rule.step(x, torch.tensor([0.1]), rule.init(x), lr=0.001)
        >>> f"{x.item():.7f}"
        '1.0000000'
        >>> x, s = rule.step(x, torch.tensor([-0.05]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '1.0000500'
        >>> x, s = rule.step(x, torch.tensor([1.0]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9999761'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.9999  # in [0, 1)
    eps: float = 1e-6  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    growth: float = 0.25  # exponent of the limit, >= 0
    # what is raised to it: authors; pytorch-optimizer; no limit
    limit: Literal["t-1", "t", "none"] = "t-1"
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)

    holds = {"m": "EMA of g / root of the v before", "v": "EMA of g^2 from the first g^2 on"}
    laws = Laws(scale_free=True, first_step=0.0)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-6),
        "weight_decay": at_least_zero(0.0),
        "growth": at_least_zero(0.25),
    }
    choices = {"limit": ("t-1", "t", "none")}
    source = "Taniguchi et al. 2024, arXiv:2411.02853"

    def init(self, x: Tensor) -> ADOPTState:
        """The state before the first step."""
        return ADOPTState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: ADOPTState, lr: float | Tensor
    ) -> tuple[Tensor, ADOPTState]:
        """One update, as in the equations above."""
        t = s.t + 1
        decayed, g = self.apply_decay(x, g, lr)
        n = self.limited(g / at_least(s.v.sqrt(), self.eps), t)
        m = torch.where(t > 1, ema(s.m, n, self.beta1), s.m)
        x = torch.where(t > 1, decayed - lr * self.clip_and_mask(m, g), x)
        v = torch.where(t > 1, ema_of_square(s.v, g, self.beta2), g * g)
        return x, ADOPTState(t, m, v)

    def limited(self, n: Tensor, t: Tensor) -> Tensor:
        """The normalized gradient n within its limit at step t."""
        if self.limit == "none":
            return n
        c = (t - 1 if self.limit == "t-1" else t) ** self.growth
        return at_most(at_least(n, -c), c)
