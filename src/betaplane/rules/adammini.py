"""Adam-mini (Zhang et al. 2024, arXiv:2406.16793, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import INF, UNIT, Laws, Range, at_least_zero


class AdamMiniState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # (blocks,), gradient units squared


@dataclass(frozen=True)
class AdamMini(MomentOptions):
    r"""Adam-mini: AdamW with one second moment per block, the mean over the block.

    ```
    x     = x (1 - lr weight_decay)
    m     = beta1 m + (1 - beta1) g
    v_b   = beta2 v_b + (1 - beta2) mean of g^2 over block b
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)       with the v_hat of x's block
    ```

    blocks="rows": x[i], one block per output neuron of a linear or convolutional layer; of a
    vector, its elements. rows = n: n neighboring rows are one block, such as the rows of a head in
    the query and key matrices. blocks="tensor": x is one block. blocks="element": AdamW, for
    embeddings and the output layer. The paper takes rows for most layers. Groups must specify which
    tensor is which, since a rule has access to shapes only.

    The laws below are those of a vector with blocks="rows". In a block of n elements, the RMS of
    the update is at most AdamW's bound, and one element's update is at most sqrt(n) times that. It
    is sqrt(n) lr at a first step with one nonzero gradient.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: decay rate of v, the moving average of the mean squared gradient of each block.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        blocks: elements that share one second moment: the "rows" of a matrix, the whole "tensor",
            or none ("element", which is AdamW).
        rows: number of neighboring rows per block, a whole number; read if blocks="rows".

    Source: Y. Zhang et al., 2024, arXiv:2406.16793, Algorithm 1.

    Example:
        Two steps on one row. g = (0.3, 0.4): mean g^2 = 0.125, so x falls by 0.3 and 0.4 over
        0.3535534, times lr. Then g = 0: m_hat = (0.027, 0.036) / 0.19, v_hat = 0.000124875 /
        0.001999, and x falls by 0.5685640 and 0.7580854 lr.

        >>> mini = AdamMini()
        >>> x = torch.ones(1, 2, dtype=torch.float64)
        >>> s = mini.init(x)
        >>> x, s = mini.step(x, torch.tensor([[0.3, 0.4]]), s, lr=0.001)
        >>> [f"{value:.7f}" for value in x[0].tolist()]
        ['0.9991515', '0.9988686']
        >>> x, s = mini.step(x, torch.zeros(1, 2), s, lr=0.001)
        >>> [f"{value:.7f}" for value in x[0].tolist()]
        ['0.9985829', '0.9981105']
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-8  # gradient units, >= 0
    weight_decay: float = 0.0  # per unit of lr, >= 0
    blocks: Literal["rows", "tensor", "element"] = "rows"
    # per block, a whole number >= 1; read if blocks="rows"
    rows: float = field(default=1, kw_only=True)

    holds = {"m": "EMA of g", "v": "EMA of the mean g^2 of a block"}
    laws = Laws(scale_free=True, first_step=1.0, bound=7.2703)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-8),
        "weight_decay": at_least_zero(0.0),
        "rows": Range(1.0, INF, "[1, inf)", 1),
    }
    choices = {"blocks": ("rows", "tensor", "element")}
    source = "Zhang et al. 2024, arXiv:2406.16793"

    def init(self, x: Tensor) -> AdamMiniState:
        """The state before the first step."""
        return AdamMiniState(t=zero_step(x), m=torch.zeros_like(x), v=x.new_zeros(self._count(x)))

    def step(
        self, x: Tensor, g: Tensor, s: AdamMiniState, lr: float | Tensor
    ) -> tuple[Tensor, AdamMiniState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        share = self.new_weight(self.beta2, t)
        # not as a lerp: inf must stay inf
        keep = self.beta2 if self.debias != "schedule" else 1 - share
        v = keep * s.v + share * (g * g).reshape(len(s.v), -1).mean(dim=1)
        u = self.m_hat(m, t).reshape(len(v), -1) / self.denominator(v, t)[:, None]
        x = x - lr * self.clip_and_mask(u.reshape(x.shape), g)
        return x, AdamMiniState(t, m, v)

    def _count(self, x: Tensor) -> int:
        """The number of blocks of x."""
        if self.blocks != "rows":
            return 1 if self.blocks == "tensor" else x.numel()
        height = x.shape[0] if x.dim() else 1
        if height % self.rows or self.rows % 1:
            raise BadInput(
                "The rows of a block do not divide those of the parameter",
                value=self.rows,
                allowed=f"a divisor of {height}",
                where=f"AdamMini, a parameter of shape {tuple(x.shape)}",
                instead="rows=1",
            )
        return int(height // self.rows)
