"""Weight decay: its horizon, its steady ratio, and conversions between its units."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    NOT_NEGATIVE,
    POSITIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


def decay_horizon(
    lr: ArrayLike, weight_decay: ArrayLike, per_step: ArrayLike = 1.0
) -> FloatOrArray:
    r"""The memory of weights in steps, 1 / (lr weight_decay), as a moving average of updates.

    To carry weight decay over to another batch size, learning rate or length of run, keep this
    horizon in samples or
    tokens: weight_decay = per_step / (lr horizon), the same function with the horizon in
        weight_decay's place.

    Args:
        lr: learning rate, > 0; any shape.
        weight_decay: as in torch's AdamW (multiplied by lr), > 0; any shape that broadcasts.
        per_step: samples or tokens per step, > 0; any shape that broadcasts.

    Returns:
        Steps (times per_step), > 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: X. Wang, L. Aitchison, 2024, arXiv:2405.13698 (there in epochs).

    Example:
        >>> round(decay_horizon(1e-3, 0.1))
        10000
        >>> tokens = decay_horizon(1e-3, 0.1, per_step=512)
        >>> round(decay_horizon(5e-4, tokens, per_step=64), 4)
        0.025
    """
    lr, weight_decay, per_step = check_arrays(
        "decay_horizon",
        lr=(lr, POSITIVE),
        weight_decay=(weight_decay, POSITIVE),
        per_step=(per_step, POSITIVE),
    )
    return unwrap(per_step / (lr * weight_decay))


def coupled_decay(weight_decay: ArrayLike, lr: ArrayLike) -> FloatOrArray:
    r"""The weight decay of torch's AdamW for an independent weight decay: weight_decay / lr.

    The paper subtracts s_t weight_decay x, s_t being the schedule's multiplier; torch subtracts s_t
    lr weight_decay x.

    Args:
        weight_decay: independent, the share removed per step, >= 0; any shape.
        lr: peak learning rate, > 0; any shape that broadcasts.

    Returns:
        Weight decay as in torch's AdamW.

    Raises:
        BadInput: if an argument is out of its range.

    Source: I. Loshchilov, F. Hutter, 2019, arXiv:1711.05101, Algorithm 2.

    Example:
        >>> round(coupled_decay(1e-4, lr=1e-3), 6)
        0.1
    """
    weight_decay, lr = check_arrays(
        "coupled_decay", weight_decay=(weight_decay, NOT_NEGATIVE), lr=(lr, POSITIVE)
    )
    return unwrap(weight_decay / lr)


def normalized_decay(
    normalized: ArrayLike, batch: ArrayLike, samples: ArrayLike, epochs: ArrayLike
) -> FloatOrArray:
    r"""Independent weight decay from the normalized one: normalized sqrt(batch / (samples epochs)).

    Args:
        normalized: weight decay in the paper's normalized unit, >= 0; any shape.
        batch: samples per step, > 0; any shape that broadcasts.
        samples: training samples, > 0; any shape that broadcasts.
        epochs: passes over them, > 0; any shape that broadcasts.

    Returns:
        Independent weight decay, the share removed per step; `coupled_decay` converts it to
        torch's.

    Raises:
        BadInput: if an argument is out of its range.

    Source: I. Loshchilov, F. Hutter, 2019, arXiv:1711.05101, appendix B.1.

    Example:
        >>> f"{normalized_decay(0.05, batch=128, samples=50_000, epochs=100):.3g}"
        '0.000253'
    """
    normalized, batch, samples, epochs = check_arrays(
        "normalized_decay",
        normalized=(normalized, NOT_NEGATIVE),
        batch=(batch, POSITIVE),
        samples=(samples, POSITIVE),
        epochs=(epochs, POSITIVE),
    )
    return unwrap(normalized * np.sqrt(batch / (samples * epochs)))


def steady_ratio(lr: ArrayLike, weight_decay: ArrayLike) -> FloatOrArray:
    r"""The limit of |gradient| / |weights| before a normalization: sqrt(2 weight_decay / lr).

    There the gradient is orthogonal to the weights, |x|^2 <- (1 - lr weight_decay)^2 |x|^2 + lr^2
    |g|^2, and the two terms balance; for AdamW read the norm of the update in place of |g|. As lr
    -> 0 with weight_decay fixed the ratio it moves towards grows without limit: gradient norms rise
    at the end of a schedule. `corrected_decay` keeps it.

    Args:
        lr: learning rate, > 0; any shape.
        weight_decay: as in torch (multiplied by lr), >= 0; any shape that broadcasts.

    Returns:
        |g| / |x|, in 1 / lr's unit; exactly sqrt(2 weight_decay / lr - weight_decay^2), less where
        their product is near 1.

    Raises:
        BadInput: if an argument is out of its range.

    Source: A. Defazio, 2025, arXiv:2506.02285.

    Example:
        >>> round(steady_ratio(0.1, 1e-4), 4), round(steady_ratio(0.001, 1e-4), 4)
        (0.0447, 0.4472)
    """
    lr, weight_decay = check_arrays(
        "steady_ratio", lr=(lr, POSITIVE), weight_decay=(weight_decay, NOT_NEGATIVE)
    )
    return unwrap(np.sqrt(2 * weight_decay / lr))


def corrected_decay(weight_decay: ArrayLike, lr: ArrayLike, peak_lr: ArrayLike) -> FloatOrArray:
    r"""AdamC's weight decay of layers before a normalization: weight_decay lr / peak_lr.

    With it the steady ratio remains sqrt(2 weight_decay / peak_lr) along the whole schedule, and a
    step takes off lr^2 weight_decay / peak_lr. Not for the output layer or gains.

    Args:
        weight_decay: as in torch (multiplied by lr), >= 0; any shape.
        lr: learning rate now, >= 0; any shape that broadcasts.
        peak_lr: the schedule's largest learning rate, > 0; any shape that broadcasts.

    Returns:
        Weight decay for this step, as in torch.

    Raises:
        BadInput: if an argument is out of its range.

    Source: A. Defazio, 2025, arXiv:2506.02285.

    Example:
        >>> lr = np.array([1e-3, 5e-4, 1e-4])
        >>> steady_ratio(lr, corrected_decay(0.1, lr, 1e-3)).round(3)
        array([14.142, 14.142, 14.142])
    """
    weight_decay, lr, peak_lr = check_arrays(
        "corrected_decay",
        weight_decay=(weight_decay, NOT_NEGATIVE),
        lr=(lr, ArgumentRange("[0, inf)", 1e-3)),
        peak_lr=(peak_lr, POSITIVE),
    )
    return unwrap(weight_decay * lr / peak_lr)
