"""Measure one tensor's moments: size, spread, the exact bound on the update, damping by eps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from betaplane.checkpoints.eight_bit import largest_in_block
from betaplane.checkpoints.layer import Layer
from betaplane.theory import update_bound

MIN_EXACT_V = 1e-30  # a smaller v has lost digits in float32, and is not compared with the bound
# factor by which rounding can exceed the exact bound on |m| / sqrt(v), by dtype
ROUNDING_FACTORS = {
    "float64": 1.0001,
    "float32": 1.01,
    "bfloat16": 1.1,
    "float16": 1.1,
    "8bit": 1.25,
    "4bit": math.inf,  # too coarse
}

MIN_EXACT_SHARE = 0.01  # of the largest v of its block; a smaller v in 8 bits is too coarse
# the smallest positive number of a dtype; betaplane's 8-bit blocks store less as zeros
SMALLEST = {"float32": 2.0**-149, "bfloat16": 2.0**-133, "float16": 2.0**-24, "8bit": 2.0**-110}
QUANTIZED = ("8bit", "4bit")
MAX_USUAL_BETA2 = 0.9999  # assumed if the file lacks beta2
BELOW_LARGEST_FACTOR = 1.01  # rounding, in AMSGrad's largest v
MIN_EVEN_ELEMENTS, MAX_EVEN_ELEMENTS = 8, 1_000_000
COUNT_LIMITS = {torch.bfloat16: 2.0**8, torch.float16: 2.0**11}
STATISTICS = (
    "m_rms", "root_v", "ratio", "damped", "zero", "lost", "spread", "update", "uneven", "erased",
    "m_zero", "below_largest", "root_denominator", "evenness",
)  # fmt: skip
DECADES = (-24.0, 4.0, 280)  # of the histogram of log10 sqrt(v_hat): low, high, number of bins


@dataclass(frozen=True)
class Health:
    """Statistics of one layer's moments; each is nan if the file lacks its inputs."""

    name: str
    numbers: int  # elements
    t: float  # steps
    m_rms: float  # gradient units, without bias correction
    root_v: float  # root of the mean of v_hat, gradient units
    # max |m_hat| / sqrt(v_hat) over elements with v > 0, without eps; nan if the rule is not Adam
    ratio: float
    bound: float  # its exact supremum at this step; nan if the rule is not Adam
    damped: float  # share with sqrt(v_hat) < eps
    zero: float  # share with v = 0
    lost: float  # share with v = 0 and m != 0
    dead_rows: float  # share of rows with v = 0 throughout; 0 for vectors
    spread: float  # standard deviation of sqrt(v) over its mean
    update: float  # RMS of m_hat / (sqrt(v_hat) + eps), units of lr; nan if the rule is not Adam
    spoiled: int  # number of elements of m and v that are nan or infinite
    # if t = 1: largest distance of |m_hat| / sqrt(v_hat) from 1, its exact value
    uneven: float
    dtype: str
    bytes: int
    shares: tuple[float, ...]  # histogram of log10 sqrt(v_hat) for v > 0, see DECADES
    negative: int = 0  # number of elements with v < 0
    # share with v = 0 and an m that gradients whose squares underflow cannot give; in 8 bits only
    # blocks count that have no v > 0
    erased: float = 0.0
    m_zero: float = math.nan  # share with m = 0
    below_largest: float = 0.0  # share with v above the largest v so far, of AMSGrad
    root_denominator: float = math.nan  # root_v, but of the v that divides the update
    # interquartile range of |m_hat| / sqrt(v_hat), relative to its median
    evenness: float = math.nan
    vector: bool = False  # whether the tensor has one dimension
    mismatched: bool = False  # whether m and v have different shapes
    count_limit: float = math.inf  # the count from which adding 1 rounds back, in its dtype

    @property
    def exceeds_bound(self) -> bool:
        """Whether the ratio is above its bound by more than rounding explains."""
        return self.ratio > self.bound * ROUNDING_FACTORS.get(self.dtype, math.inf)


