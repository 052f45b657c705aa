"""RAdam (Liu et al. 2020, arXiv:1908.03265, Algorithm 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import rectification, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class RAdamState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class RAdam(MomentOptions):
    r"""RAdam: momentum alone while v has few terms, then Adam with a warmup set by beta2.

    ```
    g       = g + weight_decay x
    m       = beta1 m + (1 - beta1) g
    v       = beta2 v + (1 - beta2) g^2
    m_hat   = m / (1 - beta1^t)
    rho_inf = 2 / (1 - beta2) - 1
    rho     = rho_inf - 2 t beta2^t / (1 - beta2^t)
    r       = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))

    rho above the threshold:    x = x - lr r m_hat sqrt(1 - beta2^t) / (sqrt(v) + eps)
    else, before="momentum":   x = x - lr m_hat
          before="nothing":    x = x
    ```

    rho is a little less than t at first, so that every threshold is between two of the first steps:

    ```
    threshold=">5"     torch, before="momentum":     Adam from the sixth step on
    threshold=">=5"    optax, before="momentum", eps_at="after"
    threshold=">=5"    its authors' code, before="nothing", decay="decoupled"
    threshold=">4"     the paper, before="momentum", no eps:    Adam from the fifth step on
    ```

    Momentum steps are lr m_hat in gradient units, whatever v. Therefore no step size or bound is
    declared, and the rule is not scale-free. With before="nothing" it is, and decoupled decay also
    waits for the threshold. beta2 <= 0.6 has rho_inf <= 4 and never leads to Adam.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.
        eps_at: where eps is added to the denominator: "hat" before debiasing, as in torch's RAdam;
            "after" debiasing; inside the "root".
        threshold: value of rho beyond which the rectified step replaces momentum alone.
        before: the step while rho is below the threshold: "momentum", lr m_hat, or "nothing".

    Source: L. Liu et al., 2020, arXiv:1908.03265, Algorithm 2; the form is that of
        torch.optim.RAdam.

    Example:
        Two steps on one element. g = 0.1: m_hat = g, and x falls by lr g = 0.0001. Then g = -0.2:
        m_hat = -0.011 / 0.19, and x rises by 0.0000579.

        >>> radam = RAdam()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = radam.init(x)
        >>> x, s = radam.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9999000'
        >>> x, s = radam.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9999579'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)
    eps_at: Literal["after", "hat", "root"] = field(default="hat", kw_only=True)
    threshold: Literal[">5", ">=5", ">4"] = ">5"
    before: Literal["momentum", "nothing"] = "momentum"

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws()
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"threshold": (">5", ">=5", ">4"), "before": ("momentum", "nothing")}
    source = "Liu et al. 2020, arXiv:1908.03265"

    def init(self, x: Tensor) -> RAdamState:
        """The state before the first step."""
        return RAdamState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: RAdamState, lr: float | Tensor
    ) -> tuple[Tensor, RAdamState]:
        """One update, as in the equations above."""
        t = s.t + 1
        old_x = x
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        rho, r = rectification(self.beta2, t)
        is_adam = {">5": rho > 5, ">=5": rho >= 5, ">4": rho > 4}[self.threshold]
        m_hat = self.m_hat(m, t)
        u = torch.where(is_adam, r * m_hat / self.denominator(v, t), m_hat)
        x = x - lr * self.clip_and_mask(u, g)
        if self.before == "nothing":
            x = torch.where(is_adam, x, old_x)
        return x, RAdamState(t, m, v)
