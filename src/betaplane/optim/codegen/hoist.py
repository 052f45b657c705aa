"""Compute once what does not change from step to step: everything that follows from the
hyperparameters alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx


def hoist(graph: fx.GraphModule, constant: set[int]) -> fx.GraphModule:
    """Move the operations that depend only on constant inputs into a graph of their own.

    Args:
        graph: a recorded step with flat tensor inputs; changed in place: it takes, after its own inputs, the values
            that moved out, and no longer computes them.
        constant: positions of the inputs that are the same at every step.

    Returns:
        A graph from all of the step's inputs to those values.
    """
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    fixed = {node for i, node in enumerate(inputs) if i in constant}
    touched = _touched(graph.graph)
    known: dict[tuple, fx.Node] = {}
    for node in graph.graph.nodes:
        still = node.op == "call_function" and node not in touched and not is_random(node)
        if still and all(n in fixed for n in node.all_input_nodes):
            same = known.setdefault((node.target, str(node.args), str(node.kwargs)), node)
            if same is node:
                fixed.add(node)
            else:  # computed already, for another parameter or an earlier step
                node.replace_all_uses_with(same)
    used = [
        node
        for node in fixed
        if node not in inputs and any(user not in fixed for user in node.users)
    ]
    used.sort(key=list(graph.graph.nodes).index)
    once = _only(graph, used)
    with graph.graph.inserting_after(inputs[-1]):
        for node in reversed(used):
            held = graph.graph.placeholder(f"held_{node.name}")
            held.meta = dict(node.meta)
            node.replace_all_uses_with(held)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return once


def _only(graph: fx.GraphModule, outputs: list[fx.Node]) -> fx.GraphModule:
    """A graph with the same inputs that computes just the outputs given."""
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


def _touched(g: fx.Graph) -> set[fx.Node]:
    """The operations that write into tensors, what they write into, and all that may share its
    memory.
    """
    touched = {n for node in g.nodes if _mutates(node) for n in (node, *node.all_input_nodes)}
    for node in reversed(g.nodes):  # from a view to what it is a view of
        if node in touched and _views(node):
            touched.update(node.all_input_nodes)
    for node in g.nodes:  # and to its other views
        if _views(node) and touched.intersection(node.all_input_nodes):
            touched.add(node)
    return touched


def _views(node: fx.Node) -> bool:
    """Whether an operation's result may share memory with its arguments."""
    returns = getattr(getattr(node.target, "_schema", None), "returns", ())
    return any(one.alias_info is not None for one in returns)


def _mutates(node: fx.Node) -> bool:
    """Whether an operation writes into its arguments (running statistics do)."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def values(once: fx.GraphModule, inputs: list[Tensor]) -> list[Tensor]:
    """The hoisted values for these inputs."""
    with torch.no_grad():
        return list(once(*inputs))
