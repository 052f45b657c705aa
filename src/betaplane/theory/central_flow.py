"""RMSProp at the edge of stability: the limit of v, the amplitude of weights, the time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_BETA,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)

ANY = ArgumentRange("(-inf, inf)", 1.0)
AT_LEAST_ONE = ArgumentRange("[1, inf)", 10.0)


def resting_root_v(gradient: ArrayLike, curvature: ArrayLike, lr: ArrayLike) -> FloatOrArray:
    r"""The limit of full-batch RMSProp's sqrt(v) along a coordinate axis of the Hessian.

    ```
    sqrt(v) = max(|g|, lr h / 2)           P = sqrt(v) / lr: the smallest preconditioner with h <= 2 P
    ```

    g is the mean gradient over the oscillation. If lr h / 2 is larger, v is mostly oscillation, and
    RMSProp steps with 2 / h, like a method that knows the curvature. `resting_root_v_of` does not
    require a diagonal Hessian.

    Args:
        gradient: g, mean over the oscillation, gradient units; any shape.
        curvature: h, >= 0, gradient units over x's; any shape that broadcasts.
        lr: learning rate, > 0, in x's unit; any shape that broadcasts.

    Returns:
        sqrt(v), gradient units.

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Cohen et al., 2025, arXiv:2410.24206, the stationary preconditioner; here for a
        diagonal Hessian.

    Example:
        >>> resting_root_v(0.1, [1.0, 50.0], lr=0.01)
        array([0.1 , 0.25])
    """
    g, h, lr = check_arrays(
        "resting_root_v",
        gradient=(gradient, ANY),
        curvature=(curvature, NOT_NEGATIVE),
        lr=(lr, POSITIVE),
    )
    return unwrap(np.maximum(np.abs(g), lr * h / 2))


def swing(gradient: ArrayLike, root_v: ArrayLike, lr: ArrayLike) -> FloatOrArray:
    r"""The amplitude of weights about their path at RMSProp's edge of stability.

    ```
    sigma = lr / 2 sqrt(1 - g^2 / v)
    ```

    ```
    v = g^2 + 4 v / lr^2 sigma^2           sigma = 0 if g^2 >= v
    ```

    With no mean gradient it is lr / 2, `two_cycle` at beta1 = 0: only a smaller lr makes it
    smaller.

    Args:
        gradient: g, mean over the oscillation, gradient units; any shape.
        root_v: sqrt(v), > 0, gradient units; any shape that broadcasts.
        lr: learning rate, > 0, in x's unit; any shape that broadcasts.

    Returns:
        The standard deviation sigma of the weight, in x's unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Cohen et al., 2025, arXiv:2410.24206, E[g^2] of the central flow at rest, solved for
        sigma.

    Example:
        >>> swing([0.0, 0.6, 2.0], 1.0, lr=0.01)
        array([0.005, 0.004, 0.   ])
    """
    g, root_v, lr = check_arrays(
        "swing", gradient=(gradient, ANY), root_v=(root_v, POSITIVE), lr=(lr, POSITIVE)
    )
    return unwrap(lr / 2 * np.sqrt(np.maximum(1 - (g / root_v) ** 2, 0)))


def steps_to_edge(room: ArrayLike, beta2: ArrayLike) -> FloatOrArray:
    r"""Steps from vanishing gradients until Adam is unstable, since v decays.

    ```
    v_t = beta2^t v_0   =>   the curvature in Adam's metric grows as beta2^(-t/2):    t = 2 ln(room) / -ln(beta2)
    ```

    This happens the more surely the better a run has converged: gradients far below sqrt(v) do not
    hold v up, until the loss rises. With a smaller beta2 v follows gradients down, and up again as
    soon as they grow.

    Args:
        room: `stability_threshold` over the curvature in Adam's metric now, >= 1; any shape.
        beta2: decay of v, in (0, 1); any shape that broadcasts.

    Returns:
        Steps until the two are equal, >= 0; not rounded.

    Raises:
        BadInput: if an argument is out of its range.

    Source: Y. Bai et al., 2025, arXiv:2506.04805 (v decouples from g^2 and decays by itself); eps =
        0.

    Example:
        >>> steps_to_edge(100.0, [0.9, 0.99, 0.999]).round()
        array([  87.,  916., 9206.])
    """
    room, beta2 = check_arrays(
        "steps_to_edge", room=(room, AT_LEAST_ONE), beta2=(beta2, POSITIVE_BETA)
    )
    return unwrap(-2 * np.log(room) / np.log(beta2))


def flow_rate(beta2: ArrayLike) -> FloatOrArray:
    r"""The rate at which v follows E[g^2] in the central flow.

    ```
    dv/dt = (1 - beta2) / beta2 (E[g^2] - v)        t in steps
    ```

    ```
    one step of Adam:   v_t - v_(t-1) = (1 - beta2) (g^2 - v_(t-1)) = (1 - beta2) / beta2 (g^2 - v_t)
    ```

    Args:
        beta2: decay of v, in (0, 1); any shape.

    Returns:
        The rate, per step.

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Cohen et al., 2025, arXiv:2410.24206.

    Example:
        >>> round(flow_rate(0.95), 5)
        0.05263
    """
    (beta2,) = check_arrays("flow_rate", beta2=(beta2, POSITIVE_BETA))
    return unwrap((1 - beta2) / beta2)
