"""Torch's optimizers and ours of the same name at the edges of what torch takes: the same numbers on every path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane
from betaplane.optim import twins

PATHS = ("auto", "eager", "compiled")
on_every_path = pytest.mark.parametrize("path", PATHS)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def trained(kind: Any, steps: int = 6, shape: tuple[int, ...] = (3, 4), schedule: Any = None, **options: Any) -> Tensor:
    p = nn.Parameter(numbers(*shape))
    optimizer = kind([p], **options)
    scheduler = schedule(optimizer) if schedule else None
    for g in numbers(steps, *shape, seed=1):
        p.grad = g
        optimizer.step()
        if scheduler:
            scheduler.step()
    return p.detach()


TAKEN = [
    ("SGD", {"momentum": 1.0}),
    ("SGD", {"momentum": 1.5, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 1.5}),
    ("SGD", {"momentum": 0.9, "dampening": -0.5}),
    ("RMSprop", {"momentum": 1.0, "alpha": 1.0, "eps": 0.5}),
    ("RMSprop", {"momentum": 1.1, "alpha": 0.0, "eps": 0.5}),
    ("Adam", {"betas": (0.0, 0.0)}),
    ("AdamW", {"lr": 3.0, "weight_decay": 0.9}),
    ("Adagrad", {"lr_decay": 2.0, "initial_accumulator_value": 3.0}),
]


@on_every_path
@pytest.mark.parametrize(("name", "how"), TAKEN, ids=str)
def test_an_option_at_the_edge_of_its_range_gives_torchs_numbers(name: str, how: dict[str, Any], path: str) -> None:
    how = {"lr": 0.01, **how}
    expected = trained(getattr(torch.optim, name), **how)
    assert torch.allclose(trained(getattr(betaplane, name), path=path, **how), expected, rtol=1e-9, atol=1e-12)


@on_every_path
@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_cyclic_momentum_may_pass_1(name: str, path: str) -> None:
    def cycles(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.CyclicLR:
        return torch.optim.lr_scheduler.CyclicLR(
            optimizer, 1e-3, 1e-2, step_size_up=3, base_momentum=0.8, max_momentum=1.2
        )

    how = {"momentum": 0.9, "lr": 1e-3, "schedule": cycles, "steps": 8}
    expected = trained(getattr(torch.optim, name), **how)
    assert torch.allclose(trained(getattr(betaplane, name), path=path, **how), expected, rtol=1e-9, atol=1e-12)


# ---- options of ours in torch's classes


def test_adafactor_takes_beta1() -> None:
    """The moment of the first step is (1 - beta1) of the update, and so is the step."""
    moved = [trained(twins.Adafactor, steps=1, momentum=True, beta1=beta1) - numbers(3, 4) for beta1 in (0.0, 0.5, 0.9)]
    assert torch.allclose(moved[1], moved[0] / 2, rtol=1e-12)
    assert torch.allclose(moved[2], moved[0] / 10, rtol=1e-12)


@on_every_path
def test_adagrad_puts_eps_inside_the_root(path: str) -> None:
    found = trained(twins.Adagrad, lr=0.1, eps=0.3, eps_inside=True, path=path)
    x, v = numbers(3, 4), torch.zeros(3, 4, dtype=torch.float64)
    for g in numbers(6, 3, 4, seed=1):
        v += g**2
        x -= 0.1 * g / (v + 0.3).sqrt()
    assert torch.allclose(found, x, rtol=1e-12)


@on_every_path
def test_rmsprop_starts_v_at_1(path: str) -> None:
    found = trained(twins.RMSprop, lr=0.1, alpha=0.9, initial_accumulator=1.0, eps_inside=True, path=path)
    x, v = numbers(3, 4), torch.ones(3, 4, dtype=torch.float64)
    for g in numbers(6, 3, 4, seed=1):
        v = 0.9 * v + 0.1 * g**2
        x -= 0.1 * g / (v + 1e-8).sqrt()
    assert torch.allclose(found, x, rtol=1e-12)
