"""RMSprop (Tieleman & Hinton 2012, Coursera lecture 6e), centered: Graves 2013, arXiv:1308.0850."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import add_l2, ema, ema_of_square, is_zero
from betaplane.rules._rule import Laws, Rule, at_least_zero


class RMSpropState(NamedTuple):
    """Two moments and the momentum buffer."""

    v: Tensor  # like x, gradient units squared
    g_bar: Tensor  # like x, gradient units; () and unused unless centered
    # like x, no unit: the momentum buffer, a sum and not an average; () and unused at momentum 0
    b: Tensor


@dataclass(frozen=True)
class RMSprop(Rule):
    r"""RMSprop with the options of torch (momentum, centering, L2 decay), TensorFlow and optax.

    ```
    g     = g + weight_decay x
    v     = alpha v + (1 - alpha) g^2        (v_0 = initial_accumulator)
    g_bar = alpha g_bar + (1 - alpha) g
    var   = v            (centered: max(v - g_bar^2, 0), since rounding can make it negative)
    u     = g / (sqrt(var) + eps)            (eps_inside: g / sqrt(var + eps))
    b     = momentum b + u
    x     = x - lr b
    ```

    There is no bias correction: the first step is 1 / sqrt(1 - alpha) times lr, 10 lr at the
    defaults. TensorFlow's RMSProp, which trained Inception and EfficientNet, starts v at 1 instead,
    so that the first steps are small: `RMSprop(initial_accumulator=1.0, eps_inside=True)`. Its
    momentum sums lr u, which differs only while lr changes.

    Args:
        alpha: decay rate of v, the moving average of squared gradients; v is an average if alpha is
            below 1.
        eps: added to the root of the variance, in gradient units; with eps_inside=True to the
            variance, in squared gradient units.
        momentum: decay rate of the buffer b of updates; 0 keeps no buffer, and below 1 the buffer
            stays bounded.
        weight_decay: coefficient of the L2 penalty, added to the gradient as weight_decay x.
        centered: whether the mean gradient is subtracted, so that the variance and not the second
            moment is under the root.
        eps_inside: whether eps is inside the root (TensorFlow) or outside (torch).
        initial_accumulator: value of v before the first step, in squared gradient units; 1 in
            TensorFlow.

    Source: T. Tieleman, G. Hinton, 2012, Coursera, Neural Networks for Machine Learning, lecture
        6e; centering: A. Graves, 2013, arXiv:1308.0850, equations 38-41; the form is that of
        torch.optim.RMSprop; initial_accumulator=1.0: tf.compat.v1.train.RMSPropOptimizer, whose
        slot "rms" is made of ones, and timm's RMSpropTF.

    Example:
        Two steps on one element. v = 0.01 * 0.1^2, so x falls by 10 lr = 0.1. Then g = -0.2: v =
        0.99e-4 + 4e-4, and x rises by 0.01 * 0.2 / sqrt(4.99e-4) = 0.0895323.

        >>> rmsprop = RMSprop()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> s = rmsprop.init(x)
        >>> x, s = rmsprop.step(x, torch.tensor([0.1]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9000001'
        >>> x, s = rmsprop.step(x, torch.tensor([-0.2]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9895324'
    """

    alpha: float = 0.99  # >= 0; v is an average if below 1
    eps: float = 1e-8  # gradient units (eps_inside: gradient units squared), >= 0
    momentum: float = 0.0  # >= 0; the buffer is bounded if below 1
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    centered: bool = False
    eps_inside: bool = False
    initial_accumulator: float = 0.0  # gradient units squared, >= 0: v before the first step

    holds = {"v": "EMA of g^2", "g_bar": "EMA of g", "b": "decaying sum of g / root of v"}
    optional = ("g_bar", "b")
    laws = Laws(scale_free=True, first_step=10.0, bound=10.0)
    ranges = {
        "alpha": at_least_zero(0.99),
        "eps": at_least_zero(1e-8),
        "momentum": at_least_zero(0.9),
        "weight_decay": at_least_zero(0.0),
        "initial_accumulator": at_least_zero(0.0),
    }
    choices = {"centered": (False, True), "eps_inside": (False, True)}
    lr = 1e-2
    source = "Tieleman & Hinton 2012, lecture 6e"

    def init(self, x: Tensor) -> RMSpropState:
        """The state before the first step."""
        g_bar = torch.zeros_like(x) if self.centered else x.new_zeros(())
        b = x.new_zeros(()) if is_zero(self.momentum) else torch.zeros_like(x)
        return RMSpropState(v=torch.zeros_like(x) + self.initial_accumulator, g_bar=g_bar, b=b)

    def step(
        self, x: Tensor, g: Tensor, s: RMSpropState, lr: float | Tensor
    ) -> tuple[Tensor, RMSpropState]:
        """One update, as in the equations above."""
        g = add_l2(g, x, self.weight_decay)
        v = ema_of_square(s.v, g, self.alpha)
        g_bar = ema(s.g_bar, g, self.alpha) if self.centered else s.g_bar
        var = (v - g_bar * g_bar).clamp(min=0) if self.centered else v
        denominator = (var + self.eps).sqrt() if self.eps_inside else var.sqrt() + self.eps
        u = g / denominator
        b = u if is_zero(self.momentum) else self.momentum * s.b + u
        x = x - lr * b
        return x, RMSpropState(v, g_bar, s.b if is_zero(self.momentum) else b)
