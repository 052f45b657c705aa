"""Preconditioned curvature relative to Adam's stability threshold, by Hessian-vector products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, expect_function
from betaplane.monitor.capture.adam_state import StepValues, moment_state, step_values
from betaplane.tensors.param_names import named_parameters

ROUNDS = 20
EXAMPLE = "lambda: criterion(model(x), y)"


class Sharpness(NamedTuple):
    """Curvatures over Adam's threshold, (2 + 2 beta1) / ((1 - beta1) lr); above 1 Adam is unstable."""

    top: float  # in the steepest direction; above 1 an oscillation can start
    along_gradient: float  # in the gradient's direction; above 1 the loss itself rises
    loss: float


def sharpness(
    optimizer: Optimizer,
    loss: Callable[[], Tensor],
    rounds: int = ROUNDS,
    generator: torch.Generator | None = None,
) -> Sharpness:
    r"""Top Hessian eigenvalue and curvature along the gradient, both relative to Adam's threshold.

    ```
    P = (1 - beta1^t) (sqrt(v_hat) + eps),    D = lr (1 - beta1) / (2 + 2 beta1) / P        per element
    top = largest eigenvalue of D^(1/2) H D^(1/2),    along_gradient = g' D H g / g' g
    ```

    Parameters, gradients and the state of torch's random number generators do not change; a forward
    pass in training mode still updates the running statistics of batch norm. Use a large batch
    without dropout for a precise result.

    Args:
        optimizer: has taken at least one step.
        loss: computes the loss, (), with its graph; called once. All its operations must support
            second derivatives (use the math kernel of attention).
        rounds: Hessian-vector products, >= 1; a few tens give the top eigenvalue to 1%.
        generator: draws the first direction; a generator with a fixed seed if None.

    Returns:
        Both curvatures, without unit, and the loss. The cost is the memory of five copies of the
        parameters and the time of about 2 `rounds` backward passes.

    Raises:
        BadInput: there are no readable moments yet, or loss is not a function or has no graph.

    Source: J. Cohen et al., 2022, arXiv:2207.14484; along the gradient, Y. Bai et al., 2025, arXiv:2506.04805; C.
    Lanczos, 1950, for the eigenvalue.

    Example:
        >>> x = torch.nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
        >>> adam = torch.optim.Adam([x], lr=0.1, betas=(0.0, 0.0), eps=0.0)
        >>> loss = lambda: (x * x * torch.tensor([1.0, 4.0])).sum() / 2
        >>> loss().backward()
        >>> adam.step()  # v = g^2, so P = |g| = (1, 4), and P^-1 H is the identity; the threshold is 2 / lr = 20
        >>> curvature = sharpness(adam, loss)
        >>> round(curvature.top, 6), round(curvature.along_gradient, 6)
        (0.05, 0.05)
    """
    expect_function(loss, "loss", EXAMPLE, "sharpness", takes=0)
    metrics = _metrics(optimizer)
    params = [p for p, _ in metrics]
    with torch.enable_grad(), _preserve_rng_state(params[0]):
        value = loss()
        if not isinstance(value, Tensor) or not value.requires_grad or value.numel() != 1:
            allowed = "a tensor of one element with its graph"
            raise BadInput(
                "The loss has no graph", allowed=allowed, where="sharpness", instead=EXAMPLE
            )
        gradients = torch.autograd.grad(value, params, create_graph=True, materialize_grads=True)
        scale = _flatten([d for _, d in metrics]).sqrt()

        def product(u: Tensor) -> Tensor:
            """D^(1/2) H D^(1/2) u."""
            directions = _unflatten(scale * u, params)
            products = torch.autograd.grad(
                gradients, params, directions, retain_graph=True, materialize_grads=True
            )
            return scale * _flatten(products)

        g = _flatten(gradients)
        generator = generator or torch.Generator().manual_seed(0)
        start = torch.randn(g.shape, dtype=g.dtype, generator=generator).to(g.device)
        top = top_eigenvalue(product, start, rounds)
        nonzero = g * scale != 0
        u = torch.where(nonzero, g / scale, 0.0)
        along = float((scale * g) @ product(u) / (g @ g)) if bool(nonzero.any()) else 0.0
    return Sharpness(top, along, float(value.detach()))


def top_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, rounds: int = ROUNDS
) -> float:
    r"""Largest eigenvalue of a symmetric matrix, from products with vectors; a lower bound.

    This is Lanczos's three-term recurrence, which stores two vectors. Rounding duplicates
    eigenvalues, but does not change the largest.

    Args:
        product: product(u) -> A u, both (n,).
        start: a direction, (n,), not 0; a random one does not miss the eigenvector.
        rounds: products, >= 1.

    Source: C. Lanczos, 1950, J. Res. Natl. Bur. Stand. 45, 255.

    Example:
        >>> A = torch.diag(torch.tensor([1.0, 2.0, -9.0, 5.0], dtype=torch.float64))
        >>> round(top_eigenvalue(lambda u: A @ u, torch.ones(4, dtype=torch.float64), rounds=4), 6)
        5.0
    """
    u, last, beta = start / start.norm(), torch.zeros_like(start), 0.0
    diagonal, off_diagonal = [], []
    for _ in range(min(rounds, len(start))):
        r = product(u) - beta * last
        alpha = float(r @ u)
        r = r - alpha * u
        diagonal.append(alpha)
        beta = float(r.norm())
        if not math.isfinite(beta) or beta <= 1e-12 * max(map(abs, diagonal)):
            break
        off_diagonal.append(beta)
        last, u = u, r / beta
    off = off_diagonal[: len(diagonal) - 1]
    if not np.isfinite(diagonal).all():
        return math.nan
    return float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))[-1])


def _metrics(optimizer: Optimizer) -> list[tuple[Tensor, Tensor]]:
    """The parameters with readable moments, each with D."""
    metrics = []
    for _, p, group in named_parameters(optimizer):
        state = moment_state(optimizer, p, group)
        v = state.v
        if p.requires_grad and state.readable and isinstance(v, Tensor) and v.shape == p.shape:
            metrics.append((p, _metric(v.to(p.dtype), max(state.t, 1.0), step_values(group))))
    if not metrics:
        raise BadInput(
            "There are no readable moments; take a step first",
            where="sharpness",
            instead="optimizer.step()",
        )
    return metrics


def _metric(v: Tensor, t: float, values: StepValues) -> Tensor:
    """D, which scales a curvature to units of Adam's threshold, like v; 0 if v and eps are 0."""
    root = (v / (1 - values.beta2**t)).sqrt() + values.eps
    threshold = math.inf
    if values.lr:
        bias_correction = 1 - values.beta1**t
        threshold = bias_correction * (2 + 2 * values.beta1) / ((1 - values.beta1) * values.lr)
    return torch.where(root > 0, 1 / (threshold * root), 0.0)


def _flatten(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts])


def _unflatten(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    parts = flat.split([p.numel() for p in like])
    return [part.view_as(p) for part, p in zip(parts, like, strict=True)]


def _preserve_rng_state(p: Tensor) -> Any:
    """A context that restores the states of torch's random number generators."""
    return torch.random.fork_rng([p.device] if p.device.type == "cuda" else [])
