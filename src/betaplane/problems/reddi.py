"""The online problem on which Adam converges to the worst point (Reddi, Kale & Kumar 2018)."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems._slopes import (
    RELATIVE_EPS,
    Point,
    cyclic_boundary,
    line_gradient,
    mean_output,
)
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.order import Order
from betaplane.problems.problem import Problem


@family
def reddi(
    C: float = 3.0,
    period: int | None = None,
    scale: float = 1.0,
    order: Order = "cyclic",
    delta: float | None = None,
    x0: float = 0.0,
    steps: int = 20_000,
    lr: float = 1.0,
    schedule: str = "inverse_sqrt",
    dtype: torch.dtype = torch.float32,
) -> Problem:
    r"""One steep loss per period and shallow losses of the opposite sign, on [-1, 1]; the best
    point is x = -1.

    ```
    f_t(x) = scale C x   if t mod period = 0,   -scale x   otherwise
    x      = min(1, max(-1, x))   after each step
    ```

    An example is a slope; a minibatch is one example. The mean slope scale (C - period + 1) /
    period is positive, so the best point is -1. If beta2 is below the `boundary` (cyclic order),
    Adam converges to +1. With order="replacement", the steep loss is drawn independently with
    probability 1/period, or with p = (1 + delta) / (C + 1), for which the mean slope is scale
    delta.

    Source: S. J. Reddi, S. Kale, S. Kumar, 2018, arXiv:1904.09237: section 3 (C = 3, period 3),
    Theorem 2 (period C), Theorem 3 (`delta`). Figure 1 is `reddi(C=101, period=101, scale=10)`, its
    stochastic half `reddi(C=101, period=100, scale=10, order="replacement")`.

    Args:
        C: slope of the steep loss over that of the shallow losses, > period - 1.
        period: losses per period, >= 2; None: C rounded.
        scale: slope of the shallow losses, > 0.
        order: order of the losses; the exact boundary holds for "cyclic".
        delta: mean slope over scale, in (0, C); requires order="replacement" and replaces the
            period.
        x0: start of every run, in [-1, 1].
        steps: steps per run.
        lr: learning rate of the first step.
        schedule: name of the learning-rate schedule.
        dtype: dtype of slopes and parameter.

    Example:
        >>> problem = reddi()
        >>> problem.inputs.tolist(), round(problem.best, 4)
        ([3.0, -1.0, -1.0], -0.3333)
        >>> stochastic = reddi(delta=0.02, order="replacement")  # p = 1.02 / 4 = 51 / 200
        >>> (stochastic.inputs == 3).sum().item(), len(stochastic.inputs)
        (51, 200)
    """
    steep, total = _counts(C, period, delta, order)
    if not (-1 <= x0 <= 1):
        raise BadInput(
            "x0 is out of range", value=x0, allowed="[-1, 1]", where="reddi", instead="x0=0"
        )
    if not 0 < scale < float("inf"):
        raise BadInput(
            "scale is out of range",
            value=scale,
            allowed="(0, inf)",
            where="reddi",
            instead="scale=1",
        )
    slopes = torch.full((total,), -scale, dtype=dtype)
    slopes[:steep] = scale * C
    return Problem(
        "reddi",
        partial(Point, x0, dtype),
        mean_output,
        inputs=slopes,
        targets=torch.zeros(total, dtype=dtype),
        batch_size=1,
        order=order,
        steps=steps,
        lr=lr,
        schedule=schedule,
        best=-scale * (steep * (C + 1) / total - 1),
        record="full",
        constrain=clamped,
        gradient=line_gradient,
        boundary=partial(cyclic_boundary, n=total, a=1 / (C - total + 1))
        if order == "cyclic"
        else None,
        boundary_eps=RELATIVE_EPS * scale,
        note="linear losses on [-1, 1] on which Adam converges to the worst point",
    )


def clamped(x: Tensor) -> Tensor:
    """The point of [-1, 1] nearest to x."""
    return x.clamp(-1, 1)


def _counts(C: float, period: int | None, delta: float | None, order: Order) -> tuple[int, int]:
    """The number of steep losses, and of all losses."""
    if not 1 < C < float("inf"):
        raise BadInput(
            "C is out of range", value=C, allowed="(1, inf)", where="reddi", instead="C=3"
        )
    if delta is None:
        period = round(C) if period is None else period
        at_least(2, "reddi", period=period)
        if period >= C + 1:
            allowed = f"({period - 1}, inf) at this period"
            raise BadInput(
                "C is out of range", value=C, allowed=allowed, where="reddi", instead=f"C={period}"
            )
        return 1, period
    if order != "replacement" or period is not None:
        raise BadInput(
            "delta requires independent draws and no period",
            value=delta,
            where="reddi",
            instead=f'reddi(C={C}, delta={delta}, order="replacement")',
        )
    if not 0 < delta < C:
        raise BadInput(
            "delta is out of range",
            value=delta,
            allowed=f"(0, {C})",
            where="reddi",
            instead="delta=0.02",
        )
    share = Fraction((1 + delta) / (C + 1)).limit_denominator(1000)
    return share.numerator, share.denominator