def health(layer: Layer) -> Health:
    """Measure one layer.

    Args:
        layer: of a checkpoint.

    Returns:
        Its statistics. Those that need the step or betas are nan if the file lacks these.

    Source: definitions; the bound is `betaplane.theory.update_bound`.

    Example:
        >>> from betaplane.checkpoints.layer import GroupSettings
        >>> state = {"step": 1, "exp_avg": torch.tensor([0.1, 0.0]), "exp_avg_sq": torch.tensor([1e-3, 0.0])}
        >>> found = health(Layer("x", state, GroupSettings(1e-3, 0.9, 0.999, 1e-8)))
        >>> round(found.ratio, 4), round(found.bound, 4), found.zero, round(found.root_v, 4), round(found.update, 4)
        (1.0, 1.0, 0.5, 0.7071, 0.7071)
    """
    m, v = (None if x is None else x.detach().flatten() for x in (layer.m, layer.v))
    return Health(
        name=layer.name,
        numbers=max((x.numel() for x in (m, v) if x is not None), default=0),
        t=math.nan if layer.t is None else layer.t,
        dtype=layer.dtype,
        bytes=layer.bytes,
        dead_rows=math.nan if layer.v is None else _dead_rows(layer.v),
        vector=layer.v is not None and layer.v.dim() <= 1,
        mismatched=layer.adam and _shape(layer.m) != _shape(layer.v),
        count_limit=_count_limit(layer.held.get("step")),
        bound=_bound(layer),
        **_statistics(layer, m, v),
    )


def _statistics(layer: Layer, m: Tensor | None, v: Tensor | None) -> dict:
    """The statistics of m and v, flat; sums are in float64."""
    statistics: dict = dict.fromkeys(STATISTICS, math.nan)
    statistics |= {"spoiled": _spoiled(m, v), "negative": 0, "shares": ()}
    if m is not None and m.numel():
        statistics |= {"m_rms": _rms(m), "m_zero": _share(m == 0)}
    if v is None or not v.numel():
        return statistics
    same_shape = m is not None and m.shape == v.shape
    statistics |= {"zero": _share(v == 0), "spread": _spread(_root(v, 1.0))}
    statistics["negative"] = int((v < 0).sum())
    if m is not None and same_shape:
        statistics["lost"] = _share((v == 0) & (m != 0))
        statistics["erased"] = _erased_share(layer, m, v)
    factors = corrections(layer)
    if factors is not None:
        statistics |= _corrected_statistics(layer, m if same_shape else None, v, *factors)
    return statistics


def _corrected_statistics(
    layer: Layer, m: Tensor | None, v: Tensor, m_factor: float, v_factor: float
) -> dict:
    """The statistics that need bias correction; those with m only if it has the shape of v."""
    eps = layer.settings.eps
    root = _root(v, v_factor)
    denominator = root
    below_largest, largest_v = 0.0, layer.largest_v
    if largest_v is not None and largest_v.numel() == v.numel():
        denominator = _root(largest_v.detach().flatten(), v_factor)
        below_largest = _share(root > denominator * BELOW_LARGEST_FACTOR)
    statistics = {
        "root_v": _rms(root),
        "root_denominator": _rms(denominator),
        "below_largest": below_largest,
        "damped": math.nan if eps is None else _share(denominator < eps),
        "shares": _histogram(denominator[denominator > 0]),
    }
    if m is not None and layer.adam:
        m_hat = m.float() * m_factor
        exact = v.float() * v_factor > MIN_EXACT_V
        if layer.dtype in QUANTIZED:
            exact &= v > MIN_EXACT_SHARE * largest_in_block(layer, v)
        statistics |= _ratios(m_hat, root, exact, layer.t)
        if eps is not None:
            statistics["update"] = _rms(torch.where(m == 0, 0, m_hat / (denominator + eps)))
    return statistics


