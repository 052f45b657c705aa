"""A recorded pass as a function in C: one loop over memory, and one before it for each mean over the whole tensor."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx

from betaplane.optim.formats import BLOCK, Companded, Format, Rounded, stream_of
from betaplane.optim.record import Recording

aten = torch.ops.aten

HEAD = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#define INLINE static inline __attribute__((always_inline))
typedef int64_t i64;
typedef uint32_t u32;
static inline float f_of(u32 b) { float f; memcpy(&f, &b, 4); return f; }
static inline u32 b_of(float f) { u32 b; memcpy(&b, &f, 4); return b; }
static inline float of_bf16(uint16_t h) { return f_of((u32)h << 16); }
static inline uint16_t to_bf16(float f) {  /* to nearest, ties to even */
  u32 b = b_of(f); return f == f ? (b + 0x7fff + ((b >> 16) & 1)) >> 16 : 0x7fc0; }
static inline float bf16(float f) { return of_bf16(to_bf16(f)); }
static inline uint16_t to_bf16_randomly(float f, u32 r) { return (b_of(f) + r) >> 16; }
static inline u32 hash(u32 h) {
  h = (h ^ (h >> 16)) * 0x7FEB352Du; h = (h ^ (h >> 15)) * 0x846CA68Bu; return h ^ (h >> 16); }
static inline real sqrt_of(real x) { return ROOT(x); }
static inline real sign_of(real x) { return (real)((x > 0) - (x < 0)); }
static inline real arctan2(real y, real x) {
  real ay = y < 0 ? -y : y, ax = x < 0 ? -x : x, big = ax > ay ? ax : ay, small = ax > ay ? ay : ax;
  real q = big > 0 ? small / big : 0, shift = q > (real)0.4142135623730951 ? 1 : 0;
  real z = shift > 0 ? (q - 1) / (q + 1) : q, w = z * z;
  ARCTAN
  a = z * a + shift * (real)0.78539816339744830962;
  a = ay > ax ? (real)1.57079632679489661923 - a : a;
  a = x < 0 ? (real)3.14159265358979323846 - a : a;
  return y < 0 ? -a : a; }
"""

OTHERS = "const double *s, const double *red, double *acc"

WORD = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "uint16_t", torch.uint8: "uint8_t"}
"""The types a pass can load and store, by their names in C."""


def _arctan(dtype: torch.dtype) -> str:
    """arctan(z) / z for |z| <= tan(pi / 8) as a polynomial in w = z^2, lowest error at Chebyshev's nodes."""
    degree = 7 if dtype == torch.float32 else 17
    reach = 0.1715728752538099  # tan(pi / 8)^2
    k = torch.arange(degree + 1, dtype=torch.float64)
    w = reach / 2 * (1 + torch.cos(torch.pi * (k + 0.5) / (degree + 1)))
    z = w.sqrt()
    scaled = torch.stack([(w / reach) ** int(i) for i in k], dim=1)
    found = torch.linalg.solve(scaled, z.atan() / z) / reach**k
    text = f"real a = (real){found[-1].item()!r};"
    return text + "".join(f" a = a * w + (real){value!r};" for value in reversed(found[:-1].tolist()))


class CText(NamedTuple):
    """A source, and what its caller has to know."""

    source: str
    sums: int  # over each tensor
    blocks: bool  # whether it goes by blocks, which start anew with every row
    zero: bool  # whether the gradient is set to zero
    measured: int | None  # which of the sums is the update's squared length


