"""The health of one tensor's moments, as numbers: sizes, spread, the exact bound on the update,
what eps swallows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from betaplane.checkpoints.layer import Layer
from betaplane.theory import update_bound

EXACT = 1e-30  # a v below it has lost digits in float32, and says nothing of the bound
DECADES = (-24.0, 4.0, 280)  # of the histogram of log10 sqrt(v_hat): from, to, cells


@dataclass(frozen=True)
class Health:
    """What one layer's moments say. A number is nan where the file lacks what it needs."""

    name: str
    numbers: int  # coordinates
    t: float  # steps
    m_rms: float  # gradient units, without correction
    root_v: float  # root of the mean of v_hat, gradient units
    # max |m_hat| / sqrt(v_hat) over coordinates with v > 0, eps left out; nan where the rule is not
    # Adam
    ratio: float
    bound: float  # its exact supremum at this step; nan where the rule is not Adam
    damped: float  # share with sqrt(v_hat) < eps
    zero: float  # share with v = 0
    lost: float  # share with v = 0 while m is not
    dead_rows: float  # share of rows with v = 0 throughout; 0 for vectors
    spread: float  # standard deviation of sqrt(v) over its mean
    update: float  # RMS of m_hat / (sqrt(v_hat) + eps), units of lr; nan where the rule is not Adam
    spoiled: int  # moments that are nan or infinite, and negative v
    # where t = 1: largest distance of |m_hat| / sqrt(v_hat) from 1, which it is exactly
    uneven: float
    dtype: str
    bytes: int
    shares: tuple[float, ...]  # of sqrt(v_hat) > 0 in cells of log10, see DECADES


def health(layer: Layer) -> Health:
    """Measure one layer.

    Args:
        layer: of a checkpoint.

    Returns:
        Its numbers. Those that need the step or betas are nan if the file lacks these.

    Source: definitions; the bound is `betaplane.theory.update_bound`.

    Example:
        >>> from betaplane.checkpoints.layer import GroupSettings
        >>> held = {"step": 1, "exp_avg": torch.tensor([0.1, 0.0]), "exp_avg_sq": torch.tensor([1e-3, 0.0])}
        >>> found = health(Layer("x", held, GroupSettings(1e-3, 0.9, 0.999, 1e-8)))
        >>> round(found.ratio, 4), round(found.bound, 4), found.zero, round(found.root_v, 4), round(found.update, 4)
        (1.0, 1.0, 0.5, 0.7071, 0.7071)
    """
    m, v = (None if x is None else x.detach().flatten() for x in (layer.m, layer.v))
    rows = layer.v
    told = _moments(layer, m, v)
    return Health(
        name=layer.name,
        numbers=max((x.numel() for x in (m, v) if x is not None), default=0),
        t=math.nan if layer.t is None else layer.t,
        dtype=layer.dtype,
        bytes=layer.bytes,
        dead_rows=_dead_rows(rows) if rows is not None else math.nan,
        bound=_bound(layer),
        **told,
    )


def _moments(layer: Layer, m: Tensor | None, v: Tensor | None) -> dict:
    """What m and v say, in float64 where it is summed."""
    known = corrections(layer)
    first, second = known or (1.0, 1.0)
    eps = layer.settings.eps
    found: dict = dict.fromkeys(
        ("m_rms", "root_v", "ratio", "damped", "zero", "lost", "spread", "update", "uneven"),
        math.nan,
    )
    found |= {"spoiled": _spoiled(m, v), "shares": ()}
    if m is not None and m.numel():
        found["m_rms"] = _rms(m)
    if v is None or not v.numel():
        return found
    root = _root(v, second)
    top = layer.largest_v
    largest = (
        root if top is None or top.numel() != v.numel() else _root(top.detach().flatten(), second)
    )
    alive = largest[largest > 0]
    found |= {"zero": _share(v == 0), "spread": _spread(root / math.sqrt(second))}
    if m is not None and m.shape == v.shape:
        found["lost"] = _share((v <= 0) & (m != 0))
    if not known:
        return found
    found |= {
        "root_v": _rms(root),
        "damped": math.nan if eps is None else _share(largest < eps),
        "shares": _shares(alive),
    }
    if m is not None and m.shape == v.shape and layer.adam:
        found |= _ratios(m.float() * first, root, v.float() * second > EXACT, layer.t)
        found["update"] = (
            math.nan
            if eps is None
            else _rms(torch.where(m == 0, 0, m.float() * first / (largest + eps)))
        )
    return found


def _root(v: Tensor, factor: float) -> Tensor:
    return v.float().clamp(min=0).sqrt() * math.sqrt(factor)


def _ratios(m: Tensor, root: Tensor, exact: Tensor, t: float | None) -> dict:
    """What a rule that divides as Adam does makes of them."""
    ratio = (m.abs() / root)[exact]
    ratio = ratio[ratio.isfinite()]
    return {
        "ratio": float(ratio.max()) if ratio.numel() else math.nan,
        "uneven": float((ratio - 1).abs().max()) if t == 1 and ratio.numel() else math.nan,
    }


def corrections(layer: Layer) -> tuple[float, float] | None:
    """What m and v are multiplied by at this step: 1 / (1 - beta^t); 1 before the first step and if
    not corrected.

    Returns:
        None if that is unknown: no step or betas are in the file, or the step is no number of steps.
    """
    t, s = layer.t, layer.settings
    if not s.corrected or t == 0:
        return 1.0, 1.0
    if t is None or not 0 < t < math.inf or s.beta1 is None or s.beta2 is None:
        return None
    return 1 / -math.expm1(t * _log(s.beta1)), 1 / -math.expm1(t * _log(s.beta2))


def _log(beta: float) -> float:
    return math.log(beta) if beta > 0 else -math.inf


def _bound(layer: Layer) -> float:
    """The largest |m_hat| / sqrt(v_hat) that gradients can give at this step."""
    t, s = layer.t, layer.settings
    if not layer.adam or s.beta1 is None or s.beta2 is None or t is None or not 1 <= t < math.inf:
        return math.nan
    whole = update_bound(s.beta1, s.beta2, t)
    return whole if s.corrected else whole * (1 - s.beta1**t) / math.sqrt(1 - s.beta2**t)


def _spoiled(*moments: Tensor | None) -> int:
    _, v = moments
    wild = sum(int((~x.isfinite()).sum()) for x in moments if x is not None)
    return wild + (0 if v is None else int((v < 0).sum()))


def _dead_rows(v: Tensor) -> float:
    return _share((v == 0).flatten(1).all(dim=1)) if v.dim() > 1 and v.numel() else 0.0


def _share(where: Tensor) -> float:
    return float(where.float().mean(dtype=torch.float64)) if where.numel() else 0.0


def _rms(x: Tensor) -> float:
    return math.sqrt(float(x.double().square().mean()))


def _spread(root: Tensor) -> float:
    mean = float(root.mean(dtype=torch.float64))
    return float(root.double().std(correction=0)) / mean if mean > 0 else math.nan


def _shares(alive: Tensor) -> tuple[float, ...]:
    low, high, cells = DECADES
    if not alive.numel():
        return ()
    place = alive.log10().nan_to_num(high).clamp(low, high)
    return tuple((torch.histc(place, cells, low, high) / alive.numel()).tolist())
