"""Operations shared by rules: moving averages, bias correction, scalars that may be tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Number = float | Tensor  # a hyperparameter: a float, or a 0-d tensor under vmap


def ema(old: Tensor, new: Tensor, beta: Number) -> Tensor:
    """The exponential moving average beta old + (1 - beta) new, computed by `lerp`."""
    return lerp(old, new, 1 - beta)


def lerp(old: Tensor, new: Tensor, weight: Number) -> Tensor:
    """Linear interpolation old + weight (new - old), in the dtype of old."""
    weight = weight.to(old.dtype) if isinstance(weight, Tensor) else weight
    return torch.lerp(old, new.to(old.dtype), weight)


def ema_of_square(old: Tensor, a: Tensor, beta: Number) -> Tensor:
    """The exponential moving average beta old + (1 - beta) a^2."""
    return weighted_square(old, a, beta, 1 - beta)


def weighted_square(old: Tensor, a: Tensor, old_weight: Number, weight: Number) -> Tensor:
    """The sum old_weight old + ((weight a) a), in torch's order of operations.

    It can be finite if a^2 is not. After one overflow of a^2, `lerp` would return
    inf - inf = nan at all later steps.
    """
    a = a.to(old.dtype)
    return old_weight * old + weight * a * a


def add_l2(g: Tensor, x: Tensor, weight_decay: Number) -> Tensor:
    """The gradient with an L2 penalty: g + weight_decay x."""
    return g if is_zero(weight_decay) else g + weight_decay * x


def is_zero(number: Number) -> bool:
    """Whether a hyperparameter is the float 0.

    False for tensors, whose value can change and can differ between stacked runs.
    """
    return isinstance(number, float | int) and number == 0


def is_infinite(number: Number) -> bool:
    """Whether a hyperparameter is the float inf.

    False for tensors, since a comparison would need their value while a step is traced.
    """
    return isinstance(number, float) and number == math.inf


def ratio(a: Number, b: Number) -> Number:
    """The quotient a / b, and 0 if b is 0."""
    if isinstance(b, Tensor):
        return torch.where(b == 0, 0.0, a / b)
    return a / b if b else 0.0


def log(beta: Number) -> Number:
    """The natural logarithm in float64; -inf at 0."""
    if isinstance(beta, Tensor):
        return beta.log()
    return math.log(beta) if beta > 0 else -math.inf


def bias_correction(beta: Number, t: Tensor) -> Tensor:
    """The bias correction 1 - beta^t: the sum of weights in a moving average that started at zero.

    It is computed as -expm1(t log(beta)), with the logarithm in float64. In float32,
    1 - 0.9999^t would lose three digits, and a power of a float64 tensor costs more than the
    rest of a small step.
    """
    if isinstance(beta, Tensor):
        return -torch.expm1(t * beta.log().to(t.dtype))
    return -torch.expm1(t * (math.log(beta) if beta > 0 else -math.inf))


def debias(average: Tensor, beta: Number, t: Tensor) -> Tensor:
    """A moving average that started at zero, divided by its bias correction after t steps."""
    return average / bias_correction(beta, t)


def rectification(beta2: Number, t: Tensor) -> tuple[Tensor, Tensor]:
    """RAdam's rho_t and r_t (Liu et al. 2020, arXiv:1908.03265, Algorithm 2); r_t is defined if
    rho_t > 4.

    Computed in float64: rho_t, which is compared with 5, is the difference of two numbers near
    2 / (1 - beta2).
    """
    power = 1 - bias_correction(beta2, t.double())  # beta2^t
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t.double() * power / (1 - power)
    r_squared = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return rho, r_squared.clamp(min=0).sqrt().to(t.dtype)


def zero_step(x: Tensor) -> Tensor:
    """The step count 0, in float64 if x is, else in float32, which is exact up to 2^24 steps."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.zeros((), dtype=dtype, device=x.device)


def at_least(a: Tensor, low: Number) -> Tensor:
    """The elementwise maximum of a and low, in the dtype of a."""
    return torch.maximum(a, low.to(a.dtype)) if isinstance(low, Tensor) else a.clamp(min=low)


def at_most(a: Tensor, high: Number) -> Tensor:
    """The elementwise minimum of a and high, in the dtype of a."""
    return torch.minimum(a, high.to(a.dtype)) if isinstance(high, Tensor) else a.clamp(max=high)


def rms(a: Tensor) -> Tensor:
    """The root mean square of all elements."""
    return a.square().mean().sqrt()
