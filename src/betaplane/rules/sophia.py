"""Sophia (Liu et al. 2024, arXiv:2305.14342, Algorithm 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import at_least, debias, ema, zero_step
from betaplane.rules._options import StepOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class SophiaState(NamedTuple):
    """A step count, the moment and the curvature."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    h: Tensor  # like x, gradient units per unit of x: EMA of the Hessian's diagonal


@dataclass(frozen=True)
class Sophia(StepOptions):
    r"""Sophia: momentum over an estimate of the Hessian's diagonal, each element clipped to lr.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    m_hat = m                                       debias="first": m / (1 - beta1^t)
    denominator = max(gamma h, eps)                 floor="sum": gamma max(h, 0) + eps
    x     = x - lr clip(m_hat / denominator, -1, 1)

    every k steps, k = 10 in the paper, `curvature(s, h_hat)`:
    h     = beta2 h + (1 - beta2) h_hat
    ```

    The estimate h_hat is computed outside of the rule: either (H) with one product with the
    Hessian, for u normal or of random signs, or (G) from the gradient g_hat of the mean loss of a
    batch of B whose labels are drawn from the model's own predictions.

    ```
    H:   h_hat = u (Hessian u)
    G:   h_hat = B g_hat^2
    ```

    Before the first estimate h = 0, and every element moves by lr. gamma is right if a tenth to a
    half of the elements are not clipped.

    Variants: the authors' code for G has no B in h and has it in gamma, with floor="sum". Their
    code for H and optax have debias="first".

    The rule is not scale-free: if an element is not clipped, m and h scale differently with the
    gradient.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of h, the moving average of curvature estimates, per estimate.
        gamma: scale of the curvature in the denominator, in units of x; larger clips fewer
            elements, and 0 gives signed momentum.
        eps: least value of the denominator, in gradient units.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        floor: whether the denominator is "max": max(gamma h, eps), or "sum": gamma max(h, 0) + eps.
        debias: whether m is debiased: "none", as in the paper, or "first", as in optax.

    Source: H. Liu, Z. Li, D. Hall, P. Liang, T. Ma, 2024, arXiv:2305.14342, Algorithms 1 to 3.

    Example:
        Two steps on one element, with an estimate between them. x shrinks by 1e-4; h = 0, so it
        falls by lr = 0.001. The estimate 4 makes h = 0.04 and gamma h = 0.0004. Then g = -0.1: m =
        0.96 * 0.004 - 0.004 = -0.00016, so x shrinks by 0.9989e-4 and rises by 0.4 lr.

        >>> sophia = Sophia()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = sophia.init(x)
        >>> x, s = sophia.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9989000'
        >>> s = sophia.curvature(s, torch.tensor([4.0]))
        >>> x, s = sophia.step(x, torch.tensor([-0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9992001'
    """

    beta1: float = 0.96  # in [0, 1)
    beta2: float = 0.99  # in [0, 1), per estimate
    gamma: float = 0.01  # units of x, >= 0; 0 is signed momentum
    eps: float = 1e-12  # gradient units, >= 0
    weight_decay: float = 0.1  # per unit of lr, >= 0
    floor: Literal["max", "sum"] = "max"
    debias: Literal["none", "first"] = "none"

    holds = {"m": "EMA of g", "h": "EMA of the diagonal of the Hessian"}
    laws = Laws(first_step=1.0, bound=1.0)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.99],
        "gamma": at_least_zero(0.01),
        "eps": at_least_zero(1e-12),
        "weight_decay": at_least_zero(0.1),
    }
    choices = {"floor": ("max", "sum"), "debias": ("none", "first")}
    lr = 1e-4
    source = "Liu et al. 2024, arXiv:2305.14342"

    def init(self, x: Tensor) -> SophiaState:
        """The state before the first step."""
        return SophiaState(t=zero_step(x), m=torch.zeros_like(x), h=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: SophiaState, lr: float | Tensor
    ) -> tuple[Tensor, SophiaState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = ema(s.m, g, self.beta1)
        m_hat = debias(m, self.beta1, t) if self.debias == "first" else m
        u = (m_hat / self._denominator(s.h)).clamp(-1, 1)
        x = x - lr * self.clip_and_mask(u, g)
        return x, SophiaState(t, m, s.h)

    def curvature(self, s: SophiaState, h: Tensor) -> SophiaState:
        """The state after one more estimate of the Hessian's diagonal, as a new state.

        Args:
            s: the state after a step.
            h: like x, the estimate h_hat, of either sign.
        """
        return s._replace(h=self.beta2 * s.h + (1 - self.beta2) * h.to(s.h.dtype))

    def _denominator(self, h: Tensor) -> Tensor:
        if self.floor == "max":
            return at_least(self.gamma * h, self.eps)
        return self.gamma * h.clamp(min=0) + self.eps
