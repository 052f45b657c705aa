"""A minimum of degree k, at which Adam converges geometrically and gradient descent does not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from betaplane.problems._slopes import Point, mean_output
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem
from betaplane.theory.degenerate import degenerate_critical_beta2


@family
def power(
    k: int = 4,
    x0: float = 1.0,
    steps: int = 1000,
    lr: float = 0.01,
    schedule: str = "constant",
    dtype: torch.dtype = torch.float64,
) -> Problem:
    r"""f(x) = |x|^k / k: flat at its minimum, so that gradients vanish faster than v forgets them.

    ```
    f(x) = |x|^k / k,   f'(x) = x |x|^(k-2)
    ```

    There is one example, and every step uses the whole loss. At a constant learning rate and
    eps = 0, Adam has three phases in the (beta1, beta2) plane: geometric convergence with the ratio
    beta2^(1 / (2 (k-2))) per step above the `boundary`, and below it spikes, or oscillation as of
    sign descent. The rates differ, not the losses at which a run looks finished: map it with
    `score="log"`, and with eps=0, since an eps larger than sqrt(v) ends the geometric phase; maps
    show the boundary at eps=0 only.

    Source: Z. Bai, J. Zhao, Z. Zhou, Z.-Q. J. Xu, Y. Zhang, 2026, arXiv:2603.09581; see
    `betaplane.theory.degenerate_critical_beta2`.

    Args:
        k: degree of the minimum, >= 3.
        x0: start of every run.
        steps: steps per run.
        lr: learning rate of the first step.
        schedule: name of the learning-rate schedule; the boundary holds for "constant".
        dtype: dtype of the parameter; float32 underflows after a few hundred steps.

    Example:
        >>> problem = power()
        >>> x = torch.tensor([0.5])
        >>> gradients, loss = problem.gradient({"x": x}, problem.inputs, problem.targets)
        >>> gradients["x"].item(), loss.item(), round(problem.boundary(0.9), 4)
        (0.125, 0.015625, 0.9)
    """
    at_least(3, "power", k=k)
    return Problem(
        "power",
        partial(_Power, x0, k, dtype),
        mean_output,
        inputs=torch.ones(1, dtype=dtype),
        targets=torch.zeros(1, dtype=dtype),
        batch_size=1,
        steps=steps,
        lr=lr,
        schedule=schedule,
        best=0.0,
        record="full",
        gradient=partial(power_gradient, k=k),
        boundary=partial(degenerate_critical_beta2, degree=k) if schedule == "constant" else None,
        boundary_eps=0.0,
        note=f"|x|^{k} / {k}, on which Adam converges geometrically (map it with eps 0, score log)",
    )


class _Power(Point):
    """One parameter x; forward(s) = s |x|^k / k."""

    def __init__(self, start: float, k: int, dtype: torch.dtype) -> None:
        super().__init__(start, dtype)
        self.k = k

    def forward(self, s: Tensor) -> Tensor:
        return s * self.x.abs() ** self.k / self.k


def power_gradient(
    parameters: Mapping[str, Tensor], s: Tensor, target: Tensor, *, k: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient and loss of the mean of s |x|^k / k."""
    del target
    x, slope = parameters["x"], s.mean()
    size = x.abs()
    return {"x": slope * x * size ** (k - 2)}, (slope * size**k / k).sum()
