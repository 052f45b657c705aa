"""Schedules as functions of the step t = 1, 2, ..., for `Schedule`."""

from __future__ import annotations

import math
from collections.abc import Callable

from betaplane.errors import BadInput
from betaplane.theory import adafactor_beta2, beta_from_half_life, half_life

Value = Callable[[int], float]


def linear(start: float, end: float, steps: float) -> Value:
    """A linear ramp: start + (end - start) min((t - 1) / steps, 1).

    Args:
        start: value of the first step.
        end: value from step `steps` + 1 on.
        steps: length, > 0.

    Returns:
        The value as a function of t.

    Raises:
        BadInput: if steps is not in (0, inf).

    Source: as torch.optim.lr_scheduler.LinearLR.

    Example:
        >>> [round(linear(0.1, 0.3, steps=4)(t), 2) for t in (1, 2, 3, 4, 5, 6)]
        [0.1, 0.15, 0.2, 0.25, 0.3, 0.3]
    """
    _check_steps(steps, "linear")
    return lambda t: _between(start, end, min((t - 1) / steps, 1))


def cosine(start: float, end: float, steps: float) -> Value:
    """Half a cosine: end + (start - end) (1 + cos(pi s)) / 2, with s = min((t - 1) / steps, 1).

    Args:
        start: value of the first step.
        end: value from step `steps` + 1 on.
        steps: length, > 0.

    Returns:
        The value as a function of t.

    Raises:
        BadInput: if steps is not in (0, inf).

    Source: I. Loshchilov, F. Hutter, 2017, arXiv:1608.03983, equation 5; as torch.optim.lr_scheduler.CosineAnnealingLR,
    which does not stop at the end.

    Example:
        >>> [round(cosine(0.1, 0.3, steps=4)(t), 4) for t in (1, 2, 3, 4, 5, 6)]
        [0.1, 0.1293, 0.2, 0.2707, 0.3, 0.3]
    """
    _check_steps(steps, "cosine")
    return lambda t: _between(end, start, (1 + math.cos(math.pi * min((t - 1) / steps, 1))) / 2)


def horizon(start: float, end: float, steps: float) -> Value:
    """A beta whose memory horizon 1 / (1 - beta) changes by the same factor at every step.

    ```
    1 - beta = (1 - start)^(1 - s) (1 - end)^s        s = min((t - 1) / steps, 1)
    ```

    Args:
        start: beta of the first step, in [0, 1).
        end: beta from step `steps` + 1 on, in [0, 1).
        steps: length, > 0.

    Returns:
        beta as a function of t.

    Raises:
        BadInput: if start or end is not in [0, 1), or steps not in (0, inf).

    Source: definition.

    Example:
        >>> [round(horizon(0.9, 0.999, steps=2)(t), 6) for t in (1, 2, 3)]
        [0.9, 0.99, 0.999]
    """
    _check_steps(steps, "horizon")
    first = 1 - _check_beta("start", start, "horizon")
    last = 1 - _check_beta("end", end, "horizon")

    def beta(t: int) -> float:
        s = min((t - 1) / steps, 1)
        return 1 - first ** (1 - s) * last**s

    return beta


def power(exponent: float = 0.8) -> Value:
    """Adafactor's beta2 = 1 - t^-exponent: 0 at the first step, so v needs no bias correction.

    Args:
        exponent: > 0.

    Returns:
        beta2 as a function of t.

    Raises:
        BadInput: if exponent is not in (0, inf).

    Source: N. Shazeer, M. Stern, 2018, arXiv:1804.04235, section 7.2.

    Example:
        >>> [round(power()(t), 4) for t in (1, 2, 10, 1000)]
        [0.0, 0.4257, 0.8415, 0.996]
    """
    if not 0 < exponent < math.inf:
        raise BadInput(
            "exponent is out of range",
            value=exponent,
            allowed="(0, inf)",
            where="power",
            instead="exponent=0.8",
        )
    return lambda t: float(adafactor_beta2(t, exponent))


