"""C code for the recorded step of one replica of a tiny problem: straight-line code per element.

The step is recorded as tensor operations of fixed shapes. Each value becomes an array of C
variables, one per element, in the dtype of the tensor, so that every operation rounds as torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

aten = torch.ops.aten
C_TYPES = {
    torch.float64: "double",
    torch.float32: "float",
    torch.int64: "int64_t",
    torch.bool: "int",
}
MAX_VARIABLES = 4000


class Unsupported(Exception):
    """The step has an operation, a dtype or a size without C code; the message names it."""


def constant(value: float) -> str:
    """A number as a C literal."""
    if value != value:
        return "NAN"
    if value in (float("inf"), -float("inf")):
        return "INFINITY" if value > 0 else "-INFINITY"
    return repr(float(value))


def _suffix(dtype: torch.dtype) -> str:
    return "f" if dtype == torch.float32 else ""


def _function(name: str) -> Callable[..., str]:
    return lambda dtype, *args: f"{name}{_suffix(dtype)}({', '.join(args)})"


def _pattern(pattern: str) -> Callable[..., str]:
    return lambda dtype, *args: pattern.format(*args)


def _extremum(relation: str) -> Callable[..., str]:
    """The larger (">") or smaller ("<") of two values; nan if one is nan."""
    return _pattern(
        f"({{0}} != {{0}} ? {{0}} : ({{1}} != {{1}} ? {{1}} : ({{0}} {relation} {{1}} ? {{0}} : {{1}})))"
    )


_larger, _smaller = _extremum(">"), _extremum("<")


def _sign(dtype: torch.dtype, x: str) -> str:
    return f"(({x} > 0) - ({x} < 0))"


def _power(dtype: torch.dtype, x: str, p: str) -> str:
    plain = {"2.0": f"({x} * {x})", "3.0": f"({x} * {x} * {x})", "1.0": x}
    if p == "0.5":
        return f"sqrt{_suffix(dtype)}({x})"
    return plain.get(p, f"pow{_suffix(dtype)}({x}, {p})")


def _lerp(dtype: torch.dtype, a: str, b: str, w: str) -> str:
    near, far = f"{a} + {w} * ({b} - {a})", f"{b} - ({b} - {a}) * (1 - {w})"
    return f"(fabs((double){w}) < 0.5 ? {near} : {far})"


POINTWISE: dict[Any, Callable[..., str]] = {
    aten.add.Tensor: _pattern("({0} + {1})"),
    aten.sub.Tensor: _pattern("({0} - {1})"),
    aten.rsub.Scalar: _pattern("({1} - {0})"),
    aten.mul.Tensor: _pattern("({0} * {1})"),
    aten.div.Tensor: _pattern("({0} / {1})"),
    aten.neg.default: _pattern("(-{0})"),
    aten.reciprocal.default: _pattern("(1 / {0})"),
    aten.abs.default: _function("fabs"),
    aten.sign.default: _sign,
    aten.sqrt.default: _function("sqrt"),
    aten.exp.default: _function("exp"),
    aten.log.default: _function("log"),
    aten.expm1.default: _function("expm1"),
    aten.log1p.default: _function("log1p"),
    aten.rsqrt.default: lambda dtype, x: f"(1 / sqrt{_suffix(dtype)}({x}))",
    aten.tanh.default: _function("tanh"),
    aten.atan2.default: _function("atan2"),
    aten.pow.Tensor_Scalar: _power,
    aten.pow.Tensor_Tensor: _power,
    aten.pow.Scalar: _power,
    aten.maximum.default: _larger,
    aten.minimum.default: _smaller,
    aten.clamp_min.default: _larger,
    aten.lerp.Scalar: _lerp,
    aten.lerp.Tensor: _lerp,
    aten.where.self: _pattern("({0} ? {1} : {2})"),
    aten.where.ScalarSelf: _pattern("({0} ? {1} : {2})"),
    aten.where.ScalarOther: _pattern("({0} ? {1} : {2})"),
    aten.logical_and.default: _pattern("({0} && {1})"),
    aten.logical_not.default: _pattern("(!{0})"),
}
COMPARISONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
for _name, _symbol in (("add", "+"), ("sub", "-"), ("mul", "*"), ("div", "/")):
    POINTWISE[getattr(aten, _name).Scalar] = _pattern(f"({{0}} {_symbol} {{1}})")
for _name, _operator in COMPARISONS.items():
    for _kind in ("Scalar", "Tensor"):
        POINTWISE[getattr(getattr(aten, _name), _kind)] = _pattern(f"({{0}} {_operator} {{1}})")
COPIES = (aten.clone.default, aten._to_copy.default, aten.detach.default, aten.alias.default)
SHAPES = (
    aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.squeeze.default,
    aten.squeeze.dim, aten.squeeze.dims, aten.squeeze_.dim, aten.unsqueeze.default,
    aten.unsqueeze_.default,
)  # fmt: skip
FILLED: dict[Any, float] = {
    aten.zeros_like.default: 0.0, aten.ones_like.default: 1.0, aten.zeros.default: 0.0,
    aten.ones.default: 1.0, aten.new_zeros.default: 0.0,
}  # fmt: skip


class CodeWriter:
    """Writes the statements of a recorded graph.

    Args:
        inputs: one array of C expressions per input of the graph, in its shape.
    """

    def __init__(self, inputs: Sequence[np.ndarray]) -> None:
        self.inputs = iter(inputs)
        self.lines: list[str] = []
        self.values: dict[fx.Node, np.ndarray] = {}
        self.count = 0

    def write(self, graph: fx.Graph) -> list[np.ndarray]:
        """The expressions of the outputs of the graph."""
        for node in graph.nodes:
            if node.op == "placeholder":
                self.values[node] = next(self.inputs)
            elif node.op == "output":
                return [self.values[result] for result in node.args[0]]  # pyright: ignore
            else:
                self.values[node] = self._call(node)
        raise Unsupported("no output")

    def _call(self, node: fx.Node) -> np.ndarray:
        target = node.target
        if node.op != "call_function":
            raise Unsupported(f"{node.op} {target}")
        if target in POINTWISE or target in (aten.clamp.default, *COPIES):
            return self._pointwise(node)
        result = node.meta["val"]
        if not isinstance(result, Tensor):
            raise Unsupported(str(target))
        if target in FILLED:
            return np.full(tuple(result.shape), constant(FILLED[target]), dtype=object)
        if target in (aten.full.default, aten.full_like.default, aten.scalar_tensor.default):
            value = node.args[1 if target != aten.scalar_tensor.default else 0]
            return np.full(tuple(result.shape), constant(value), dtype=object)  # pyright: ignore
        return self._rearranged(node, result)

    def _rearranged(self, node: fx.Node, result: Tensor) -> np.ndarray:
        """Views, and sums of products."""
        if not node.args or node.args[0] not in self.values:  # pyright: ignore[reportArgumentType]
            raise Unsupported(str(node.target))
        target, x, rest = node.target, self.values[node.args[0]], node.args[1:]  # pyright: ignore
        if target in SHAPES:
            return x.reshape(tuple(result.shape))
        if target == aten.expand.default:
            return np.broadcast_to(x, tuple(result.shape))
        if target == aten.select.int:
            return x.take(rest[1], axis=rest[0])  # pyright: ignore
        if target in (aten.t.default, aten.transpose.int):
            return x.T if target == aten.t.default else np.swapaxes(x, *rest)  # pyright: ignore
        if target == aten.permute.default:
            return np.transpose(x, rest[0])  # pyright: ignore
        if target in (aten.sum.default, aten.mean.default, aten.sum.dim_IntList, aten.mean.dim):
            return self._sum(node, x, rest, result)
        if target in (aten.mm.default, aten.mv.default, aten.dot.default):
            return self._product(x, self.values[rest[0]], result)  # pyright: ignore
        raise Unsupported(str(target))

    def _sum(self, node: fx.Node, x: np.ndarray, rest: Any, result: Tensor) -> np.ndarray:
        axes = tuple(rest[0]) if rest and rest[0] else tuple(range(x.ndim))
        moved = np.moveaxis(x, axes, range(len(axes))) if axes else x[None]
        terms = moved.reshape((-1, *moved.shape[len(axes) :])) if axes else moved
        total = terms[0]
        for term in terms[1:]:
            total = self._elements("({0} + {1})", result.dtype, total, term)
        if "mean" in str(node.target) and len(terms) > 1:
            total = self._elements(f"({{0}} / {len(terms)})", result.dtype, total)
        return np.asarray(total, dtype=object).reshape(tuple(result.shape))

    def _product(self, a: np.ndarray, b: np.ndarray, result: Tensor) -> np.ndarray:
        """The sums of products over the last axis of a and the first of b."""
        left, right = np.atleast_2d(a), b.reshape(len(b), -1)
        out = np.empty((len(left), right.shape[1]), dtype=object)
        for i, j in np.ndindex(out.shape):
            terms = [f"{u} * {v}" for u, v in zip(left[i], right[:, j], strict=True)]
            out[i, j] = self._variable(" + ".join(terms), result.dtype)
        return out.reshape(tuple(result.shape))

    def _pointwise(self, node: fx.Node) -> np.ndarray:
        result = node.meta["val"]
        if result.dtype not in C_TYPES:
            raise Unsupported(str(result.dtype))
        common = self._common_dtype(node, result.dtype)
        operands = [self._operand(argument, common) for argument in self._arguments(node)]
        expression = self._expression(node)
        arrays = np.broadcast_arrays(*operands, np.empty(tuple(result.shape), dtype=object))[:-1]
        out = np.empty(tuple(result.shape), dtype=object)
        for spot in np.ndindex(out.shape):
            text = expression(common, *(array[spot] for array in arrays))
            out[spot] = self._variable(text, result.dtype)
        return out

    def _expression(self, node: fx.Node) -> Callable[..., str]:
        if node.target in COPIES:
            return _pattern("{0}")
        if node.target != aten.clamp.default:
            return POINTWISE[node.target]  # pyright: ignore[reportArgumentType]
        low, high = (*node.args[1:], None, None)[:2]
        low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)

        def clamped(dtype: torch.dtype, x: str) -> str:
            if low is not None:
                x = _larger(dtype, x, f"({C_TYPES[dtype]}){constant(low)}")  # pyright: ignore
            if high is not None:
                x = _smaller(dtype, x, f"({C_TYPES[dtype]}){constant(high)}")  # pyright: ignore
            return x

        return clamped

    def _arguments(self, node: fx.Node) -> list[Any]:
        if node.target in (aten.clamp.default, *COPIES):
            return [node.args[0]]
        if node.kwargs.get("alpha", 1) != 1 or node.kwargs.get("rounding_mode") is not None:
            raise Unsupported(f"{node.target} with options")
        return list(node.args)

    def _common_dtype(self, node: fx.Node, result: torch.dtype) -> torch.dtype:
        """The dtype in which torch computes: for comparisons, that of the operands."""
        if result != torch.bool:
            return result
        tensors = [a.meta["val"] for a in node.args if isinstance(a, fx.Node)]
        others = [a for a in node.args if not isinstance(a, fx.Node)]
        dtype = tensors[0].dtype
        for other in (*tensors[1:], *others):
            dtype = torch.result_type(tensors[0], other)  # pyright: ignore
        return dtype

    def _operand(self, argument: Any, dtype: torch.dtype) -> np.ndarray:
        """The expressions of an operand, cast to the dtype in which torch computes."""
        if not isinstance(argument, fx.Node):
            plain = constant(argument)
            text = plain if dtype == torch.float64 else f"({C_TYPES[dtype]}){plain}"
            return np.array(plain if plain in ("0.5", "1.0", "2.0", "3.0") else text, dtype=object)
        own = argument.meta["val"].dtype
        array = self.values[argument]
        if own in (dtype, torch.bool):
            return array
        cast = np.vectorize(lambda text: f"(({C_TYPES[dtype]}){text})", otypes=[object])
        return cast(array) if array.size else array

    def _elements(self, pattern: str, dtype: torch.dtype, *arrays: Any) -> np.ndarray:
        arrays = np.broadcast_arrays(*(np.asarray(array, dtype=object) for array in arrays))
        out = np.empty(arrays[0].shape, dtype=object)
        for spot in np.ndindex(out.shape):
            text = pattern.format(*(array[spot] for array in arrays))
            out[spot] = self._variable(text, dtype)
        return out

    def _variable(self, text: str, dtype: torch.dtype) -> str:
        """A new variable with this value."""
        self.count += 1
        if self.count > MAX_VARIABLES:
            raise Unsupported(f"more than {MAX_VARIABLES} operations")
        name = f"v{self.count}"
        self.lines.append(f"const {C_TYPES[dtype]} {name} = {text};")
        return name
