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
from betaplane.optim.codegen.axes import BATCH, COLUMN, FULL, ROW, SCALAR
from betaplane.optim.codegen.c_expressions import (
    arctan_polynomial,
    divisor,
    element_expression,
    operand,
)
from betaplane.optim.codegen.c_formats import (
    C_TYPES,
    golden_table,
    load_expression,
    seed_lines,
    store_code,
)
from betaplane.optim.codegen.c_small import outer_scalar, small_function
from betaplane.optim.codegen.plan import Plan, kind_of, stored_at
from betaplane.optim.codegen.trace import TracedStep
from betaplane.optim.storage_formats import Companded, Format, StochasticBFloat16

LOOP_ELEMENTS = 2048  # in one call of a pass if no format has blocks
CHUNK_ELEMENTS = 16_384  # of a long row, that a thread goes over at once
MATRIX_CHUNK = 65_536  # the same, of a matrix
CHUNK_ROWS = range(32, 513)  # of a matrix whose columns are added up
WAVE_ELEMENTS = 2**18  # of tensors that are gone over together, if there are several passes
SIGNATURE = (
    "int n, i64 at, i64 row, i64 matrix, i64 column, void **p, i64 count, i64 block, u32 seed, "
    "const double *s, work *w, double *acc, double *of_row, real *of_column"
)


