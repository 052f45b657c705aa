"""Bias correction: its factor, its equivalent schedule of beta, its effect per gradient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    POSITIVE,
    STEP,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    check_floats,
    unwrap,
    unwrap_below_one,
)


def correction(beta: ArrayLike, t: ArrayLike) -> FloatOrArray:
    r"""The factor 1 / (1 - beta^t) that corrects a moving average for its start at zero.

    Args:
        beta: decay of the average, in [0, 1); any shape.
        t: step, >= 1; any shape that broadcasts.

    Returns:
        The factor, >= 1: 1 / (1 - beta) at t = 1, and later towards 1. Its square root is the
        factor of sqrt(v).

    Raises:
        BadInput: if an argument is out of its range.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, section 3.

    Example:
        >>> correction([0.9, 0.999], 100).round(5)
        array([ 1.00003, 10.50334])
    """
    beta, t = check_arrays("correction", beta=(beta, BETA), t=(t, STEP))
    return unwrap(1 / (1 - beta**t))


def debiased_beta(beta: ArrayLike, t: ArrayLike) -> FloatOrArray:
    r"""The decay with which an uncorrected moving average equals the corrected one.

    ```
    m_hat_t = beta_t m_hat_{t-1} + (1 - beta_t) g_t        beta_t = beta (1 - beta^(t - 1)) / (1 - beta^t)
    ```

    It starts at 0 and rises to beta; as long as t is small against 1 / (1 - beta), 1 - beta_t is
    about 1 / t, a plain average over all steps so far.

    Args:
        beta: decay of the average, in [0, 1); any shape.
        t: step, >= 1; any shape that broadcasts.

    Returns:
        beta_t, in [0, beta].

    Raises:
        BadInput: if an argument is out of its range.

    Source: N. Shazeer, M. Stern, 2018, arXiv:1804.04235, section 7.1.

    Example:
        >>> debiased_beta(0.999, [1, 2, 3, 1000]).round(4)
        array([0.    , 0.4997, 0.6663, 0.9984])
    """
    beta, t = check_arrays("debiased_beta", beta=(beta, BETA), t=(t, STEP))
    return unwrap(beta * (1 - beta ** (t - 1)) / (1 - beta**t))


def adafactor_beta2(t: ArrayLike, power: ArrayLike = 0.8) -> FloatOrArray:
    r"""Adafactor's decay of the second moment, 1 - t^(-power): its memory grows with the run.

    Args:
        t: step, >= 1; any shape.
        power: the exponent, > 0; any shape that broadcasts. The paper requires < 1 and uses 0.8.

    Returns:
        beta2_t, in [0, 1); 0 at t = 1, so that no correction is needed.

    Raises:
        BadInput: if an argument is out of its range.

    Source: N. Shazeer, M. Stern, 2018, arXiv:1804.04235, section 7.2.

    Example:
        >>> adafactor_beta2([1, 10, 1000]).round(4)
        array([0.    , 0.8415, 0.996 ])
    """
    t, power = check_arrays("adafactor_beta2", t=(t, STEP), power=(power, POSITIVE))
    return unwrap_below_one(-np.expm1(-power * np.log(t)))


def influence(beta: float, i: int) -> float:
    r"""The total weight of gradient i in a corrected average over the run; 1 without correction.

    The weight of g_i in m_hat_t, summed over all t >= i:

    ```
    sum_t (1 - beta) beta^(t - i) / (1 - beta^t)  =  sum_j (1 - beta) beta^(i j) / (1 - beta^(j + 1))      j = 0, 1, ...
    ```

    The first gradients count several times over: 3.0 times at beta = 0.9, 5.2 times at 0.99. An
    Adam without correction of m (AdamD) gives all the same influence.

    Args:
        beta: decay of the average, in [0, 1).
        i: which gradient, >= 1.

    Returns:
        The influence, >= 1; towards 1 for late gradients.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived (the two sums are one double sum in either order), checked by summing weights.

    Example:
        >>> [round(influence(0.9, i), 2) for i in (1, 2, 10, 20)]
        [3.01, 2.23, 1.25, 1.07]
    """
    beta, start = check_floats("influence", beta=(beta, BETA), i=(i, STEP))
    if beta == 0:
        return 1.0
    j = np.arange(1 + math.ceil(40 / (-start * math.log(beta))))
    return float(((1 - beta) * beta ** (start * j) / (1 - beta ** (j + 1.0))).sum())


def steps_until_corrected(
    beta: ArrayLike, within: ArrayLike = 0.01, root: bool = False
) -> FloatOrArray:
    r"""The number of steps after which the correction, or its root, is below 1 + within.

    ```
    t = ln(w / (1 + w)) / ln(beta)        w = within, or (1 + within)^2 - 1 for the root
    ```

    Args:
        beta: decay of the average, in [0, 1); any shape.
        within: the share the factor may still differ by, > 0; any shape that broadcasts.
        root: whether to take the square root of the factor, as for sqrt(v).

    Returns:
        Steps, not rounded; 0 at beta = 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: `correction`, solved for t.

    Example:
        >>> round(steps_until_corrected(0.999)), round(steps_until_corrected(0.999, root=True))
        (4613, 3925)
    """
    beta, within = check_arrays(
        "steps_until_corrected", beta=(beta, BETA), within=(within, ArgumentRange("(0, inf)", 0.01))
    )
    w = within * (2 + within) if root else within
    with np.errstate(divide="ignore"):
        return unwrap(np.log(w / (1 + w)) / np.log(beta))
