"""Cheap statistics of every step, computed from the recorded moments of a few elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from betaplane.monitor.capture.adam_state import StepValues

# tolerated relative deviation of v from beta2 v + (1 - beta2) g^2; float32 rounds by far less
TOLERANCE = 0.01
TOLERANCE_16_BIT = 0.2  # if the moments are stored in 16 bits


class StepStats(NamedTuple):
    """The statistics of one step."""

    step: int
    norm: float  # of the gradients, gradient units; nan if some gradients are unknown
    # of these gradients with those of the step before, in [-1, 1]; 0 if those are unknown
    correlation: float
    update: float  # the largest RMS of a tensor's update, units of lr
    layer: str  # the tensor with that update
    lag: float  # the largest RMS_t of a tensor
    reach: float  # the largest |update| of an element, units of lr
    finite: bool


PerElement = float | np.ndarray  # one number for all elements, or an array (N,)


@dataclass
class RecordSettings:
    """Constants shared by all steps of a record of T tensors with N elements in total."""

    names: list[str]
    n: np.ndarray  # elements of each tensor, (T,)
    starts: np.ndarray  # index of its first element, (T,)
    beta1: np.ndarray  # (1,) if all tensors have the same, else (T,)
    beta2: np.ndarray
    beta1_per_element: PerElement
    gradient_factor: PerElement  # 1 / (1 - beta1)
    beta2_per_element: PerElement
    square_factor: PerElement  # 1 - beta2
    min_root: PerElement  # eps, bounded away from 0, gradient units
    tolerance: PerElement  # tolerated relative deviation of v

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        n: Sequence[int],
        values: Sequence[StepValues],
        coarse: Sequence[bool],
        dtype: type,
    ) -> RecordSettings:
        """Build the settings.

        Args:
            names: of the T tensors.
            n: recorded elements of each.
            values: lr, betas and eps of its group.
            coarse: whether its moments are stored in 16 bits.
            dtype: of the record.
        """
        sizes = np.array(n)
        _, beta1, beta2, eps = np.array(values, dtype=np.float64).T

        def per_element(column: np.ndarray) -> PerElement:
            if np.ptp(column) == 0:
                return column[0].item()
            return column.repeat(sizes).astype(dtype)

        shared = np.ptp(beta1) == np.ptp(beta2) == 0
        return cls(
            names=list(names),
            n=sizes,
            starts=sizes.cumsum() - sizes,
            beta1=beta1[:1] if shared else beta1,
            beta2=beta2[:1] if shared else beta2,
            beta1_per_element=per_element(beta1),
            gradient_factor=per_element(1 / (1 - beta1)),
            beta2_per_element=per_element(beta2),
            square_factor=per_element(1 - beta2),
            min_root=per_element(np.maximum(eps, np.sqrt(np.finfo(dtype).tiny))),
            tolerance=per_element(np.where(coarse, TOLERANCE_16_BIT, TOLERANCE)),
        )


def step_stats(
    rows: np.ndarray, first: int, t: np.ndarray, s: RecordSettings
) -> tuple[list[StepStats], np.ndarray]:
    """The statistics of consecutive steps, in one pass over all tensors.

    ```
    g_k = (m_k - beta1 m_{k-1}) / (1 - beta1)            u_k = m_hat_k / (sqrt(v_hat_k) + eps)
    norm = |g|,  correlation = g_k . g_{k-1} / (|g_k| |g_{k-1}|),  update = RMS(u),  lag = RMS(g / max(root, eps))
    ```

    with root = sqrt(v_hat).

    Args:
        rows: m and v after step `first` and after each of the K steps that follow, (K + 1, 2, N),
            gradient units (squared).
        first: the step of the first row.
        t: the step count of each tensor at the last row, (T,).
        s: what the steps share.

    Returns:
        One StepStats per step; and for each tensor the last step whose v does not follow from the
        previous step by Adam's rule, (T,), -1 if all do. Up to that step its gradients are
        meaningless.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1, solved for g; RMS_t: M. Wortsman et al., 2023,
    arXiv:2304.13013.

    Example:
        >>> s = RecordSettings.of(["w"], [2], [StepValues(0.1, 0.5, 0.5, 0.0)], [False], np.float64)
        >>> rows = np.array([[[0.0, 0.0], [0.0, 0.0]], [[0.5, -1.0], [0.5, 2.0]], [[-0.25, 0.5], [0.75, 3.0]]])
        >>> step1, step2 = step_stats(rows, 0, np.array([2.0]), s)[0]
        >>> step1.step, round(step1.norm, 4), step1.update, step1.lag
        (1, 2.2361, 1.0, 1.0)
        >>> round(step2.correlation, 4), round(step2.update, 4)
        (-1.0, 0.3333)
    """
    with np.errstate(all="ignore"):
        m, v = rows[:, 0], rows[:, 1]
        g, invalid = _gradients(m, v, s)
        c1, c2 = _bias_corrections(len(g), t, s, m.dtype)
        v_hat = v[1:] * c2
        u = m[1:] * c1
        u /= np.sqrt(v_hat) + s.min_root
        u *= u
        lag = g * g
        norms = np.sqrt(lag.sum(1))
        lag /= np.maximum(v_hat, s.min_root * s.min_root)
        update_rms, lag_rms = (
            np.sqrt(np.add.reduceat(squares, s.starts, axis=1) / s.n) for squares in (u, lag)
        )
        products = np.maximum(norms[1:] * norms[:-1], np.finfo(g.dtype).tiny)
        correlations = np.einsum("kn,kn->k", g[1:], g[:-1]) / products
        largest = np.sqrt(u.max(1))
        stats = _stats(first, s.names, norms, correlations, update_rms, lag_rms, largest)
    if invalid is None:
        return stats, np.full(len(s.n), -1)
    steps = np.arange(first + 1, first + 1 + len(g))[:, None]
    return stats, np.where(invalid, steps, -1).max(0)


def _gradients(
    m: np.ndarray, v: np.ndarray, s: RecordSettings
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradients that moved m, (K, N), and for which steps and tensors v contradicts them.

    These are (K, T), or None if there are none; their gradients are set to 0.
    """
    g = m[1:] - s.beta1_per_element * m[:-1]
    g *= s.gradient_factor
    deviation = g * g
    deviation *= s.square_factor
    deviation += s.beta2_per_element * v[:-1]
    deviation -= v[1:]
    contradicts = np.abs(deviation, out=deviation) > s.tolerance * v[1:]
    if not contradicts.any():
        return g, None
    invalid = np.logical_or.reduceat(contradicts, s.starts, axis=1)
    return np.where(invalid.repeat(s.n, axis=1), 0, g), invalid


