"""Read and write a parameter's state in its storage formats, and create what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.optim.step.step_spec import COMPENSATION, StepSpec, state_fields
from betaplane.optim.stochastic_rounding import noise_stream
from betaplane.optim.storage_formats import SCALE, Format

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
    """How a parameter and its state are stored: the rule's fields, then the extra ones."""

    rule_state: Any  # the class of the rule's state
    fields: tuple[FieldLayout, ...]
    extra: tuple[FieldLayout, ...]
    weights: FieldLayout


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
    weights = FieldLayout("", False, None, True, spec.weight_format(x), noise_stream(0))
    return StateLayout(type(template), tuple(fields), extra, weights)


class StoredState(NamedTuple):
    """A parameter's state, decoded for the arithmetic of a step, and the tensors that store it."""

    layout: StateLayout
    stored: dict[str, Tensor]  # by state key, in the layout's order; complex as pairs of elements
    dtype: torch.dtype  # of the arithmetic: the widest of the parameter and its state
    s: Any  # the rule's state
    extra: dict[str, Tensor]  # the other tensors, by name


def read_state(
    spec: StepSpec,
    p: Tensor,
    param_state: dict[str, Any],
    keys: Mapping[str, str] = STATE,
    *,
    decode: bool = True,
) -> StoredState:
    """Decode a parameter's state. What it lacks is created, as before the first step, and what is
    stored otherwise is converted to the spec's formats.

    Args:
        spec: what the step does.
        p: the parameter.
        param_state: torch's state of p, by torch's keys.
        keys: torch's state keys for the fields of the rule's state, if they differ.
        decode: False leaves the rule's state and the other tensors out, which may be large.
    """
    x = torch.view_as_real(p) if p.is_complex() else p
    layout = state_layout(spec, x.shape, x.dtype, getattr(x, "whole_numel", x.numel()))
    fields = (*layout.fields, *layout.extra)
    dtype = torch.promote_types(x.dtype, torch.float32)
    stored: dict[str, Tensor] = {}
    decoded: list[Tensor] = []
    for field in fields:
        key = keys.get(field.name, field.name)
        value: Any = param_state.get(key)
        if isinstance(value, Tensor) and value.is_complex():
            value = torch.view_as_real(value)
        fits = isinstance(value, Tensor) and (value.dim() == 0) == field.is_number
        if not fits or field.format.dtype not in (None, value.dtype):
            value = _create(spec, p, field, param_state, key)
        stored[key] = value
        if not decode:
            continue
        value = value.to(x.device, field.dtype if field.is_number else None)
        if field.format.scaled:
            value = field.format.decode(value, param_state.get(key + SCALE))
        if field.widened and value.is_floating_point():
            dtype = torch.promote_types(dtype, value.dtype)
        decoded.append(value)
    if not decode:
        return StoredState(layout, stored, dtype, None, {})
    wide = [
        value.to(dtype) if field.widened else value
        for field, value in zip(fields, decoded, strict=True)
    ]
    s = layout.rule_state(*wide[: len(layout.fields)])
    extra = {field.name: value for field, value in zip(layout.extra, wide[len(s) :], strict=True)}
    return StoredState(layout, stored, dtype, s, extra)


def write_step(
    state: StoredState,
    x: Tensor,
    values: Sequence[Tensor],
    param_state: dict[str, Any],
    randomness: tuple[int, int],
) -> None:
    """Write the results of a step in place, in their storage formats.

    Args:
        state: as it was read.
        x: the parameter; if it is complex, as pairs of real elements.
        values: the new parameter, the fields of the rule's state and the extra tensors.
        param_state: torch's state of the parameter.
        randomness: for stochastic rounding, the seed and the index of the first element.
    """
    fields = (state.layout.weights, *state.layout.fields, *state.layout.extra)
    places = [x, *state.stored.values()]
    # a rule may return the old parameter, or a tensor of its old state, in another field
    memory = {id(place if place._base is None else place._base) for place in places}
    shared = [id(value if value._base is None else value._base) in memory for value in values]
    values = [
        value.clone() if is_shared and value is not place else value
        for value, place, is_shared in zip(values, places, shared, strict=True)
    ]
    for field, key, place, value in zip(fields, ("", *state.stored), places, values, strict=True):
        if type(field.format) is Format:  # copying converts the dtype
            place.copy_(value)
            continue
        codes, scale = field.format.encode(value, field.stream, *randomness)
        place.copy_(codes)
        if scale is not None:
            param_state[key + SCALE].copy_(scale)


def fill_state(
    spec: StepSpec, p: Tensor, param_state: dict[str, Any], keys: Mapping[str, str] = STATE
) -> None:
    """Create what p's state lacks, as before the first step, and convert the rest to the spec's
    formats.
    """
    read_state(spec, p, param_state, keys, decode=False)


def _create(
    spec: StepSpec, p: Tensor, field: FieldLayout, param_state: dict[str, Any], key: str
) -> Tensor:
    """Store a field of p's state as before the first step, or a stored one in the spec's format.

    Returns:
        The stored tensor, complex as pairs of elements.
    """
    x = torch.view_as_real(p) if p.is_complex() else p
    value, old = _first_value(spec, x, field.name), param_state.pop(key, None)
    if old is not None and not isinstance(old, Tensor):
        old = torch.tensor(old, dtype=value.dtype)
    # a hyperparameter that was 0, or is now 0, changes a tensor into a number or back
    if old is not None and (old.dim() + old.is_complex() == 0) == field.is_number:
        value = torch.view_as_real(old) if old.is_complex() else old
    codes, scale = field.format.encode(value, 0, 0)
    is_complex = p.is_complex() and codes.dim() > 0 and codes.shape[:-1] == p.shape
    codes = codes.contiguous().clone() if is_complex else codes.clone()
    param_state[key] = torch.view_as_complex(codes) if is_complex else codes
    if scale is not None:
        param_state[key + SCALE] = scale
    return codes


def _first_value(spec: StepSpec, x: Tensor, name: str) -> Tensor:
    """A field of the state before the first step."""
    if name in spec.extra_fields(x):
        return torch.zeros_like(x) if name == COMPENSATION else x.clone()
    value = getattr(spec.rule.init(x), name)
    return value.to(COUNT_DTYPE) if name == "t" else value
