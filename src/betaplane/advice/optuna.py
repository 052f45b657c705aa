"""Betas for an Optuna trial, drawn in log memory horizons and within beta1 < sqrt(beta2)."""

from __future__ import annotations

import math
from typing import Any

from betaplane.errors import BadInput

INSIDE = 1 - 1e-6  # of the horizon of sqrt(beta2): the largest horizon of beta1


def optuna_betas(
    trial: Any,
    beta1: tuple[float, float] = (0.0, 0.99),
    beta2: tuple[float, float] = (0.9, 0.9999),
    prefix: str = "",
) -> tuple[float, float]:
    r"""Suggest (beta1, beta2) to an Optuna trial, in memory horizons on a log scale, all of them
    below sqrt(beta2).

    ```
    1 / (1 - beta2) = horizon2                          log-uniform between the ends of beta2
    1 / (1 - beta1) = low^(1 - share1) high^share1      low and high: the ends of beta1, high below sqrt(beta2)
    ```

    The study sees two parameters, horizon2 (in steps) and share1 (in [0, 1]), whose ranges never change: any sampler
    works, none of its trials is lost to an update without bound.

    Args:
        trial: an `optuna.trial.Trial`; only its `suggest_float` is called.
        beta1: smallest and largest beta1, in [0, 1).
        beta2: smallest and largest beta2, in [0, 1).
        prefix: put before the names of the two parameters.

    Returns:
        (beta1, beta2), with beta1 < sqrt(beta2).

    Raises:
        BadInput: a range is not one, or beta1's smallest does not lie below the square root of beta2's smallest.

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
            "trial is no Optuna trial",
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
    high = min(1 / (1 - beta1[1]), INSIDE / (1 - math.sqrt(second)))
    return 1 - 1 / (low * (high / low) ** share1), second


def _check(beta1: tuple[float, float], beta2: tuple[float, float]) -> None:
    for name, ends, usual in (("beta1", beta1, "(0.0, 0.99)"), ("beta2", beta2, "(0.9, 0.9999)")):
        if not _is_pair(ends) or not 0 <= ends[0] < ends[1] < 1:
            raise BadInput(
                f"The range of {name} is not one",
                value=ends,
                allowed="low < high, both in [0, 1)",
                where="optuna_betas",
                instead=f"{name}={usual}",
            )
    if not 1 / (1 - beta1[0]) < INSIDE / (1 - math.sqrt(beta2[0])):
        raise BadInput(
            "The smallest beta1 does not lie below the root of the smallest beta2",
            value=(beta1[0], beta2[0]),
            allowed="beta1 < sqrt(beta2)",
            where="optuna_betas",
            instead="beta1=(0.0, 0.99), beta2=(0.9, 0.9999)",
        )


def _is_pair(ends: object) -> bool:
    numbers = isinstance(ends, (tuple, list)) and all(isinstance(end, (int, float)) for end in ends)
    return numbers and len(ends) == 2  # pyright: ignore[reportArgumentType]
