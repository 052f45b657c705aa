"""Evaluate the numbers that all elements of a step share, as Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
Numbers = Callable[[list[float]], list[float]]


def _clamp(x: float, low: float | None = None, high: float | None = None, **names: Any) -> float:
    low, high = names.get("min", low), names.get("max", high)
    if low is not None:
        x = low if x < low else x
    return x if high is None or not x > high else high


FUNCTIONS: dict[Any, Callable[..., Any]] = {  # errors and nan are left to torch
    aten.add.Tensor: lambda a, b, alpha=1: a + alpha * b,
    aten.sub.Tensor: lambda a, b, alpha=1: a - alpha * b,
    aten.rsub.Scalar: lambda a, b: b - a,
    aten.mul.Tensor: lambda a, b: a * b,
    aten.div.Tensor: lambda a, b: a / b,
    aten.neg.default: lambda a: -a,
    aten.reciprocal.default: lambda a: 1 / a,
    aten.rsqrt.default: lambda a: 1 / math.sqrt(a),
    aten.sqrt.default: math.sqrt,
    aten.log.default: math.log,
    aten.expm1.default: math.expm1,
    aten.exp.default: math.exp,
    aten.pow.Tensor_Scalar: math.pow,
    aten.pow.Tensor_Tensor: math.pow,
    aten.pow.Scalar: math.pow,
    aten.minimum.default: min,
    aten.maximum.default: max,
    aten.clamp.default: _clamp,
    aten.lerp.Tensor: lambda a, b, w: a + w * (b - a),
    aten.lerp.Scalar: lambda a, b, w: a + w * (b - a),
    aten.where.self: lambda condition, a, b: a if condition else b,
    aten.eq.Scalar: lambda a, b: a == b,
    aten.gt.Scalar: lambda a, b: a > b,
    aten._to_copy.default: lambda a, **_: a,
    aten.scalar_tensor.default: lambda a, **_: a,
    aten.ones_like.default: lambda _, **__: 1.0,
}


def scalar_function(hoisted: fx.GraphModule, tensors: int) -> Numbers:
    """The hoisted values of a step as a function of the inputs that are numbers.

    A graph of a few operations on numbers takes torch 100 times as long as Python. Python raises an error if a result
    is not finite; torch then computes all values.

    Args:
        hoisted: the graph, from all inputs of the step.
        tensors: how many of the inputs, the first ones, are tensors.
    """
    unused = [torch.empty(0)] * tensors

    def by_torch(numbers: list[float]) -> list[float]:
        inputs = [torch.tensor(number, dtype=torch.float64) for number in numbers]
        return [float(value) for value in hoisted(*unused, *inputs)]

    calls = [node for node in hoisted.graph.nodes if node.op == "call_function"]
    known = all(node.op != "get_attr" for node in hoisted.graph.nodes)
    if not known or any(node.target not in FUNCTIONS for node in calls):
        return by_torch
    by_python = _python(hoisted.graph, tensors)

    def either(numbers: list[float]) -> list[float]:
        try:
            values = by_python(*numbers)
        except (ArithmeticError, ValueError):
            return by_torch(numbers)
        return values if all(map(math.isfinite, values)) else by_torch(numbers)

    return either


def _python(graph: fx.Graph, tensors: int) -> Callable[..., list[float]]:
    """A Python function with the operations of a graph."""
    nodes = list(graph.nodes)
    inputs = [node.name for node in nodes if node.op == "placeholder"][tensors:]
    names: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
    lines = [f"def function({', '.join(inputs)}):"]
    for i, node in enumerate(node for node in nodes if node.op == "call_function"):
        names[f"call_{i}"] = FUNCTIONS[node.target]
        kept = {k: v for k, v in node.kwargs.items() if isinstance(v, int | float | fx.Node)}
        arguments = [str(argument) for argument in node.args]
        arguments += [f"{name}={value}" for name, value in kept.items()]
        lines.append(f"    {node.name} = call_{i}({', '.join(arguments)})")
    lines.append(f"    return [{', '.join(str(value) for value in nodes[-1].args[0])}]")
    exec("\n".join(lines), names)  # text of our own: names of nodes and numbers
    return names["function"]
