"""Bounds on the gradient norm of AdaGrad and Adam from convergence theorems."""

from __future__ import annotations

import math
from typing import NamedTuple

from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_BETA,
    STEP,
    check_arrays,
)


class Constants(NamedTuple):
    """Constants of a problem: f is smooth, bounded below, |gradients| <= R - sqrt(eps)."""

    gap: float  # f(x_0) - inf f, >= 0
    R: float  # bound on every |g_i| + sqrt(eps), gradient units, > 0
    L: float  # Lipschitz constant of the gradient, >= 0
    d: int = 1  # number of parameters
    eps: float = 1e-8  # inside the root, gradient units squared, > 0


def adagrad_bound(problem: Constants, lr: float, steps: int) -> float:
    r"""The bound on E|grad f|^2 at a uniformly drawn step of AdaGrad.

    ```
    2 R gap / (lr sqrt(N)) + (4 d R^2 + lr d R L) ln(1 + N R^2 / eps) / sqrt(N)        N = steps
    ```

    Args:
        problem: constants of the problem.
        lr: learning rate, > 0.
        steps: length of the run, >= 1.

    Returns:
        The bound, gradient units squared.

    Raises:
        BadInput: if an argument is out of its range.

    Source: A. Defossez, L. Bottou, F. Bach, N. Usunier, 2022, arXiv:2003.02395, Theorem 1; as
        others restate it.

    Example:
        >>> round(adagrad_bound(Constants(gap=4.3, R=2, L=1), lr=0.5, steps=10_000), 2)
        5.28
    """
    gap, R, L, d, eps = _checked("adagrad_bound", problem)
    check_arrays("adagrad_bound", lr=(lr, POSITIVE), steps=(steps, STEP))
    growth = math.log1p(steps * R**2 / eps)
    return (2 * R * gap / lr + (4 * d * R**2 + lr * d * R * L) * growth) / math.sqrt(steps)


def adam_bound(
    problem: Constants, lr: float, beta2: float, steps: int, beta1: float = 0.0
) -> float:
    r"""The bound on E|grad f|^2 at a random step of Adam with sums as moments, eps in the root.

    ```
    N~    = steps - beta1 / (1 - beta1)
    bound = 2 R gap / (lr N~) + E (ln(1 + R^2 / ((1 - beta2) eps)) - N ln(beta2)) / N~
    E     = lr d R L (1 - beta1) / ((1 - beta1 / beta2) (1 - beta2))
            + 12 d R^2 sqrt(1 - beta1) / ((1 - beta1 / beta2)^(3/2) sqrt(1 - beta2))
            + 2 lr^2 d L^2 beta1 / ((1 - beta1 / beta2) (1 - beta2)^(3/2))
    ```

    At beta1 = 0 the 12 is a 4. Here m = beta1 m + g, v = beta2 v + g^2, and a step is lr (1 -
    beta1) sqrt((1 - beta2^t) / (1 - beta2)) m / sqrt(eps + v). With lr ~ 1 / sqrt(N) and beta2 = 1
    - 1 / N it falls as ln(N) / sqrt(N). It is far from the observed norms.

    Args:
        problem: constants of the problem.
        lr: learning rate, > 0.
        beta2: decay of v, in (beta1, 1).
        steps: length of the run N, more than beta1 / (1 - beta1).
        beta1: decay of m, in [0, beta2).

    Returns:
        The bound, gradient units squared.

    Raises:
        BadInput: if an argument is out of its range.

    Source: A. Defossez, L. Bottou, F. Bach, N. Usunier, 2022, arXiv:2003.02395, Theorems 2 and 4;
        as others restate it.

    Example:
        >>> round(adam_bound(Constants(gap=4.3, R=2, L=1), lr=0.005, beta2=0.9999, steps=10_000), 2)
        5.45
    """
    gap, R, L, d, eps = _checked("adam_bound", problem)
    check_arrays(
        "adam_bound",
        lr=(lr, POSITIVE),
        beta2=(beta2, POSITIVE_BETA),
        steps=(steps, STEP),
        beta1=(beta1, BETA),
    )
    check_arrays("adam_bound", **{"beta1 / beta2": (beta1 / beta2, BETA)})
    counted = steps - beta1 / (1 - beta1)
    check_arrays("adam_bound", **{"steps - beta1 / (1 - beta1)": (counted, POSITIVE)})
    apart, q = 1 - beta1 / beta2, 1 - beta2
    E = (
        lr * d * R * L * (1 - beta1) / (apart * q)
        + (12 if beta1 > 0 else 4) * d * R**2 * math.sqrt(1 - beta1) / (apart**1.5 * math.sqrt(q))
        + 2 * lr**2 * d * L**2 * beta1 / (apart * q**1.5)
    )
    return (
        2 * R * gap / (lr * counted)
        + E * (math.log1p(R**2 / (q * eps)) - steps * math.log(beta2)) / counted
    )


def _checked(where: str, problem: Constants) -> Constants:
    gap, R, L, d, eps = problem
    check_arrays(
        where,
        gap=(gap, NOT_NEGATIVE),
        R=(R, POSITIVE),
        L=(L, NOT_NEGATIVE),
        d=(d, STEP),
        eps=(eps, POSITIVE),
    )
    return problem
