"""Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdamState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class Adam(MomentOptions):
    r"""Adam as in torch: eps after both bias corrections, weight decay as an L2 term in g.

    ```
    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1. `beta1 >= sqrt(beta2)` is allowed
        here; the ratio |m| / sqrt(v) is then unbounded (Reddi et al. 2018, arXiv:1904.09237).
        Below, |x' - x| <= lr B with the supremum B = (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 /
        beta2)), reached as g grows like (beta2 / beta1)^t; the paper's section 2.1 gives 3.16 for
        the default betas, which one spike among zeros reaches and other gradients exceed.

    Example:
        Two steps on one element. g = 0.1: m_hat = g, v_hat = g^2, so x falls by lr = 0.001. Then g
        = -0.2: m_hat = -0.011 / 0.19, v_hat = 4.999e-5 / 0.001999, and x rises by 0.000366.

        >>> adam = Adam()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = adam.init(x)
        >>> x, s = adam.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9990000'
        >>> x, s = adam.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9993661'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0, bound=7.2703)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
    }
    source = "Kingma & Ba 2015, arXiv:1412.6980"

    def init(self, x: Tensor) -> AdamState:
        """The state before the first step."""
        return AdamState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdamState, lr: float | Tensor
    ) -> tuple[Tensor, AdamState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        u = self.m_hat(m, t) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdamState(t, m, v)
