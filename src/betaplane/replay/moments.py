"""Exponential moving averages of recorded gradients for many betas at once, in blocks of steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_STEPS = 128  # in memory at once; with a few coordinates they stay in a core's cache
STRIDE = 16  # steps per matrix product


class MovingAverages:
    r"""The averages y_t = beta y_{t-1} + (1 - beta) x_t of streams of one length, for every beta.

    ```
    periodic:      y_0 = sum_s (1 - beta) beta^(T - s) x_s / (1 - beta^T)     the stream repeats: its steady state
    not periodic:  y_0 = 0, and the result is y_t / (1 - beta^t)              with Adam's bias correction
    ```

    A few steps are one matrix product, to which the earlier steps are added: y_{s+k} = beta^k y_s +
    (1 - beta) sum_j beta^(k-j) x_{s+j}.

    Args:
        beta: (n,), each in [0, 1), float64.
        steps: T, >= 1.
        periodic: whether the stream is assumed to repeat forever.
        dtype: of the averages.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1; the steady state is the geometric
        series.

    Example:
        >>> averages = MovingAverages(torch.tensor([0.0, 0.5]), 4, periodic=True, dtype=torch.float32)
        >>> (block,) = averages(torch.tensor([[4.0, -1.0, -1.0, -1.0]]))
        >>> [[round(y, 3) for y in row] for row in block[0].tolist()]
        [[4.0, 1.667], [-1.0, 0.333], [-1.0, -0.333], [-1.0, -0.667]]
    """

    def __init__(self, beta: Tensor, steps: int, periodic: bool, dtype: torch.dtype) -> None:
        b = beta.double()
        self.steps = steps
        self.periodic = periodic
        self.n = len(b)
        self.dtype = dtype
        k = torch.arange(STRIDE)
        age = (k[None, :] - k[:, None]).clamp(min=0)[..., None]
        # (from, to, n), computed in float64 for the precision of 1 - b
        kernel = (1 - b) * b**age * (k[:, None] <= k)[..., None]
        self.kernel = kernel.flatten(1).to(dtype)
        self.decay = (b ** (k[:, None] + 1)).to(dtype)
        weights = b ** torch.arange(steps - 1, -1, -1)[:, None]
        self.start = weights / weights.sum(dim=0)
        t = torch.arange(1, steps + 1)[:, None]
        self.correction = (-torch.expm1(t * torch.log(b))).to(dtype)

    def __call__(self, x: Tensor) -> Iterator[Tensor]:
        """The averages of some coordinates, in blocks of steps.

        Args:
            x: (c, T), in any units.

        Yields:
            (c, steps, n) in the units of x, T steps in total. The caller may overwrite a block; the
            next one reuses its memory.
        """
        block_steps = min(BLOCK_STEPS, -(-self.steps // STRIDE) * STRIDE)
        out = torch.empty(len(x) * block_steps * self.n, dtype=self.dtype)
        y = self._initial(x)
        for first in range(0, self.steps, BLOCK_STEPS):
            block = x[:, first : first + BLOCK_STEPS]
            length = block.shape[1]
            averages = self._continue(block.to(self.dtype), y, out)[:, :length]
            y = averages[:, length - 1].clone()
            if not self.periodic:
                averages.div_(self.correction[first : first + length])
            yield averages

    def _initial(self, x: Tensor) -> Tensor:
        """y_0, (c, n)."""
        if self.periodic:
            return (x.double() @ self.start).to(self.dtype)
        return torch.zeros(len(x), self.n, dtype=self.dtype)

    def _continue(self, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
        """Continue from y (c, n) over x (c, steps), padded to whole strides; the averages of the
        padding are meaningless.
        """
        c, steps = len(x), x.shape[1]
        strides = -(-steps // STRIDE)
        x = torch.nn.functional.pad(x, (0, strides * STRIDE - steps))
        flat = out[: c * strides * STRIDE * self.n]
        torch.matmul(
            x.reshape(c * strides, STRIDE), self.kernel, out=flat.view(c * strides, STRIDE * self.n)
        )
        for stride in flat.view(c, strides, STRIDE, self.n).unbind(1):
            y = stride.addcmul_(y[:, None], self.decay)[:, -1]
        return flat.view(c, strides * STRIDE, self.n)
