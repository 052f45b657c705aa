"""Adan (Xie et al. 2022, arXiv:2208.06677, Algorithm 1), with the betas of its authors' code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import Number, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdanState(NamedTuple):
    """A step count, three moments and the gradient before."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    d: Tensor  # like x, gradient units: the average difference; v in the paper
    n: Tensor  # like x, gradient units squared
    g_prev: Tensor  # like x, gradient units


@dataclass(frozen=True)
class Adan(MomentOptions):
    r"""Adan: Adam on the gradient expected one step ahead, with proximal weight decay.

    ```
    delta = g - g_prev                                    (0 at t = 1)
    m     = beta1 m + (1 - beta1) g
    d     = beta2 d + (1 - beta2) delta
    n     = beta3 n + (1 - beta3) (g + beta2 delta)^2
    m_hat = m / (1 - beta1^t)
    d_hat = d / (1 - beta2^t)
    n_hat = n / (1 - beta3^t)
    x     = x - lr (m_hat + beta2 d_hat) / (sqrt(n_hat) + eps)
    x     = x / (1 + lr weight_decay)      (proximal=False: x (1 - lr weight_decay) before)
    ```

    The paper's betas are weights of new values: its 0.02, 0.08 and 0.01 are 0.98, 0.92 and 0.99
    here. The paper calls d v.

    Variants: optax has 1 - beta2 in place of beta2 before both delta and d_hat (difference="new"),
    which is the paper's letter with the value of the other convention. `proximal` has no effect
    with decay="l2".

    At eps = 0, the largest |x' - x| / lr over all histories is 1.2054 at the default betas.
    Geometric histories, the worst for Adam, reach 1.160: the worst history here is a sum of several
    powers.

    Args:
        beta1: decay rate of m, the moving average of gradients.
        beta2: decay rate of d, the moving average of gradient differences.
        beta3: decay rate of n, the moving average of the squared look-ahead gradient.
        eps: added to the root of n_hat, in gradient units.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        proximal: whether decay divides x by 1 + lr weight_decay after the step, or shrinks x before
            it.
        difference: weight of the gradient difference: "kept" is beta2, as in the paper; "new" is 1
            - beta2, as in optax.

    Source: X. Xie, P. Zhou, H. Li, Z. Lin, S. Yan, 2022, arXiv:2208.06677, Algorithm 1, and the
        authors' code.

    Example:
        Two steps on one element. g = 0.1: x falls by lr. Then g = -0.2: delta = -0.3; m = 0.98 *
        0.002 - 0.004, m_hat = -0.00204 / 0.0396; d = -0.024, d_hat = d / 0.1536 = -0.15625; n =
        0.99e-4 + 0.01 * 0.476^2 = 0.00236476, n_hat = n / 0.0199; x rises by lr (0.0515152 + 0.92 *
        0.15625) / 0.3447187 = 0.5664417 lr.

        >>> adan = Adan()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> x, s = adan.step(x, torch.tensor([0.1]), adan.init(x), lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9990000'
        >>> x, s = adan.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9995664'
    """

    beta1: float = 0.98  # in [0, 1)
    beta2: float = 0.92  # in [0, 1)
    beta3: float = 0.99  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # per unit of lr, >= 0
    proximal: bool = True  # the decay divides after the step
    difference: Literal["kept", "new"] = "kept"  # its weight: beta2, or 1 - beta2

    nonnegative = ("n",)
    holds = {
        "m": "EMA of g",
        "d": "EMA of the change of g",
        "n": "EMA of (g + its change)^2",
        "g_prev": "last g",
    }
    laws = Laws(scale_free=True, first_step=1.0)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.9],
        "beta3": UNIT[0.99],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"proximal": (True, False), "difference": ("kept", "new")}
    source = "Xie et al. 2022, arXiv:2208.06677"

    def init(self, x: Tensor) -> AdanState:
        """The state before the first step."""
        m, d, n, g_prev = (torch.zeros_like(x) for _ in range(4))
        return AdanState(zero_step(x), m, d, n, g_prev)

    def step(
        self, x: Tensor, g: Tensor, s: AdanState, lr: float | Tensor
    ) -> tuple[Tensor, AdanState]:
        """One update, as in the equations above."""
        t = s.t + 1
        share = self.beta2 if self.difference == "kept" else 1 - self.beta2
        x, g = (x, g) if self.after else self.apply_decay(x, g, lr)
        delta = torch.where(t > 1, g - s.g_prev, 0.0)
        m = self.moment(s.m, g, self.beta1, t)
        d = self.moment(s.d, delta, self.beta2, t)
        n = self.second_moment(s.n, g + share * delta, self.beta3, t)
        d_hat = replace(self, beta1=self.beta2).m_hat(d, t)
        denominator = replace(self, beta2=self.beta3).denominator(n, t)
        u = (self.m_hat(m, t) + share * d_hat) / denominator
        x = x - lr * self.clip_and_mask(u, g)
        x = x * self.decay_factor(lr) if self.after else x
        # g is copied, since torch writes the next gradient into the same tensor
        return x, AdanState(t, m, d, n, g.clone())

    @property
    def after(self) -> bool:
        """Whether decay comes after the step."""
        return self.proximal and self.decay != "l2"

    def decay_factor(self, lr: Number) -> Number:
        """The factor by which weight decay multiplies x.

        Proximal decay minimizes |x' - x|^2 + lr weight_decay |x'|^2 over x'.
        """
        share = self.decay_share(lr)
        return 1 / (1 + share) if self.after else 1 - share
