"""AdaBelief (Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2), with RAdam's rectification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import rectification, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdaBeliefState(NamedTuple):
    """A step count, the first moment and the second moment of the gradient around it."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared: s in the paper


@dataclass(frozen=True)
class AdaBelief(MomentOptions):
    r"""AdaBelief: Adam whose v averages (g - m)^2 instead of g^2; decoupled weight decay.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) (g - m)^2 + eps
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)

    rectify:  rho_t >= 5:   x = x - lr r_t m_hat / (sqrt(v_hat) + eps)     (RAdam's rho_t, r_t)
              rho_t < 5:    x = x - lr m_hat
    ```

    The paper calls v s. eps acts twice. In v it adds up to eps / (1 - beta2): the default 1e-16
    amounts to 3e-7 in the denominator, and Adam's 1e-8 would amount to 3e-3.

    The m in g - m contains g. At eps = 0 the first step is lr / beta1, and a constant gradient
    takes v to zero, so that no step bound holds. At beta1 = 0, v is eps alone.

    Variants: the authors' package has rectify=True since its version 0.1.0, with eps_at="hat" in
    effect; the paper and optax do not rectify.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of (g - m)^2, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat (gradient units) and to v at every step (squared gradient
            units).
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        rectify: whether RAdam's rectification scales the step while v has few terms.

    Source: J. Zhuang et al., 2020, arXiv:2010.07468, Algorithm 2.

    Example:
        Two steps on one element. g = 0.1: m = 0.01, v = 0.001 * 0.09^2 = 8.1e-6, v_hat = 0.0081,
        and x falls by lr 0.1 / 0.09. Then g = -0.2: m = -0.011, v = 0.999 * 8.1e-6 + 0.001 *
        0.189^2 = 4.38129e-5, v_hat = v / 0.001999 = 0.0219174, and x rises by lr (0.011 / 0.19) /
        0.1480453 = 0.3910587 lr.

        >>> rule = AdaBelief()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> x, s = rule.step(x, torch.tensor([0.1]), rule.init(x), lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9988889'
        >>> x, s = rule.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9992799'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-16  # gradient units in the denominator, gradient units squared in v, >= 0
    weight_decay: float = 0.0  # per unit of lr, >= 0
    rectify: bool = False

    holds = {"m": "EMA of g", "v": "EMA of (g - m)^2"}
    laws = Laws(scale_free=True, first_step=1 / 0.9)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-16),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"rectify": (False, True)}
    source = "Zhuang et al. 2020, arXiv:2010.07468"

    def init(self, x: Tensor) -> AdaBeliefState:
        """The state before the first step."""
        return AdaBeliefState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdaBeliefState, lr: float | Tensor
    ) -> tuple[Tensor, AdaBeliefState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g - m, self.beta2, t) + self.eps
        m_hat = self.m_hat(m, t)
        u = m_hat / self.denominator(v, t)
        if self.rectify:
            rho, r = rectification(self.beta2, t)
            u = torch.where(rho >= 5, r * u, m_hat)
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdaBeliefState(t, m, v)
