"""The exact supremum of an Adam update, |m| / sqrt(v), and the gradients that attain it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    STEP_OR_INF,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    check_integers,
    unwrap,
)


def update_bound(
    beta1: ArrayLike, beta2: ArrayLike, t: ArrayLike = math.inf, corrected: bool = True
) -> FloatOrArray:
    r"""The exact supremum of |m_t| / sqrt(v_t) over all gradients g_1 .. g_t.

    Times lr, it bounds a step of Adam.

    With r = beta1^2 / beta2 (Cauchy-Schwarz between the two moments; `extremal_gradients` attains
    it):

    ```
    |m_t| / sqrt(v_t)          <=  (1 - beta1) / sqrt(1 - beta2)  sqrt((1 - r^t) / (1 - r))        (r = 1: sqrt(t))
    |m_hat_t| / sqrt(v_hat_t)  <=  the same times  sqrt(1 - beta2^t) / (1 - beta1^t)
    t -> inf:                      (1 - beta1) / sqrt((1 - beta2) (1 - r)),  and no bound if beta1^2 >= beta2
    ```

    With correction it is 1 at every t if beta1 = beta2, and otherwise above 1 from t = 2 on. With
    eps > 0 the update is smaller by `damping`.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        t: step, in [1, inf]; inf is the steady state. Any shape that broadcasts.
        corrected: with bias correction, as Adam is published.

    Returns:
        The supremum, in units of lr; inf if there is none (or above 1e154, whose square is not in
        float64).

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived, and checked by gradient ascent over histories. D. Kingma, J. Ba, 2015,
        arXiv:1412.6980, section 2.1, state a smaller one, `kingma_ba_claim`, which these gradients
        exceed.

    Example:
        >>> round(update_bound(0.9, 0.999), 4), round(update_bound(0.9, 0.95), 4), update_bound(0.9, 0.8)
        (7.2703, 1.165, inf)
        >>> update_bound(0.9, [0.9, 0.99, 0.999], t=10).round(4)
        array([1.    , 1.0359, 1.0431])
    """
    beta1, beta2, t = check_arrays(
        "update_bound", beta1=(beta1, BETA), beta2=(beta2, BETA), t=(t, STEP_OR_INF)
    )
    bound = (1 - beta1) / np.sqrt(1 - beta2) * np.sqrt(power_sum(_ratio(beta1, beta2), t))
    return unwrap(bound * np.sqrt(1 - beta2**t) / (1 - beta1**t) if corrected else bound)


def extremal_gradients(beta1: float, beta2: float, t: int) -> np.ndarray:
    r"""Gradients that attain `update_bound`: g_i proportional to (beta1 / beta2)^(t - i).

    They grow geometrically if beta1 < beta2, shrink if beta1 > beta2, and are constant if beta1 =
    beta2. The same history is extremal with and without bias correction.

    Args:
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in (0, 1).
        t: number of gradients, a whole number >= 1.

    Returns:
        Array (t,), float64, the largest being 1; any common factor will do, in gradient units.
        Gradients below 1e-308 underflow to 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the case of equality in Cauchy-Schwarz; derived, checked numerically.

    Example:
        >>> extremal_gradients(0.45, 0.9, t=4)
        array([0.125, 0.25 , 0.5  , 1.   ])
    """
    check_arrays(
        "extremal_gradients", beta1=(beta1, BETA), beta2=(beta2, ArgumentRange("(0, 1)", 0.999))
    )
    check_integers("extremal_gradients", t=(t, 1))
    past = np.arange(t - 1, -1, -1)
    ratio = beta1 / beta2
    return ratio**past if ratio <= 1 else ratio ** (past - (t - 1.0))


def blow_up_rate(beta1: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""The growth rate of the update after gradients vanish: ln(beta1 / sqrt(beta2)) per step.

    With g = 0 from some step on, |m| / sqrt(v) is multiplied by beta1 / sqrt(beta2) per step. If
    that is above 1, that is beta1^2 > beta2, the update grows without limit (eps = 0), and so does
    `update_bound` with t.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.

    Returns:
        Natural logarithm of the factor per step: positive if updates grow, negative if they vanish;
        -inf at beta1 = 0, inf at beta2 = 0 < beta1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the recursions with g = 0; the condition beta1 < sqrt(beta2) is that of S. Reddi et al.,
        2018, arXiv:1904.09237, Theorem 2, and Y. Zhang et al., 2022, arXiv:2208.09632.

    Example:
        >>> round(math.exp(blow_up_rate(0.9, 0.8)), 4), blow_up_rate(0.9, 0.999) < 0
        (1.0062, True)
    """
    beta1, beta2 = check_arrays("blow_up_rate", beta1=(beta1, BETA), beta2=(beta2, BETA))
    with np.errstate(divide="ignore"):
        return unwrap(np.log(_ratio(beta1, beta2)) / 2)


def kingma_ba_claim(beta1: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""The bound on a step as stated in the Adam paper, which other gradients exceed.

    ```
    (1 - beta1) / sqrt(1 - beta2)    if that is > 1
    1                                else
    ```

    The first is the update of one gradient after zeros. If 0 < beta1 != beta2, `extremal_gradients`
    exceed the claim: at (0.9, 0.999) they reach 7.27 and the claim is 3.16; at (0.9, 0.99) they
    reach 2.35 and the claim is 1.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.

    Returns:
        The claimed bound, in units of lr, >= 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, section 2.1.

    Example:
        >>> round(kingma_ba_claim(0.9, 0.999), 4), kingma_ba_claim(0.9, 0.99)
        (3.1623, 1.0)
    """
    beta1, beta2 = check_arrays("kingma_ba_claim", beta1=(beta1, BETA), beta2=(beta2, BETA))
    return unwrap(np.maximum((1 - beta1) / np.sqrt(1 - beta2), 1.0))


def power_sum(r: ArrayLike, t: ArrayLike) -> np.ndarray:
    """The sum 1 + r + ... + r^(t - 1) for r in [0, inf], t in [1, inf], accurate near r = 1."""
    r, t = np.broadcast_arrays(np.asarray(r, dtype=float), np.asarray(t, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = np.expm1(t * np.log(r)) / np.expm1(np.log(r))
    special = [(r == 0) | (t == 1), r == 1, (r > 1) & np.isposinf(t) | np.isposinf(r)]
    return np.select(special, [1.0, t, math.inf], total)


def _ratio(beta1: np.ndarray, beta2: np.ndarray) -> np.ndarray:
    """The ratio r = beta1^2 / beta2; 0 if beta1 is 0, inf if only beta2 is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(beta1 == 0, 0.0, np.square(beta1) / beta2)
