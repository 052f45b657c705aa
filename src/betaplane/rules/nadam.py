"""NAdam (Dozat 2016, ICLR workshop, Algorithm 2), in three variants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import Number, bias_correction, ema, zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class NAdamState(NamedTuple):
    """A step count, two moments, and what corrects the first of them."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared
    c: Tensor  # (), 1 - mu_1 ... mu_t, in [0, 1]


@dataclass(frozen=True)
class NAdam(MomentOptions):
    r"""NAdam: Adam with Nesterov's look-ahead along its momentum and L2 weight decay, as in torch.

    ```
    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = beta2 v + (1 - beta2) g^2
    c     = 1 - mu_1 mu_2 ... mu_t
    c'    = 1 - mu_1 mu_2 ... mu_(t+1)                 momentum="single":  c' = c
    m_hat = mu_(t+1) m / c' + (1 - mu_t) g / c
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)

    momentum="scheduled" (torch):          mu_t = beta1 (1 - 0.96^(momentum_decay t) / 2)
    momentum="constant" (optax):           mu_t = beta1, so that c = 1 - beta1^t
    momentum="single" (timm, AlgoPerf):    mu_t = beta1, and one correction for both terms
    ```

    The three are not equal. "scheduled" also differs from the paper: as in torch, m is averaged
    with beta1 and not with mu_t, and v_hat is not multiplied by beta2. Keras has momentum_decay =
    1. `debias="second"` and `"none"` have c = c' = 1.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of squared gradients, over 1 / (1 - beta2) steps.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        momentum_decay: how fast the schedule of mu_t rises to beta1, per step; read if
            momentum="scheduled".
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.
        momentum: the look-ahead weights mu_t: "scheduled", as in torch; "constant" beta1, as in
            optax; "single", with one correction for both terms, as in timm.

    Source: T. Dozat, 2016, Incorporating Nesterov momentum into Adam, ICLR workshop, Algorithm 2.
        While mu_t is still small, g itself has a weight of about 1 - mu_t in m_hat, and v is slow
        to see it. Hence |x' - x| <= 14.6 lr below, reached at t = 1890 by a gradient that grows
        about tenfold per step; with constant momentum it is 8.42 lr, in Adam 7.27 lr.

    Example:
        Two steps on one element, momentum="single". g = 0.1: m_hat = (0.9 * 0.01 + 0.1 * 0.1) / 0.1
        = 0.19, so x falls by 1.9 lr. Then g = -0.2: m = -0.011, m_hat = (-0.0099 - 0.02) / 0.19,
        v_hat = 4.999e-5 / 0.001999, and x rises by 0.9951361 lr.

        >>> nadam = NAdam(momentum="single")
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = nadam.init(x)
        >>> x, s = nadam.step(x, torch.tensor([0.1]), s, lr=0.002)
        >>> f"{x.item():.7f}"
        '0.9962000'
        >>> x, s = nadam.step(x, torch.tensor([-0.2]), s, lr=0.002)
        >>> f"{x.item():.7f}"
        '0.9981903'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    momentum_decay: float = 4e-3  # per step, >= 0; read if momentum="scheduled"
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)
    momentum: Literal["scheduled", "constant", "single"] = "scheduled"

    holds = {"m": "EMA of g", "v": "EMA of g^2", "c": "1 - product of scheduled mu"}
    laws = Laws(scale_free=True, first_step=1.0564517783553882, bound=14.6137097)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
        "momentum_decay": at_least_zero(4e-3),
    }
    choices = {"momentum": ("scheduled", "constant", "single")}
    lr = 2e-3
    debiases_inside_root = True  # as in torch's NAdam, which overflows at its largest gradients
    source = "Dozat 2016, ICLR workshop"

    def contents(self) -> dict[str, str]:
        """What each field of the state contains; c depends on the schedule of mu."""
        constant = self.momentum != "scheduled"
        return super().contents() | ({"c": "1 - product of constant mu"} if constant else {})

    def init(self, x: Tensor) -> NAdamState:
        """The state before the first step."""
        return NAdamState(
            t=zero_step(x), m=torch.zeros_like(x), v=torch.zeros_like(x), c=zero_step(x)
        )

    def step(
        self, x: Tensor, g: Tensor, s: NAdamState, lr: float | Tensor
    ) -> tuple[Tensor, NAdamState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        v = self.second_moment(s.v, g, self.beta2, t)
        c = ema(s.c, torch.ones_like(t), self.mu(t))
        u = self.ahead(m, g, t, c) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, NAdamState(t, m, v, c)

    def mu(self, t: Tensor) -> Number:
        """The momentum of step t."""
        if self.momentum != "scheduled":
            return self.beta1
        return self.beta1 * (1 - 0.5 * 0.96 ** (self.momentum_decay * t))

    def ahead(self, m: Tensor, g: Tensor, t: Tensor, c: Tensor) -> Tensor:
        """m_hat."""
        mu, mu_next = self.mu(t), self.mu(t + 1)
        if self.debias in ("second", "none"):
            return mu_next * m + (1 - mu) * g
        if self.debias == "schedule":
            m = m * bias_correction(
                self.beta1, t
            )  # what the average would be, had its beta been constant
        c_next = c if self.momentum == "single" else ema(c, torch.ones_like(c), mu_next)
        return m * (mu_next / c_next) + g * ((1 - mu) / c)
