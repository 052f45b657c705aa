"""LaProp (Ziyin, Wang & Ueda 2020, arXiv:2002.04839, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class LaPropState(NamedTuple):
    """A step count, the average direction, what corrects it, and the second moment."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, no unit; the unit of lr if lr_at="average"
    v: Tensor  # like x, gradient units squared
    c: Tensor  # (), what an average of ones would be, or the average of lr


@dataclass(frozen=True)
class LaProp(MomentOptions):
    r"""LaProp: the gradient is first divided by the root of v and then averaged.

    ```
    x     = x (1 - lr / peak_lr weight_decay)
    v     = beta2 v + (1 - beta2) g^2
    v_hat = v / (1 - beta2^t)
    n     = g / (sqrt(v_hat) + eps)

    lr_at="step" (the paper)             lr_at="average" (its authors' code)
    m = beta1 m + (1 - beta1) n          m = beta1 m + (1 - beta1) lr n
    c = beta1 c + (1 - beta1)            c = beta1 c + (1 - beta1) lr

    x = x - lr m / c
    ```

    On the left, c = 1 - beta1^t. The two differ only while lr changes: on the right, steps at a
    larger lr keep their larger weight. The authors' code applies the decay after the step, by x = x
    (1 - weight_decay), and leaves it to the user to lower weight_decay with lr.
    `decay="independent"` does so, with peak_lr as the constant part of lr.

    Args:
        beta1: decay rate of m, the moving average of normalized gradients.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.
        lr_at: whether lr multiplies the "step", as in the paper, or enters the "average", as in the
            authors' code; they differ while lr changes.

    Source: L. Ziyin, Z. T. Wang, M. Ueda, 2020, arXiv:2002.04839, Algorithm 1. beta1 and beta2 do
        not limit each other: |n| < 1 / sqrt(1 - beta2) at any beta1. That supremum, approached by
        ever faster growing gradients, is larger than Adam's at the default betas: 31.6 and 7.27.

    Example:
        Two steps on one element. g = 0.1: n = 1, and x falls by lr = 0.0004. Then g = -0.2: v_hat =
        4.999e-5 / 0.001999, n = -1.2647213, m = 0.09 - 0.1264721, c = 0.19, and x rises by
        0.1919585 lr.

        >>> laprop = LaProp()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = laprop.init(x)
        >>> x, s = laprop.step(x, torch.tensor([0.1]), s, lr=0.0004)
        >>> f"{x.item():.7f}"
        '0.9996000'
        >>> x, s = laprop.step(x, torch.tensor([-0.2]), s, lr=0.0004)
        >>> f"{x.item():.7f}"
        '0.9996768'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-15  # gradient units, >= 0
    weight_decay: float = 0.0  # per step at the peak of lr, >= 0
    decay: Literal["l2", "decoupled", "independent"] = field(default="independent", kw_only=True)
    lr_at: Literal["step", "average"] = "step"

    holds = {"m": "EMA of g / root of v", "v": "EMA of g^2", "c": "EMA of 1"}
    laws = Laws(scale_free=True, first_step=1.0, bound=31.6227766)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-15),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"lr_at": ("step", "average")}
    lr = 4e-4
    source = "Ziyin, Wang & Ueda 2020, arXiv:2002.04839"

    def contents(self) -> dict[str, str]:
        """What each field of the state contains; m and c depend on lr_at."""
        if self.lr_at == "step":
            return super().contents()
        return super().contents() | {
            "m": self._moment_text("EMA of lr g / root of v"),
            "c": self._moment_text("EMA of lr"),
        }

    def init(self, x: Tensor) -> LaPropState:
        """The state before the first step."""
        return LaPropState(
            t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x), c=zero_step(x)
        )

    def step(
        self, x: Tensor, g: Tensor, s: LaPropState, lr: float | Tensor
    ) -> tuple[Tensor, LaPropState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        v = self.second_moment(s.v, g, self.beta2, t)
        n = g / self.denominator(v, t)
        weight = torch.ones_like(s.c) * (lr if self.lr_at == "average" else 1.0)
        m = self.moment(s.m, weight * n, self.beta1, t)
        c = self.moment(s.c, weight, self.beta1, t)
        whole = c if self.debias in ("both", "schedule") else weight
        u = m / torch.where(whole > 0, whole, 1.0)  # 0 / 0 while lr has been 0 from the start
        x = x - lr * self.clip_and_mask(u, g)
        return x, LaPropState(t, m, v, c)
