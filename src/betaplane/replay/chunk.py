"""A few coordinates over all recorded steps: their mean update in every cell, its mean square, and
what sqrt(v) did.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betaplane.replay.moments import Averages

TINY = 1e-30  # of v in units of the layer's mean square: below it, float32 would overflow


class Piece:
    """Means over the counted steps, of u = m / (sqrt(v) + eps), for some coordinates.

    Args:
        x: (c, T), gradients in units of `eps`'s.
        moments: of beta1 and of beta2.
        eps: (c,), >= 0.
        loud: coordinates whose largest update is looked for.
        skip: steps at the beginning that are not counted.
    """

    def __init__(
        self,
        x: Tensor,
        moments: tuple[Averages, Averages],
        eps: Tensor,
        loud: Sequence[int],
        skip: int,
    ) -> None:
        self.eps, self.loud = eps[:, None, None], loud
        c, n1, n2 = len(x), moments[0].n, moments[1].n
        self.mean, self.power = x.new_zeros(2, c, n1, n2).unbind()  # (c, n1, n2) each
        self.largest = x.new_zeros(len(loud), n1, n2)
        self.below, self.first, self.second = torch.zeros(3, c, n2, dtype=torch.float64).unbind()
        t = 0
        for m, v in zip(moments[0](x), moments[1](x.square()), strict=True):
            uncounted = max(0, skip - t)
            t += m.shape[1]
            if uncounted < m.shape[1]:
                self._combine(m[:, uncounted:], v[:, uncounted:])
        for each in (self.mean, self.power, self.below, self.first, self.second):
            each /= t - skip

    @property
    def spread(self) -> Tensor:
        """Standard deviation over mean, of sqrt(v) over steps, (c, n2); 0 where there is no
        gradient.
        """
        variance = (self.second - self.first.square()).clamp_(min=0)
        return (variance.sqrt_() / self.first).nan_to_num_()

    def _combine(self, m: Tensor, v: Tensor) -> None:
        """Add a block of steps, (c, steps, n1) and (c, steps, n2); both are written into."""
        self.second += v.sum(dim=1)
        root = v.sqrt_()
        self.first += root.sum(dim=1)
        if bool(root.amin() < self.eps.amax()):
            self.below += (root < self.eps).to(root.dtype).sum(dim=1)
        for place, i in enumerate(self.loud):
            self._keep_largest(
                self.largest[place], m[i].abs(), inverse(root[i].clone(), torch.zeros(()))
            )
        over = inverse(root, self.eps)
        self.mean.baddbmm_(m.transpose(1, 2), over)
        self.power.baddbmm_(m.square_().transpose(1, 2), over.square_())

    def _keep_largest(self, largest: Tensor, m: Tensor, over: Tensor) -> None:
        for i, here in enumerate(m.unbind(1)):
            torch.maximum(largest[i], (here[:, None] * over).amax(dim=0), out=largest[i])


def inverse(root: Tensor, eps: Tensor) -> Tensor:
    """1 / (root + eps), in root's place; 0 where root is too small to divide by and eps is 0.

    Example:
        >>> inverse(torch.tensor([2.0, 0.0]), torch.tensor(0.0))
        tensor([0.5000, 0.0000])
    """
    low = TINY**0.5
    blank = (
        (root < low) & (eps == 0) if not bool((eps > 0).all()) and bool(root.amin() < low) else None
    )
    found = root.add_(eps).clamp_(min=low).reciprocal_()
    return found if blank is None else found.masked_fill_(blank, 0.0)