class StepSource(NamedTuple):
    """C source, and what its caller has to know."""

    text: str
    block: int  # the length of a block
    blocks: bool  # whether formats have blocks, which start again with every row
    columns: bool  # whether columns are added up
    zero: bool  # whether the gradient is set to zero
    measures: bool  # whether the squared norm of the update is measured

    def geometry(self, numel: int, line: int, sizes: tuple[int, ...] | None) -> list[int]:
        """How a tensor is gone over, as driver.c reads it.

        Args:
            numel: its number of elements.
            line: the number of them after which blocks start again.
            sizes: how many matrices, rows and columns it has; None for one row.
        """
        _, rows, columns = sizes or (1, 1, numel)
        per_line = -(-line // self.block)
        per_row = columns // line * per_line
        if sizes is None or (columns > MATRIX_CHUNK and not self.columns):
            unit, group, chunk = max(1, CHUNK_ELEMENTS // self.block), per_row, 2
        elif rows * columns <= MATRIX_CHUNK:
            group, chunk = numel // line * per_line, 0
            unit = per_row * rows * (MATRIX_CHUNK // (rows * columns))
        else:
            group, chunk = per_row * rows, 1
            most = max(CHUNK_ROWS[0], min(CHUNK_ROWS[-1], MATRIX_CHUNK // columns))
            unit = per_row * (most if self.columns else max(1, MATRIX_CHUNK // columns))
        return [numel, line, columns, rows, unit, group, chunk]


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
    columns, measures = writer.plan.count_sums(COLUMN) > 0, bool(writer.plan.measured)
    return StepSource(writer.text(), writer.length, writer.blocks, columns, zero, measures)


class _Writer:
    """Writes the C source of a traced step, pass by pass."""

    def __init__(self, traced: TracedStep, formats: tuple[Format, ...], g: Any, zero: bool):
        self.dtype, self.formats, self.g, self.zero = traced.dtype, formats, g, zero
        self.plan = Plan(traced)
        self.last = self.plan.last
        self.blocks = any(isinstance(stored, Companded | StochasticBFloat16) for stored in formats)
        self.length = BLOCK if self.blocks else LOOP_ELEMENTS

    def text(self) -> str:
        """The whole source."""
        head = c_template("head").replace("ARCTAN", arctan_polynomial(self.dtype))
        suffix = "f" if self.dtype == torch.float32 else ""
        functions = {"ROOT": "sqrt", "ABS": "fabs", "SIGNED": "copysign", "FUSED": "fma"}
        typed = {word: function + suffix for word, function in functions.items()}
        real = f"typedef {C_TYPES[self.dtype]} real;"
        head = fill_template(real + golden_table() + head, **typed)
        inputs = [self._format(i) for i in range(len(self.plan.inputs))]
        small = [small_function(self.plan, inputs, k) for k in range(self.last + 1)]
        passes = [self._pass(k) for k in range(self.last + 1)]
        return head + "\n".join([*small, *passes]) + self._driver([bool(text) for text in small])

    def _pass(self, k: int) -> str:
        final, sums = k == self.last, self.plan.sums(k)
        roots = [node.args[0] for node in sums]
        roots += [node for node in self._stored_outputs().values() if final]
        needed = self.plan.needed(roots)  # type: ignore[arg-type]
        totals = [i for i, node in enumerate(sums) if kind_of(node) != COLUMN]
        clauses = "".join(f" reduction(+:acc{i})" for i in totals)
        if final:
            scaled = [i for i, stored in enumerate(self.formats) if stored.scaled]
            clauses += "".join(f" reduction(max:top{i})" for i in scaled)
        return "\n".join(
            [
                f"INLINE void pass{k}({SIGNATURE}) {{",
                *self._before_loop(k, needed),
                f"#pragma omp simd{clauses}",
                "for (int i = 0; i < n; i++) {",
                *self._loop(k, needed),
                "}",
                *self._after_loop(k),
                "}\n",
            ]
        )

    def _stored_outputs(self) -> dict[int, fx.Node]:
        """The outputs that passes store, by their index: those with an element per element."""
        places = enumerate([self.plan.inputs[0], *self.plan.inputs[2:]])
        full = [i for i, node in places if kind_of(node) == FULL]
        return {i: self.plan.outputs[i] for i in full}

    def _before_loop(self, k: int, needed: set[fx.Node]) -> list[str]:
        """Pointers, seeds, and the values that elements share."""
        final = k == self.last
        lines = self._pointers(needed, final)
        lines += seed_lines(self.formats) if final else []
        for node in sorted(needed, key=str):
            kind = kind_of(node)
            if kind == SCALAR:
                lines.append(f"const double {node.name} = {outer_scalar(self.plan, node)};")
            elif kind in (ROW, BATCH):
                place, index = self.plan.stored[node], "row" if kind == ROW else "matrix"
                lines.append(f"const real {node.name} = {stored_at(kind, place, index)};")
            elif kind == COLUMN:
                at = stored_at(kind, self.plan.stored[node], "matrix * w->columns + column")
                lines.append(f"const real *restrict of_{node.name} = &{at};")
            if any(divisor(user) is node for user in node.users if user in needed):
                b = operand(node)
                lines.append(f"const real scale_{node.name} = scale_for({b});")
                lines.append(f"const real inverse_{node.name} = 1 / ({b} * scale_{node.name});")
        for i, node in enumerate(self.plan.sums(k)):
            lines.append(f"real acc{i} = 0;" if kind_of(node) != COLUMN else self._column(k, i))
        if final:
            lines += [line for code in self._stores() for line in code.declare]
        return lines

    def _column(self, k: int, i: int) -> str:
        """The pointer to the sums of columns, number i of the pass's sums."""
        place = self.plan.sums(k, COLUMN).index(self.plan.sums(k)[i])
        return f"real *restrict acc{i} = of_column + {place} * w->columns + column;"

    def _loop(self, k: int, needed: set[fx.Node]) -> list[str]:
        """What is done for each element."""
        elements = [node for node in needed if kind_of(node) == FULL]
        lines = [
            f"const real {node.name} = {load_expression(i, self._format(i))};"
            for i, node in enumerate(self.plan.inputs)
            if node in elements
        ]
        columns = sorted((n for n in needed if kind_of(n) == COLUMN), key=str)
        lines += [f"const real {node.name} = of_{node.name}[i];" for node in columns]
        lines += [
            f"const real {node.name} = {element_expression(node)};"
            for node in self.plan.calls
            if node in elements
        ]
        for i, node in enumerate(self.plan.sums(k)):
            at = "[i]" if kind_of(node) == COLUMN else ""
            lines.append(f"acc{i}{at} += {operand(node.args[0])};")
        if k == self.last:
            lines += [line for code in self._stores() for line in code.store]
            lines += ["p1[i] = 0;"] if self.zero else []
        return lines

    def _after_loop(self, k: int) -> list[str]:
        """Sums and scales, and the second loop that encodes elements."""
        lines = []
        for kind, target in ((SCALAR, "acc"), (ROW, "of_row")):
            for place, node in enumerate(self.plan.sums(k, kind)):
                lines.append(f"{target}[{place}] += acc{self.plan.sums(k).index(node)};")
        if k < self.last:
            return lines
        lines += [line for code in self._stores() for line in code.finish]
        encode = [line for code in self._stores() for line in code.encode]
        if encode:
            lines += ["#pragma omp simd", "for (int i = 0; i < n; i++) {", *encode, "}"]
        return lines

    def _pointers(self, needed: set[fx.Node], final: bool) -> list[str]:
        """Pointers to the tensors from element `at` on, and to the scale number `block`."""
        lines, next_scale = [], len(self.plan.inputs)
        for i, node in enumerate(self.plan.inputs):
            stored = self._format(i)
            if kind_of(node) == FULL and (final or node in needed):
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
        """For x and each tensor with an element per element, the code that stores its new value."""
        outputs = self._stored_outputs().items()
        return [store_code(i, self.formats[i], operand(node)) for i, node in outputs]

    def _driver(self, small: list[bool]) -> str:
        """The function that runs all passes over all tensors."""
        plan, calls, first = self.plan, [], {SCALAR: 0, ROW: 0, COLUMN: 0}
        for k in range(self.last + 1):
            counts = {kind: len(plan.sums(k, kind)) for kind in first}
            values: dict[str, Any] = {f"{kind.upper()}S_K": n for kind, n in counts.items()}
            values |= {f"FIRST_{kind.upper()}": n for kind, n in first.items()}
            values |= {"passK": f"pass{k}", "BACKWARD": k % 2, "SMALL": ""}
            if small[k]:
                values["SMALL"] = fill_template(c_template("small"), smallK=f"small{k}")
            calls.append(fill_template(c_template("pass"), **values))
            first = {kind: first[kind] + counts[kind] for kind in first}
        if plan.measured:
            calls.append(fill_template(c_template("norm"), NORM=plan.sum_place[plan.measured[0]]))
        sums = [[len(plan.sums(k, kind)) for kind in (SCALAR, ROW)] for k in range(self.last + 1)]
        values = {
            "LENGTH": self.length,
            "WAVE": WAVE_ELEMENTS if self.last else 2**62,
            "PARTS": max(1, *map(sum, sums)),
            "SHAPED": int(plan.is_shaped),
            "SCALARS": plan.count_sums(SCALAR) + plan.count_stored(SCALAR),
        }
        for kind in (ROW, COLUMN, BATCH):
            values[f"{kind.upper()}_SUMS"] = plan.count_sums(kind)
            values[f"{kind.upper()}_VALUES"] = plan.count_stored(kind)
        return fill_template(c_template("driver").replace("PASSES", "".join(calls)), **values)
