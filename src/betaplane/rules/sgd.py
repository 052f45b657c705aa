"""SGD with momentum (Polyak 1964), Nesterov's look-ahead (Sutskever et al. 2013), as in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.rules._math import add_l2, is_zero, zero_step
from betaplane.rules._rule import INF, Laws, Range, Rule, at_least_zero


class SGDState(NamedTuple):
    """A step count and the momentum buffer."""

    t: Tensor  # (), steps taken
    # like x, gradient units: the momentum buffer, a sum and not an average; () and unused at
    # momentum 0
    b: Tensor


@dataclass(frozen=True)
class SGD(Rule):
    r"""SGD with momentum as in torch: the buffer is a sum, and dampening skips the first gradient.

    ```
    g = g + weight_decay x
    d = dampening, but 0 at t = 1 and if momentum = 0
    b = momentum b + (1 - d) g
    x = x - lr b                    (nesterov: x - lr (g + momentum b))
    ```

    For a constant gradient, b converges to g / (1 - momentum). In the averaged form b = momentum b
    + (1 - momentum) g, the same speed requires an lr larger by 1 / (1 - momentum).

    Args:
        momentum: decay rate of the buffer b; 0 keeps no buffer, and below 1 the buffer stays
            bounded.
        dampening: share of each gradient after the first that does not enter the buffer; any
            number, as in torch, and usually in [0, 1].
        weight_decay: coefficient of the L2 penalty, added to the gradient as weight_decay x.
        nesterov: whether the step looks ahead along the buffer: g + momentum b in place of b.

    Source: B. Polyak, 1964, USSR Comput. Math. Math. Phys. 4(5); I. Sutskever, J. Martens, G. Dahl,
        G. Hinton, 2013, ICML; the form is that of torch.optim.SGD.

    Example:
        Two steps on one element. b = 0.1, so x falls by lr 0.1 = 0.01. Then b = 0.9 * 0.1 - 0.2 =
        -0.11, and x rises by 0.011.

        >>> sgd = SGD(momentum=0.9)
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = sgd.init(x)
        >>> x, s = sgd.step(x, torch.tensor([0.1]), s, lr=0.1)
        >>> f"{x.item():.7f}"
        '0.9900000'
        >>> x, s = sgd.step(x, torch.tensor([-0.2]), s, lr=0.1)
        >>> f"{x.item():.7f}"
        '1.0010000'
    """

    momentum: float = 0.0  # >= 0; the buffer is bounded if below 1
    dampening: float = 0.0  # any number, as in torch; usually in [0, 1]
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    nesterov: bool = False

    holds = {"b": "decaying sum of g"}
    optional = ("b",)
    laws = Laws()
    ranges = {
        "momentum": at_least_zero(0.9),
        "dampening": Range(-INF, INF, "(-inf, inf)", 0.0),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"nesterov": (False, True)}
    source = "Polyak 1964; Sutskever et al. 2013"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not isinstance(self.dampening, Tensor) and self.dampening != 0:
            raise BadInput(
                "nesterov needs zero dampening",
                value=self.dampening,
                allowed="0",
                where="SGD, dampening",
                instead="dampening=0.0",
            )

    def init(self, x: Tensor) -> SGDState:
        """The state before the first step."""
        b = x.new_zeros(()) if is_zero(self.momentum) else torch.zeros_like(x)
        return SGDState(t=zero_step(x), b=b)

    def step(
        self, x: Tensor, g: Tensor, s: SGDState, lr: float | Tensor
    ) -> tuple[Tensor, SGDState]:
        """One update, as in the equations above."""
        g = add_l2(g, x, self.weight_decay)
        if is_zero(self.momentum):
            return x - lr * g, SGDState(s.t + 1, s.b)
        d = s.t.clamp(max=1) * (self.momentum != 0) * self.dampening
        b = self.momentum * s.b + (1 - d) * g
        x = x - lr * (g + self.momentum * b if self.nesterov else b)
        return x, SGDState(s.t + 1, b)
