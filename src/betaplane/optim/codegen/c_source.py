"""A recorded pass as a function in C: one loop over memory, and one before it for each mean over
the whole tensor.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx

from betaplane.optim.codegen.c_expressions import EXPRESSIONS, REDUCTIONS, name, single
from betaplane.optim.codegen.trace import Recording
from betaplane.optim.storage_formats import BLOCK, LATTICE, Companded, Format, Rounded, stream_of


@cache
def c_file(word: str) -> str:
    """One of the sources in the folder c."""
    return (Path(__file__).parent / "c" / f"{word}.c").read_text()


OTHERS = "const double *s, const double *red, double *acc"

WORD = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "uint16_t",
    torch.uint8: "uint8_t",
}
"""The types a pass can load and store, by their names in C."""


def _arctan(dtype: torch.dtype) -> str:
    """arctan(z) / z for |z| <= tan(pi / 8) as a polynomial in w = z^2, lowest error at Chebyshev's
    nodes.
    """
    degree = 7 if dtype == torch.float32 else 17
    reach = 0.1715728752538099  # tan(pi / 8)^2
    k = torch.arange(degree + 1, dtype=torch.float64)
    w = reach / 2 * (1 + torch.cos(torch.pi * (k + 0.5) / (degree + 1)))
    z = w.sqrt()
    scaled = torch.stack([(w / reach) ** int(i) for i in k], dim=1)
    found = torch.linalg.solve(scaled, z.atan() / z) / reach**k
    text = f"real a = (real){found[-1].item()!r};"
    return text + "".join(
        f" a = a * w + (real){value!r};" for value in reversed(found[:-1].tolist())
    )


class CText(NamedTuple):
    """A source, and what its caller has to know."""

    source: str
    sums: int  # over each tensor
    blocks: bool  # whether it goes by blocks, which start anew with every row
    zero: bool  # whether the gradient is set to zero
    measured: int | None  # which of the sums is the update's squared length


def _lattice() -> str:
    """How random bits go on within a block, by the golden ratio: looked up, for the product costs
    more.
    """
    steps = ",".join(f"{i * LATTICE & 0xFFFFFFFF}u" for i in range(BLOCK))
    return f"static const unsigned lattice[{BLOCK}] = {{{steps}}};"


def c_text(recording: Recording, formats: tuple[Format, ...], g: torch.dtype, zero: bool) -> CText:
    """The C source of `step`, which takes a list of tensors through the pass.

    Args:
        recording: the pass.
        formats: how x and the recording's tensors are kept.
        g: the gradient's type.
        zero: whether the gradient is set to zero.
    """
    text = _Text(recording, formats, g, zero)
    known = text.known()
    measured = known.index(text.measured[0]) if text.measured else None
    return CText(text.source(), len(known), text.blocks, zero, measured)


class _Text:
    """The source while it is written."""

    def __init__(self, recording: Recording, formats: tuple[Format, ...], g: Any, zero: bool):
        self.dtype, self.formats, self.g, self.zero = recording.dtype, formats, g, zero
        nodes = list(recording.graph.graph.nodes)
        places = [node for node in nodes if node.op == "placeholder"]
        count = len(recording.tensors)
        self.inputs = places[: 2 + count]  # x, g, tensors
        self.scalars = {node: i for i, node in enumerate(places[2 + count :])}
        self.outs = nodes[-1].args[0][: 1 + count]
        self.measured = list(
            nodes[-1].args[0][1 + count : len(nodes[-1].args[0]) - len(recording.numbers)]
        )
        self.calls = [node for node in nodes if node.op == "call_function"]
        self.level = self._levels(places)
        self.last = max(self.level[node] for node in self.outs)
        self.blocks = any(isinstance(kept, Companded | Rounded) for kept in formats)
        self.length = BLOCK if self.blocks else 2048

    def _levels(self, places: list[fx.Node]) -> dict[fx.Node, int]:
        """How many passes over memory come before a value is known."""
        level = dict.fromkeys(places, 0)
        for node in self.calls:
            before = max((level[n] for n in node.all_input_nodes), default=0)
            level[node] = before + (node.target in REDUCTIONS)
        return level

    def source(self) -> str:
        real = WORD[self.dtype]
        head = (
            f"typedef {real} real;"
            + _lattice()
            + c_file("head").replace("ARCTAN", _arctan(self.dtype))
        )
        suffix = "f" if self.dtype == torch.float32 else ""
        named = {"ROOT": "sqrt", "ABS": "fabs", "SIGNED": "copysign", "FUSED": "fma"}
        head = filled(head, **{word: function + suffix for word, function in named.items()})
        passes = [self._pass(k) for k in range(self.last + 1)]
        return head + "\n".join(passes) + self._driver()

    # What a pass computes
    # ------------------------------------------------------------------------------------------

    def reductions(self, k: int) -> list[fx.Node]:
        """The sums that pass k takes: those later passes need, and in the last one those that are
        measured.
        """
        found = [node for node in self.calls if node.target in REDUCTIONS]
        return [node for node in found if min(self.level[node] - 1, self.last) == k]

    def known(self) -> list[fx.Node]:
        """All sums, in the order they are taken."""
        return [node for k in range(self.last + 1) for node in self.reductions(k)]

    def _needed(self, roots: list[fx.Node]) -> set[fx.Node]:
        """Everything the roots are computed from in this pass; sums are known from the passes
        before.
        """
        found: set[fx.Node] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack += [] if node.target in REDUCTIONS else node.all_input_nodes
        return found

    def _pass(self, k: int) -> str:
        final, sums = k == self.last, self.reductions(k)
        roots = [node.args[0] for node in sums] + (list(self.outs) if final else [])
        needed = self._needed(roots)  # type: ignore[arg-type]
        lines = [self._scalar(node) for node in self.scalars if node in needed]
        once = [node for node in self.calls if node in needed and single(node)]
        lines += [
            self._sum(node) if node.target in REDUCTIONS else self._line(node, "double")
            for node in once
        ]
        lines += [f"real acc{i} = 0;" for i in range(len(sums))]
        loads, stores, ends = self._memory(needed, final)
        body = loads + [
            self._line(node, "real") for node in self.calls if node in needed and not single(node)
        ]
        body += [f"acc{i} += {name(node.args[0])};" for i, node in enumerate(sums)]
        clauses = "".join(f" reduction(+:acc{i})" for i in range(len(sums)))
        if final:
            lines += [line for kept in self._kept() for line in kept[1]]
            clauses += "".join(
                f" reduction(max:top{i})" for i, kept in enumerate(self.formats) if kept.scaled
            )
            body += stores
        after = [f"acc[{i}] += acc{i};" for i in range(len(sums))] + (ends if final else [])
        return "\n".join(
            [
                f"INLINE void pass{k}(int n, i64 at, void **p, i64 count, i64 block, u32 seed, {OTHERS}) {{",
                *self._pointers(needed, final),
                *self._seeds(final),
                *lines,
                f"#pragma omp simd{clauses}",
                "for (int i = 0; i < n; i++) {",
                *body,
                "}",
                *after,
                "}\n",
            ]
        )

    def _pointers(self, needed: set[fx.Node], final: bool) -> list[str]:
        """The tensors from place `at` on; which of them a scale belongs to is `block`."""
        lines, next_scale = [], len(self.inputs)
        for i, node in enumerate(self.inputs):
            kept = self._format(i)
            if final or node in needed:
                word = WORD[kept.dtype or self.dtype]
                lines.append(f"{word} *restrict p{i} = ({word} *)p[{i} * count] + at;")
                if self.blocks and i < 2:
                    lines.append(f"ahead(p{i}, n * sizeof(*p{i}));")
                if kept.scaled:
                    lines.append(
                        f"float *restrict scale{i} = (float *)p[{next_scale} * count] + block;"
                    )
                    lines.append(f"const float unit{i} = *scale{i} * {1 / kept.top!r}f;")
            next_scale += kept.scaled
        return lines

    def _seeds(self, final: bool) -> list[str]:
        """Where random bits start, for every two streams."""
        random = [getattr(kept, "random", isinstance(kept, Rounded)) for kept in self.formats]
        streams = [stream_of(i) for i, is_random in enumerate(random) if is_random]
        pairs = sorted({stream // 2 for stream in streams}) if final else []
        start = "hash((u32)at * 2654435769u + (seed + {0}) * 0x85EBCA6Bu)"
        return [f"const u32 start{pair} = {start.format(pair + 1)};" for pair in pairs]

    def _format(self, i: int) -> Any:
        """How input i is kept."""
        return Format(self.g) if i == 1 else self.formats[max(0, i - 1)]

    def _memory(self, needed: set[fx.Node], final: bool) -> tuple[list[str], list[str], list[str]]:
        """Lines that load, that store, and that come after the loop."""
        loads = [
            f"const real {node.name} = {self._load(i)};"
            for i, node in enumerate(self.inputs)
            if node in needed
        ]
        stores, ends, codes = [], [], []
        for lines, _, after in self._kept():
            stores += lines
            ends += after[:1]
            codes += after[1:]
        if codes:
            ends += ["#pragma omp simd", "for (int i = 0; i < n; i++) {", *codes, "}"]
        if self.zero:
            stores.append("p1[i] = 0;")
        return loads, stores, ends

    def _load(self, i: int) -> str:
        kept = self._format(i)
        if isinstance(kept, Companded):
            shift, base = kept.cut, "127u << 23"
            if not kept.signed:
                return f"(f_of(((u32)p{i}[i] << {shift}) + ({base})) - 1) * unit{i}"
            code = f"(int)(int8_t)p{i}[i]"
            value = f"(f_of(((u32)abs({code}) << {shift}) + ({base})) - 1) * unit{i}"
            return f"f_of(b_of({value}) | ((u32)({code}) & 0x80000000u))"
        if kept.dtype == torch.bfloat16:
            return f"of_bf16(p{i}[i])"
        return f"(real)p{i}[i]"

    def _kept(self) -> list[tuple[list[str], list[str], list[str]]]:
        """For x and each tensor: the lines that keep its new value; those before the loop, and
        those after.
        """
        found = []
        for i, (kept, out) in enumerate(zip(self.formats, self.outs, strict=True)):
            place, value, stream = i + (i > 0), name(out), stream_of(i)
            if isinstance(kept, Companded):
                found.append(self._companded(i, place, value, kept, stream))
            elif isinstance(kept, Rounded):
                r = _noise(stream, 16)
                found.append(([f"p{place}[i] = to_bf16_randomly({value}, {r});"], [], []))
            else:
                cast = f"to_bf16({value})" if kept.dtype == torch.bfloat16 else value
                found.append(([f"p{place}[i] = {cast};"], [], []))
        return found

    def _companded(
        self, i: int, place: int, value: str, kept: Companded, stream: int
    ) -> tuple[list[str], list[str], list[str]]:
        """The largest number is found in the loop, which keeps the numbers; a loop after it writes
        their codes.
        """
        shift = kept.cut
        bits = f"b_of({value})" + " & 0x7fffffffu" * kept.signed
        store = [f"new{i}[i] = {value};", f"u32 size{i} = {bits};"]
        store.append(f"top{i} = size{i} > top{i} ? size{i} : top{i};")
        before = [f"float new{i}[{BLOCK}]; u32 top{i} = 0;"]
        unit = f"const float most{i} = f_of(top{i}), per{i} = most{i} < 0x1p-110f ? 0 : {kept.top!r}f / most{i};"
        half = _noise(stream, shift) if kept.random else f"{1 << (shift - 1)}u"
        size = f"fabsf(new{i}[i])" if kept.signed else f"new{i}[i]"
        code = f"(b_of({size} * per{i} + 1) + {half} - (127u << 23)) >> {shift}"
        if kept.signed:
            code = f"((int)({code}) ^ (int)b_of(new{i}[i]) >> 31) - ((int)b_of(new{i}[i]) >> 31)"
        else:
            code = f"({code}) + (({code}) == 0 & new{i}[i] > 0)"
        code = f"p{place}[i] = {code};"
        return store, before, [f"{unit} *scale{place} = most{i};", code]

    # Lines ----------------------------------------------------------------------------------------
    # -----------------

    def _scalar(self, node: fx.Node) -> str:
        return f"const double {node.name} = s[{self.scalars[node]}];"

    def _sum(self, node: fx.Node) -> str:
        """A sum or mean that an earlier pass took; a sum that overflows in torch does here."""
        over = " / red[0]" if node.target is torch.ops.aten.mean.default else ""
        return f"const double {node.name} = (real)red[{1 + self.known().index(node)}]{over};"

    def _line(self, node: fx.Node, real: str) -> str:
        return f"const {real} {node.name} = {EXPRESSIONS[node.target](node)};"  # type: ignore[index]

    def _driver(self) -> str:
        """The function that goes over all tensors in chunks, which threads share, pass after pass."""
        sums = [len(self.reductions(k)) for k in range(self.last + 1)]
        total = sum(sums)
        calls, first = [], 0
        for k, count in enumerate(sums):
            calls.append(filled(c_file("pass"), passK=f"pass{k}", COUNT=count, FIRST=first))
            first += count
        blocks, most = max(1, 16384 // self.length), max(1, *sums)
        driver = c_file("driver").replace("PASSES", "".join(calls))
        return filled(driver, LENGTH=self.length, BLOCKS=blocks, MOST=most, RED=total + 1)


def filled(text: str, **values: int | str) -> str:
    """A source with values in place of words."""
    for word, value in values.items():
        text = re.sub(rf"\b{word}\b", str(value), text)
    return text


def _noise(stream: int, bits: int) -> str:
    """Random bits for place i of the tensor."""
    h = f"(start{stream // 2} + lattice[i])"
    return f"({h} & {(1 << bits) - 1})" if stream % 2 else f"({h} >> {32 - bits})"
