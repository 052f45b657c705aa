"""Readings of all tensors in one batched pass over flat arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.quantities.formulas import TINY
from betaplane.monitor.quantities.reading import (
    MIN_ROUNDINGS,
    BeforeStep,
    Reading,
    relative_spacing,
)
from betaplane.theory import snr_from_update_rms, update_bound

MEDIAN_ELEMENTS = 128  # elements of a tensor in its median


class TensorSample(NamedTuple):
    """One tensor's samples around a step."""

    layer: str
    shape: tuple[int, ...]  # of the whole tensor
    values: StepValues  # as used in the step
    before: BeforeStep
    x: Tensor  # weights after the step, (n,)
    m: Tensor  # first moment after the step, the same sample
    v: Tensor  # second moment after the step, the same sample, in its storage dtype
    t: float  # steps counted, after the step


def read_all(step: int, samples: Sequence[TensorSample]) -> list[Reading]:
    """Every quantity of every tensor; `betaplane.monitor.quantities.reading.read` defines them.

    Args:
        step: steps watched.
        samples: samples of at least one element each.

    Returns:
        One Reading per tensor, in order.

    Example:
        >>> before = BeforeStep(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 4.0]), t=9.0)
        >>> m, v = torch.tensor([1.0, -2.0]), torch.tensor([1.0, 4.0])
        >>> values, x = StepValues(0.1, 0.0, 0.0, 0.0), torch.tensor([3.0, 4.0])
        >>> sample = TensorSample("w", (2,), values, before, x, m, v, t=10.0)
        >>> [reading] = read_all(10, [sample])
        >>> reading.update_rms, reading.lag, round(reading.ratio, 6), reading.agreement
        (1.0, 1.0, 0.028284, 1.0)
    """
    if not samples:
        return []
    with np.errstate(all="ignore"):
        columns = _columns(FlatSamples.of(samples))
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        _reading(step, sample, dict(zip(columns, row, strict=True)))
        for sample, row in zip(samples, rows, strict=True)
    ]


class FlatSamples(NamedTuple):
    """The concatenated samples of T tensors; N elements in total."""

    x: np.ndarray  # (N,)
    g: np.ndarray  # (N,)
    m: np.ndarray  # (N,)
    v: np.ndarray  # (N,)
    old_v: np.ndarray  # v before the step, (N,); v itself if there was none
    old_x: np.ndarray  # weights before the step, (N,); those after it if they were not copied
    shrink: np.ndarray  # the share of the weights that decoupled decay removes, (T,)
    spacing: np.ndarray  # relative spacing of the weights' dtype, (T,)
    follows: np.ndarray  # whether v existed before, without stochastic rounding, (T,)
    lr: np.ndarray  # (T,)
    beta1: np.ndarray  # (T,)
    beta2: np.ndarray  # (T,)
    eps: np.ndarray  # (T,)
    t: np.ndarray  # (T,)
    n: np.ndarray  # elements of each tensor, (T,)
    starts: np.ndarray  # index of its first element, (T,)

    @classmethod
    def of(cls, samples: Sequence[TensorSample]) -> FlatSamples:
        """Concatenate samples in float32, or in float64 if one of them is."""
        wide = any(sample.v.dtype == torch.float64 for sample in samples)
        dtype = np.float64 if wide else np.float32
        befores = [sample.before for sample in samples]
        old_v = [sample.v if sample.before.v is None else sample.before.v for sample in samples]
        old_x = [sample.x if sample.before.x is None else sample.before.x for sample in samples]
        rounding = float(np.finfo(dtype).eps)
        values = np.array([sample.values for sample in samples], dtype=np.float64).T
        lr, beta1, beta2, eps = values
        n = np.array([len(sample.m) for sample in samples])
        return cls(
            x=_concatenate([sample.x for sample in samples], dtype),
            g=_concatenate([before.g for before in befores], dtype),
            m=_concatenate([sample.m for sample in samples], dtype),
            v=_concatenate([sample.v for sample in samples], dtype),
            old_v=_concatenate(old_v, dtype),
            old_x=_concatenate(old_x, dtype),
            shrink=np.array([before.shrink for before in befores]),
            spacing=np.array([max(relative_spacing(x.dtype), rounding) for x in old_x]),
            follows=np.array(
                [before.v is not None and not before.stochastic for before in befores]
            ),
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            t=np.array([max(sample.t, 1.0) for sample in samples]),
            n=n,
            starts=n.cumsum() - n,
        )

    def per_element(self, values: np.ndarray) -> Any:
        """Repeat one value per tensor for each element; a plain number if all are equal."""
        if (values == values[0]).all():
            return values[0].item()
        return values.repeat(self.n).astype(self.m.dtype)

    def sums(self, elements: np.ndarray) -> np.ndarray:
        """The sum over each tensor, (T,)."""
        return np.add.reduceat(elements, self.starts)

    def counts(self, condition: np.ndarray) -> np.ndarray:
        """The number of elements of each tensor that satisfy a condition, (T,)."""
        return np.add.reduceat(condition, self.starts, dtype=np.intp)

    def maxima(self, elements: np.ndarray) -> np.ndarray:
        """The largest element of each tensor, (T,)."""
        return np.maximum.reduceat(elements, self.starts)

    def rms(self, elements: np.ndarray) -> np.ndarray:
        """The root mean square of each tensor, (T,)."""
        return np.sqrt(self.sums(elements * elements) / self.n)


