"""Causes in the gradients themselves: not finite, or of another batch than all before."""

from __future__ import annotations

import math
from statistics import median

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.detectors.second_moment import LARGE, LAST
from betaplane.monitor.history import History, jump
from betaplane.monitor.quantities.reading import Reading

FEWEST = 3  # readings before, whose norms say what is usual
# deviations of the logarithms of gradient norm and loss: of each at least, and of both
EACH, BOTH = 3.0, 9.0
# times the largest of late, of each: where only gradients grow, the batch may be as all others
ALONE = 2.0
OVER = 1.05  # RMS of an update that steady gradients do not pass, and room for rounding


def _non_finite(history: History, threshold: float) -> Finding | None:
    bad = [reading.layer for reading in history.now() if not reading.finite]
    if len(bad) <= threshold:
        return None
    evidence = f"NaN or infinity in the gradient or the moments of {len(bad)} tensors"
    change = 'skip such steps (nonfinite="skip"), or halve the loss scale'
    return Finding(bad[0], evidence, change, {"nonfinite": "skip"})


def _changed(history: History, threshold: float) -> Finding | None:
    norm, loss = jump(history.norms, history.step, FEWEST), jump(history.losses, history.step)
    apart, times = [norm.deviations, loss.deviations], [norm.times, loss.times]
    if (
        math.sqrt(math.prod(times)) <= threshold
        or min(times) < ALONE
        or min(apart) < EACH
        or sum(apart) < BOTH
    ):
        return None
    if not _calm(history):
        return None
    told = f"gradient norm {norm.times:.1f} x and loss {loss.times:.1f} x their largest of late"
    evidence = f"{told}, before any step was taken on it"
    usual = float(f"{_usual(history.norms):.3g}")
    change = f"look at batch {history.step} and leave it out; not the optimizer. Or clip to the usual norm, {usual:.3g}"
    return Finding("", evidence, change, {"skip": history.step, "max_norm": usual})


def _calm(history: History) -> bool:
    """Whether the steps before were too small to be the reason, and lr was not raised meanwhile."""
    lately = [kept[-LAST - 1 :] for kept in history.readings.values()]
    old = [reading for kept in lately for reading in kept[:-1]]
    steep = max((reading.ratio for reading in old if len(reading.shape) > 1), default=0.0)
    usual = all(_usual_size(kept[:-1]) for kept in lately if len(kept) > 1)
    return steep < LARGE and usual and not history.raised(LAST)


def _usual_size(kept: list[Reading]) -> bool:
    """Whether the last update was no larger than steady gradients make it, or than it is often;
    beta1 = 0 gives 1.
    """
    return kept[-1].update_rms <= OVER * max(
        1.0, 1.5 * median(reading.update_rms for reading in kept)
    )


def _usual(series: object) -> float:
    return sorted(value for _, value in [*series][:-1])[len([*series]) // 2 - 1]  # pyright: ignore


NON_FINITE = Detector(
    "non-finite gradients",
    "One such gradient enters both moments and never leaves them.",
    0,
    "tensors: a single one is enough, since averages keep NaN for ever",
    "P. Micikevicius et al., 2018, arXiv:1710.03740, skip such steps",
    _non_finite,
)
CHANGED = Detector(
    "sudden data change",
    "The loss and all gradients jumped together before a step was taken on them: the batch differs, not the optimizer.",
    3.0,
    "times the largest of the last 64, the geometric mean of loss and gradient norm; and three deviations of the "
    "logarithm of each, nine of both: beyond the scatter of batches of 4",
    "the order of events; the loss criterion after M. Wortsman et al., 2023, arXiv:2304.13013",
    _changed,
)
