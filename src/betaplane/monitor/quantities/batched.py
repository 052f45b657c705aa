"""Every quantity of all tensors in one pass: their samples lie one after the other in flat arrays."""

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
from betaplane.monitor.quantities.reading import SEEN, Before, Reading, coarseness
from betaplane.theory import snr_from_update_rms, update_bound

MIDDLE = 128  # coordinates of a tensor that its median is taken of


class TensorSample(NamedTuple):
    """One tensor's samples around a step."""

    layer: str
    shape: tuple[int, ...]  # of the whole tensor
    numbers: StepValues  # as used in the step
    before: Before
    x: Tensor  # weights after the step, (n,)
    m: Tensor  # first moment after the step, the same sample
    v: Tensor  # second moment after the step, the same sample, in the type it is kept in
    t: float  # steps counted, after the step


def sweep(step: int, tensors: Sequence[TensorSample]) -> list[Reading]:
    """Every quantity of every tensor, as `betaplane.monitor.quantities.reading.read` defines them
    one by one.

    Args:
        step: steps watched.
        tensors: samples of at least one number each.

    Returns:
        One Reading a tensor, in order.

    Example:
        >>> before = Before(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 4.0]), t=9.0)
        >>> m, v = torch.tensor([1.0, -2.0]), torch.tensor([1.0, 4.0])
        >>> values, x = StepValues(0.1, 0.0, 0.0, 0.0), torch.tensor([3.0, 4.0])
        >>> sample = TensorSample("w", (2,), values, before, x, m, v, t=10.0)
        >>> [found] = sweep(10, [sample])
        >>> found.update_rms, found.lag, round(found.ratio, 6), found.agreement
        (1.0, 1.0, 0.028284, 1.0)
    """
    if not tensors:
        return []
    with np.errstate(all="ignore"):
        columns = _columns(Flat.of(tensors))
    rows = zip(*(each.tolist() for each in columns.values()), strict=True)
    return [
        _reading(step, taken, dict(zip(columns, row, strict=True)))
        for taken, row in zip(tensors, rows, strict=True)
    ]


class Flat(NamedTuple):
    """The samples of T tensors, one after the other: arrays (N,), and (T,) where it is said."""

    x: np.ndarray
    g: np.ndarray
    m: np.ndarray
    v: np.ndarray
    old: np.ndarray  # v before the step; v itself where there was none
    was: np.ndarray  # weights before the step; those after it where they were not kept
    shrink: np.ndarray  # what weight decay takes of them, (T,)
    coarse: np.ndarray  # how far apart they are in their type, relative to themselves, (T,)
    follows: np.ndarray  # whether there was one, and v is not rounded at random, (T,)
    lr: np.ndarray  # (T,)
    beta1: np.ndarray  # (T,)
    beta2: np.ndarray  # (T,)
    eps: np.ndarray  # (T,)
    t: np.ndarray  # (T,)
    n: np.ndarray  # (T,)
    starts: np.ndarray  # (T,)

    @classmethod
    def of(cls, tensors: Sequence[TensorSample]) -> Flat:
        """Samples in float32, or float64 where one of them is."""
        dtype = np.float64 if any(each.v.dtype == torch.float64 for each in tensors) else np.float32
        n = np.array([len(each.m) for each in tensors])
        old = [each.v if each.before.v is None else each.before.v for each in tensors]
        was = [each.x if each.before.x is None else each.before.x for each in tensors]
        columns = (
            [each.x for each in tensors],
            [each.before.g for each in tensors],
            [each.m for each in tensors],
        )
        samples = [
            _flat(each, dtype) for each in (*columns, [each.v for each in tensors], old, was)
        ]
        shrink = np.array([each.before.shrink for each in tensors])
        coarse = np.array([max(coarseness(each.dtype), float(np.finfo(dtype).eps)) for each in was])
        numbers = np.array([each.numbers for each in tensors], dtype=np.float64).T
        t = np.array([max(each.t, 1.0) for each in tensors])
        follows = np.array(
            [each.before.v is not None and not each.before.at_random for each in tensors]
        )
        x, g, m, v, old, was = samples
        lr, beta1, beta2, eps = numbers
        return cls(
            x,
            g,
            m,
            v,
            old,
            was,
            shrink,
            coarse,
            follows,
            lr,
            beta1,
            beta2,
            eps,
            t,
            n,
            n.cumsum() - n,
        )

    def spread(self, each: np.ndarray) -> Any:
        """One number a tensor as one a coordinate; as a number where all are the same."""
        return (
            each[0].item() if (each == each[0]).all() else each.repeat(self.n).astype(self.m.dtype)
        )

    def sums(self, each: np.ndarray) -> np.ndarray:
        """Sums over each tensor, (T,)."""
        return np.add.reduceat(each, self.starts)

    def counts(self, each: np.ndarray) -> np.ndarray:
        """How many coordinates of each tensor something is true of, (T,)."""
        return np.add.reduceat(each, self.starts, dtype=np.intp)

    def most(self, each: np.ndarray) -> np.ndarray:
        """The largest of each tensor, (T,)."""
        return np.maximum.reduceat(each, self.starts)

    def rms(self, each: np.ndarray) -> np.ndarray:
        """The root mean square of each tensor, (T,)."""
        return np.sqrt(self.sums(each * each) / self.n)


