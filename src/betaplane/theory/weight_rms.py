"""The RMS of weights under AdamW and their rotation per step, from noise and decay."""

from __future__ import annotations

import math

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
    check_floats,
    unwrap,
)


def weight_rms(
    lr: ArrayLike,
    weight_decay: ArrayLike,
    t: ArrayLike = math.inf,
    start: ArrayLike = 0.0,
    snr: ArrayLike = 0.0,
) -> FloatOrArray:
    r"""The RMS of weights after t steps of AdamW at constant lr.

    With kept = (1 - lr weight_decay)^t and s the signal-to-noise ratio of the gradients:

    ```
    RMS^2 = kept^2 start^2 + ((1 - kept)^2 s / weight_decay^2 + (1 - kept^2) lr / (2 weight_decay))
    / (s + 1)
    ```

    beta1 has no part in it: a larger beta1 makes each update smaller and successive ones more
    alike. An estimate that forgets the likeness is too small by sqrt((1 + beta1) / (1 - beta1)),
    4.4 times at beta1 = 0.9.

    Args:
        lr: learning rate, > 0; any shape.
        weight_decay: as in torch's AdamW (multiplied by lr), > 0, with lr weight_decay < 1; any
            shape that broadcasts.
        t: steps, in [1, inf]; any shape that broadcasts.
        start: RMS of the initial weights, >= 0; any shape that broadcasts.
        snr: |mu|^2 / |sigma|^2 of the gradients, >= 0; any shape that broadcasts.

    Returns:
        RMS of the weights, in the weights' unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Su, 2025, kexue.fm/archives/11307; A. Kosson et al., 2023, arXiv:2305.17212, have the
        long run at s = 0.

    Example:
        >>> round(weight_rms(1e-3, 0.1), 4), round(weight_rms(1e-3, 0.1, t=1000, start=0.02), 4)
        (0.0707, 0.0351)
    """
    lr, weight_decay, start, snr, t = check_arrays(
        "weight_rms",
        lr=(lr, POSITIVE),
        weight_decay=(weight_decay, POSITIVE),
        start=(start, NOT_NEGATIVE),
        snr=(snr, NOT_NEGATIVE),
        t=(t, STEP_OR_INF),
    )
    log_kept = t * np.log1p(-_taken("weight_rms", lr, weight_decay))
    ever = np.square(np.expm1(log_kept) / weight_decay) * snr
    moved = (ever - np.expm1(2 * log_kept) * lr / (2 * weight_decay)) / (snr + 1)
    return unwrap(np.sqrt(np.square(np.exp(log_kept) * start) + moved))


def weight_rms_path(lr: ArrayLike, weight_decay: ArrayLike, start: float = 0.0) -> np.ndarray:
    r"""The RMS of weights after each step of a schedule, for noise alone.

    ```
    RMS_t^2 = (1 - lr_t wd_t)^2 RMS_{t-1}^2 + lr_t^2        wd_t = weight_decay at step t
    ```

    It follows sqrt(lr_t / (2 wd_t)) as fast as lr_t wd_t allows: with lr -> 0 at fixed decay it
    becomes constant.

    Args:
        lr: learning rate of each step, (steps,), >= 0.
        weight_decay: as in torch's AdamW, >= 0, a number or one per step, with lr weight_decay < 1.
        start: RMS of the initial weights, >= 0.

    Returns:
        Array (steps,), the RMS after each step, in the weights' unit.

    Raises:
        BadInput: if an argument is out of its range or of another shape.

    Source: J. Su, 2025, kexue.fm/archives/11404 (there as a differential equation).

    Example:
        >>> weight_rms_path([1e-3, 1e-3, 0.0], weight_decay=0.1, start=0.02).round(5)
        array([0.02002, 0.02005, 0.02005])
    """
    where = "weight_rms_path"
    lr, weight_decay = check_arrays(
        where, lr=(lr, NOT_NEGATIVE), weight_decay=(weight_decay, NOT_NEGATIVE)
    )
    (start,) = check_floats(where, start=(start, NOT_NEGATIVE))
    if lr.ndim != 1:
        raise BadInput(
            "lr has the wrong shape",
            value=lr.shape,
            allowed="(steps,)",
            where=where,
            instead="lr=[1e-3]",
        )
    if weight_decay.shape not in ((), lr.shape):
        raise BadInput(
            "weight_decay has the wrong shape",
            value=weight_decay.shape,
            allowed=f"() or {lr.shape}",
            where=where,
            instead="weight_decay=0.1",
        )
    square, path = start**2, []
    for taken, moved in zip(_taken(where, lr, weight_decay).tolist(), lr.tolist(), strict=True):
        square = (1 - taken) ** 2 * square + moved**2
        path.append(square)
    return np.sqrt(path)


