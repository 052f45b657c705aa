"""One reading: every quantity of one tensor at one step."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.quantities import formulas as q
from betaplane.theory import update_bound

SEEN = 20.0  # roundings of the weights that a movement must have, to be told from them


class Reading(NamedTuple):
    """The quantities of one tensor after one step; of a large tensor, over evenly spaced
    coordinates.
    """

    layer: str
    step: int  # steps that were watched, 1 for the first
    t: float  # steps that the optimizer has counted
    before: float  # what it had counted before this step
    shape: tuple[int, ...]
    dtype: str  # of v
    lr: float
    beta1: float
    beta2: float
    eps: float  # gradient units
    finite: bool  # whether g, m and v are
    g_rms: float  # gradient units
    g_max: float
    m_rms: float
    root_rms: float  # of sqrt(v_hat), gradient units
    root_median: float  # of sqrt(v_hat) where it is not 0
    update_rms: float  # of what the weights moved by without their decay, units of lr; see `moved`
    update_max: float
    weight_rms: float  # weight units
    weight_max: float
    ratio: float  # lr times update over weight, both RMS
    angle: float  # radians that the update turns the weights by
    lag: float  # RMS_t of Wortsman et al., 1 in a steady state
    reach: float  # largest |m_hat| / sqrt(v_hat) over the exact bound at t, in [0, 1] for Adam
    below_eps: float  # share of coordinates that have a gradient
    lost: float  # share of coordinates with v = 0 and g != 0
    still: float  # share of coordinates whose v did not move although g^2 is not v
    warm: bool  # v was not 0 before the step
    snr: float  # signal to noise of the gradients, from the update's RMS
    agreement: float  # share of coordinates where m and g have one sign
    # the update's RMS over that of m_hat / (sqrt(v_hat) + eps): 1 for Adam, less where it was
    # clipped
    adams: float
    shrink: float  # the share of the weights that decoupled decay takes in the step
    kept_rms: float = math.nan  # of sqrt(v) before the step, not debiased; 0 where there was none


def read(
    layer: str,
    step: int,
    shape: tuple[int, ...],
    numbers: StepValues,
    before: Before,
    x: Tensor,
    m: Tensor,
    v: Tensor,
    t: float,
) -> Reading:
    """Every quantity of one tensor, in float64: the plain twin of
    `betaplane.monitor.quantities.batched.sweep`.

    Args:
        layer: its name.
        step: steps watched.
        shape: of the whole tensor.
        numbers: its group's lr, betas and eps, as used in the step.
        before: what was kept from before the step.
        x: its weights after the step, a sample (n,).
        m: its first moment after the step, the same sample.
        v: its second moment after the step, the same sample, in the type it is kept in.
        t: steps counted, after the step.
    """
    lr, beta1, beta2, eps = numbers
    g, old = before.g.double(), before.v
    x, m, wide = x.double(), m.double(), v.double()
    m_hat, root = q.debiased(m, wide, max(t, 1.0), beta1, beta2)
    form = q.update(m_hat, root, eps)
    u = moved(before, x, lr, form)
    size, weight, seen = q.rms(u), q.rms(x), root[root > 0]
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
        finite=bool((g.sum() + m.sum() + wide.sum()).isfinite()),
        g_rms=q.rms(g),
        g_max=q.largest(g),
        m_rms=q.rms(m),
        root_rms=q.rms(root),
        root_median=float(seen.median()) if seen.numel() else 0.0,
        update_rms=size,
        update_max=q.largest(u),
        weight_rms=weight,
        weight_max=q.largest(x),
        ratio=lr * size / max(weight, q.TINY),
        angle=q.angle(x, -lr * u),
        lag=q.rms_ratio(g, root, eps),
        reach=q.largest_ratio(m_hat, root) / _bound(beta1, beta2, max(t, 1.0)),
        below_eps=q.below_eps(root, g, eps),
        lost=q.lost(g, wide),
        still=_still(before, v),
        warm=old is not None and bool((old != 0).any()),
        snr=q.signal_to_noise(size, beta1),
        agreement=q.agreement(m, g),
        adams=size / q.rms(form) if q.rms(form) else 1.0,
        shrink=before.shrink,
        kept_rms=0.0 if old is None else math.sqrt(float(old.double().mean().clamp_min(0))),
    )


def moved(before: Before, x: Tensor, lr: float, form: Tensor) -> Tensor:
    """The update in units of lr: from the weights before and after, else, where these round too
    much, Adam's formula.

    Args:
        before: what was kept from before the step.
        x: weights after it, (n,), float64.
        lr: learning rate.
        form: m_hat / (sqrt(v_hat) + eps), (n,).
    """
    if before.x is None or not lr > 0:
        return form
    old = before.x.double()
    way = old - x - before.shrink * old
    return (
        way / lr if math.inf > q.rms(way) > SEEN * coarseness(before.x.dtype) * q.rms(old) else form
    )


def coarseness(dtype: torch.dtype) -> float:
    """How far apart numbers of a type are, relative to themselves; inf where it is too coarse to
    tell an update by.
    """
    return torch.finfo(dtype).eps if dtype in (torch.float32, torch.float64) else math.inf


@lru_cache(maxsize=256)
def _bound(beta1: float, beta2: float, t: float) -> float:
    """The bound of a step, which most tensors share."""
    return float(update_bound(beta1, beta2, t))


class Before(NamedTuple):
    """What is kept of a tensor from before a step."""

    g: Tensor  # a sample (n,), copied: some optimizers overwrite gradients
    v: Tensor | None  # the same sample, copied
    t: float
    rows: Tensor | None = None  # of a matrix, which rows the gradient touches
    at_random: bool = False  # v is rounded at random, and may stand still for many steps
    x: Tensor | None = None  # weights, the same sample, copied
    shrink: float = 0.0  # the share of themselves that weight decay takes from them in the step


def _still(before: Before, v: Tensor) -> float:
    """The share of coordinates whose v stands still although its target g^2 is a tenth away from
    it, or more.
    """
    g, old = before.g.double(), before.v
    if old is None or before.at_random or not g.numel():
        return 0.0
    asks = (g.square() - old.double()).abs() > 0.1 * old.double()
    return float(((old == v) & asks & (old != 0)).float().mean())
