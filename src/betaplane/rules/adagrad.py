"""Adagrad (Duchi, Hazan & Singer 2011, JMLR 12, Figure 1, diagonal form)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import add_l2, zero_step
from betaplane.rules._rule import Laws, Rule, at_least_zero


class AdagradState(NamedTuple):
    """A step count and the sum of squares."""

    t: Tensor  # (), steps taken
    v: Tensor  # like x, gradient units squared: a sum, not an average


@dataclass(frozen=True)
class Adagrad(Rule):
    r"""Adagrad with a decaying learning rate and L2 weight decay; eps outside or inside the root.

    ```
    g    = g + weight_decay x
    v    = v + g^2                  (v_0 = initial_accumulator)
    lr_t = lr / (1 + (t - 1) lr_decay)
    x    = x - lr_t g / (sqrt(v) + eps)          (eps_inside: lr_t g / sqrt(v + eps))
    ```

    optax and Keras put eps inside the root and start v at 0.1: `Adagrad(eps_inside=True, eps=1e-7,
    initial_accumulator=0.1)`.

    Args:
        lr_decay: decay of the learning rate per step: lr / (1 + (t - 1) lr_decay).
        initial_accumulator: value of v before the first step, in squared gradient units; larger
            makes the first steps smaller.
        eps: added to the root of v, in gradient units; with eps_inside=True to v, in squared
            gradient units.
        weight_decay: coefficient of the L2 penalty, added to the gradient as weight_decay x.
        eps_inside: whether eps is inside the root (optax, Keras) or outside (torch).

    Source: J. Duchi, E. Hazan, Y. Singer, 2011, JMLR 12:2121-2159, Figure 1 (diagonal); the form is
        that of torch.optim.Adagrad; eps_inside=True: optax.adagrad (scale_by_rss) and
        keras.optimizers.Adagrad.

    Example:
        Two steps on one element. v = 0.01, so x falls by lr = 0.01. Then g = -0.2: v = 0.05, and x
        rises by 0.01 * 0.2 / sqrt(0.05) = 0.0089443.

        >>> adagrad = Adagrad()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = adagrad.init(x)
        >>> x, s = adagrad.step(x, torch.tensor([0.1]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9900000'
        >>> x, s = adagrad.step(x, torch.tensor([-0.2]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9989443'
    """

    lr_decay: float = 0.0  # per step, >= 0
    initial_accumulator: float = 0.0  # gradient units squared, >= 0
    eps: float = 1e-10  # gradient units (eps_inside: gradient units squared), >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    eps_inside: bool = False

    holds = {"v": "sum of g^2"}
    laws = Laws(scale_free=True, first_step=1.0, bound=1.0)
    ranges = {
        "lr_decay": at_least_zero(0.0),
        "initial_accumulator": at_least_zero(0.0),
        "eps": at_least_zero(1e-10),
        "weight_decay": at_least_zero(0.0),
    }
    choices = {"eps_inside": (False, True)}
    lr = 1e-2
    source = "Duchi, Hazan & Singer 2011, JMLR 12"

    def init(self, x: Tensor) -> AdagradState:
        """The state before the first step."""
        return AdagradState(t=zero_step(x), v=torch.zeros_like(x) + self.initial_accumulator)

    def step(
        self, x: Tensor, g: Tensor, s: AdagradState, lr: float | Tensor
    ) -> tuple[Tensor, AdagradState]:
        """One update, as in the equations above."""
        g = add_l2(g, x, self.weight_decay)
        v = s.v + g * g
        lr_t = lr / (1 + s.t * self.lr_decay)
        denominator = (v + self.eps).sqrt() if self.eps_inside else v.sqrt() + self.eps
        x = x - lr_t * g / denominator
        return x, AdagradState(s.t + 1, v)
