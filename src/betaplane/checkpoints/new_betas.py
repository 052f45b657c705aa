"""New betas for moments gathered under old ones: what bias correction does to the next updates, and
for how long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from betaplane.theory import blow_up_rate, update_bound

FORGOTTEN = 0.01  # the old moment's share from which on it counts as forgotten
NEAR = 0.01  # how near to 1 an update has to be to count as right
LONGEST = 10_000_000  # steps looked ahead


@dataclass(frozen=True)
class Planned:
    """What happens when a state at step t goes on under other betas, its step count kept."""

    betas: tuple[float, float]
    t: float
    # m_hat at the next step over what it would be were it corrected for its own weights
    m_at_once: float
    v_at_once: float  # the same of v_hat
    # what updates are multiplied by at the next step: the first over the root of the second
    update_at_once: float
    update_most: float  # the factor farthest from 1 in the steps after it
    steps: int  # until updates are within 1 % of what they should be; 0 where they are at once
    forget_m: float  # steps until 1 % of the old first moment is left
    forget_v: float  # the same of the second
    bound: float  # max |m| / sqrt(v) in the long run; inf where beta1^2 >= beta2
    growth: float  # what an update is multiplied by a step after gradients vanish
    scale_m: float  # multiply the stored m by it, and the next m_hat is right
    scale_v: float  # the same of v


def planned(old: tuple[float, float], new: tuple[float, float], t: float) -> Planned:
    r"""What happens to Adam's updates if betas change at step t and the state is kept.

    A moment gathered over t steps carries weights that sum to 1 - beta^t; k steps later, under
    beta', to

    ```
    W(k) = beta'^k (1 - beta^t) + (1 - beta'^k)        and it is divided by  1 - beta'^(t + k)
    ```

    so that for steady gradients m_hat and v_hat are off by the factor W(k) / (1 - beta'^(t + k)), and updates by that
    of m over the root of that of v.

    Args:
        old: betas of the checkpoint, each in [0, 1).
        new: betas it goes on with, each in [0, 1).
        t: steps taken, >= 1.

    Returns:
        Factors and steps.

    Raises:
        BadInput: a number is out of its range.

    Source: derived from the recursions; checked in float64 against torch.optim.Adam.

    Example:
        From beta2 = 0.999 to 0.95 after 100 steps v_hat is a seventh of what it should be and updates are 2.66 times
        as large; they are within 1 % after 74 steps, and 1 % of the old v is left after 90.

        >>> found = planned((0.9, 0.999), (0.9, 0.95), t=100)
        >>> round(found.v_at_once, 3), round(found.update_at_once, 2), found.steps, round(found.forget_v)
        (0.141, 2.66, 74, 90)
    """
    bound, growth = update_bound(*new), math.exp(min(blow_up_rate(*new), 700.0))
    update_bound(*old, t)
    now = [_off(b, c, t, 1) for b, c in zip(old, new, strict=True)]
    most, steps = _farthest(old, new, t)
    scales = [_weight(c, t) / _weight(b, t) for b, c in zip(old, new, strict=True)]
    return Planned(
        new, t, now[0], now[1], now[0] / math.sqrt(now[1]), most, steps, forgotten(new[0]), forgotten(new[1]), bound,
        growth, scales[0], scales[1],
    )  # fmt: skip


def forgotten(beta: float) -> float:
    """Steps until an average has 1 % left of what it held; 0 at beta = 0.

    Example:
        >>> round(forgotten(0.999)), round(forgotten(0.95))
        (4603, 90)
    """
    return math.log(FORGOTTEN) / math.log(beta) if beta > 0 else 0.0


def _weight(beta: float, t: float) -> float:
    return 1.0 if beta == 0 else -math.expm1(t * math.log(beta))


def _off(old: float, new: float, t: float, k: int) -> float:
    """What a moment is off by, k steps after the change."""
    left = new**k
    return (left * _weight(old, t) + 1 - left) / _weight(new, t + k)


def _update(old: tuple[float, float], new: tuple[float, float], t: float, k: int) -> float:
    return _off(old[0], new[0], t, k) / math.sqrt(_off(old[1], new[1], t, k))


def _farthest(old: tuple[float, float], new: tuple[float, float], t: float) -> tuple[float, int]:
    """The update's factor farthest from 1, and the last step at which it is off; looked at in ever
    longer strides.
    """
    most, last, k = 1.0, 0, 1
    end = min(LONGEST, 2 + 3 * max(forgotten(new[0]), forgotten(new[1])))
    while k <= end:
        now = _update(old, new, t, k)
        if abs(math.log(now)) > abs(math.log(most)):
            most = now
        if abs(now - 1) > NEAR:
            last = k
        k += max(1, k // 256)
    return most, last
