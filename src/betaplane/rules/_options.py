"""Options the Adam-type rules share: how decay enters, bounds on the update, where eps sits, what
is debiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from betaplane.rules._math import Number, infinite, l2, ratio, rms, seen, squared, toward, zero
from betaplane.rules._rule import INF, Range, Rule, at_least_zero


@dataclass(frozen=True, kw_only=True)
class StepOptions(Rule):
    """How decay enters and what bounds the update; keyword-only, the same for every rule that has
    them.

    ```
    decay="l2":           g = g + weight_decay x                     (Adam)
    decay="decoupled":    x = x (1 - lr weight_decay)                (torch's AdamW)
    decay="independent":  x = x (1 - lr / peak_lr weight_decay)      (the AdamW paper: the schedule, not the peak)

    clip = d:             u = u / max(1, RMS(u) / d)                 (Shazeer & Stern 2018, arXiv:1804.04235, section 6)

    cautious="mean":      u = u [u g > 0] / max(mean [u g > 0], 0.001)       (its authors' code)
    cautious="paper":     u = u [u g > 0] n / (sum [u g > 0] + 1)            (Liang et al. 2024, arXiv:2411.16085)
    ```

    RMS, mean and sum are over the whole tensor, n its number of elements. peak_lr is what lr is before its schedule:
    None for lr itself, which is then constant. Optimizers set it to the lr that a group is made with.

    Args:
        decay: how weight decay enters: "l2" adds weight_decay x to the gradient, "decoupled"
            shrinks x by lr weight_decay, "independent" by (lr / peak_lr) weight_decay.
        peak_lr: learning rate before its schedule, read if decay="independent"; None for lr itself,
            and optimizers set it to the lr that a group is created with.
        clip: largest RMS of an update before it is multiplied by lr; larger updates are scaled
            down, and inf is no limit.
        cautious: which elements move: "mean" and "paper" skip those whose update and gradient have
            opposite signs, and differ in how the rest is rescaled; "off" moves all.
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

    weight_decay = 0.0  # a field of every rule

    @property
    def reads_peak(self) -> bool:
        """Whether the step depends on peak_lr."""
        return self.decay == "independent" and not zero(self.weight_decay)

    def decayed(
        self, x: Tensor, g: Tensor, lr: Number, rate: Number | None = None
    ) -> tuple[Tensor, Tensor]:
        """The parameter x and the gradient g after weight decay, which follows `rate`, or else lr."""
        if zero(self.weight_decay):
            return x, g
        if self.decay == "l2":
            return x, l2(g, x, self.weight_decay)
        return x * self.remainder(lr, rate), g

    def remainder(self, lr: Number, rate: Number | None = None) -> Number:
        """The share of x that decay leaves."""
        return 1 - self.shrinkage(lr, rate)

    def shrinkage(self, lr: Number, rate: Number | None = None) -> Number:
        """The share of x that decay takes off."""
        if self.decay == "decoupled":
            return (lr if rate is None else rate) * self.weight_decay
        return self.over_peak(lr, rate) * self.weight_decay

    def over_peak(self, lr: Number, rate: Number | None = None) -> Number:
        """`rate`, or else lr, as a multiple of the peak of lr."""
        rate = lr if rate is None else rate
        return ratio(rate, lr) if self.peak_lr is None else rate / self.peak_lr

    def bounded(self, u: Tensor, g: Tensor) -> Tensor:
        """The update u, clipped and masked."""
        return self.masked(self.clipped(u), g)

    def clipped(self, u: Tensor) -> Tensor:
        """The update u, its RMS at most clip."""
        return u if infinite(self.clip) else u / torch.clamp(rms(u) / self.clip, min=1.0)

    def masked(self, u: Tensor, g: Tensor) -> Tensor:
        """The update u where it has the sign of g, the rest made up for."""
        if self.cautious == "off":
            return u
        agree = (u * g > 0).to(u.dtype)
        share = agree.mean()
        return (
            u
            * agree
            / (share.clamp(min=1e-3) if self.cautious == "mean" else share + 1 / u.numel())
        )


