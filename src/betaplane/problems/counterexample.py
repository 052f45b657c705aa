"""The convex finite sum on which Adam with a small beta2 diverges (Zhang et al. 2022, 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems._slopes import RELATIVE_EPS, Point, cyclic_boundary, mean_output
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.order import Order
from betaplane.problems.problem import Problem


@family
def counterexample(
    n: int = 10,
    a: float = 1.0,
    order: Order = "cyclic",
    x0: float = 1.0,
    steps: int = 20_000,
    lr: float = 0.7,
    schedule: str = "inverse_sqrt",
    dtype: torch.dtype = torch.float32,
) -> Problem:
    r"""One steep loss and n - 1 shallow losses of the opposite sign; their sum is convex with its
    minimum at x = -2.

    ```
    f_i(x) = s_i phi(x),   s_0 = G = 1 + (n-1) a,   s_i = -a  (i = 1..n-1)
    phi(x) = x                    for x >= -1
             ((x+2)^2 - 3) / 2    for x <  -1
    f(x)   = (1/n) sum_i f_i(x) = phi(x) / n,   f(-2) = -3 / (2n)
    ```

    An example is a slope; a minibatch is one example. In cyclic order, the (beta1, beta2) for which
    Adam diverges are known exactly (`boundary`, the curve of critical beta2). From x0 > -2, x grows
    while the gradient stays 1/n; from x0 < -2, x decreases and the gradient explodes.

    Source: Y. Zhang, C. Chen, N. Shi, R. Sun, Z.-Q. Luo, 2022, arXiv:2208.09632; Y. Zhang, C. Li,
    C. Chen, Z.-Q. Luo, R. Sun, 2026, arXiv:2603.02092.

    Args:
        n: number of losses, >= 3.
        a: slope of the shallow losses, > 0.
        order: order of the losses; the exact boundary holds for "cyclic".
        x0: start of every run; 1 and -5 show the two kinds of divergence.
        steps: steps per run.
        lr: learning rate of the first step. If it is too small, no run gets far within the steps.
            From 1 on, the first cycle can move x close to the minimum, where the boundary does
            not apply.
        schedule: name of the learning-rate schedule.
        dtype: dtype of slopes and parameter.

    Example:
        >>> problem = counterexample(n=4, a=0.5)
        >>> problem.inputs.tolist(), problem.best
        ([2.5, -0.5, -0.5, -0.5], -0.375)
        >>> x = torch.tensor([-1.5])
        >>> gradients, loss = problem.gradient({"x": x}, problem.inputs, problem.targets)
        >>> gradients["x"].item(), loss.item()
        (0.125, -0.34375)
    """
    at_least(3, "counterexample", n=n)
    if not 0 < a < float("inf"):
        raise BadInput(
            "a is out of range", value=a, allowed="(0, inf)", where="counterexample", instead="a=1"
        )
    slopes = torch.full((n,), -a, dtype=dtype)
    slopes[0] = 1 + (n - 1) * a
    return Problem(
        "counterexample",
        partial(_Bend, x0, dtype),
        mean_output,
        inputs=slopes,
        targets=torch.zeros(n, dtype=dtype),
        batch_size=1,
        order=order,
        steps=steps,
        lr=lr,
        schedule=schedule,
        best=-3 / (2 * n),
        record="full",
        gradient=bend_gradient,
        boundary=partial(cyclic_boundary, n=n, a=a) if order == "cyclic" else None,
        boundary_eps=RELATIVE_EPS * a,
        note=f"convex sum of {n} losses on which Adam with a small beta2 diverges",
    )


class _Bend(Point):
    """One parameter x; forward(s) = s phi(x)."""

    def forward(self, s: Tensor) -> Tensor:
        return s * phi(self.x)


def phi(x: Tensor) -> Tensor:
    """Return x for x >= -1, else ((x+2)^2 - 3) / 2."""
    # the square of a diverged x must not overflow in the branch that is not taken
    below = x.clamp(max=-1)
    return torch.where(x >= -1, x, ((below + 2) ** 2 - 3) / 2)


def bend_gradient(
    parameters: Mapping[str, Tensor], s: Tensor, target: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient and loss of the mean of s phi(x): phi'(x) = min(x + 2, 1)."""
    del target
    x, slope = parameters["x"], s.mean()
    return {"x": slope * (x + 2).clamp(max=1)}, (slope * phi(x)).sum()