def ademamix_alpha(alpha: float, steps: float) -> Value:
    """AdEMAMix's weight of the slow moment: alpha min(t / steps, 1).

    Args:
        alpha: value from step `steps` on.
        steps: T, the length, > 0; in the paper that of the run.

    Returns:
        alpha as a function of t.

    Raises:
        BadInput: if steps is not in (0, inf).

    Source: M. Pagliardini, P. Ablin, D. Grangier, 2024, arXiv:2409.03137, section 3.

    Example:
        >>> [ademamix_alpha(8.0, steps=4)(t) for t in (1, 2, 4, 5)]
        [2.0, 4.0, 8.0, 8.0]
    """
    _check_steps(steps, "ademamix_alpha")
    return lambda t: _between(0.0, alpha, min(t / steps, 1))


def ademamix_beta3(beta1: float, beta3: float, steps: float) -> Value:
    """AdEMAMix's beta3: its half-life changes linearly from beta1's (t = 0) to beta3's (t = steps).

    ```
    beta = exp(ln(beta1) ln(beta3) / ((1 - s) ln(beta3) + s ln(beta1)))        s = min(t / steps, 1)
    ```

    Args:
        beta1: the initial value, in [0, 1).
        beta3: value from step `steps` on, in [0, 1).
        steps: T, the length, > 0; in the paper that of the run.

    Returns:
        beta3 as a function of t.

    Raises:
        BadInput: if beta1 or beta3 is not in [0, 1), or steps not in (0, inf).

    Source: M. Pagliardini, P. Ablin, D. Grangier, 2024, arXiv:2409.03137, section 3.

    Example:
        >>> [round(ademamix_beta3(0.9, 0.9999, steps=4)(t), 6) for t in (1, 2, 4, 5)]
        [0.999601, 0.9998, 0.9999, 0.9999]
    """
    _check_steps(steps, "ademamix_beta3")
    first = float(half_life(_check_beta("beta1", beta1, "ademamix_beta3")))
    last = float(half_life(_check_beta("beta3", beta3, "ademamix_beta3")))
    return lambda t: float(beta_from_half_life(_between(first, last, min(t / steps, 1))))


def per_batch(beta: float, batch: Value, base: float) -> Value:
    """A beta with the same memory, in samples, at every batch size: beta^(batch / base).

    Args:
        beta: the value at batch size `base`, in [0, 1).
        batch: the batch size, > 0, as a function of t.
        base: batch size, > 0.

    Returns:
        beta as a function of t.

    Raises:
        BadInput: if beta is not in [0, 1), or base not in (0, inf).

    Source: M. Marek et al., 2025, arXiv:2507.07101: of beta2, at fixed beta1.

    Example:
        A run at batch size 512 with beta2 = 0.95, which starts with 1,000 steps at batch size 16.

        >>> beta2 = per_batch(0.95, lambda t: 16 if t <= 1000 else 512, base=512)
        >>> [round(beta2(t), 4) for t in (1, 1001)]
        [0.9984, 0.95]
    """
    _check_beta("beta", beta, "per_batch")
    if not 0 < base < math.inf:
        raise BadInput(
            "base is out of range",
            value=base,
            allowed="(0, inf)",
            where="per_batch",
            instead="base=512",
        )
    return lambda t: beta ** (batch(t) / base)


def _between(start: float, end: float, s: float) -> float:
    return (1 - s) * start + s * end


def _check_steps(steps: float, where: str) -> None:
    if not 0 < steps < math.inf:
        raise BadInput(
            "steps is out of range",
            value=steps,
            allowed="(0, inf)",
            where=where,
            instead="steps=1000",
        )


def _check_beta(name: str, beta: float, where: str) -> float:
    if not 0 <= beta < 1:
        raise BadInput(
            f"{name} is out of range",
            value=beta,
            allowed="[0, 1)",
            where=where,
            instead=f"{name}=0.9",
        )
    return beta
