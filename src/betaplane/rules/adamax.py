"""AdaMax (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import debias, ema, zero_step
from betaplane.rules._options import StepOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdamaxState(NamedTuple):
    """A step count, the first moment and a fading maximum."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    u: Tensor  # like x, gradient units


@dataclass(frozen=True)
class Adamax(StepOptions):
    r"""AdaMax: Adam with a decaying maximum of |g| in place of the root of v; L2 weight decay.

    ```
    g = g + weight_decay x
    m = beta1 m + (1 - beta1) g

    eps_at="max" (torch, optax)             eps_at="after" (Keras)
    u = max(beta2 u, |g| + eps)             u = max(beta2 u, |g|)
    x = x - lr / (1 - beta1^t) m / u        x = x - lr / (1 - beta1^t) m / (u + eps)
    ```

    The paper has no eps: that is eps = 0, with 0 / 0 if all gradients so far are zero. u needs no
    bias correction.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of u, the fading maximum of |g|.
        eps: added to |g| inside of the maximum, or to the denominator; in gradient units.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.
        eps_at: where eps is added: inside of the "max", as in torch, or "after" it, as in Keras.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 2. Below, |x' - x| <= lr B with the
        supremum B = (1 - beta1) / (1 - beta1 / beta2), approached if |g| falls like beta2^t, so
        that u is always the latest |g|.

    Example:
        Two steps on one element. g = 0.1: m / (1 - beta1) = u = g, so x falls by lr = 0.002. Then g
        = -0.2: m / (1 - beta1^2) = -0.011 / 0.19, u = 0.2, and x rises by 0.0005789.

        >>> adamax = Adamax()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = adamax.init(x)
        >>> x, s = adamax.step(x, torch.tensor([0.1]), s, lr=0.002)
        >>> f"{x.item():.7f}"
        '0.9980000'
        >>> x, s = adamax.step(x, torch.tensor([-0.2]), s, lr=0.002)
        >>> f"{x.item():.7f}"
        '0.9985789'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)
    eps_at: Literal["max", "after"] = "max"

    nonnegative = ("u",)
    holds = {"m": "EMA of g", "u": "fading maximum of |g|"}
    laws = Laws(scale_free=True, first_step=1.0, bound=1.0090909)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"eps_at": ("max", "after")}
    lr = 2e-3
    source = "Kingma & Ba 2015, arXiv:1412.6980"

    def init(self, x: Tensor) -> AdamaxState:
        """The state before the first step."""
        return AdamaxState(t=zero_step(x), m=torch.zeros_like(x), u=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdamaxState, lr: float | Tensor
    ) -> tuple[Tensor, AdamaxState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = ema(s.m, g, self.beta1)
        fading = self.beta2 * s.u
        if self.eps_at == "max":
            denominator = u = torch.maximum(fading, g.abs() + self.eps)
        else:
            u = torch.maximum(fading, g.abs())
            denominator = u + self.eps
        x = x - lr * self.clip_and_mask(debias(m, self.beta1, t) / denominator, g)
        return x, AdamaxState(t, m, u)
