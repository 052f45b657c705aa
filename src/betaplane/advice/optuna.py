"""Suggest betas to an Optuna trial, on a log scale of memory horizons, with beta1 < sqrt(beta2)."""

from __future__ import annotations

import math
from typing import Any

from betaplane.errors import BadInput

MAX_HORIZON_RATIO = 1 - 1e-6  # horizon of beta1 over that of sqrt(beta2)


def optuna_betas(
    trial: Any,
    beta1: tuple[float, float] = (0.0, 0.99),
    beta2: tuple[float, float] = (0.9, 0.9999),
    prefix: str = "",
) -> tuple[float, float]:
    r"""Suggest (beta1, beta2) to an Optuna trial, with beta1 < sqrt(beta2).

    ```
    1 / (1 - beta2) = horizon2                          log-uniform between the ends of beta2
    1 / (1 - beta1) = low^(1 - share1) high^share1      low and high: the ends of beta1, high below sqrt(beta2)
    ```

    The study has two parameters, horizon2 (in steps) and share1 (in [0, 1]). Their ranges never
    change, so any sampler works. No trial has updates without a bound.

    Args:
        trial: an `optuna.trial.Trial`; only its `suggest_float` is called.
        beta1: smallest and largest beta1, in [0, 1).
        beta2: smallest and largest beta2, in [0, 1).
        prefix: added in front of the names of the two parameters.

    Returns:
        (beta1, beta2), with beta1 < sqrt(beta2).

    Raises:
        BadInput: a range is invalid, or the smallest beta1 is not below the square root of the
            smallest beta2.

    Source: horizons as on betaplane's maps; beta1 < sqrt(beta2): Y. Zhang et al., 2022,
        arXiv:2208.09632.

    Example:
        >>> class Middle:
        ...     def suggest_float(self, name, low, high, log=False):
        ...         return (low * high) ** 0.5 if log else (low + high) / 2
        >>> [round(beta, 4) for beta in optuna_betas(Middle(), beta1=(0.0, 0.99), beta2=(0.9, 0.999))]
        [0.9, 0.99]
    """
    if not hasattr(trial, "suggest_float"):
        raise BadInput(
            "trial is not an Optuna trial",
            value=trial,
            allowed="an optuna.trial.Trial",
            where="optuna_betas",
        )
    _check(beta1, beta2)
    horizon2 = trial.suggest_float(
        f"{prefix}horizon2", 1 / (1 - beta2[0]), 1 / (1 - beta2[1]), log=True
    )
    share1 = trial.suggest_float(f"{prefix}share1", 0.0, 1.0)
    second = 1 - 1 / horizon2
    low = 1 / (1 - beta1[0])
    high = min(1 / (1 - beta1[1]), MAX_HORIZON_RATIO / (1 - math.sqrt(second)))
    return 1 - 1 / (low * (high / low) ** share1), second


def _check(beta1: tuple[float, float], beta2: tuple[float, float]) -> None:
    for name, ends, example in (("beta1", beta1, "(0.0, 0.99)"), ("beta2", beta2, "(0.9, 0.9999)")):
        if not _is_pair(ends) or not 0 <= ends[0] < ends[1] < 1:
            raise BadInput(
                f"Invalid range of {name}",
                value=ends,
                allowed="low < high, both in [0, 1)",
                where="optuna_betas",
                instead=f"{name}={example}",
            )
    if not 1 / (1 - beta1[0]) < MAX_HORIZON_RATIO / (1 - math.sqrt(beta2[0])):
        raise BadInput(
            "The smallest beta1 is not below the square root of the smallest beta2",
            value=(beta1[0], beta2[0]),
            allowed="beta1 < sqrt(beta2)",
            where="optuna_betas",
            instead="beta1=(0.0, 0.99), beta2=(0.9, 0.9999)",
        )


def _is_pair(ends: object) -> bool:
    numbers = isinstance(ends, (tuple, list)) and all(isinstance(end, (int, float)) for end in ends)
    return numbers and len(ends) == 2  # pyright: ignore[reportArgumentType]
