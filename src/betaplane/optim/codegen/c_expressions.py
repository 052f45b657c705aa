"""C expressions for torch's operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from betaplane.optim.codegen.axes import BATCH, FULL, REDUCTIONS, ROW, SCALAR

aten = torch.ops.aten


def is_scalar(node: fx.Node) -> bool:
    """Whether a value is a single number of the tensor, which C computes in double."""
    return node.meta["kind"] == SCALAR


def operand(value: Any) -> str:
    """A value as an operand: a number, or a node; scalars are cast to the dtype of the step."""
    if isinstance(value, fx.Node):
        return f"((real){value.name})" if is_scalar(value) else value.name
    if value in (float("inf"), -float("inf")):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"((real){float(value)!r})"


Expression = Callable[[fx.Node], str]


def _add(sign: str) -> Expression:
    def expression(node: fx.Node) -> str:
        a, b = node.args[:2]
        alpha = node.kwargs.get("alpha", 1)
        return (
            f"{operand(a)} {sign} {operand(b)}"
            if alpha == 1
            else f"FMA({sign}{operand(alpha)}, {operand(b)}, {operand(a)})"
        )

    return expression


def _pattern(pattern: str) -> Expression:
    def expression(node: fx.Node) -> str:
        return pattern.format(*(operand(value) for value in node.args))

    return expression


def _clamp(node: fx.Node) -> str:
    x, low, high = (*node.args, None, None)[:3]
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    value = operand(x)
    if low is not None:
        value = f"({value} < {operand(low)} ? {operand(low)} : {value})"
    if high is not None:
        value = f"({value} > {operand(high)} ? {operand(high)} : {value})"
    return value


def _power(node: fx.Node) -> str:
    x, power = operand(node.args[0]), node.args[1]
    plain = {2: f"{x} * {x}", 3: f"{x} * {x} * {x}", 0.5: f"sqrt_of({x})"}
    return plain.get(power, f"pow_of({x}, {operand(power)})")  # type: ignore[call-overload]


def _cast(node: fx.Node) -> str:
    return (
        f"bf16({operand(node.args[0])})"
        if node.kwargs.get("dtype") == torch.bfloat16
        else operand(node.args[0])
    )


EXPRESSIONS: dict[Any, Expression] = {
    aten.add.Tensor: _add("+"),
    aten.sub.Tensor: _add("-"),
    aten.rsub.Scalar: _pattern("{1} - {0}"),
    aten.mul.Tensor: _pattern("{0} * {1}"),
    aten.div.Tensor: _pattern("{0} / {1}"),
    aten.neg.default: _pattern("-{0}"),
    aten.abs.default: _pattern("abs_of({0})"),
    aten.sign.default: _pattern("sign_of({0})"),
    aten.sqrt.default: _pattern("sqrt_of({0})"),
    aten.rsqrt.default: _pattern("1 / sqrt_of({0})"),
    aten.reciprocal.default: _pattern("1 / {0}"),
    aten.lerp.Tensor: _pattern("lerp_of({0}, {1}, {2})"),
    aten.lerp.Scalar: _pattern("lerp_of({0}, {1}, {2})"),
    aten.maximum.default: _pattern("max_of({0}, {1})"),
    aten.minimum.default: _pattern("min_of({0}, {1})"),
    aten.where.self: _pattern("({0} ? {1} : {2})"),
    aten.atan2.default: _pattern("arctan2({0}, {1})"),
    aten.clone.default: _pattern("{0}"),
    aten.exp.default: _pattern("exp_of({0})"),
    aten.log.default: _pattern("log_of({0})"),
    aten.tanh.default: _pattern("tanh_of({0})"),
    aten.clamp.default: _clamp,
    aten.pow.Tensor_Scalar: _power,
    aten._to_copy.default: _cast,
}
for _name, _operator in (
    ("gt", ">"),
    ("ge", ">="),
    ("lt", "<"),
    ("le", "<="),
    ("eq", "=="),
    ("ne", "!="),
):
    for _overload in ("Scalar", "Tensor"):
        EXPRESSIONS[getattr(getattr(aten, _name), _overload)] = _pattern(
            f"(real)({{0}} {_operator} {{1}})"
        )


def has_expression(node: fx.Node) -> bool:
    """Whether an operation has a C expression; rules with any other are stepped eagerly."""
    return node.op != "call_function" or node.target in EXPRESSIONS or node.target in REDUCTIONS


def divisor(node: fx.Node) -> fx.Node | None:
    """The number by which an operation divides elements, if many of them are divided by the same."""
    if node.target != aten.div.Tensor or node.meta["kind"] != FULL:
        return None
    by = node.args[1]
    shared = isinstance(by, fx.Node) and by.meta["kind"] in (SCALAR, ROW, BATCH)
    return by if shared else None  # type: ignore[return-value]


def element_expression(node: fx.Node) -> str:
    """C for an operation on elements; processors divide at a fifth of the speed of products."""
    by = divisor(node)
    if by is None:
        return EXPRESSIONS[node.target](node)
    return f"({operand(node.args[0])} * scale_{by.name}) * inverse_{by.name}"


ARCTAN: dict[torch.dtype, tuple[float, ...]] = {
    torch.float32: (
        -0.0006633954499072128, 0.004732484161151646, -0.01582832269137617,
        0.033826218901751554, -0.053956680550444586, 0.07228278345218474,
        -0.08974171958451595, 0.11091922963636366, -0.14283813255700284,
        0.19999901102161427, -0.3333333129088913, 0.9999999999293034,
    ),
    torch.float64: (
        0.0003921893750378274, -0.004302877539604038, 0.02200138802128355,
        -0.06964231689469207, 0.15292445691912393, -0.24752798360084957,
        0.30669594260692634, -0.29904898143408726, 0.2359016699126623,
        -0.15725293558722872, 0.09694610073715251, -0.06486584968883578,
        0.05395350969052116, -0.05409653269924108, 0.059084147231428116,
        -0.06670157703536828, 0.07692649285740233, -0.09090932457220927,
        0.11111112155773645, -0.14285714312968997, 0.20000000000332474,
        -0.33333333333334475, 0.9999999999999999,
    ),
}  # fmt: skip
"""The coefficients of arctan(z) / z in powers of z^2, the highest first: its polynomial through Chebyshev's nodes on
0 <= z^2 <= 1.

Fitted for z <= tan(pi / 8) it would be shorter, but larger z need a second division, which takes longer.
"""


def arctan_polynomial(dtype: torch.dtype) -> str:
    """C for arctan(z) / z as a polynomial in w = z^2, for 0 <= z <= 1."""
    highest, *lower = ARCTAN[dtype]
    text = f"real a = (real){highest!r};"
    return text + "".join(f" a = FMA(a, w, (real){value!r});" for value in lower)
