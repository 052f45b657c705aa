"""The zero of Adam's mean update, and its two-cycle on a parabola."""

from __future__ import annotations

from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    POSITIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


def rest_shift(beta1: ArrayLike, beta2: ArrayLike, skewness: ArrayLike) -> FloatOrArray:
    r"""The mean gradient at which Adam's mean update is zero, to first order in 1 - beta2.

    At small steps Adam comes to rest at E[m / sqrt(v)] = 0, not where E[g] = 0. The gradient that
    makes v large is divided by it, so that rare large gradients have too little weight. For
    gradients g with standard deviation sigma, drawn independently, of mean near 0:

    ```
    E[g] / sigma = (1 - beta2) / 2  (1 - beta1) / (1 - beta1 beta2)  skewness
    ```

    For f = E[(x - X)^2] / 2 that puts x at E[X] - sigma times it with X's skewness: for X = 1 with
    probability p and 0 otherwise, at p - (1 - beta2) (1 - 2 p) / 2 for beta1 = 0. Symmetric
    gradients have no shift; momentum makes it smaller.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        skewness: third central moment of the gradient over sigma^3; any shape that broadcasts.

    Returns:
        E[g] / sigma at the zero of Adam's mean update, with the sign of the skewness; good while 1
        - beta2 times the square of the largest |g| / sigma is small.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived, checked by sampling; the vector field and the symmetry condition: S. Dereich,
        A. Jentzen, 2024, arXiv:2407.21078, and later work. `critical_with_replacement` is the same
        first order.

    Example:
        >>> p = 0.1
        >>> sigma, skewness = (p * (1 - p)) ** 0.5, (1 - 2 * p) / (p * (1 - p)) ** 0.5
        >>> [round(p - sigma * rest_shift(0.0, beta2, skewness), 4) for beta2 in (0.99, 0.999)]
        [0.096, 0.0996]
    """
    beta1, beta2, skewness = check_arrays(
        "rest_shift",
        beta1=(beta1, BETA),
        beta2=(beta2, BETA),
        skewness=(skewness, ArgumentRange("(-inf, inf)", 0.0)),
    )
    return unwrap((1 - beta2) / 2 * (1 - beta1) / (1 - beta1 * beta2) * skewness)


def two_cycle(lr: ArrayLike, beta1: ArrayLike) -> FloatOrArray:
    r"""The amplitude A of the cycle x = +A, -A, +A, ... that Adam has on every parabola.

    ```
    A = lr (1 - beta1) / (2 (1 + beta1))
    ```

    There v = (c A)^2 is constant and |m| = (1 - beta1) / (1 + beta1) c A, so that a step is 2 A,
    whatever the curvature c and beta2 (eps = 0, full batch). It is attracting if beta1 is small,
    (0, 0.9) or (0.1, 0.99), and repelling at the usual betas, (0.9, 0.999).

    Args:
        lr: learning rate, > 0; any shape.
        beta1: decay of m, in [0, 1); any shape that broadcasts.

    Returns:
        A, in lr's unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: derived, checked by running Adam; that such cycles exist for all hyperparameters: S.
        Bock, M. Weiss, 2019, arXiv:2210.02070.

    Example:
        >>> two_cycle(0.1, [0.0, 0.5, 0.9]).round(6)
        array([0.05    , 0.016667, 0.002632])
    """
    lr, beta1 = check_arrays("two_cycle", lr=(lr, POSITIVE), beta1=(beta1, BETA))
    return unwrap(lr * (1 - beta1) / (2 * (1 + beta1)))
