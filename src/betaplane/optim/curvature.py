"""Estimates of the Hessian's diagonal, for rules that use one (Sophia)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadType


def hutchinson(
    loss: Tensor, params: Sequence[Tensor], generator: torch.Generator | None = None
) -> list[Tensor]:
    """One sample of u * (Hessian u), with standard normal u: on average the Hessian's diagonal.

    Args:
        loss: (), with its graph, before any backward pass.
        params: the parameters, each of which loss depends on.
        generator: random number generator for u.

    Returns:
        One estimate per parameter, like it. Costs about two backward passes.

    Source: H. Liu et al. 2024, arXiv:2305.14342, Algorithm 1 (Hutchinson 1989).

    Example:
        The second derivative of 3 x^2 is 6, so an estimate is 6 u^2.

        >>> x = torch.tensor([1.0], requires_grad=True)
        >>> h = [hutchinson((3 * x**2).sum(), [x], torch.Generator().manual_seed(i))[0].item() for i in range(2000)]
        >>> round(sum(h) / len(h), 1)
        5.8
    """
    params = _as_list(params, "hutchinson")
    if not isinstance(loss, Tensor) or loss.dim() or not loss.requires_grad:
        got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise BadType(
            "loss is no scalar with a graph",
            value=got,
            allowed="a tensor of shape ()",
            where="hutchinson",
        )
    gradients = torch.autograd.grad(loss, params, create_graph=True)
    u = [torch.randn(p.shape, dtype=p.dtype, device=p.device, generator=generator) for p in params]
    # the loss is linear in the other parameters
    curved = [i for i, g in enumerate(gradients) if g.requires_grad]
    if not curved:
        return [torch.zeros_like(p) for p in params]
    outputs, weights = [gradients[i] for i in curved], [u[i] for i in curved]
    products = torch.autograd.grad(outputs, params, grad_outputs=weights, materialize_grads=True)
    return [sample * product for sample, product in zip(u, products, strict=True)]


def sampled_labels(
    logits: Tensor, params: Sequence[Tensor], generator: torch.Generator | None = None
) -> list[Tensor]:
    """B g_hat^2, where g_hat is the gradient of the mean loss on labels sampled from the model's
    predictions.

    On average it is the diagonal of the Gauss-Newton matrix of the mean cross-entropy, and never
    negative.

    Args:
        logits: (B, ..., classes), with their graph.
        params: the parameters, each of which the logits depend on.
        generator: random number generator for the labels.

    Returns:
        One estimate per parameter, like it. Costs one backward pass.

    Source: H. Liu et al. 2024, arXiv:2305.14342, Algorithm 2.

    Example:
        With logits (x, 0) at x = 0 the second derivative of the loss is 1/4; for every label the gradient is 1/2.

        >>> x = torch.zeros(1, 1, requires_grad=True)
        >>> sampled_labels(torch.cat([x, torch.zeros(1, 1)], dim=1), [x])[0].item()
        0.25
    """
    params = _as_list(params, "sampled_labels")
    if not isinstance(logits, Tensor) or logits.dim() < 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BadType(
            "logits have no classes", value=got, allowed="(B, ..., classes)", where="sampled_labels"
        )
    flat = logits.reshape(-1, logits.shape[-1])
    labels = torch.multinomial(flat.detach().softmax(dim=-1), 1, generator=generator)[:, 0]
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(flat, labels), params)
    return [len(flat) * g * g for g in gradients]


def _as_list(params: Any, where: str) -> list[Tensor]:
    """The parameters as a list; they may come from a generator."""
    tensors = [] if isinstance(params, Tensor) or not isinstance(params, Iterable) else list(params)
    if not tensors or not all(isinstance(p, Tensor) for p in tensors):
        got, instead = type(params).__name__, "list(model.parameters())"
        raise BadType(
            "params are no tensors",
            value=got,
            allowed="at least 1 tensor",
            where=where,
            instead=instead,
        )
    return tensors
