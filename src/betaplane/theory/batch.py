"""Betas, lr and eps at another batch size: two published rules, and their difference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_BETA,
    FloatOrArray,
    check_arrays,
    unwrap,
    unwrap_below_one,
)


class Scaled(NamedTuple):
    """The hyperparameters of Adam at another batch size."""

    lr: FloatOrArray
    beta1: FloatOrArray  # below 0 if the rule has no answer
    beta2: FloatOrArray  # below 0 if the rule has no answer
    eps: FloatOrArray


def same_half_life(beta: ArrayLike, factor: ArrayLike) -> FloatOrArray:
    r"""The beta with the same half-life in samples at a batch `factor` times as large.

    ```
    beta^factor
    ```

    For beta2 it is the small-batch rule of Marek et al., which does not change beta1; for the decay of an
    average of weights it is the EMA scaling rule of Busbridge et al. The factors k and 1 / k
    cancel.

    Args:
        beta: decay of the average at the old batch size, in [0, 1); any shape.
        factor: new batch size over the old, > 0; any shape that broadcasts.

    Returns:
        The new decay, in [0, 1).

    Raises:
        BadInput: if an argument is out of its range.

    Source: M. Marek et al., 2025, arXiv:2507.07101; D. Busbridge et al., 2023, arXiv:2307.13813.

    Example:
        >>> round(same_half_life(0.95, 1 / 512), 4), round(same_half_life(0.95, 1 / 16), 4)
        (0.9999, 0.9968)
    """
    beta, factor = check_arrays("same_half_life", beta=(beta, BETA), factor=(factor, POSITIVE))
    return unwrap_below_one(beta**factor)


def square_root_scaling(
    factor: ArrayLike, lr: ArrayLike, beta1: ArrayLike, beta2: ArrayLike, eps: ArrayLike = 1e-8
) -> Scaled:
    r"""Adam's settings at another batch size by the square-root rule, for dominant noise.

    With k = factor:

    ```
    lr -> lr sqrt(k)     1 - beta1 -> k (1 - beta1)     1 - beta2 -> k (1 - beta2)     eps -> eps / sqrt(k)
    ```

    Its betas agree with `same_half_life` to first order in k (1 - beta); a large k takes them below
    0: the rule has no answer then. lr and eps scale because the noise of a batch, and with it
    sqrt(v), is proportional to 1 / sqrt(k).

    Args:
        factor: new batch size over the old, k > 0; any shape.
        lr: learning rate, > 0; any shape that broadcasts.
        beta1: decay of m, in [0, 1); any shape that broadcasts.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        eps: added to sqrt(v), >= 0, gradient units of the mean loss; any shape that broadcasts.

    Returns:
        The four new values.

    Raises:
        BadInput: if an argument is out of its range.

    Source: S. Malladi et al., 2022, arXiv:2205.10287 (from the SDE that both runs approximate).

    Example:
        >>> [round(value, 9) for value in square_root_scaling(1 / 16, lr=1e-3, beta1=0.9, beta2=0.95)]
        [0.00025, 0.99375, 0.996875, 4e-08]
    """
    k, lr, beta1, beta2, eps = check_arrays(
        "square_root_scaling",
        factor=(factor, POSITIVE),
        lr=(lr, POSITIVE),
        beta1=(beta1, BETA),
        beta2=(beta2, BETA),
        eps=(eps, NOT_NEGATIVE),
    )
    root = np.sqrt(k)
    return Scaled(
        unwrap(lr * root),
        unwrap(1 - k * (1 - beta1)),
        unwrap(1 - k * (1 - beta2)),
        unwrap(eps / root),
    )


def beta_rules_gap(beta: ArrayLike, factor: ArrayLike) -> FloatOrArray:
    r"""The relative difference of the two rules for beta: the quotient of their 1 - beta, minus 1.

    ```
    k (1 - beta) / (1 - beta^k) - 1        k -> 0: (1 - beta) / -ln(beta) - 1, about -(1 - beta) / 2
    ```

    For a smaller batch, k < 1, they agree to about (1 - beta) / 2, the half-life rule having the
    shorter memory: 2.5% at beta = 0.95. For a larger batch the gap grows until the square-root rule
    leaves [0, 1).

    Args:
        beta: decay at the old batch size, in (0, 1); any shape.
        factor: new batch size over the old, k > 0; any shape that broadcasts.

    Returns:
        The square-root rule's 1 - beta over the half-life rule's, minus 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the quotient of the two rules.

    Example:
        >>> beta_rules_gap(0.95, [1 / 512, 1 / 16, 1, 4]).round(4)
        array([-0.0252, -0.0237,  0.    ,  0.0782])
    """
    beta, k = check_arrays("beta_rules_gap", beta=(beta, POSITIVE_BETA), factor=(factor, POSITIVE))
    return unwrap(k * (1 - beta) / -np.expm1(k * np.log(beta)) - 1)
