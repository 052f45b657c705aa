"""The compiled step is the rule's own, on any layout and type; test_rows_and_columns.py has the
rules that depend on shapes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.optim import dispatch, optimizer_class, torch_classes
from betaplane.optim.codegen import (
    availability,
    build,
    compiled_step,
    inductor,
    multi_tensor,
)
from betaplane.optim.step.reference import reference_step
from betaplane.optim.step.step_spec import StepSpec, StepValues
from betaplane.optim.step.stored_state import STATE
from betaplane.rules import ALL, SGD, AdaBelief, Adam, AdamMini, Adan, Lion, Rule, StableAdamW

SHAPELESS = [kind for kind in ALL if kind.__name__ not in ("AdamMini", "Adafactor")]
every = pytest.mark.parametrize("kind", SHAPELESS, ids=lambda kind: kind.__name__)
SHAPES = ((), (1,), (0,), (5, 3), (2, 3, 4, 5))


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    found = [nn.Parameter(numbers(*shape, seed=i, dtype=dtype)) for i, shape in enumerate(SHAPES)]
    found.append(nn.Parameter(found[-1].detach().to(memory_format=torch.channels_last)))
    return [*found, nn.Parameter(numbers(4, 6, seed=9, dtype=dtype)[:, ::2])]


def trained(
    kind: type[Rule], how: str, dtype: torch.dtype, steps: int = 4, **options
) -> list[Tensor]:
    params = parameters(dtype)
    optimizer = optimizer_class(kind)(params, lr=0.01, path=how, **options)
    for step in range(steps):
        for i, p in enumerate(params):
            if step or i % 2:  # every other parameter gets its first gradient late
                p.grad = numbers(*p.shape, seed=100 * step + i, dtype=dtype)
        optimizer.step()
    return [p.detach() for p in params]


def agree(kind: type[Rule], dtype: torch.dtype, **options) -> None:
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for ours, slow in zip(
        *(trained(kind, how, dtype, **options) for how in ("compiled", "eager")), strict=True
    ):
        assert torch.allclose(ours, slow, rtol=tolerance, atol=tolerance)


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_machine_code_is_the_rule(kind: type[Rule], dtype: torch.dtype) -> None:
    agree(kind, dtype)


@pytest.mark.parametrize("kind", [SGD, Adam, Lion], ids=lambda kind: kind.__name__)
def test_maximize(kind: type[Rule]) -> None:
    agree(kind, torch.float64, maximize=True)


def test_a_kernel_leaves_the_gradient_alone() -> None:
    p = nn.Parameter(numbers(4))
    optimizer = optimizer_class(Adan)([p], path="compiled")
    kept = g = numbers(4, seed=1)
    p.grad = g
    optimizer.step()
    before = copy.deepcopy(optimizer.state[p]["g_prev"])
    g.mul_(2)
    assert torch.equal(optimizer.state[p]["g_prev"], before)
    assert p.grad is kept


def test_wide_states_of_narrow_parameters() -> None:
    p, q = (nn.Parameter(numbers(8).bfloat16()) for _ in range(2))
    for x, how in ((p, "compiled"), (q, "eager")):
        optimizer = optimizer_class(Lion)([x], lr=0.1, path=how)
        optimizer.state[x] = {"exp_avg": torch.zeros(8)}
        for step in range(3):
            x.grad = numbers(8, seed=step).bfloat16()
            optimizer.step()
        assert optimizer.state[x]["exp_avg"].dtype == torch.float32
    assert torch.equal(p, q)


@pytest.mark.parametrize("path", ["auto", "eager", "compiled"])
def test_rows_per_block_work_on_every_path(path: str) -> None:
    """The rule accepts only shapes that its blocks divide, and the probe of its operations has others."""
    p, q = nn.Parameter(numbers(512, 256)), nn.Parameter(numbers(512, 256))
    optimizers = [
        optimizer_class(AdamMini)([x], rows=2, lr=0.01, path=how)
        for x, how in ((p, path), (q, "eager"))
    ]
    for x, optimizer in zip((p, q), optimizers, strict=True):
        x.grad = numbers(512, 256)
        optimizer.step()
    assert not torch.equal(p, numbers(512, 256))
    assert torch.allclose(p, q)


def test_auto_compiles_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MIN_COMPILED_ELEMENTS", 8)
    small, large = (optimizer_class(Lion)([nn.Parameter(torch.zeros(n))]) for n in (4, 16))
    assert "path: eager" in repr(small)
    assert "path: compiled" in repr(large)
    p, q = nn.Parameter(numbers(16)), nn.Parameter(numbers(16))
    ours, theirs = torch_classes.RAdam([p], lr=0.01), torch.optim.RAdam([q], lr=0.01)
    for step in range(8):
        p.grad = q.grad = numbers(16, seed=step)
        ours.step()
        theirs.step()
    assert not torch.equal(p, torch.zeros(16))
    assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)
    theirs.load_state_dict(ours.state_dict())


def test_hyperparameters_that_change_need_no_new_code() -> None:
    p, q = nn.Parameter(numbers(16)), nn.Parameter(numbers(16))
    ours, slow = (
        optimizer_class(AdaBelief)([p], path="compiled"),
        optimizer_class(AdaBelief)([q], path="eager"),
    )
    made = 0
    for step in range(6):
        for optimizer in (ours, slow):
            group = optimizer.param_groups[0]
            group["betas"], group["eps"], group["lr"] = (
                (0.1 * step + 0.1, 0.9 + 0.01 * step),
                10.0**-step,
                0.1 / (1 + step),
            )
        p.grad = q.grad = numbers(16, seed=step)
        ours.step()
        slow.step()
        made = made or len(compiled_step.compile_step.known)
    assert len(compiled_step.compile_step.known) == made
    assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)


def test_a_machine_that_cannot_compile_goes_on_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    failures = list(availability.COMPILE_FAILURES)
    availability.COMPILE_FAILURES.clear()
    compiled_step.compile_step.cache_clear()
    build.try_load_library.cache_clear()
    p, q = nn.Parameter(numbers(4)), nn.Parameter(numbers(4))
    p.grad = q.grad = numbers(4, seed=1)
    optimizer = optimizer_class(Lion)([p], path="compiled")
    with pytest.warns(
        UserWarning, match=r"This machine cannot compile .*: steps are eager, and slower"
    ):
        optimizer.step()
    optimizer_class(Lion)([q], path="eager").step()
    assert torch.equal(p, q)
    availability.COMPILE_FAILURES[:] = failures
    build.try_load_library.cache_clear()  # the failures of other tests' sources


@pytest.mark.parametrize("kind", [Adam, StableAdamW], ids=lambda kind: kind.__name__)
def test_torch_compiles_the_same_pass_for_other_devices(
    kind: type[Rule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU here, and the recording itself in place of its code, which takes seconds to make."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    inductor.compiled_step.cache_clear()
    x, slow = numbers(4, 6), numbers(4, 6)
    held, known = {}, {}
    for step in range(4):
        x.grad = numbers(4, 6, seed=step)
        assert inductor.step_compiled(StepSpec(kind()), x, held, StepValues(0.01), STATE)
        reference_step(StepSpec(kind()), slow, x.grad, known, StepValues(0.01))
    assert torch.allclose(x, slow, rtol=1e-12, atol=1e-12)
    assert held["step"] == known["step"] == 4
    inductor.compiled_step.cache_clear()


@dataclass(frozen=True)
class Odd(Lion):
    """Lion with an operation that there are no words in C for, where `strange`."""

    strange: bool = True

    def step(self, x: Tensor, g: Tensor, s: Any, lr: Any) -> tuple[Tensor, Any]:
        return super().step(x, torch.erf(g) if self.strange else torch.tanh(g.exp().log()), s, lr)


@pytest.mark.parametrize("strange", [True, False])
def test_your_rule_is_compiled_where_that_can_be(strange: bool) -> None:
    agree(Odd, torch.float64, strange=strange)
    p = nn.Parameter(numbers(4))
    p.grad = numbers(4, seed=1)
    sweeps, left = multi_tensor.multi_tensor_steps(StepSpec(Odd(strange=strange)), [p], {p: {}})
    assert (len(sweeps), len(left)) == ((0, 1) if strange else (1, 0))


def test_an_unknown_path_is_rejected() -> None:
    with pytest.raises(
        BadInput, match=r"Unknown path 'fast'. Choose one of: auto, eager, compiled"
    ):
        optimizer_class(Lion)([nn.Parameter(torch.zeros(1))], path="fast")
