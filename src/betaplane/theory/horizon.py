"""How far back an exponential moving average looks: memory horizon and half-life, in steps."""

from __future__ import annotations

import math

from betaplane.errors import BadInput


def memory_horizon(beta: float) -> float:
    """The memory horizon 1 / (1 - beta): the total weight of past steps, in units of the newest one's.

    Args:
        beta: decay of the average, in [0, 1).

    Returns:
        Steps, >= 1; beta = 0 has horizon 1.

    Raises:
        BadInput: if beta is not in [0, 1).

    Source: definition; the weights are (1 - beta) beta^k, k = 0, 1, 2, ...

    Example:
        >>> round(memory_horizon(0.999), 6), memory_horizon(0.0)
        (1000.0, 1.0)
    """
    return 1.0 / (1.0 - _checked(beta, "memory_horizon"))


def half_life(beta: float) -> float:
    """The half-life ln(1/2) / ln(beta): after this many steps a gradient's weight has halved.

    Args:
        beta: decay of the average, in [0, 1).

    Returns:
        Steps, >= 0; beta = 0 has half-life 0.

    Raises:
        BadInput: if beta is not in [0, 1).

    Source: definition; Marek et al. 2025, arXiv:2507.07101, count it in tokens (multiply by tokens a step).

    Example:
        >>> round(half_life(0.95), 4)
        13.5134
    """
    return math.log(0.5) / math.log(beta) if _checked(beta, "half_life") > 0 else 0.0


def beta_from_horizon(steps: float) -> float:
    """The beta whose memory horizon is `steps`: 1 - 1 / steps.

    Args:
        steps: memory horizon in steps, in [1, inf).

    Returns:
        beta, in [0, 1).

    Raises:
        BadInput: if steps is not in [1, inf).

    Source: the inverse of `memory_horizon`.

    Example:
        >>> beta_from_horizon(20)
        0.95
    """
    if not 1 <= steps < math.inf:
        raise BadInput(
            "steps is out of range", value=steps, allowed="[1, inf)", where="beta_from_horizon", instead="steps=10"
        )
    return 1.0 - 1.0 / steps


def beta_from_half_life(steps: float) -> float:
    """The beta whose half-life is `steps`: 2^(-1 / steps).

    Args:
        steps: half-life in steps, in [0, inf); 0 gives beta = 0.

    Returns:
        beta, in [0, 1).

    Raises:
        BadInput: if steps is not in [0, inf).

    Source: the inverse of `half_life`.

    Example:
        >>> beta_from_half_life(1.0)
        0.5
    """
    if not 0 <= steps < math.inf:
        raise BadInput(
            "steps is out of range", value=steps, allowed="[0, inf)", where="beta_from_half_life", instead="steps=10"
        )
    return 0.5 ** (1.0 / steps) if steps > 0 else 0.0


def _checked(beta: float, where: str) -> float:
    if not 0 <= beta < 1:
        raise BadInput("beta is out of range", value=beta, allowed="[0, 1)", where=where, instead="beta=0.999")
    return beta
