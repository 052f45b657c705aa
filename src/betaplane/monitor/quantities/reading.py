"""Reading: all quantities of one tensor at one step, with their float64 reference implementation."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.quantities import formulas as q
from betaplane.theory import update_bound

# least displacement of the weights, in units of their rounding error, from which an update is read
MIN_ROUNDINGS = 20.0


class BeforeStep(NamedTuple):
    """Samples of one tensor, copied before a step."""

    g: Tensor  # a sample (n,); copied because some optimizers overwrite gradients
    v: Tensor | None  # the same sample
    t: float
    rows: Tensor | None = None  # for a matrix, which rows the gradient touches
    stochastic: bool = False  # v uses stochastic rounding, and may not change for many steps
    x: Tensor | None = None  # weights, the same sample
    shrink: float = 0.0  # the share of the weights that decoupled decay removes in the step


class Reading(NamedTuple):
    """The quantities of one tensor after one step; of a large tensor, over evenly spaced elements."""

    layer: str
    step: int  # steps watched, 1 for the first
    t: float  # steps that the optimizer has counted
    before: float  # steps that it had counted before this step
    shape: tuple[int, ...]
    dtype: str  # of v
    lr: float
    beta1: float
    beta2: float
    eps: float  # gradient units
    finite: bool  # whether g, m and v are finite
    g_rms: float  # gradient units
    g_max: float
    m_rms: float
    root_rms: float  # of sqrt(v_hat), gradient units
    root_median: float  # of sqrt(v_hat) over elements that are not 0
    update_rms: (
        float  # displacement of the weights without decay, units of lr; see `applied_update`
    )
    update_max: float
    weight_rms: float  # weight units
    weight_max: float
    ratio: float  # lr times update over weight, both RMS
    angle: float  # radians by which the update rotates the weights
    lag: float  # RMS_t of Wortsman et al., 1 in a steady state
    reach: float  # largest |m_hat| / sqrt(v_hat) over the exact bound at t, in [0, 1] for Adam
    below_eps: float  # share of elements with a gradient that have sqrt(v_hat) < eps
    lost: float  # share of elements with v = 0 and g != 0
    still: float  # share of elements whose v did not change although g^2 differs from it
    warm: bool  # v was not 0 before the step
    snr: float  # signal to noise of the gradients, from the update's RMS
    agreement: float  # share of elements with equal signs of m and g
    # the update's RMS over that of m_hat / (sqrt(v_hat) + eps): 1 for Adam, less if it was clipped
    adams: float
    shrink: float  # the share of the weights that decoupled decay removes in the step
    kept_rms: float = math.nan  # of sqrt(v) before the step, not debiased; 0 before the first
    unmoved: float = 0.0  # share of weights that did not change, of those with a gradient


def read(
    layer: str,
    step: int,
    shape: tuple[int, ...],
    values: StepValues,
    before: BeforeStep,
    x: Tensor,
    m: Tensor,
    v: Tensor,
    t: float,
) -> Reading:
    """Every quantity of one tensor, in float64.

    This is the reference implementation for `betaplane.monitor.quantities.batched.read_all`.

    Args:
        layer: its name.
        step: steps watched.
        shape: of the whole tensor.
        values: its group's lr, betas and eps, as used in the step.
        before: samples from before the step.
        x: its weights after the step, a sample (n,).
        m: its first moment after the step, the same sample.
        v: its second moment after the step, the same sample, in its storage dtype.
        t: steps counted, after the step.
    """
    lr, beta1, beta2, eps = values
    g, old_v = before.g.double(), before.v
    x, m, wide_v = x.double(), m.double(), v.double()
    m_hat, root = q.debias(m, wide_v, max(t, 1.0), beta1, beta2)
    adam_update = q.update(m_hat, root, eps)
    u = applied_update(before, x, lr, adam_update)
    update_rms, weight_rms, positive = q.rms(u), q.rms(x), root[root > 0]
    return Reading(
        layer=layer,
        step=step,
        t=t,
        before=before.t,
        shape=shape,
        dtype=str(v.dtype).removeprefix("torch."),
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        finite=bool((g.sum() + m.sum() + wide_v.sum()).isfinite()),
        g_rms=q.rms(g),
        g_max=q.max_abs(g),
        m_rms=q.rms(m),
        root_rms=q.rms(root),
        root_median=float(positive.median()) if positive.numel() else 0.0,
        update_rms=update_rms,
        update_max=q.max_abs(u),
        weight_rms=weight_rms,
        weight_max=q.max_abs(x),
        ratio=lr * update_rms / max(weight_rms, q.TINY),
        angle=q.angle(x, -lr * u),
        lag=q.rms_ratio(g, root, eps),
        reach=q.max_ratio(m_hat, root) / _bound(beta1, beta2, max(t, 1.0)),
        below_eps=q.share_below_eps(root, g, eps),
        lost=q.share_underflowed(g, wide_v),
        still=_share_unchanged(before, v),
        warm=old_v is not None and bool((old_v != 0).any()),
        snr=q.signal_to_noise(update_rms, beta1),
        agreement=q.sign_agreement(m, g),
        adams=update_rms / q.rms(adam_update) if q.rms(adam_update) else 1.0,
        shrink=before.shrink,
        kept_rms=0.0 if old_v is None else math.sqrt(float(old_v.double().mean().clamp_min(0))),
        unmoved=_share_unmoved(before, x),
    )


def applied_update(before: BeforeStep, x: Tensor, lr: float, adam_update: Tensor) -> Tensor:
    """The update in units of lr, from the weights before and after the step.

    If rounding of the weights hides the update, it is Adam's formula instead.

    Args:
        before: samples from before the step.
        x: weights after it, (n,), float64.
        lr: learning rate.
        adam_update: m_hat / (sqrt(v_hat) + eps), (n,).
    """
    if before.x is None or not lr > 0:
        return adam_update
    old_x = before.x.double()
    displacement = old_x - x - before.shrink * old_x
    least = MIN_ROUNDINGS * relative_spacing(before.x.dtype) * q.rms(old_x)
    return displacement / lr if math.inf > q.rms(displacement) > least else adam_update


def relative_spacing(dtype: torch.dtype) -> float:
    """Relative distance between neighboring numbers of a dtype; inf if too coarse for an update."""
    return torch.finfo(dtype).eps if dtype in (torch.float32, torch.float64) else math.inf


@lru_cache(maxsize=256)
def _bound(beta1: float, beta2: float, t: float) -> float:
    """The update bound at a step, which most tensors share."""
    return float(update_bound(beta1, beta2, t))


def _share_unmoved(before: BeforeStep, x: Tensor) -> float:
    """Share of weights that did not change, of those with a gradient."""
    driven = before.g != 0
    if before.x is None or not bool(driven.any()):
        return 0.0
    return float((before.x.double() == x)[driven].double().mean())


def _share_unchanged(before: BeforeStep, v: Tensor) -> float:
    """Share of elements with unchanged v although its target g^2 differs by more than a tenth."""
    g, old_v = before.g.double(), before.v
    if old_v is None or before.stochastic or not g.numel():
        return 0.0
    should_change = (g.square() - old_v.double()).abs() > 0.1 * old_v.double()
    return float(((old_v == v) & should_change & (old_v != 0)).float().mean())
