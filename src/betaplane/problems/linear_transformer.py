"""A linear transformer of 150 parameters that learns linear regression in its context."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from betaplane.problems._validation import at_least
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def linear_transformer(
    layers: int = 3,
    features: int = 5,
    pairs: int = 20,
    prompts: int = 4096,
    batch_size: int = 32,
    steps: int = 500,
    lr: float = 0.02,
    schedule: str = "constant",
) -> Problem:
    r"""Predict w . x of a query from pairs (x_i, w . x_i) in the prompt, each with its own w.

    ```
    A_i = x_i^T A x / n                   attention of the pair i, without a softmax
    x   = x + B sum_i x_i A_i             per layer: matrices A, B of features x features
    y   = y + sum_i y_i A_i
    ```

    x_i and w are standard normal. The prediction is -y of the query after the last layer.

    Source: K. Ahn, X. Cheng, M. Song, C. Yun, A. Jadbabaie, S. Sra, 2024, arXiv:2310.01082, which
    finds in it what is known of the training of large transformers; 3 layers, d = 5, n = 20.

    Args:
        layers: layers, >= 1.
        features: elements d of x, >= 1.
        pairs: pairs n in a prompt, >= 1.
        prompts: number of examples, >= 1.
        batch_size: prompts per step, in [1, prompts].
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.

    Example:
        >>> problem = linear_transformer()
        >>> problem.inputs.shape, sum(p.numel() for p in problem.fresh(seed=0).parameters())
        (torch.Size([4096, 6, 21]), 150)
    """
    sizes = {"layers": layers, "features": features, "pairs": pairs, "prompts": prompts}
    at_least(1, "linear_transformer", **sizes)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(prompts, pairs + 1, features, generator=generator)
    w = torch.randn(prompts, features, 1, generator=generator)
    y = (x @ w).squeeze(-1)
    shown = y.clone()
    shown[:, -1] = 0.0  # of the query
    inputs = torch.cat([x, shown[..., None]], dim=-1).transpose(1, 2).contiguous()
    return Problem(
        "linear_transformer",
        partial(_LinearTransformer, layers, features),
        nn.functional.mse_loss,
        inputs,
        y[:, -1],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        note=f"linear transformer of {2 * layers * features**2} parameters, regression in context",
    )


class _LinearTransformer(nn.Module):
    """Prompts (B, d + 1, n + 1) to predictions (B,)."""

    def __init__(self, layers: int, features: int) -> None:
        super().__init__()
        self.A = nn.Parameter(0.1 * torch.randn(layers, features, features))
        self.B = nn.Parameter(0.1 * torch.randn(layers, features, features))

    def forward(self, z: Tensor) -> Tensor:
        x, y = z[..., :-1, :], z[..., -1:, :]
        for A, B in zip(self.A, self.B, strict=True):
            pairs = x[..., :-1]  # without the query
            weights = pairs.transpose(-1, -2) @ A @ x / pairs.shape[-1]
            x, y = x + B @ (pairs @ weights), y + y[..., :-1] @ weights
        return -y[..., -1, -1]
