"""The gradient noise scale: the batch size at which noise and signal weigh the same."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.monitor.capture.sampling import strided


class Noise(NamedTuple):
    """Estimates without bias of what gradients are made of; of one batch they scatter, so average
    each over steps.
    """

    # |G|^2, the true gradient's square, gradient units squared; an estimate may be negative
    signal: float
    # tr(Sigma), the variance of one sample's gradient summed over coordinates, the same unit
    noise: float

    @property
    def scale(self) -> float:
        """tr(Sigma) / |G|^2, samples; inf where no signal was found."""
        return self.noise / self.signal if self.signal > 0 else math.inf


def noise_of_parts(gradients: Tensor, batch: int) -> Noise:
    r"""The noise scale from the gradients of microbatches, or of data-parallel ranks, of one step.

    ```
    tr(Sigma) = batch / (K - 1) sum |g_i - g|^2,    |G|^2 = |g|^2 - tr(Sigma) / (K batch)        g the mean of K
    ```

    Args:
        gradients: each part's mean gradient, (K, n), K >= 2, gradient units; all coordinates, or a sample of them.
        batch: samples in each part, >= 1.

    Returns:
        Signal and noise, summed over the coordinates given.

    Raises:
        BadInput: fewer than two parts, or a batch below 1.

    Source: S. McCandlish et al., 2018, arXiv:1812.06162, appendix A.1, with B_small = batch and
        B_big = K batch.

    Example:
        >>> g = torch.tensor([[3.0, 1.0], [5.0, -1.0]])
        >>> found = noise_of_parts(g, batch=8)
        >>> found.noise, found.signal, round(found.scale, 4)
        (32.0, 14.0, 2.2857)
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        allowed, line = "(K, n) with K >= 2", "gradients=torch.stack([g1, g2])"
        where = "noise_of_parts"
        raise BadInput(
            "Too few gradients",
            value=tuple(gradients.shape),
            allowed=allowed,
            where=where,
            instead=line,
        )
    g = gradients.detach().double()
    small, large = float(g.square().sum(1).mean()), float(g.mean(0).square().sum())
    return noise_of_norms(small, large, batch, len(g) * batch)


def noise_of_norms(small: float, large: float, small_batch: int, large_batch: int) -> Noise:
    r"""The noise scale from squared gradient norms at two batch sizes.

    ```
    |G|^2 = (B |g_B|^2 - b |g_b|^2) / (B - b),    tr(Sigma) = (|g_b|^2 - |g_B|^2) / (1/b - 1/B)
    ```

    Args:
        small: |g_b|^2, the mean over microbatches or ranks, >= 0, gradient units squared.
        large: |g_B|^2, of the gradient that the step takes, >= 0.
        small_batch: b, samples in a part, >= 1.
        large_batch: B, samples in all, > b.

    Returns:
        Signal and noise.

    Raises:
        BadInput: the batches are not 1 <= b < B.

    Source: S. McCandlish et al., 2018, arXiv:1812.06162, appendix A.1.

    Example:
        >>> noise_of_norms(small=18.0, large=16.0, small_batch=8, large_batch=16)
        Noise(signal=14.0, noise=32.0)
    """
    if not 1 <= small_batch < large_batch:
        raise BadInput(
            "The batches do not fit", value=(small_batch, large_batch), allowed="1 <= small_batch < large_batch",
            where="noise_of_norms", instead="small_batch=8, large_batch=64",
        )  # fmt: skip
    signal = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    return Noise(signal, (small - large) / (1 / small_batch - 1 / large_batch))


class Parts:
    """Gathers the gradients of a step's microbatches while `backward` adds them up, of some
    coordinates of each tensor.

    Args:
        params: whose gradients.
        batch: samples in a microbatch, >= 1.
        n: coordinates of each tensor, >= 1.

    Example:
        >>> p = torch.nn.Parameter(torch.zeros(2))
        >>> parts = Parts([p], batch=1)
        >>> for target in ([1.0, 2.0], [3.0, 2.0]):
        ...     (p @ torch.tensor(target) / 2).backward()  # each of two microbatches counts half
        ...     parts.take()
        >>> parts.noise(), parts.noise().scale
        (Noise(signal=7.0, noise=2.0), 0.2857142857142857)
    """

    def __init__(self, params: list[Tensor], batch: int, n: int = 1024) -> None:
        self.params, self.batch, self.n = params, batch, n
        self.sums: list[Tensor] = []

    def take(self) -> None:
        """Call after the `backward` of each microbatch, whose loss is divided by their number."""
        parts = [
            strided(p.grad, self.n) if p.grad is not None else p.new_zeros(0) for p in self.params
        ]
        self.sums.append(torch.cat([part.double() for part in parts]))

    def noise(self) -> Noise:
        """What the microbatches taken so far tell; then `clear` for the next step."""
        sums = torch.stack(self.sums)
        parts = sums.diff(dim=0, prepend=torch.zeros_like(sums[:1]))
        return noise_of_parts(parts * len(parts), self.batch)

    def clear(self) -> None:
        """Begin a new step."""
        self.sums = []