def weight_rms_after(decay: ArrayLike, moved: ArrayLike, start: ArrayLike = 0.0) -> FloatOrArray:
    r"""The RMS of weights at the end of any schedule, approximated from two sums over it.

    ```
    RMS^2 = e^(-2 decay) start^2 + (1 - e^(-2 decay)) moved / (2 decay)
    decay = sum of lr weight_decay,   moved = sum of lr^2        (of `linear_means`, times steps)
    ```

    It treats the sum of lr^2 as spread evenly over the decay, which it is at constant lr only.
    After a cosine to 0 it is larger than `weight_rms_path`, step by step: by 1% if decay = 0.1, by
    11% at 1, by 56% at 5.

    Args:
        decay: sum of lr weight_decay over the steps, > 0; any shape.
        moved: sum of lr^2 over the steps, >= 0; any shape that broadcasts.
        start: RMS of the initial weights, >= 0; any shape that broadcasts.

    Returns:
        RMS of the weights, in the weights' unit.

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Su, 2025, kexue.fm/archives/11404.

    Example:
        >>> round(weight_rms_after(decay=0.1 * 1e-3 * 1000, moved=1e-6 * 1000, start=0.02), 4)
        0.0351
    """
    decay, moved, start = check_arrays(
        "weight_rms_after",
        decay=(decay, POSITIVE),
        moved=(moved, NOT_NEGATIVE),
        start=(start, NOT_NEGATIVE),
    )
    return unwrap(
        np.sqrt(np.exp(-2 * decay) * np.square(start) - np.expm1(-2 * decay) * moved / (2 * decay))
    )


def rotation(lr: ArrayLike, weight_decay: ArrayLike, beta1: ArrayLike) -> FloatOrArray:
    r"""The angle by which AdamW turns a weight vector per step, once its norm is constant.

    ```
    sqrt(2 lr weight_decay (1 - beta1) / (1 + beta1))
    ```

    It is lr `update_rms` over `weight_rms`, noise alone.

    Args:
        lr: learning rate, > 0; any shape.
        weight_decay: as in torch's AdamW, > 0; any shape that broadcasts.
        beta1: decay of m, in [0, 1); any shape that broadcasts.

    Returns:
        Radians per step.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the quotient of the two; A. Kosson et al., 2023, arXiv:2305.17212; checked by a random
        walk.

    Example:
        >>> round(rotation(0.01, 0.1, 0.9), 5)
        0.01026
    """
    lr, weight_decay, beta1 = check_arrays(
        "rotation", lr=(lr, POSITIVE), weight_decay=(weight_decay, POSITIVE), beta1=(beta1, BETA)
    )
    return unwrap(np.sqrt(2 * lr * weight_decay * (1 - beta1) / (1 + beta1)))


def _taken(where: str, lr: np.ndarray, weight_decay: np.ndarray) -> np.ndarray:
    """The share of a weight that the decay of one step removes."""
    share = ArgumentRange("[0, 1)", 1e-4, "lr=1e-3, weight_decay=0.1")
    (taken,) = check_arrays(where, **{"lr * weight_decay": (lr * weight_decay, share)})
    return taken
