"""Infer on which axes of the parameter each value of a traced step depends."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten

FULL, ROW, COLUMN, BATCH, SCALAR = "full", "row", "column", "batch", "scalar"
KINDS = {  # by the number of axes of the parameter: the kind of a value, by the axes that it has
    1: {(0,): FULL, (): SCALAR},
    2: {(0, 1): FULL, (0,): ROW, (1,): COLUMN, (): SCALAR},
    3: {(0, 1, 2): FULL, (0, 1): ROW, (0, 2): COLUMN, (0,): BATCH, (): SCALAR},
}

SAME_ELEMENTS = {  # operations whose result has the elements of their argument, in another shape
    aten.view.default,
    aten._unsafe_view.default,
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
}
DIM_REDUCTIONS = {aten.mean.dim, aten.sum.dim_IntList}
REDUCTIONS = {aten.mean.default, aten.sum.default, *DIM_REDUCTIONS}


class UnknownAxes(Exception):
    """The step depends on shapes in a way that no loops over rows and columns have."""


class _Axis:
    """An axis of the parameter, or of a state before it is known which one that is.

    A known axis may be split into an outer and an inner part; an unknown one becomes what it is combined with.
    """

    def __init__(self, size: int, known: bool) -> None:
        self.size, self.known = size, known
        self.parts: tuple[_Axis, ...] | None = None

    def leaves(self) -> tuple[_Axis, ...]:
        return (self,) if self.parts is None else _leaves(self.parts)

    def split(self, inner: int) -> None:
        if self.size % inner:
            raise UnknownAxes
        self.parts = _Axis(self.size // inner, self.known), _Axis(inner, self.known)


Dim = tuple[_Axis, ...]  # the axes that one dimension of a value goes through; () if its size is 1


def _leaves(axes: Any) -> Dim:
    return tuple(leaf for axis in axes for leaf in axis.leaves())


def infer_kinds(
    graph: fx.Graph, inputs: list[fx.Node]
) -> tuple[dict[fx.Node, str], tuple[int, ...]]:
    """The kind of every value of a traced step, and the sizes of the parameter's axes.

    The parameter is seen as a batch of matrices: a value is of the kind "full" if it has an element per element,
    "row" or "column" if it has one per row or column of each matrix, "batch" if it has one per matrix, else "scalar".

    Args:
        graph: the step, traced for a parameter of this shape.
        inputs: its inputs that are tensors: the parameter, the gradient, and others, whose axes follow from the values
            that they are combined with.

    Returns:
        The kinds, and the number of matrices, of rows and of columns.

    Raises:
        UnknownAxes: if the values do not all have such a kind.
    """
    dims: dict[fx.Node, list[Dim]] = {}
    x_axes = [_Axis(size, True) for size in _shape(inputs[0]) if size > 1]
    for node in graph.nodes:
        if node.op == "placeholder":
            dims[node] = _input_dims(node, inputs, x_axes)
        elif node.op == "call_function":
            dims[node] = _result_dims(node, dims)
        elif node.op != "output":
            raise UnknownAxes  # a tensor of the rule's own
    leaves = _leaves(x_axes)
    places = {node: _places(value, leaves) for node, value in dims.items()}
    groups = _merge(len(leaves), set(places.values()))
    if not 1 <= len(groups) <= 3:
        raise UnknownAxes
    kinds = {node: _kind(axes, groups) for node, axes in places.items()}
    sizes = [prod(leaves[i].size for i in group) for group in groups]
    return kinds, (*[1] * (3 - len(sizes)), *sizes)


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta["val"] if "val" in node.meta else node.meta["tensor_meta"]
    return tuple(value.shape)


def _input_dims(node: fx.Node, inputs: list[fx.Node], x_axes: list[_Axis]) -> list[Dim]:
    shape = _shape(node)
    if node not in inputs[:2]:
        return [(_Axis(size, False),) if size > 1 else () for size in shape]
    axes = iter(x_axes)
    return [(next(axes),) if size > 1 else () for size in shape]


def _result_dims(node: fx.Node, dims: dict[fx.Node, list[Dim]]) -> list[Dim]:
    if node.target in SAME_ELEMENTS:
        return _reshape(dims[node.args[0]], _shape(node))  # type: ignore[index]
    if node.target in REDUCTIONS:
        return _reduce(node, dims[node.args[0]])  # type: ignore[index]
    if torch.Tag.pointwise in node.target.tags or node.target in (  # type: ignore[union-attr]
        aten._to_copy.default,
        aten.clone.default,
    ):
        return _broadcast([dims[argument] for argument in node.all_input_nodes])
    raise UnknownAxes


def _reduce(node: fx.Node, dims: list[Dim]) -> list[Dim]:
    if node.target not in DIM_REDUCTIONS:
        return []
    over: Any = node.args[1]
    reduced = {dim % len(dims) for dim in ([over] if isinstance(over, int) else over)}
    keep = (len(node.args) > 2 and node.args[2]) or node.kwargs.get("keepdim")
    result = [() if i in reduced else dim for i, dim in enumerate(dims)]
    return result if keep else [dim for i, dim in enumerate(result) if i not in reduced]


def _reshape(dims: list[Dim], shape: tuple[int, ...]) -> list[Dim]:
    """The axes of each dimension of another shape with the same elements in the same order."""
    axes = list(_leaves(axis for dim in dims for axis in dim))
    result: list[Dim] = []
    for size in reversed(shape):
        dim: list[_Axis] = []
        while (left := size // prod(axis.size for axis in dim)) > 1:
            if not axes:
                raise UnknownAxes
            axis = axes.pop()
            if axis.size > left:
                axis.split(left)
                outer, axis = axis.leaves()
                axes.append(outer)
            dim.insert(0, axis)
        if prod(axis.size for axis in dim) != size:
            raise UnknownAxes
        result.insert(0, tuple(dim))
    if axes:
        raise UnknownAxes
    return result


def _broadcast(values: list[list[Dim]]) -> list[Dim]:
    width = max(map(len, values), default=0)
    padded = [[()] * (width - len(value)) + value for value in values]
    return [_unify(dims) for dims in zip(*padded, strict=True)]


def _unify(dims: tuple[Dim, ...]) -> Dim:
    """The axes of a dimension that values have in common; unknown ones become the others'."""
    result: Dim = ()
    for dim in map(_leaves, dims):
        if not result or not dim:
            result = result or dim
        elif result != dim:
            result = _bind(result, dim)
    return result


