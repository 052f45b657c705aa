"""Predict the effect of new betas on a saved state: the size of the next updates, and for how
long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from betaplane.theory import blow_up_rate, update_bound

FORGOTTEN_SHARE = 0.01  # the share of the old moment at which it counts as forgotten
TOLERANCE = 0.01  # largest distance from 1 at which an update's factor counts as correct
MAX_STEPS_AHEAD = 10_000_000


@dataclass(frozen=True)
class Planned:
    """The effect of continuing a state at step t with other betas and the same step count."""

    betas: tuple[float, float]
    t: float
    # m_hat at the next step, divided by its value if it were corrected for its own weights
    m_at_once: float
    v_at_once: float  # the same for v_hat
    # factor on the update at the next step: m_at_once / sqrt(v_at_once)
    update_at_once: float
    update_most: float  # the factor farthest from 1 in later steps
    steps: int  # until updates are within 1% of their correct size; 0 if they already are
    forget_m: float  # steps until 1% of the old first moment is left
    forget_v: float  # the same for the second
    bound: float  # max |m| / sqrt(v) in the long run; inf if beta1^2 >= beta2
    growth: float  # factor on the update per step after gradients vanish
    scale_m: float  # factor on the stored m that makes the next m_hat correct
    scale_v: float  # the same for v


def planned(old: tuple[float, float], new: tuple[float, float], t: float) -> Planned:
    r"""The effect on Adam's updates if betas change at step t and the state is kept.

    The weights in a moment after t steps sum to 1 - beta^t; k steps later, under beta', to

    ```
    W(k) = beta'^k (1 - beta^t) + (1 - beta'^k)        and it is divided by  1 - beta'^(t + k)
    ```

    So for steady gradients m_hat and v_hat are wrong by the factor W(k) / (1 - beta'^(t + k)), and
    updates by the factor of m over the root of that of v.

    Args:
        old: betas of the checkpoint, each in [0, 1).
        new: betas to continue with, each in [0, 1).
        t: steps taken, >= 1.

    Returns:
        Factors and steps.

    Raises:
        BadInput: a number is out of its range.

    Source: derived from the recursions; checked in float64 against torch.optim.Adam.

    Example:
        From beta2 = 0.999 to 0.95 after 100 steps, v_hat is a seventh of its correct value and
        updates are 2.66 times as large. They are within 1% after 74 steps, and 1% of the old v is
        left after 90.

        >>> found = planned((0.9, 0.999), (0.9, 0.95), t=100)
        >>> round(found.v_at_once, 3), round(found.update_at_once, 2), found.steps, round(found.forget_v)
        (0.141, 2.66, 74, 90)
    """
    bound, growth = update_bound(*new), math.exp(min(blow_up_rate(*new), 700.0))
    update_bound(*old, t)
    m_factor, v_factor = (_moment_factor(b, c, t, 1) for b, c in zip(old, new, strict=True))
    farthest, steps = _farthest(old, new, t)
    return Planned(
        betas=new,
        t=t,
        m_at_once=m_factor,
        v_at_once=v_factor,
        update_at_once=m_factor / math.sqrt(v_factor),
        update_most=farthest,
        steps=steps,
        forget_m=steps_to_forget(new[0]),
        forget_v=steps_to_forget(new[1]),
        bound=bound,
        growth=growth,
        scale_m=_weight_sum(new[0], t) / _weight_sum(old[0], t),
        scale_v=_weight_sum(new[1], t) / _weight_sum(old[1], t),
    )


def steps_to_forget(beta: float) -> float:
    """Steps until 1% of a moment's old value is left; 0 at beta = 0.

    Example:
        >>> round(steps_to_forget(0.999)), round(steps_to_forget(0.95))
        (4603, 90)
    """
    return math.log(FORGOTTEN_SHARE) / math.log(beta) if beta > 0 else 0.0


def _weight_sum(beta: float, t: float) -> float:
    """1 - beta^t."""
    return 1.0 if beta == 0 else -math.expm1(t * math.log(beta))


def _moment_factor(old: float, new: float, t: float, k: int) -> float:
    """The factor by which a corrected moment is wrong, k steps after the change."""
    left = new**k
    return (left * _weight_sum(old, t) + 1 - left) / _weight_sum(new, t + k)


def _update_factor(old: tuple[float, float], new: tuple[float, float], t: float, k: int) -> float:
    return _moment_factor(old[0], new[0], t, k) / math.sqrt(_moment_factor(old[1], new[1], t, k))


def _farthest(old: tuple[float, float], new: tuple[float, float], t: float) -> tuple[float, int]:
    """The update's factor farthest from 1, and the last step at which it is wrong.

    Steps are examined at increasing distances.
    """
    farthest, last, k = 1.0, 0, 1
    end = min(MAX_STEPS_AHEAD, 2 + 3 * max(steps_to_forget(new[0]), steps_to_forget(new[1])))
    while k <= end:
        factor = _update_factor(old, new, t, k)
        if abs(math.log(factor)) > abs(math.log(farthest)):
            farthest = factor
        if abs(factor - 1) > TOLERANCE:
            last = k
        k += max(1, k // 256)
    return farthest, last
