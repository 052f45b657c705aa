"""StableAdamW (Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import at_least, rms, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import INF, UNIT, Laws, Range, at_least_zero


class StableAdamWState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class StableAdamW(MomentOptions):
    r"""StableAdamW: AdamW that takes a smaller step in tensors whose v is behind the gradient.

    ```
    b1, b2  = beta1, beta2 debiased:  beta (1 - beta^(t-1)) / (1 - beta^t)
    m       = b1 m + (1 - b1) g                                         this is m_hat
    v       = b2 v + (1 - b2) g^2                                       this is v_hat

    limits="rate" (the paper, optimi)                     limits="update" (timm, debias="both")
    RMS_t   = RMS(g / sqrt(max(v, eps^2)))                RMS_t   = RMS(g / (sqrt(v) + eps))
    lr_t    = lr / max(1, RMS_t / d)                      lr_t    = lr / max(1, RMS_t / d)
    x       = x (1 - lr_t weight_decay)                   x       = x (1 - lr weight_decay)
    x       = x - lr_t m / (sqrt(v) + eps)                x       = x - lr_t m / (sqrt(v) + eps)
    ```

    RMS is over the whole tensor. The shared option clip differs: it bounds the RMS of the update,
    and d bounds that of the newest gradient divided by the same root.

    No bound is declared, since it depends on the size of the tensor: elements with small gradients
    weaken the limit. In a large tensor AdamW's own bound remains, 2.3452 lr at the default betas.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        limits: what RMS_t limits: "rate" scales the learning rate, decay included, as in the paper;
            "update" scales the update, as in timm.
        d: largest RMS_t that does not slow the step; inf gives AdamW.
        debias: which moments are debiased: "schedule" (debiased betas, as in the paper), "both",
            "second", "none".

    Source: M. Wortsman et al., 2023, arXiv:2304.13013, Algorithm 2.

    Example:
        Two steps on one element. g = 0.1: m = 0.1, v = 0.01 and RMS_t = 1; x shrinks by 1e-5 and
        falls by lr = 0.001. Then g = -0.2: m = -0.011 / 0.19, v = 0.000499 / 0.0199, RMS_t = 0.2 /
        0.1583523 = 1.2630064; x shrinks by 0.79e-5 and rises by 0.3656049 / 1.2630064 lr.

        >>> rule = StableAdamW()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = rule.init(x)
        >>> x, s = rule.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9989900'
        >>> x, s = rule.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9992716'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.99  # in [0, 1)
    eps: float = 1e-6  # gradient units, >= 0
    weight_decay: float = 0.01  # per unit of lr, >= 0
    limits: Literal["rate", "update"] = "rate"
    # > 0, the largest RMS_t that does not slow the step; inf for AdamW
    d: float = field(default=1.0, kw_only=True)
    debias: Literal["both", "second", "none", "schedule"] = field(default="schedule", kw_only=True)

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.99],
        "eps": at_least_zero(1e-6),
        "weight_decay": at_least_zero(0.01),
        "d": Range(0.0, INF, "(0, inf]", 1.0),
    }
    choices = {"limits": ("rate", "update")}
    source = "Wortsman et al. 2023, arXiv:2304.13013"

    def init(self, x: Tensor) -> StableAdamWState:
        """The state before the first step."""
        return StableAdamWState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: StableAdamWState, lr: float | Tensor
    ) -> tuple[Tensor, StableAdamWState]:
        """One update, as in the equations above."""
        t = s.t + 1
        _, g = self.apply_decay(x, g, lr)  # an L2 term enters the moments
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        denominator = self.denominator(v, t)
        lr_t = lr / (rms(g / self._scale(v, t)) / self.d).clamp(min=1)
        x, _ = self.apply_decay(x, g, lr, lr_t if self.limits == "rate" else None)
        x = x - lr_t * self.clip_and_mask(self.m_hat(m, t) / denominator, g)
        return x, StableAdamWState(t, m, v)

    def _scale(self, v: Tensor, t: Tensor) -> Tensor:
        """The denominator of RMS_t."""
        if self.limits == "update":
            return self.denominator(v, t)
        return at_least(replace(self, eps=0.0).denominator(v, t), self.eps)