@dataclass(frozen=True, kw_only=True)
class MomentOptions(StepOptions):
    """Where eps sits and which average is debiased; keyword-only, the same for every rule with
    Adam's two moments.

    ```
    debias="both":      m_hat = m / (1 - beta1^t),  v_hat = v / (1 - beta2^t)
    debias="second":    m_hat = m,                  v_hat = v / (1 - beta2^t)
    debias="none":      m_hat = m,                  v_hat = v
    debias="schedule":  as "none", but m and v are averaged with beta (1 - beta^(t-1)) / (1 - beta^t) in place of beta:
                        they are then what "both" has as m_hat and v_hat (Shazeer & Stern 2018,
                        section 7.1)

    eps_at="after":     root = sqrt(v_hat + eps_root) + eps                        (torch, optax)
    eps_at="hat":       root = (sqrt(v + eps_root) + eps) / sqrt(1 - beta2^t)      (Keras, torch's RAdam)
    eps_at="root":      root = sqrt(v_hat + eps_root + eps)
    ```

    Args:
        eps_at: where eps is added to the denominator: "after" the root of v_hat, as in torch;
            "hat", to the root of v before debiasing, as in Keras; inside the "root".
        eps_root: added to v_hat (or v) inside the root, in squared gradient units.
        debias: which moments are debiased: "both"; only the "second"; "none"; or "schedule", which
            averages with betas that need no correction.
    """

    eps_at: Literal["after", "hat", "root"] = "after"
    eps_root: float = 0.0  # gradient units squared, >= 0
    debias: Literal["both", "second", "none", "schedule"] = "both"

    ranges = {"eps_root": at_least_zero(0.0)}
    choices = {"eps_at": ("after", "hat", "root"), "debias": ("both", "second", "none", "schedule")}

    eps, beta1, beta2 = 0.0, 0.0, 0.0  # fields of every rule

    def contents(self) -> dict[str, str]:
        """What each field of the state contains; under debias="schedule" the averages are debiased
        already.
        """
        return {name: self._averaged(text) for name, text in super().contents().items()}

    def _averaged(self, text: str) -> str:
        return text.replace("EMA of", "debiased EMA of") if self.debias == "schedule" else text

    def average(self, old: Tensor, new: Tensor, beta: Number, t: Tensor) -> Tensor:
        """The moving average of `new` after step t."""
        return toward(old, new, self.share(beta, t))

    def squares(self, old: Tensor, a: Tensor, beta: Number, t: Tensor) -> Tensor:
        """The moving average of a^2 after step t."""
        share = self.share(beta, t)
        return squared(old, a, beta if self.debias != "schedule" else 1 - share, share)

    def share(self, beta: Number, t: Tensor) -> Number:
        """The weight of the newest value in a moving average at step t."""
        return 1 - beta if self.debias != "schedule" else (1 - beta) / seen(beta, t)

    def first(self, m: Tensor, t: Tensor) -> Tensor:
        """m_hat."""
        return m / seen(self.beta1, t) if self.debias == "both" else m

    def root(self, v: Tensor, t: Tensor) -> Tensor:
        """The denominator: v_hat's root with eps."""
        corrects = self.debias in ("both", "second")
        if self.eps_at == "hat":
            root = _sqrt(v, self.eps_root) + self.eps
            return root / seen(self.beta2, t).sqrt() if corrects else root
        if self.eps_at == "after" and zero(self.eps_root):
            return (self.corrected_root(v, t) if corrects else v.sqrt()) + self.eps
        v_hat = v / seen(self.beta2, t) if corrects else v
        if self.eps_at == "root":
            return (v_hat + (self.eps_root + self.eps)).sqrt()
        return (v_hat + self.eps_root).sqrt() + self.eps

    def corrected_root(self, v: Tensor, t: Tensor) -> Tensor:
        """sqrt(v_hat). Dividing after the root, as torch's Adam does, does not overflow where v is
        large.
        """
        return v.sqrt() / seen(self.beta2, t).sqrt()


def _sqrt(v: Tensor, eps_root: Number) -> Tensor:
    return v.sqrt() if zero(eps_root) else (v + eps_root).sqrt()
