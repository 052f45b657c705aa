"""Rewrite products of a shared minibatch with the weights of all replicas as one matrix product.

vmap turns x @ W_r, with one x for all replicas r, into R small products of the same x.
Concatenated, the W_r are one wide matrix, and one product of x with it is several times faster than
R small products.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

aten = torch.ops.aten


def share_inputs(graph: fx.GraphModule) -> int:
    """Rewrite, in place, every batched product with an operand that all replicas share; return the
    number of rewritten products.
    """
    rewritten = 0
    for node in list(graph.graph.nodes):
        if node.op == "call_function" and node.target is aten.bmm.default:
            left, right = (_unbatched(side) for side in node.args)
            with graph.graph.inserting_before(node):
                if left is not None:
                    product = _shared_left(graph.graph, left, node.args[1], _value(node))
                elif right is not None:
                    product = _shared_right(graph.graph, node.args[0], right, _value(node))
                else:
                    continue
            node.replace_all_uses_with(product)
            graph.graph.erase_node(node)
            rewritten += 1
    if rewritten:
        _views_become_reshapes(graph.graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return rewritten


def _views_become_reshapes(g: fx.Graph) -> None:
    """Replace views by reshapes, since the new products have other strides; a view that is written
    to is kept.
    """
    for node in g.nodes:
        if node.target is aten.view.default and not _is_written(node):
            node.target = aten.reshape.default


def _is_written(node: fx.Node) -> bool:
    """Whether an operation writes into a tensor or a view of it."""
    for user in node.users:
        schema = getattr(user.target, "_schema", None)
        if schema is not None and schema.is_mutable:
            return True
        if schema is not None and any(r.alias_info for r in schema.returns) and _is_written(user):
            return True
    return False


def _shared_left(g: fx.Graph, x: fx.Node, w: fx.Node, out: Tensor) -> fx.Node:
    """(M, K) times each of (R, K, N), as (M, K) @ (K, R N)."""
    r, m, n = out.shape
    wide = g.call_function(aten.permute.default, (w, [1, 0, 2]))
    wide = g.call_function(aten.reshape.default, (wide, [_value(x).shape[1], r * n]))
    product = g.call_function(aten.mm.default, (x, wide))
    product = g.call_function(aten.view.default, (product, [m, r, n]))
    return g.call_function(aten.permute.default, (product, [1, 0, 2]))


def _shared_right(g: fx.Graph, w: fx.Node, x: fx.Node, out: Tensor) -> fx.Node:
    """Each of (R, M, K) times (K, N), as (R M, K) @ (K, N)."""
    r, m, n = out.shape
    tall = g.call_function(aten.reshape.default, (w, [r * m, _value(x).shape[0]]))
    product = g.call_function(aten.mm.default, (tall, x))
    return g.call_function(aten.view.default, (product, [r, m, n]))


def _unbatched(node: fx.Node) -> fx.Node | None:
    """The 2-d tensor that `node` repeats for every replica, or None if it does something else."""
    while node.op == "call_function" and node.target in (aten.expand.default, aten.view.default):
        source = node.args[0]
        assert isinstance(source, fx.Node)
        if node.target is aten.expand.default and _value(source).dim() == 2:
            return source
        if tuple(_value(source).shape) != tuple(_value(node).shape):
            return None
        node = source
    return None


def _value(node: fx.Node) -> Tensor:
    """The (fake) tensor of a node when the graph was recorded."""
    return node.meta["val"]
