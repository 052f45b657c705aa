"""The curvature that Adam's step sees, by Hessian-vector products, in units of what it can stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, expect_function
from betaplane.monitor.capture.adam_state import StepValues, held, named, numbers

ROUNDS = 20
EXAMPLE = "lambda: criterion(model(x), y)"


class Sharpness(NamedTuple):
    """Curvatures over Adam's own threshold, (2 + 2 beta1) / ((1 - beta1) lr): above 1 Adam does not
    stand them.
    """

    top: float  # of the steepest direction; an oscillation can start there
    along_gradient: float  # of the gradient's direction; the loss itself rises there
    loss: float


def sharpness(
    optimizer: Optimizer,
    loss: Callable[[], Tensor],
    rounds: int = ROUNDS,
    generator: torch.Generator | None = None,
) -> Sharpness:
    r"""The top eigenvalue of the Hessian in Adam's metric and the curvature along the gradient,
    over Adam's threshold.

    ```
    P = (1 - beta1^t) (sqrt(v_hat) + eps),    D = lr (1 - beta1) / (2 + 2 beta1) / P        of each coordinate
    top = largest eigenvalue of D^(1/2) H D^(1/2),    along_gradient = g' D H g / g' g
    ```

    Parameters, gradients and torch's random numbers are left as they are; a forward pass in training mode still updates
    what it always does (running means of batch norm). A large batch, dropout off, says most.

    Args:
        optimizer: has taken at least one step.
        loss: computes the loss, (), with its graph; called once. Nothing in it may be in place of a second derivative
            (use the math kernel of attention).
        rounds: Hessian-vector products, >= 1; some tens give the top eigenvalue to a per cent.
        generator: of the first direction; a fixed one where None.

    Returns:
        Both curvatures, no unit, and the loss. The memory of five copies of the parameters, the time of about
        2 `rounds` backward passes.

    Raises:
        BadInput: no moments yet, none that can be read, or a loss that is no function or has no graph.

    Source: J. Cohen et al., 2022, arXiv:2207.14484; along the gradient, Y. Bai et al., 2025, arXiv:2506.04805; C.
    Lanczos, 1950, for the eigenvalue.

    Example:
        >>> x = torch.nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
        >>> adam = torch.optim.Adam([x], lr=0.1, betas=(0.0, 0.0), eps=0.0)
        >>> loss = lambda: (x * x * torch.tensor([1.0, 4.0])).sum() / 2
        >>> loss().backward()
        >>> adam.step()  # v = g^2, so P = |g| = (1, 4), and P^-1 H is the identity; the threshold is 2 / lr = 20
        >>> found = sharpness(adam, loss)
        >>> round(found.top, 6), round(found.along_gradient, 6)
        (0.05, 0.05)
    """
    expect_function(loss, "loss", EXAMPLE, "sharpness", takes=0)
    known = _known(optimizer)
    params = [p for p, _ in known]
    with torch.enable_grad(), _same_random_numbers(params[0]):
        value = loss()
        if not isinstance(value, Tensor) or not value.requires_grad or value.numel() != 1:
            allowed = "a tensor of one number with its graph"
            raise BadInput(
                "The loss has no graph", allowed=allowed, where="sharpness", instead=EXAMPLE
            )
        gradients = torch.autograd.grad(value, params, create_graph=True, materialize_grads=True)
        scale = _flat([d for _, d in known]).sqrt()

        def product(u: Tensor) -> Tensor:
            """D^(1/2) H D^(1/2) u."""
            given = _shaped(scale * u, params)
            found = torch.autograd.grad(
                gradients, params, given, retain_graph=True, materialize_grads=True
            )
            return scale * _flat(found)

        g = _flat(gradients)
        drawn = generator or torch.Generator().manual_seed(0)
        top = top_eigenvalue(
            product, torch.randn(g.shape, dtype=g.dtype, generator=drawn).to(g.device), rounds
        )
        seen = g * scale != 0
        u = torch.where(seen, g / scale, 0.0)
        along = float((scale * g) @ product(u) / (g @ g)) if bool(seen.any()) else 0.0
    return Sharpness(top, along, float(value.detach()))


def top_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, rounds: int = ROUNDS
) -> float:
    r"""The largest eigenvalue of a symmetric matrix of which only products with vectors are known;
    a lower bound.

    Lanczos's three terms: of each round two vectors are kept. Rounding makes copies of eigenvalues, which do not move
    the largest.

    Args:
        product: product(u) -> A u, both (n,).
        start: a direction, (n,), not 0; random, or it may miss the eigenvector.
        rounds: products, >= 1.

    Source: C. Lanczos, 1950, J. Res. Natl. Bur. Stand. 45, 255.

    Example:
        >>> A = torch.diag(torch.tensor([1.0, 2.0, -9.0, 5.0], dtype=torch.float64))
        >>> round(top_eigenvalue(lambda u: A @ u, torch.ones(4, dtype=torch.float64), rounds=4), 6)
        5.0
    """
    u, last, beta = start / start.norm(), torch.zeros_like(start), 0.0
    diagonal, beside = [], []
    for _ in range(min(rounds, len(start))):
        r = product(u) - beta * last
        alpha = float(r @ u)
        r = r - alpha * u
        diagonal.append(alpha)
        beta = float(r.norm())
        if not math.isfinite(beta) or beta <= 1e-12 * max(map(abs, diagonal)):
            break
        beside.append(beta)
        last, u = u, r / beta
    off = beside[: len(diagonal) - 1]
    if not np.isfinite(diagonal).all():
        return math.nan
    return float(np.linalg.eigvalsh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))[-1])


def _known(optimizer: Optimizer) -> list[tuple[Tensor, Tensor]]:
    """The parameters whose moments can be read, each with D."""
    found = []
    for _, p, group in named(optimizer):
        has = held(optimizer, p, group)
        if (
            p.requires_grad
            and has.readable
            and isinstance(has.v, Tensor)
            and has.v.shape == p.shape
        ):
            found.append((p, _metric(has.v.to(p.dtype), max(has.t, 1.0), numbers(group))))
    if not found:
        told = "take a step first"
        raise BadInput(
            f"There are no moments that can be read ({told})",
            where="sharpness",
            instead="optimizer.step()",
        )
    return found


def _metric(v: Tensor, t: float, now: StepValues) -> Tensor:
    """What a curvature is multiplied by to be in units of Adam's threshold, like v; 0 where v is
    and eps too.
    """
    root = (v / (1 - now.beta2**t)).sqrt() + now.eps
    threshold = (
        (1 - now.beta1**t) * (2 + 2 * now.beta1) / ((1 - now.beta1) * now.lr)
        if now.lr
        else math.inf
    )
    return torch.where(root > 0, 1 / (threshold * root), 0.0)


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().reshape(-1) for part in parts])


def _shaped(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    parts = flat.split([p.numel() for p in like])
    return [part.view_as(p) for part, p in zip(parts, like, strict=True)]


def _same_random_numbers(p: Tensor) -> Any:
    """What keeps torch's random numbers going on afterwards as if nothing had drawn any."""
    return torch.random.fork_rng([p.device] if p.device.type == "cuda" else [])
