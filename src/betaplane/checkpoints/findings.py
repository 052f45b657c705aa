"""Reasons to suspect a layer's moments, severe ones first, each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from betaplane.checkpoints.health import DECADES, QUANTIZED, ROUNDING_FACTORS, SMALLEST, Health
from betaplane.checkpoints.layer import Layer
from betaplane.text import plural

# half the relative spacing of the dtype; smaller changes are rounded away
HALF_SPACING = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
MAX_DAMPED_SHARE = 0.1  # of elements with sqrt(v_hat) < eps
MIN_ZERO_SHARE = 0.01  # of elements with v = 0, for a note
# gradients this far below those of the other layers are 0 but for rounding, in a vector: those of
# key biases, which softmax cancels, and of biases before a normalization
ROUNDING_SHARE = 1e-5
MIN_STEPS_WITHOUT_GRADIENT = 10


class Suspicion(NamedTuple):
    """One reason to look at a layer."""

    severe: bool  # False: a note that may be harmless
    what: str
    rule: str = ""  # id


class Context(NamedTuple):
    """What the other layers of a checkpoint say about one."""

    latest: float = math.nan  # the largest step count; nan if there is none
    root_v: float = math.nan  # root of the mean of v_hat over all layers, gradient units


def suspicions(layer: Layer, found: Health, others: Context) -> list[Suspicion]:
    """The reasons to suspect a layer.

    Args:
        layer: the layer's state.
        found: its measured health.
        others: figures of all layers.

    Returns:
        The reasons, severe ones first; empty for a healthy layer.

    Source: the recursions of m and v, which every valid state obeys; thresholds are constants of
        this file.

    Example:
        >>> import torch
        >>> from betaplane.checkpoints.layer import GroupSettings
        >>> from betaplane.checkpoints.health import health
        >>> state = {"step": 9, "exp_avg": torch.tensor([1.0]), "exp_avg_sq": torch.tensor([1e-3])}
        >>> layer = Layer("x", state, GroupSettings(1e-3, 0.9, 0.999, 1e-8))
        >>> for suspicion in suspicions(layer, health(layer), Context(latest=9.0)):
        ...     print(suspicion.what)
        max |m_hat| / sqrt(v_hat) is 4.89, and no gradients give more than 1.04 at step 9: damage, or changed betas
    """
    reasons = [
        *_invalid_values(found),
        *_step_count(layer, found, others.latest),
        *_exceeded_bound(found),
        *_lost_moments(layer, found),
        *_lost_precision(layer, found, others.root_v),
        *_missing_gradients(found),
    ]
    return sorted(reasons, key=lambda reason: not reason.severe)


def _invalid_values(f: Health) -> Iterator[Suspicion]:
    if f.spoiled:
        what = f"{plural(f.spoiled, 'element')} of its moments {_are(f.spoiled)} nan or infinite"
        yield Suspicion(True, what, "not-finite")
    if f.negative:
        what = f"{plural(f.negative, 'element')} of v {_are(f.negative)} negative"
        yield Suspicion(True, f"{what}, and a mean of squares never is", "negative-v")
    if f.mismatched:
        yield Suspicion(True, "m and v have different shapes", "shape")
    if f.dtype not in ROUNDING_FACTORS:
        what = f"its moments are stored as {f.dtype}, which cannot be read"
        yield Suspicion(False, what, "unreadable")


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _step_count(layer: Layer, f: Health, latest: float) -> Iterator[Suspicion]:
    if f.t == 0 and (f.m_rms > 0 or f.root_v > 0):
        what = (
            "its step is 0 and its moments are not: steps were reset, and bias correction restarts"
        )
        yield Suspicion(True, what, "step-reset")
    elif math.isfinite(f.uneven) and f.uneven > 0.1 and f.dtype not in QUANTIZED:
        ratio = f"their ratio is up to {f.uneven:.2g} from 1"
        what = f"its step is 1, so |m_hat| = sqrt(v_hat), but {ratio}"
        yield Suspicion(True, what, "step-reset")
    elif f.t < latest:
        steps = f"it has taken {f.t:g} steps, others {latest:g}"
        yield Suspicion(False, f"{steps}: added late, reset, or without gradients", "steps-differ")
    if f.t < 0 or math.isinf(f.t) or (layer.t is not None and math.isnan(f.t)):
        yield Suspicion(True, f"its step is {f.t:g}", "step-invalid")
    if f.count_limit <= f.t < math.inf:
        what = f"its step is {f.t:g}, and a count of its dtype stays there: adding 1 rounds to it"
        yield Suspicion(True, what, "step-stuck")


def _exceeded_bound(f: Health) -> Iterator[Suspicion]:
    if f.exceeds_bound:
        what = (
            f"max |m_hat| / sqrt(v_hat) is {f.ratio:.3g}, and no gradients give more than "
            f"{f.bound:.3g} at step {f.t:g}: damage, or changed betas"
        )
        yield Suspicion(True, what, "above-bound")
    if f.below_largest > 0:
        what = f"v is above AMSGrad's largest v so far in {f.below_largest:.2%} of it"
        yield Suspicion(True, what, "inconsistent-max")


def _lost_moments(layer: Layer, f: Health) -> Iterator[Suspicion]:
    """Moments that are 0 although gradients reached them."""
    if f.erased > 0:
        what = f"v = 0 and m != 0 in {f.erased:.2%} of it, and such an m is too large for underflow"
        yield Suspicion(True, f"{what}: v was lost, and updates are lr m / eps", "lost-v")
    elif f.lost > 0 and f.dtype not in QUANTIZED:
        what = f"v = 0 and m != 0 in {f.lost:.2%} of it: g^2 underflows {f.dtype}"
        yield Suspicion(True, f"{what}, and only eps is left", "underflow")
    if f.m_zero == 1 and f.zero < 1 and layer.settings.beta1 != 0:
        yield Suspicion(True, f"m = 0 throughout and v is not: {_m_lost(layer, f)}", "lost-m")


def _m_lost(layer: Layer, f: Health) -> str:
    """How m can have become 0: in few steps it cannot decay to 0."""
    beta1, smallest = layer.settings.beta1, SMALLEST.get(f.dtype, 0.0)
    steps = math.nan
    if beta1 and smallest and f.root_v > 0:
        steps = math.ceil(math.log(smallest / f.root_v) / math.log(beta1))
    if not steps < f.t:
        return "m was lost"
    return f"m was lost, or gradients have been exactly 0 for about {steps} steps"


def _lost_precision(layer: Layer, f: Health, root_v: float) -> Iterator[Suspicion]:
    beta2, eps = layer.settings.beta2, layer.settings.eps
    stuck = (
        layer.settings.storage == "parameter"
        and beta2 is not None
        and 1 - beta2 < HALF_SPACING.get(f.dtype, 0.0)
    )
    if stuck:
        rest = f"1 - beta2 = {1 - beta2:.1g}"  # type: ignore[operator]
        what = f"v cannot fall in {f.dtype}: {rest} is below half its spacing"
        yield Suspicion(True, what, "rounded-v")
    damped = f.damped - f.zero
    if damped > MAX_DAMPED_SHARE and f.erased == 0:
        what = f"sqrt(v_hat) < eps = {eps:g} in {f.damped:.0%} of it"
        if f.vector and damped - _share_below(f, ROUNDING_SHARE * root_v) <= MAX_DAMPED_SHARE:
            what += ", where gradients are 0 but for rounding"
            yield Suspicion(False, what, "rounding-noise")
        else:
            yield Suspicion(True, f"{what}: there Adam is SGD with lr / eps", "below-eps")


def _share_below(f: Health, root: float) -> float:
    """The share of elements with 0 < sqrt(v_hat) < root; 0 if root is unknown."""
    if not (f.shares and root > 0):
        return 0.0
    low, high, bins = DECADES
    count = math.floor((math.log10(root) - low) / (high - low) * bins)
    return sum(f.shares[: max(count, 0)]) * (1 - f.zero)


def _missing_gradients(f: Health) -> Iterator[Suspicion]:
    if f.zero == 1 and f.lost:
        return
    if f.zero == 1 and f.m_zero == 1 and f.t >= MIN_STEPS_WITHOUT_GRADIENT:
        what = f"m = v = 0 after {f.t:g} steps: no gradient reached it; it is unused or detached"
        yield Suspicion(True, what, "no-gradient")
    elif f.zero == 1:
        yield Suspicion(False, "v = 0 throughout: no gradient ever reached it", "no-gradient")
    elif f.dead_rows > 0 and not f.lost:
        what = f"v = 0 throughout {f.dead_rows:.1%} of its rows, which no gradient ever reached"
        yield Suspicion(False, what, "dead-rows")
    elif f.zero >= MIN_ZERO_SHARE and not f.lost:
        what = f"v = 0 in {f.zero:.1%} of it, which no gradient ever reached"
        yield Suspicion(False, what, "dead-elements")
