"""Adam's edge of stability, and measurements that precede a spike."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.errors import BadInput
from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    POSITIVE,
    STEP_OR_INF,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


def stability_threshold(
    beta1: ArrayLike, lr: ArrayLike = 1.0, t: ArrayLike = math.inf, nesterov: bool = False
) -> FloatOrArray:
    r"""The largest preconditioned curvature at which Adam with a frozen preconditioner is stable.

    The top eigenvalue of P^-1 H, P = diag(sqrt(v_hat) + eps), H the Hessian, full batch:

    ```
    (2 + 2 beta1) / ((1 - beta1) lr)                   38 / lr at beta1 = 0.9; 2 / lr at beta1 = 0 (RMSProp)
    ... / (1 + 2 beta1)                                with Nesterov's step, 13.57 / lr at beta1 = 0.9
    ... (1 - beta1^t)                                  at step t, while m is bias-corrected: 3.8 / lr at t = 1
    ```

    So the correction of m costs stability early, tenfold at beta1 = 0.9; without it (AdamD) the
    threshold is the same at every step. Near a minimum v -> 0, P is eps alone, and the curvature
    itself may not exceed eps times this.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        lr: learning rate, > 0; any shape that broadcasts.
        t: step, in [1, inf], whose correction is held fixed; inf for the long run. Any shape that
            broadcasts.
        nesterov: the step is (1 - beta1) g + beta1 m instead of m.

    Returns:
        Threshold on the top eigenvalue of P^-1 H, in 1 / lr's unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Cohen et al., 2022, arXiv:2207.14484; here from the roots of the heavy ball's
        polynomial, checked by bisection. The form at step t: Y. Bai et al., 2025, arXiv:2506.04805.

    Example:
        >>> round(stability_threshold(0.9)), round(stability_threshold(0.9, t=1), 4)
        (38, 3.8)
        >>> round(stability_threshold(0.9, nesterov=True), 2)
        13.57
    """
    beta1, lr, t = check_arrays(
        "stability_threshold", beta1=(beta1, BETA), lr=(lr, POSITIVE), t=(t, STEP_OR_INF)
    )
    threshold = (1 - beta1**t) * 2 * (1 + beta1) / ((1 - beta1) * lr)
    return unwrap(threshold / (1 + 2 * beta1) if nesterov else threshold)


class Curvature(NamedTuple):
    """The curvature in Adam's metric; a spike is near if it remains above 2 / lr."""

    top: float  # the largest eigenvalue, at which an oscillation can start
    along_gradient: float  # g' H_hat g / |g|^2, at which the loss itself rises


def preconditioned_curvature(
    H: ArrayLike,
    g: ArrayLike,
    v_hat: ArrayLike,
    beta1: float = 0.9,
    t: float = math.inf,
    eps: float = 1e-8,
) -> Curvature:
    r"""The curvature of the loss in Adam's metric, to compare with 2 / lr.

    ```
    H_hat = (1 - beta1) / ((1 + beta1) (1 - beta1^t))  diag(1 / (sqrt(v_hat) + eps))  H
    top < 2 / lr                  local stability, the same as `stability_threshold`
    along_gradient > 2 / lr       the loss rises; far fewer false alerts than the top eigenvalue
    ```

    Args:
        H: Hessian of the loss, symmetric, (d, d).
        g: gradient, (d,), not all zero.
        v_hat: bias-corrected second moment, (d,), >= 0, gradient units squared.
        beta1: decay of m, in [0, 1).
        t: step, in [1, inf].
        eps: added to sqrt(v_hat), >= 0, gradient units; sqrt(v_hat) + eps must be > 0.

    Returns:
        The two curvatures, in 1 / lr's unit.

    Raises:
        BadInput: if an argument is out of its range or the shapes do not fit.

    Source: Y. Bai et al., 2025, arXiv:2506.04805.

    Example:
        >>> top, along = preconditioned_curvature([[2.0, 0.0], [0.0, 8.0]], g=[1.0, 1.0], v_hat=[1.0, 4.0], eps=0.0)
        >>> round(top, 4), round(along, 4)
        (0.2105, 0.1579)
    """
    where = "preconditioned_curvature"
    check_arrays(where, beta1=(beta1, BETA), t=(t, STEP_OR_INF), eps=(eps, NOT_NEGATIVE))
    (v_hat,) = check_arrays(where, v_hat=(v_hat, NOT_NEGATIVE))
    (g,) = check_arrays(where, g=(g, ArgumentRange("(-inf, inf)", 1.0)))
    (H,) = check_arrays(where, H=(H, ArgumentRange("(-inf, inf)", 1.0)))
    if not (g.ndim == 1 and g.shape == v_hat.shape and H.shape == 2 * g.shape):
        shapes = f"H {H.shape}, g {g.shape} and v_hat {v_hat.shape}"
        raise BadInput(f"{shapes} do not fit", where=where, instead="H (d, d), g (d,), v_hat (d,)")
    if not np.allclose(H, H.T):
        raise BadInput("H is not symmetric", where=where, instead="H=(H + H.T) / 2")
    P = np.sqrt(v_hat) + eps
    if not (P > 0).all() or not g.any():
        raise BadInput(
            "sqrt(v_hat) + eps or the whole gradient is 0", where=where, instead="eps=1e-8"
        )
    scale = (1 - beta1) / ((1 + beta1) * (1 - beta1**t))
    top = np.linalg.eigvalsh(H / np.sqrt(np.outer(P, P)))[-1]  # similar to P^-1 H, and symmetric
    return Curvature(float(scale * top), float(scale * (g / P) @ H @ g / (g @ g)))


def rms_ratio(g: ArrayLike, v: ArrayLike, eps: float = 1e-8) -> float:
    r"""The lag of the second moment: sqrt(mean(g^2 / max(v, eps^2))), about 1 without lag.

    Args:
        g: gradients of one tensor, any shape.
        v: second moment, like g, >= 0, gradient units squared.
        eps: floor of sqrt(v), > 0, gradient units.

    Returns:
        The ratio, >= 0. Loss spikes are reported to follow values of 2.3 and more within 8 steps.

    Raises:
        BadInput: if an argument is out of its range or the shapes do not fit.

    Source: M. Wortsman et al., 2023, arXiv:2304.13013 (StableAdamW divides the learning rate by
        it).

    Example:
        >>> rms_ratio([3.0, 1.0], [1.0, 1.0]), rms_ratio([1.0, 1.0], [1.0, 1.0])
        (2.23606797749979, 1.0)
    """
    finite = ArgumentRange("(-inf, inf)", 1.0)
    g, v, floor = check_arrays("rms_ratio", g=(g, finite), v=(v, NOT_NEGATIVE), eps=(eps, POSITIVE))
    if g.shape != v.shape or not g.size:
        raise BadInput(
            f"g {g.shape} and v {v.shape} do not fit",
            where="rms_ratio",
            instead="g and v of one shape",
        )
    return float(np.sqrt(np.mean(np.square(g / np.maximum(np.sqrt(v), floor)))))