def _concatenate(samples: Sequence[Tensor], dtype: type) -> np.ndarray:
    if all(x.device.type == "cpu" and x.dtype != torch.bfloat16 for x in samples):
        return np.concatenate([x.numpy() for x in samples], dtype=dtype, casting="same_kind")
    wide = torch.float64 if dtype is np.float64 else torch.float32
    return torch.cat([x.to(wide) for x in samples]).cpu().numpy()


def _columns(s: FlatSamples) -> dict[str, np.ndarray]:
    """The quantities, (T,) each."""
    c1, c2 = (1 / (1 - beta**s.t) for beta in (s.beta1, s.beta2))
    eps = s.per_element(s.eps)
    m_hat = s.m * s.per_element(c1)
    root = np.sqrt(s.v * s.per_element(c2))
    adam_update = np.where(s.m == 0, 0, m_hat / (root + eps))
    u = _applied_update(s, adam_update)
    positive = root > 0
    has_gradient = s.g != 0
    driven = positive & has_gradient
    g_max, m_max, v_max = (s.maxima(np.abs(elements)) for elements in (s.g, s.m, s.v))
    lag = s.g / np.maximum(root, np.maximum(eps, TINY))
    update_rms, adam_rms, weight_rms = s.rms(u), s.rms(adam_update), s.rms(s.x)
    return {
        "finite": np.isfinite(g_max + m_max + v_max),
        "g_rms": s.rms(s.g),
        "g_max": g_max,
        "m_rms": s.rms(s.m),
        "root_rms": s.rms(root),
        "root_median": _medians(root, s),
        "update_rms": update_rms,
        "update_max": s.maxima(np.abs(u)),
        "weight_rms": weight_rms,
        "weight_max": s.maxima(np.abs(s.x)),
        "ratio": s.lr * update_rms / np.maximum(weight_rms, TINY),
        "angle": _angle(s, u),
        "lag": s.rms(np.where(has_gradient, lag, 0)),
        "reach": s.maxima(np.where(positive, np.abs(m_hat / root), 0)) / _bounds(s),
        "below_eps": s.counts(driven & (root < eps)) / np.maximum(s.counts(driven), 1),
        "lost": s.counts(has_gradient & (s.v == 0)) / s.n,
        "still": _share_unchanged(s),
        "warm": s.counts(s.old_v != 0) > 0,
        "snr": _signal_to_noise(update_rms, s.beta1),
        "agreement": _sign_agreement(s),
        "kept_rms": np.sqrt(np.maximum(s.sums(s.old_v) / s.n, 0)),
        "unmoved": _share_unmoved(s),
        "adams": np.where(adam_rms > 0, update_rms / adam_rms, 1.0),
    }