def _bias_corrections(
    k: int, t: np.ndarray, s: RecordSettings, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Adam's 1 / (1 - beta^t) of k steps that end at step t; (K, 1), or (K, N)."""
    if len(s.beta1) == 1 and (t == t[0]).all():
        counts = [max(float(t[0]) - ago, 1.0) for ago in range(k - 1, -1, -1)]
        c1, c2 = (
            np.array([[1 / (1 - float(beta[0]) ** count)] for count in counts], dtype=dtype)
            for beta in (s.beta1, s.beta2)
        )
        return c1, c2
    counts = np.maximum(t - np.arange(k)[::-1, None], 1.0)
    c1, c2 = (
        (1 / (1 - beta**counts)).astype(dtype).repeat(s.n, axis=1) for beta in (s.beta1, s.beta2)
    )
    return c1, c2


def _stats(
    first: int,
    names: list[str],
    norms: np.ndarray,
    correlations: np.ndarray,
    update_rms: np.ndarray,
    lag_rms: np.ndarray,
    largest: np.ndarray,
) -> list[StepStats]:
    rows = zip(
        norms.tolist(),
        (0.0, *correlations.tolist()),
        update_rms.max(1).tolist(),
        update_rms.argmax(1).tolist(),
        lag_rms.max(1).tolist(),
        largest.tolist(),
        np.isfinite(norms + largest).tolist(),
        strict=True,
    )
    return [
        StepStats(first + 1 + k, norm, correlation, update, names[i], lag, reach, finite)
        for k, (norm, correlation, update, i, lag, reach, finite) in enumerate(rows)
    ]
