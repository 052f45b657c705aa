"""Gradient noise scale: the batch size at which gradient noise equals the signal."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.monitor.capture.sampling import strided


class Noise(NamedTuple):
    """Unbiased estimates of gradient signal and noise; they vary by batch, so average over steps."""

    # |G|^2, squared norm of the true gradient, gradient units squared; an estimate may be negative
    signal: float
    # tr(Sigma), variance of one sample's gradient summed over elements, gradient units squared
    noise: float

    @property
    def scale(self) -> float:
        """tr(Sigma) / |G|^2, in samples; inf if the signal is not positive."""
        return self.noise / self.signal if self.signal > 0 else math.inf


def noise_of_parts(gradients: Tensor, batch: int) -> Noise:
    r"""Estimate the noise scale from the gradients of microbatches, or of data-parallel ranks.

    ```
    tr(Sigma) = batch / (K - 1) sum |g_i - g|^2,    |G|^2 = |g|^2 - tr(Sigma) / (K batch)        g is the mean of K
    ```

    Args:
        gradients: each part's mean gradient in one step, (K, n), K >= 2, gradient units; all elements,
            or a sample of them.
        batch: samples in each part, >= 1.

    Returns:
        Signal and noise, summed over these elements.

    Raises:
        BadInput: there are fewer than two parts, or batch is below 1.

    Source: S. McCandlish et al., 2018, arXiv:1812.06162, appendix A.1, with B_small = batch and
        B_big = K batch.

    Example:
        >>> g = torch.tensor([[3.0, 1.0], [5.0, -1.0]])
        >>> noise = noise_of_parts(g, batch=8)
        >>> noise.noise, noise.signal, round(noise.scale, 4)
        (32.0, 14.0, 2.2857)
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        raise BadInput(
            "Too few gradients",
            value=tuple(gradients.shape),
            allowed="(K, n) with K >= 2",
            where="noise_of_parts",
            instead="gradients=torch.stack([g1, g2])",
        )
    g = gradients.detach().double()
    small, large = float(g.square().sum(1).mean()), float(g.mean(0).square().sum())
    return noise_of_norms(small, large, batch, len(g) * batch)


def noise_of_norms(small: float, large: float, small_batch: int, large_batch: int) -> Noise:
    r"""Estimate the noise scale from squared gradient norms at two batch sizes.

    ```
    |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b),    tr(Sigma) = (|g_b|^2 - |g_B|^2) / (1/b - 1/B)
    ```

    Args:
        small: |g_b|^2, the mean over microbatches or ranks, >= 0, gradient units squared.
        large: |g_B|^2, of the gradient that the step uses, >= 0.
        small_batch: b, samples per part, >= 1.
        large_batch: B, samples in total, > b.

    Returns:
        Signal and noise.

    Raises:
        BadInput: 1 <= b < B does not hold.

    Source: S. McCandlish et al., 2018, arXiv:1812.06162, appendix A.1.

    Example:
        >>> noise_of_norms(small=18.0, large=16.0, small_batch=8, large_batch=16)
        Noise(signal=14.0, noise=32.0)
    """
    if not 1 <= small_batch < large_batch:
        raise BadInput(
            "The batch sizes do not fit", value=(small_batch, large_batch), allowed="1 <= small_batch < large_batch",
            where="noise_of_norms", instead="small_batch=8, large_batch=64",
        )  # fmt: skip
    signal = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    return Noise(signal, (small - large) / (1 / small_batch - 1 / large_batch))


class MicrobatchGradients:
    """Collect the gradients of a step's microbatches while `backward` accumulates them.

    Args:
        params: the parameters.
        batch: samples per microbatch, >= 1.
        n: sampled elements per tensor, >= 1.

    Example:
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> gradients = MicrobatchGradients([p], batch=1)
        >>> for target in ([1.0, 2.0], [3.0, 2.0]):
        ...     (p @ torch.tensor(target) / 2).backward()  # each of two microbatches counts half
        ...     gradients.add()
        >>> gradients.noise(), gradients.noise().scale
        (Noise(signal=7.0, noise=2.0), 0.2857142857142857)
    """

    def __init__(self, params: list[Tensor], batch: int, n: int = 1024) -> None:
        self.params = params
        self.batch = batch
        self.n = n
        self.sums: list[Tensor] = []

    def add(self) -> None:
        """Call this after each microbatch's `backward`, with its loss divided by their number."""
        samples = [
            strided(p.grad, self.n) if p.grad is not None else p.new_zeros(0) for p in self.params
        ]
        self.sums.append(torch.cat([sample.double() for sample in samples]))

    def noise(self) -> Noise:
        """The estimate from the microbatches so far; call `clear` before the next step."""
        sums = torch.stack(self.sums)
        parts = sums.diff(dim=0, prepend=torch.zeros_like(sums[:1]))
        return noise_of_parts(parts * len(parts), self.batch)

    def clear(self) -> None:
        """Start a new step."""
        self.sums = []
