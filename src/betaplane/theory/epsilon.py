"""Effects of eps: damping, equivalent values in other places, limits of number formats."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import one_of
from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    STEP_OR_INF,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)

FORMATS = {  # significant bits, exponents of the smallest normal and the smallest subnormal number
    "float64": (53, -1022, -1074),
    "float32": (24, -126, -149),
    "bfloat16": (8, -126, -133),
    "float16": (11, -14, -24),
}


def damping(eps: ArrayLike, root_v: ArrayLike) -> FloatOrArray:
    r"""The factor by which eps reduces Adam's update: sqrt(v_hat) / (sqrt(v_hat) + eps).

    Near 1 Adam is sign-like; at 1/2 eps is sqrt(v_hat); near 0 it is SGD with averaged momentum and
    learning rate lr / eps, of which 1 - damping is the share that is left.

    Args:
        eps: added to sqrt(v_hat), >= 0, gradient units; any shape.
        root_v: sqrt(v_hat), >= 0, gradient units; any shape that broadcasts.

    Returns:
        The factor, in [0, 1]; 1 if eps = 0, and 0 if only root_v is 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the quotient of the update with eps and without.

    Example:
        >>> damping(1e-8, [1e-3, 1e-8, 1e-10]).round(4)
        array([1.    , 0.5   , 0.0099])
    """
    eps, root_v = check_arrays("damping", eps=(eps, NOT_NEGATIVE), root_v=(root_v, NOT_NEGATIVE))
    with np.errstate(divide="ignore", invalid="ignore"):
        return unwrap(np.where(eps == 0, 1.0, root_v / (root_v + eps)))


def eps_after_correction(eps_hat: ArrayLike, beta2: ArrayLike, t: ArrayLike) -> FloatOrArray:
    r"""The eps next to sqrt(v_hat) that is equivalent to eps_hat next to the uncorrected sqrt(v).

    ```
    sqrt(v) + eps_hat  =  sqrt(1 - beta2^t) (sqrt(v_hat) + eps)        eps = eps_hat / sqrt(1 - beta2^t)
    ```

    So eps_hat is larger early: 31.6 times at t = 1 for beta2 = 0.999. An eps inside the root,
    sqrt(v + eps), acts at the scale sqrt(eps): 1e-8 there is 1e-4 here.

    Args:
        eps_hat: added to the uncorrected sqrt(v), >= 0, gradient units; any shape.
        beta2: decay of v, in [0, 1); any shape that broadcasts.
        t: step, in [1, inf]; any shape that broadcasts.

    Returns:
        eps, gradient units.

    Raises:
        BadInput: if an argument is out of its range.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, section 2 (the efficient order of operations).

    Example:
        >>> f"{eps_after_correction(1e-8, 0.999, 1):.3g}"
        '3.16e-07'
    """
    eps_hat, beta2, t = check_arrays(
        "eps_after_correction",
        eps_hat=(eps_hat, NOT_NEGATIVE),
        beta2=(beta2, BETA),
        t=(t, STEP_OR_INF),
    )
    return unwrap(eps_hat / np.sqrt(1 - beta2**t))


def vanishing_gradient(dtype: str, flushed: bool = False) -> float:
    r"""The gradient whose square is 0 in a number format, so that v does not change.

    Rounding to nearest, g^2 becomes 0 up to half the smallest subnormal number; on devices that
    flush subnormal numbers, below the smallest normal one.

    Args:
        dtype: "float64", "float32", "bfloat16" or "float16".
        flushed: subnormal numbers are flushed to 0.

    Returns:
        The largest |g| whose square is 0 (with flushed, the smallest whose square is not).

    Raises:
        BadInput: if dtype is another one.

    Source: the formats; checked in arithmetic.

    Example:
        >>> [f"{vanishing_gradient(dtype):.1e}" for dtype in ("float32", "bfloat16", "float16")]
        ['2.6e-23', '6.8e-21', '1.7e-04']
    """
    _, normal, subnormal = _format(dtype, "vanishing_gradient")
    return 2.0 ** (normal / 2 if flushed else (subnormal - 1) / 2)


def vanishing_eps(root_v: ArrayLike, dtype: str) -> FloatOrArray:
    r"""The eps below which sqrt(v) + eps equals sqrt(v) in a number format, or eps is 0.

    Args:
        root_v: sqrt(v_hat), >= 0, gradient units; any shape.
        dtype: "float64", "float32", "bfloat16" or "float16".

    Returns:
        eps: from here on, up to a factor of 2 below the next power of 2, it begins to change the
            sum; at root_v = 0 the
        largest eps that rounds to 0. 1e-8 is 0 in float16.

    Raises:
        BadInput: if root_v is out of its range or dtype is another one.

    Source: the formats; checked in arithmetic.

    Example:
        >>> f"{vanishing_eps(1.0, 'float32'):.1e} {vanishing_eps(0.0, 'float16'):.1e}"
        '6.0e-08 3.0e-08'
    """
    bits, _, subnormal = _format(dtype, "vanishing_eps")
    (root_v,) = check_arrays("vanishing_eps", root_v=(root_v, ArgumentRange("[0, inf)", 1e-3)))
    # of numbers next to root_v
    spacing = np.exp2(np.maximum(np.frexp(root_v)[1] - bits, subnormal))
    return unwrap(np.where(root_v == 0, math.ldexp(1, subnormal - 1), spacing / 2))


def _format(dtype: str, where: str) -> tuple[int, int, int]:
    one_of(tuple(FORMATS), where, dtype=dtype)
    return FORMATS[dtype]
