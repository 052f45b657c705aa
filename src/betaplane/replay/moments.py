"""Running averages of recorded gradients for many betas at once, block by block of steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 128  # steps held at once; with a few coordinates they stay in a core's cache
STRIDE = 16  # steps a matrix product takes at once


class Averages:
    r"""The averages y_t = beta y_{t-1} + (1 - beta) x_t of any streams of one length, for every
    beta.

    ```
    around:      y_0 = sum_s (1 - beta) beta^(T - s) x_s / (1 - beta^T)     the stream repeats: its steady state
    not around:  y_0 = 0, and what is given is y_t / (1 - beta^t)           from the first step, as Adam corrects it
    ```

    A few steps are one matrix product, and what was before them is added: y_{s+k} = beta^k y_s + (1 - beta) sum_j
    beta^(k-j) x_{s+j}.

    Args:
        beta: (n,), each in [0, 1), float64.
        steps: T, >= 1.
        around: whether the stream is taken to repeat for ever.
        dtype: of the averages.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1; the steady state is the geometric
        series.

    Example:
        >>> averages = Averages(torch.tensor([0.0, 0.5]), 4, around=True, dtype=torch.float32)
        >>> (block,) = averages(torch.tensor([[4.0, -1.0, -1.0, -1.0]]))
        >>> [[round(y, 3) for y in row] for row in block[0].tolist()]
        [[4.0, 1.667], [-1.0, 0.333], [-1.0, -0.333], [-1.0, -0.667]]
    """

    def __init__(self, beta: Tensor, steps: int, around: bool, dtype: torch.dtype) -> None:
        b = beta.double()
        self.steps, self.around, self.n, self.dtype = steps, around, len(b), dtype
        k = torch.arange(STRIDE)
        age = (k[None, :] - k[:, None]).clamp(min=0)[..., None]
        # (from, to, n), float64: 1 - b needs it
        kernel = (1 - b) * b**age * (k[:, None] <= k)[..., None]
        self.kernel, self.decay = kernel.flatten(1).to(dtype), (b ** (k[:, None] + 1)).to(dtype)
        weights = b ** torch.arange(steps - 1, -1, -1)[:, None]
        self.start = weights / weights.sum(dim=0)
        t = torch.arange(1, steps + 1)[:, None]
        self.correction = (-torch.expm1(t * torch.log(b))).to(dtype)

    def __call__(self, x: Tensor) -> Iterator[Tensor]:
        """The averages of some coordinates, x (c, T), in blocks (c, steps, n) in x's units,
        together T steps.

        The caller may write into a block; the next one takes its place.
        """
        longest = min(BLOCK, -(-self.steps // STRIDE) * STRIDE)
        out = torch.empty(len(x) * longest * self.n, dtype=self.dtype)
        y = (
            (x.double() @ self.start).to(self.dtype)
            if self.around
            else torch.zeros(len(x), self.n, dtype=self.dtype)
        )
        for first in range(0, self.steps, BLOCK):
            block = x[:, first : first + BLOCK]
            found, length = self._block(block.to(self.dtype), y, out), block.shape[1]
            y = found[:, length - 1].clone()
            found = found[:, :length]
            yield found if self.around else found.div_(self.correction[first : first + length])

    def _block(self, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
        """Go on from y (c, n) over x (c, steps), whole strides of it; the steps beyond the last are
        of no use.
        """
        c, steps = len(x), x.shape[1]
        strides = -(-steps // STRIDE)
        x = torch.nn.functional.pad(x, (0, strides * STRIDE - steps))
        flat = out[: c * strides * STRIDE * self.n]
        torch.matmul(
            x.reshape(c * strides, STRIDE), self.kernel, out=flat.view(c * strides, STRIDE * self.n)
        )
        for each in flat.view(c, strides, STRIDE, self.n).unbind(1):
            y = each.addcmul_(y[:, None], self.decay)[:, -1]
        return flat.view(c, strides * STRIDE, self.n)
