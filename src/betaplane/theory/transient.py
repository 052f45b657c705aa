"""The update after a jump of the gradient, while one moment is stale."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)

FACTOR = ArgumentRange("[-inf, inf]", 10)
POINTS = 2001  # steps looked at in one pass of the search for the peak


class Peak(NamedTuple):
    """The largest update after a jump, and its step."""

    k: float  # steps after the jump, >= 1; inf if the update always rises
    u: float  # |m| / sqrt(v), in units of lr


def jump(
    k: ArrayLike, beta1: ArrayLike, beta2: ArrayLike, factor: ArrayLike = math.inf
) -> FloatOrArray:
    r"""The update k steps after a constant gradient jumped by a factor, in steady state, eps = 0.

    ```
    u(k) = (beta1^k + (1 - beta1^k) c) / sqrt(beta2^k + (1 - beta2^k) c^2)        c = factor
    ```

    Before the jump u = 1, long after it u = sign(c). A jump up (c > 1) meets a second moment that
    is too small: with c -> inf, u(k) -> (1 - beta1^k) / sqrt(1 - beta2^k). A drop (|c| < 1) leaves
    momentum behind while v forgets: with c = 0, u(k) = (beta1 / sqrt(beta2))^k, which grows without
    limit if beta1^2 > beta2. A flip (c = -1) does not see beta2: u(k) = 2 beta1^k - 1.

    Args:
        k: steps since the jump, in [0, inf); any shape. With factor = +-inf, u(0) = 1 as before the
            jump.
        beta1: decay of m, in [0, 1); any shape that broadcasts.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        factor: the gradient after the jump over the one before, in [-inf, inf]; any shape that
            broadcasts.

    Returns:
        m / sqrt(v) with its sign, in units of lr; inf or nan if v has become 0 (factor = 0 and
        beta2 = 0).

    Raises:
        BadInput: if an argument is out of its range.

    Source: the two recursions with a constant input; checked by simulation.

    Example:
        >>> jump([1, 12, 100], 0.9, 0.999).round(3)
        array([3.162, 6.569, 3.241])
        >>> round(jump(7, 0.9, 0.999, factor=-1), 3), round(jump(10, 0.9, 0.8, factor=0), 3)
        (-0.043, 1.064)
    """
    k, beta1, beta2, c = check_arrays(
        "jump",
        k=(k, NOT_NEGATIVE),
        beta1=(beta1, BETA),
        beta2=(beta2, BETA),
        factor=(factor, FACTOR),
    )
    scale = np.where(np.abs(c) > 1, np.abs(c), 1.0)  # c^2 may not overflow, and c may be infinite
    before, after = (
        1 / scale,
        np.where(np.isinf(c), np.sign(c), c / np.where(np.isinf(scale), 1.0, scale)),
    )
    old1, old2 = beta1**k, beta2**k
    with np.errstate(divide="ignore", invalid="ignore"):
        u = (old1 * before + (1 - old1) * after) / np.sqrt(old2 * before**2 + (1 - old2) * after**2)
    return unwrap(np.where(k == 0, 1.0, u))


def jump_peak(beta1: float, beta2: float, factor: float = math.inf) -> Peak:
    r"""The largest |u(k)|, k = 1, 2, ..., after a jump of the gradient; see `jump`.

    If beta1 = beta2 there is no overshoot: |u| <= 1 for every factor. A jump up overshoots if beta2
    > beta1, a drop if beta1 > beta2. At (0.9, 0.999) a jump up reaches 6.57 of the 7.27 that no
    history exceeds (`update_bound`); a tenfold jump is enough for 5.20.

    Args:
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in (0, 1).
        factor: the gradient after the jump over the one before, in [-inf, inf].

    Returns:
        The peak: k = u = inf if the gradient vanishes and beta1^2 > beta2; k = inf, u = 1 without
        an overshoot.

    Raises:
        BadInput: if an argument is out of its range.

    Source: `jump`, searched for its maximum over whole steps; checked by simulation.

    Example:
        >>> peak = jump_peak(0.9, 0.999)
        >>> peak.k, round(peak.u, 3), jump_peak(0.9, 0.9)
        (12.0, 6.569, Peak(k=inf, u=1.0))
    """
    check_arrays(
        "jump_peak",
        beta1=(beta1, BETA),
        beta2=(beta2, ArgumentRange("(0, 1)", 0.999)),
        factor=(factor, FACTOR),
    )
    if factor == 0 and beta1**2 > beta2:
        return Peak(math.inf, math.inf)
    low, high = 1.0, 1 + math.ceil(60 / (1 - max(beta1, beta2)))  # by then beta^k is below 1e-26
    while True:
        few = high - low < POINTS
        k = np.arange(low, high + 1) if few else np.unique(np.geomspace(low, high, POINTS).round())
        u = np.abs(jump(k, beta1, beta2, factor))
        top = int(np.argmax(u))
        if few:
            break
        low, high = float(k[max(top - 1, 0)]), float(k[min(top + 1, len(k) - 1)])
    settles = factor != 0 and u[top] <= 1 + 1e-12
    return Peak(math.inf, 1.0) if settles else Peak(float(k[top]), float(u[top]))
