"""AdamD (St John 2021, arXiv:2110.10828)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class AdamDState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class AdamD(MomentOptions):
    r"""AdamD: Adam that debiases v but not m, so that the first steps are short.

    ```
    x    = x (1 - lr weight_decay)
    m    = beta1 m + (1 - beta1) g
    v    = beta2 v + (1 - beta2) g^2
    root = (sqrt(v) + eps) / sqrt(1 - beta2^t)
    x    = x - lr m / root
    ```

    It is Adam with lr (1 - beta1^t) in place of lr: a warmup of about 1 / (1 - beta1) steps, after
    which every gradient has had the same weight in the sum of all steps. `eps_at="after"` has eps
    where torch's Adam has it.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        eps_at: where eps is added to the denominator: "hat" before debiasing, "after" debiasing, or
            inside the "root".
        debias: which moments are debiased: "second" is AdamD; "both", "none" or "schedule" give
            variants of Adam.

    Source: J. St John, 2021, arXiv:2110.10828. The supremum of |x' - x| / lr is Adam's: it is
        reached late.

    Example:
        Two steps on one element. g = 0.1: m = 0.01, root = 0.1, so x falls by a tenth of lr =
        0.001. Then g = -0.2: m = -0.011, root = sqrt(4.999e-5 / 0.001999) = 0.1581376, and x rises
        by 0.0000696.

        >>> adamd = AdamD()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = adamd.init(x)
        >>> x, s = adamd.step(x, torch.tensor([0.1]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9999000'
        >>> x, s = adamd.step(x, torch.tensor([-0.2]), s, lr=0.001)
        >>> f"{x.item():.7f}"
        '0.9999696'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # per unit of lr, >= 0
    eps_at: Literal["after", "hat", "root"] = field(default="hat", kw_only=True)
    debias: Literal["both", "second", "none", "schedule"] = field(default="second", kw_only=True)

    holds = {"m": "EMA of g", "v": "EMA of g^2"}
    laws = Laws(scale_free=True, first_step=0.1, bound=7.2703)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
    }
    source = "St John 2021, arXiv:2110.10828"

    def init(self, x: Tensor) -> AdamDState:
        """The state before the first step."""
        return AdamDState(t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x))

    def step(
        self, x: Tensor, g: Tensor, s: AdamDState, lr: float | Tensor
    ) -> tuple[Tensor, AdamDState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        u = self.m_hat(m, t) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, AdamDState(t, m, v)
