"""AdamC (Defazio 2025, arXiv:2506.02285): AdamW with a decay that follows the schedule twice under
a normalization.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import Number, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdamCState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class AdamC(MomentOptions):
    r"""AdamC: AdamW whose decay is multiplied by lr / peak_lr in layers before a normalization.

    ```
    x     = x (1 - lr^2 / peak_lr weight_decay)          (normalized=False: 1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    A normalization makes g orthogonal to x, and the norm of x settles where decay and update
    balance. With AdamW, |u| / |x| = sqrt(2 weight_decay / lr) there, which grows as the schedule
    decays lr, and so does the gradient at the end of a run. Here it remains sqrt(2 weight_decay /
    peak_lr).

    Set peak_lr to the largest lr of the schedule: at a constant lr = peak_lr, AdamC is AdamW. With
    decay="independent" the factor is 1 - (lr / peak_lr)^2 weight_decay.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        normalized: whether a normalization follows the layer: decay is then multiplied by lr /
            peak_lr.

    Source: A. Defazio, 2025, arXiv:2506.02285, the corrected decay in the form for AdamW.

    Example:
        Two steps on one element, lr = 0.001 at its peak and then half of it. x shrinks by 1e-5,
        then falls by lr. Then g = -0.2: x shrinks by 0.0005^2 / 0.001 * 0.01 = 2.5e-6 of itself,
        whereas AdamW shrinks it by 5e-6; it rises by half of Adam's 0.0003661.

        >>> rule = AdamC(peak_lr=0.001)
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> x, s = rule.step(x, torch.tensor([0.1]), rule.init(x), lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9989900'
        >>> x, s = rule.step(x, torch.tensor([-0.2]), s, lr=0.0005)
        >>> f"{x.item():.7f}"
        '0.9991706'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.01  # per unit of lr, >= 0
    normalized: bool = True  # the layer is followed by a normalization

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=1.0, bound=7.2703)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.01),
    }
    choices = {"normalized": (True, False)}
    source = "Defazio 2025, arXiv:2506.02285"

    def init(self, x: Tensor) -> AdamCState:
        """The state before the first step."""
        return AdamCState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdamCState, lr: float | Tensor
    ) -> tuple[Tensor, AdamCState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        u = self.m_hat(m, t) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdamCState(t, m, v)

    @property
    def reads_peak(self) -> bool:
        """Whether the step depends on peak_lr."""
        corrected = self.normalized and self.decay == "decoupled" and self.decays
        return corrected or super().reads_peak

    def decay_share(self, lr: Number, rate: Number | None = None) -> Number:
        """The share of x that weight decay removes; before a normalization, lr / peak_lr of AdamW's."""
        rate = lr * self.relative_to_peak(lr) if self.normalized else rate
        return super().decay_share(lr, rate)
