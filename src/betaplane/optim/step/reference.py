"""The reference implementation of a step: one parameter at a time, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.optim.step.chunks import CHUNK_ELEMENTS, can_chunk, chunks
from betaplane.optim.step.step_spec import (
    COMPENSATION,
    StepResult,
    StepSpec,
    StepValues,
    promoted_dtype,
    state_fields,
)
from betaplane.optim.stochastic_rounding import noise_stream
from betaplane.optim.storage_formats import SCALE, Format
from betaplane.rules import Rule
from betaplane.tensors.dtensor import full_tensor

# the fields of a rule's state -> torch's state keys, if they differ
STATE = {"t": "step", "m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}

COUNT_DTYPE = torch.float32  # of step counts, for every dtype of the parameter, as torch's


class FieldLayout(NamedTuple):
    """How one field of a parameter's state is stored."""

    name: str
    is_number: bool  # a single number, else a tensor
    dtype: torch.dtype | None  # in which the rule has the number; None for the stored dtype
    widened: bool  # whether the step computes it in the widest dtype
    format: Format
    stream: int  # of random bits for stochastic rounding


class StateLayout(NamedTuple):
    """How the state of a parameter is stored: the rule's fields, then the extra ones."""

    rule_state: Any  # the class of the rule's state
    fields: tuple[FieldLayout, ...]
    extra: tuple[FieldLayout, ...]
    weights: Format


@lru_cache(maxsize=4096)
def state_layout(
    spec: StepSpec, shape: torch.Size, dtype: torch.dtype, whole_numel: int
) -> StateLayout:
    """How the state of a real parameter is stored; found on the meta device, without memory.

    Args:
        spec: what the step does.
        shape: the parameter's, or that of a part of it.
        dtype: the parameter's.
        whole_numel: the number of elements of the whole parameter.
    """
    x = torch.empty(shape, dtype=dtype, device="meta")
    x.whole_numel = whole_numel  # type: ignore[attr-defined]
    template = spec.rule.init(x)
    like_x = state_fields(spec.rule)
    tensors = [name for name, value in template._asdict().items() if value.dim()]
    fields = []
    for name, value in template._asdict().items():
        stream = noise_stream(1 + (tensors.index(name) if name in tensors else 0))
        stored = spec.state_format(x, name, value)
        number = value.dim() == 0
        fields.append(FieldLayout(name, number, value.dtype, like_x[name], stored, stream))
    extra = tuple(
        FieldLayout(name, not shape, None, True, spec.state_format(x, name, x), noise_stream(1))
        for name in spec.extra_fields(x)
    )
    return StateLayout(type(template), tuple(fields), extra, spec.weight_format(x))


def layout_of(spec: StepSpec, x: Tensor) -> StateLayout:
    """How the state of a real parameter, or of a part of one, is stored."""
    return state_layout(spec, x.shape, x.dtype, getattr(x, "whole_numel", x.numel()))


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
    fill_state(spec, p, param_state, keys)
    if p.numel() <= CHUNK_ELEMENTS or not can_chunk(spec, p, g, param_state):
        return _step(spec, p, g, param_state, values, keys)
    squared_update, chunk_state = 0.0, {}
    for x, chunk_g, chunk_state, start in chunks(p, g, param_state):
        squared_update += _step(spec, x, chunk_g, chunk_state, values, keys, start)
    for key, value in chunk_state.items():
        if value.dim() == 0:
            _store(param_state, key, value, p)
    return squared_update


def _step(
    spec: StepSpec,
    p: Tensor,
    g: Tensor,
    param_state: dict[str, Any],
    values: StepValues,
    keys: Mapping[str, str],
    start: int = 0,
) -> float:
    """Step a parameter, or the chunk of one that begins at element `start`."""
    x = torch.view_as_real(p) if p.is_complex() else p
    g_real = torch.view_as_real(g) if g.is_complex() else g
    layout = state_layout(spec, x.shape, x.dtype, getattr(x, "whole_numel", x.numel()))
    seed = int(param_state.get("step", 0))
    s, extra = _decode_state(layout, x, param_state, keys)
    widened = [field.name for field in layout.fields if field.widened]
    dtype = promoted_dtype(x, *(getattr(s, name) for name in widened))
    dtype = torch.promote_types(dtype, torch.float32)
    s = s._replace(**{name: getattr(s, name).to(dtype) for name in widened})
    extra = {name: value.to(dtype) for name, value in extra.items()}
    result = spec.apply(x.to(dtype), g_real.to(dtype), s, extra, values)
    _write_back(layout, p, result, param_state, (seed, start), keys)
    if spec.zero:
        g.zero_()
    if "t" not in s._fields:
        count_step(param_state)
    if result.squared_update is None:
        return 0.0
    return float(full_tensor(result.squared_update))


def _decode_state(
    layout: StateLayout, x: Tensor, param_state: Mapping[str, Any], keys: Mapping[str, str]
) -> tuple[Any, dict[str, Tensor]]:
    """The rule's state and the extra tensors, from what is stored."""
    decoded = []
    for field in (*layout.fields, *layout.extra):
        key = keys.get(field.name, field.name)
        value = param_state[key]
        if not isinstance(value, Tensor):
            value = torch.tensor(value)
        elif value.is_complex():
            value = torch.view_as_real(value)
        if value.dim() == 0:
            value = value if field.dtype is None else value.to(x.device, field.dtype)
        else:
            value = value.to(x.device)
            if field.format.scaled:
                value = field.format.decode(value, param_state.get(key + SCALE))
        decoded.append(value)
    s = layout.rule_state(*decoded[: len(layout.fields)])
    names = [field.name for field in layout.extra]
    return s, dict(zip(names, decoded[len(layout.fields) :], strict=True))


