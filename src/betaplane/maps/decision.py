"""Compare two settings seed by seed: how much lower the loss of one is, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# 97.5% quantiles of Student's t by degrees of freedom; beyond the last, that of 30
T_QUANTILES = (
    (1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (6, 2.447), (7, 2.365),
    (8, 2.306), (9, 2.262), (10, 2.228), (12, 2.179), (15, 2.131), (20, 2.086), (30, 2.042),
)  # fmt: skip
MATERIAL = 0.01  # a gain below this share is not worth a change
DECIDING_ERRORS = 2.0  # standard errors of a gain that is beyond doubt
LIKELY_ERRORS = 1.0  # standard errors of a gain that is likely: five in six, if losses are normal


@dataclass(frozen=True)
class Gain:
    """How much lower the mean loss of a setting is than another's, over paired seeds.

    If all losses are positive, gains are shares of the other's loss (0.2: 20% lower), from the
    mean difference of the logarithms. Otherwise they are shares of the other's decrease from the
    initial loss; of the setting's own decrease if the other's loss does not fall.
    """

    low: float  # ends of the 95% interval
    middle: float
    high: float
    of_loss: bool  # a share of the other's loss; else of its decrease
    seeds: int
    deciding_seeds: float  # about how many seeds would separate them; inf if they are equal

    @property
    def is_measurable(self) -> bool:
        """Whether the setting is better beyond noise, and by more than `MATERIAL`."""
        return self.low > 0 and self.middle >= MATERIAL

    @property
    def is_likely(self) -> bool:
        """Whether the setting is better by more than `MATERIAL` and by a standard error or more.

        `deciding_seeds` would make it two standard errors, and errors fall with their root.
        """
        fewest = self.deciding_seeds * (LIKELY_ERRORS / DECIDING_ERRORS) ** 2
        return self.middle >= MATERIAL and fewest <= self.seeds

    def could_be_decided_by(self, seeds: int) -> bool:
        """Whether this many more seeds would probably show it to be measurable."""
        return self.middle >= MATERIAL and self.deciding_seeds <= self.seeds + seeds

    def __str__(self) -> str:
        unit = "loss" if self.of_loss else "of the decrease of the loss"
        sign = "lower" if self.middle >= 0 else "higher"
        share = _percent(abs(self.middle))
        ends = f"{_percent(self.low)} to {_percent(self.high)}"
        head = f"{unit} {share} {sign}" if self.of_loss else f"{share} {unit} {sign}"
        if self.seeds == 1 and self.low == self.high:
            return f"{head} (with every seed: runs do not depend on it)"
        return f"{head} (95% interval {ends}, {self.seeds} paired seeds)"


@dataclass(frozen=True)
class Decision:
    """The setting to use, and how it compares with the default."""

    setting: Mapping[str, float]  # all that was decided: lr and the axes' hyperparameters
    default: Mapping[str, float]  # the default at the given learning rate
    best_default: Mapping[str, float]  # the default at its best learning rate
    gain: Gain  # of the setting over the default at the given learning rate
    gain_at_best_lr: Gain  # of the best other setting over the default at its best learning rate
    lrs: tuple[float, float]  # the smallest and the largest learning rate that was tried
    lr_margin: tuple[float, float]  # learning rates around it that lose at most 10% of the decrease
    notes: tuple[str, ...]

    @property
    def keeps_betas(self) -> bool:
        """Whether the default values of the axes stay."""
        return all(
            self.setting[name] == value for name, value in self.default.items() if name != "lr"
        )

    @property
    def keeps_lr(self) -> bool:
        """Whether the given learning rate stays."""
        return self.setting["lr"] == self.default["lr"]


def gain(
    finals: np.ndarray, other: np.ndarray, initial: np.ndarray, one_seed: bool = False
) -> Gain:
    """The gain of a setting over another, from their losses with the same seeds.

    A run that diverged, or ends above its initial loss, counts as its initial loss: a large loss
    and a larger one are equally useless.

    Args:
        finals: final losses of the setting, (seeds,); inf or nan if a run diverged.
        other: final losses of the other setting, (seeds,), with the same seeds.
        initial: losses before training, (seeds,).
        one_seed: runs do not depend on the seed, so that the losses of all seeds are those of one.

    Example:
        >>> found = gain(np.array([0.5, 1.0]), np.array([1.0, 2.0]), np.array([4.0, 4.0]))
        >>> found.middle, found.low, found.is_measurable
        (0.5, 0.5, True)
    """
    both = np.stack([finals, other])
    of_loss = is_positive(both, initial)
    setting, base = heights(both, initial, of_loss)
    differences = base - setting
    if not of_loss:
        differences = differences / _decrease(setting, base, initial)
    middle, half = float(np.mean(differences)), half_width(differences)
    share = _share if of_loss else float
    return Gain(
        low=share(middle - half),
        middle=share(middle),
        high=share(middle + half),
        of_loss=of_loss,
        seeds=1 if one_seed else len(differences),
        deciding_seeds=1 if one_seed else _deciding_seeds(differences),
    )


def better_than_default(
    default_over_given: Gain, best_over_given: Gain, best_over_default: Gain
) -> int:
    """What to use: 0 the default as given, 1 the default at its best learning rate, 2 the best other
    setting.

    Whatever replaces another setting is measurably better than it.

    Args:
        default_over_given: of the default at its best learning rate over the given one.
        best_over_given: of the best other setting over the default at the given learning rate.
        best_over_default: of the best other setting over the default at its best learning rate.
    """
    if best_over_given.is_measurable and best_over_default.is_measurable:
        return 2
    return 1 if default_over_given.is_measurable else 0


def largest_likely(over_given: Sequence[Gain]) -> int:
    """The index of the largest likely gain; 0, the given default, if none is likely.

    Args:
        over_given: gains over the default at the given learning rate, the first of itself.
    """
    likely = [k for k, found in enumerate(over_given) if found.is_likely]
    return max(likely, key=lambda k: over_given[k].middle, default=0)


def is_positive(finals: np.ndarray, initial: np.ndarray) -> bool:
    """Whether all losses are positive, so that their logarithms can be compared."""
    capped = _capped(finals, initial)
    return bool((capped > 0).all() and (initial > 0).all())


def heights(finals: np.ndarray, initial: np.ndarray, of_loss: bool) -> np.ndarray:
    """The losses on the scale on which settings are compared: logarithms, or the losses themselves.

    Args:
        finals: final losses, (..., seeds).
        initial: losses before training, (seeds,); no loss counts as more.
        of_loss: whether to take logarithms.
    """
    capped = _capped(finals, initial)
    return np.log(capped) if of_loss else capped


def half_width(differences: np.ndarray) -> float:
    """Half of the 95% interval of the mean, by Student's t; inf for a single number."""
    n = len(differences)
    if n < 2:
        return math.inf
    quantile = next((t for df, t in T_QUANTILES if df >= n - 1), T_QUANTILES[-1][1])
    return quantile * float(np.std(differences, ddof=1)) / math.sqrt(n)


