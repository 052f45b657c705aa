"""Adam-atan2 (Everett et al. 2024, arXiv:2407.05872)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import bias_correction, debias, ema, ema_of_square, zero_step
from betaplane.rules._options import StepOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdamAtan2State(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class AdamAtan2(StepOptions):
    r"""Adam with atan2 in place of the quotient: no eps, and no step beyond a quarter turn.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    v_hat = v / (1 - beta2^t)

    correction="inside":     x = x - lr a atan2(m / (1 - beta1^t), b sqrt(v_hat))
    correction="outside":    x = x - lr a atan2(m, b sqrt(v_hat)) / (1 - beta1^t)
    ```

    atan2(m, b r) is atan(m / (b r)), and 0 at 0 / 0. Small ratios are multiplied by a / b. With the
    correction inside, no step is longer than a pi / 2 lr.

    Packages disagree. adam-atan2-pytorch has a = 1.27 and b = 1, which takes |m_hat| = sqrt(v_hat)
    to 0.9975. The kernel of adam-atan2 has a = b = 1 and was published with either correction.
    HeavyBall has a = b = 16, nearly Adam's quotient. At the first step of a = b = 1, the correction
    inside gives pi / 4 = 0.785, and the one outside 10 atan(0.1) = 0.997.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        a: scale of the update; the step is at most a pi / 2 lr.
        b: scale of the denominator inside of atan2; small ratios are multiplied by a / b.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        correction: whether m is debiased "inside" of atan2 or "outside" of it.

    Source: K. Everett et al., 2024, arXiv:2407.05872. Below, |x' - x| <= lr a atan(B / b), B = 7.27
        being Adam's.

    Example:
        Two steps on one element. g = 0.1: atan2(0.1, 0.1) = pi / 4, so x falls by 0.9974557 lr.
        Then g = -0.2: m_hat = -0.011 / 0.19, sqrt(v_hat) = 0.1581376, and x rises by 1.27
        atan(0.3661036) lr = 0.4457043 lr.

        >>> rule = AdamAtan2()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = rule.init(x)
        >>> x, s = rule.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9990025'
        >>> x, s = rule.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9994482'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    a: float = 1.27  # >= 0, about 4 / pi
    b: float = 1.0  # >= 0
    weight_decay: float = 0.0  # per unit of lr, >= 0
    correction: Literal["inside", "outside"] = "inside"

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=0.9974556675147593, bound=1.8213172)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "a": at_least_zero(1.27),
        "b": at_least_zero(1.0),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"correction": ("inside", "outside")}
    source = "Everett et al. 2024, arXiv:2407.05872"

    def init(self, x: Tensor) -> AdamAtan2State:
        """The state before the first step."""
        return AdamAtan2State(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdamAtan2State, lr: float | Tensor
    ) -> tuple[Tensor, AdamAtan2State]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = ema(s.m, g, self.beta1)
        v = ema_of_square(s.v, g, self.beta2)
        root, c = debias(v, self.beta2, t).sqrt(), bias_correction(self.beta1, t)
        inside, outside = (c, 1.0) if self.correction == "inside" else (1.0, c)
        u = self.a * torch.atan2(m / inside, self.b * root) / outside
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdamAtan2State(t, m, v)
