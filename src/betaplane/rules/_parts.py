"""The pieces rules share: running averages and their debiasing."""

from __future__ import annotations

import torch
from torch import Tensor

Number = float | Tensor  # a hyperparameter: a float, or a 0-d tensor under vmap


def ema(old: Tensor, new: Tensor, beta: Number) -> Tensor:
    """The exponential moving average beta old + (1 - beta) new."""
    return beta * old + (1 - beta) * new


def debias(average: Tensor, beta: Number, t: Tensor) -> Tensor:
    """An average that started at zero, divided by the weight 1 - beta^t it has seen after t steps."""
    return average / (1 - beta**t)


def first(x: Tensor) -> Tensor:
    """The step count before the first step; 64 bits, since 1 - 0.9999^t has lost three digits in 32."""
    return torch.zeros((), dtype=torch.float64, device=x.device)
