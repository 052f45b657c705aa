"""The learning rate first: try learning rates at the default and at the map's best cells, compare
the best with the default on fresh seeds, and keep the default unless something is measurably better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from betaplane.maps.decision import (
    Decision,
    Gain,
    better_than_default,
    gain,
    heights,
    is_positive,
)
from betaplane.maps.trials import Trials

FACTOR = 3.0  # between neighboring learning rates
MOST_FACTORS = 5  # away from the first learning rate
SEEDS = range(3)  # that choose
FRESH_SEEDS = range(1000, 1008)  # that compare the choice with the default
MORE_SEEDS = range(1008, 1024)  # trained too if they are enough to decide
# The learning rate a user will run is off by up to FACTOR, triangularly distributed: the expected
# loss, linear between neighbors, has these weights.
AT_LR, AT_NEIGHBOR = 2 / 3, 1 / 6
UNFINISHED = 0.02  # share of the decrease that happens in the last tenth


@dataclass
class Line:
    """The losses of one setting over learning rates."""

    setting: Mapping[str, float]  # without lr
    lr: float  # at exponent 0
    finals: dict[int, np.ndarray] = field(default_factory=dict)  # by exponent of FACTOR: (seeds,)

    def at(self, exponent: int) -> dict[str, float]:
        """The setting with its learning rate."""
        return {**self.setting, "lr": float(f"{self.lr * FACTOR**exponent:.6g}")}

    def expected(self, initial: np.ndarray, of_loss: bool) -> dict[int, float]:
        """The expected height of the loss under a shift of the learning rate, by exponent.

        At an end of the line, the missing neighbor counts as the end itself.
        """
        mean = {k: float(heights(f, initial, of_loss).mean()) for k, f in self.finals.items()}
        return {
            k: AT_LR * mean[k] + AT_NEIGHBOR * (mean.get(k - 1, mean[k]) + mean.get(k + 1, mean[k]))
            for k in mean
        }


class LearningRateSearch:
    """Decide on the learning rate and the values of a map's axes.

    Args:
        trials: trains the settings.
        default: default values of the axes' hyperparameters, without lr.
        lr: the given learning rate.
    """

    def __init__(self, trials: Trials, default: Mapping[str, float], lr: float) -> None:
        self.trials = trials
        self.line = Line(default, lr)
        self.initial = np.zeros(len(SEEDS))

    def run(self, candidates: Sequence[Mapping[str, float]]) -> Decision:
        """Search, and compare on fresh seeds.

        Args:
            candidates: settings that may beat the default, such as a map's best cells. One with an
                lr of its own is tried around it, the others around the default's best.
        """
        self._extend([self.line], 0)
        of_loss = self._of_loss([self.line])
        expected = self.line.expected(self.initial, of_loss)
        best = min(expected, key=lambda k: (expected[k], abs(k)))
        default_lr = self.line.at(best)["lr"]
        lines = [
            Line({n: v for n, v in c.items() if n != "lr"}, c.get("lr", default_lr))
            for c in candidates
        ]
        self._extend(lines, 0)
        rival = self._best([*lines] or [self.line])
        return self._compare(best, rival)

    def _extend(self, lines: Sequence[Line], center: int) -> None:
        """Try three learning rates of each line, then more where the best is at an end."""
        self._train([(line, k) for line in lines for k in (center - 1, center, center + 1)])
        while missing := [(line, k) for line in lines if (k := self._beyond(line)) is not None]:
            self._train(missing)

    def _beyond(self, line: Line) -> int | None:
        """The next exponent beyond an end that has the lowest loss; None if none or too far."""
        of_loss = self._of_loss([line])
        mean = {k: heights(f, self.initial, of_loss).mean() for k, f in line.finals.items()}
        best = min(mean, key=lambda k: (mean[k], abs(k)))
        if best == max(mean) and best < MOST_FACTORS:
            return best + 1
        return best - 1 if best == min(mean) and best > -MOST_FACTORS else None

    def _train(self, pairs: Sequence[tuple[Line, int]]) -> None:
        finals = self.trials.finals([line.at(k) for line, k in pairs], SEEDS)
        self.initial = self.trials.initials(SEEDS)
        for (line, k), losses in zip(pairs, finals, strict=True):
            line.finals[k] = losses

    def _of_loss(self, lines: Sequence[Line]) -> bool:
        finals = np.array([losses for line in lines for losses in line.finals.values()])
        return is_positive(finals, self.initial)

    def _best(self, lines: Sequence[Line]) -> dict[str, float]:
        """The setting with the lowest expected loss."""
        of_loss = self._of_loss(lines)
        expected = [
            (height, line.at(k))
            for line in lines
            for k, height in line.expected(self.initial, of_loss).items()
        ]
        return min(expected, key=lambda pair: pair[0])[1]

    def _compare(self, best: int, rival: dict[str, float]) -> Decision:
        given, best_default = self.line.at(0), self.line.at(best)
        tried = [given, best_default, rival]
        seeds = [*FRESH_SEEDS]
        over_best = self._gain(rival, best_default, seeds)
        if not over_best.is_measurable and over_best.could_be_decided_by(len(MORE_SEEDS)):
            seeds += MORE_SEEDS
            over_best = self._gain(rival, best_default, seeds)
        finals, initial = self.trials.finals(tried, seeds), self.trials.initials(seeds)
        one_seed = self.trials.one_seed
        over_given = [gain(losses, finals[0], initial, one_seed) for losses in finals]
        chosen = better_than_default(over_given[1], over_given[2], over_best)
        setting = tried[chosen]
        return Decision(
            setting=setting,
            default=given,
            best_default=best_default,
            gain=over_given[chosen],
            gain_at_best_lr=over_best,
            lrs=(
                self.line.at(min(self.line.finals))["lr"],
                self.line.at(max(self.line.finals))["lr"],
            ),
            lr_margin=self._lr_margin(best if chosen else 0),
            notes=tuple(self._notes(best, setting, over_best)),
        )

    def _gain(self, setting: Mapping[str, float], other: Mapping[str, float], seeds: list) -> Gain:
        finals = self.trials.finals([setting, other], seeds)
        initial = self.trials.initials(seeds)
        return gain(finals[0], finals[1], initial, self.trials.one_seed)

    def _lr_margin(self, exponent: int) -> tuple[float, float]:
        """The range of learning rates of the default that lose at most 10% of the decrease."""
        means = {
            k: float(np.mean(heights(losses, self.initial, False)))
            for k, losses in self.line.finals.items()
        }
        limit = min(means.values()) + 0.1 * (float(self.initial.mean()) - min(means.values()))
        low = high = exponent
        while means.get(low - 1, math.inf) <= limit:
            low -= 1
        while means.get(high + 1, math.inf) <= limit:
            high += 1
        return self.line.at(low)["lr"], self.line.at(high)["lr"]

    def _notes(self, best: int, setting: Mapping[str, float], over_best: Gain) -> list[str]:
        notes = []
        if best in (-MOST_FACTORS, MOST_FACTORS):
            end = "largest" if best > 0 else "smallest"
            notes.append(
                f"The best learning rate is the {end} that was tried: start from "
                f"--lr {setting['lr']:g} to try further."
            )
        if unfinished := self._unfinished(setting):
            notes.append(unfinished)
        if not over_best.is_measurable and over_best.middle >= 0.01 and over_best.low <= 0:
            notes.append(
                f"The best other betas differ from the default by less than the noise of "
                f"{over_best.seeds} seeds; about {over_best.deciding_seeds:.0f} seeds would decide."
            )
        return notes

    def _unfinished(self, setting: Mapping[str, float]) -> str:
        """A sentence if the loss still falls at the end in every fresh run."""
        shares = [_last_share(self.trials.curve(setting, seed)) for seed in FRESH_SEEDS]
        if min(shares) < UNFINISHED:
            return ""
        return (
            f"Training is not finished: {np.median(shares):.0%} of the decrease of the loss happened "
            "in the last tenth of the steps. More steps, or a larger learning rate, matter more than "
            "betas."
        )


def _last_share(curve: np.ndarray) -> float:
    """The share of the decrease of the loss that happens in the last tenth of a curve."""
    tenth = len(curve) // 10
    if tenth < 1 or not np.isfinite(curve).all():
        return 0.0
    last, before = curve[-tenth:].mean(), curve[-2 * tenth : -tenth].mean()
    fallen = curve[0] - last
    return float((before - last) / fallen) if fallen > 0 else 0.0
