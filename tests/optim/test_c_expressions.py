"""Every operation that is translated to C computes what torch computes, at ordinary and at special
values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from betaplane.optim.codegen.c_expressions import EXPRESSIONS
from betaplane.optim.codegen.multi_tensor import multi_tensor_steps
from betaplane.optim.step.step_spec import StepSpec, StepValues
from betaplane.rules import Rule

aten = torch.ops.aten
SPECIAL = (
    0.0,
    1e-45,
    1e-40,
    1e-38,
    1e-30,
    1e-7,
    0.3,
    0.5,
    1.0,
    1.7,
    30.0,
    1e20,
    3e38,
    float("inf"),
)
VALUES = [sign * value for value in SPECIAL for sign in (1, -1)] + [float("nan")]

EXACT: dict[Any, list[Callable[[Tensor, Tensor], Tensor]]] = {  # the same bits
    aten.add.Tensor: [lambda x, g: x + g, lambda x, g: torch.add(x, g, alpha=3), lambda x, g: x + 2.5],
    aten.sub.Tensor: [lambda x, g: x - g, lambda x, g: torch.sub(x, g, alpha=3), lambda x, g: x - 2.5],
    aten.rsub.Scalar: [lambda x, g: 1.5 - x],
    aten.mul.Tensor: [lambda x, g: x * g, lambda x, g: x * 0.1 * g],
    aten.div.Tensor: [lambda x, g: x / g, lambda x, g: x / 0.3],
    aten.neg.default: [lambda x, g: -x],
    aten.abs.default: [lambda x, g: x.abs()],
    aten.sign.default: [lambda x, g: x.sign()],
    aten.rsqrt.default: [lambda x, g: x.rsqrt()],
    aten.reciprocal.default: [lambda x, g: x.reciprocal()],
    aten.lerp.Scalar: [lambda x, g, w=w: torch.lerp(x, g, w) for w in (0.0, 0.1, 0.5, 0.7, 1.0)],
    aten.lerp.Tensor: [lambda x, g: torch.lerp(x, g, x)],
    aten.maximum.default: [torch.maximum],
    aten.minimum.default: [torch.minimum],
    aten.where.self: [lambda x, g: torch.where(x > g, x, g)],
    aten.clone.default: [lambda x, g: x.clone()],
    aten.clamp.default: [
        lambda x, g: x.clamp(min=0.5), lambda x, g: x.clamp(max=0.5), lambda x, g: x.clamp(-1, 1)
    ],
    aten._to_copy.default: [lambda x, g: x.to(torch.bfloat16).to(x.dtype)],
    aten.pow.Tensor_Scalar: [lambda x, g, power=power: x**power for power in (2, 3)],
    **{
        getattr(getattr(aten, word), kind): [
            lambda x, g, word=word, kind=kind: getattr(torch, word)(x, g if kind == "Tensor" else 1.0).to(x.dtype)
        ]
        for word in ("gt", "ge", "lt", "le", "eq", "ne")
        for kind in ("Scalar", "Tensor")
    },
}  # fmt: skip
# to a few roundings; inf and nan at the same places
ROUNDED: dict[Any, list[Callable[[Tensor, Tensor], Tensor]]] = {
    # torch's is that of MKL, which does not always round to nearest
    aten.sqrt.default: [lambda x, g: x.sqrt()],
    aten.atan2.default: [torch.atan2],
    aten.exp.default: [lambda x, g: x.exp()],
    aten.log.default: [lambda x, g: x.log()],
    aten.tanh.default: [lambda x, g: x.tanh()],
    aten.pow.Tensor_Scalar: [lambda x, g: x**0.5, lambda x, g: x**1.7, lambda x, g: x**-1.0],
}


def kernels(table: dict[Any, list[Any]]) -> list[Any]:
    return [kernel for several in table.values() for kernel in several]


KERNELS = kernels(EXACT) + kernels(ROUNDED)
State = NamedTuple("State", [(f"s{i}", Tensor) for i in range(len(KERNELS))])  # type: ignore[misc]


@dataclass(frozen=True)
class Everything(Rule):
    """A rule whose state are the values of all operations, of parameter and gradient."""

    def init(self, x: Tensor) -> State:
        return State(*(torch.zeros_like(x) for _ in KERNELS))

    def step(self, x: Tensor, g: Tensor, s: State, lr: Any) -> tuple[Tensor, State]:
        return x.clone(), State(*(kernel(x, g) for kernel in KERNELS))


def table(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """All pairs of the values, and a few more, so that no vector is filled."""
    values = torch.tensor(VALUES, dtype=torch.float64)
    pairs = torch.cartesian_prod(values, values)
    pairs = torch.cat([pairs, pairs[100:103]]).to(dtype)
    return pairs[:, 0].clone(), pairs[:, 1].clone()


def test_every_translated_operation_is_tested() -> None:
    assert set(EXACT) | set(ROUNDED) == set(EXPRESSIONS)


def bits(x: Tensor) -> Tensor:
    """The bits of x, all nan alike; of bfloat16 exactly, for there float32 is a wider form."""
    whole = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}[
        x.dtype
    ]
    return torch.where(x.isnan(), torch.full_like(x, float("nan")), x).view(whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_c_computes_what_torch_computes(dtype: torch.dtype) -> None:
    x, g = table(dtype)
    p, states = nn.Parameter(x.clone()), {}
    p.grad, states[p] = g.clone(), {}
    (sweep,), left = multi_tensor_steps(StepSpec(Everything()), [p], states)
    assert not left
    sweep.step(Everything(), StepValues(1.0))
    wide = torch.promote_types(dtype, torch.float32)
    exact = len(kernels(EXACT))
    wrong = []
    for i, kernel in enumerate(KERNELS):
        expected, found = kernel(x.to(wide), g.to(wide)).to(dtype), states[p][f"s{i}"]
        same = bits(found) == bits(expected)
        if i >= exact:
            eps = torch.finfo(dtype).eps
            near = (found - expected).abs() <= 8 * eps * expected.abs() + torch.finfo(dtype).tiny
            same |= near & found.isfinite() & expected.isfinite()
        for j in (~same).nonzero().flatten()[:3].tolist():
            wrong.append((i, x[j].item(), g[j].item(), found[j].item(), expected[j].item()))
    assert not wrong
