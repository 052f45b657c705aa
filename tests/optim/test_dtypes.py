"""Dtypes of states: torch's on every path, and models that are cast between steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane
import betaplane.optim
from betaplane.optim import torch_classes

NAMES = ("SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adafactor", "Lion", "AdaBelief")
KINDS = [getattr(betaplane.optim, name) for name in NAMES]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
each_of_torch = pytest.mark.parametrize(
    "kind", torch_classes.TORCH_CLASSES, ids=lambda kind: kind.__name__
)
on_every_path = pytest.mark.parametrize("path", ["auto", "eager", "compiled"])
HOW: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "RMSprop": {"momentum": 0.9, "centered": True},
}


def stepped(optimizer: torch.optim.Optimizer, p: Tensor, steps: int = 2) -> dict[str, torch.dtype]:
    """The dtypes of p's state after some steps."""
    for seed in range(steps):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)).to(p.dtype)
        optimizer.step()
    return {
        word: value.dtype for word, value in optimizer.state[p].items() if isinstance(value, Tensor)
    }


@each_of_torch
@pytest.mark.parametrize("path", ["eager", "compiled"])
@pytest.mark.parametrize("dialect", [False, True], ids=["torch's", "ours"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_states_have_torchs_dtypes_on_every_path(
    kind: Any, path: str, dialect: bool, dtype: torch.dtype
) -> None:
    how = {"lr": 0.5, **HOW.get(kind.__name__, {})}
    p, q = (nn.Parameter(torch.ones(3, 4, dtype=dtype)) for _ in range(2))
    expected = stepped(kind.torch_class([q], **how), q)
    found = stepped(kind([p], path=path, zero=dialect, **how), p)
    found.pop("step", None) if "step" not in expected else None
    assert found == expected


@each
@on_every_path
def test_counts_of_steps_are_float32_whatever_the_parameter(kind: Any, path: str) -> None:
    p = nn.Parameter(torch.ones(3, 4, dtype=torch.float64))
    found = stepped(kind([p], path=path), p)
    assert found.get("step", torch.float32) is torch.float32


@each
@on_every_path
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("stale", [False, True], ids=["gradient cast too", "gradient as it was"])
def test_a_model_cast_between_steps_is_stepped_in_the_wider_dtype(
    kind: Any, path: str, dtype: torch.dtype, stale: bool
) -> None:
    """In float64 every number is exactly what a float32 model has, so the step is that of float64
    throughout.
    """
    how = HOW.get(kind.__name__, {})
    p, q = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3, 4))
    optimizer, other = kind([p], lr=0.1, path=path, **how), kind([q], lr=0.1, path=path, **how)
    before, _ = stepped(optimizer, p), stepped(other, q)
    g = torch.randn(3, 4, generator=torch.Generator().manual_seed(9))
    p.grad = q.grad = g
    p.data = p.data.to(dtype)
    if not stale:
        p.grad = None
        p.grad = g.to(dtype)
    start = p.detach().clone()
    optimizer.step()
    other.step()
    assert p.dtype is dtype
    assert (
        before.items()
        <= {w: v.dtype for w, v in optimizer.state[p].items() if isinstance(v, Tensor)}.items()
    )
    tolerance = (
        {"rtol": 2e-2, "atol": 1e-2} if dtype is torch.bfloat16 else {"rtol": 1e-6, "atol": 1e-7}
    )
    assert torch.allclose(p.double(), q.double(), **tolerance)
    assert not torch.equal(p, start)
    for extra in range(2):  # and continues
        p.grad = None
        p.grad = torch.full((3, 4), 1.0 + extra, dtype=dtype)
        optimizer.step()
    assert bool(torch.isfinite(p).all())
