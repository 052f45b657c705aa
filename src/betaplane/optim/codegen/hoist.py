"""Hoist the operations that depend only on constants (hyperparameters) out of a traced step."""

from __future__ import annotations

import torch
from torch import Tensor, fx


def hoist(graph: fx.GraphModule, constant: set[int]) -> fx.GraphModule:
    """Move the operations that depend only on constant inputs into a graph of their own.

    Args:
        graph: a traced step with flat tensor inputs. It is changed in place: after its own inputs it takes the hoisted
            values, which it no longer computes.
        constant: indices of the inputs that are the same at every step.

    Returns:
        A graph from all inputs of the step to the hoisted values.
    """
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    fixed = {node for i, node in enumerate(inputs) if i in constant}
    mutated = _mutated(graph.graph)
    known: dict[tuple, fx.Node] = {}
    for node in graph.graph.nodes:
        pure = node.op == "call_function" and node not in mutated and not is_random(node)
        if pure and all(n in fixed for n in node.all_input_nodes):
            same = known.setdefault((node.target, str(node.args), str(node.kwargs)), node)
            if same is node:
                fixed.add(node)
            else:  # the same operation on the same inputs was hoisted already
                node.replace_all_uses_with(same)
    used = [
        node
        for node in fixed
        if node not in inputs and any(user not in fixed for user in node.users)
    ]
    used.sort(key=list(graph.graph.nodes).index)
    hoisted_graph = _subgraph(graph, used)
    with graph.graph.inserting_after(inputs[-1]):
        for node in reversed(used):
            hoisted = graph.graph.placeholder(f"hoisted_{node.name}")
            hoisted.meta = dict(node.meta)
            node.replace_all_uses_with(hoisted)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return hoisted_graph


def _subgraph(graph: fx.GraphModule, outputs: list[fx.Node]) -> fx.GraphModule:
    """A graph with the same inputs that computes only these outputs."""
    copied: dict[fx.Node, fx.Node] = {}
    copy = fx.Graph()
    for node in graph.graph.nodes:
        if node.op != "output":
            copied[node] = copy.node_copy(node, lambda n: copied[n])
    copy.output([copied[node] for node in outputs])
    copy.eliminate_dead_code()
    return fx.GraphModule(graph, copy)


def is_random(node: fx.Node) -> bool:
    """Whether an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _mutated(g: fx.Graph) -> set[fx.Node]:
    """The operations that write into tensors, those tensors, and all that may share their memory."""
    mutated = {n for node in g.nodes if _mutates(node) for n in (node, *node.all_input_nodes)}
    for node in reversed(g.nodes):  # from a view to its base
        if node in mutated and _views(node):
            mutated.update(node.all_input_nodes)
    for node in g.nodes:  # and to the base's other views
        if _views(node) and mutated.intersection(node.all_input_nodes):
            mutated.add(node)
    return mutated


def _views(node: fx.Node) -> bool:
    """Whether an operation's result may share memory with its arguments."""
    returns = getattr(getattr(node.target, "_schema", None), "returns", ())
    return any(value.alias_info is not None for value in returns)


def _mutates(node: fx.Node) -> bool:
    """Whether an operation writes into its arguments, as running statistics do."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def values(hoisted_graph: fx.GraphModule, inputs: list[Tensor]) -> list[Tensor]:
    """The hoisted values for these inputs."""
    with torch.no_grad():
        return list(hoisted_graph(*inputs))
