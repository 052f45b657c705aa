"""How fast Adam and RMSProp can approach a minimum: the local rate at the best learning rate and
beta1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import ArgumentRange, Numbers, asked, plain


class Local(NamedTuple):
    """The best settings for a frozen preconditioner, and the factor the error shrinks by a step."""

    rate: Numbers  # in [0, 1)
    beta1: Numbers  # in [0, 1)
    lr: Numbers  # times the largest preconditioned curvature


def local_rate(condition: ArrayLike, momentum: bool = True) -> Local:
    r"""The best rate near a minimum whose preconditioned curvatures lie between L / condition and
    L.

    ```
    Adam      rate = (sqrt(k) - 1) / (sqrt(k) + 1)    beta1 = rate^2    lr = 4 / ((1 + 1 / sqrt(k))^2 (1 - beta1) L)
    RMSProp   rate = (k - 1) / (k + 1)                beta1 = 0         lr = 2 k / ((k + 1) L)        k = condition
    ```

    The (1 - beta1) stands in lr because Adam's m is an average where the heavy ball's is a sum.

    Args:
        condition: largest over smallest curvature of P^-1 H, >= 1; any shape.
        momentum: Adam's; without it RMSProp's.

    Returns:
        Rate and the settings that have it; lr in units of 1 / L.

    Raises:
        BadInput: if condition is out of its range.

    Source: rates: S. Dereich, A. Jentzen, A. Riekert, 2025, arXiv:2504.19426; settings: B. Polyak's heavy ball, 1964,
    checked by searching over lr and beta1.

    Example:
        >>> [round(value, 4) for value in local_rate(100)]
        [0.8182, 0.6694, 10.0]
        >>> round(local_rate(100, momentum=False).rate, 4)
        0.9802
    """
    (k,) = asked("local_rate", condition=(condition, ArgumentRange("[1, inf)", 100.0)))
    root = np.sqrt(k) if momentum else k
    rate = (root - 1) / (root + 1)
    if not momentum:
        return Local(plain(rate), plain(np.zeros_like(rate)), plain(2 * k / (k + 1)))
    beta1 = np.square(rate)
    return Local(plain(rate), plain(beta1), plain(4 / (np.square(1 + 1 / root) * (1 - beta1))))
