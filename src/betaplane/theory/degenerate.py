"""Adam on |x|^k / k: its geometric rate, and the betas for which that rate is stable."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    POSITIVE_BETA,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)

DEGREE = ArgumentRange("(2, inf)", 4)
BISECTIONS = 60


def degenerate_ratio(beta2: ArrayLike, degree: ArrayLike = 4) -> FloatOrArray:
    r"""x_{t+1} / x_t of Adam on |x|^k / k in its stable phase, at a constant lr and eps = 0.

    ```
    rho = beta2^(1 / (2 (k - 2)))
    ```

    g^2 decays faster than beta2^t, so that v keeps its own rate, v_{t+1} = beta2 v_t. The effective
    learning rate lr / sqrt(v) then grows by beta2^(-1/2) per step, and balances the curvature,
    which falls by rho^(k - 2). lr does not matter. Gradient descent converges like t^(-1 / (k-2)).

    Args:
        beta2: decay of v, in (0, 1).
        degree: degree k of the minimum, > 2.

    Returns:
        The ratio, in (0, 1).

    Raises:
        BadInput: if an argument is out of its range or the shapes do not broadcast.

    Source: Z. Bai, J. Zhao, Z. Zhou, Z.-Q. J. Xu, Y. Zhang, 2026, arXiv:2603.09581.

    Example:
        >>> round(degenerate_ratio(0.93, degree=4), 9)
        0.982020914
    """
    beta2, k = check_arrays(
        "degenerate_ratio", beta2=(beta2, POSITIVE_BETA), degree=(degree, DEGREE)
    )
    return unwrap(beta2 ** (1 / (2 * (k - 2))))


def degenerate_critical_beta2(beta1: ArrayLike, degree: ArrayLike = 4) -> FloatOrArray:
    r"""The smallest beta2 for which Adam converges geometrically on |x|^k / k, at a constant lr.

    ```
    x_{t+1} - x_t = b (x_t - x_{t-1}) - c_t x_t^(k-1),   b = beta1 / sqrt(beta2)
    stable if   beta1 < beta2^(k / (2 (k - 2)))                                (no oscillation)
    and         (1 - rho) (1 - b / rho) (k - 1) < (1 + rho) (1 + b / rho)      (no change of sign)
    ```

    c_t grows by beta2^(-1/2) per step, and rho is `degenerate_ratio`. The two conditions are those
    of Jury for the recurrence, divided by rho^t and linearized at its fixed point. The first is the
    published one. The second matters near beta1 = 0 only, where it gives ((k-2) / k)^(2 (k-2)).
    Below the curve, the loss spikes or x oscillates as that of sign descent does.

    Args:
        beta1: decay of m, in [0, 1).
        degree: degree k of the minimum, > 2.

    Returns:
        The critical beta2, in (0, 1), at eps = 0.

    Raises:
        BadInput: if an argument is out of its range or the shapes do not broadcast.

    Source: Z. Bai, J. Zhao, Z. Zhou, Z.-Q. J. Xu, Y. Zhang, 2026, arXiv:2603.09581; second
    condition derived here.

    Example:
        >>> [round(degenerate_critical_beta2(beta1, degree=4), 4) for beta1 in (0.9, 0.0)]
        [0.9, 0.0625]
    """
    beta1, k = check_arrays(
        "degenerate_critical_beta2", beta1=(beta1, BETA), degree=(degree, DEGREE)
    )
    low, high = np.broadcast_arrays(beta1 ** (2 * (k - 2) / k), 1.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        keeps_sign = _keeps_sign(beta1, middle, k)
        low, high = np.where(keeps_sign, low, middle), np.where(keeps_sign, middle, high)
    return unwrap(low)


def _keeps_sign(beta1: np.ndarray, beta2: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Whether the second condition holds."""
    rho = beta2 ** (1 / (2 * (k - 2)))
    momentum = beta1 / np.sqrt(beta2) / rho
    return (1 - rho) * (1 - momentum) * (k - 1) < (1 + rho) * (1 + momentum)
