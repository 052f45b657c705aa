"""Reasons to suspect a layer's moments, severe ones first, each with its numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

from betaplane.checkpoints.health import Health
from betaplane.checkpoints.layer import Layer

# factor by which rounding can exceed the exact bound on |m| / sqrt(v), by dtype; 8-bit codes are too
# coarse for a maximum
ROUNDING_FACTORS = {"float64": 1.0001, "float32": 1.01, "bfloat16": 1.1, "float16": 1.1}
# half the relative spacing of the dtype; smaller changes are rounded away
HALF_SPACING = {"bfloat16": 2.0**-9, "float16": 2.0**-12}
MAX_DAMPED_SHARE = 0.1  # of elements with sqrt(v_hat) < eps
MIN_ZERO_SHARE = 0.01  # of elements with v = 0, for a note


class Suspicion(NamedTuple):
    """One reason to look at a layer."""

    severe: bool  # False: a note that may be harmless
    what: str


def suspicions(layer: Layer, found: Health, latest: float) -> list[Suspicion]:
    """The reasons to suspect a layer.

    Args:
        layer: the layer's state.
        found: its measured health.
        latest: the largest step count in the checkpoint; nan if there is none.

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
        >>> for suspicion in suspicions(layer, health(layer), latest=9.0):
        ...     print(suspicion.what)
        max |m_hat| / sqrt(v_hat) is 4.89, and no gradients give more than 1.04 at step 9: damage, or changed betas
    """
    reasons = [
        *_invalid_values(found),
        *_step_count(layer, found, latest),
        *_exceeded_bound(found),
        *_lost_precision(layer, found),
        *_missing_gradients(found),
    ]
    return sorted(reasons, key=lambda reason: not reason.severe)


def _invalid_values(f: Health):
    if f.spoiled:
        yield Suspicion(True, f"{f.spoiled} of its moments are nan or infinite, or a negative v")
    if f.dtype not in (*ROUNDING_FACTORS, "8bit"):
        yield Suspicion(False, f"its moments are stored as {f.dtype}, which cannot be read")


def _step_count(layer: Layer, f: Health, latest: float):
    if f.t == 0 and (f.m_rms > 0 or f.root_v > 0):
        yield Suspicion(
            True,
            "its step is 0 and its moments are not: steps were reset, and bias correction restarts",
        )
    elif math.isfinite(f.uneven) and f.uneven > 0.1 and f.dtype != "8bit":
        yield Suspicion(
            True,
            f"its step is 1, so |m_hat| = sqrt(v_hat), but their ratio is up to {f.uneven:.2g} from 1",
        )
    elif f.t < latest:
        yield Suspicion(
            False,
            f"it has taken {f.t:g} steps, others {latest:g}: added late, reset, or without gradients",
        )
    if f.t < 0 or math.isinf(f.t) or (layer.t is not None and math.isnan(f.t)):
        yield Suspicion(True, f"its step is {f.t:g}")


def _exceeded_bound(f: Health):
    if f.ratio > f.bound * ROUNDING_FACTORS.get(f.dtype, math.inf):
        yield Suspicion(
            True,
            f"max |m_hat| / sqrt(v_hat) is {f.ratio:.3g}, and no gradients give more than {f.bound:.3g} at step "
            f"{f.t:g}: damage, or changed betas",
        )


def _lost_precision(layer: Layer, f: Health):
    beta2, eps = layer.settings.beta2, layer.settings.eps
    if f.lost > 0 and f.dtype != "8bit":
        yield Suspicion(
            True,
            f"v = 0 and m != 0 in {f.lost:.2%} of it: g^2 underflows {f.dtype}, and only eps is left",
        )
    stuck = (
        layer.settings.storage == "parameter"
        and beta2 is not None
        and 1 - beta2 < HALF_SPACING.get(f.dtype, 0.0)
    )
    if stuck:
        rest = f"1 - beta2 = {1 - beta2:.1g}"  # type: ignore[operator]
        yield Suspicion(True, f"v cannot fall in {f.dtype}: {rest} is below half its spacing")
    if f.damped - f.zero > MAX_DAMPED_SHARE:
        yield Suspicion(
            True,
            f"sqrt(v_hat) < eps = {eps:g} in {f.damped:.0%} of it: there Adam is SGD with lr / eps",
        )


def _missing_gradients(f: Health):
    if f.zero == 1:
        yield Suspicion(False, "v = 0 throughout: no gradient ever reached it")
    elif f.dead_rows > 0:
        yield Suspicion(
            False, f"v = 0 throughout {f.dead_rows:.1%} of its rows, which no gradient ever reached"
        )
    elif f.zero >= MIN_ZERO_SHARE and not f.lost:
        yield Suspicion(False, f"v = 0 in {f.zero:.1%} of it, which no gradient ever reached")
