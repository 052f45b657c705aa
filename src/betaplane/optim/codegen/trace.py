"""Trace a step of one parameter as a graph of operations that is valid for every size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.errors import BadInput
from betaplane.optim.codegen.axes import UnknownAxes, mark_kinds, mark_kinds_of_shape
from betaplane.optim.codegen.hoist import hoist
from betaplane.optim.codegen.record import record
from betaplane.optim.codegen.scalars import scalar_function
from betaplane.optim.once import once
from betaplane.optim.step.dependence import dependence
from betaplane.optim.step.step_spec import StepSpec, StepValues
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
    tensors: tuple[str, ...]  # fields of the rule's state, then the spec's extra fields
    numbers: tuple[str, ...]  # fields of the rule's state that are single numbers
    constants: tuple[str, ...]  # the rule's hyperparameters that are inputs
    # from the graph's inputs that are numbers to the hoisted values
    hoisted: Callable[[list[float]], list[float]]
    # for each of `numbers`, the index among the scalars of its value after the step
    new_numbers: tuple[int, ...]
    # of the parameter, seen as a batch of matrices: the number of matrices, their rows and columns; None if the trace
    # is valid for every shape
    sizes: tuple[int, ...] | None
    hoisted_text: str  # what `hoisted` computes

    def scalars(self, rule: Rule, numbers: list[float], values: StepValues) -> list[float]:
        """The values that all elements share, in the graph's order.

        They are computed in float64: as floats, or by torch if that fails, as it does at a division by 0.
        """
        inputs = [*numbers, *map(float, values)]
        inputs += [float(getattr(rule, name)) for name in self.constants]
        return [*inputs, *self.hoisted(inputs)]


def trace_step(
    spec: StepSpec, dtype: torch.dtype, extra: tuple[str, ...], shape: torch.Size | None = None
) -> TracedStep | None:
    """Trace the step of a spec, or return None if it is none that loops over elements, rows and columns can take.

    Specs that differ only in the values of the rule's hyperparameters share a trace. Those values are inputs, except 0
    and inf, for which rules leave operations out. Parameters of different shapes share it as well, unless the rule's
    step depends on the shape.

    Args:
        spec: what the step does; its storage formats do not matter here.
        dtype: of all elements, float32 or float64.
        extra: the fields of the state besides the rule's.
        shape: the parameter's; None if only a trace that is valid for every shape will do.
    """
    if any(isinstance(value, Tensor) for value in vars(spec.rule).values()):
        return None
    by_shape = dependence(spec.rule) == "shape"
    if by_shape and shape is None:
        return None
    only = shape if by_shape else None
    return _trace(structure_of(spec), dtype, extra, _constants(spec.rule), only)


def can_trace(spec: StepSpec, shapes: list[torch.Size]) -> bool:
    """Whether the step of parameters of some of these shapes can be traced."""
    return any(trace_step(spec, torch.float32, (), shape) for shape in dict.fromkeys(shapes))


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
    spec: StepSpec,
    dtype: torch.dtype,
    extra: tuple[str, ...],
    constants: tuple[str, ...],
    shape: torch.Size | None,
) -> TracedStep | None:
    if shape is None:
        return _trace_any_shape(spec, dtype, extra, constants)
    size = max(shape, default=0)
    longer = torch.Size([2 * n if n == size else n for n in shape])
    try:
        (made, sizes), (other, _) = (
            _make_of_shape(spec, torch.Size(some), dtype, extra, constants)
            for some in (shape, longer)
        )
    except (UnknownAxes, BadInput, TypeError, ValueError, RuntimeError):
        return None  # the rule's own operations, on any of which tracing may fail
    # code that contains a size as a number would be compiled for every shape
    same = made.graph.code == other.graph.code and made.hoisted.code == other.hoisted.code
    return _finish(made, dtype, constants, sizes) if same else None


def _make_of_shape(
    spec: StepSpec,
    shape: torch.Size,
    dtype: torch.dtype,
    extra: tuple[str, ...],
    constants: tuple[str, ...],
) -> tuple[_Made, tuple[int, ...]]:
    """Trace the step of parameters of a shape as loops over rows and columns, of these sizes."""
    made = _make_graph(spec, torch.empty(shape, dtype=dtype, device="meta"), extra, constants)
    sizes = mark_kinds_of_shape(made.graph.graph, made.elements)
    made.graph.recompile()
    return made, sizes


def _trace_any_shape(
    spec: StepSpec, dtype: torch.dtype, extra: tuple[str, ...], constants: tuple[str, ...]
) -> TracedStep | None:
    made, larger = (
        _make_graph(spec, torch.zeros(size, dtype=dtype), extra, constants)
        for size in (TRACE_ELEMENTS, 2 * TRACE_ELEMENTS)
    )
    # the graph must not contain a size as a number
    if made.graph.code != larger.graph.code or not all(map(_is_any_size, made.graph.graph.nodes)):
        return None
    mark_kinds(made.graph.graph)
    return _finish(made, dtype, constants, None)


class _Made(NamedTuple):
    """A graph of a step, and what its inputs are."""

    graph: fx.GraphModule
    hoisted: fx.GraphModule
    tensors: tuple[str, ...]
    numbers: tuple[str, ...]

    @property
    def elements(self) -> list[fx.Node]:
        """The inputs that are tensors: x, g and the state's."""
        inputs = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        return inputs[: 2 + len(self.tensors)]


def _make_graph(
    spec: StepSpec, x: Tensor, extra: tuple[str, ...], constants: tuple[str, ...]
) -> _Made:
    """Trace the step of a parameter like x, and hoist what depends on numbers alone."""
    state = spec.rule.init(x)
    fields = state._asdict()
    own = tuple(name for name, value in fields.items() if value.dim())
    numbers = tuple(name for name in fields if name not in own)
    tensors = (*own, *extra)
    names = _Names(tensors, numbers, StepValues._fields, constants, extra)
    inputs = [torch.zeros_like(x) for _ in ("x", "g")]
    inputs += [torch.zeros_like(fields.get(name, x)) for name in tensors]
    inputs += [fields[name].clone() for name in numbers]
    count = len(StepValues._fields) + len(constants)
    inputs += [torch.ones((), dtype=torch.float64, device=x.device) for _ in range(count)]
    step = _flat_step(spec, type(state), names)
    graph = record(step, inputs) if x.is_meta else make_fx(step, tracing_mode="fake")(*inputs)
    hoisted = hoist(graph, set(range(2 + len(tensors), len(inputs))))
    return _Made(graph, hoisted, tensors, numbers)


def _finish(
    made: _Made, dtype: torch.dtype, constants: tuple[str, ...], sizes: tuple[int, ...] | None
) -> TracedStep:
    nodes, count = list(made.graph.graph.nodes), len(made.tensors)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    outputs = nodes[-1].args[0]
    last = outputs[len(outputs) - len(made.numbers) :]
    new_numbers = tuple(placeholders.index(node) - 2 - count for node in last)
    scalars = scalar_function(made.hoisted, 2 + count)
    text = made.hoisted.code
    return TracedStep(
        made.graph, dtype, made.tensors, made.numbers, constants, scalars, new_numbers, sizes, text
    )


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