def _flat(samples: Sequence[Tensor], dtype: type) -> np.ndarray:
    if all(each.device.type == "cpu" and each.dtype != torch.bfloat16 for each in samples):
        return np.concatenate([each.numpy() for each in samples], dtype=dtype, casting="same_kind")
    wide = torch.float64 if dtype is np.float64 else torch.float32
    return torch.cat([each.to(wide) for each in samples]).cpu().numpy()


def _columns(s: Flat) -> dict[str, np.ndarray]:
    """The quantities, (T,) each."""
    c1, c2 = (1 / (1 - beta**s.t) for beta in (s.beta1, s.beta2))
    eps = s.spread(s.eps)
    m_hat, root = s.m * s.spread(c1), np.sqrt(s.v * s.spread(c2))
    form = np.where(s.m == 0, 0, m_hat / (root + eps))
    u = _moved(s, form)
    seen, moved = root > 0, s.g != 0
    driven = seen & moved
    g_max, m_max, v_max = (s.most(np.abs(each)) for each in (s.g, s.m, s.v))
    lag = s.g / np.maximum(root, np.maximum(eps, TINY))
    update, adam, weight = s.rms(u), s.rms(form), s.rms(s.x)
    return {
        "finite": np.isfinite(g_max + m_max + v_max),
        "g_rms": s.rms(s.g),
        "g_max": g_max,
        "m_rms": s.rms(s.m),
        "root_rms": s.rms(root),
        "root_median": _medians(root, s),
        "update_rms": update,
        "update_max": s.most(np.abs(u)),
        "weight_rms": weight,
        "weight_max": s.most(np.abs(s.x)),
        "ratio": s.lr * update / np.maximum(weight, TINY),
        "angle": _angle(s, u),
        "lag": s.rms(np.where(moved, lag, 0)),
        "reach": s.most(np.where(seen, np.abs(m_hat / root), 0)) / _bounds(s),
        "below_eps": s.counts(driven & (root < eps)) / np.maximum(s.counts(driven), 1),
        "lost": s.counts(moved & (s.v == 0)) / s.n,
        "still": _still(s),
        "warm": s.counts(s.old != 0) > 0,
        "snr": _snr(update, s.beta1),
        "agreement": _agreement(s),
        "kept_rms": np.sqrt(np.maximum(s.sums(s.old) / s.n, 0)),
        "adams": np.where(adam > 0, update / adam, 1.0),
    }


def _moved(s: Flat, form: np.ndarray) -> np.ndarray:
    """As `reading.moved`."""
    way = s.was - s.x - s.spread(s.shrink) * s.was
    size = s.rms(way)
    told = (s.lr > 0) & (size > SEEN * s.coarse * s.rms(s.was)) & np.isfinite(size)
    return np.where(told.repeat(s.n), way / s.spread(s.lr), form)


def _snr(update: np.ndarray, beta1: np.ndarray) -> np.ndarray:
    """As `quantities.signal_to_noise`: inf where the update is 1 or more."""
    below = update < 1
    return np.where(below, snr_from_update_rms(np.where(below, update, 0.5), beta1), math.inf)


def _angle(s: Flat, u: np.ndarray) -> np.ndarray:
    """As `quantities.angle` of x and -lr u, from sums; 0 where x is."""
    xx, xs, ss = s.sums(s.x * s.x), -s.lr * s.sums(s.x * u), s.lr**2 * s.sums(u * u)
    return np.where(xx == 0, 0, np.arctan2(np.sqrt(np.maximum(xx * ss - xs * xs, 0)), xx + xs))


def _agreement(s: Flat) -> np.ndarray:
    both = s.m * s.g
    moving = s.counts(both != 0)
    return np.where(moving > 0, s.counts(both > 0) / np.maximum(moving, 1), 0.5)


def _still(s: Flat) -> np.ndarray:
    asks = np.abs(s.g * s.g - s.old) > 0.1 * s.old
    return np.where(s.follows, s.counts((s.old == s.v) & asks & (s.old != 0)) / s.n, 0.0)


def _medians(root: np.ndarray, s: Flat) -> np.ndarray:
    """The median of what is not 0, of evenly spaced coordinates, (T,)."""
    parts = (
        root[at : at + n : -(-n // MIDDLE)]
        for at, n in zip(s.starts.tolist(), s.n.tolist(), strict=True)
    )
    return np.array([_median(part[part > 0]) for part in parts])


def _median(x: np.ndarray) -> float:
    """The lower of the two in the middle, as torch takes it."""
    return float(np.partition(x, (len(x) - 1) // 2)[(len(x) - 1) // 2]) if len(x) else 0.0


def _bounds(s: Flat) -> np.ndarray:
    return np.array(
        [
            _bound(*each)
            for each in zip(s.beta1.tolist(), s.beta2.tolist(), s.t.tolist(), strict=True)
        ]
    )


@lru_cache(maxsize=256)
def _bound(beta1: float, beta2: float, t: float) -> float:
    return float(update_bound(beta1, beta2, t))


def _reading(step: int, taken: TensorSample, found: dict[str, Any]) -> Reading:
    before, (lr, beta1, beta2, eps) = taken.before, taken.numbers
    found["kept_rms"] *= before.v is not None
    found["warm"] = before.v is not None and found["warm"]
    return Reading(
        layer=taken.layer, step=step, t=taken.t, before=before.t, shape=taken.shape,
        dtype=str(taken.v.dtype).removeprefix("torch."), lr=lr, beta1=beta1, beta2=beta2, eps=eps,
        shrink=before.shrink, **found,
    )  # fmt: skip
