"""C source of a traced step: one loop over memory, and one before it for each mean over the whole
tensor.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx

from betaplane.optim.blocks import BLOCK
from betaplane.optim.codegen.c_expressions import EXPRESSIONS, REDUCTIONS, is_scalar, operand
from betaplane.optim.codegen.c_formats import (
    C_TYPES,
    golden_table,
    load_expression,
    seed_lines,
    store_code,
)
from betaplane.optim.codegen.trace import TracedStep
from betaplane.optim.storage_formats import Companded, Format, StochasticBFloat16

LOOP_ELEMENTS = 2048  # in one call of a pass if no format has blocks
SHARED_ARGUMENTS = "const double *s, const double *red, double *acc"


class StepSource(NamedTuple):
    """C source, and what its caller has to know."""

    text: str
    sums: int  # over each tensor
    blocks: bool  # whether it goes by blocks, which start again with every row
    zero: bool  # whether the gradient is set to zero
    norm_sum: int | None  # which of the sums is the squared norm of the update


@cache
def c_template(name: str) -> str:
    """One of the sources in the folder c."""
    return (Path(__file__).parent / "c" / f"{name}.c").read_text()


def fill_template(text: str, **values: int | str) -> str:
    """Replace whole words of a source by values."""
    for word, value in values.items():
        text = re.sub(rf"\b{word}\b", str(value), text)
    return text


def step_source(
    traced: TracedStep, formats: tuple[Format, ...], g: torch.dtype, zero: bool
) -> StepSource:
    """The C source of `step`, which takes a traced step on a list of tensors.

    Args:
        traced: the step.
        formats: the storage formats of x and of the traced step's tensors.
        g: the gradient's dtype.
        zero: whether the gradient is set to zero.
    """
    writer = _Writer(traced, formats, g, zero)
    sums = writer.all_sums()
    norm_sum = sums.index(writer.measured[0]) if writer.measured else None
    return StepSource(writer.text(), len(sums), writer.blocks, zero, norm_sum)


class _Writer:
    """Writes the C source of a traced step, pass by pass.

    A pass is a loop over memory. Pass k computes the sums that pass k + 1 needs, and the last pass stores the results.
    """

    def __init__(self, traced: TracedStep, formats: tuple[Format, ...], g: Any, zero: bool):
        self.dtype, self.formats, self.g, self.zero = traced.dtype, formats, g, zero
        nodes = list(traced.graph.graph.nodes)
        placeholders = [node for node in nodes if node.op == "placeholder"]
        count = len(traced.tensors)
        self.inputs = placeholders[: 2 + count]  # x, g, tensors
        self.scalars = {node: i for i, node in enumerate(placeholders[2 + count :])}
        outputs = nodes[-1].args[0]
        self.outputs = outputs[: 1 + count]
        self.measured = list(outputs[1 + count : len(outputs) - len(traced.numbers)])
        self.calls = [node for node in nodes if node.op == "call_function"]
        self.level = self._levels(placeholders)
        self.last = max(self.level[node] for node in self.outputs)
        self.blocks = any(isinstance(stored, Companded | StochasticBFloat16) for stored in formats)
        self.length = BLOCK if self.blocks else LOOP_ELEMENTS

    def _levels(self, placeholders: list[fx.Node]) -> dict[fx.Node, int]:
        """How many passes over memory come before a value is known."""
        level = dict.fromkeys(placeholders, 0)
        for node in self.calls:
            before = max((level[n] for n in node.all_input_nodes), default=0)
            level[node] = before + (node.target in REDUCTIONS)
        return level

    def text(self) -> str:
        """The whole source."""
        head = c_template("head").replace("ARCTAN", _arctan(self.dtype))
        suffix = "f" if self.dtype == torch.float32 else ""
        functions = {"ROOT": "sqrt", "ABS": "fabs", "SIGNED": "copysign", "FUSED": "fma"}
        typed = {word: function + suffix for word, function in functions.items()}
        real = f"typedef {C_TYPES[self.dtype]} real;"
        head = fill_template(real + golden_table() + head, **typed)
        passes = [self._pass(k) for k in range(self.last + 1)]
        return head + "\n".join(passes) + self._driver()

    def sums(self, k: int) -> list[fx.Node]:
        """The sums of pass k: those that later passes need, and in the last pass those that are
        measured.
        """
        reductions = [node for node in self.calls if node.target in REDUCTIONS]
        return [node for node in reductions if min(self.level[node] - 1, self.last) == k]

    def all_sums(self) -> list[fx.Node]:
        """The sums of all passes, in order."""
        return [node for k in range(self.last + 1) for node in self.sums(k)]

    def _needed(self, roots: list[fx.Node]) -> set[fx.Node]:
        """The nodes from which roots are computed in one pass; sums are known from the passes
        before.
        """
        needed: set[fx.Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack += [] if node.target in REDUCTIONS else node.all_input_nodes
        return needed

    def _pass(self, k: int) -> str:
        final, sums = k == self.last, self.sums(k)
        roots = [node.args[0] for node in sums] + (list(self.outputs) if final else [])
        needed = self._needed(roots)  # type: ignore[arg-type]
        clauses = "".join(f" reduction(+:acc{i})" for i in range(len(sums)))
        if final:
            scaled = [i for i, stored in enumerate(self.formats) if stored.scaled]
            clauses += "".join(f" reduction(max:top{i})" for i in scaled)
        before, after = self._before_loop(k, needed), self._after_loop(k)
        signature = "int n, i64 at, void **p, i64 count, i64 block, u32 seed"
        return "\n".join(
            [
                f"INLINE void pass{k}({signature}, {SHARED_ARGUMENTS}) {{",
                *before,
                f"#pragma omp simd{clauses}",
                "for (int i = 0; i < n; i++) {",
                *self._loop(k, needed),
                "}",
                *after,
                "}\n",
            ]
        )

    def _before_loop(self, k: int, needed: set[fx.Node]) -> list[str]:
        """Pointers, seeds, and the values that all elements share."""
        final = k == self.last
        lines = self._pointers(needed, final)
        lines += seed_lines(self.formats) if final else []
        lines += [
            f"const double {node.name} = s[{i}];"
            for node, i in self.scalars.items()
            if node in needed
        ]
        for node in self.calls:
            if node in needed and is_scalar(node):
                is_sum = node.target in REDUCTIONS
                lines.append(self._sum(node) if is_sum else self._line(node, "double"))
        lines += [f"real acc{i} = 0;" for i in range(len(self.sums(k)))]
        if final:
            lines += [line for code in self._stores() for line in code.declare]
        return lines

    def _loop(self, k: int, needed: set[fx.Node]) -> list[str]:
        """What is done for each element."""
        lines = [
            f"const real {node.name} = {load_expression(i, self._format(i))};"
            for i, node in enumerate(self.inputs)
            if node in needed
        ]
        elements = [node for node in self.calls if node in needed and not is_scalar(node)]
        lines += [self._line(node, "real") for node in elements]
        lines += [f"acc{i} += {operand(node.args[0])};" for i, node in enumerate(self.sums(k))]
        if k == self.last:
            lines += [line for code in self._stores() for line in code.store]
            lines += ["p1[i] = 0;"] if self.zero else []
        return lines

    def _after_loop(self, k: int) -> list[str]:
        """Sums and scales, and the second loop that encodes elements."""
        lines = [f"acc[{i}] += acc{i};" for i in range(len(self.sums(k)))]
        if k < self.last:
            return lines
        lines += [line for code in self._stores() for line in code.finish]
        encode = [line for code in self._stores() for line in code.encode]
        if encode:
            lines += ["#pragma omp simd", "for (int i = 0; i < n; i++) {", *encode, "}"]
        return lines

    def _pointers(self, needed: set[fx.Node], final: bool) -> list[str]:
        """Pointers to the tensors from element `at` on, and to the scale number `block`."""
        lines, next_scale = [], len(self.inputs)
        for i, node in enumerate(self.inputs):
            stored = self._format(i)
            if final or node in needed:
                c_type = C_TYPES[stored.dtype or self.dtype]
                lines.append(f"{c_type} *restrict p{i} = ({c_type} *)p[{i} * count] + at;")
                if self.blocks and i < 2:
                    lines.append(f"ahead(p{i}, n * sizeof(*p{i}));")
                if stored.scaled:
                    scales = f"(float *)p[{next_scale} * count] + block"
                    lines.append(f"float *restrict scale{i} = {scales};")
                    lines.append(f"const float unit{i} = *scale{i} * {1 / stored.largest!r}f;")
            next_scale += stored.scaled
        return lines

    def _format(self, i: int) -> Any:
        """The storage format of input i."""
        return Format(self.g) if i == 1 else self.formats[max(0, i - 1)]

    def _stores(self) -> list[Any]:
        """For x and each tensor the code that stores its new value."""
        pairs = zip(self.formats, self.outputs, strict=True)
        return [store_code(i, stored, operand(node)) for i, (stored, node) in enumerate(pairs)]

    def _sum(self, node: fx.Node) -> str:
        """A sum or mean that an earlier pass computed; rounded, so that it overflows where torch's
        does.
        """
        divisor = " / red[0]" if node.target is torch.ops.aten.mean.default else ""
        return f"const double {node.name} = (real)red[{1 + self.all_sums().index(node)}]{divisor};"

    def _line(self, node: fx.Node, real: str) -> str:
        return f"const {real} {node.name} = {EXPRESSIONS[node.target](node)};"  # type: ignore[index]

    def _driver(self) -> str:
        """The function that runs all passes over all tensors, in chunks that threads share."""
        sums = [len(self.sums(k)) for k in range(self.last + 1)]
        calls, first = [], 0
        for k, count in enumerate(sums):
            call = fill_template(c_template("pass"), passK=f"pass{k}", COUNT=count, FIRST=first)
            calls.append(call)
            first += count
        driver = c_template("driver").replace("PASSES", "".join(calls))
        blocks = max(1, 16384 // self.length)
        most = max(1, *sums)
        return fill_template(driver, LENGTH=self.length, BLOCKS=blocks, MOST=most, RED=first + 1)


def _arctan(dtype: torch.dtype) -> str:
    """C for arctan(z) / z as a polynomial in w = z^2, for |z| <= tan(pi / 8), fitted at Chebyshev's
    nodes.
    """
    degree = 7 if dtype == torch.float32 else 17
    largest_w = 0.1715728752538099  # tan(pi / 8)^2
    k = torch.arange(degree + 1, dtype=torch.float64)
    w = largest_w / 2 * (1 + torch.cos(torch.pi * (k + 0.5) / (degree + 1)))
    z = w.sqrt()
    powers = torch.stack([(w / largest_w) ** int(i) for i in k], dim=1)
    coefficients = torch.linalg.solve(powers, z.atan() / z) / largest_w**k
    *lower, highest = coefficients.tolist()
    text = f"real a = (real){highest!r};"
    return text + "".join(f" a = a * w + (real){value!r};" for value in reversed(lower))
