"""Options shared by Adam-type rules: weight decay, limits of the update, eps, bias correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from betaplane.cached import cached_property
from betaplane.rules._math import (
    Number,
    bias_correction,
    is_infinite,
    is_zero,
    lerp,
    ratio,
    rms,
    weighted_square,
)
from betaplane.rules._rule import INF, Range, Rule, at_least_zero


@dataclass(frozen=True, kw_only=True)
class StepOptions(Rule):
    """Options for weight decay and for limits of the update, keyword-only and equal in all rules.

    ```
    decay="l2":           g = g + weight_decay x                     (Adam)
    decay="decoupled":    x = x (1 - lr weight_decay)                (torch's AdamW)
    decay="independent":  x = x (1 - lr / peak_lr weight_decay)      (the AdamW paper)

    clip = d:             u = u / max(1, RMS(u) / d)

    cautious="mean":      u = u [u g > 0] / max(mean [u g > 0], 0.001)       (its authors' code)
    cautious="paper":     u = u [u g > 0] n / (sum [u g > 0] + 1)            (the paper)
    ```

    RMS, mean and sum are over the whole tensor, and n is its number of elements.

    Args:
        decay: how weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay.
        peak_lr: learning rate before its schedule, read if decay="independent"; None for lr itself,
            and optimizers set it to the lr that a group is created with.
        clip: largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit.
        cautious: which elements move: "mean" and "paper" skip those whose update and gradient have
            opposite signs, and differ in how the rest is rescaled; "off" moves all.

    Source: decay: I. Loshchilov, F. Hutter, 2019, arXiv:1711.05101; clip: N. Shazeer, M. Stern,
        2018, arXiv:1804.04235, section 6; cautious: K. Liang et al., 2024, arXiv:2411.16085.
    """

    decay: Literal["l2", "decoupled", "independent"] = "decoupled"
    peak_lr: float | None = None  # > 0, or None for lr itself; read if decay is "independent"
    clip: float = INF  # > 0, largest RMS of an update, over lr; inf for none
    cautious: Literal["off", "mean", "paper"] = "off"

    ranges = {
        "peak_lr": Range(0.0, INF, "(0, inf)", 1e-3),
        "clip": Range(0.0, INF, "(0, inf]", 1.0),
    }
    choices = {"decay": ("l2", "decoupled", "independent"), "cautious": ("off", "mean", "paper")}

    weight_decay = 0.0  # a field of every subclass

    @property
    def reads_peak(self) -> bool:
        """Whether the step depends on peak_lr."""
        return self.decay == "independent" and self.decays

    @cached_property
    def decays(self) -> bool:
        """Whether there is weight decay."""
        return not is_zero(self.weight_decay)

    @cached_property
    def limits_update(self) -> bool:
        """Whether `clip` or `cautious` changes the update."""
        return not is_infinite(self.clip) or self.cautious != "off"

    def apply_decay(
        self, x: Tensor, g: Tensor, lr: Number, rate: Number | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return x and g after weight decay, which is proportional to `rate` (by default, lr)."""
        if not self.decays:
            return x, g
        if self.decay == "l2":
            return x, g + self.weight_decay * x
        return x * (1 - self.decay_share(lr, rate)), g

    def decay_factor(self, lr: Number) -> Number:
        """The factor by which weight decay multiplies x."""
        return 1 - self.decay_share(lr)

    def decay_share(self, lr: Number, rate: Number | None = None) -> Number:
        """The share of x that weight decay removes."""
        if self.decay == "decoupled":
            return (lr if rate is None else rate) * self.weight_decay
        return self.relative_to_peak(lr, rate) * self.weight_decay

    def relative_to_peak(self, lr: Number, rate: Number | None = None) -> Number:
        """The quotient of `rate` (by default, lr) and the peak of lr."""
        rate = lr if rate is None else rate
        return ratio(rate, lr) if self.peak_lr is None else rate / self.peak_lr

    def clip_and_mask(self, u: Tensor, g: Tensor) -> Tensor:
        """The update u after `clip` and `cautious`."""
        return self.mask_update(self.clip_update(u), g) if self.limits_update else u

    def clip_update(self, u: Tensor) -> Tensor:
        """The update u, scaled so that its RMS is at most `clip`."""
        return u if is_infinite(self.clip) else u / torch.clamp(rms(u) / self.clip, min=1.0)

    def mask_update(self, u: Tensor, g: Tensor, sign: Tensor | None = None) -> Tensor:
        """The elements of u that have the sign of g, scaled up for those that are set to zero.

        Args:
            u: the update.
            g: like u, the gradient.
            sign: like u, a tensor of its sign if one is known before u.
        """
        if self.cautious == "off":
            return u
        mask = ((u if sign is None else sign) * g > 0).to(u.dtype)
        share = mask.mean()
        if self.cautious == "mean":
            return u * mask / share.clamp(min=1e-3)
        return u * mask / (share + 1 / u.numel())


