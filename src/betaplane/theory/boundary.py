r"""Adam's divergence on the counterexample of Zhang et al. 2022 (arXiv:2208.09632).

The problem is a sum of n components with constant slopes far from the minimizer: G = 1 + (n - 1) a
once, -a the other n - 1 times. Far from the minimizer only the sign of the stationary drift, the
mean of m / sqrt(v), matters: if it is negative, Adam diverges; if it is positive, Adam converges.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import BETA, POSITIVE, check_arrays, check_floats, check_integers

GRID = 1000  # points a pass of the search for the divergent interval


def drift(beta1: ArrayLike, beta2: ArrayLike, n: int, a: float = 1.0) -> np.ndarray:
    r"""The stationary drift S of Adam per cycle of the counterexample; Adam diverges if S < 0.

    Components come in cyclic order, the steep one first. At position j = 0 .. n - 1, with eps = 0
    and t -> inf:

    ```
    G   = 1 + (n - 1) a
    m_j = -a  + (G + a)     (1 - beta1) beta1^j / (1 - beta1^n)
    v_j = a^2 + (G^2 - a^2) (1 - beta2) beta2^j / (1 - beta2^n)
    S   = sum_j m_j / sqrt(v_j)
    ```

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts with beta1's.
        n: number of components, >= 2.
        a: slope of the shallow components, > 0.

    Returns:
        S, float64, in the broadcast shape of beta1 and beta2; no unit (it is the mean update in
        units of lr, times n).

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived from the two moments over a period; checked against simulated moments. The
        problem: Y. Zhang et al., 2022, arXiv:2208.09632.

    Example:
        >>> drift(0.9, [0.95, 0.999], n=10).round(2)
        array([0.24, 0.3 ])
        >>> round(float(drift(0.9, 0.5, n=10)), 2)
        -0.38
    """
    _check("drift", n, a)
    beta1, beta2 = check_arrays("drift", beta1=(beta1, BETA), beta2=(beta2, BETA))
    G = 1 + (n - 1) * a
    m = -a + (G + a) * _weights(beta1, n)
    v = a**2 + (G**2 - a**2) * _weights(beta2, n)
    return np.einsum("...j,...j->...", m, 1 / np.sqrt(v))


def diverges(beta1: ArrayLike, beta2: ArrayLike, n: int, a: float = 1.0) -> np.ndarray:
    """Whether Adam diverges on the cyclic counterexample: `drift(beta1, beta2, n, a) < 0`.

    It describes the motion far from the minimizer. Close to it, with eps = 0 and beta1^2 > beta2,
    |m| / sqrt(v) is unbounded and Adam can be thrown out even if this returns False.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts with beta1's.
        n: number of components, >= 2.
        a: slope of the shallow components, > 0.

    Returns:
        Booleans in the broadcast shape of beta1 and beta2.

    Raises:
        BadInput: if an argument is out of its range.

    Source: see `drift`.

    Example:
        >>> diverges([0.9, 0.95], 0.5, n=10)
        array([ True, False])
    """
    return drift(beta1, beta2, n, a) < 0


def critical_beta2(beta1: float, n: int, a: float = 1.0) -> float:
    """The critical beta2 of the cyclic counterexample: Adam diverges just below it.

    It is the largest root of `drift` in beta2. The divergent set below it need not extend to beta2
    = 0: if beta1 is large for this n it has a lower edge too.

    Args:
        beta1: decay of m, in [0, 1).
        n: number of components, >= 2.
        a: slope of the shallow components, > 0.

    Returns:
        The critical beta2, or nan if no beta2 diverges at this beta1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: root of `drift`, bracketed on a logarithmic grid of 1 - beta2 and bisected; checked
        numerically.

    Example:
        >>> round(critical_beta2(0.9, n=10), 4), critical_beta2(0.95, n=10)
        (0.7747, nan)
    """
    _check("critical_beta2", n, a)
    (beta1,) = check_floats("critical_beta2", beta1=(beta1, BETA))
    q = np.geomspace(1e-3 / (n * (1 + n * a)), 1.0, GRID)
    S = drift(beta1, 1 - q, n, a)
    if not (S < 0).any():  # the divergent interval may hide between two points
        low = int(S.argmin())
        q = np.geomspace(q[max(low - 1, 0)], q[min(low + 1, GRID - 1)], GRID)
        S = drift(beta1, 1 - q, n, a)
    if not (S < 0).any():
        return math.nan
    edge = int((S < 0).argmax())
    return 1.0 - _bisect(beta1, n, a, good=float(q[edge - 1]), bad=float(q[edge]))


def critical_first_order(n: int, a: float = 1.0) -> float:
    """The critical 1 - beta2 of the cyclic counterexample at beta1 = 0, to first order.

    ```
    rho = (G^2 - a^2) / (G^2 + (n - 1) a^2)
    1 - beta2* = 4 / ((n - 1) (1 + n a) rho)        (a = 1, large n: 4 / (n^2 - 1))
    ```

    Args:
        n: number of components, >= 3.
        a: slope of the shallow components, > 0.

    Returns:
        1 - beta2*, in (0, 1), or nan if the first order has no solution (a too small for this n);
        accurate to 1% from n = 20 on at a = 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived; checked numerically here.

    Example:
        >>> f"{critical_first_order(100):.3e} against {1 - critical_beta2(0.0, 100):.3e}"
        '4.040e-04 against 4.053e-04'
    """
    _check("critical_first_order", n, a, least=3)
    G = 1 + (n - 1) * a
    rho = (G**2 - a**2) / (G**2 + (n - 1) * a**2)
    q = 4 / ((n - 1) * (1 + n * a) * rho)
    return q if q < 1 else math.nan


def critical_with_replacement(beta1: float, n: int, a: float = 1.0) -> float:
    """The critical 1 - beta2 for draws with replacement, to first order in 1 - beta2.

    ```
    q0 = 2 E[g^2] E[g] / (E[g^3] - E[g^2] E[g])     (a = 1, large n: 2 / n^2)
    q  = q0 (1 - beta1 (1 - q)) / (1 - beta1)       solved for q = 1 - beta2*
    ```

    Args:
        beta1: decay of m, in [0, 1).
        n: number of components, >= 3.
        a: slope of the shallow components, > 0.

    Returns:
        1 - beta2*, in (0, 1), or nan if the first order has no solution (beta1 too near 1 for this
        n).

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived; checked numerically here.

    Example:
        >>> round(critical_with_replacement(0.9, n=10), 4)
        0.0278
    """
    _check("critical_with_replacement", n, a, least=3)
    (beta1,) = check_floats("critical_with_replacement", beta1=(beta1, BETA))
    G = 1 + (n - 1) * a
    g1, g2, g3 = (float(G**p + (n - 1) * (-a) ** p) / n for p in (1, 2, 3))
    q0 = 2 * g2 * g1 / (g3 - g2 * g1)
    room = 1 - q0 * beta1 / (1 - beta1)
    return q0 / room if room > q0 else math.nan


def _weights(beta: np.ndarray, n: int) -> np.ndarray:
    """(1 - beta) beta^j / (1 - beta^n), shape (..., n), without cancellation at beta near 1."""
    powers = beta[..., None] ** np.arange(n)
    return powers / powers.sum(axis=-1, keepdims=True)


def _bisect(beta1: float, n: int, a: float, good: float, bad: float) -> float:
    """The 1 - beta2 between good (drift >= 0) and bad (drift < 0) at which the sign changes."""
    for _ in range(60):
        middle = math.sqrt(good * bad)
        if drift(beta1, 1 - middle, n, a) < 0:
            bad = middle
        else:
            good = middle
    return math.sqrt(good * bad)


def _check(where: str, n: int, a: float, least: int = 2) -> None:
    check_integers(where, n=(n, least))
    check_floats(where, a=(a, POSITIVE))
