"""zero=True where gradients share memory, are expanded, or are skipped: each is read by all before
it is zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import betaplane

Shared = Callable[[int], tuple[Tensor, Tensor]]
SHARED: dict[str, Shared] = {
    "one tensor": lambda n: (g := torch.linspace(0.5, 1, n), g),
    "two views of one": lambda n: ((g := torch.linspace(0.5, 1, n)).view(-1), g.view(n)),
    "overlapping slices": lambda n: ((g := torch.linspace(0.5, 1, n + 2))[:n], g[2:]),
    "expanded": lambda n: (torch.tensor([0.5]).expand(n), torch.linspace(0.5, 1, n)),
    "side by side": lambda n: ((g := torch.linspace(0.5, 1, 2 * n))[:n], g[n:]),
    "interleaved": lambda n: ((g := torch.linspace(0.5, 1, 2 * n))[::2], g[1::2]),
}


def stepped(
    name: str, gradients: tuple[Tensor, Tensor], apart: bool, **options: Any
) -> tuple[Tensor, Tensor]:
    """Two parameters after two steps, each of whose gradients is written into the same tensors
    again.
    """
    values = [g.clone() for g in gradients]
    params = [torch.nn.Parameter(torch.ones(value.shape)) for value in values]
    groups: Any = [{"params": params[:1]}, {"params": params[1:]}] if apart else params
    optimizer = getattr(betaplane, name)(groups, lr=0.01, **options)
    for _ in range(2):
        for p, g in zip(params, gradients, strict=True):
            p.grad = g
        optimizer.step()
        assert not any(g.any() for g in gradients)
        for g, value in zip(gradients, values, strict=True):
            g[:1].copy_(value[:1]) if g.stride() == (0,) else g.copy_(value)  # expanded
    return params[0].detach(), params[1].detach()


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize(
    ("path", "apart"), [("eager", False), ("compiled", False), ("compiled", True)]
)
@pytest.mark.parametrize("name", ["SGD", "AdamW", "AdaBelief"])
def test_gradients_that_share_memory_are_read_before_they_are_zero(
    name: str, path: str, apart: bool, kind: str
) -> None:
    gradients = SHARED[kind](6)
    own = gradients[0].clone(), gradients[1].clone()
    for options in ({}, {"max_norm": 0.1}):
        shared = stepped(name, gradients, apart, zero=True, path=path, **options)
        alone = stepped(name, own, apart, zero=True, path=path, **options)
        torch.testing.assert_close(shared, alone)


@pytest.mark.parametrize("name", ["AdamW", "Lion"])
def test_skipped_gradients_are_zero_after_the_step(name: str) -> None:
    p, q = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = getattr(betaplane, name)([p, q], lr=0.01, zero=True, nonfinite="skip")
    p.grad, q.grad = torch.tensor([1.0, float("inf"), 2.0]), torch.ones(3)
    optimizer.step()
    assert not p.grad.any()
    assert not q.grad.any()
    p.sum().backward()  # adds to the gradient, which would be inf for good
    optimizer.step()
    assert not torch.equal(p, torch.ones(3))


def test_a_step_that_raises_leaves_gradients() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = betaplane.AdamW([p], zero=True, nonfinite="raise")
    p.grad = torch.tensor([1.0, float("nan"), 2.0])
    with pytest.raises(betaplane.BadInput, match="not finite"):
        optimizer.step()
    assert p.grad[0] == 1


def test_zero_can_be_switched_off_and_is_copied() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = betaplane.AdamW([p], zero=True)
    p.grad = torch.ones(3)
    optimizer.step()
    assert not p.grad.any()
    assert copy.deepcopy(optimizer).zero
    optimizer.zero = False
    p.grad = torch.ones(3)
    optimizer.step()
    assert p.grad.all()
