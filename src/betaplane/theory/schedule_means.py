"""The mean and mean square of a learning rate over a schedule: what its decay and its random walk
see of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import NOT_NEGATIVE, ArgumentRange, Numbers, asked, plain


class Means(NamedTuple):
    """Averages over the run, in the continuum of many steps."""

    first: Numbers  # mean of lr
    second: Numbers  # mean of lr^2


def linear_means(start: ArrayLike, end: ArrayLike = 0.0) -> Means:
    r"""Of a straight line from start to end: (start + end) / 2 and (start^2 + start end + end^2) /
    3.

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
    start, end = asked("linear_means", start=(start, NOT_NEGATIVE), end=(end, NOT_NEGATIVE))
    return Means(plain((start + end) / 2), plain((start**2 + start * end + end**2) / 3))


def cosine_means(start: ArrayLike, end: ArrayLike = 0.0) -> Means:
    r"""Of half a cosine from start to end: (start + end) / 2 and (3 start^2 + 2 start end + 3
    end^2) / 8.

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
    start, end = asked("cosine_means", start=(start, NOT_NEGATIVE), end=(end, NOT_NEGATIVE))
    return Means(plain((start + end) / 2), plain((3 * start**2 + 2 * start * end + 3 * end**2) / 8))


def stable_means(peak: ArrayLike, warm: ArrayLike, decay_from: ArrayLike) -> Means:
    r"""Of a trapezoid: linear warmup, a flat part, linear decay to 0 (warmup-stable-decay).

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
    peak, warm, decay_from = asked(
        "stable_means",
        peak=(peak, NOT_NEGATIVE),
        warm=(warm, share),
        decay_from=(decay_from, share),
    )
    between = ArgumentRange("[0, 1]", 0.1, "warm=0.1, decay_from=0.8")
    (flat,) = asked("stable_means", **{"decay_from - warm": (decay_from - warm, between)})
    return Means(plain(peak * (1 + flat) / 2), plain(np.square(peak) * (1 + 2 * flat) / 3))
