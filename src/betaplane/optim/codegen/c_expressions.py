"""Torch's operations in C's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten
REDUCTIONS = (aten.mean.default, aten.sum.default)


def single(node: Any) -> bool:
    """Whether a value is one number for the whole tensor."""
    if not isinstance(node, fx.Node):
        return True
    value = node.meta["val"] if "val" in node.meta else node.meta["tensor_meta"]
    return len(value.shape) == 0


def name(value: Any) -> str:
    """A value in an expression: a number, or a node, narrowed to the type of the pass where it is a
    scalar.
    """
    if isinstance(value, fx.Node):
        return f"((real){value.name})" if single(value) else value.name
    if value in (float("inf"), -float("inf")):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"((real){float(value)!r})"


Say = Callable[[fx.Node], str]


def _joined(sign: str) -> Say:
    def say(node: fx.Node) -> str:
        a, b = node.args[:2]
        alpha = node.kwargs.get("alpha", 1)
        return (
            f"{name(a)} {sign} {name(b)}"
            if alpha == 1
            else f"FMA({sign}{name(alpha)}, {name(b)}, {name(a)})"
        )

    return say


def _form(pattern: str) -> Say:
    def say(node: fx.Node) -> str:
        return pattern.format(*(name(value) for value in node.args))

    return say


def _clamp(node: fx.Node) -> str:
    x, low, high = (*node.args, None, None)[:3]
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    value = name(x)
    if low is not None:
        value = f"({value} < {name(low)} ? {name(low)} : {value})"
    if high is not None:
        value = f"({value} > {name(high)} ? {name(high)} : {value})"
    return value


def _power(node: fx.Node) -> str:
    x, power = name(node.args[0]), node.args[1]
    plain = {2: f"{x} * {x}", 3: f"{x} * {x} * {x}", 0.5: f"sqrt_of({x})"}
    return plain.get(power, f"pow_of({x}, {name(power)})")  # type: ignore[call-overload]


def _cast(node: fx.Node) -> str:
    return (
        f"bf16({name(node.args[0])})"
        if node.kwargs.get("dtype") == torch.bfloat16
        else name(node.args[0])
    )


EXPRESSIONS: dict[Any, Say] = {
    aten.add.Tensor: _joined("+"),
    aten.sub.Tensor: _joined("-"),
    aten.rsub.Scalar: _form("{1} - {0}"),
    aten.mul.Tensor: _form("{0} * {1}"),
    aten.div.Tensor: _form("{0} / {1}"),
    aten.neg.default: _form("-{0}"),
    aten.abs.default: _form("abs_of({0})"),
    aten.sign.default: _form("sign_of({0})"),
    aten.sqrt.default: _form("sqrt_of({0})"),
    aten.rsqrt.default: _form("1 / sqrt_of({0})"),
    aten.reciprocal.default: _form("1 / {0}"),
    aten.lerp.Tensor: _form("lerp_of({0}, {1}, {2})"),
    aten.lerp.Scalar: _form("lerp_of({0}, {1}, {2})"),
    aten.maximum.default: _form("max_of({0}, {1})"),
    aten.minimum.default: _form("min_of({0}, {1})"),
    aten.where.self: _form("({0} ? {1} : {2})"),
    aten.atan2.default: _form("arctan2({0}, {1})"),
    aten.clone.default: _form("{0}"),
    aten.exp.default: _form("exp_of({0})"),
    aten.log.default: _form("log_of({0})"),
    aten.tanh.default: _form("tanh_of({0})"),
    aten.clamp.default: _clamp,
    aten.pow.Tensor_Scalar: _power,
    aten._to_copy.default: _cast,
}
for _word, _sign in (
    ("gt", ">"),
    ("ge", ">="),
    ("lt", "<"),
    ("le", "<="),
    ("eq", "=="),
    ("ne", "!="),
):
    for _kind in ("Scalar", "Tensor"):
        EXPRESSIONS[getattr(getattr(aten, _word), _kind)] = _form(f"(real)({{0}} {_sign} {{1}})")


def spoken(node: fx.Node) -> bool:
    """Whether there are words for an operation; a rule with any other is stepped operation by
    operation.
    """
    return node.op != "call_function" or node.target in EXPRESSIONS or node.target in REDUCTIONS
