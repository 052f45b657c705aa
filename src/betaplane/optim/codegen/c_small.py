"""C code for the values of rows, columns, matrices and whole tensors, between two passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from betaplane.optim.codegen.axes import BATCH, COLUMN, REDUCTIONS, ROW, SCALAR
from betaplane.optim.codegen.c_expressions import EXPRESSIONS, operand
from betaplane.optim.codegen.c_formats import C_TYPES, load_expression, store_code
from betaplane.optim.codegen.plan import LENGTHS, Plan, is_full_sum, kind_of, stored_at

aten = torch.ops.aten
MEANS = (aten.mean.default, aten.mean.dim)
ALL = "(double)(w->all_rows * w->columns)"
COUNTS = {  # how many values a sum of one kind adds up, by its kind and theirs
    ("full", SCALAR): ALL,
    ("full", ROW): "w->columns",
    ("full", COLUMN): "w->rows",
    (ROW, SCALAR): "w->all_rows",
    (ROW, BATCH): "w->rows",
    (COLUMN, SCALAR): "w->all_columns",
    (COLUMN, BATCH): "w->columns",
    (BATCH, SCALAR): "w->matrices",
}
WITHIN = {ROW: "w->rows", COLUMN: "w->columns"}  # a matrix


def scalar_place(plan: Plan, node: fx.Node) -> int:
    """Where a value of the whole tensor is stored: after the sums."""
    return plan.count_sums(SCALAR) + plan.stored[node]


def small_function(plan: Plan, formats: list[Any], k: int) -> str:
    """The function that computes all that is known before pass k; empty if there is nothing."""
    lines = _Stage(plan, formats, k).lines()
    if not lines:
        return ""
    signature = "void **p, i64 count, const double *s, work *w"
    return "\n".join([f"static void small{k}({signature}) {{", *lines, "}\n"])


class _Stage:
    """The loops before pass k."""

    def __init__(self, plan: Plan, formats: list[Any], k: int) -> None:
        self.plan, self.formats, self.k = plan, formats, k
        self.nodes = [node for node, (level, _, _) in plan.loop.items() if level == k]
        self.place_of_input = {node: i for i, node in enumerate(plan.inputs)}

    def lines(self) -> list[str]:
        turns = sorted({self.plan.loop[node][1] for node in self.nodes})
        lines = []
        for turn in turns:
            nodes = [node for node in self.nodes if self.plan.loop[node][1] == turn]
            reductions = [n for n in nodes if n.target in REDUCTIONS and not is_full_sum(n)]
            for node in reductions:
                lines += self._reduction(node)
            for kind in (SCALAR, BATCH, ROW, COLUMN):
                rest = [n for n in nodes if kind_of(n) == kind and n not in reductions]
                lines += self._loop(kind, rest) if rest else []
        if self.k == self.plan.last:
            lines += self._stores()
        return lines

    def _loop(self, kind: str, nodes: list[fx.Node]) -> list[str]:
        """A loop that computes values of one kind."""
        body = []
        for node in nodes:
            real = "double" if kind == SCALAR else "real"
            body.append(f"const {real} {node.name} = {self._value(node)};")
            if node in self.plan.stored:
                body.append(f"{self._stored(node)} = {node.name};")
        outside = {n for node in nodes for n in node.all_input_nodes} - set(nodes)
        outside = (
            set() if all(map(is_full_sum, nodes)) else {n for n in outside if kind_of(n) != "full"}
        )
        places = [i for node, i in self.place_of_input.items() if node in nodes]
        return self._around(kind, self._pointers(places), sorted(outside, key=str), body)

    def _around(
        self, kind: str, before: list[str], outside: list[fx.Node], body: list[str]
    ) -> list[str]:
        """The body in a loop over the values of a kind, with the values from outside of it."""
        scalars = [n for n in outside if kind_of(n) == SCALAR]
        batch = [n for n in outside if kind_of(n) == BATCH and kind != BATCH]
        same = [n for n in outside if n not in scalars and n not in batch]
        head = [f"const double {n.name} = {self._outer(n)};" for n in scalars]
        inner = [f"const real {n.name} = {self._stored(n)};" for n in same] + body
        if kind == SCALAR:
            return ["{ const i64 i = 0; (void)i;", *before, *head, *inner, "}"]
        if kind == BATCH:
            loop = ["for (i64 i = 0; i < w->matrices; i++) {", *inner, "}"]
            return ["{", *before, *head, *loop, "}"]
        batches = [f"const real {n.name} = {self._stored(n, 'matrix')};" for n in batch]
        within = WITHIN[kind]
        return [
            "{", *before, *head,
            "for (i64 matrix = 0; matrix < w->matrices; matrix++) {", *batches,
            f"for (i64 i = matrix * {within}; i < (matrix + 1) * {within}; i++) {{", *inner,
            "}", "}", "}",
        ]  # fmt: skip

    def _outer(self, node: fx.Node) -> str:
        return outer_scalar(self.plan, node)

    def _stored(self, node: fx.Node, index: str = "i") -> str:
        if kind_of(node) == SCALAR:
            return outer_scalar(self.plan, node)
        return stored_at(kind_of(node), self.plan.stored[node], index)

    def _value(self, node: fx.Node) -> str:
        """The expression of a value: of a state, of a sum over elements, or of other values."""
        if node in self.place_of_input:
            i = self.place_of_input[node]
            return load_expression(i, self.formats[i])
        if is_full_sum(node):
            # rounded, so that it overflows where torch's does
            total = stored_at(f"{kind_of(node)}_sum", self.plan.sum_place[node], "i")
            total = total.replace("scalar_sum", "scalar")
            return f"(real){total}{_divisor(node)}"
        return EXPRESSIONS[node.target](node)

    def _reduction(self, node: fx.Node) -> list[str]:
        """A sum or mean of values that are not of single elements."""
        source: Any = node.args[0]
        kind, target = kind_of(source), kind_of(node)
        outer = "w->matrices" if target == BATCH else "1"
        inner = f"w->{LENGTHS[kind]}" if target == SCALAR else WITHIN[kind]
        value = self._stored(source, f"i * {inner} + j")
        return [
            f"for (i64 i = 0; i < {outer}; i++) {{", "double sum = 0;",
            f"for (i64 j = 0; j < {inner}; j++) sum += {value};",
            f"{self._stored(node)} = (real)sum{_divisor(node)};", "}",
        ]  # fmt: skip

    def _pointers(self, places: list[int]) -> list[str]:
        types = {i: C_TYPES[self.formats[i].dtype] for i in places}
        return [f"{c} *restrict p{i} = ({c} *)p[{i} * count];" for i, c in types.items()]

    def _stores(self) -> list[str]:
        """The loops that store the new state."""
        lines = []
        for i, node in enumerate(self.plan.outputs):
            place = i + (i > 0)
            if kind_of(self.plan.inputs[place]) == "full" or node is self.plan.inputs[place]:
                continue
            stores = store_code(i, self.formats[place], operand(node)).store
            lines += self._around(kind_of(node), self._pointers([place]), [node], stores)
        return lines


def outer_scalar(plan: Plan, node: fx.Node) -> str:
    """C for a number of the whole tensor: one that all elements share, or one that is stored."""
    if node in plan.hoisted:
        return f"s[{plan.hoisted[node]}]"
    return f"w->scalar[{scalar_place(plan, node)}]"


def _divisor(node: fx.Node) -> str:
    kinds = kind_of(node.args[0]), kind_of(node)  # type: ignore[arg-type]
    return f" / {COUNTS[kinds]}" if node.target in MEANS else ""
