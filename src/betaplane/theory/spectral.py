"""Spectral norms of a weight matrix and of its update: the condition behind muP."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import POSITIVE, FloatOrArray, check_arrays, unwrap


def spectral_scale(fan_in: ArrayLike, fan_out: ArrayLike) -> FloatOrArray:
    r"""The spectral norm of a matrix and its updates at every width: sqrt(fan_out / fan_in).

    Features of order 1 an entry, |x| ~ sqrt(fan_in), then stay of order 1: |W x| ~ sqrt(fan_out).

    Args:
        fan_in: columns, > 0; any shape.
        fan_out: rows, > 0; any shape that broadcasts.

    Returns:
        sqrt(fan_out / fan_in), to be multiplied by a constant of order 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: G. Yang, J. Simon, J. Bernstein, 2023, arXiv:2310.17813, Condition 1.

    Example:
        >>> spectral_scale(256, 1024)
        2.0
    """
    fan_in, fan_out = check_arrays(
        "spectral_scale", fan_in=(fan_in, POSITIVE), fan_out=(fan_out, POSITIVE)
    )
    return unwrap(np.sqrt(fan_out / fan_in))


def sign_update_norm(lr: ArrayLike, fan_in: ArrayLike, fan_out: ArrayLike) -> FloatOrArray:
    r"""The largest spectral norm of an update of size lr per entry: lr sqrt(fan_in fan_out).

    It is reached if the signs are an outer product, as those of a gradient of rank 1. For
    `spectral_scale` lr is then proportional to 1 / fan_in: muP's rule for hidden matrices.

    Args:
        lr: size of an entry's update, > 0; any shape.
        fan_in: columns, > 0; any shape that broadcasts.
        fan_out: rows, > 0; any shape that broadcasts.

    Returns:
        The norm, in the weights' unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the Frobenius norm, which rank 1 attains; G. Yang, J. Simon, J. Bernstein, 2023,
        arXiv:2310.17813.

    Example:
        >>> sign_update_norm(1e-3, 256, 1024)
        0.512
    """
    lr, fan_in, fan_out = check_arrays(
        "sign_update_norm",
        lr=(lr, POSITIVE),
        fan_in=(fan_in, POSITIVE),
        fan_out=(fan_out, POSITIVE),
    )
    return unwrap(lr * np.sqrt(fan_in * fan_out))
