"""Trace a step of one parameter as a graph of operations that is valid for every size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.optim.codegen.hoist import hoist
from betaplane.optim.once import once
from betaplane.optim.step.dependence import dependence
from betaplane.optim.step.step_spec import StepSpec, StepValues, state_fields
from betaplane.rules import Rule

TRACE_ELEMENTS = 12  # in the tensors of the traced step; the trace is valid for any number


@dataclass(frozen=True, eq=False)
class TracedStep:
    """The step of a spec, computed in one dtype.

    The graph takes x, g, the tensors and the scalars. It returns the new x, the new tensors, the squared norm of the
    update if the spec measures it, and the numbers of the rule's state after the step.
    """

    graph: fx.GraphModule
    dtype: torch.dtype  # of all elements
    tensors: tuple[str, ...]  # like x: fields of the rule's state, then the spec's extra fields
    numbers: tuple[str, ...]  # fields of the rule's state that are single numbers
    constants: tuple[str, ...]  # the rule's hyperparameters that are inputs
    hoisted: Callable[..., Any]  # from the graph's inputs to the values that all elements share
    # for each of `numbers`, the index among the scalars of its value after the step
    new_numbers: tuple[int, ...]

    def scalars(self, rule: Rule, numbers: list[Tensor], values: StepValues) -> list[Tensor]:
        """The values that all elements share, in the graph's order.

        They are float64, but the numbers of the rule's state are in `dtype`.
        """
        wide = [torch.as_tensor(value, dtype=torch.float64) for value in values]
        wide += [
            torch.as_tensor(getattr(rule, name), dtype=torch.float64) for name in self.constants
        ]
        inputs = [*(value.to(self.dtype, copy=True) for value in numbers), *wide]
        unused = [torch.empty(0)] * (2 + len(self.tensors))
        return [*inputs, *self.hoisted(*unused, *inputs)]


def trace_step(spec: StepSpec, dtype: torch.dtype, extra: tuple[str, ...]) -> TracedStep | None:
    """Trace the step of a spec, or return None if the rule's step depends on the parameter's shape.

    Specs that differ only in the values of the rule's hyperparameters share a trace. Those values are inputs, except 0
    and inf, for which rules leave operations out.

    Args:
        spec: what the step does; its storage formats do not matter here.
        dtype: of all elements, float32 or float64.
        extra: the fields of the state besides the rule's.
    """
    if any(isinstance(value, Tensor) for value in vars(spec.rule).values()):
        return None
    return _trace(structure_of(spec), dtype, extra, _constants(spec.rule))


def structure_of(spec: StepSpec) -> StepSpec:
    """The part that specs with the same trace have in common."""
    return replace(spec, rule=_neutral(spec.rule), storage="parameter", rounding="nearest")


def _constants(rule: Rule) -> tuple[str, ...]:
    return tuple(f.name for f in fields(rule) if _is_input(getattr(rule, f.name)))


def _is_input(value: object) -> bool:
    return isinstance(value, float) and value != 0 and abs(value) != float("inf")


@cache
def _defaults(rule_class: type[Rule]) -> dict[str, Any]:
    return {f.name: f.default for f in fields(rule_class)}


def _neutral(rule: Rule) -> Rule:
    """The rule with its default, or 0.5, in place of each hyperparameter that is an input."""
    defaults = _defaults(type(rule))
    values = {
        name: defaults[name] if _is_input(defaults[name]) else 0.5 for name in _constants(rule)
    }
    return replace(rule, **values)


@once
def _trace(
    spec: StepSpec, dtype: torch.dtype, extra: tuple[str, ...], constants: tuple[str, ...]
) -> TracedStep | None:
    if dependence(spec.rule) == "shape":
        return None
    state = spec.rule.init(torch.zeros(TRACE_ELEMENTS, dtype=dtype))
    like_x = tuple(name for name, is_like_x in state_fields(spec.rule).items() if is_like_x)
    numbers = tuple(name for name in state._fields if name not in like_x)
    tensors = (*like_x, *extra)
    names = _Names(tensors, numbers, StepValues._fields, constants, extra)
    step = _flat_step(spec, type(state), names)
    inputs = [torch.zeros(TRACE_ELEMENTS, dtype=dtype) for _ in ("x", "g", *tensors)]
    inputs += [getattr(state, name).clone() for name in numbers]
    inputs += [torch.ones((), dtype=torch.float64) for _ in (*StepValues._fields, *constants)]
    graph = make_fx(step, tracing_mode="fake")(*inputs)
    larger = [torch.cat([value, value]) if value.dim() else value for value in inputs]
    # the graph must not contain a size as a number
    same = graph.code == make_fx(step, tracing_mode="fake")(*larger).code
    hoisted = hoist(graph, set(range(2 + len(tensors), len(inputs))))
    if not (same and all(map(_is_any_size, graph.graph.nodes))):
        return None
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    outputs = list(graph.graph.nodes)[-1].args[0]
    last = outputs[len(outputs) - len(numbers) :]
    new_numbers = tuple(placeholders.index(node) - 2 - len(tensors) for node in last)
    return TracedStep(graph, dtype, tensors, numbers, constants, hoisted.forward, new_numbers)


class _Names(NamedTuple):
    """The names of a traced step's inputs after x and g, in their order."""

    tensors: tuple[str, ...]
    numbers: tuple[str, ...]
    values: tuple[str, ...]
    constants: tuple[str, ...]
    extra: tuple[str, ...]  # the last ones of `tensors`


def _flat_step(spec: StepSpec, state_class: Any, names: _Names) -> Callable[..., list[Tensor]]:
    """The step as a function of a flat list of tensors, which returns one."""

    def step(x: Tensor, g: Tensor, *rest: Tensor) -> list[Tensor]:
        named = dict(zip((name for part in names[:4] for name in part), rest, strict=True))
        rule = replace(spec.rule, **{name: named[name] for name in names.constants})
        s = state_class(**{name: named[name] for name in state_class._fields})
        values = StepValues(*(named[name] for name in names.values))
        extra = {name: named[name] for name in names.extra}
        stepped = replace(spec, rule=rule).apply(x, g, s, extra, values)
        new = stepped.s._asdict() | stepped.extra
        squared_update = [] if stepped.squared_update is None else [stepped.squared_update]
        tensors = [new[name] for name in names.tensors]
        return [stepped.x, *tensors, *squared_update, *(new[name] for name in names.numbers)]

    return step


def _is_any_size(node: fx.Node) -> bool:
    """Whether an operation is pointwise, only about dtypes, or a mean or sum over all elements."""
    if node.op != "call_function":
        return True
    aten = torch.ops.aten
    allowed = (aten._to_copy.default, aten.clone.default, aten.mean.default, aten.sum.default)
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) or node.target in allowed
