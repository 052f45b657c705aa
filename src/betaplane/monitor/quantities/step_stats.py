"""What every step tells cheaply: sizes of gradients and updates, lag, turns; of a few coordinates
of every tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from betaplane.monitor.capture.adam_state import StepValues

# how far v may be from beta2 v + (1 - beta2) g^2, of itself: float32 rounds by far less
EXACT = 0.01
COARSE = 0.2  # where the moments have 16 bits


class StepStats(NamedTuple):
    """The light quantities of one step."""

    step: int
    norm: float  # of the gradients, gradient units; nan where they are not known of all tensors
    # of the gradients with the last step's, in [-1, 1]; 0 where these are not known
    correlation: float
    update: float  # the largest RMS of a tensor's update, units of lr
    layer: str  # where
    lag: float  # the largest RMS_t of a tensor
    reach: float  # the largest |update| of a coordinate, units of lr
    finite: bool


Each = float | np.ndarray  # one number for all coordinates, or an array (N,)


@dataclass
class Settings:
    """What the steps of a record share; arrays (T,) are over tensors."""

    names: list[str]
    n: np.ndarray  # coordinates of each tensor, (T,)
    starts: np.ndarray  # the first coordinate of each, (T,)
    beta1: np.ndarray  # (1,) where all tensors have the same, else (T,)
    beta2: np.ndarray
    keep: Each  # beta1
    grow: Each  # 1 / (1 - beta1)
    decay: Each  # beta2
    gain: Each  # 1 - beta2
    floor: Each  # eps, and nowhere 0, gradient units
    tolerance: Each  # relative error of v

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        n: Sequence[int],
        numbers: Sequence[StepValues],
        coarse: Sequence[bool],
        dtype: type,
    ) -> Settings:
        """The settings of tensors.

        Args:
            names: of the tensors, T.
            n: coordinates of each.
            numbers: its group's lr, betas and eps.
            coarse: whether its moments have 16 bits.
            dtype: of the record.
        """
        sizes, (_, beta1, beta2, eps) = np.array(n), np.array(numbers, dtype=np.float64).T
        floor = np.maximum(eps, np.sqrt(np.finfo(dtype).tiny))
        spread = [beta1, 1 / (1 - beta1), beta2, 1 - beta2, floor, np.where(coarse, COARSE, EXACT)]
        wide = [
            each[0].item() if np.ptp(each) == 0 else each.repeat(sizes).astype(dtype)
            for each in spread
        ]
        alike = slice(1) if np.ptp(beta1) == np.ptp(beta2) == 0 else slice(None)
        return cls(list(names), sizes, sizes.cumsum() - sizes, beta1[alike], beta2[alike], *wide)


def lights(
    rows: np.ndarray, first: int, t: np.ndarray, s: Settings
) -> tuple[list[StepStats], np.ndarray]:
    """The light quantities of consecutive steps, in one pass over all tensors.

    ```
    g_k = (m_k - beta1 m_{k-1}) / (1 - beta1)            u_k = m_hat_k / (sqrt(v_hat_k) + eps)
    norm = |g|,  correlation = g_k . g_{k-1} / (|g_k| |g_{k-1}|),  update = RMS(u),  lag = RMS(g / max(root, eps))
    ```

    with root = sqrt(v_hat).

    Args:
        rows: m and v after step `first` and each of the K steps after it, (K + 1, 2, N), gradient units (squared).
        first: the step of the first row.
        t: the steps that the optimizer has counted for each tensor at the last row, (T,).
        s: what the steps share.

    Returns:
        One Light a step; and, of each tensor, the last step whose v does not follow from the step before by Adam's
        rule, -1 where all do, (T,): up to it the gradients mean nothing.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1, solved for g; RMS_t: M. Wortsman et al., 2023,
    arXiv:2304.13013.

    Example:
        >>> s = Settings.of(["w"], [2], [StepValues(0.1, 0.5, 0.5, 0.0)], [False], np.float64)
        >>> rows = np.array([[[0.0, 0.0], [0.0, 0.0]], [[0.5, -1.0], [0.5, 2.0]], [[-0.25, 0.5], [0.75, 3.0]]])
        >>> one, two = lights(rows, 0, np.array([2.0]), s)[0]
        >>> one.step, round(one.norm, 4), one.update, one.lag
        (1, 2.2361, 1.0, 1.0)
        >>> round(two.correlation, 4), round(two.update, 4)
        (-1.0, 0.3333)
    """
    with np.errstate(all="ignore"):
        m, v = rows[:, 0], rows[:, 1]
        g, wrong = _gradients(m, v, s)
        c1, c2 = _corrections(len(g), t, s, m.dtype)
        v_hat = v[1:] * c2
        u = m[1:] * c1
        u /= np.sqrt(v_hat) + s.floor
        u *= u
        lag = g * g
        norms = np.sqrt(lag.sum(1))
        lag /= np.maximum(v_hat, s.floor * s.floor)
        sizes, lags = (np.sqrt(np.add.reduceat(each, s.starts, axis=1) / s.n) for each in (u, lag))
        dots = np.einsum("kn,kn->k", g[1:], g[:-1]) / np.maximum(
            norms[1:] * norms[:-1], np.finfo(g.dtype).tiny
        )
        told = _told(first, s.names, norms, dots, sizes, lags, np.sqrt(u.max(1)))
    if wrong is None:
        return told, np.full(len(s.n), -1)
    steps = np.arange(first + 1, first + 1 + len(g))[:, None]
    return told, np.where(wrong, steps, -1).max(0)


def _gradients(m: np.ndarray, v: np.ndarray, s: Settings) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradients that moved m, (K, N), 0 for tensors whose v they do not explain; and for which,
    (K, T) or None.
    """
    g = m[1:] - s.keep * m[:-1]
    g *= s.grow
    off = g * g
    off *= s.gain
    off += s.decay * v[:-1]
    off -= v[1:]
    far = np.abs(off, out=off) > s.tolerance * v[1:]
    if not far.any():
        return g, None
    wrong = np.logical_or.reduceat(far, s.starts, axis=1)
    return np.where(wrong.repeat(s.n, axis=1), 0, g), wrong


def _corrections(k: int, t: np.ndarray, s: Settings, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Adam's bias corrections 1 / (1 - beta^t) of k steps, the last of which is t; (K, 1), or (K,
    N).
    """
    if len(s.beta1) == 1 and (t == t[0]).all():
        counted = [max(float(t[0]) - ago, 1.0) for ago in range(k - 1, -1, -1)]
        both = (
            [[1 / (1 - float(beta[0]) ** each)] for each in counted] for beta in (s.beta1, s.beta2)
        )
        c1, c2 = (np.array(each, dtype=dtype) for each in both)
        return c1, c2
    counted = np.maximum(t - np.arange(k)[::-1, None], 1.0)
    c1, c2 = (
        (1 / (1 - beta**counted)).astype(dtype).repeat(s.n, axis=1) for beta in (s.beta1, s.beta2)
    )
    return c1, c2


def _told(
    first: int, names: list[str], norms: Any, dots: Any, sizes: Any, lags: Any, top: Any
) -> list[StepStats]:
    at = sizes.argmax(1).tolist()
    finite = np.isfinite(norms + top).tolist()
    most, worst = sizes.max(1).tolist(), lags.max(1).tolist()
    rows = zip(norms.tolist(), (0.0, *dots.tolist()), most, worst, top.tolist(), strict=True)
    return [
        StepStats(first + 1 + k, norm, dot, size, names[at[k]], lag, reach, finite[k])
        for k, (norm, dot, size, lag, reach) in enumerate(rows)
    ]
