"""The RMS of Adam's update and the gradients' signal-to-noise ratio, each from the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    BETA,
    NOT_NEGATIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


def update_rms(beta1: ArrayLike, snr: ArrayLike = 0.0) -> FloatOrArray:
    r"""The RMS of Adam's update in units of lr, for independent gradients of mean mu.

    With the standard deviation sigma, s = |mu|^2 / |sigma|^2 and a = (1 - beta1) / (1 + beta1):

    ```
    RMS(u) = sqrt((s + a) / (s + 1))        pure noise: sqrt(a) = 0.229 at beta1 = 0.9;   no noise: 1
    ```

    It is a mean field: v is replaced by its mean, and beta2 is not seen. In simulation with normal
    gradients it is right to 1% at beta2 = 0.999, and 1 to 3% too large at 0.9 and 0.95 with beta1 =
    0.8 and 0.9.

    Args:
        beta1: decay of m, in [0, 1); any shape.
        snr: signal-to-noise ratio s, >= 0, a ratio of powers; any shape that broadcasts.

    Returns:
        RMS of m_hat / sqrt(v_hat) over the coordinates, in (0, 1].

    Raises:
        BadInput: if an argument is out of its range.

    Source: J. Su, 2025, kexue.fm/archives/11267; A. Kosson et al., 2023, arXiv:2305.17212, have the
        case s = 0.

    Example:
        >>> update_rms(0.9, [0, 0.01, 0.1, 1]).round(4)
        array([0.2294, 0.249 , 0.3725, 0.7255])
    """
    beta1, snr = check_arrays("update_rms", beta1=(beta1, BETA), snr=(snr, NOT_NEGATIVE))
    return unwrap(np.sqrt((snr + (1 - beta1) / (1 + beta1)) / (snr + 1)))


def snr_from_update_rms(rms: ArrayLike, beta1: ArrayLike) -> FloatOrArray:
    r"""The gradients' signal-to-noise ratio from the RMS of the update: (RMS^2 - a) / (1 - RMS^2).

    a = (1 - beta1) / (1 + beta1). For an optimizer with momentum but no v, put |m|^2 / |g|^2 for
    RMS^2. The error of a few percent in `update_rms` is an absolute error of about 2 a times as
    much here: a ratio below 0.01 is noise.

    Args:
        rms: RMS of m_hat / sqrt(v_hat), in [0, 1); any shape.
        beta1: decay of m, in [0, 1); any shape that broadcasts.

    Returns:
        s, a ratio of powers; 0 if the update is not larger than that of noise.

    Raises:
        BadInput: if an argument is out of its range.

    Source: the inverse of `update_rms`; J. Su, 2025, kexue.fm/archives/11267.

    Example:
        >>> round(snr_from_update_rms(0.3725, beta1=0.9), 3), snr_from_update_rms(0.2, beta1=0.9)
        (0.1, 0.0)
    """
    rms, beta1 = check_arrays(
        "snr_from_update_rms", rms=(rms, ArgumentRange("[0, 1)", 0.3)), beta1=(beta1, BETA)
    )
    noise = (1 - beta1) / (1 + beta1)
    return unwrap(np.maximum(np.square(rms) - noise, 0) / (1 - np.square(rms)))


def batch_multiplier(beta1: ArrayLike) -> FloatOrArray:
    r"""The factor by which momentum enlarges a batch, as to noise: (1 + beta1) / (1 - beta1).

    Args:
        beta1: decay of m, in [0, 1); any shape.

    Returns:
        The factor, >= 1: the variance of one gradient over that of m; 19 at beta1 = 0.9.

    Raises:
        BadInput: if beta1 is out of its range.

    Source: variance of a moving average; J. Su, 2025, kexue.fm/archives/11301.

    Example:
        >>> batch_multiplier([0.0, 0.9, 0.95]).round(6)
        array([ 1., 19., 39.])
    """
    (beta1,) = check_arrays("batch_multiplier", beta1=(beta1, BETA))
    return unwrap((1 + beta1) / (1 - beta1))