def _root(v: Tensor, factor: float) -> Tensor:
    return v.float().clamp(min=0).sqrt() * math.sqrt(factor)


def _ratios(m: Tensor, root: Tensor, exact: Tensor, t: float | None) -> dict:
    """The ratio |m_hat| / sqrt(v_hat), for rules that divide as Adam does."""
    ratio = (m.abs() / root)[exact]
    ratio = ratio[ratio.isfinite()]
    return {
        "ratio": float(ratio.max()) if ratio.numel() else math.nan,
        "uneven": float((ratio - 1).abs().max()) if t == 1 and ratio.numel() else math.nan,
        "evenness": _evenness(ratio),
    }


def _evenness(ratio: Tensor) -> float:
    """The interquartile range over the median of the elements that move; nan of few elements."""
    moving = ratio[ratio > 0]
    if moving.numel() < MIN_EVEN_ELEMENTS:
        return math.nan
    sample = moving[:: -(-moving.numel() // MAX_EVEN_ELEMENTS)]
    low, middle, high = torch.quantile(sample, torch.tensor([0.25, 0.5, 0.75])).tolist()
    return (high - low) / middle


def corrections(layer: Layer) -> tuple[float, float] | None:
    """The factors of bias correction for m and v at this step: 1 / (1 - beta^t).

    They are 1 before the first step and for rules without bias correction.

    Returns:
        None if they are unknown: the file lacks the step or betas, or the step is not a step count.
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
    """The largest |m_hat| / sqrt(v_hat) that any gradients can produce at this step."""
    t, s = layer.t, layer.settings
    if not layer.adam or s.beta1 is None or s.beta2 is None or t is None or not 1 <= t < math.inf:
        return math.nan
    bound = update_bound(s.beta1, s.beta2, t)
    return bound if s.corrected else bound * (1 - s.beta1**t) / math.sqrt(1 - s.beta2**t)


def _spoiled(*moments: Tensor | None) -> int:
    return sum(int((~x.isfinite()).sum()) for x in moments if x is not None)


def _erased_share(layer: Layer, m: Tensor, v: Tensor) -> float:
    """The share of elements whose v is 0 although g^2 did not underflow.

    If each term (1 - beta2) g^2 of v is rounded to 0, then |m| <= max |g| < sqrt(smallest /
    (1 - beta2)).
    """
    beta2, smallest = layer.settings.beta2, SMALLEST.get(layer.dtype, 0.0)
    limit = math.sqrt(smallest / (1 - (MAX_USUAL_BETA2 if beta2 is None else beta2)))
    empty = (largest_in_block(layer, v) if layer.dtype in QUANTIZED else v) == 0
    return _share(empty & (m.abs() > limit))


def _shape(x: Tensor | None) -> torch.Size | None:
    return None if x is None else x.shape


def _count_limit(step: object) -> float:
    """The count that a step of a narrow dtype cannot pass; inf for other counts."""
    return COUNT_LIMITS.get(step.dtype, math.inf) if isinstance(step, Tensor) else math.inf


def _dead_rows(v: Tensor) -> float:
    return _share((v == 0).flatten(1).all(dim=1)) if v.dim() > 1 and v.numel() else 0.0


def _share(where: Tensor) -> float:
    return float(where.float().mean(dtype=torch.float64)) if where.numel() else 0.0


def _rms(x: Tensor) -> float:
    return math.sqrt(float(x.double().square().mean()))


def _spread(root: Tensor) -> float:
    mean = float(root.mean(dtype=torch.float64))
    return float(root.double().std(correction=0)) / mean if mean > 0 else math.nan


def _histogram(positive: Tensor) -> tuple[float, ...]:
    """The share of values in each bin of log10, see DECADES."""
    low, high, bins = DECADES
    if not positive.numel():
        return ()
    place = positive.log10().nan_to_num(high).clamp(low, high)
    return tuple((torch.histc(place, bins, low, high) / positive.numel()).tolist())
