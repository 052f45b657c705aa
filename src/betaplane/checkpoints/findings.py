"""What is suspicious about a layer's moments, worst first, each with the numbers it rests on."""

from __future__ import annotations

import math
from typing import NamedTuple

from betaplane.checkpoints.health import Health
from betaplane.checkpoints.layer import Layer

# How far over the exact bound rounding can carry |m| / sqrt(v); 8-bit codes say nothing of a
# maximum.
ROUNDING = {"float64": 1.0001, "float32": 1.01, "bfloat16": 1.1, "float16": 1.1}
# half a step of the format, relative: less is rounded away
STEPS = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
EPS_SHARE = 0.1  # of coordinates with sqrt(v_hat) < eps, above which eps decides the layer
ZERO_SHARE = 0.01  # of coordinates with v = 0 worth a note


class Suspicion(NamedTuple):
    """One reason to look at a layer."""

    severe: bool  # False: worth knowing, and may be as it should
    what: str


def suspicions(layer: Layer, found: Health, latest: float) -> list[Suspicion]:
    """The reasons to suspect a layer.

    Args:
        layer: its state.
        found: its numbers.
        latest: the largest step count in the checkpoint; nan where there is none.

    Returns:
        Severe ones first; empty for a healthy layer.

    Source: the recursions of m and v, which a state either obeys or not; thresholds are this file's
        constants.

    Example:
        >>> import torch
        >>> from betaplane.checkpoints.layer import GroupSettings
        >>> from betaplane.checkpoints.health import health
        >>> held = {"step": 9, "exp_avg": torch.tensor([1.0]), "exp_avg_sq": torch.tensor([1e-3])}
        >>> layer = Layer("x", held, GroupSettings(1e-3, 0.9, 0.999, 1e-8))
        >>> for one in suspicions(layer, health(layer), latest=9.0):
        ...     print(one.what)
        max |m_hat| / sqrt(v_hat) is 4.89, and no gradients give more than 1.04 at step 9: damage, or changed betas
    """
    told = [
        *_broken(found),
        *_count(layer, found, latest),
        *_exceeded(found),
        *_precision(layer, found),
        *_still(found),
    ]
    return sorted(told, key=lambda one: not one.severe)


def _broken(f: Health):
    if f.spoiled:
        yield Suspicion(True, f"{f.spoiled} of its moments are nan or infinite, or a negative v")
    if f.dtype not in (*ROUNDING, "8bit"):
        yield Suspicion(False, f"its moments are kept as {f.dtype}: they cannot be read")


def _count(layer: Layer, f: Health, latest: float):
    if f.t == 0 and (f.m_rms > 0 or f.root_v > 0):
        yield Suspicion(
            True,
            "its step is 0 and its moments are not: steps were reset, and bias correction starts anew",
        )
    elif math.isfinite(f.uneven) and f.uneven > 0.1 and f.dtype != "8bit":
        yield Suspicion(
            True,
            f"its step is 1, where |m_hat| = sqrt(v_hat), and they are up to {f.uneven:.2g} apart",
        )
    elif f.t < latest:
        yield Suspicion(
            False,
            f"it has taken {f.t:g} steps, others {latest:g}: added late, reset, or without gradients",
        )
    if f.t < 0 or math.isinf(f.t) or (layer.t is not None and math.isnan(f.t)):
        yield Suspicion(True, f"its step is {f.t:g}")


def _exceeded(f: Health):
    if f.ratio > f.bound * ROUNDING.get(f.dtype, math.inf):
        yield Suspicion(
            True,
            f"max |m_hat| / sqrt(v_hat) is {f.ratio:.3g}, and no gradients give more than {f.bound:.3g} at step "
            f"{f.t:g}: damage, or changed betas",
        )


def _precision(layer: Layer, f: Health):
    beta2, eps = layer.settings.beta2, layer.settings.eps
    if f.lost > 0 and f.dtype != "8bit":
        yield Suspicion(
            True,
            f"v = 0 while m is not in {f.lost:.2%} of it: g^2 underflows {f.dtype}, and eps is all there is",
        )
    stuck = (
        layer.settings.storage == "parameter"
        and beta2 is not None
        and 1 - beta2 < STEPS.get(f.dtype, 0.0)
    )
    if stuck:
        rest = f"1 - beta2 = {1 - beta2:.1g}"  # type: ignore[operator]
        yield Suspicion(True, f"v cannot fall in {f.dtype}: {rest} is below half a step of it")
    if f.damped - f.zero > EPS_SHARE:
        yield Suspicion(
            True,
            f"sqrt(v_hat) < eps = {eps:g} in {f.damped:.0%} of it: there Adam is SGD with lr / eps",
        )


def _still(f: Health):
    if f.zero == 1:
        yield Suspicion(False, "v = 0 throughout: no gradient ever reached it")
    elif f.dead_rows > 0:
        yield Suspicion(
            False, f"v = 0 throughout {f.dead_rows:.1%} of its rows, which no gradient ever reached"
        )
    elif f.zero >= ZERO_SHARE and not f.lost:
        yield Suspicion(False, f"v = 0 in {f.zero:.1%} of it, which no gradient ever reached")