@dataclass(frozen=True, kw_only=True)
class MomentOptions(StepOptions):
    """Options for eps and bias correction, keyword-only and equal in all rules with Adam's moments.

    ```
    debias="both":      m_hat = m / (1 - beta1^t),  v_hat = v / (1 - beta2^t)
    debias="second":    m_hat = m,                  v_hat = v / (1 - beta2^t)
    debias="none":      m_hat = m,                  v_hat = v
    debias="schedule":  m_hat = m,                  v_hat = v
                        with beta (1 - beta^(t-1)) / (1 - beta^t) in place of beta in m and v,
                        which are then the m_hat and v_hat of "both"

    eps_at="after":     denominator = sqrt(v_hat + eps_root) + eps               (torch, optax)
    eps_at="hat":       denominator = (sqrt(v + eps_root) + eps) / sqrt(1 - beta2^t)
                                                                    (Keras, torch's RAdam)
    eps_at="root":      denominator = sqrt(v_hat + eps_root + eps)
    ```

    Args:
        eps_at: where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root".
        eps_root: added to v_hat (or v) inside the root, in squared gradient units.
        debias: which moments are debiased: "both"; only the "second"; "none"; or "schedule", which
            averages with betas that need no correction.

    Source: debias="schedule": N. Shazeer, M. Stern, 2018, arXiv:1804.04235, section 7.1.
    """

    eps_at: Literal["after", "hat", "root"] = "after"
    eps_root: float = 0.0  # gradient units squared, >= 0
    debias: Literal["both", "second", "none", "schedule"] = "both"

    ranges = {"eps_root": at_least_zero(0.0)}
    choices = {"eps_at": ("after", "hat", "root"), "debias": ("both", "second", "none", "schedule")}

    eps, beta1, beta2 = 0.0, 0.0, 0.0  # fields of every subclass

    # whether v is debiased before its root is taken; after it, as in torch's Adam, nothing overflows
    debiases_inside_root: ClassVar[bool] = False

    @cached_property
    def has_eps_root(self) -> bool:
        """Whether eps_root is added inside the root."""
        return not is_zero(self.eps_root)

    def contents(self) -> dict[str, str]:
        """What each field of the state contains; with debias="schedule" moments are debiased."""
        return {name: self._moment_text(text) for name, text in super().contents().items()}

    def _moment_text(self, text: str) -> str:
        return text.replace("EMA of", "debiased EMA of") if self.debias == "schedule" else text

    def moment(self, m: Tensor, g: Tensor, beta: Number, t: Tensor) -> Tensor:
        """The moving average m after step t, whose newest value is g."""
        return lerp(m, g, self.new_weight(beta, t))

    def second_moment(self, v: Tensor, g: Tensor, beta: Number, t: Tensor) -> Tensor:
        """The moving average v after step t, whose newest value is g^2."""
        weight = self.new_weight(beta, t)
        return weighted_square(v, g, beta if self.debias != "schedule" else 1 - weight, weight)

    def new_weight(self, beta: Number, t: Tensor) -> Number:
        """The weight of the newest value in a moving average at step t."""
        return 1 - beta if self.debias != "schedule" else (1 - beta) / bias_correction(beta, t)

    def m_hat(self, m: Tensor, t: Tensor) -> Tensor:
        """The first moment, debiased if `debias` is "both"."""
        return m / bias_correction(self.beta1, t) if self.debias == "both" else m

    def denominator(self, v: Tensor, t: Tensor) -> Tensor:
        """The root of v_hat with eps where `eps_at` has it."""
        debiases = self.debias in ("both", "second")
        if self.eps_at == "hat":
            root = (v + self.eps_root if self.has_eps_root else v).sqrt() + self.eps
            return root / bias_correction(self.beta2, t).sqrt() if debiases else root
        if self.eps_at == "after" and not self.has_eps_root and not self.debiases_inside_root:
            root = v.sqrt() / bias_correction(self.beta2, t).sqrt() if debiases else v.sqrt()
            return root + self.eps
        v_hat = v / bias_correction(self.beta2, t) if debiases else v
        if self.eps_at == "root":
            return (v_hat + (self.eps_root + self.eps)).sqrt()
        return (v_hat + self.eps_root if self.has_eps_root else v_hat).sqrt() + self.eps
