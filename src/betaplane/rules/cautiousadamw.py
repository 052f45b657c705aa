"""Cautious AdamW (Liang et al. 2024, arXiv:2411.16085, Algorithm 1): AdamW with masked updates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class CautiousAdamWState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class CautiousAdamW(MomentOptions):
    r"""AdamW without updates whose sign differs from that of g; the others are enlarged.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    u     = m_hat / (sqrt(v_hat) + eps)
    phi   = [sign(m) g > 0]
    u     = u phi / max(mean phi, 0.001)     (cautious="paper": u phi n / (sum phi + 1), n elements)
    x     = x - lr u
    ```

    The mean is over the whole tensor. u has the sign of m, and the product of two small numbers may
    be zero, which that with a sign is not. The decay is not masked. Variants: the authors' code has
    eps_at="hat" and eps=1e-6; timm has the form above.

    AdamW's step bound does not hold: if one element in a thousand agrees in sign, its update is
    multiplied by a thousand. In the paper's form the first step of n elements is n / (n + 1) times
    lr, half of lr for one element.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        cautious: which elements move: "mean" and "paper" skip those whose update and gradient have
            opposite signs, and differ in how the rest is rescaled; "off" moves all.

    Source: K. Liang, L. Chen, B. Liu, Q. Liu, 2024, arXiv:2411.16085, Algorithm 1; the lower limit
        on the mean is their code's (the algorithm adds a small number instead).

    Example:
        Two steps on two elements, no decay. g = 0.1 for both: both fall by lr = 0.001. Then g =
        -0.2 and 0.1: m_hat is -0.011 / 0.19 and 0.1, both agree with g, and the step is Adam's:
        0.0003661 up, lr down. Had g been -0.05 and 0.1, m_hat = 0.004 / 0.19 would disagree with
        -0.05: the first does not move, half agree, and the second falls by 2 lr.

        >>> rule = CautiousAdamW(weight_decay=0.0)
        >>> x = torch.tensor([1.0, 1.0], dtype=torch.float64)
        >>> x, s = rule.step(x, torch.tensor([0.1, 0.1]), rule.init(x), lr=0.001)
        >>> [f"{value:.7f}" for value in rule.step(x, torch.tensor([-0.2, 0.1]), s, lr=0.001)[0]]
        ['0.9993661', '0.9980000']
        >>> [f"{value:.7f}" for value in rule.step(x, torch.tensor([-0.05, 0.1]), s, lr=0.001)[0]]
        ['0.9990000', '0.9970000']
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.01  # per unit of lr, >= 0
    cautious: Literal["off", "mean", "paper"] = field(default="mean", kw_only=True)

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.01),
    }
    source = "Liang et al. 2024, arXiv:2411.16085"

    def init(self, x: Tensor) -> CautiousAdamWState:
        """The state before the first step."""
        return CautiousAdamWState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: CautiousAdamWState, lr: float | Tensor
    ) -> tuple[Tensor, CautiousAdamWState]:
        """One update, as in the equations above; the mask is in `mask_update`."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        u = self.m_hat(m, t) / self.denominator(v, t)
        x = x - lr * self.mask_update(self.clip_update(u), g, m.sign())
        return x, CautiousAdamWState(t, m, v)
