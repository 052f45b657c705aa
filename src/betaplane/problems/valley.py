"""A narrow quadratic valley, the simplest problem on which no learning rate fits all directions."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems._slopes import mean_output
from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def valley(
    condition: float = 1e4,
    dimension: int = 2,
    rotated: bool = False,
    noise: float = 0.0,
    rows: int = 256,
    batch_size: int = 1,
    steps: int = 2000,
    lr: float = 0.01,
    schedule: str = "constant",
    dtype: torch.dtype = torch.float32,
) -> Problem:
    r"""A quadratic with curvatures from 1 down to 1 / condition, started at the same distance in
    every direction.

    ```
    f(x)   = 1/2 sum_k h_k (q_k . x)^2,   h_k = condition^(-k / (d-1)), k = 0..d-1
    f_i(x) = f(x) + noise z_i . x,        z_i normal, of mean exactly 0 over the rows
    x_0    = sum_k q_k
    ```

    q_k are the axes or, if rotated, the columns of a random rotation. Adam scales each coordinate,
    so that it loses its advantage if the valley is not aligned with the axes. Without noise there
    is one example, and every step uses the whole loss; with noise, an example is a row z_i.

    Args:
        condition: largest over smallest curvature, >= 1.
        dimension: number d of unknowns, >= 2.
        rotated: whether the valley is rotated against the axes.
        noise: standard deviation of an example's gradient, in every coordinate, >= 0.
        rows: number of examples with noise, >= 2.
        batch_size: examples per step, in [1, rows], or 1 without noise.
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.
        dtype: dtype of rows and parameter.

    Example:
        >>> problem = valley(condition=100)
        >>> module = problem.fresh(seed=0)
        >>> module.x.tolist(), problem.loss(module(problem.inputs), problem.targets).item()
        ([1.0, 1.0], 0.5049999952316284)
    """
    at_least(1, "valley", condition=condition)
    at_least(2, "valley", dimension=dimension, rows=rows)
    at_least(0, "valley", noise=noise)
    if noise == 0 and batch_size != 1:
        raise BadInput(
            "batch_size is out of range without noise",
            value=batch_size,
            allowed="1",
            where="valley",
            instead="batch_size=1",
        )
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(rows, dimension, generator=generator, dtype=torch.float64)
    z = noise * (z - z.mean(0)) if noise > 0 else torch.zeros(1, dimension, dtype=torch.float64)
    return Problem(
        "valley",
        partial(_Valley, condition, dimension, rotated, dtype),
        mean_output,
        inputs=z.to(dtype),
        targets=torch.zeros(len(z), dtype=dtype),
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        best=0.0,
        record="full",
        note=f"quadratic valley in {dimension} dimensions of condition number {condition:g}",
    )


class _Valley(nn.Module):
    """Parameter x of shape (d,), curvature matrix H; forward(z) = 1/2 x.H x + z.x, for z of shape
    (B, d).
    """

    H: Tensor

    def __init__(self, condition: float, d: int, rotated: bool, dtype: torch.dtype) -> None:
        super().__init__()
        h = condition ** (-torch.arange(d, dtype=torch.float64) / (d - 1))
        q = torch.eye(d, dtype=torch.float64)
        if rotated:
            q = torch.linalg.qr(
                torch.randn(d, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            )[0]
        self.register_buffer("H", (q * h @ q.T).to(dtype))
        self.x = nn.Parameter(q.sum(1).to(dtype))

    def forward(self, z: Tensor) -> Tensor:
        return 0.5 * (self.x @ self.H @ self.x) + z @ self.x