def _applied_update(s: FlatSamples, adam_update: np.ndarray) -> np.ndarray:
    """As `reading.applied_update`."""
    displacement = s.old_x - s.x - s.per_element(s.shrink) * s.old_x
    size = s.rms(displacement)
    visible = (s.lr > 0) & (size > MIN_ROUNDINGS * s.spacing * s.rms(s.old_x)) & np.isfinite(size)
    return np.where(visible.repeat(s.n), displacement / s.per_element(s.lr), adam_update)


def _signal_to_noise(update_rms: np.ndarray, beta1: np.ndarray) -> np.ndarray:
    """As `formulas.signal_to_noise`: inf if the update's RMS is 1 or more."""
    below = update_rms < 1
    return np.where(below, snr_from_update_rms(np.where(below, update_rms, 0.5), beta1), math.inf)


def _angle(s: FlatSamples, u: np.ndarray) -> np.ndarray:
    """As `formulas.angle` of x and -lr u, from sums; 0 if x is 0."""
    xx, xs, ss = s.sums(s.x * s.x), -s.lr * s.sums(s.x * u), s.lr**2 * s.sums(u * u)
    return np.where(xx == 0, 0, np.arctan2(np.sqrt(np.maximum(xx * ss - xs * xs, 0)), xx + xs))


def _sign_agreement(s: FlatSamples) -> np.ndarray:
    product = s.m * s.g
    nonzero = s.counts(product != 0)
    return np.where(nonzero > 0, s.counts(product > 0) / np.maximum(nonzero, 1), 0.5)


def _share_unchanged(s: FlatSamples) -> np.ndarray:
    should_change = np.abs(s.g * s.g - s.old_v) > 0.1 * s.old_v
    unchanged = s.counts((s.old_v == s.v) & should_change & (s.old_v != 0))
    return np.where(s.follows, unchanged / s.n, 0.0)


def _share_unmoved(s: FlatSamples) -> np.ndarray:
    driven = s.g != 0
    return s.counts(driven & (s.old_x == s.x)) / np.maximum(s.counts(driven), 1)


def _medians(root: np.ndarray, s: FlatSamples) -> np.ndarray:
    """The median of evenly spaced positive elements, (T,)."""
    parts = (
        root[start : start + n : -(-n // MEDIAN_ELEMENTS)]
        for start, n in zip(s.starts.tolist(), s.n.tolist(), strict=True)
    )
    return np.array([_median(part[part > 0]) for part in parts])


def _median(x: np.ndarray) -> float:
    """The lower of the two middle elements, as in torch."""
    return float(np.partition(x, (len(x) - 1) // 2)[(len(x) - 1) // 2]) if len(x) else 0.0


def _bounds(s: FlatSamples) -> np.ndarray:
    columns = zip(s.beta1.tolist(), s.beta2.tolist(), s.t.tolist(), strict=True)
    return np.array([_bound(beta1, beta2, t) for beta1, beta2, t in columns])


@lru_cache(maxsize=256)
def _bound(beta1: float, beta2: float, t: float) -> float:
    return float(update_bound(beta1, beta2, t))


def _reading(step: int, sample: TensorSample, quantities: dict[str, Any]) -> Reading:
    before, (lr, beta1, beta2, eps) = sample.before, sample.values
    if before.v is None:
        quantities["kept_rms"] = 0.0
    if before.x is None:
        quantities["unmoved"] = 0.0
    quantities["warm"] = before.v is not None and quantities["warm"]
    return Reading(
        layer=sample.layer, step=step, t=sample.t, before=before.t, shape=sample.shape,
        dtype=str(sample.v.dtype).removeprefix("torch."), lr=lr, beta1=beta1, beta2=beta2, eps=eps,
        shrink=before.shrink, **quantities,
    )  # fmt: skip