def _lattice() -> str:
    """How random bits go on within a block, by the golden ratio: looked up, for the product costs more."""
    steps = ",".join(f"{i * 2654435769 & 0xFFFFFFFF}u" for i in range(BLOCK))
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
        self.measured = list(nodes[-1].args[0][1 + count : len(nodes[-1].args[0]) - len(recording.numbers)])
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
        head = f"typedef {real} real;" + _lattice() + HEAD.replace("ARCTAN", _arctan(self.dtype))
        head = head.replace("ROOT", "sqrtf" if self.dtype == torch.float32 else "sqrt")
        passes = [self._pass(k) for k in range(self.last + 1)]
        return head + "\n".join(passes) + self._driver()

    # What a pass computes ------------------------------------------------------------------------------------------

    def reductions(self, k: int) -> list[fx.Node]:
        """The sums that pass k takes: those later passes need, and in the last one those that are measured."""
        found = [node for node in self.calls if node.target in REDUCTIONS]
        return [node for node in found if min(self.level[node] - 1, self.last) == k]

    def known(self) -> list[fx.Node]:
        """All sums, in the order they are taken."""
        return [node for k in range(self.last + 1) for node in self.reductions(k)]

    def _needed(self, roots: list[fx.Node]) -> set[fx.Node]:
        """Everything the roots are computed from in this pass; sums are known from the passes before."""
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
        single = [node for node in self.calls if node in needed and _single(node)]
        lines += [self._sum(node) if node.target in REDUCTIONS else self._line(node, "double") for node in single]
        lines += [f"real acc{i} = 0;" for i in range(len(sums))]
        loads, stores, ends = self._memory(needed, final)
        body = loads + [self._line(node, "real") for node in self.calls if node in needed and not _single(node)]
        body += [f"acc{i} += {self._name(node.args[0])};" for i, node in enumerate(sums)]
        clauses = "".join(f" reduction(+:acc{i})" for i in range(len(sums)))
        if final:
            lines += [line for kept in self._kept() for line in kept[1]]
            clauses += "".join(f" reduction(max:top{i})" for i, kept in enumerate(self.formats) if kept.scaled)
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
                if kept.scaled:
                    lines.append(f"float *restrict scale{i} = (float *)p[{next_scale} * count] + block;")
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
        loads = [f"const real {node.name} = {self._load(i)};" for i, node in enumerate(self.inputs) if node in needed]
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
            shift, base = 23 - kept.digits, "127u << 23"
            if not kept.signed:
                return f"f_of(((u32)p{i}[i] << {shift}) + ({base})) * unit{i} - unit{i}"
            code = f"(int)(int8_t)p{i}[i]"
            value = f"f_of(((u32)abs({code}) << {shift}) + ({base})) * unit{i} - unit{i}"
            return f"f_of(b_of({value}) | ((u32)({code}) & 0x80000000u))"
        if kept.dtype == torch.bfloat16:
            return f"of_bf16(p{i}[i])"
        return f"(real)p{i}[i]"

    def _kept(self) -> list[tuple[list[str], list[str], list[str]]]:
        """For x and each tensor: the lines that keep its new value; those before the loop, and those after."""
        found = []
        for i, (kept, out) in enumerate(zip(self.formats, self.outs, strict=True)):
            place, value, stream = i + (i > 0), self._name(out), stream_of(i)
            if isinstance(kept, Companded):
                found.append(self._companded(i, place, value, kept, stream))
            elif isinstance(kept, Rounded):
                r = _noise(stream)
                found.append(([f"p{place}[i] = to_bf16_randomly({value}, {r});"], [], []))
            else:
                cast = f"to_bf16({value})" if kept.dtype == torch.bfloat16 else value
                found.append(([f"p{place}[i] = {cast};"], [], []))
        return found

    def _companded(
        self, i: int, place: int, value: str, kept: Companded, stream: int
    ) -> tuple[list[str], list[str], list[str]]:
        """The largest number is found in the loop, which keeps the numbers; a loop after it writes their codes."""
        shift = 23 - kept.digits
        bits = f"b_of({value})" + " & 0x7fffffffu" * kept.signed
        store = [f"new{i}[i] = {value};", f"u32 size{i} = {bits};"]
        store.append(f"top{i} = size{i} > top{i} ? size{i} : top{i};")
        before = [f"float new{i}[{BLOCK}]; u32 top{i} = 0;"]
        unit = f"const float most{i} = f_of(top{i}), per{i} = most{i} < 0x1p-110f ? 0 : {kept.top!r}f / most{i};"
        half = f"({_noise(stream)} << {shift - 16})" if kept.random else f"{1 << (shift - 1)}u"
        w = f"fabsf(new{i}[i]) * per{i} + 1"
        code = f"(b_of({w}) + {half} - (127u << 23)) >> {shift}"
        if kept.signed:
            code = f"((int)({code}) ^ sign{i}) - sign{i}"
        code = f"const int sign{i} = (int)b_of(new{i}[i]) >> 31; p{place}[i] = {code};"
        return store, before, [f"{unit} *scale{place} = most{i};", code]

    # Lines ---------------------------------------------------------------------------------------------------------

    def _scalar(self, node: fx.Node) -> str:
        return f"const double {node.name} = s[{self.scalars[node]}];"

    def _sum(self, node: fx.Node) -> str:
        """A sum or mean that an earlier pass took."""
        over = " / red[0]" if node.target is aten.mean.default else ""
        return f"const double {node.name} = red[{1 + self.known().index(node)}]{over};"

    def _line(self, node: fx.Node, real: str) -> str:
        return f"const {real} {node.name} = {EXPRESSIONS[node.target](self, node)};"  # type: ignore[index]

    def _name(self, value: Any) -> str:
        """A value in an expression: a number, or a node, narrowed to the type of the pass where it is a scalar."""
        if isinstance(value, fx.Node):
            return f"((real){value.name})" if _single(value) else value.name
        if value in (float("inf"), -float("inf")):
            return "INFINITY" if value > 0 else "-INFINITY"
        return f"((real){float(value)!r})"

    def _driver(self) -> str:
        """The function that goes over all tensors in chunks, which threads share, pass after pass."""
        sums = [len(self.reductions(k)) for k in range(self.last + 1)]
        total = sum(sums)
        calls, first = [], 0
        for k, count in enumerate(sums):
            calls.append(_filled(PASS, passK=f"pass{k}", COUNT=count, FIRST=first))
            first += count
        blocks, most = max(1, 16384 // self.length), max(1, *sums)
        driver = DRIVER.replace("PASSES", "".join(calls))
        return _filled(driver, LENGTH=self.length, BLOCKS=blocks, MOST=most, RED=total + 1)


DRIVER = """
static inline i64 blocks_of(i64 n, i64 row) { return row ? n / row * ((row + LENGTH - 1) / LENGTH) : 0; }
void step(i64 count, const i64 *size, const i64 *row, const i64 *which, const i64 *seed, void **p,
          const double *s, i64 scalars, double *red, i64 threads) {
  i64 *start = malloc((count + 1) * sizeof(i64));
  start[0] = 0;
  for (i64 t = 0; t < count; t++) start[t + 1] = start[t] + (blocks_of(size[t], row[t]) + BLOCKS - 1) / BLOCKS;
  const i64 chunks = start[count];
  double *part = malloc((chunks * MOST + 1) * sizeof(double));
  for (i64 t = 0; t < count; t++) red[t * RED] = size[t];
PASSES
  free(part);
  free(start);
}
"""

PASS = """
  #pragma omp parallel for schedule(dynamic, 4) num_threads(threads) if (chunks > 4)
  for (i64 c = 0; c < chunks; c++) {
    i64 t = 0, end = count;
    while (end - t > 1) { i64 mid = (t + end) / 2; if (start[mid] <= c) t = mid; else end = mid; }
    const i64 in = row[t], a_row = (in + LENGTH - 1) / LENGTH, all = blocks_of(size[t], in);
    double *acc = part + c * MOST;
    for (i64 i = 0; i < COUNT; i++) acc[i] = 0;
    i64 b = (c - start[t]) * BLOCKS, last = b + BLOCKS < all ? b + BLOCKS : all;
    for (; b < last; b++) {
      const i64 from = b % a_row * LENGTH, at = b / a_row * in + from, n = in - from < LENGTH ? in - from : LENGTH;
      const double *own = s + which[t] * scalars;
      if (n == LENGTH) passK(LENGTH, at, p + t, count, b, seed[t], own, red + t * RED, acc);
      else passK(n, at, p + t, count, b, seed[t], own, red + t * RED, acc);
    }
  }
  for (i64 t = 0; t < count; t++) for (i64 i = 0; i < COUNT; i++) {
    double sum = 0;
    for (i64 c = start[t]; c < start[t + 1]; c++) sum += part[c * MOST + i];
    red[t * RED + 1 + FIRST + i] = sum;
  }
"""

SQUARES = """
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
static inline float of_bf16(uint16_t h) { uint32_t b = (uint32_t)h << 16; float f; memcpy(&f, &b, 4); return f; }
double squares(int64_t count, const int64_t *n, TYPE **p, int64_t threads) {
  int64_t *start = malloc((count + 1) * sizeof(int64_t));
  start[0] = 0;
  for (int64_t t = 0; t < count; t++) start[t + 1] = start[t] + (n[t] + 16383) / 16384;
  const int64_t chunks = start[count];
  double *part = malloc((chunks + 1) * sizeof(double)), sum = 0;
  #pragma omp parallel for schedule(dynamic, 4) num_threads(threads) if (chunks > 4)
  for (int64_t c = 0; c < chunks; c++) {
    int64_t t = 0, end = count;
    while (end - t > 1) { int64_t mid = (t + end) / 2; if (start[mid] <= c) t = mid; else end = mid; }
    const int64_t at = (c - start[t]) * 16384;
    const int m = n[t] - at < 16384 ? n[t] - at : 16384;
    const TYPE *x = p[t] + at;
    double all = 0;
    for (int from = 0; from < m; from += 1024) {
      SUM some = 0;
      const int to = from + 1024 < m ? from + 1024 : m;
      #pragma omp simd reduction(+:some)
      for (int i = from; i < to; i++) some += (SUM)LOAD(x[i]) * (SUM)LOAD(x[i]);
      all += some;
    }
    part[c] = all;
  }
  for (int64_t c = 0; c < chunks; c++) sum += part[c];
  free(part);
  free(start);
  return sum;
}
"""
"""The sum of the squares of a list of tensors, in the same order whatever the threads."""


def _filled(text: str, **values: int | str) -> str:
    for word, value in values.items():
        text = re.sub(rf"\b{word}\b", str(value), text)
    return text


def _single(node: Any) -> bool:
    """Whether a value is one number for the whole tensor."""
    if not isinstance(node, fx.Node):
        return True
    value = node.meta["val"] if "val" in node.meta else node.meta["tensor_meta"]
    return len(value.shape) == 0


def _noise(stream: int) -> str:
    """16 random bits for place i of the tensor."""
    h = f"(start{stream // 2} + lattice[i])"
    return f"({h} & 0xffff)" if stream % 2 else f"({h} >> 16)"


REDUCTIONS = (aten.mean.default, aten.sum.default)
Say = Callable[[_Text, fx.Node], str]


def _joined(sign: str) -> Say:
    def say(text: _Text, node: fx.Node) -> str:
        a, b = node.args[:2]
        alpha = node.kwargs.get("alpha", 1)
        times = "" if alpha == 1 else f"{text._name(alpha)} * "
        return f"{text._name(a)} {sign} {times}{text._name(b)}"

    return say


def _form(pattern: str) -> Say:
    def say(text: _Text, node: fx.Node) -> str:
        return pattern.format(*(text._name(value) for value in node.args))

    return say


def _clamp(text: _Text, node: fx.Node) -> str:
    x, low, high = (*node.args, None, None)[:3]
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    value = text._name(x)
    if low is not None:
        value = f"({value} < {text._name(low)} ? {text._name(low)} : {value})"
    if high is not None:
        value = f"({value} > {text._name(high)} ? {text._name(high)} : {value})"
    return value


def _power(text: _Text, node: fx.Node) -> str:
    x, power = text._name(node.args[0]), node.args[1]
    plain = {2: f"{x} * {x}", 3: f"{x} * {x} * {x}", 0.5: f"sqrt_of({x})"}
    return plain.get(power, f"pow({x}, {text._name(power)})")  # type: ignore[call-overload]


def _cast(text: _Text, node: fx.Node) -> str:
    return (
        f"bf16({text._name(node.args[0])})" if node.kwargs.get("dtype") == torch.bfloat16 else text._name(node.args[0])
    )


EXPRESSIONS: dict[Any, Say] = {
    aten.add.Tensor: _joined("+"),
    aten.sub.Tensor: _joined("-"),
    aten.rsub.Scalar: _form("{1} - {0}"),
    aten.mul.Tensor: _form("{0} * {1}"),
    aten.div.Tensor: _form("{0} / {1}"),
    aten.neg.default: _form("-{0}"),
    aten.abs.default: _form("({0} < 0 ? -{0} : {0})"),
    aten.sign.default: _form("sign_of({0})"),
    aten.sqrt.default: _form("sqrt_of({0})"),
    aten.rsqrt.default: _form("1 / sqrt_of({0})"),
    aten.reciprocal.default: _form("1 / {0}"),
    aten.lerp.Tensor: _form("{0} + {2} * ({1} - {0})"),
    aten.lerp.Scalar: _form("{0} + {2} * ({1} - {0})"),
    aten.maximum.default: _form("({0} > {1} ? {0} : {1})"),
    aten.minimum.default: _form("({0} < {1} ? {0} : {1})"),
    aten.where.self: _form("({0} ? {1} : {2})"),
    aten.atan2.default: _form("arctan2({0}, {1})"),
    aten.clone.default: _form("{0}"),
    aten.clamp.default: _clamp,
    aten.pow.Tensor_Scalar: _power,
    aten._to_copy.default: _cast,
}
for _word, _sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("eq", "=="), ("ne", "!=")):
    for _kind in ("Scalar", "Tensor"):
        EXPRESSIONS[getattr(getattr(aten, _word), _kind)] = _form(f"(real)({{0}} {_sign} {{1}})")
