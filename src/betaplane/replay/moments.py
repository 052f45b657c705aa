"""Running averages of recorded gradients for many betas at once, block by block of steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 512  # steps held at once


def averages(x: Tensor, beta: Tensor, around: bool) -> Iterator[Tensor]:
    r"""The averages y_t = beta y_{t-1} + (1 - beta) x_t for every beta, in blocks of steps.

    ```
    around:      y_0 = sum_s (1 - beta) beta^(T - s) x_s / (1 - beta^T)     the stream repeats: its steady state
    not around:  y_0 = 0, and what is given is y_t / (1 - beta^t)           from the first step, as Adam corrects it
    ```

    Args:
        x: (T, c), any units.
        beta: (n,), each in [0, 1), float64.
        around: whether the stream is taken to repeat for ever.

    Returns:
        Tensors (c, steps, n), one for each block of steps, in x's dtype and units; together T steps.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1; the steady state is the geometric series.

    Example:
        >>> (block,) = averages(torch.tensor([[4.0], [-1.0], [-1.0], [-1.0]]), torch.tensor([0.0, 0.5]), True)
        >>> [[round(y, 3) for y in row] for row in block[0].tolist()]
        [[4.0, 1.667], [-1.0, 0.333], [-1.0, -0.333], [-1.0, -0.667]]
    """
    y = _steady(x, beta) if around else torch.zeros(x.shape[1], len(beta), dtype=x.dtype)
    for first in range(0, len(x), BLOCK):
        block = x[first : first + BLOCK]
        found = _block(block, beta, y)
        y = found[:, -1].clone()  # the caller may write into what it is given
        yield found if around else found.div_(_correction(beta, first, len(block)).to(x.dtype))


def _block(x: Tensor, beta: Tensor, y: Tensor) -> Tensor:
    """The averages of one block of steps, (c, steps, n), going on from y (c, n)."""
    out = torch.empty(x.shape[1], len(x), len(beta), dtype=x.dtype)
    weight = (1 - beta.double()).to(x.dtype)  # float32 has no room for 1 - beta at beta near 1
    for t in range(len(x)):
        y = torch.lerp(y, x[t, :, None], weight, out=out[:, t])
    return out


def _steady(x: Tensor, beta: Tensor) -> Tensor:
    """The average before the first step of a stream that has always repeated, (c, n)."""
    b = beta.double()
    age = torch.arange(len(x) - 1, -1, -1, dtype=torch.float64)
    weights = b[None, :] ** age[:, None]
    return (x.double().T @ (weights / weights.sum(dim=0))).to(x.dtype)


def _correction(beta: Tensor, first: int, steps: int) -> Tensor:
    """1 - beta^t for the steps of a block, (steps, n)."""
    t = torch.arange(first + 1, first + 1 + steps, dtype=torch.float64)
    return -torch.expm1(t[:, None] * torch.log(beta.double()))
