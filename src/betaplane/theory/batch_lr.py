"""The best learning rate as a function of the batch size, for SGD, Adam and sign updates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import BETA, POSITIVE, FloatOrArray, check_arrays, unwrap


def sgd_lr(batch: ArrayLike, noise_scale: ArrayLike, beta1: ArrayLike = 0.0) -> FloatOrArray:
    r"""The best lr of SGD with momentum, as a share of the best lr of an infinite batch.

    ```
    1 / (1 + (1 - beta1) / (1 + beta1) noise_scale / batch)
    ```

    Args:
        batch: samples per step, > 0; any shape.
        noise_scale: batch size at which noise and signal weigh the same, > 0; any shape that
            broadcasts.
        beta1: decay of the averaged momentum, in [0, 1); any shape that broadcasts.

    Returns:
        Share of the largest lr, in (0, 1).

    Raises:
        BadInput: if an argument is out of its range.

    Source: S. McCandlish et al., 2018, arXiv:1812.06162 (beta1 = 0); J. Su, 2025,
        kexue.fm/archives/11301.

    Example:
        >>> sgd_lr([1, 100, 10_000], noise_scale=100).round(4)
        array([0.0099, 0.5   , 0.9901])
    """
    batch, noise_scale, beta1 = check_arrays(
        "sgd_lr", batch=(batch, POSITIVE), noise_scale=(noise_scale, POSITIVE), beta1=(beta1, BETA)
    )
    return unwrap(1 / (1 + (1 - beta1) / (1 + beta1) * noise_scale / batch))


def adam_lr(batch: ArrayLike, noise_scale: ArrayLike, beta1: ArrayLike = 0.0) -> FloatOrArray:
    r"""The best lr of Adam for a diagonal Hessian, as a share of its maximum over batch sizes.

    With b = 1 / sqrt(1 + noise_scale / batch), in (0, 1):

    ```
    lr ~ 1 / ((1 - beta1) / (1 + beta1) / b + 2 beta1 / (1 + beta1) b)
    largest at b = sqrt((1 - beta1) / (2 beta1))
    ```

    Small batches: lr rises as sqrt(batch). For beta1 > 1/3 it falls again beyond `surge_batch`; for
    beta1 <= 1/3 it rises towards the value at b = 1.

    Args:
        batch: samples per step, > 0; any shape.
        noise_scale: batch size at which noise and signal weigh the same, > 0; any shape that
            broadcasts.
        beta1: decay of m, in [0, 1); any shape that broadcasts.

    Returns:
        Share of the largest lr, in (0, 1].

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Su, 2025, kexue.fm/archives/11301.

    Example:
        >>> adam_lr([0.01, 1, 5.9, 100, 1e9], noise_scale=100, beta1=0.9).round(3)
        array([0.085, 0.717, 1.   , 0.6  , 0.447])
    """
    batch, noise_scale, beta1 = check_arrays(
        "adam_lr", batch=(batch, POSITIVE), noise_scale=(noise_scale, POSITIVE), beta1=(beta1, BETA)
    )
    noise, signal = 1 - beta1, 2 * beta1  # both over 1 + beta1, which drops out
    b = 1 / np.sqrt(1 + noise_scale / batch)
    with np.errstate(divide="ignore"):
        best = np.minimum(np.sqrt(noise / signal), 1)
    return unwrap((noise / best + signal * best) / (noise / b + signal * b))


def surge_batch(beta1: ArrayLike) -> FloatOrArray:
    r"""The batch size beyond which Adam's best lr falls, over the noise scale.

    ```
    (1 - beta1) / (3 beta1 - 1)
    ```

    Args:
        beta1: decay of m, in [0, 1); any shape.

    Returns:
        Share of the noise scale, > 0; inf if beta1 <= 1/3, since the best lr never falls then.

    Raises:
        BadInput: if beta1 is out of its range.

    Source: J. Su, 2025, kexue.fm/archives/11301. S. Li et al., 2024, arXiv:2405.14578, found the
        surge, `sign_lr`, without momentum.

    Example:
        >>> surge_batch([0.3, 0.5, 0.9]).round(4)
        array([   inf, 1.    , 0.0588])
    """
    (beta1,) = check_arrays("surge_batch", beta1=(beta1, BETA))
    with np.errstate(divide="ignore"):
        return unwrap(np.where(3 * beta1 > 1, (1 - beta1) / (3 * beta1 - 1), math.inf))


def sign_lr(batch: ArrayLike, noise_scale: ArrayLike) -> FloatOrArray:
    r"""The best lr of sign-like updates without momentum, as a share of its maximum.

    ```
    2 / (sqrt(noise_scale / batch) + sqrt(batch / noise_scale))
    ```

    It is the surge as first published: largest, 1, at the noise scale, like sqrt(batch) far below
    it.

    Args:
        batch: samples per step, > 0; any shape.
        noise_scale: batch size at which noise and signal weigh the same, > 0; any shape that
            broadcasts.

    Returns:
        Share of the largest lr, in (0, 1].

    Raises:
        BadInput: if an argument is out of its range.

    Source: S. Li et al., 2024, arXiv:2405.14578.

    Example:
        >>> sign_lr([1, 100, 10_000], noise_scale=100).round(4)
        array([0.198, 1.   , 0.198])
    """
    batch, noise_scale = check_arrays(
        "sign_lr", batch=(batch, POSITIVE), noise_scale=(noise_scale, POSITIVE)
    )
    return unwrap(2 / (np.sqrt(noise_scale / batch) + np.sqrt(batch / noise_scale)))
