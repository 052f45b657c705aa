"""The pieces rules share: running averages and their debiasing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Number = float | Tensor  # a hyperparameter: a float, or a 0-d tensor under vmap


def ema(old: Tensor, new: Tensor, beta: Number) -> Tensor:
    """The exponential moving average beta old + (1 - beta) new, as one operation old + (1 - beta)
    (new - old).
    """
    return toward(old, new, 1 - beta)


def toward(old: Tensor, new: Tensor, weight: Number) -> Tensor:
    """A share of the way from old to new: old + weight (new - old), in the precision of old."""
    return torch.lerp(
        old, new.to(old.dtype), weight.to(old.dtype) if isinstance(weight, Tensor) else weight
    )


def ema_of_square(old: Tensor, a: Tensor, beta: Number) -> Tensor:
    """The exponential moving average beta old + (1 - beta) a^2, multiplied in torch's order."""
    return squared(old, a, beta, 1 - beta)


def squared(old: Tensor, a: Tensor, keep: Number, weight: Number) -> Tensor:
    """A weighted sum of old and a^2, as keep old + ((weight a) a): it may be finite although a^2 is
    not.

    It is not written as `toward`, which leaves inf - inf = nan for ever after one overflow of a^2.
    """
    a = a.to(old.dtype)
    return keep * old + weight * a * a


def l2(g: Tensor, x: Tensor, weight_decay: Number) -> Tensor:
    """The gradient with an L2 penalty: g + weight_decay x."""
    return g if zero(weight_decay) else g + weight_decay * x


def zero(number: Number) -> bool:
    """Whether a hyperparameter is the number 0; a tensor may become another, and stand for many
    runs.
    """
    return isinstance(number, float | int) and number == 0


def infinite(number: Number) -> bool:
    """Whether a hyperparameter is the number inf; comparing a tensor would need its value while a
    step is recorded.
    """
    return isinstance(number, float) and number == math.inf


def ratio(a: Number, b: Number) -> Number:
    """A over b, and 0 if b is 0."""
    if isinstance(b, Tensor):
        return torch.where(b == 0, 0.0, a / b)
    return a / b if b else 0.0


def log(beta: Number) -> Number:
    """The natural logarithm, in 64 bits; -inf at 0."""
    if isinstance(beta, Tensor):
        return beta.log()
    return math.log(beta) if beta > 0 else -math.inf


def seen(beta: Number, t: Tensor) -> Tensor:
    """1 - beta^t, the weight an average that started at zero has seen after t steps.

    It is computed as -expm1(t log(beta)), with the logarithm in 64 bits: 1 - 0.9999^t would lose three digits of an
    average in 32 bits, and a power of a 64-bit tensor costs more than the rest of a small step.
    """
    rate = log(beta)
    return -torch.expm1(t * (rate.to(t.dtype) if isinstance(rate, Tensor) else rate))


def debias(average: Tensor, beta: Number, t: Tensor) -> Tensor:
    """An average that started at zero, divided by the weight it has seen after t steps."""
    return average / seen(beta, t)


def rectification(beta2: Number, t: Tensor) -> tuple[Tensor, Tensor]:
    """RAdam's rho_t and r_t (Liu et al. 2020, arXiv:1908.03265, Algorithm 2); r_t has a meaning
    where rho_t > 4.

    In 64 bits: rho_t is about t at first, the difference of two numbers near 2 / (1 - beta2), and is compared with 5.
    """
    kept = 1 - seen(beta2, t.double())
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t.double() * kept / (1 - kept)
    r_squared = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return rho, r_squared.clamp(min=0).sqrt().to(t.dtype)


def first(x: Tensor) -> Tensor:
    """The step count before the first step, in the precision of x; exact up to 2^24 steps."""
    return torch.zeros(
        (), dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device
    )


def at_least(a: Tensor, low: Number) -> Tensor:
    """The larger of a and low, in the precision of a."""
    return torch.maximum(a, low.to(a.dtype)) if isinstance(low, Tensor) else a.clamp(min=low)


def at_most(a: Tensor, high: Number) -> Tensor:
    """The smaller of a and high, in the precision of a."""
    return torch.minimum(a, high.to(a.dtype)) if isinstance(high, Tensor) else a.clamp(max=high)


def rms(a: Tensor) -> Tensor:
    """The root of the mean square over the whole tensor."""
    return a.square().mean().sqrt()
