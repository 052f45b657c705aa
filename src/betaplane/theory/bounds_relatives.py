"""The supremum of one update of LaProp, AdaMax and Adam-atan2."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    POSITIVE,
    STEP_OR_INF,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    check_integers,
    unwrap,
)
from betaplane.theory.bounds import power_sum


def laprop_bound(beta1: ArrayLike, beta2: ArrayLike, t: float = math.inf) -> FloatOrArray:
    r"""The exact supremum of LaProp's update at step t, in units of lr.

    LaProp's m is the moving average of n_i = g_i / sqrt(v_hat_i), and each |n_i| can be arbitrarily
    close to sqrt((1 - beta2^i) / (1 - beta2)), all of them together, if every gradient is much
    larger than those before it:

    ```
    sup |m_hat_t|  =  (1 - beta1) / (1 - beta1^t)  sum_i beta1^(t - i) sqrt((1 - beta2^i) / (1 - beta2))
    t -> inf:         1 / sqrt(1 - beta2),  for every beta1
    ```

    So there is no blow-up at beta1^2 > beta2, but in the long run the bound is larger than Adam's
    if beta2 > beta1 / (2 - beta1) and beta1 > 0: 31.6 against 7.27 at (0.9, 0.999).

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        t: step, a whole number >= 1, or inf for the steady state.

    Returns:
        The supremum, in units of lr, >= 1; approached, not attained, unless t = 1 or beta2 = 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived, checked by simulation; the rule: L. Ziyin et al., 2020, arXiv:2002.04839.

    Example:
        >>> round(laprop_bound(0.9, 0.999), 4), round(laprop_bound(0.9, 0.999, t=10), 4)
        (31.6228, 2.437)
    """
    beta1, beta2 = check_arrays("laprop_bound", beta1=(beta1, BETA), beta2=(beta2, BETA))
    if t == math.inf:
        return unwrap(np.broadcast_arrays(1 / np.sqrt(1 - beta2), beta1)[0])
    check_integers("laprop_bound", t=(t, 1))
    i = np.arange(1, t + 1)
    weights = beta1[..., None] ** (t - i)
    steps = np.sqrt(power_sum(beta2[..., None], i))
    return unwrap((weights * steps).sum(axis=-1) / weights.sum(axis=-1))


def adamax_bound(beta1: ArrayLike, beta2: ArrayLike, t: ArrayLike = math.inf) -> FloatOrArray:
    r"""The exact supremum of AdaMax's update |m_hat_t| / u_t, in units of lr.

    ```
    (1 - beta1) / (1 - beta1^t)  (1 - (beta1 / beta2)^t) / (1 - beta1 / beta2)
    t -> inf:  (1 - beta1) / (1 - beta1 / beta2);  no bound if beta1 >= beta2 > 0
    ```

    It is attained by gradients that shrink as fast as u does, g_i = beta2^i: u remains constant
    while m remembers. The paper states 1, which this exceeds if beta1 > 0: by 0.9% at (0.9, 0.999),
    by 90% at (0.9, 0.95).

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of u, in [0, 1); any shape that broadcasts.
        t: step, in [1, inf]; inf is the steady state. Any shape that broadcasts.

    Returns:
        The supremum, in units of lr, >= 1; inf if there is none.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived, checked by simulation; the rule and its claim: D. Kingma, J. Ba, 2015,
        arXiv:1412.6980, section 7.1.

    Example:
        >>> round(adamax_bound(0.9, 0.999), 5), round(adamax_bound(0.9, 0.95), 5)
        (1.00909, 1.9)
    """
    beta1, beta2, t = check_arrays(
        "adamax_bound", beta1=(beta1, BETA), beta2=(beta2, BETA), t=(t, STEP_OR_INF)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(beta1 == 0, 0.0, beta1 / beta2)
    return unwrap((1 - beta1) / (1 - beta1**t) * power_sum(ratio, t))


def atan2_bound(update: ArrayLike, a: float = 1.27, b: float = 1.0) -> FloatOrArray:
    r"""Adam-atan2's update for an Adam update: a atan(update / b), at most a pi / 2.

    Args:
        update: |m_hat| / sqrt(v_hat), in [0, inf]; any shape. inf gives the bound itself.
        a: scale of the update, > 0.
        b: scale of the ratio, > 0.

    Returns:
        The update in units of lr, in [0, a pi / 2]; slope a / b at 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: K. Everett et al., 2024, arXiv:2407.05872 (the rule); a = 1.27 and b = 1 are those of P.
        Wang's adam-atan2-pytorch, with which an update of 1 remains 1 to 0.3%.

    Example:
        >>> [round(u, 4) for u in (atan2_bound(1.0), atan2_bound(7.27), atan2_bound(math.inf))]
        [0.9975, 1.8213, 1.9949]
    """
    update, a_, b_ = check_arrays(
        "atan2_bound",
        update=(update, ArgumentRange("[0, inf]", 1.0)),
        a=(a, POSITIVE),
        b=(b, POSITIVE),
    )
    return unwrap(a_ * np.arctan(update / b_))
