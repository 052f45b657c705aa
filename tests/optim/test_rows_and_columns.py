"""Compiled steps of rules with means over rows, columns and blocks, on every kind of shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from betaplane.optim import optimizer_class, torch_classes
from betaplane.optim.codegen.multi_tensor import multi_tensor_steps
from betaplane.optim.codegen.trace import can_trace, trace_step
from betaplane.optim.step.dependence import dependence
from betaplane.optim.step.step_spec import StepSpec
from betaplane.rules import Adafactor, AdamMini, AdamW, Rule

# rows in several chunks, one long row, many small matrices, sides of one element
SHAPES = ((5, 3), (7,), (2, 3, 4, 5), (300, 700), (6, 1), (1, 6), (900, 3, 3), (2, 70_000), (1, 1))
MATRIX = ((300, 700),)
CASES: list[tuple[type[Rule], dict[str, Any]]] = [
    (Adafactor, {"momentum": True, "weight_decay": 0.1, "decay_rate": "alpha"}),
    (Adafactor, {"cautious": "mean", "average": 0.9, "max_norm": 1.0, "zero": True}),
    (AdamMini, {"clip": 0.5, "cautious": "mean", "max_norm": 1.0}),
]
MORE: list[tuple[type[Rule], dict[str, Any]]] = [
    *CASES,
    (Adafactor, {"floor": "root"}),
    (Adafactor, {"min_dim": 4, "rate": "warmup"}),
    (AdamMini, {"blocks": "tensor", "debias": "schedule"}),
    (AdamMini, {"blocks": "element"}),
]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def trained(kind: Any, path: str | None, dtype: torch.dtype, shapes: Any, **options: Any) -> Any:
    params = [nn.Parameter(numbers(*s, seed=i, dtype=dtype)) for i, s in enumerate(shapes)]
    options |= {"path": path} if path else {}
    optimizer = kind(params, lr=0.01, **options)
    for step in range(3):
        for i, p in enumerate(params):
            if step or i % 2:  # every other parameter gets its first gradient late
                p.grad = numbers(*p.shape, seed=100 * step + i, dtype=dtype)
        optimizer.step()
    return optimizer


def agree(kind: Any, dtype: torch.dtype, shapes: Any = SHAPES, **options: Any) -> None:
    tolerance = 1e-11 if dtype == torch.float64 else 3e-5
    ours, slow = (trained(kind, path, dtype, shapes, **options) for path in ("compiled", "eager"))
    for p, q in zip(ours.param_groups[0]["params"], slow.param_groups[0]["params"], strict=True):
        pairs = [(p, q), *((ours.state[p][key], slow.state[q][key]) for key in slow.state[q])]
        for a, b in pairs:
            assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), tuple(p.shape)
    if ours.norms:
        assert ours.norms == pytest.approx(slow.norms, rel=1e-4)


@pytest.mark.parametrize("kind", [Adafactor, AdamMini])
def test_compiled_steps_of_every_shape_equal_the_rule(kind: type[Rule]) -> None:
    agree(optimizer_class(kind), torch.float64)


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_compiled_steps_of_matrices_equal_the_rule(
    kind: type[Rule], options: dict[str, Any]
) -> None:
    agree(optimizer_class(kind), torch.float64, MATRIX, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), MORE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_compiled_steps_equal_the_rule_with_every_option(
    kind: type[Rule], options: dict[str, Any], dtype: torch.dtype
) -> None:
    agree(optimizer_class(kind), dtype, **options)


def test_blocks_of_several_rows_are_compiled() -> None:
    agree(optimizer_class(AdamMini), torch.float64, ((6, 4), (4, 3, 2)), rows=2)
    traced = trace_step(StepSpec(AdamMini(rows=2)), torch.float64, (), torch.Size((6, 4)))
    assert traced is not None
    assert traced.sizes == (1, 3, 8)


def test_torchs_adafactor_is_compiled_with_torchs_state() -> None:
    shapes = (*MATRIX, (7,))
    ours = trained(torch_classes.Adafactor, "compiled", torch.float32, shapes)
    theirs = trained(torch.optim.Adafactor, None, torch.float32, shapes)
    params = (optimizer.param_groups[0]["params"] for optimizer in (ours, theirs))
    for p, q in zip(*params, strict=True):
        assert torch.allclose(p, q, rtol=1e-5, atol=1e-6)
        assert ours.state[p].keys() == theirs.state[q].keys()
        for key, value in theirs.state[q].items():
            assert torch.allclose(ours.state[p][key], value, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e20, float("inf"), float("nan")])
@pytest.mark.parametrize("shape", [(300, 40), (3000,)])
def test_compiled_adafactor_treats_special_gradients_as_torch(
    shape: tuple[int, ...], value: float
) -> None:
    p, q = (nn.Parameter(numbers(*shape, dtype=torch.float32)) for _ in range(2))
    ours, theirs = torch_classes.Adafactor([p], path="compiled"), torch.optim.Adafactor([q])
    for step in range(4):
        g = numbers(*shape, seed=step, dtype=torch.float32)
        if step == 1:
            g[::3] = value
        p.grad, q.grad = g.clone(), g.clone()
        ours.step()
        theirs.step()
    assert torch.allclose(p, q, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_compiled_state_in_eight_bits_follows_rows() -> None:
    """Blocks start again with every row; of narrow rows they do not, and nothing is compiled."""
    for shape, compiled in (((40, 300), True), ((600, 20), False)):
        p = nn.Parameter(numbers(*shape, dtype=torch.float32))
        p.grad, states = numbers(*shape, seed=1, dtype=torch.float32), {p: {}}
        spec = StepSpec(Adafactor(momentum=True), storage="8bit")
        steps, left = multi_tensor_steps(spec, [p], states)
        assert (len(steps), len(left)) == ((1, 0) if compiled else (0, 1))


def test_parameters_that_are_not_contiguous_are_stepped_by_the_rule() -> None:
    p, q = (nn.Parameter(numbers(30, 20).T) for _ in range(2))
    for x, path in ((p, "compiled"), (q, "eager")):
        optimizer = optimizer_class(Adafactor)([x], path=path)
        for step in range(3):
            x.grad = numbers(20, 30, seed=step)
            optimizer.step()
    assert torch.equal(p, q)
    assert not p.is_contiguous()


def test_a_rule_that_factors_only_large_matrices_depends_on_shape() -> None:
    assert dependence(Adafactor(min_dim=128)) == "shape"


class OddState(NamedTuple):
    v: Tensor


@dataclass(frozen=True)
class Odd(Rule):
    """A rule that uses shapes in a way that has no rows and columns."""

    how: str = "transposed"

    def init(self, x: Tensor) -> OddState:
        return OddState(x.new_zeros(x.shape[0]))

    def step(self, x: Tensor, g: Tensor, s: Any, lr: Any) -> tuple[Tensor, Any]:
        v = s.v + g.mean(dim=0)  # of a square matrix: the columns' means
        if self.how == "transposed":
            return x - lr * v[:, None] * g, OddState(v + g.mean(dim=1))
        if self.how == "product":
            return x - lr * (g @ g), OddState(v)
        if self.how == "reads":
            return (x - lr if bool(v.sum() > 0) else x + lr), OddState(v)
        return x - lr * g / x.numel(), OddState(v)


@pytest.mark.parametrize("how", ["transposed", "product", "reads", "size"])
def test_rules_without_rows_and_columns_are_not_compiled(how: str) -> None:
    assert not can_trace(StepSpec(Odd(how=how)), [torch.Size((8, 8))])
    shapes = ((8, 8),)
    agree(optimizer_class(Odd), torch.float64, shapes, how=how)


def test_numbers_of_elements_are_not_compiled_into_code() -> None:
    assert not can_trace(StepSpec(AdamW(cautious="paper")), [torch.Size((8, 8))])
    assert can_trace(StepSpec(AdamW(cautious="mean")), [torch.Size((8, 8))])