def _bind(a: Dim, b: Dim) -> Dim:
    unknown, other = (a, b) if not any(axis.known for axis in a) else (b, a)
    if any(axis.known for axis in unknown) or len(unknown) != 1 or unknown[0] in other:
        raise UnknownAxes
    if unknown[0].size != prod(axis.size for axis in other):
        raise UnknownAxes
    unknown[0].parts = other
    return _leaves(other)


def _places(dims: list[Dim], leaves: Dim) -> tuple[int, ...]:
    """The indices of a value's axes among the parameter's, which must be in their order."""
    axes = _leaves(axis for dim in dims for axis in dim)
    if any(axis not in leaves for axis in axes):
        raise UnknownAxes
    places = tuple(map(leaves.index, axes))
    if places != tuple(sorted(set(places))):
        raise UnknownAxes
    return places


def _merge(count: int, values: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Neighboring axes that every value has both or neither of, as groups."""
    groups: list[tuple[int, ...]] = []
    for i in range(count):
        together = groups and all((i in value) == (i - 1 in value) for value in values)
        groups[-1:] = [(*groups[-1], i)] if together else [*groups[-1:], (i,)]
    return groups


def _kind(axes: tuple[int, ...], groups: list[tuple[int, ...]]) -> str:
    present = tuple(i for i, group in enumerate(groups) if group[0] in axes)
    try:
        return KINDS[len(groups)][present]
    except KeyError:
        raise UnknownAxes from None


def mark_kinds(graph: fx.Graph) -> None:
    """Mark the values of a step that is valid for every shape: those with elements, and numbers."""
    for node in graph.nodes:
        if node.op in ("placeholder", "call_function"):
            node.meta["kind"] = FULL if _shape(node) else SCALAR


def mark_kinds_of_shape(graph: fx.Graph, inputs: list[fx.Node]) -> tuple[int, ...]:
    """Mark the values of a step of one shape, and remove the operations that only change shapes.

    Returns:
        The number of matrices, of rows and of columns.

    Raises:
        UnknownAxes: if the values do not all have a kind.
    """
    kinds, sizes = infer_kinds(graph, inputs)
    for node, kind in kinds.items():
        node.meta["kind"] = kind
    for node in list(kinds):
        # a mean over dimensions of one element is that element
        same = node.target in REDUCTIONS and kinds[node] == kinds[node.args[0]]  # type: ignore[index]
        if node.target in SAME_ELEMENTS or same:
            node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
            graph.erase_node(node)
    _check(graph, inputs)
    return sizes


def _check(graph: fx.Graph, inputs: list[fx.Node]) -> None:
    """Raise UnknownAxes unless the passes of plan.py can compute the step."""
    *nodes, output = graph.nodes
    for old, new in zip([inputs[0], *inputs[2:]], output.args[0], strict=False):
        moved = new.op == "placeholder" and new is not old and old.meta["kind"] != FULL
        if new.meta["kind"] != old.meta["kind"] or moved:
            raise UnknownAxes
    for node in nodes:
        is_sum = node.target in REDUCTIONS
        if is_sum and (node.args[0].meta["kind"], node.meta["kind"]) == (FULL, BATCH):  # type: ignore[union-attr]
            raise UnknownAxes
