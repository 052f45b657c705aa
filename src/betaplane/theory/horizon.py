"""Memory horizon and half-life of a moving average, in steps, samples or tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    POSITIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
    unwrap_below_one,
)


def memory_horizon(beta: ArrayLike, per_step: ArrayLike = 1.0) -> FloatOrArray:
    """The memory horizon 1 / (1 - beta): the total weight of past steps over the newest one's.

    Args:
        beta: decay of the average, in [0, 1); any shape.
        per_step: samples or tokens per step, > 0, for a horizon in samples or tokens; any shape
            that broadcasts.

    Returns:
        Steps (times per_step), >= 1 of them; beta = 0 has horizon 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: definition; the weights are (1 - beta) beta^k, k = 0, 1, 2, ...

    Example:
        >>> round(memory_horizon(0.999), 6), memory_horizon(0.0)
        (1000.0, 1.0)
        >>> memory_horizon([0.9, 0.99], per_step=512).round()
        array([ 5120., 51200.])
    """
    beta, per_step = check_arrays(
        "memory_horizon", beta=(beta, BETA), per_step=(per_step, POSITIVE)
    )
    return unwrap(per_step / (1 - beta))


def half_life(beta: ArrayLike, per_step: ArrayLike = 1.0) -> FloatOrArray:
    """The half-life ln(1/2) / ln(beta): the steps after which a gradient's weight has halved.

    Args:
        beta: decay of the average, in [0, 1); any shape.
        per_step: samples or tokens per step, > 0, for a half-life in samples or tokens; any shape
            that broadcasts.

    Returns:
        Steps (times per_step), >= 0; beta = 0 has half-life 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: definition; M. Marek et al., 2025, arXiv:2507.07101, count it in tokens and keep that
        fixed.

    Example:
        >>> round(half_life(0.95), 4)
        13.5134
        >>> f"{half_life(0.95, per_step=512 * 1024):.3g} tokens"
        '7.08e+06 tokens'
    """
    beta, per_step = check_arrays("half_life", beta=(beta, BETA), per_step=(per_step, POSITIVE))
    with np.errstate(divide="ignore"):
        return unwrap(per_step * np.log(0.5) / np.log(beta))


def beta_from_horizon(horizon: ArrayLike, per_step: ArrayLike = 1.0) -> FloatOrArray:
    """The beta with the memory horizon `horizon`: 1 - per_step / horizon.

    Args:
        horizon: memory horizon in steps, or in the unit of per_step; at least one step, [per_step,
            inf). Any shape.
        per_step: samples or tokens per step, > 0; any shape that broadcasts.

    Returns:
        beta, in [0, 1).

    Raises:
        BadInput: if an argument is out of its range.

    Source: the inverse of `memory_horizon`.

    Example:
        >>> beta_from_horizon(20), beta_from_horizon(1_000_000, per_step=2_000)
        (0.95, 0.998)
    """
    horizon, per_step = check_arrays(
        "beta_from_horizon", horizon=(horizon, POSITIVE), per_step=(per_step, POSITIVE)
    )
    line = f"horizon={10 * float(per_step.max()):g}"
    steps = horizon / per_step
    check_arrays(
        "beta_from_horizon", **{"horizon / per_step": (steps, ArgumentRange("[1, inf)", 10, line))}
    )
    return unwrap_below_one(1 - 1 / steps)


def beta_from_half_life(half_life: ArrayLike, per_step: ArrayLike = 1.0) -> FloatOrArray:
    """The beta with the half-life `half_life`: 2^(-per_step / half_life).

    Args:
        half_life: half-life in steps, or in the unit of per_step, in [0, inf); 0 gives beta = 0.
            Any shape.
        per_step: samples or tokens per step, > 0; any shape that broadcasts.

    Returns:
        beta, in [0, 1).

    Raises:
        BadInput: if an argument is out of its range.

    Source: the inverse of `half_life`; M. Marek et al., 2025, arXiv:2507.07101.

    Example:
        >>> beta_from_half_life(1.0)
        0.5
        >>> round(beta_from_half_life(10e6, per_step=16 * 512), 5)
        0.99943
    """
    half_life, per_step = check_arrays(
        "beta_from_half_life", half_life=(half_life, NOT_NEGATIVE), per_step=(per_step, POSITIVE)
    )
    with np.errstate(divide="ignore"):
        return unwrap_below_one(0.5 ** (per_step / half_life))
