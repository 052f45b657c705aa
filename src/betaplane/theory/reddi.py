"""The period at which Adam fails on Reddi's problem: in the proof, and exactly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)
from betaplane.theory.boundary import drift
from betaplane.theory.bounds import power_sum

PERIOD = ArgumentRange("[4, inf)", 204)
BETA2 = ArgumentRange("(0, 1)", 0.999)


def reddi_holds(C: ArrayLike, beta1: ArrayLike, beta2: ArrayLike) -> np.ndarray:
    r"""Whether the period C meets the three inequalities of the proof that Adam fails.

    The problem is f_t = C x once in C steps, -x otherwise, on [-1, 1]; with gamma = beta1 /
    sqrt(beta2):

    ```
    (1 - beta1) beta1^(C - 1) C  <=  1 - beta1^(C - 1)
    beta2^((C - 2) / 2) C^2      <=  1
    3 (1 - beta1) / (2 sqrt(1 - beta2)) (1 + gamma (1 - gamma^(C - 1)) / (1 - gamma))
        + beta1^(C/2 - 1) / (1 - beta1)  <  C / 3
    ```

    Args:
        C: period, even, >= 4; any shape.
        beta1: decay of m, in [0, 1); any shape that broadcasts.
        beta2: decay of v, in (0, 1); any shape that broadcasts.

    Returns:
        Booleans in the broadcast shape.

    Raises:
        BadInput: if an argument is out of its range.

    Source: S. Reddi et al., 2018, arXiv:1904.09237, proof of Theorem 2; taken from memory of the
        appendix, and found to agree at beta1 = 0 with beta2 <= min(C^(-4 / (C - 2)), 1 - (9 / (2
        C))^2), which others quote.

    Example:
        >>> reddi_holds([202, 204], 0.0, 0.9)
        array([False,  True])
    """
    C, beta1, beta2 = check_arrays(
        "reddi_holds", C=(C, PERIOD), beta1=(beta1, BETA), beta2=(beta2, BETA2)
    )
    gamma = beta1 / np.sqrt(beta2)
    momentum = (1 - beta1) * beta1 ** (C - 1) * C <= 1 - beta1 ** (C - 1)
    forgotten = (C - 2) / 2 * np.log(beta2) + 2 * np.log(C) <= 0
    with np.errstate(over="ignore"):
        paid = 1.5 * (1 - beta1) / np.sqrt(1 - beta2) * (1 + gamma * power_sum(gamma, C - 1))
    return momentum & forgotten & (paid + beta1 ** (C / 2 - 1) / (1 - beta1) < C / 3)


def reddi_period(beta1: float, beta2: float) -> float:
    r"""The smallest even period that `reddi_holds` accepts: sufficient, and far from necessary.

    At the pairs (0, 0.9), (0, 0.99), (0.9, 0.95), (0.9, 0.99), (0.9, 0.999) it is 29 to 576 times
    `failing_period`.

    Args:
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in (0, 1).

    Returns:
        C, a whole number as a float; nan if beta1^2 >= beta2, which the theorem excludes.

    Raises:
        BadInput: if an argument is out of its range.

    Source: as for `reddi_holds`; each inequality, once true, stays true as C grows.

    Example:
        >>> reddi_period(0.9, 0.99), failing_period(0.9, 0.99)
        (3218.0, 30)
    """
    check_arrays("reddi_period", beta1=(beta1, BETA), beta2=(beta2, BETA2))
    if beta1**2 >= beta2:
        return math.nan
    fails, holds = 1.0, 2.0  # in units of C / 2
    while not reddi_holds(2 * holds, beta1, beta2):
        fails, holds = holds, 2 * holds
    while holds - fails > 1:
        middle = (fails + holds) // 2
        fails, holds = (fails, middle) if reddi_holds(2 * middle, beta1, beta2) else (middle, holds)
    return 2 * holds


def failing_period(beta1: float, beta2: float) -> int:
    r"""The smallest period at which Adam moves to the worst point: the first n with `drift` < 0.

    Args:
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in [0, 1).

    Returns:
        The period, >= 3.

    Raises:
        BadInput: if an argument is out of its range.

    Source: `drift` at a = 1, which is Reddi's problem away from the ends of its interval.

    Example:
        >>> [failing_period(*betas) for betas in ((0.0, 0.9), (0.9, 0.95), (0.9, 0.999))]
        [7, 17, 74]
    """
    check_arrays("failing_period", beta1=(beta1, BETA), beta2=(beta2, BETA))
    n = 3
    while drift(beta1, beta2, n) >= 0:
        n += 1
    return n


def reddi_beta2(C: ArrayLike) -> FloatOrArray:
    r"""The beta2 at which RMSProp fails with period 3: 1 / (1 + C^2).

    The problem is f_t = C x once in three steps, -x otherwise, on [-1, 1], whose best point is -1;
    Adam with beta1 = 0 and this beta2 goes to +1, while (0.9, 0.999) goes to -1.

    Args:
        C: the steep slope, > 2; any shape.

    Returns:
        beta2, in (0, 0.2).

    Raises:
        BadInput: if C is out of its range.

    Source: S. Reddi et al., 2018, arXiv:1904.09237, Theorem 1.

    Example:
        >>> reddi_beta2([3, 100]).round(5)
        array([0.1   , 0.0001])
    """
    (C,) = check_arrays("reddi_beta2", C=(C, ArgumentRange("(2, inf)", 3)))
    return unwrap(1 / (1 + np.square(C)))
