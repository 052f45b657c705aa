"""Plan the passes over memory of a traced step, and what is computed between them."""

from __future__ import annotations

from torch import fx

from betaplane.optim.codegen.axes import BATCH, COLUMN, FULL, REDUCTIONS, ROW, SCALAR
from betaplane.optim.codegen.trace import TracedStep

Loop = tuple[int, int, str]  # pass before which it runs, its turn, kind of its values


def kind_of(node: fx.Node) -> str:
    """The kind of a value, see axes.py."""
    return node.meta["kind"]


class Plan:
    """The passes of a traced step, their sums, and the values that are stored between them.

    A pass is a loop over all elements. Pass k computes the sums that pass k + 1 needs, and the last pass stores the
    results. Values of rows, columns, matrices and the whole tensor are computed before pass k, in loops of their own:
    those of one kind together, after the sums and means of such values that they need.
    """

    def __init__(self, traced: TracedStep) -> None:
        nodes = list(traced.graph.graph.nodes)
        placeholders = [node for node in nodes if node.op == "placeholder"]
        count = len(traced.tensors)
        self.inputs = placeholders[: 2 + count]  # x, g, tensors
        self.hoisted = {node: i for i, node in enumerate(placeholders[2 + count :])}
        outputs = nodes[-1].args[0]
        self.outputs: list[fx.Node] = list(outputs[: 1 + count])
        self.measured = list(outputs[1 + count : len(outputs) - len(traced.numbers)])
        self.calls = [node for node in nodes if node.op == "call_function"]
        self.level = self._levels(placeholders)
        self.last = max(self.level[node] for node in self.outputs)
        self.loop = self._loops()
        self.stored = self._places([node for node in self.loop if self._is_stored(node)])
        self.sum_place = self._places([n for k in range(self.last + 1) for n in self.sums(k)])

    def _levels(self, placeholders: list[fx.Node]) -> dict[fx.Node, int]:
        """How many passes over memory come before a value is known."""
        level = dict.fromkeys(placeholders, 0)
        for node in self.calls:
            before = max((level[n] for n in node.all_input_nodes), default=0)
            level[node] = before + is_full_sum(node)
        return level

    def _loops(self) -> dict[fx.Node, Loop]:
        """The loop in which each value that is not of single elements is computed."""
        loop: dict[fx.Node, Loop] = {}
        for node in (*self.inputs, *self.calls):
            if kind_of(node) == FULL or self.level[node] > self.last:
                continue
            level, turn = self.level[node], 0
            if not is_full_sum(node):
                known = [loop[n] for n in node.all_input_nodes if n in loop]
                turn = max((after for at, after, _ in known if at == level), default=0)
                turn += node.target in REDUCTIONS
            loop[node] = level, turn, kind_of(node)
        return loop

    def _is_stored(self, node: fx.Node) -> bool:
        """Whether a value is needed outside of the loop that computes it."""
        reduces = node.target in REDUCTIONS and not is_full_sum(node)
        others = any(self.loop.get(user) != self.loop[node] for user in node.users)
        reduced = any(user.target in REDUCTIONS for user in node.users)
        return reduces or others or reduced or node in self.outputs

    def _places(self, nodes: list[fx.Node]) -> dict[fx.Node, int]:
        """The index of each value among those of its kind."""
        counts: dict[str, int] = {}
        places = {}
        for node in nodes:
            places[node] = counts.get(kind_of(node), 0)
            counts[kind_of(node)] = places[node] + 1
        return places

    def sums(self, k: int, kind: str | None = None) -> list[fx.Node]:
        """The sums of pass k: those that later passes need, and in the last pass those that are
        measured.
        """
        sums = [node for node in self.calls if is_full_sum(node)]
        return [
            node
            for node in sums
            if min(self.level[node] - 1, self.last) == k and kind in (None, kind_of(node))
        ]

    def count_stored(self, kind: str) -> int:
        """How many values of a kind are stored."""
        return sum(kind_of(node) == kind for node in self.stored)

    def count_sums(self, kind: str) -> int:
        """How many sums of a kind all passes have."""
        return sum(kind_of(node) == kind for node in self.sum_place)

    @property
    def is_shaped(self) -> bool:
        """Whether some values are those of rows, columns or matrices."""
        kinds = {kind_of(node) for node in (*self.stored, *self.sum_place)}
        return not kinds <= {SCALAR}

    def needed(self, roots: list[fx.Node]) -> set[fx.Node]:
        """The nodes from which roots are computed in one pass; values that are not of single
        elements are known.
        """
        needed: set[fx.Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack += node.all_input_nodes if kind_of(node) == FULL else []
        return needed


def is_full_sum(node: fx.Node) -> bool:
    """Whether a value is a sum or mean that a pass over all elements computes."""
    return node.target in REDUCTIONS and kind_of(node.args[0]) == FULL  # type: ignore[arg-type]


LENGTHS = {ROW: "all_rows", COLUMN: "all_columns", BATCH: "matrices"}
"""The number of values of a kind, as C has it."""


def stored_at(kind: str, place: int, index: str) -> str:
    """C for a stored value, or a sum (`row_sum`), of a kind."""
    name = kind.split("_")[0]
    if name == SCALAR:
        return f"w->{kind}[{place}]"
    return f"w->{kind}[{place} * w->{LENGTHS[name]} + {index}]"
