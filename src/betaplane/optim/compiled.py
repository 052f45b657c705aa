"""A rule's step as machine code that goes over memory once, whatever the shape of the parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.optim.hoist import hoist
from betaplane.optim.layout import align, dense, like
from betaplane.rules import Rule

SAMPLE = 12  # numbers in the tensors a step is recorded on; the recording holds for any size


@dataclass(frozen=True)
class Kernel:
    """A rule's step for tensors of certain types.

    `scalars` computes, from the state's numbers (step count) and lr, all that is the same for every element; `sweep`
    takes them and writes x and the state's tensors in place.
    """

    tensors: tuple[str, ...]  # fields of the rule's state that are like x
    numbers: tuple[str, ...]  # fields that are single numbers
    scalars: Callable[..., list[Tensor]]
    news: tuple[int, ...]  # of each of `numbers`, where among the scalars its new value is
    sweep: Callable[..., Any]


@cache
def state_kinds(rule: Rule) -> dict[str, bool]:
    """The fields of a rule's state; True for those like x, False for single numbers."""
    fresh = rule.init(torch.zeros(SAMPLE))
    return {name: value.dim() > 0 for name, value in zip(fresh._fields, fresh, strict=True)}


@cache
def kernel(rule: Rule, types: tuple[torch.dtype, ...], maximize: bool) -> Kernel | None:
    """The kernel of a rule, or None where its step depends on the parameter's shape.

    Args:
        rule: with plain numbers as hyperparameters, which become part of the code.
        types: of x, of g, and of the state's tensors.
        maximize: step up instead of down.
    """
    x, g = (torch.zeros(SAMPLE, dtype=dtype) for dtype in types[:2])
    fresh = rule.init(x)
    tensors = tuple(name for name, like_x in state_kinds(rule).items() if like_x)
    numbers = tuple(name for name in fresh._fields if name not in tensors)
    held = [getattr(fresh, name).to(dtype) for name, dtype in zip(tensors, types[2:], strict=True)]
    single = [getattr(fresh, name) for name in numbers]
    wide = reduce(torch.promote_types, types[2:], types[0])

    def step(x: Tensor, g: Tensor, *rest: Tensor) -> list[Tensor]:
        *state, lr = rest
        named = dict(zip((*tensors, *numbers), state, strict=True))
        s = type(fresh)(**{name: value.to(wide) if value.dim() else value for name, value in named.items()})
        moved, new = rule.step(x.to(wide), (-g if maximize else g).to(wide), s, lr)
        return [moved.to(x.dtype), *(getattr(new, name).to(value.dtype) for name, value in named.items())]

    inputs = [x, g, *held, *single, torch.zeros((), dtype=torch.float64)]
    graph = make_fx(step, tracing_mode="fake")(*inputs)
    larger = [torch.cat([value, value]) if value.dim() else value for value in inputs]
    same = graph.code == make_fx(step, tracing_mode="fake")(*larger).code  # no size has become a number in it
    once = hoist(graph, set(range(2 + len(held), len(inputs))))
    if not (same and all(_any_size(node) for node in graph.graph.nodes) and _shapeless(rule)):
        return None
    return _built(graph, once, tensors, numbers, len(inputs))


def _built(graph: fx.GraphModule, once: fx.GraphModule, tensors: tuple, numbers: tuple, inputs: int) -> Kernel:
    """Make the recording write its results into x and the state's tensors."""
    nodes = list(graph.graph.nodes)
    places, end = [node for node in nodes if node.op == "placeholder"], nodes[-1]
    outs = end.args[0]
    homes = [places[0], *places[2 : 2 + len(tensors)]]
    with graph.graph.inserting_before(end):
        for home, new in zip(homes, outs[: len(homes)], strict=True):
            graph.graph.call_function(torch.ops.aten.copy_.default, (home, new))
    news = tuple(places.index(out) - inputs for out in outs[len(homes) :])
    end.args = ([],)
    graph.recompile()
    return Kernel(tensors, numbers, once.forward, news, torch.compile(graph, dynamic=True, fullgraph=True))


def _any_size(node: fx.Node) -> bool:
    """Whether an operation is pointwise, only about types, or a mean or sum over everything."""
    if node.op != "call_function":
        return True
    aten = torch.ops.aten
    plain = (aten._to_copy.default, aten.clone.default, aten.mean.default, aten.sum.default)
    return torch.Tag.pointwise in getattr(node.target, "tags", ()) or node.target in plain


def _shapeless(rule: Rule) -> bool:
    """Whether a matrix takes the same steps as its numbers in a row."""
    generator = torch.Generator().manual_seed(0)
    x, *gradients = torch.randn(4, 3, 4, dtype=torch.float64, generator=generator)
    row, s, t = x.flatten(), rule.init(x), rule.init(x.flatten())
    for g in gradients:
        x, s = rule.step(x, g, s, 0.1)
        row, t = rule.step(row, g.flatten(), t, 0.1)
    return torch.allclose(x.flatten(), row, rtol=1e-9, atol=1e-12)


class Sweeper:
    """Steps parameters with their kernel; the scalars of equal step counts are computed once."""

    def __init__(self) -> None:
        self._known: tuple[Any, list[Tensor]] | None = None

    def step(
        self, found: Kernel, p: Tensor, g: Tensor, held: dict[str, Any], lr: Any, words: Mapping[str, str]
    ) -> None:
        """One step of p, in place; `held` is its state under torch's names, complete and laid out as p."""
        numbers = [held[words.get(name, name)] for name in found.numbers]
        key = (id(found), *(float(value) for value in numbers), float(lr))
        if self._known is None or self._known[0] != key:
            given = [*(value.clone() for value in numbers), torch.as_tensor(lr, dtype=torch.float64)]
            blank = [torch.empty(0)] * (2 + len(found.tensors))
            self._known = key, [*given, *found.scalars(*blank, *given)]
        same = self._known[1]
        state = [flat(held[words.get(name, name)]) for name in found.tensors]
        found.sweep(flat(p), flat(g), *state, *same)
        for value, place in zip(numbers, found.news, strict=True):
            value.copy_(same[len(numbers) + 1 + place])


def flat(x: Tensor) -> Tensor:
    """A dense tensor's numbers in the order they lie in memory."""
    return x.view(-1) if x.is_contiguous() else torch.as_strided(x, (x.numel(),), (1,))


def laid_out(p: Tensor, held: dict[str, Any]) -> Tensor | None:
    """The gradient of p laid out as p, and its state too; None where p is a view with gaps."""
    g = p.grad
    if g is None or not dense(p):
        return None
    align(held, p)
    return g if g.stride() == p.stride() else like(g, p)
