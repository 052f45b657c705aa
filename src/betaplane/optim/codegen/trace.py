"""A pass over a parameter as a graph of operations, whatever the parameter's shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.optim.codegen.hoist import hoist
from betaplane.optim.once import once
from betaplane.optim.step.dependence import reach
from betaplane.optim.step.step_spec import StepSpec, StepValues, fields_of
from betaplane.rules import Rule

SAMPLE = 12  # numbers in the tensors a pass is recorded on; the recording holds for any size


@dataclass(frozen=True, eq=False)
class Recording:
    """A form's pass, in one type for all numbers.

    The graph takes x, g, the tensors and the scalars; it gives x', the tensors', the update's squared length where the
    form measures it, and the numbers of the rule's state after the step.
    """

    graph: fx.GraphModule
    dtype: torch.dtype  # of all numbers
    tensors: tuple[str, ...]  # like x: fields of the rule's state, then the form's extras
    numbers: tuple[str, ...]  # fields of the rule's state that are single numbers
    constants: tuple[str, ...]  # the rule's hyperparameters that are inputs
    once: Callable[..., Any]  # of the graph's own inputs, what else is the same for every element
    # of each of `numbers`, where among the scalars its value after the step is
    news: tuple[int, ...]

    def scalars(self, rule: Rule, held: list[Tensor], numbers: StepValues) -> list[Tensor]:
        """All that is the same for every element, in the graph's order: float64, and the rule's
        numbers in `dtype`.
        """
        wide = [torch.as_tensor(value, dtype=torch.float64) for value in numbers]
        wide += [
            torch.as_tensor(getattr(rule, name), dtype=torch.float64) for name in self.constants
        ]
        given = [*(value.to(self.dtype, copy=True) for value in held), *wide]
        blank = [torch.empty(0)] * (2 + len(self.tensors))
        return [*given, *self.once(*blank, *given)]


def record(form: StepSpec, dtype: torch.dtype, extras: tuple[str, ...]) -> Recording | None:
    """The recording of a form for one type, or None where the rule's step depends on the
    parameter's shape.

    Forms that differ only in the values of the rule's hyperparameters share it: those are inputs, save 0 and inf, for
    which rules leave out operations.

    Args:
        form: what is done; its formats do not matter here.
        dtype: of all numbers, float32 or float64.
        extras: the state beside the rule's.
    """
    if any(isinstance(value, Tensor) for value in vars(form.rule).values()):
        return None
    return _recorded(kind(form), dtype, extras, _constants(form.rule))


def kind(form: StepSpec) -> StepSpec:
    """What is the same for all forms that share their recordings."""
    return replace(form, rule=_neutral(form.rule), storage="parameter", rounding="nearest")


def _constants(rule: Rule) -> tuple[str, ...]:
    return tuple(f.name for f in fields(rule) if _is_input(getattr(rule, f.name)))


def _is_input(value: object) -> bool:
    return isinstance(value, float) and value != 0 and abs(value) != float("inf")


@cache
def _names(kind: type[Rule]) -> dict[str, Any]:
    return {f.name: f.default for f in fields(kind)}


def _neutral(rule: Rule) -> Rule:
    """The rule with one value for all values of its constants that are treated alike."""
    usual, names = _names(type(rule)), _constants(rule)
    return replace(rule, **{name: usual[name] if _is_input(usual[name]) else 0.5 for name in names})


@once
def _recorded(
    form: StepSpec, dtype: torch.dtype, extras: tuple[str, ...], constants: tuple[str, ...]
) -> Recording | None:
    if reach(form.rule) == "shape":
        return None
    x, g = torch.zeros(SAMPLE, dtype=dtype), torch.zeros(SAMPLE, dtype=dtype)
    fresh = form.rule.init(x)
    own = tuple(name for name, like_x in fields_of(form.rule).items() if like_x)
    numbers = tuple(name for name in fresh._fields if name not in own)
    tensors = (*own, *extras)
    like_x = [torch.zeros(SAMPLE, dtype=dtype) for _ in tensors]
    single = [getattr(fresh, name).clone() for name in numbers]
    wide = [torch.ones((), dtype=torch.float64) for _ in (*StepValues._fields, *constants)]

    def step(x: Tensor, g: Tensor, *rest: Tensor) -> list[Tensor]:
        named = dict(zip((*tensors, *numbers, *StepValues._fields, *constants), rest, strict=True))
        rule = replace(form.rule, **{name: named[name] for name in constants})
        s = type(fresh)(**{name: named[name] for name in fresh._fields})
        given = StepValues(*(named[name] for name in StepValues._fields))
        done = replace(form, rule=rule).whole(
            x, g, s, {name: named[name] for name in extras}, given
        )
        moved = [] if done.moved is None else [done.moved]
        new = [getattr(done.s, name) for name in own] + [done.extra[name] for name in extras]
        return [done.x, *new, *moved, *(getattr(done.s, name) for name in numbers)]

    inputs = [x, g, *like_x, *single, *wide]
    graph = make_fx(step, tracing_mode="fake")(*inputs)
    larger = [torch.cat([value, value]) if value.dim() else value for value in inputs]
    # no size has become a number in it
    same = graph.code == make_fx(step, tracing_mode="fake")(*larger).code
    once = hoist(graph, set(range(2 + len(like_x), len(inputs))))
    if not (same and all(map(_any_size, graph.graph.nodes))):
        return None
    places = [node for node in graph.graph.nodes if node.op == "placeholder"]
    outs = list(graph.graph.nodes)[-1].args[0]
    news = tuple(places.index(out) - 2 - len(tensors) for out in outs[len(outs) - len(numbers) :])
    return Recording(graph, dtype, tensors, numbers, constants, once.forward, news)


def _any_size(node: fx.Node) -> bool:
    """Whether an operation is pointwise, only about types, or a mean or sum over everything."""
    if node.op != "call_function":
        return True
    aten = torch.ops.aten
    plain = (aten._to_copy.default, aten.clone.default, aten.mean.default, aten.sum.default)
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) or node.target in plain
