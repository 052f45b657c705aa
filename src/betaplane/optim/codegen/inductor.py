"""Run a traced step through torch.compile, for parameters that are not on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.codegen.trace import TracedStep, trace_step
from betaplane.optim.once import MAKING, once
from betaplane.optim.step.reference import count_step
from betaplane.optim.step.step_spec import StepSpec, StepValues, promoted_dtype, state_fields
from betaplane.optim.step.stored_state import fill_state
from betaplane.optim.storage_formats import StochasticBFloat16
from betaplane.tensors.dtensor import PLAIN_TYPES
from betaplane.tensors.memory_layout import align_state, copy_in_layout, is_dense


def step_compiled(
    spec: StepSpec,
    p: Tensor,
    param_state: dict[str, Any],
    values: StepValues,
    keys: Mapping[str, str],
) -> bool:
    """Step p in place, if it can be compiled: the rule does not depend on shape, formats are only
    casts.

    Args:
        spec: what the step does.
        p: a parameter with a gradient.
        param_state: torch's state of p; filled here.
        values: learning rate and the other numbers that the step takes.
        keys: torch's state keys for the fields of the rule's state, if they differ.

    Returns:
        Whether p was stepped.
    """
    g = p.grad
    if spec.norms or g is None or g.layout is not torch.strided or not _is_ordinary(p):
        return False
    extra = spec.extra_fields(p)
    names = (*(name for name, like_x in state_fields(spec.rule).items() if like_x), *extra)
    formats = [spec.weight_format(p), *(spec.state_format(p, name, p) for name in names)]
    if any(stored.scaled or isinstance(stored, StochasticBFloat16) for stored in formats):
        return False
    fill_state(spec, p, param_state, keys)
    align_state(param_state, p)
    tensors = [param_state[keys.get(name, name)] for name in names]
    dtype = torch.promote_types(promoted_dtype(p, *tensors), torch.float32)
    traced = trace_step(spec, dtype, extra)
    if traced is None:
        return False
    numbers = [param_state[keys.get(name, name)] for name in traced.numbers]
    floats = traced.scalars(spec.rule, [float(value) for value in numbers], values)
    scalars = [torch.tensor(value, dtype=torch.float64) for value in floats]
    aligned = g if g.stride() == p.stride() else copy_in_layout(g, p)
    with MAKING:  # torch.compile's code refuses to run while another thread traces
        compiled_step(traced)([_flat(p), _flat(aligned), *map(_flat, tensors)], scalars)
    for value, i in zip(numbers, traced.new_numbers, strict=True):
        value.copy_(scalars[i])
    if "t" not in traced.numbers:
        count_step(param_state)
    if spec.zero:
        g.zero_()
    return True


def _is_ordinary(p: Tensor) -> bool:
    """Whether p is a dense tensor of real elements, in memory of its own."""
    plain = type(p) in PLAIN_TYPES and p.is_floating_point()
    return plain and p.numel() > 0 and p.dim() > 0 and is_dense(p)


@once
def compiled_step(traced: TracedStep) -> Callable[[list[Tensor], list[Tensor]], None]:
    """A compiled function that takes a traced step in place."""

    def step(tensors: list[Tensor], scalars: list[Tensor]) -> None:
        new = traced.graph(*(value.to(traced.dtype) for value in tensors), *scalars)
        for target, value in zip((tensors[0], *tensors[2:]), new, strict=False):
            target.copy_(value)

    return torch.compile(step, dynamic=True, fullgraph=True)


def _flat(x: Tensor) -> Tensor:
    """A view of a dense tensor's elements in the order of their addresses."""
    return x.view(-1) if x.is_contiguous() else torch.as_strided(x, (x.numel(),), (1,))