def _decrease(setting: np.ndarray, base: np.ndarray, initial: np.ndarray) -> float:
    """The decrease of which gains are shares: the other's, or the setting's if there is none."""
    of_both = (float(np.mean(initial - losses)) for losses in (base, setting))
    return next((decrease for decrease in of_both if decrease > 0), 1.0)


def _capped(finals: np.ndarray, initial: np.ndarray) -> np.ndarray:
    finite = np.where(np.isfinite(finals), finals, np.inf)
    return np.minimum(finite, initial)


def _deciding_seeds(differences: np.ndarray) -> float:
    """The number of seeds at which the mean would be `DECIDING_ERRORS` standard errors."""
    mean = abs(float(np.mean(differences)))
    if mean == 0 or len(differences) < 2:
        return math.inf
    return max(2, math.ceil((DECIDING_ERRORS * float(np.std(differences, ddof=1)) / mean) ** 2))


def _share(difference: float) -> float:
    """A difference of logarithms as a share of the loss; -inf for an unbounded one."""
    return 1 - math.exp(min(-difference, 700.0))


def _percent(share: float) -> str:
    if abs(share) < 0.0995:
        return f"{100 * share:.2g}%"
    return f"{100 * share:.0f}%" if abs(share) < 10 else f"{100 * share:.0e}%"
