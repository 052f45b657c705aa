"""Compile a recorded step to machine code that updates the stack in place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, fx


def compile_in_place(graph: fx.GraphModule, carried: int, inputs: list[Tensor]) -> Callable:
    """Compile a step so that it writes its first `carried` outputs into its first `carried` inputs.

    In place, the tensors of a stack pass the caches once per step instead of twice. The graph goes
    directly to the back end of the compiler: it is already recorded, and checking it at every call
    would cost more than a small step.
    """
    nodes = list(graph.graph.nodes)
    targets, end = nodes[:carried], nodes[-1]
    *outputs, loss = end.args[0]
    with graph.graph.inserting_before(end):
        for target, output in zip(targets, outputs, strict=True):
            graph.graph.call_function(torch.ops.aten.copy_.default, (target, output))
    end.args = ([loss],)
    graph.recompile()
    return compile_graph(graph, inputs)


def compile_graph(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., list[Tensor]]:
    """Compile a recorded graph to machine code."""
    import torch._inductor  # takes seconds, and is only needed here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the compiler's own imports
        return cast(Callable, torch._inductor.compile(graph, list(inputs)))


def _lerp(old: Tensor, new: Tensor, weight: Tensor) -> Tensor:
    """The formula of torch.lerp, which gives the same inf and nan; the comparisons of the weight
    are hoisted out of the step.
    """
    near = weight.abs() < 0.5
    return torch.where(near, old, new) + torch.where(near, weight, weight - 1) * (new - old)


def _expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, which is the compiler's formula for expm1, but a series near 0 to keep precision.

    The series ends with x^6 / 6!. In the range in which it is used, the omitted terms are below the
    rounding of the dtype.
    """
    series = x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6)))))
    return torch.where(x.abs() < (0.01 if x.dtype == torch.float64 else 0.1), series, x.exp() - 1)


# used in the recording of a step that is compiled
DECOMPOSITIONS = {torch.ops.aten.lerp.Tensor: _lerp, torch.ops.aten.expm1.default: _expm1}
