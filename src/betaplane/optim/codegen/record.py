"""Record the operations of a function on meta tensors as a graph: a fast make_fx, for pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from betaplane.optim.codegen.axes import UnknownAxes


class _Recorder(TorchDispatchMode):
    """Adds each operation to a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.nodes: dict[int, fx.Node] = {}  # by the identity of the tensor
        self.tensors: list[Tensor] = []  # kept, so that identities stay unique

    def know(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta["val"] = tensor
        self.nodes[id(tensor)] = node
        self.tensors.append(tensor)

    def node_of(self, value: Any) -> Any:
        """The node of a tensor; other values as they are."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.nodes:
            raise UnknownAxes  # a tensor of the function's own
        return self.nodes[id(value)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record an operation and call it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or func._schema.is_mutable:
            raise UnknownAxes
        known_args, known_kwargs = tree_map(self.node_of, (args, kwargs))
        node = self.graph.call_function(func, known_args, known_kwargs)
        if id(result) in self.nodes:
            raise UnknownAxes
        self.know(result, node)
        return result


def record(function: Callable[..., list[Tensor]], inputs: list[Tensor]) -> fx.GraphModule:
    """The operations of a function from tensors to a list of tensors.

    Args:
        function: calls no operation that changes a tensor, and reads no value of one.
        inputs: tensors on the meta device.

    Raises:
        UnknownAxes: it uses tensors besides its inputs, or operations with several results.
    """
    recorder = _Recorder()
    for i, value in enumerate(inputs):
        recorder.know(value, recorder.graph.placeholder(f"input_{i}"))
    with recorder:
        results = function(*inputs)
    recorder.graph.output([recorder.node_of(value) for value in results])
    recorder.graph.eliminate_dead_code()
    return fx.GraphModule(torch.nn.Module(), recorder.graph)
