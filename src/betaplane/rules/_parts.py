"""The pieces rules share: running averages and their debiasing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Number = float | Tensor  # a hyperparameter: a float, or a 0-d tensor under vmap


def ema(old: Tensor, new: Tensor, beta: Number) -> Tensor:
    """The exponential moving average beta old + (1 - beta) new, as one operation old + (1 - beta) (new - old)."""
    weight = 1 - beta
    return torch.lerp(old, new.to(old.dtype), weight.to(old.dtype) if isinstance(weight, Tensor) else weight)


def l2(g: Tensor, x: Tensor, weight_decay: Number) -> Tensor:
    """The gradient with an L2 penalty: g + weight_decay x."""
    return g if isinstance(weight_decay, float | int) and weight_decay == 0 else g + weight_decay * x


def seen(beta: Number, t: Tensor) -> Tensor:
    """1 - beta^t, the weight an average that started at zero has seen after t steps.

    It is computed as -expm1(t log(beta)), with the logarithm in 64 bits: 1 - 0.9999^t would lose three digits of an
    average in 32 bits, and a power of a 64-bit tensor costs more than the rest of a small step.
    """
    log = beta.log().to(t.dtype) if isinstance(beta, Tensor) else (math.log(beta) if beta > 0 else -math.inf)
    return -torch.expm1(t * log)


def debias(average: Tensor, beta: Number, t: Tensor) -> Tensor:
    """An average that started at zero, divided by the weight it has seen after t steps."""
    return average / seen(beta, t)


def first(x: Tensor) -> Tensor:
    """The step count before the first step, in the precision of x; exact up to 2^24 steps."""
    return torch.zeros((), dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
