"""Causes in the learning rate: too large beside the weights; past the curvature that Adam can
stand.
"""

from __future__ import annotations

from itertools import pairwise

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.detectors.second_moment import LARGE, LAST
from betaplane.monitor.history import History
from betaplane.monitor.quantities.reading import Reading
from betaplane.theory import stability_threshold

SWINGS = 12  # consecutive steps: gradients of rare rows may turn back in 8
# times the smallest gradient of those steps: weights may swing for long and stay where they are
GROWN = 1.5
USUAL = 0.9  # beta1, to which a smaller one is raised
RISE = 1.5  # times the loss at the start


def _too_large(history: History, threshold: float) -> Finding | None:
    after = history.recent > RISE * history.before > 0 and history.raised(LAST)
    if not after and not history.risen(RISE):
        return None
    matrices = {
        layer: [*kept]
        for layer, kept in history.readings.items()
        if kept and len(kept[-1].shape) > 1
    }
    for layer in history.zero & matrices.keys():
        # at first its weights are updates, and nothing that was learnt
        matrices[layer] = matrices[layer][-1:]
    sizes = [
        (_relative(old, now), now)
        for kept in matrices.values()
        for old, now in pairwise([kept[0], *kept])
    ]
    ratio, worst = max(sizes, key=lambda each: each[0], default=(0.0, None))
    if worst is None or ratio < threshold:
        return None
    since = (
        f"before lr was raised {history.before:.3g}"
        if after
        else f"at the start {history.start:.3g}"
    )
    told = f"an update of {ratio:.2f} of the weights; loss {history.recent:.3g}, {since}"
    lr = float(f"{worst.lr * 0.01 / ratio:.1g}")
    return Finding(
        worst.layer, told, f"lr={lr:.1g}, so that an update is 1 % of the weights", {"lr": lr}
    )


def _relative(old: Reading, now: Reading) -> float:
    """An update over the weights; over those of the reading before, where lr was raised since and
    they have grown.
    """
    if now.lr <= 2 * old.lr or not 0 < old.weight_rms < now.weight_rms:
        return now.ratio
    return now.ratio * now.weight_rms / old.weight_rms


def _edge(history: History, threshold: float) -> Finding | None:
    last = [*history.swings][-SWINGS:]
    if (
        len(last) < SWINGS
        or last[-1].step != history.step
        or last[-1].step - last[0].step != SWINGS - 1
    ):
        return None
    swing = max(each.correlation for each in last)
    least = min(each.norm for each in last)
    grown = last[-1].norm / least if least else 0.0
    if swing > threshold or not GROWN < grown < 1e12:
        return None
    now = max(history.now(), key=lambda reading: reading.lr)
    edge = float(stability_threshold(now.beta1, now.lr))
    told = f"gradients turn back (lag-1 correlation at most {swing:.2f}) and grew {grown:.1f} x in {SWINGS} steps"
    told = f"{told}: curvature above {edge:.3g} in Adam's metric"
    if now.beta1 < USUAL and now.beta2 > USUAL**2:
        room = float(stability_threshold(USUAL, now.lr)) / edge
        return Finding(
            "", told, f"beta1={USUAL}, which stands {room:.3g} x the curvature", {"beta1": USUAL}
        )
    return Finding("", told, f"lr={now.lr / 2:.3g}, half of it", {"lr": now.lr / 2})


TOO_LARGE = Detector(
    "learning rate too large",
    "Single updates are as large as the weights, and the loss is above where it began.",
    LARGE,
    "RMS of an update over that of a matrix of weights: a few replace what was learnt; and loss 1.5 x its start, or "
    "1.5 x what it was before lr was raised",
    "A. Kosson et al., 2024, arXiv:2410.23922, on updates relative to weights",
    _too_large,
)
EDGE = Detector(
    "adaptive edge of stability",
    "The steepest direction is past (2 + 2 beta1) / ((1 - beta1) lr): weights swing across it, further each time.",
    -0.5,
    "each correlation of consecutive gradients in 12 steps: noise gives 0, a swing -1; gradients 1.5 x their smallest",
    "J. Cohen et al., 2022, arXiv:2207.14484",
    _edge,
)
