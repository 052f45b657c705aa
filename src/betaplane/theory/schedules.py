"""Learning-rate schedules as pure functions: the multiplier of the peak rate per step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from betaplane.errors import one_of
from betaplane.theory._validation import ArgumentRange, check_floats, check_integers

Schedule = Callable[[np.ndarray, int, float], np.ndarray]


def constant(k: np.ndarray, steps: int, warmup: float = 0.0) -> np.ndarray:
    """1 at every step; `steps` and `warmup` have no effect.

    Args:
        k: steps, 1 .. steps, any shape.
        steps: length of the run, >= 1.
        warmup: not used.

    Returns:
        Multipliers, float64, like k.

    Source: definition.

    Example:
        >>> constant(np.arange(1, 4), 3)
        array([1., 1., 1.])
    """
    return np.ones(np.shape(k))


def inverse_sqrt(k: np.ndarray, steps: int, warmup: float = 0.0) -> np.ndarray:
    """1 / sqrt(k), the decay of convergence theorems; `steps` and `warmup` have no effect.

    Args:
        k: steps, 1 .. steps, any shape.
        steps: length of the run, >= 1.
        warmup: not used.

    Returns:
        Multipliers, float64, like k, in (0, 1].

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Theorem 4.1 (alpha_t = alpha / sqrt(t)).

    Example:
        >>> inverse_sqrt(np.array([1, 4, 16]), 16)
        array([1.  , 0.5 , 0.25])
    """
    return 1.0 / np.sqrt(k)


def warmup_cosine(k: np.ndarray, steps: int, warmup: float = 0.0) -> np.ndarray:
    """Linear warmup to 1, then half a cosine that reaches 0 just after the last step.

    With w = round(warmup steps), at most steps - 1:

    ```
    k / w                                          k <= w
    (1 + cos(pi (k - 1 - w) / (steps - w))) / 2    k > w
    ```

    Args:
        k: steps, 1 .. steps, any shape.
        steps: length of the run, >= 1.
        warmup: share of the steps spent on warmup, in [0, 1).

    Returns:
        Multipliers, float64, like k, in (0, 1]: neither the first step nor the last is wasted.

    Source: I. Loshchilov, F. Hutter, 2017, arXiv:1608.03983, equation 5 (one cycle); warmup: P.
        Goyal et al., 2017, arXiv:1706.02677, section 2.2.

    Example:
        >>> warmup_cosine(np.arange(1, 7), 6, warmup=1 / 3).round(4)
        array([0.5   , 1.    , 1.    , 0.8536, 0.5   , 0.1464])
    """
    w = _warmup_steps(steps, warmup)
    return np.where(k <= w, k / max(w, 1), (1 + np.cos(np.pi * (k - 1 - w) / (steps - w))) / 2)


def warmup_linear(k: np.ndarray, steps: int, warmup: float = 0.0) -> np.ndarray:
    """Linear warmup to 1, then a line that reaches 0 just after the last step.

    With w = round(warmup steps), at most steps - 1:

    ```
    k / w                            k <= w
    1 - (k - 1 - w) / (steps - w)    k > w
    ```

    Args:
        k: steps, 1 .. steps, any shape.
        steps: length of the run, >= 1.
        warmup: share of the steps spent on warmup, in [0, 1).

    Returns:
        Multipliers, float64, like k, in (0, 1]: neither the first step nor the last is wasted.

    Source: J. Devlin et al., 2019, arXiv:1810.04805, appendix A.2 (warmup, then linear decay).

    Example:
        >>> warmup_linear(np.arange(1, 7), 6, warmup=1 / 3)
        array([0.5 , 1.  , 1.  , 0.75, 0.5 , 0.25])
    """
    w = _warmup_steps(steps, warmup)
    return np.where(k <= w, k / max(w, 1), 1 - (k - 1 - w) / (steps - w))


ALL: tuple[Schedule, ...] = (constant, inverse_sqrt, warmup_cosine, warmup_linear)
NAMES: tuple[str, ...] = ("constant", "inverse_sqrt", "warmup_cosine", "warmup_linear")


def multipliers(name: str, steps: int, warmup: float = 0.0) -> np.ndarray:
    """The multipliers of a whole run, one per step.

    Args:
        name: the schedule, one of `NAMES`.
        steps: length of the run, >= 1.
        warmup: share of the steps spent on linear warmup, in [0, 1); for the schedules that have
            one.

    Returns:
        Array (steps,), float64, in (0, 1].

    Raises:
        BadInput: for an unknown name, steps that are no whole number >= 1, or warmup outside [0,
            1).

    Source: see each schedule.

    Example:
        >>> multipliers("warmup_linear", steps=4)
        array([1.  , 0.75, 0.5 , 0.25])
    """
    one_of(NAMES, "multipliers", schedule=name)
    check_integers(name, steps=(steps, 1))
    (warmup,) = check_floats(name, warmup=(warmup, ArgumentRange("[0, 1)", 0.1)))
    return ALL[NAMES.index(name)](np.arange(1, steps + 1), steps, warmup)


def _warmup_steps(steps: int, warmup: float) -> int:
    return min(round(warmup * steps), steps - 1)
