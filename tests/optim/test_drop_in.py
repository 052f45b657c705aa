"""Torch's optimizers and ours of the same name at the edges of what torch takes: the same numbers
on every path.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

import betaplane
from betaplane.optim import torch_classes

PATHS = ("auto", "eager", "compiled")
on_every_path = pytest.mark.parametrize("path", PATHS)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def trained(
    kind: Any, steps: int = 6, shape: tuple[int, ...] = (3, 4), schedule: Any = None, **options: Any
) -> Tensor:
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
def test_an_option_at_the_edge_of_its_range_gives_torchs_numbers(
    name: str, how: dict[str, Any], path: str
) -> None:
    how = {"lr": 0.01, **how}
    expected = trained(getattr(torch.optim, name), **how)
    assert torch.allclose(
        trained(getattr(betaplane, name), path=path, **how), expected, rtol=1e-9, atol=1e-12
    )


@on_every_path
@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_cyclic_momentum_may_pass_1(name: str, path: str) -> None:
    def cycles(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.CyclicLR:
        return torch.optim.lr_scheduler.CyclicLR(
            optimizer, 1e-3, 1e-2, step_size_up=3, base_momentum=0.8, max_momentum=1.2
        )

    how = {"momentum": 0.9, "lr": 1e-3, "schedule": cycles, "steps": 8}
    expected = trained(getattr(torch.optim, name), **how)
    assert torch.allclose(
        trained(getattr(betaplane, name), path=path, **how), expected, rtol=1e-9, atol=1e-12
    )


# ---- options of ours in torch's classes


def test_adafactor_takes_beta1() -> None:
    """The moment of the first step is (1 - beta1) of the update, and so is the step."""
    moved = [
        trained(torch_classes.Adafactor, steps=1, momentum=True, beta1=beta1) - numbers(3, 4)
        for beta1 in (0.0, 0.5, 0.9)
    ]
    assert torch.allclose(moved[1], moved[0] / 2, rtol=1e-12)
    assert torch.allclose(moved[2], moved[0] / 10, rtol=1e-12)


@on_every_path
def test_adagrad_puts_eps_inside_the_root(path: str) -> None:
    found = trained(torch_classes.Adagrad, lr=0.1, eps=0.3, eps_inside=True, path=path)
    x, v = numbers(3, 4), torch.zeros(3, 4, dtype=torch.float64)
    for g in numbers(6, 3, 4, seed=1):
        v += g**2
        x -= 0.1 * g / (v + 0.3).sqrt()
    assert torch.allclose(found, x, rtol=1e-12)


@on_every_path
def test_rmsprop_starts_v_at_1(path: str) -> None:
    found = trained(
        torch_classes.RMSprop,
        lr=0.1,
        alpha=0.9,
        initial_accumulator=1.0,
        eps_inside=True,
        path=path,
    )
    x, v = numbers(3, 4), torch.ones(3, 4, dtype=torch.float64)
    for g in numbers(6, 3, 4, seed=1):
        v = 0.9 * v + 0.1 * g**2
        x -= 0.1 * g / (v + 1e-8).sqrt()
    assert torch.allclose(found, x, rtol=1e-12)


# ---- ways of use

NAMES = [kind.__name__ for kind in torch_classes.TORCH_CLASSES]
each = pytest.mark.parametrize("name", NAMES)
CYCLED = ("SGD", "RMSprop", "Adam", "AdamW")  # whose momentum or beta1 cycles
SCHEDULERS: dict[str, Any] = {
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 4),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 4], 0.3),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 5),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda t: (t + 1) / 6),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.9),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 2)]
    ),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(
        o, 1e-3, 1e-2, 2, cycle_momentum=type(o).__name__ in CYCLED
    ),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(
        o, 1e-2, 8, cycle_momentum=type(o).__name__ in CYCLED
    ),
    "SWALR": lambda o: SWALR(o, swa_lr=1e-3, anneal_epochs=3),
}
MOMENTUM: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9}}


@each
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_of_torch_gives_torchs_numbers(name: str, scheduler: str) -> None:
    how = {"lr": 1e-2, "schedule": SCHEDULERS[scheduler], **MOMENTUM.get(name, {})}
    expected = trained(getattr(torch.optim, name), **how)
    assert torch.allclose(trained(getattr(betaplane, name), **how), expected, rtol=1e-9, atol=1e-12)


class Weights(NamedTuple):
    """Parameters by name."""

    w: Tensor
    b: Tensor


GIVEN: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "generator": lambda w, b: (p for p in (w, b)),
    "pairs": lambda w, b: [("w", w), ("b", b)],
    "values of a dict": lambda w, b: {"w": w, "b": b}.values(),
    "named tuple": Weights,
    "groups": lambda w, b: [
        {"params": w, "lr": 0.1},
        {"params": (p for p in [b]), "weight_decay": 0.5},
    ],
    "an empty group": lambda w, b: [{"params": []}, {"params": [w, b]}],
}


@each
@pytest.mark.parametrize("given", GIVEN)
def test_parameters_in_any_form_give_torchs_numbers(name: str, given: str) -> None:
    found = []
    for kind in (getattr(torch.optim, name), getattr(betaplane, name)):
        w, b = nn.Parameter(numbers(3, 4)), nn.Parameter(numbers(2))
        optimizer = kind(GIVEN[given](w, b), lr=1e-2)
        for seed in range(3):
            w.grad, b.grad = numbers(3, 4, seed=seed), torch.ones_like(b)
            optimizer.step()
        found.append(torch.cat([w.detach().flatten(), b.detach().flatten()]))
    assert torch.allclose(*found, rtol=1e-9, atol=1e-12)


@each
def test_an_optimizer_for_each_parameter_steps_during_backward(name: str) -> None:
    found = []
    for kind in (getattr(torch.optim, name), getattr(betaplane, name)):
        weights = [nn.Parameter(numbers(3, 3, seed=i)) for i in range(3)]
        optimizers = {p: kind([p], lr=1e-2) for p in weights}

        def act(p: Tensor, optimizers: dict[Any, Any] = optimizers) -> None:
            optimizers[p].step()
            optimizers[p].zero_grad()

        for p in weights:
            p.register_post_accumulate_grad_hook(act)
        for _ in range(3):
            torch.linalg.multi_dot(weights).square().sum().backward()
        found.append(torch.cat([p.detach() for p in weights]))
    assert torch.allclose(*found, rtol=1e-9, atol=1e-12)


@each
def test_a_parameter_without_elements_has_torchs_state(name: str) -> None:
    if name == "Adafactor":
        pytest.skip("torch's divides by the number of elements")
    states = []
    for kind in (getattr(torch.optim, name), getattr(betaplane, name)):
        p = nn.Parameter(torch.ones(0, 3))
        optimizer = kind([p], **MOMENTUM.get(name, {}))
        p.grad = torch.ones(0, 3)
        optimizer.step()
        states.append(
            {
                word: value.shape
                for word, value in optimizer.state[p].items()
                if isinstance(value, Tensor)
            }
        )
    assert states[0] == states[1]


@each
def test_a_whole_optimizer_is_saved_with_its_model(name: str) -> None:
    p = nn.Parameter(numbers(3, 4))
    optimizer = getattr(betaplane, name)([p], lr=1e-2, nonfinite="skip")
    p.grad = numbers(3, 4, seed=1)
    optimizer.step()
    file = io.BytesIO()
    torch.save((p, optimizer), file)
    file.seek(0)
    q, other = torch.load(file, weights_only=False)
    for x, one in ((p, optimizer), (q, other)):
        x.grad = numbers(3, 4, seed=2)
        one.step()
    assert torch.equal(p, q)
    assert other.nonfinite == "skip"


def test_a_parameter_whose_first_gradient_comes_late_joins_sgd_with_momentum() -> None:
    ends = []
    for kind in (torch.optim.SGD, betaplane.SGD):
        p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
        optimizer = kind([p, q], lr=0.1, momentum=0.9, dampening=0.5)
        for step in range(4):
            p.grad = torch.full((3,), 1.0 + step)
            q.grad = torch.full((3,), 2.0) if step >= 2 else None
            optimizer.step()
        ends.append(torch.stack([p.detach(), q.detach()]))
    torch.testing.assert_close(*ends)
