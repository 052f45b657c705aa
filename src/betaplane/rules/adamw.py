"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2, in torch's form)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdamWState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class AdamW(MomentOptions):
    r"""AdamW: Adam after x has shrunk by 1 - lr weight_decay; the decay never enters m or v.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    The paper multiplies its decay by the schedule alone, without the peak learning rate:
    weight_decay here is the paper's divided by the peak lr.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.

    Source: I. Loshchilov, F. Hutter, 2019, arXiv:1711.05101, Algorithm 2; the form is that of
        torch.optim.AdamW.

    Example:
        Two steps on one element. x shrinks by 1e-5, then falls by lr = 0.001. Then g = -0.2: x
        shrinks by 0.999e-5, and rises by 0.0003661, as in Adam.

        >>> adamw = AdamW()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = adamw.init(x)
        >>> x, s = adamw.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9989900'
        >>> x, s = adamw.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9993461'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.01  # per unit of lr, >= 0

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0, bound=7.2703)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.01),
    }
    source = "Loshchilov & Hutter 2019, arXiv:1711.05101"

    def init(self, x: Tensor) -> AdamWState:
        """The state before the first step."""
        return AdamWState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdamWState, lr: float | Tensor
    ) -> tuple[Tensor, AdamWState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        u = self.m_hat(m, t) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdamWState(t, m, v)
