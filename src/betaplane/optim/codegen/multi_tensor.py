"""Run compiled C over a whole list of parameters in one call; argument lists are cached and
revalidated each step.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.blocks import row_length
from betaplane.optim.codegen.c_expressions import has_expression
from betaplane.optim.codegen.c_formats import C_TYPES
from betaplane.optim.codegen.compiled_step import CompiledStep, compile_step
from betaplane.optim.codegen.trace import TracedStep, trace_step
from betaplane.optim.step.step_spec import StepSpec, StepValues, promoted_dtype
from betaplane.optim.step.stored_state import STATE, fill_state
from betaplane.optim.storage_formats import SCALE, Dynamic, Format
from betaplane.rules import Rule
from betaplane.tensors.dtensor import PLAIN_TYPES
from betaplane.tensors.memory_layout import align_state, copy_in_layout, is_dense

_grad, _dtype, _is_cpu, _layout = map(attrgetter, ("grad", "dtype", "is_cpu", "layout"))


class MultiTensorStep:
    """The argument lists of compiled code, for parameters that share the code.

    Each number of their states (the step count) is a view of one tensor, so that all are updated at once.
    """

    def __init__(
        self,
        code: CompiledStep,
        params: list[Tensor],
        geometries: list[list[int]],
        states: Mapping[Tensor, Any],
        keys: Mapping[str, str],
    ):
        self.code, self.params = code, params
        self.param_states = [states[p] for p in params]
        tensor_keys = [keys.get(name, name) for name in code.traced.tensors]
        formats = zip(tensor_keys, code.formats[1:], strict=True)
        scale_keys = [key + SCALE for key, stored in formats if stored.scaled]
        self.number_keys = [keys.get(name, name) for name in code.traced.numbers]
        self.numbers = {
            key: self._gather_numbers(key) for key in dict.fromkeys([*self.number_keys, "step"])
        }
        self.known = {
            key: [state[key] for state in self.param_states]
            for key in (*tensor_keys, *scale_keys, *self.numbers)
        }
        self.tensors = [self.known[key] for key in (*tensor_keys, *scale_keys)]
        self.layout = _Layout(params, shaped=code.traced.sizes is not None)
        self.geometry = array("q", chain.from_iterable(geometries))

    def _gather_numbers(self, key: str) -> Tensor:
        """Stack a number of all states in one tensor, and put views of it into the states."""
        stacked = torch.stack([torch.as_tensor(state.get(key, 0.0)) for state in self.param_states])
        for state, view in zip(self.param_states, stacked.unbind(), strict=True):
            state[key] = view
        return stacked

    def fits(self, states: Mapping[Tensor, dict[str, Any]]) -> bool:
        """Whether parameters, gradients and states are the same tensors, in the same layout."""
        if not all(map(is_, map(states.get, self.params), self.param_states)):
            return False
        try:
            same_state = all(
                all(map(is_, map(itemgetter(key), self.param_states), tensors))
                for key, tensors in self.known.items()
            )
        except KeyError:
            return False
        return same_state and self.layout.is_current()

    def step(self, rule: Rule, values: StepValues) -> float:
        """Step all parameters in place.

        Returns:
            The squared norm of their updates if the spec measures it, else 0.
        """
        grads: list[Any] = list(map(_grad, self.params))
        aligned = grads
        if not (self.layout.contiguous and all(map(Tensor.is_contiguous, grads))):
            aligned = [
                g if g.stride() == p.stride() else copy_in_layout(g, p)
                for p, g in zip(self.params, grads, strict=True)
            ]
        scalars, sets = self._advance_scalars(rule, values)
        columns = (self.params, aligned, *self.tensors)
        pointers = array("q", chain.from_iterable(map(Tensor.data_ptr, one) for one in columns))
        squared_update = self.code.step(pointers, self.geometry, sets, scalars)
        if self.code.source.zero and aligned is not grads:
            for g, copy in zip(grads, aligned, strict=True):
                if copy is not g:
                    g.zero_()
        return squared_update

    def _advance_scalars(self, rule: Rule, values: StepValues) -> tuple[array, tuple[array, array]]:
        """Compute the scalars of this step, and write the states' numbers after it.

        Returns:
            One set of scalars per distinct combination of numbers; for each parameter the index of its set, and its
            seed for stochastic rounding.
        """
        steps, traced = self.numbers["step"], self.code.traced
        seeds = array("q", map(int, steps.tolist()))
        columns = [self.numbers[key] for key in self.number_keys]
        lists = [column.tolist() for column in columns]
        if all(len(set(column)) == 1 for column in lists):
            sets = [traced.scalars(rule, [column[0] for column in lists], values)]
            indices = array("q", bytes(8 * len(self.params)))
            for column, i in zip(columns, traced.new_numbers, strict=True):
                column.fill_(sets[0][i])
        else:
            rows = list(zip(*lists, strict=True))
            set_of_row = {row: i for i, row in enumerate(dict.fromkeys(rows))}
            sets = [traced.scalars(rule, list(row), values) for row in set_of_row]
            indices = array("q", map(set_of_row.__getitem__, rows))
            for column, i in zip(columns, traced.new_numbers, strict=True):
                column.copy_(torch.tensor([sets[j][i] for j in indices], dtype=torch.float64))
        if "step" not in self.number_keys:
            steps.add_(1)
        return array("d", chain.from_iterable(sets)), (indices, seeds)


class _Layout:
    """Sizes, dtypes and strides of parameters and gradients, on which compiled code relies.

    They are read by loops of C, at a tenth of the time of Python's: a step of many small tensors takes as long.
    """

    def __init__(self, params: list[Tensor], shaped: bool) -> None:
        self.params = params
        self.contiguous = all(map(Tensor.is_contiguous, params))
        self.read_sizes = Tensor.size if shaped else Tensor.numel
        self.sizes, self.numels = (
            list(map(self.read_sizes, params)),
            list(map(Tensor.numel, params)),
        )
        grads: list[Any] = list(map(_grad, params))
        self.dtypes = list(map(_dtype, params)), list(map(_dtype, grads))
        self.strides = [] if self.contiguous else list(map(Tensor.stride, params))

    def is_current(self) -> bool:
        """Whether all parameters have gradients, and all is as it was."""
        params, grads = self.params, list(map(_grad, self.params))
        if any(map(is_, grads, repeat(None))) or not all(map(_is_cpu, params)):
            return False
        if (list(map(_dtype, params)), list(map(_dtype, grads))) != self.dtypes:
            return False
        if list(map(self.read_sizes, params)) != self.sizes:
            return False
        if list(map(Tensor.numel, grads)) != self.numels:
            return False
        if set(map(_layout, grads)) != {torch.strided}:
            return False
        if self.contiguous:
            return all(map(Tensor.is_contiguous, params))
        return list(map(Tensor.stride, params)) == self.strides


def layout_of(params: list[Tensor]) -> list[Any]:
    """What decides whether code can be generated for parameters, besides their states."""
    grads: list[Any] = [p.grad for p in params]
    return [
        (p.device, p.dtype, p.shape, p.stride(), g.dtype, g.layout)
        for p, g in zip(params, grads, strict=True)
        if g is not None
    ]


def multi_tensor_steps(
    spec: StepSpec,
    params: Sequence[Tensor],
    states: Mapping[Tensor, dict[str, Any]],
    keys: Mapping[str, str] = STATE,
) -> tuple[list[MultiTensorStep], list[Tensor]]:
    """Group parameters by the code that steps them.

    Args:
        spec: what the step does.
        params: parameters with gradients.
        states: torch's state of each; filled here.
        keys: torch's state keys for the fields of the rule's state, if they differ.

    Returns:
        One MultiTensorStep per code, and the parameters for which no code can be generated.

    Raises:
        NoCompiler: this machine cannot compile.
    """
    by_code: dict[Any, list[tuple[CompiledStep, Tensor, list[int]]]] = {}
    uncompiled = []
    for p in params:
        found = _code_for(spec, p, states[p], keys) if _is_ordinary(p) else None
        if found is None:
            uncompiled.append(p)
            continue
        code, geometry = found
        number_keys = (keys.get(name, name) for name in code.traced.numbers)
        dtypes = (torch.as_tensor(states[p][key]).dtype for key in number_keys)
        by_code.setdefault((code.key, *dtypes), []).append((code, p, geometry))
    steps = []
    for group in by_code.values():
        (code, *_), members, geometries = (list(column) for column in zip(*group, strict=True))
        steps.append(MultiTensorStep(code, members, geometries, states, keys))
    return steps, uncompiled


def _is_ordinary(p: Tensor) -> bool:
    """Whether p and its gradient are dense CPU tensors in memory of their own, of dtypes that C
    has.
    """
    g = p.grad
    plain = type(p) in PLAIN_TYPES and p.device.type == "cpu" and p.dtype in C_TYPES
    if not plain or p.numel() == 0 or g is None:
        return False
    return g.layout is torch.strided and g.dtype in C_TYPES and is_dense(p)


def _code_for(
    spec: StepSpec, p: Tensor, param_state: dict[str, Any], keys: Mapping[str, str]
) -> tuple[CompiledStep, list[int]] | None:
    """The compiled code for p, whose state is filled and laid out as p, and how it goes over p.

    Returns:
        None if there can be no code.
    """
    extra = spec.extra_fields(p)
    traced = trace_step(spec, torch.float32, extra, p.shape)
    if traced is None or not all(map(has_expression, traced.graph.graph.nodes)):
        return None
    fill_state(spec, p, param_state, keys)
    align_state(param_state, p)
    tensors = [param_state[keys.get(name, name)] for name in traced.tensors]
    if not _are_laid_out(p, tensors, traced):
        return None
    formats = [spec.weight_format(p)]
    for name, value in zip(traced.tensors, tensors, strict=True):
        stored = spec.state_format(p, name, value)
        formats.append(stored if stored.dtype == value.dtype else Format(value.dtype))
    if any(isinstance(stored, Dynamic) for stored in formats):
        return None  # its codes are looked up in a table
    if any(stored.scaled for stored in formats) and not p.is_contiguous():
        return None  # blocks follow the order of indices, not of addresses
    floating = [value for value in tensors if value.is_floating_point()]
    dtype = torch.promote_types(promoted_dtype(p, *floating), torch.float32)
    traced = trace_step(spec, dtype, extra, p.shape)
    code = compile_step(traced, tuple(formats), p.grad.dtype, spec.zero)  # type: ignore[union-attr,arg-type]
    columns = traced.sizes[2] if traced.sizes else p.numel()  # type: ignore[union-attr]
    line = row_length(p.shape) if code.source.blocks else columns
    if columns % line:
        return None  # blocks start again within a row, in other places
    return code, code.source.geometry(p.numel(), line, traced.sizes)  # type: ignore[union-attr]


def _are_laid_out(p: Tensor, tensors: list[Tensor], traced: TracedStep) -> bool:
    """Whether the code can go over p and its state, which are of dtypes that C has."""
    if any(value.dtype not in C_TYPES for value in tensors):
        return False
    if traced.sizes is None:
        return all(value.shape == p.shape for value in tensors)
    return p.is_contiguous() and all(map(Tensor.is_contiguous, tensors))
