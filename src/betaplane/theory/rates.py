"""The local convergence rate of Adam and RMSProp at the best learning rate and beta1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import ArgumentRange, FloatOrArray, check_arrays, unwrap


class Local(NamedTuple):
    """The best settings for a frozen preconditioner, and the factor of the error per step."""

    rate: FloatOrArray  # in [0, 1)
    beta1: FloatOrArray  # in [0, 1)
    lr: FloatOrArray  # times the largest preconditioned curvature


def local_rate(condition: ArrayLike, momentum: bool = True) -> Local:
    r"""The best rate near a minimum with preconditioned curvatures from L / condition to L.

    ```
    Adam      rate = (sqrt(k) - 1) / (sqrt(k) + 1)    beta1 = rate^2    lr = 4 / ((1 + 1 / sqrt(k))^2 (1 - beta1) L)
    RMSProp   rate = (k - 1) / (k + 1)                beta1 = 0         lr = 2 k / ((k + 1) L)        k = condition
    ```

    lr contains 1 - beta1 because Adam's m is an average, whereas the heavy ball's is a sum.

    Args:
        condition: largest over smallest curvature of P^-1 H, >= 1; any shape.
        momentum: Adam's; without it RMSProp's.

    Returns:
        Rate and the settings that have it; lr in units of 1 / L.

    Raises:
        BadInput: if condition is out of its range.

    Source: rates: S. Dereich, A. Jentzen, A. Riekert, 2025, arXiv:2504.19426; settings: B. Polyak's
        heavy ball, 1964, checked by searching over lr and beta1.

    Example:
        >>> [round(value, 4) for value in local_rate(100)]
        [0.8182, 0.6694, 10.0]
        >>> round(local_rate(100, momentum=False).rate, 4)
        0.9802
    """
    (k,) = check_arrays("local_rate", condition=(condition, ArgumentRange("[1, inf)", 100.0)))
    root = np.sqrt(k) if momentum else k
    rate = (root - 1) / (root + 1)
    if not momentum:
        return Local(
            unwrap(rate),
            unwrap(np.zeros_like(rate)),
            unwrap(2 * k / (k + 1)),
        )
    beta1 = np.square(rate)
    return Local(
        unwrap(rate),
        unwrap(beta1),
        unwrap(4 / (np.square(1 + 1 / root) * (1 - beta1))),
    )
