"""AMSGrad (Reddi, Kale & Kumar 2018, arXiv:1904.09237, Algorithm 2), in three variants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import bias_correction, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AMSGradState(NamedTuple):
    """A step count, two moments and the largest second moment so far."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared
    v_max: Tensor  # like x, gradient units squared: never falls


@dataclass(frozen=True)
class AMSGrad(MomentOptions):
    r"""AMSGrad: Adam with the running maximum of v in the denominator, and L2 weight decay.

    ```
    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2

    correction="after" (torch)     correction="before" (optax)              debias="none" (paper)
    v_max = max(v_max, v)          v_max = max(v_max, v / (1 - beta2^t))    v_max = max(v_max, v)
    v_hat = v_max / (1 - beta2^t)  v_hat = v_max                            v_hat = v_max
    m_hat = m / (1 - beta1^t)      m_hat = m / (1 - beta1^t)                m_hat = m

    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    The three are not equal. In torch's, 1 - beta2^t grows while v_max is constant, so the
    denominator can shrink in early steps, which AMSGrad was designed to prevent. The paper's has no
    eps either, and its first step is (1 - beta1) / sqrt(1 - beta2) times lr: 3.16 lr at the
    defaults.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.
        correction: whether v is debiased "after" the maximum is taken, as in torch, or "before", as
            in optax.

    Source: S. Reddi, S. Kale, S. Kumar, 2018, arXiv:1904.09237, Algorithm 2.

    Example:
        Two steps on one element. g = 0.1: as Adam, x falls by lr = 0.001. Then g = 0: m_hat = 0.009
        / 0.19, v falls and v_max remains 1e-5, v_hat = 1e-5 / 0.001999, so x falls by 0.0006697
        (Adam: 0.0006701).

        >>> amsgrad = AMSGrad()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = amsgrad.init(x)
        >>> x, s = amsgrad.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9990000'
        >>> x, s = amsgrad.step(x, torch.tensor([0.0]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9983303'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)
    correction: Literal["after", "before"] = "after"  # of the maximum: torch, optax

    holds = {"m": "EMA of g", "v": "EMA of g^2", "v_max": "largest EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0, bound=7.2703)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"correction": ("after", "before")}
    source = "Reddi, Kale & Kumar 2018, arXiv:1904.09237"

    def contents(self) -> dict[str, str]:
        """What each field of the state contains; v_max is debiased before or after the maximum."""
        debiased = self.correction == "before" and self.debias in ("both", "second")
        return super().contents() | ({"v_max": "largest debiased EMA of g^2"} if debiased else {})

    def init(self, x: Tensor) -> AMSGradState:
        """The state before the first step."""
        return AMSGradState(
            t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x), v_max=torch.zeros_like(x)
        )

    def step(
        self, x: Tensor, g: Tensor, s: AMSGradState, lr: float | Tensor
    ) -> tuple[Tensor, AMSGradState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        if self.correction == "before" and self.debias in ("both", "second"):
            v_max = torch.maximum(s.v_max, v / bias_correction(self.beta2, t))
            denominator = replace(self, debias="none").denominator(v_max, t)
        else:
            v_max = torch.maximum(s.v_max, v)
            denominator = self.denominator(v_max, t)
        u = self.m_hat(m, t) / denominator
        x = x - lr * self.clip_and_mask(u, g)
        return x, AMSGradState(t, m, v, v_max)
