"""A convex quadratic that is a sum of one bowl and several domes (Shi et al. 2021, Zhang et al.
2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from betaplane.problems._slopes import RELATIVE_EPS, Point, cyclic_boundary, mean_output
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.order import Order
from betaplane.problems.problem import Problem


@family
def quadratic(
    n: int = 10,
    A: float = 0.0,
    order: Order = "cyclic",
    x0: float = 1.0,
    steps: int = 20_000,
    lr: float = 0.3,
    schedule: str = "inverse_sqrt",
    dtype: torch.dtype = torch.float32,
) -> Problem:
    r"""One bowl and n - 1 domes; their sum has its minimum at x = 0, where all gradients vanish if
    A = 0.

    ```
    f_0(x) = (x - A)^2,   f_i(x) = -c (x - 10A/9)^2  (i = 1..n-1),   (n-1) c = 0.9
    f(x)   = (1/n) sum_i f_i(x) = (x^2 / 10 - A^2 / 9) / n
    ```

    At A = 0 (realizable: no gradient noise at the minimum), Adam above its critical beta2 converges
    to 0. At A != 0 it stays in a neighborhood with a size that falls with 1 - beta2. An example is
    a row (curvature, center); a minibatch is one example. At A = 0 and far from 0, the gradients
    have the ratios of `counterexample(n, a=9/(n-1))`, and therefore the same `boundary` in cyclic
    order.

    Source: N. Shi, D. Li, M. Hong, R. Sun, 2021, RMSprop converges with proper hyper-parameter,
    ICLR; Y. Zhang, C. Li, C. Chen, Z.-Q. Luo, R. Sun, 2026, arXiv:2603.02092, n = 10.

    Args:
        n: number of losses, >= 3.
        A: center of the bowl; 0 makes the sum realizable.
        order: order of the losses; the exact boundary holds for "cyclic" and A = 0.
        x0: start of every run.
        steps: steps per run.
        lr: learning rate of the first step.
        schedule: name of the learning-rate schedule.
        dtype: dtype of rows and parameter.

    Example:
        >>> problem = quadratic(n=4, A=9)
        >>> problem.inputs[0].tolist(), round(problem.inputs[1, 0].item(), 4), problem.best
        ([1.0, 9.0], -0.3, -2.25)
    """
    at_least(3, "quadratic", n=n)
    rows = torch.tensor([[-0.9 / (n - 1), 10 * A / 9]], dtype=dtype).repeat(n, 1)
    rows[0] = torch.tensor([1.0, A])
    exact = order == "cyclic" and A == 0
    return Problem(
        "quadratic",
        partial(_Bowl, x0, dtype),
        mean_output,
        inputs=rows,
        targets=torch.zeros(n, dtype=dtype),
        batch_size=1,
        order=order,
        steps=steps,
        lr=lr,
        schedule=schedule,
        best=-A * A / (9 * n),
        record="full",
        gradient=bowl_gradient,
        boundary=partial(cyclic_boundary, n=n, a=9 / (n - 1)) if exact else None,
        boundary_eps=RELATIVE_EPS * 0.9 / (n - 1),
        note=f"convex sum of a bowl and {n - 1} domes",
    )


class _Bowl(Point):
    """One parameter x; forward of rows (curvature, center) is curvature (x - center)^2."""

    def forward(self, s: Tensor) -> Tensor:
        return s[:, 0] * (self.x - s[:, 1]) ** 2


def bowl_gradient(
    parameters: Mapping[str, Tensor], s: Tensor, target: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient and loss of the mean of curvature (x - center)^2."""
    del target
    curvature, gap = s[:, 0], parameters["x"] - s[:, 1]
    return {"x": (2 * curvature * gap).mean(0, keepdim=True)}, (curvature * gap**2).mean()
