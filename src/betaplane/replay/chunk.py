"""Statistics of the update of a few coordinates in every cell: mean, mean square, largest, and
sqrt(v).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from betaplane.replay.moments import MovingAverages

# smallest v that is divided by, in units of the layer's mean square; 1 / v would overflow float32
MIN_V = 1e-30


class ChunkStatistics:
    """Means over the counted steps, of u = m / (sqrt(v) + eps), for some coordinates.

    Args:
        x: (c, T), gradients in the units of `eps`.
        moments: of beta1 and of beta2.
        eps: (c,), >= 0.
        watched: indices of coordinates whose largest update is recorded.
        skip: first steps that are not counted.
    """

    def __init__(
        self,
        x: Tensor,
        moments: tuple[MovingAverages, MovingAverages],
        eps: Tensor,
        watched: Sequence[int],
        skip: int,
    ) -> None:
        self.eps = eps[:, None, None]
        self.watched = watched
        c, n1, n2 = len(x), moments[0].n, moments[1].n
        self.mean, self.power = x.new_zeros(2, c, n1, n2).unbind()  # (c, n1, n2) each
        self.largest = x.new_zeros(len(watched), n1, n2)
        # (c, n2) each: share of steps with sqrt(v) < eps; mean and mean square of sqrt(v)
        self.below, self.first, self.second = torch.zeros(3, c, n2, dtype=torch.float64).unbind()
        t = 0
        for m, v in zip(moments[0](x), moments[1](x.square()), strict=True):
            skipped = max(0, skip - t)
            t += m.shape[1]
            if skipped < m.shape[1]:
                self._add(m[:, skipped:], v[:, skipped:])
        for total in (self.mean, self.power, self.below, self.first, self.second):
            total /= t - skip

    @property
    def spread(self) -> Tensor:
        """Standard deviation over mean, of sqrt(v) over steps, (c, n2); 0 if there is no gradient."""
        variance = (self.second - self.first.square()).clamp_(min=0)
        return (variance.sqrt_() / self.first).nan_to_num_()

    def _add(self, m: Tensor, v: Tensor) -> None:
        """Add a block of steps, (c, steps, n1) and (c, steps, n2); both are overwritten."""
        self.second += v.sum(dim=1)
        root = v.sqrt_()
        self.first += root.sum(dim=1)
        if bool(root.amin() < self.eps.amax()):
            self.below += (root < self.eps).to(root.dtype).sum(dim=1)
        no_eps = torch.zeros(())
        for place, i in enumerate(self.watched):
            self._update_largest(self.largest[place], m[i].abs(), inverse(root[i].clone(), no_eps))
        over = inverse(root, self.eps)
        self.mean.baddbmm_(m.transpose(1, 2), over)
        self.power.baddbmm_(m.square_().transpose(1, 2), over.square_())

    def _update_largest(self, largest: Tensor, m: Tensor, over: Tensor) -> None:
        for i, column in enumerate(m.unbind(1)):
            torch.maximum(largest[i], (column[:, None] * over).amax(dim=0), out=largest[i])


def inverse(root: Tensor, eps: Tensor) -> Tensor:
    """1 / (root + eps), in place; 0 if root is too small to divide by and eps is 0.

    Example:
        >>> inverse(torch.tensor([2.0, 0.0]), torch.tensor(0.0))
        tensor([0.5000, 0.0000])
    """
    low = MIN_V**0.5
    undefined = None
    if not bool((eps > 0).all()) and bool(root.amin() < low):
        undefined = (root < low) & (eps == 0)
    reciprocal = root.add_(eps).clamp_(min=low).reciprocal_()
    return reciprocal if undefined is None else reciprocal.masked_fill_(undefined, 0.0)
