"""Tuned: the setting that `tune` found, and its comparison with the default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from betaplane.maps.decision import Gain


@dataclass(frozen=True)
class Trial:
    """A setting that was tried."""

    lr: float
    beta1: float
    beta2: float
    # median over seeds of the final losses, the upper of two; inf if the run diverged
    loss: float
    finals: tuple[float, ...]  # one per seed, in the order they were trained


@dataclass(frozen=True, repr=False)
class Tuned:
    """The result of `tune`."""

    problem: str
    lr: float
    beta1: float
    beta2: float
    loss: float  # median over the fresh seeds, the upper of two
    default: Mapping[str, float]  # the default betas at the given learning rate
    best_default: Mapping[str, float]  # the default betas at their best learning rate
    gain: Gain  # of the result over the default
    gain_at_best_lr: Gain  # of the best setting found over `best_default`
    trials: tuple[Trial, ...] = field(repr=False)  # in the order they were tried
    trainings: int  # number of runs
    initial: float  # loss before training
    ends: tuple[str, ...] = ()  # hyperparameters at an end of what may be tried
    fixed: Mapping[str, float] = field(default_factory=dict)  # batch_size, eps, ...
    # why the problem cannot be stacked, as a clause after "because"; "" if it can
    why_plain: str = ""
    ignored: str = ""  # the settings that had no effect on the losses, as a sentence; "" if none

    def __repr__(self) -> str:
        setting = f"lr={self.lr:g}, betas=({self.beta1:g}, {self.beta2:g})"
        return f"Tuned({self.problem!r}, {self.answer}: {setting}; {self.trainings} runs)"

    @property
    def keeps_lr(self) -> bool:
        """Whether the given learning rate stays."""
        return self.lr == self.default["lr"]

    @property
    def keeps_betas(self) -> bool:
        """Whether the default betas stay."""
        return (self.beta1, self.beta2) == (self.default["beta1"], self.default["beta2"])

    @property
    def answer(self) -> str:
        """What to do: "keep the default", "change lr", "change betas" or "change lr and betas"."""
        changed = [
            name for name, kept in (("lr", self.keeps_lr), ("betas", self.keeps_betas)) if not kept
        ]
        return f"change {' and '.join(changed)}" if changed else "keep the default"

    @property
    def reason(self) -> str:
        """Why, in a few sentences."""
        default = f"the default (betas=({self.default['beta1']:g}, {self.default['beta2']:g}), "
        default += f"lr={self.default['lr']:g})"
        cost = f"{self.trainings} runs, {len(self.trials)} settings."
        if self.keeps_lr and self.keeps_betas:
            first = "no setting is likely to be better than the default."
        else:
            first = f"compared with {default}: {self.gain}.{self._doubt()}"
        return " ".join([first, *self._about_betas(), *self._about_ends(), cost])

    def _doubt(self) -> str:
        """A sentence if the gain over the default is likely, but not beyond noise."""
        if self.gain.is_measurable:
            return ""
        return " The interval contains 0: it is likely to be better, not certain."

    def _about_betas(self) -> list[str]:
        best = f"the default at its best lr={self.best_default['lr']:g}"
        if self.keeps_betas:
            return [f"The best setting found, compared with {best}: {self.gain_at_best_lr}."]
        notes = [f"Compared with {best}: {self.gain_at_best_lr}."]
        if not self.gain_at_best_lr.is_measurable:
            notes.append("Within noise the default betas are as good at that learning rate.")
        return notes

    def _about_ends(self) -> list[str]:
        notes = []
        for name in self.ends:
            start = f": repeat with lr={self.lr:g} to try further" if name == "lr" else ""
            notes.append(f"{name} is at the end of what was tried{start}.")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; a loss that is not finite is None."""
        trials = [
            {
                **asdict(trial),
                "loss": _finite_or_none(trial.loss),
                "finals": [_finite_or_none(final) for final in trial.finals],
            }
            for trial in self.trials
        ]
        return {
            **asdict(self),
            "loss": _finite_or_none(self.loss),
            "gain": _gain_dict(self.gain),
            "gain_at_best_lr": _gain_dict(self.gain_at_best_lr),
            "answer": self.answer,
            "reason": self.reason,
            "trials": trials,
        }


def _gain_dict(found: Gain) -> dict[str, Any]:
    numbers = {name: _finite_or_none(value) for name, value in asdict(found).items()}
    return {**numbers, "of_loss": found.of_loss}


def _finite_or_none(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
