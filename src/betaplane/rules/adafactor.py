"""Adafactor (Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import Number, at_least, at_most, ema, is_infinite, lerp, rms, zero_step
from betaplane.rules._options import StepOptions
from betaplane.rules._rule import INF, UNIT, Laws, Range, at_least_zero


class AdafactorState(NamedTuple):
    """A step count and the second moment, whole or as two factors; unused fields are ()."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, units of x: average of updates; () unless momentum
    # x without its last dimension, gradient units squared: means of rows; () unless factored
    r: Tensor
    # x without its last dimension but one, gradient units squared: means of columns; () unless
    # factored
    c: Tensor
    v: Tensor  # like x, gradient units squared; () if factored


@dataclass(frozen=True)
class Adafactor(StepOptions):
    r"""Adafactor: a matrix's second moment as column times row, steps relative to x, clipped.

    ```
    beta2 = 1 - t^-power
    rho   = min(lr, 1 / sqrt(t))           rate="warmup": min(lr t / 10000, 1 / sqrt(t))
                                           rate="scaled": lr
    alpha = max(eps2, RMS(x)) rho          rate="constant": lr
    x     = x (1 - lr weight_decay)        decay_rate="alpha": x (1 - alpha weight_decay)
    q     = g^2 + eps1                     floor="root": g^2

    two dimensions or more                 one dimension or none
    r     = beta2 r + (1 - beta2) mean of q over columns
    c     = beta2 c + (1 - beta2) mean of q over rows
    v     = r c / mean(r)                  v = beta2 v + (1 - beta2) q

    u     = g / sqrt(v)                    floor="root": v = r c / max(mean(r), eps1)
                                                         u = g / max(sqrt(v), eps1)
    u     = u / max(1, RMS(u) / clip)
    x     = x - alpha u                    momentum: m = beta1 m + (1 - beta1) alpha u; x = x - m
    ```

    lr is the cap of the relative step, 0.01 in the paper and here. With rate="warmup" the step
    reaches it, at that lr, after 10,000 steps, as the paper's 1e-6 t does. RMS(x) is taken before
    decay. Of more than two dimensions the last two are factored. A matrix whose smaller side is
    less than min_dim is not factored.

    Variants: torch has floor="root" with eps1 the precision of x's dtype; Transformers and timm
    have decay_rate="alpha"; min_dim is 0 in torch, 16 in timm, and 128 in optax, which factors the
    two largest dimensions. At t = 1, beta2 is 0, so v needs no bias correction.

    On a vector the first step is RMS(x) rho for every element, so first_step has no single value.
    The RMS of a step is at most alpha clip, and one of n elements moves by at most sqrt(n) times
    that.

    Args:
        beta1: decay rate of the moving average of updates; read if momentum=True.
        power: exponent in beta2 = 1 - t^-power; larger remembers longer.
        eps1: added to squared gradients (floor="square", squared gradient units), or least value of
            the denominator (floor="root", gradient units).
        eps2: least RMS(x) that a relative step assumes, in units of x, so that zero parameters
            move.
        weight_decay: coefficient of weight decay; `decay` and `decay_rate` select how it enters the
            step.
        momentum: whether updates are averaged, which costs one more tensor of state.
        rate: step size: "relative" to RMS(x) with lr as the cap, "warmup" the same with a linear
            warmup, "scaled" lr RMS(x), or "constant" lr.
        decay_rate: whether decay is proportional to "lr" or to "alpha", the size of the step.
        floor: where eps1 enters: "square" adds it to g^2, as in the paper; "root" bounds the
            denominator, as in torch.
        clip: largest RMS of an update, divided by the step size; inf for no limit.
        min_dim: smallest side of a matrix that is factored; smaller matrices keep a whole v.

    Source: N. Shazeer, M. Stern, 2018, arXiv:1804.04235, Algorithms 4 and 5; momentum and the order
        of the steps as in the authors' tensor2tensor; floor="root" is torch.optim.Adafactor.

    Example:
        Two steps on one element. g = 0.1: v = g^2, so x falls by alpha = 1 * 0.01. Then g = -0.2:
        beta2 = 1 - 2^-0.8 = 0.4257, v = 0.0043 + 0.0230, u = -1.2120 is clipped to -1, and x rises
        by alpha = 0.99 * 0.01.

        >>> rule = Adafactor()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = rule.init(x)
        >>> x, s = rule.step(x, torch.tensor([0.1]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9900000'
        >>> x, s = rule.step(x, torch.tensor([-0.2]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9999000'
    """

    beta1: float = 0.9  # in [0, 1), read if momentum=True
    power: float = 0.8  # of beta2 = 1 - t^-power, >= 0
    eps1: float = 1e-30  # gradient units squared (floor="root": gradient units), >= 0
    eps2: float = 1e-3  # units of x, >= 0: the least RMS(x) in a relative step
    weight_decay: float = 0.0  # per unit of lr, >= 0
    momentum: bool = False
    rate: Literal["relative", "warmup", "scaled", "constant"] = "relative"
    decay_rate: Literal["lr", "alpha"] = "lr"
    floor: Literal["square", "root"] = "square"
    clip: float = field(default=1.0, kw_only=True)
    # >= 0, smallest side of a matrix that is factored
    min_dim: float = field(default=0, kw_only=True)

    holds = {
        "m": "EMA of updates",
        "r": "row means of g^2 with beta2 = 1 - t^-power",
        "c": "column means of g^2 with beta2 = 1 - t^-power",
        "v": "g^2 averaged with beta2 = 1 - t^-power",
    }
    optional = ("m", "r", "c", "v")
    laws = Laws(scale_free=True)
    ranges = {
        "beta1": UNIT[0.9],
        "power": at_least_zero(0.8),
        "eps1": at_least_zero(1e-30),
        "eps2": at_least_zero(1e-3),
        "weight_decay": at_least_zero(0.0),
        "clip": Range(0.0, INF, "(0, inf]", 1.0),
        "min_dim": at_least_zero(0),
    }
    choices = {
        "momentum": (False, True),
        "rate": ("relative", "warmup", "scaled", "constant"),
        "decay_rate": ("lr", "alpha"),
        "floor": ("square", "root"),
    }
    lr = 1e-2
    source = "Shazeer & Stern 2018, arXiv:1804.04235"

    def contents(self) -> dict[str, str]:
        """What each field of the state contains; averaged updates depend on the rate."""
        m = {"m": f"EMA of updates, rate {self.rate}"} if self.momentum else {}
        return super().contents() | m

    def init(self, x: Tensor) -> AdafactorState:
        """The state before the first step."""
        none = x.new_zeros(())
        factored = x.dim() > 1 and min(x.shape[-2:]) >= self.min_dim
        return AdafactorState(
            t=zero_step(x),
            m=torch.zeros_like(x) if self.momentum else none,
            r=x.new_zeros(x.shape[:-1]) if factored else none,
            c=x.new_zeros(x.shape[:-2] + x.shape[-1:]) if factored else none,
            v=none if factored else torch.zeros_like(x),
        )

    def step(
        self, x: Tensor, g: Tensor, s: AdafactorState, lr: float | Tensor
    ) -> tuple[Tensor, AdafactorState]:
        """One update, as in the equations above."""
        t = s.t + 1
        alpha = self._alpha(x, t, lr)
        x, g = self.apply_decay(x, g, lr, None if self.decay_rate == "lr" else alpha)
        r, c, v = self._second_moment(g, s, t)
        u = g * (self._inverse_root_of_factors(r, c) if r.dim() else self._inverse_root(v))
        u = alpha * self._clip(u)
        m = ema(s.m, u, self.beta1) if self.momentum else s.m
        x = x - self.mask_update(m if self.momentum else u, g)
        return x, AdafactorState(t, m, r, c, v)

    def _alpha(self, x: Tensor, t: Tensor, lr: Number) -> Number:
        if self.rate == "constant":
            return lr
        cap = lr * t / 10_000 if self.rate == "warmup" else lr
        rho = lr if self.rate == "scaled" else at_most(t.rsqrt(), cap)
        return self._max(rms(x), self.eps2) * rho

    def _clip(self, u: Tensor) -> Tensor:
        if is_infinite(self.clip):
            return u
        return u / self._max(rms(u) / self.clip, 1.0)

    def _max(self, value: Tensor, low: Number) -> Tensor:
        """The maximum; if value is nan, nan, or low with floor="root" as in torch."""
        if self.floor == "square":
            return at_least(value, low)
        low = low.to(value.dtype) if isinstance(low, Tensor) else low
        return torch.where(value > low, value, low)

    def _second_moment(
        self, g: Tensor, s: AdafactorState, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The factors r and c, or v, after this gradient."""
        q = g * g + self.eps1 if self.floor == "square" else g * g
        weight = t**-self.power  # 1 - beta2
        if s.r.dim() == 0:
            return s.r, s.c, lerp(s.v, q, weight)
        return lerp(s.r, q.mean(dim=-1), weight), lerp(s.c, q.mean(dim=-2), weight), s.v

    def _inverse_root_of_factors(self, r: Tensor, c: Tensor) -> Tensor:
        """1 / sqrt(v) from the factors of v.

        r is divided by its mean, and roots are taken, before the product: that of two small
        factors would be zero. With floor="root" the product comes first, as in torch: there eps1
        replaces products of zero.
        """
        mean = r.mean(dim=-1, keepdim=True)
        if self.floor == "root":
            return self._inverse_root(
                r[..., :, None] * c[..., None, :] / at_least(mean, self.eps1)[..., None]
            )
        return (r / mean).rsqrt()[..., :, None] * c.rsqrt()[..., None, :]

    def _inverse_root(self, v: Tensor) -> Tensor:
        return 1 / at_least(v.sqrt(), self.eps1) if self.floor == "root" else v.rsqrt()