def _write_back(
    layout: StateLayout,
    p: Tensor,
    result: StepResult,
    param_state: dict[str, Any],
    randomness: tuple[int, int],
    keys: Mapping[str, str],
) -> None:
    """Write the results of a step into p and its state, in their storage formats.

    `randomness` is the seed and the first element's index, for stochastic rounding.
    """
    x = torch.view_as_real(p) if p.is_complex() else p
    weights = result.x
    if type(layout.weights) is not Format:
        weights, _ = layout.weights.encode(weights, noise_stream(0), *randomness)
    x.copy_(weights)
    fields = (*layout.fields, *layout.extra)
    values = (*result.s, *(result.extra[field.name] for field in layout.extra))
    for field, value in zip(fields, values, strict=True):
        key, scale = keys.get(field.name, field.name), None
        if type(field.format) is not Format:  # else copying converts the dtype
            value, scale = field.format.encode(value, field.stream, *randomness)
        _store(param_state, key, value, p)
        if scale is not None:
            _store(param_state, key + SCALE, scale, p)


def count_step(param_state: dict[str, Any]) -> None:
    """Count a step in the state of a rule that has no step count, as torch's states have one."""
    param_state["step"] = torch.as_tensor(param_state.get("step", 0.0)) + 1


def update_curvature(
    rule: Rule, p: Tensor, h: Tensor, param_state: dict[str, Any], keys: Mapping[str, str] = STATE
) -> None:
    """Add an estimate of the curvature to a parameter's state, by the rule's own `curvature`.

    Args:
        rule: has `curvature(s, h)`.
        p: the parameter.
        h: like p, the estimate.
        param_state: torch's state of the parameter; filled if it is empty.
        keys: torch's state keys for the fields of the rule's state, if they differ.
    """
    spec = StepSpec(rule)
    fill_state(spec, p, param_state, keys)
    x = torch.view_as_real(p) if p.is_complex() else p
    s, _ = _decode_state(layout_of(spec, x), x, param_state, keys)
    new = rule.curvature(s, h)  # pyright: ignore[reportAttributeAccessIssue]
    for name, value in new._asdict().items():
        _store(param_state, keys.get(name, name), value, p)


def fill_state(
    spec: StepSpec, p: Tensor, param_state: dict[str, Any], keys: Mapping[str, str] = STATE
) -> None:
    """Create what p's state lacks, as before the first step, and convert the rest to the spec's
    formats.
    """
    x = torch.view_as_real(p) if p.is_complex() else p
    layout = state_layout(spec, x.shape, x.dtype, getattr(x, "whole_numel", x.numel()))
    for field in (*layout.fields, *layout.extra):
        value = param_state.get(keys.get(field.name, field.name))
        number = not isinstance(value, Tensor) or value.dim() + value.is_complex() == 0
        right_dtype = number or field.format.dtype in (None, value.dtype)  # type: ignore[union-attr]
        if value is None or number != field.is_number or not right_dtype:
            break
    else:
        return
    _create_missing(spec, p, x, param_state, keys)


def _create_missing(
    spec: StepSpec, p: Tensor, x: Tensor, param_state: dict[str, Any], keys: Mapping[str, str]
) -> None:
    fresh = spec.rule.init(x)._asdict()
    if "t" in fresh:
        fresh["t"] = fresh["t"].to(COUNT_DTYPE)
    for name in spec.extra_fields(x):
        fresh[name] = torch.zeros_like(x) if name == COMPENSATION else x.clone()
    for name, value in fresh.items():
        key, stored = keys.get(name, name), spec.state_format(x, name, value)
        old = param_state.get(key)
        # a hyperparameter that was 0, or is now 0, changes a tensor into a number or back
        if old is not None and _is_number(old) == _is_number(value):
            if not stored.dtype or stored.dtype == old.dtype:
                continue
            value = old
        codes, scale = stored.encode(value, 0, 0)
        param_state.pop(key, None)
        _store(param_state, key, codes, p)
        if scale is not None:
            param_state[key + SCALE] = scale


def _is_number(value: Any) -> bool:
    return not isinstance(value, Tensor) or value.dim() + value.is_complex() == 0


def _store(param_state: dict[str, Any], key: str, value: Tensor, p: Tensor) -> None:
    """Write a tensor of a state in place, so that its layout and references to it stay valid.

    At the first step, a copy is stored.
    """
    old = param_state.get(key)
    if isinstance(old, Tensor):
        old = torch.view_as_real(old) if old.is_complex() else old
        if old.shape == value.shape:
            old.copy_(value)
            return
    complex_pairs = p.is_complex() and value.dim() > 0 and value.shape[:-1] == p.shape
    value = value.contiguous().clone() if complex_pairs else value.clone()
    param_state[key] = torch.view_as_complex(value) if complex_pairs else value
