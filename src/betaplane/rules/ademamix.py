"""AdEMAMix (Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import at_most, lerp, log, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdEMAMixState(NamedTuple):
    """A step count, two first moments and the second."""

    t: Tensor  # (), steps taken
    m1: Tensor  # like x, gradient units: the fast average
    m2: Tensor  # like x, gradient units: the slow average
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class AdEMAMix(MomentOptions):
    r"""AdEMAMix: AdamW whose first moment is mixed with a much slower average of gradients.

    ```
    tau     = min(t / T, 1)          T = warmup; tau = 1 if T = 0
    alpha_t = tau alpha
    beta3_t = exp(1 / ((1 - tau) / ln(beta1) + tau / ln(beta3)))       at most beta3

    x       = x (1 - lr weight_decay)
    m1      = beta1 m1 + (1 - beta1) g
    m2      = beta3_t m2 + (1 - beta3_t) g
    v       = beta2 v + (1 - beta2) g^2
    m1_hat  = m1 / (1 - beta1^t)
    v_hat   = v / (1 - beta2^t)
    x       = x - lr (m1_hat + alpha_t m2) / (sqrt(v_hat) + eps)
    ```

    beta3_t makes the half-life of the slow average grow linearly from that of beta1 to that of
    beta3. The paper has T at the number of all steps. m2 is never debiased. alpha is between 4 and
    10 in the paper, 2 in the authors' code, 5 in optax. Other libraries count the decay as a part
    of the update, which is equivalent.

    The first step at the defaults is 1 + alpha (1 - beta3) = 1.0005 lr. There is no bound: since
    beta3^2 > beta2, |m2| / sqrt(v) grows without limit as gradients decay exponentially, as in Adam
    with beta1 > sqrt(beta2).

    Args:
        beta1: decay rate of m1, the fast moving average of gradients.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        beta3: decay rate of m2, the slow moving average of gradients, after warmup.
        alpha: weight of the slow average in the update; 4 to 10 in the paper.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        warmup: number of steps T until alpha and beta3 have their full values; the paper takes the
            length of the run, 0 skips the warmup.

    Source: M. Pagliardini, P. Ablin, D. Grangier, 2024, arXiv:2409.03137, Algorithm 1.

    Example:
        Two steps on one element. g = 0.1: m2 = 1e-5, so x falls by (0.1 + 5e-5) / 0.1 lr. Then g =
        -0.2: m1_hat = -0.011 / 0.19, m2 = 0.9999e-5 - 2e-5, so x rises by (0.0578947 + 0.0000500) /
        0.1581378 = 0.3664195 lr.

        >>> rule = AdEMAMix()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = rule.init(x)
        >>> x, s = rule.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9989995'
        >>> x, s = rule.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9993659'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    beta3: float = 0.9999  # in [0, 1)
    alpha: float = 5.0  # >= 0, weight of the slow average
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # per unit of lr, >= 0
    warmup: float = 0.0  # T, steps until alpha and beta3 have their values, >= 0

    holds = {"m1": "EMA of g", "m2": "slow average of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0005)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "beta3": UNIT[0.999],
        "alpha": at_least_zero(5.0),
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
        "warmup": at_least_zero(0.0),
    }
    source = "Pagliardini, Ablin & Grangier 2024, arXiv:2409.03137"

    def init(self, x: Tensor) -> AdEMAMixState:
        """The state before the first step."""
        return AdEMAMixState(
            t=zero_step(x), m1=torch.zeros_like(x), m2=torch.zeros_like(x), v=torch.zeros_like(x)
        )

    def step(
        self, x: Tensor, g: Tensor, s: AdEMAMixState, lr: float | Tensor
    ) -> tuple[Tensor, AdEMAMixState]:
        """One update, as in the equations above."""
        t = s.t + 1
        tau = (t / self.warmup).clamp(max=1).to(t.dtype)
        x, g = self.apply_decay(x, g, lr)
        m1 = self.moment(s.m1, g, self.beta1, t)
        m2 = lerp(s.m2, g, self._weight(tau))
        v = self.second_moment(s.v, g, self.beta2, t)
        u = (self.m_hat(m1, t) + self.alpha * tau * m2) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdEMAMixState(t, m1, m2, v)

    def _weight(self, tau: Tensor) -> Tensor:
        """1 - beta3_t, by expm1: in 32 bits 1 - 0.9999 has three digits."""
        rate = 1 / ((1 - tau) / log(self.beta1) + tau / log(self.beta3))
        return -torch.expm1(at_most(rate, log(self.beta3)))
