"""Warmups that follow from the betas: untuned linear and exponential, RAdam, AdamD."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    STEP,
    STEP_OR_INF,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    check_floats,
    unwrap,
)

EARLY = 0.1  # of t (1 - beta2): before it, the two large terms of rho_t would cancel
RECTIFIED = 4.0  # Var[1 / sqrt(v)] is finite for rho > 4 only


def linear_warmup_steps(beta2: ArrayLike) -> FloatOrArray:
    r"""The length of the untuned linear warmup, 2 / (1 - beta2): twice the memory horizon of v.

    Args:
        beta2: decay of v, in [0, 1); any shape.

    Returns:
        Steps, not rounded, >= 2.

    Raises:
        BadInput: if beta2 is out of its range.

    Source: J. Ma, D. Yarats, 2021, arXiv:1910.04209.

    Example:
        >>> linear_warmup_steps([0.95, 0.999]).round()
        array([  40., 2000.])
    """
    (beta2,) = check_arrays("linear_warmup_steps", beta2=(beta2, BETA))
    return unwrap(2 / (1 - beta2))


def linear_warmup(t: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""The untuned linear warmup: min(1, (1 - beta2) t / 2).

    Args:
        t: step, >= 1; any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.

    Returns:
        What lr is multiplied by, in (0, 1].

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Ma, D. Yarats, 2021, arXiv:1910.04209; about as good as RAdam there.

    Example:
        >>> linear_warmup([100, 1000, 5000], 0.999).round(4)
        array([0.05, 0.5 , 1.  ])
    """
    t, beta2 = check_arrays("linear_warmup", t=(t, STEP), beta2=(beta2, BETA))
    return unwrap(np.minimum(1, (1 - beta2) * t / 2))


def exponential_warmup(t: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""The untuned exponential warmup: 1 - exp(-(1 - beta2) t).

    It costs as many full steps as the linear one: the sum of 1 - warmup is 1 / (1 - beta2) - 1/2
    for both, but for terms of order 1 - beta2.

    Args:
        t: step, >= 1; any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.

    Returns:
        What lr is multiplied by, in (0, 1).

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Ma, D. Yarats, 2021, arXiv:1910.04209.

    Example:
        >>> exponential_warmup([1, 1000, 5000], 0.999).round(4)
        array([0.001 , 0.6321, 0.9933])
    """
    t, beta2 = check_arrays("exponential_warmup", t=(t, STEP), beta2=(beta2, BETA))
    return unwrap(-np.expm1(-(1 - beta2) * t))


def adamd_warmup(t: ArrayLike, beta1: ArrayLike) -> FloatOrArray:
    r"""The warmup of Adam without correction of m: 1 - beta1^t, about 1 / (1 - beta1) steps.

    Args:
        t: step, >= 1; any shape.
        beta1: decay of m, in [0, 1); any shape that broadcasts.

    Returns:
        What the lr of a corrected Adam would be multiplied by, in (0, 1].

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. St John, 2021, arXiv:2110.10828.

    Example:
        >>> adamd_warmup([1, 10, 50], 0.9).round(4)
        array([0.1   , 0.6513, 0.9948])
    """
    t, beta1 = check_arrays("adamd_warmup", t=(t, STEP), beta1=(beta1, BETA))
    return unwrap(1 - beta1**t)


def radam_length(t: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""RAdam's rho_t: the length of the plain average with the mean age of v_hat's samples.

    ```
    rho_t   = rho_inf - 2 t beta2^t / (1 - beta2^t)
    rho_inf = 2 / (1 - beta2) - 1
    ```

    Args:
        t: step, in [1, inf]; any shape. inf gives rho_inf.
        beta2: decay of v, in [0, 1); any shape that broadcasts.

    Returns:
        rho_t, from 1 at t = 1 (about t at first) to rho_inf.

    Raises:
        BadInput: if an argument is out of its range.

    Source: L. Liu et al., 2020, arXiv:1908.03265, section 4.

    Example:
        >>> radam_length([1, 5, 6, math.inf], 0.999).round(3)
        array([1.000e+00, 4.996e+00, 5.994e+00, 1.999e+03])
    """
    t, beta2 = check_arrays("radam_length", t=(t, STEP_OR_INF), beta2=(beta2, BETA))
    steps = np.where(np.isinf(t), 0.0, t)  # t beta2^t is 0 there
    with np.errstate(all="ignore"):  # each of the two forms is accurate where the other is not
        rate = -np.log(beta2)
        early = t + 2 * (_bernoulli(rate) - t * _bernoulli(t * rate))
        late = 2 / (1 - beta2) - 1 - 2 * steps * beta2**t / (1 - beta2**t)
    return unwrap(np.where(t * (1 - beta2) < EARLY, early, late))


def radam_warmup(t: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""RAdam's r_t: the factor that keeps the final variance of 1 / sqrt(v) at every step.

    ```
    r_t^2 = (rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t)
    ```

    Args:
        t: step, >= 1; any shape.
        beta2: decay of v, in (0.6, 1), so that rho_inf > 4; any shape that broadcasts.

    Returns:
        r_t, in (0, 1]; nan if rho_t <= 4: in the first four steps, and in some more if beta2 < 0.8.

    Raises:
        BadInput: if an argument is out of its range.

    Source: L. Liu et al., 2020, arXiv:1908.03265, section 4 (first-order expansion of the root of
        an inverse chi-squared distribution).

    Example:
        >>> radam_warmup([4, 6, 100, 5000], 0.999).round(4)
        array([   nan, 0.0258, 0.2153, 0.9829])
    """
    t, beta2 = check_arrays(
        "radam_warmup", t=(t, STEP), beta2=(beta2, ArgumentRange("(0.6, 1)", 0.999))
    )
    rho, rho_inf = np.asarray(radam_length(t, beta2)), 2 / (1 - beta2) - 1
    square = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return unwrap(np.sqrt(np.where(rho > RECTIFIED, square, math.nan)))


def radam_start(beta2: float, above: float = 5.0) -> int:
    r"""The first adaptive step of RAdam: the first t with rho_t > above.

    Args:
        beta2: decay of v, in (0.6, 1).
        above: 5 in torch and in the authors' code (there >=), 4 in the paper; in [4, rho_inf).

    Returns:
        The step: from beta2 = 0.9 on, 6 for 5 and 5 for 4; later if beta2 is smaller.

    Raises:
        BadInput: if an argument is out of its range, or rho_inf does not exceed `above`.

    Source: L. Liu et al., 2020, arXiv:1908.03265, Algorithm 2.

    Example:
        >>> radam_start(0.999), radam_start(0.999, above=4), radam_start(0.75)
        (6, 5, 8)
    """
    check_floats("radam_start", beta2=(beta2, ArgumentRange("(0.6, 1)", 0.999)))
    check_floats(
        "radam_start", above=(above, ArgumentRange(f"[4, {radam_length(math.inf, beta2)})", 4.0))
    )
    t = 1
    while radam_length(t, beta2) <= above:
        t += 1
    return t


def _bernoulli(u: np.ndarray) -> np.ndarray:
    """1 / (e^u - 1) - 1 / u + 1 / 2 for 0 <= u <= 0.1, by its series, to float64."""
    square = np.square(u)
    return u / 12 * (1 - square / 60 * (1 - square / 42 * (1 - square / 40)))
