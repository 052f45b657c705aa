"""AMSGrad's bound on the regret, from the gradients of a run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput
from betaplane.theory._validation import BETA, POSITIVE, POSITIVE_BETA, ArgumentRange, check_arrays

ANY = ArgumentRange("(-inf, inf)", 1.0)


def amsgrad_regret(
    g: ArrayLike,
    lr: float,
    diameter: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    shrink: float = 0.9,
) -> float:
    r"""The bound on AMSGrad's regret over T convex losses, with steps lr / sqrt(t).

    ```
    v_max_t = max(v_max_(t-1), v_t),   gamma = beta1 / sqrt(beta2) < 1,   D = diameter,   sums over coordinates
    R_T <= D^2 sqrt(T) / (lr (1 - beta1))  sum sqrt(v_max_T)
           + D^2 / (2 lr (1 - beta1))  sum_t beta1_t sqrt(t)  sum sqrt(v_max_t)
           + lr sqrt(1 + ln T) / ((1 - beta1)^2 (1 - gamma) sqrt(1 - beta2))  sum |g_(1:T)|
    ```

    The published proof has a gap: it treats the beta1_t as equal although they are not. The bound
    is shown as stated; in the runs of the tests it holds by a wide margin.

    Args:
        g: gradients that were met, (T,) or (T, d), gradient units; T >= 1.
        lr: learning rate at t = 1, > 0, in x's unit.
        diameter: D, the largest distance of two points along one coordinate, > 0, in x's unit.
        beta1: decay of m at t = 1, in [0, 1), below sqrt(beta2).
        beta2: decay of v, in (0, 1).
        shrink: factor of beta1 per step, in [0, 1).

    Returns:
        The bound on sum_t f_t(x_t) - f_t(x*), in the loss's unit.

    Raises:
        BadInput: if an argument is out of its range, or beta1 is not below sqrt(beta2).

    Source: S. Reddi, S. Kale, S. Kumar, 2018, arXiv:1904.09237, Theorem 4; its proof's gap: T.
        Tran, L. Phong, 2019, arXiv:1904.03590.

    Example:
        >>> g = np.tile([3.0, -1.0, -1.0], 1000)  # Reddi's problem on [-1, 1]: to stay at x = 1 costs 2000
        >>> round(amsgrad_regret(g, lr=0.5, diameter=2.0, beta1=0.0, beta2=0.9))
        1369
    """
    where = "amsgrad_regret"
    check_arrays(
        where,
        lr=(lr, POSITIVE),
        diameter=(diameter, POSITIVE),
        beta1=(beta1, BETA),
        beta2=(beta2, POSITIVE_BETA),
    )
    check_arrays(where, shrink=(shrink, BETA))
    (g,) = check_arrays(where, g=(g, ANY))
    _check_betas_and_shape(g, beta1, beta2, where)
    g = g.reshape(len(g), -1)
    t, roots = np.arange(1, len(g) + 1), np.sqrt(_largest(g, beta2)).sum(axis=1)
    start = math.sqrt(len(g)) / lr * roots[-1] + (
        beta1 * shrink ** (t - 1.0) * np.sqrt(t) * roots
    ).sum() / (2 * lr)
    path = lr * math.sqrt(1 + math.log(len(g))) * np.sqrt((g**2).sum(axis=0)).sum()
    tail = (1 - beta1) ** 2 * (1 - beta1 / math.sqrt(beta2)) * math.sqrt(1 - beta2)
    return float(diameter**2 / (1 - beta1) * start + path / tail)


def _check_betas_and_shape(g: np.ndarray, beta1: float, beta2: float, where: str) -> None:
    """Raise BadInput unless beta1 is below sqrt(beta2) and g is one row of gradients per step."""
    if not beta1 < math.sqrt(beta2):
        raise BadInput(
            "beta1 is not below sqrt(beta2)",
            value=beta1,
            allowed=f"[0, {math.sqrt(beta2):.4g})",
            where=where,
            instead="beta1=0.9, beta2=0.999",
        )
    if g.ndim not in (1, 2) or not len(g):
        raise BadInput(
            "These are no gradients",
            value=g.shape,
            allowed="(T,) or (T, d)",
            where=where,
            instead="g[None]",
        )


def _largest(g: np.ndarray, beta2: float) -> np.ndarray:
    """The largest second moment so far, (T, d)."""
    v, moments = np.zeros(g.shape[1]), np.empty_like(g)
    for t, g_t in enumerate(g):
        v = beta2 * v + (1 - beta2) * g_t**2
        moments[t] = v
    return np.maximum.accumulate(moments)
