"""The limit of RMSProp's v for any Hessian: the smallest stable diagonal preconditioner."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput
from betaplane.theory._validation import POSITIVE, ArgumentRange, check_arrays

ANY = ArgumentRange("(-inf, inf)", 1.0)
BARRIERS = np.geomspace(1.0, 1e-13, 40)  # each solved from the last one's solution
STEPS = 50  # Newton's, of one barrier at most
STEEP = 0.25  # least share of the predicted decrease that a step must reach


def resting_root_v_of(gradient: ArrayLike, hessian: ArrayLike, lr: float) -> np.ndarray:
    r"""The limit of full-batch RMSProp's sqrt(v) for any Hessian.

    ```
    sqrt(v) = lr p,    p = argmin  sum p_i + sum g_i^2 / (lr^2 p_i)    with    H <= 2 diag(p)
    ```

    A convex problem, solved by Newton's method with logarithmic barriers. Where no curvature binds,
    sqrt(v) is |g|.

    Args:
        gradient: g, mean over the oscillation, (d,), gradient units.
        hessian: H, symmetric, (d, d), gradient units over x's.
        lr: learning rate, > 0, in x's unit.

    Returns:
        sqrt(v), (d,), gradient units, to about 1e-6 of its largest.

    Raises:
        BadInput: if an argument is out of its range or the shapes do not fit.

    Source: J. Cohen et al., 2025, arXiv:2410.24206, the stationary preconditioner; `resting_root_v`
        is that of a diagonal H.

    Example:
        >>> resting_root_v_of([0.1, 0.1], [[1.0, 0.0], [0.0, 50.0]], lr=0.01).round(5)
        array([0.1 , 0.25])
        >>> resting_root_v_of([0.0, 0.0], [[2.0, 1.0], [1.0, 2.0]], lr=0.1).round(5)  # p = 1.5: top of H / p is 2
        array([0.15, 0.15])
    """
    where = "resting_root_v_of"
    (g,), (H,) = (
        check_arrays(where, gradient=(gradient, ANY)),
        check_arrays(where, hessian=(hessian, ANY)),
    )
    (rate,) = check_arrays(where, lr=(lr, POSITIVE))
    if not (g.ndim == 1 and len(g) and H.shape == 2 * g.shape and rate.ndim == 0):
        shapes = f"hessian {H.shape}, gradient {g.shape} and lr {rate.shape}"
        raise BadInput(
            f"{shapes} do not fit",
            where=where,
            instead="hessian (d, d), gradient (d,), lr a number",
        )
    if not np.allclose(H, H.T):
        raise BadInput("hessian is not symmetric", where=where, instead="hessian=(H + H.T) / 2")
    slope = abs(g) / float(rate)
    size = max(float(np.linalg.eigvalsh(H)[-1]) / 2, float(slope.max()))
    if size <= 0:
        return np.zeros_like(g)  # nothing holds v up
    p, slope, H = np.full_like(g, 2.0), slope / size, H / size
    for barrier in BARRIERS:
        p = _smallest(p, slope**2, H, barrier)
    return float(rate) * size * p


def _smallest(p: np.ndarray, slope2: np.ndarray, H: np.ndarray, barrier: float) -> np.ndarray:
    """Where sum p + slope2 / p - barrier (log det(2 diag p - H) + sum log p) is least: damped
    Newton steps from p.
    """
    value = _cost(p, slope2, H, barrier)
    for _ in range(STEPS):
        inverse = np.linalg.inv(2 * np.diag(p) - H)
        gradient = 1 - slope2 / p**2 - barrier * (2 * np.diag(inverse) + 1 / p)
        curvature = 4 * barrier * inverse**2 + np.diag(2 * slope2 / p**3 + barrier / p**2)
        step = np.linalg.solve(curvature, -gradient)
        fall, by = -float(gradient @ step), 1.0
        while (
            new := _cost(p + by * step, slope2, H, barrier)
        ) > value - STEEP * by * fall and by > 1e-12:
            by /= 2
        if not new < value:
            break
        p, value = p + by * step, new
        if fall < 1e-3 * barrier:
            break
    return p


def _cost(p: np.ndarray, slope2: np.ndarray, H: np.ndarray, barrier: float) -> float:
    """The function that `_smallest` minimizes; inf outside of the barriers."""
    if not (p > 0).all():
        return np.inf
    try:
        factor = np.diag(np.linalg.cholesky(2 * np.diag(p) - H))
    except np.linalg.LinAlgError:
        return np.inf
    return float(
        p.sum() + (slope2 / p).sum() - barrier * (2 * np.log(factor).sum() + np.log(p).sum())
    )
