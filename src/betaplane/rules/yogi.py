"""Yogi (Zaheer et al. 2018, NeurIPS, Algorithm 2), with Adam's bias corrections, as in packages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from betaplane.rules._math import zero_step
from betaplane.rules._options import MomentOptions
from betaplane.rules._rule import UNIT, Laws, at_least_zero


class YogiState(NamedTuple):
    """A step count and two moments."""

    t: Tensor  # (), steps taken
    m: Tensor  # like x, gradient units
    v: Tensor  # like x, gradient units squared


@dataclass(frozen=True)
class Yogi(MomentOptions):
    r"""Yogi: v moves towards g^2 by (1 - beta2) g^2, whatever the distance; L2 weight decay.

    ```
    m     = 0, v = initial_accumulator         (before the first step; starts="both": also m)

    g     = g + weight_decay x
    m     = beta1 m + (1 - beta1) g
    v     = v - (1 - beta2) sign(v - g^2) g^2            (activation="tanh": tanh(10 (v - g^2)))
    m_hat = m / (1 - beta1^t)
    v_hat = v / (1 - beta2^t)
    x     = x - lr m_hat / (sqrt(v_hat) + eps)
    ```

    A small gradient hardly lowers v, and zero gradients leave v unchanged: the effective lr cannot
    jump up as in Adam.

    Variants: the paper has no bias corrections (debias="none"). TensorFlow Addons has the form
    above with eps_at="hat", and the tanh as an option. optax and pytorch-optimizer start m at
    initial_accumulator, too: x then moves at zero gradient, and the step is not odd in x. v is
    debiased as if it had started at zero: at t = 1, v_hat is g^2 + initial_accumulator / (1 -
    beta2). So the step depends on the scale of the gradient even at eps = 0.

    As long as g^2 > v, v is the sum (1 - beta2) sum g^2. Hence |x' - x| <= lr B with the supremum B
    = (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2)), approached as g grows like beta1^-t. Steps with
    g^2 < v do not exceed it: they add at most (1 - beta1) sqrt(v) to m.

    Args:
        beta1: decay rate of m, the moving average of gradients; larger remembers longer, 1 / (1 -
            beta1) steps.
        beta2: 1 - beta2 is the share of g^2 by which v moves towards g^2 per step.
        eps: added to the root of v_hat, in gradient units; it bounds the update of elements with
            tiny gradients.
        weight_decay: coefficient of weight decay; `decay` selects how it enters the step.
        initial_accumulator: value of v before the first step, in squared gradient units; larger
            makes the first steps smaller.
        starts: which moments start at initial_accumulator: "v", as in TensorFlow, or "both", as in
            optax.
        activation: how v moves towards g^2: by the "sign" of their difference, or by a "tanh" of
            it.
        decay: how weight decay enters: "l2" adds it to the gradient, "decoupled" shrinks x by lr
            weight_decay, "independent" by (lr / peak_lr) weight_decay.

    Source: M. Zaheer, S. Reddi, D. Sachan, S. Kale, S. Kumar, 2018, Adaptive Methods for Nonconvex
        Optimization, NeurIPS, Algorithm 2.

    Example:
        Two steps on one element. g = 0.1: m_hat = g, v = 1e-6 + 1e-5, v_hat = 0.011, and x falls by
        0.01 * 0.1 / (0.1048809 + 0.001). Then g = 0.01: v < g^2 still, v = 1.11e-5, v_hat = 1.11e-5
        / 0.001999, m_hat = 0.01 / 0.19, and x falls by 0.01 * 0.0526316 / (0.0745170 + 0.001).

        >>> yogi = Yogi()
        >>> x = torch.tensor([1.0], dtype=torch.float64)
        >>> x, s = yogi.step(x, torch.tensor([0.1]), yogi.init(x), lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9905554'
        >>> x, s = yogi.step(x, torch.tensor([0.01]), s, lr=0.01)
        >>> f"{x.item():.7f}"
        '0.9835859'
    """

    beta1: float = 0.9  # in [0, 1)
    beta2: float = 0.999  # in [0, 1)
    eps: float = 1e-3  # gradient units, >= 0
    weight_decay: float = 0.0  # gradient units per unit of x, >= 0
    initial_accumulator: float = 1e-6  # gradient units squared, >= 0
    starts: Literal["v", "both"] = "v"  # what starts at initial_accumulator
    activation: Literal["sign", "tanh"] = "sign"
    decay: Literal["l2", "decoupled", "independent"] = field(default="l2", kw_only=True)

    holds = {"m": "EMA of g", "v": "g^2 approached by steps of (1 - beta2) g^2"}
    laws = Laws(bound=7.2548)
    ranges = {
        "beta1": UNIT[0.9],
        "beta2": UNIT[0.999],
        "eps": at_least_zero(1e-3),
        "weight_decay": at_least_zero(0.0),
        "initial_accumulator": at_least_zero(1e-6),
    }
    choices = {"starts": ("v", "both"), "activation": ("sign", "tanh")}
    lr = 1e-2
    source = "Zaheer et al. 2018, NeurIPS"

    def init(self, x: Tensor) -> YogiState:
        """The state before the first step."""
        v = torch.zeros_like(x) + self.initial_accumulator
        m = v.clone() if self.starts == "both" else torch.zeros_like(x)
        return YogiState(t=zero_step(x), m=m, v=v)

    def step(
        self, x: Tensor, g: Tensor, s: YogiState, lr: float | Tensor
    ) -> tuple[Tensor, YogiState]:
        """One update, as in the equations above."""
        t = s.t + 1
        x, g = self.apply_decay(x, g, lr)
        m = self.moment(s.m, g, self.beta1, t)
        difference = s.v - g * g
        sign = difference.sign() if self.activation == "sign" else (10 * difference).tanh()
        v = s.v - self.new_weight(self.beta2, t) * sign * g * g
        u = self.m_hat(m, t) / self.denominator(v, t)
        x = x - lr * self.clip_and_mask(u, g)
        return x, YogiState(t, m, v)
