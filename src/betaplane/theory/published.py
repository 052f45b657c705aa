"""Thresholds on the betas from theorems, to compare with the exact boundary."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    POSITIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)

COMPONENTS = ArgumentRange("[2, inf)", 10)


def zhang_threshold(beta1: ArrayLike, n: ArrayLike, constant: ArrayLike = 1.0) -> FloatOrArray:
    r"""The beta2 above which Adam converges by Zhang et al. 2026, as an order in n.

    ```
    beta1 < sqrt(beta2),   beta2 >= 1 - constant (1 - beta1^n) / n^5
    ```

    n is the number of minibatches: the threshold falls as batches grow. Only the order is stated,
    and the authors do not call it tight. On their own counterexample the exact 1 - beta2* falls
    like n^-2 (`critical_beta2`, `critical_first_order`): with constant 1 the theorem needs a
    horizon about 4 n^3 times longer than needed.

    Args:
        beta1: decay of m, in [0, 1); any shape that broadcasts.
        n: number of minibatches, >= 2; any shape that broadcasts.
        constant: the factor the theorem's order hides, > 0; any shape that broadcasts.

    Returns:
        The sufficient beta2; below 0 if the constant is too large for this n.

    Raises:
        BadInput: if an argument is out of its range.

    Source: Y. Zhang et al., 2026, arXiv:2603.02092 (with replacement, no bias correction). The 2022
        version, arXiv:2208.09632, has 1 - O((1 - beta1^n) / (n^2 rho)) with a rho that depends on
        the trajectory.

    Example:
        >>> from betaplane.theory import critical_beta2
        >>> f"{1 - zhang_threshold(0.9, 20):.1e} where {1 - critical_beta2(0.9, 20):.1e} is enough"
        '2.7e-07 where 3.0e-02 is enough'
    """
    beta1, n, constant = check_arrays(
        "zhang_threshold", beta1=(beta1, BETA), n=(n, COMPONENTS), constant=(constant, POSITIVE)
    )
    return unwrap(1 - constant * (1 - beta1**n) / n**5)


def shi_threshold(n: ArrayLike, constant: ArrayLike = 1.0) -> FloatOrArray:
    r"""The beta2 above which RMSProp converges by Shi et al. 2021: 1 - constant / n^3.5.

    For Adam their theorem also needs beta1 = O(n^-2.5), about 1e-7 at the 391 minibatches of
    CIFAR-10.

    Args:
        n: number of minibatches, >= 2; any shape.
        constant: the factor the theorem's order hides, > 0; any shape that broadcasts.

    Returns:
        The sufficient beta2.

    Raises:
        BadInput: if an argument is out of its range.

    Source: N. Shi, D. Li, M. Hong, R. Sun, 2021, RMSprop converges with proper hyper-parameter,
        ICLR.

    Example:
        >>> from betaplane.theory import critical_beta2
        >>> f"{1 - shi_threshold(20):.1e} where {1 - critical_beta2(0.0, 20):.1e} is enough"
        '2.8e-05 where 1.1e-02 is enough'
    """
    n, constant = check_arrays("shi_threshold", n=(n, COMPONENTS), constant=(constant, POSITIVE))
    return unwrap(1 - constant / n**3.5)


def kingma_ba_condition(beta1: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""The expression that the Adam paper's regret theorem needs below 1: beta1^2 / sqrt(beta2).

    It is weaker than the beta1^2 / beta2 < 1 that keeps the update bounded: (0.9, 0.8) passes with
    0.906, and its updates blow up (`blow_up_rate`). The theorem's proof is wrong (S. Reddi et al.,
    2018).

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in (0, 1); any shape that broadcasts.

    Returns:
        beta1^2 / sqrt(beta2); the theorem requires less than 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Theorem 4.1.

    Example:
        >>> round(kingma_ba_condition(0.9, 0.8), 3)
        0.906
    """
    beta1, beta2 = check_arrays(
        "kingma_ba_condition", beta1=(beta1, BETA), beta2=(beta2, ArgumentRange("(0, 1)", 0.999))
    )
    return unwrap(np.square(beta1) / np.sqrt(beta2))


def growth_constant(n: ArrayLike, a: ArrayLike = 1.0) -> FloatOrArray:
    r"""The counterexample's constant D1 in the theorems' growth condition, with D0 = 0.

    ```
    sum_i |grad l_i|^2  <=  D1 |grad l|^2 + D0        l = mean of the l_i
    D1 = n^2 (G^2 + (n - 1) a^2)                      G = 1 + (n - 1) a
    ```

    Equality holds at every point, so no smaller D1 will do. For a = 1 it is n^4 + n^3 - n^2. With a
    = 1 / (n - 1)^2 it is stated to be 2 n^2, the least of the divergence theorem's class; it is
    21.4 > 18 at n = 3, and below 2 n^2 from n = 4 on.

    Args:
        n: number of components, >= 2; any shape.
        a: slope of the shallow components, > 0; any shape that broadcasts.

    Returns:
        D1, no unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived; the condition and the problem: Y. Zhang et al., 2022, arXiv:2208.09632, and
        2026, arXiv:2603.02092.

    Example:
        >>> growth_constant(3), growth_constant(3, a=0.25)
        (99.0, 21.375)
    """
    n, a = check_arrays("growth_constant", n=(n, COMPONENTS), a=(a, POSITIVE))
    return unwrap(n**2 * (np.square(1 + (n - 1) * a) + (n - 1) * np.square(a)))
