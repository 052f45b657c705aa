"""Torch's fused kernels against its loops: every row of the table that makes them the default."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from betaplane.optim import torch_classes
from betaplane.optim.step.checked_kernels import CHECKED, WRONG

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1, "maximize": True},
    ],
    "Adagrad": [
        {},
        {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
        {"maximize": True},
    ],
    "Adam": [
        {},
        {"weight_decay": 0.1, "maximize": True},
        {"betas": (0.4, 0.9)},
        {"betas": (0.0, 0.0), "eps": 0.0},
    ],
}
OPTIONS["AdamW"] = OPTIONS["Adam"]
SPECIAL = {
    "ordinary": 1.0,
    "zero": 0.0,
    "huge": 1e20,
    "subnormal": 1e-40,
    "inf": float("inf"),
    "nan": float("nan"),
}
SIZES = (1, 33, 257)
ROWS = [
    (kind, device, dtype)
    for (kind, device), dtypes in CHECKED.items()
    for dtype in sorted(dtypes, key=str)
]


def gradient(n: int, special: float, step: int) -> Tensor:
    """Normal numbers; at the second step every third is special, of either sign."""
    generator = torch.Generator().manual_seed(step)
    g = torch.randn(n, dtype=torch.float64, generator=generator)
    if step == 1:
        g[::3] = g[::3].sign() * special
    return g


def trained(
    kind: str, device: str, dtype: torch.dtype, n: int, special: float, options: dict
) -> list[list[Tensor]]:
    """Parameter and moments after each of four steps."""
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(n, dtype=torch.float64, generator=generator)
    p = nn.Parameter(x.to(device, dtype))
    optimizer = getattr(torch.optim, kind)([p], lr=1e-2, **options)
    found = []
    for step in range(4):
        p.grad = gradient(n, special, step).to(device, dtype)
        optimizer.step()
        moments = [
            value
            for value in optimizer.state[p].values()
            if isinstance(value, Tensor) and value.dim()
        ]
        found.append([value.detach().double().cpu() for value in (p, *moments)])
    return found


def disagreement(fused: list[list[Tensor]], loop: list[list[Tensor]], eps: float) -> str | None:
    """Where two ways differ: other places of inf or nan, or by more than 8 roundings of the largest
    value so far.
    """
    largest = [torch.ones_like(value) for value in loop[0]]
    for step, (ours, theirs) in enumerate(zip(fused, loop, strict=True)):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            finite = b.isfinite()
            largest[i] = torch.maximum(largest[i], torch.where(finite, b.abs(), 0.0))
            same = torch.where(
                finite, (a - b).abs() <= 8 * eps * largest[i], (a == b) | (a.isnan() & b.isnan())
            )
            if not same.all():
                j = int((~same).nonzero()[0])
                return f"step {step}, tensor {i}, element {j}: {a[j].item()} and {b[j].item()}"
    return None


@pytest.mark.parametrize(("kind", "device", "dtype"), ROWS, ids=str)
def test_a_kernel_in_the_table_agrees_with_the_loop(
    kind: str, device: str, dtype: torch.dtype
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    wrong = []
    for options in OPTIONS[kind]:
        for word, special in SPECIAL.items():
            for n in SIZES:
                ways = ({"fused": True}, {"fused": False, "foreach": False})
                pair = [trained(kind, device, dtype, n, special, options | way) for way in ways]
                found = disagreement(*pair, torch.finfo(dtype).eps)
                wrong += [(options, word, n, found)] if found else []
    assert not wrong


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fused", [None, True])
def test_sgd_moves_parameters_in_half_precision(dtype: torch.dtype, fused: bool | None) -> None:
    """Torch 2.13's fused kernel leaves them where they are."""
    assert dtype in WRONG["SGD", "cpu"]
    p, q = (nn.Parameter(torch.full((64,), 0.01, dtype=dtype)) for _ in range(2))
    ours, loop = (
        torch_classes.SGD([p], lr=0.1, fused=fused),
        torch.optim.SGD([q], lr=0.1, foreach=False, fused=False),
    )
    for _ in range(5):
        p.grad = q.grad = torch.ones(64, dtype=dtype)
        ours.step()
        loop.step()
    assert torch.equal(p, q)
    assert p[0].item() == pytest.approx(-0.488, abs=0.01)


@pytest.mark.parametrize("n", [3, 65_536])
def test_amsgrad_keeps_nan_in_its_maximum(n: int) -> None:
    p = nn.Parameter(torch.ones(n))
    optimizer = torch_classes.Adam([p], amsgrad=True)
    p.grad = torch.full((n,), float("nan"))
    optimizer.step()
    assert bool(optimizer.state[p]["max_exp_avg_sq"].isnan().all())


def test_a_negative_variance_is_torchs_at_every_size() -> None:
    """The variance of a constant gradient falls below 0 by rounding: torch's centered RMSprop then
    gives nan.
    """
    for n in (64, 65_536):
        ends = []
        for kind in (torch_classes.RMSprop, torch.optim.RMSprop):
            p = nn.Parameter(torch.zeros(n))
            optimizer = kind([p], lr=1e-9, alpha=0.5, centered=True)
            p.grad = torch.linspace(0.1, 3.0, n)
            for _ in range(40):
                optimizer.step()
            ends.append(p.detach())
        assert torch.equal(*(end.nan_to_num(7.0) for end in ends))
        assert bool(ends[0].isnan().any())


@pytest.mark.parametrize("special", [1.0, 1e18, float("inf"), float("nan")])
@pytest.mark.parametrize("path", ["eager", "compiled"])
def test_max_norm_clips_what_torch_clips_to(special: float, path: str) -> None:
    """One gradient that is not finite makes the norm so, and with it every gradient, as in
    clip_grad_norm_. Squares that overflow are another matter: there torch's norm is infinite, and
    ours is not (test_gradient_norm.py).
    """
    params = [nn.Parameter(torch.ones(3)) for _ in range(4)]
    for i, p in enumerate(params):
        p.grad = torch.tensor([1.0, 2.0, special if i % 2 else 3.0])
    ours = torch_classes.SGD(params[:2], lr=0.5, max_norm=1.0, path=path)
    theirs = torch.optim.SGD(params[2:], lr=0.5, foreach=False)
    ours.step()
    torch.nn.utils.clip_grad_norm_(params[2:], 1.0)
    theirs.step()
    for p, q in zip(params[:2], params[2:], strict=True):
        assert torch.allclose(p, q, rtol=1e-6, atol=1e-6, equal_nan=True)
