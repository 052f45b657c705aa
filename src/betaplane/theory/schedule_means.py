"""The mean and the mean square of a learning rate over its schedule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    NOT_NEGATIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


class Means(NamedTuple):
    """The mean and the mean square over a run, in the limit of many steps."""

    first: FloatOrArray  # mean of lr
    second: FloatOrArray  # mean of lr^2


def linear_means(start: ArrayLike, end: ArrayLike = 0.0) -> Means:
    r"""Means of a line from start to end: (start + end) / 2, (start^2 + start end + end^2) / 3.

    Args:
        start: learning rate at the start, >= 0; any shape.
        end: learning rate at the end, >= 0; any shape that broadcasts.

    Returns:
        Mean and mean square.

    Raises:
        BadInput: if an argument is out of its range.

    Source: integrals of the schedule; J. Su, 2025, kexue.fm/archives/11404.

    Example:
        >>> [round(mean, 4) for mean in linear_means(1.0)]
        [0.5, 0.3333]
    """
    start, end = check_arrays("linear_means", start=(start, NOT_NEGATIVE), end=(end, NOT_NEGATIVE))
    return Means(unwrap((start + end) / 2), unwrap((start**2 + start * end + end**2) / 3))


def cosine_means(start: ArrayLike, end: ArrayLike = 0.0) -> Means:
    r"""Means of half a cosine: (start + end) / 2, (3 start^2 + 2 start end + 3 end^2) / 8.

    Args:
        start: learning rate at the start, >= 0; any shape.
        end: learning rate at the end, >= 0; any shape that broadcasts.

    Returns:
        Mean and mean square.

    Raises:
        BadInput: if an argument is out of its range.

    Source: integrals of the schedule; J. Su, 2025, kexue.fm/archives/11404.

    Example:
        >>> [round(mean, 4) for mean in cosine_means(1.0)]
        [0.5, 0.375]
    """
    start, end = check_arrays("cosine_means", start=(start, NOT_NEGATIVE), end=(end, NOT_NEGATIVE))
    return Means(
        unwrap((start + end) / 2),
        unwrap((3 * start**2 + 2 * start * end + 3 * end**2) / 8),
    )


def stable_means(peak: ArrayLike, warm: ArrayLike, decay_from: ArrayLike) -> Means:
    r"""Means of a trapezoid: linear warmup, a constant part, linear decay to 0.

    ```
    peak (1 + decay_from - warm) / 2        peak^2 (1 + 2 decay_from - 2 warm) / 3
    ```

    Args:
        peak: learning rate of the flat part, >= 0; any shape.
        warm: share of the run at which warmup ends, in [0, 1]; any shape that broadcasts.
        decay_from: share of the run at which decay starts, in [warm, 1]; any shape that broadcasts.

    Returns:
        Mean and mean square.

    Raises:
        BadInput: if an argument is out of its range.

    Source: integrals of the schedule; J. Su, 2025, kexue.fm/archives/11404.

    Example:
        >>> [round(mean, 4) for mean in stable_means(1.0, warm=0.1, decay_from=0.8)]
        [0.85, 0.8]
    """
    share = ArgumentRange("[0, 1]", 0.1)
    peak, warm, decay_from = check_arrays(
        "stable_means",
        peak=(peak, NOT_NEGATIVE),
        warm=(warm, share),
        decay_from=(decay_from, share),
    )
    between = ArgumentRange("[0, 1]", 0.1, "warm=0.1, decay_from=0.8")
    (flat,) = check_arrays("stable_means", **{"decay_from - warm": (decay_from - warm, between)})
    return Means(unwrap(peak * (1 + flat) / 2), unwrap(np.square(peak) * (1 + 2 * flat) / 3))
