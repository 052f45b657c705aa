"""The reference implementation of a step: one parameter at a time, operation by operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.step.chunks import CHUNK_ELEMENTS, Chunk, can_chunk, chunks
from betaplane.optim.step.step_spec import StepSpec, StepValues, state_fields
from betaplane.optim.step.stored_state import STATE, fill_state, read_state, write_step
from betaplane.tensors.dtensor import full_tensor


def reference_step(
    spec: StepSpec,
    p: Tensor,
    g: Tensor,
    param_state: dict[str, Any],
    values: StepValues,
    *,
    keys: Mapping[str, str] = STATE,
) -> float:
    """Take one step on p in place.

    The arithmetic is in the widest dtype among p and its state, of at least 32 bits. Complex elements are pairs of real
    ones.

    Args:
        spec: what the step does.
        p: the parameter.
        g: its gradient; changed only if the spec sets it to zero.
        param_state: torch's state of the parameter, by torch's keys: tensors. It is filled at the first step.
        values: learning rate and the other numbers that the step takes.
        keys: torch's state keys for the fields of the rule's state, if they differ.

    Returns:
        The squared norm of the update if the spec measures it; else 0.
    """
    if p.numel() == 0:
        return 0.0
    parts: Iterable[Chunk] = [(p, g, param_state, 0)]
    if p.numel() > CHUNK_ELEMENTS:
        fill_state(spec, p, param_state, keys)
        if can_chunk(spec, p, g, param_state):
            parts = chunks(p, g, param_state)
    seed, squared_update = int(param_state.get("step", 0)), 0.0
    for part, part_g, part_state, start in parts:
        x, grad = (torch.view_as_real(a) if a.is_complex() else a for a in (part, part_g))
        state = read_state(spec, part, part_state, keys)
        new = spec.apply(x.to(state.dtype), grad.to(state.dtype), state.s, state.extra, values)
        write_step(state, x, (new.x, *new.s, *new.extra.values()), part_state, (seed, start))
        if new.squared_update is not None:
            squared_update += float(full_tensor(new.squared_update))
    if spec.zero:
        g.zero_()
    if "t" not in state_fields(spec.rule):
        count_step(param_state)
    return squared_update


def count_step(param_state: dict[str, Any]) -> None:
    """Count a step in the state of a rule that has no step count, as torch's states have one."""
    param_state["step"] = torch.as_tensor(param_state.get("step", 0.0)) + 1


def update_curvature(spec: StepSpec, p: Tensor, h: Tensor, param_state: dict[str, Any]) -> None:
    """Add an estimate of the curvature to a parameter's state, by the rule's own `curvature`.

    Args:
        spec: what a step does; its rule has `curvature(s, h)`.
        p: the parameter.
        h: like p, the estimate.
        param_state: torch's state of the parameter; filled if it is empty.
    """
    state = read_state(spec, p, param_state)
    x, estimate = (torch.view_as_real(a) if a.is_complex() else a for a in (p, h))
    new = spec.rule.curvature(state.s, estimate)  # pyright: ignore[reportAttributeAccessIssue]
    seed = int(param_state.get("step", 0))
    write_step(state, x, (x, *new, *state.extra.values()), param_state, (seed, 0))
