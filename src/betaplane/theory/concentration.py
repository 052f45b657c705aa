"""The deviation of v from its mean, after one draw and in the long run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput
from betaplane.theory._validation import (
    BETA,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


class Concentration(NamedTuple):
    """With at least this probability, lower <= sqrt(E_k[v_k] / v_k) <= upper."""

    lower: FloatOrArray  # in [0, 1]; 0 is no bound
    upper: FloatOrArray  # in [1, inf]; inf is no bound
    probability: FloatOrArray  # in [0, 1]; 0 is no bound


def concentration(n: ArrayLike, beta2: ArrayLike, delta: ArrayLike | None = None) -> Concentration:
    r"""Bounds on sqrt(E_k[v_k] / v_k) for n components drawn with replacement, for large k.

    E_k is the mean over the draw at step k with the past given, E_k[v_k] = beta2 v_{k-1} + (1 -
    beta2) mean g_i^2:

    ```
    lower       = 1 - 4 n (1 - beta2) / ((1 - 2 n delta) beta2^n)
    upper       = (1 - 8 n (1 - beta2) / ((1 - 2 n delta) beta2^n))^(-1/2)
    probability = 1 - n exp(-delta^2 / ((1 - beta2) (28 / (3 n) + 8 delta / 3)))
    ```

    All three tend to 1 as beta2 does. The mean over the past as well differs: around it v varies by
    sqrt(1 - beta2) rather than 1 - beta2 (`second_moment_spread`), at n = 10, beta2 = 0.9999 by 1%
    of sqrt(v) on the counterexample, for which the lemma has 0.8%.

    Args:
        n: number of components, >= 2; any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        delta: slack of the lemma, in (0, 1 / (4 n)], larger is more probable; default: 1 / (4 n).

    Returns:
        The three numbers, each in the broadcast shape.

    Raises:
        BadInput: if an argument is out of its range.

    Source: Y. Zhang, On the Principles Behind Neural Network Optimizers (thesis), Lemma 2.1, which
        restates Y. Zhang et al., 2026, arXiv:2603.02092.

    Example:
        >>> [round(c, 4) for c in concentration(10, 0.9999)]
        [0.992, 1.0081, 0.9807]
    """
    n_range = ArgumentRange("[2, inf)", 10)
    n, beta2 = check_arrays("concentration", n=(n, n_range), beta2=(beta2, BETA))
    slack = 1 / (4 * n) if delta is None else delta
    *_, delta = check_arrays(
        "concentration",
        n=(n, n_range),
        beta2=(beta2, BETA),
        delta=(slack, ArgumentRange("(0, inf)", 0.01)),
    )
    if (delta > 1 / (4 * n) * (1 + 1e-12)).any():
        wrong = float(np.max(delta))
        raise BadInput(
            "delta is too large",
            value=wrong,
            allowed="(0, 1 / (4 n)]",
            where="concentration",
            instead="delta=None",
        )
    with np.errstate(divide="ignore"):
        share = n * (1 - beta2) / ((1 - 2 * n * delta) * beta2**n)
        upper = np.maximum(1 - 8 * share, 0) ** -0.5
    missed = n * np.exp(-np.square(delta) / ((1 - beta2) * (28 / (3 * n) + 8 * delta / 3)))
    return Concentration(
        unwrap(np.maximum(1 - 4 * share, 0)),
        unwrap(upper),
        unwrap(np.maximum(1 - missed, 0)),
    )


def second_moment_spread(beta2: ArrayLike, kurtosis: ArrayLike = 3.0) -> FloatOrArray:
    r"""The standard deviation of v over its mean in the long run, for independent gradients.

    ```
    std(v) / E[v] = sqrt((1 - beta2) / (1 + beta2)  (kurtosis - 1))        kurtosis = E[g^4] / E[g^2]^2
    ```

    That of sqrt(v) is about half as large if it is small.

    Args:
        beta2: decay of v, in [0, 1); any shape.
        kurtosis: fourth moment about 0 over the square of the second, >= 1; any shape that
            broadcasts. 3 for a normal distribution around 0, 1 for signs, about n for a gradient
            that comes once in n steps.

    Returns:
        The relative standard deviation.

    Raises:
        BadInput: if an argument is out of its range.

    Source: variance of a weighted sum; checked by simulation.

    Example:
        >>> second_moment_spread([0.9, 0.99, 0.999]).round(3)
        array([0.324, 0.1  , 0.032])
    """
    beta2, kurtosis = check_arrays(
        "second_moment_spread",
        beta2=(beta2, BETA),
        kurtosis=(kurtosis, ArgumentRange("[1, inf)", 3.0)),
    )
    return unwrap(np.sqrt((1 - beta2) / (1 + beta2) * (kurtosis - 1)))
