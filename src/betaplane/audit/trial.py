"""Paths of an optimizer class in settings that distinguish variants, and candidates' errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from betaplane.audit.black_box import SHAPE, BlackBox, Path, error_text
from betaplane.rules import Rule

if TYPE_CHECKING:
    from betaplane.audit.identify import Candidate

# of lr per step; enough steps for RAdam to become adaptive
FACTORS = (1.0, 0.9, 0.6, 0.6, 0.5, 0.5, 0.3, 0.25, 0.2, 0.1, 0.1, 0.05)


class Setting(NamedTuple):
    """Options and gradients that distinguish some variants."""

    name: str
    want: dict[str, float]
    scale: float = 1.0  # of the gradients
    # scale of x before the first step; if small, most digits are those of the steps
    starts: float = 0.0
    falls: bool = True  # whether lr decreases


TRIAL_OPTIONS = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "beta3": 0.97, "weight_decay": 0.0}
PLAIN = Setting("moments", {**TRIAL_OPTIONS, "eps": 1e-30})
LARGE_EPS = Setting("large eps", {**TRIAL_OPTIONS, "eps": 0.05})
SMALL = Setting("small gradients", {**TRIAL_OPTIONS, "eps": 1e-8}, scale=1e-7)
DECAY = Setting("weight decay", {**TRIAL_OPTIONS, "eps": 1e-8, "weight_decay": 0.25}, starts=1.0)
TINY = Setting("tiny gradients", {}, scale=1e-20, falls=False)
DEFAULT = Setting("as constructed", {}, starts=0.1, falls=False)


class Refused(Exception):
    """The class raised an exception in a setting."""


class Trial(NamedTuple):
    """A setting and the path of the class in it."""

    setting: Setting
    gradients: Tensor
    path: Path
    way: float  # the largest distance of an element from its start

    @classmethod
    def of(cls, subject: BlackBox, setting: Setting) -> Trial:
        """Run the class in the setting."""
        gradients, x = setting.scale * sample(), setting.starts * sample(seed=1)[0]
        if setting is DEFAULT:
            gradients[:3, ::2] = 0  # rows without gradients at first
            gradients[8] *= 100
        try:
            path = subject.path(x, gradients, setting.want, FACTORS if setting.falls else ())
        except Exception as error:
            raise Refused(f"raises under {setting.name}: {error_text(error)}") from error
        return cls(setting, gradients, path, float((path.points - path.points[0]).abs().max()))

    def error(self, candidate: Candidate, limit: float) -> float:
        """The largest relative difference from the candidate's path; stops above the limit."""
        rule = candidate.rule(self.path.numbers, self.path.rates[0])
        if rule is None:
            return float("inf")
        step, start = step_function(rule, candidate.decay, self.path.rates[0]), self.path.points[0]
        x, s, worst = start, rule.init(start), 0.0
        for g, point, lr in zip(self.gradients, self.path.points[1:], self.path.rates, strict=True):
            x, s = step(x, g, s, lr)
            apart, way = torch.stack([x - point, x - start]).abs().amax(dim=(1, 2)).tolist()
            off = apart / (max(way, self.way) or 1.0)
            worst = max(worst, off) if off == off else float("inf")
            if worst > limit:
                break
        return worst


def sample(steps: int = len(FACTORS), seed: int = 0) -> Tensor:
    """Gradients that are not near zero: a fifth change their sign, the others keep it and grow.

    Changing signs distinguish moments; growing gradients make updates larger than 1, so that
    clipping has an effect.
    """
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(steps, *SHAPE, dtype=torch.float64, generator=generator)
    sizes = torch.exp(torch.randn(steps, 1, 1, dtype=torch.float64, generator=generator))
    g = normal.sign() * (0.1 + normal.abs()) * sizes
    grown = 1.2 ** torch.arange(steps, dtype=torch.float64)
    g[:, :, 4:] = (
        normal[0, :, 4:].sign() * (1 + 0.3 * normal[:, :, 4:].abs()) * grown[:, None, None]
    )
    return g


def step_function(rule: Rule, decay: str, peak_lr: float) -> Any:
    """The rule's step, with its own weight decay or with another one around it.

    Args:
        rule: the update rule.
        decay: "" for the rule's own; else when and at what rate: "before" or "after", then
            "decoupled", "independent", "fixed" (without lr), "growing" (minus lr) or "squared"
            (lr twice).
        peak_lr: lr before its schedule.
    """
    if not decay:
        return rule.step
    when, how = decay.split()
    rates = {
        "decoupled": lambda lr: lr,
        "independent": lambda lr: lr / (peak_lr or 1.0),
        "fixed": lambda lr: 1.0,
        "growing": lambda lr: -lr,
        "squared": lambda lr: lr * lr,
    }
    rate, share, bare = rates[how], rule.weight_decay, replace(rule, weight_decay=0.0)  # pyright: ignore

    def step(x: Tensor, g: Tensor, s: Any, lr: float) -> tuple[Tensor, Any]:
        factor = 1 - share * rate(lr)
        x, s = bare.step(x * factor if when == "before" else x, g, s, lr)
        return (x * factor if when == "after" else x), s

    return step
