"""Options that act around a step: non-finite gradients, clipping by norm, zeroing gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.optim.gradient_norm import gradient_norm
from betaplane.optim.validation import named_parameters
from betaplane.optim.zeroing import zeroed_gradients
from betaplane.tensors.dtensor import local_tensor, sum_counts


class Norms(NamedTuple):
    """The norms measured in a step."""

    gradient: float  # of all gradients together, before clipping
    update: float  # of all updates together


@contextmanager
def around_step(optimizer: Any) -> Iterator[None]:
    """Apply `zero`, `nonfinite` and `max_norm` around a step.

    Args:
        optimizer: one of this package's.

    Raises:
        BadInput: a gradient is not finite and `nonfinite` is "raise"; nothing is written then.
    """
    with zeroed_gradients(optimizer), _finite_gradients(optimizer), _measured_norms(optimizer):
        yield


@contextmanager
def _finite_gradients(optimizer: Any) -> Iterator[None]:
    """For one step, remove gradients with inf or nan, or raise an error, as `nonfinite` says."""
    nonfinite = [] if optimizer.nonfinite == "pass" else _nonfinite_gradients(optimizer)
    if nonfinite and optimizer.nonfinite == "raise":
        name, p, count = nonfinite[0]
        others = f", and {len(nonfinite) - 1} more" if len(nonfinite) > 1 else ""
        raise BadInput(
            "A gradient is not finite",
            value=f"{count} of {p.numel()} numbers",
            allowed="finite numbers",
            where=f"{name}, shape {tuple(p.shape)}{others}",
            instead='nonfinite="skip"',
        )
    grads = [(p, p.grad) for _, p, _ in nonfinite]
    for p, _ in grads:
        p.grad = None
    try:
        yield
    finally:
        for p, g in grads:
            p.grad = g


def _nonfinite_gradients(optimizer: Any) -> list[tuple[str, Tensor, int]]:
    """The parameters whose gradients are not finite on any rank: name, parameter, number of
    elements.
    """
    named = [(name, p) for name, p in named_parameters(optimizer) if p.grad is not None]
    grads: list[Any] = [p.grad for _, p in named]
    counts = sum_counts(grads, [_count_nonfinite(g) for g in grads])
    return [(name, p, count) for (name, p), count in zip(named, counts, strict=True) if count]


def _count_nonfinite(g: Tensor) -> int:
    """The number of a gradient's elements that are not finite, on this rank."""
    finite = torch.isfinite(local_tensor(g._values() if g.is_sparse else g))
    return 0 if bool(finite.all()) else int((~finite).sum())


@contextmanager
def _measured_norms(optimizer: Any) -> Iterator[None]:
    """Around a step, measure the norms of gradients and update, and set the factor that clips
    gradients.
    """
    if optimizer.max_norm is None:
        yield
        return
    params = [p for group in optimizer.param_groups for p in group["params"]]
    norm = gradient_norm([p.grad for p in params if p.grad is not None])
    scale = optimizer.max_norm / (norm + 1e-6)
    # as torch's clip_grad_norm_: nan stays nan, which min() would lose
    optimizer._scale = 1.0 if scale > 1 else scale
    optimizer._squared_update = 0.0
    try:
        yield
        optimizer.norms = Norms(norm, optimizer._squared_update**0.5)
    finally:
        optimizer._scale = 1.0
