"""Every rule, with every value of every option, on every path, at sizes and gradients that have
broken paths before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap

from betaplane.errors import BadInput
from betaplane.optim import optimizer_class
from betaplane.optim.base import GROUP_OPTIONS, OPTIMIZER_OPTIONS
from betaplane.optim.rule_from_group import BETAS
from betaplane.optim.step.dependence import dependence
from betaplane.optim.step.step_spec import ROUNDINGS
from betaplane.optim.storage_formats import STORAGES
from betaplane.optim.validation import NONFINITE
from betaplane.rules import AdaBelief, Rule
from betaplane.rules._rule import INF, Range

SMALL, LARGE = (1, 255, 4095, 4096), (65_535, 65_536, 1_000_003)
SPECIAL = {
    "ordinary": 1.0,
    "zero": 0.0,
    "huge": 1e20,
    "subnormal": 1e-40,
    "inf": INF,
    "nan": float("nan"),
}
STEPS = 3  # the second one's gradients are special
LOSSY = ("bfloat16", "8bit", "dynamic 8bit")
KIN = {"average": "x", "compensation": "x"}  # state whose roundings are those of another tensor

AROUND: dict[str, tuple[Any, ...]] = {  # the optimizers' own options; `path` is what is compared
    "storage": STORAGES,
    "rounding": ROUNDINGS,
    "average": (None, 0.9),
    "max_norm": (None, 1.0),
    "zero": (False, True),
    "nonfinite": NONFINITE,
    "maximize": (False, True),
}


class Variant(NamedTuple):
    """A rule with one option that is not at its default."""

    kind: type[Rule]
    options: dict[str, Any]

    @property
    def rule(self) -> Rule:
        return self.kind(
            **{name: value for name, value in self.options.items() if name not in AROUND}
        )

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if "rounding" in self.options else torch.float32

    def __str__(self) -> str:
        return f"{self.kind.__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def values(allowed: Range, usual: float | None) -> list[float]:
    """The values of a hyperparameter at which a rule may leave out operations, and others."""
    ends = [allowed.low] if allowed.text[0] == "[" else []
    ends += [INF] if allowed.text.endswith("inf]") else []
    inner = (
        [0.5, 0.9] if allowed.high == 1 or usual is None else [2.0 * float(allowed.example) or 0.1]
    )  # type: ignore[arg-type]
    return [value for value in [*ends, *inner] if value != usual and allowed.contains(value)]


def variants(kind: type[Rule]) -> list[Variant]:
    """The rule as it is, and with every option at every other value that it may have."""
    default = {f.name: f.default for f in fields(kind)}
    own = [
        (name, value)
        for name, known in kind.choices.items()
        for value in known
        if value != default[name]
    ]
    own += [
        (name, value)
        for name, allowed in kind.ranges.items()
        for value in values(allowed, default[name])
    ]  # type: ignore[arg-type]
    around = GROUP_OPTIONS | OPTIMIZER_OPTIONS | {"maximize": False}
    own += [
        (name, value) for name, known in AROUND.items() for value in known if value != around[name]
    ]
    own = [(name, value) for name, value in own if name != "rows"]  # odd sizes have no such blocks
    found = [Variant(kind, {})]
    for name, value in own:
        with contextlib.suppress(BadInput):  # options that need another one
            one = Variant(kind, {name: value})
            if one.rule is not None:
                found.append(one)
    return found


def arguments(variant: Variant) -> dict[str, Any]:
    """The options as an optimizer takes them."""
    options = dict(variant.options)
    rule = variant.rule
    betas = tuple(
        getattr(rule, name) for name in BETAS if hasattr(rule, name) and name in variant.kind.ranges
    )
    for name in BETAS:
        options.pop(name, None)
    return options | ({"betas": betas} if betas else {})


# ---- gradients


def gradient(n: int, words: tuple[str, ...], step: int) -> Tensor:
    """Normal numbers; at the second step special ones at every third place, of each kind in its
    part of the tensor.
    """
    generator = torch.Generator().manual_seed(1000 * step + n % 997)
    g = torch.randn(n, generator=generator)
    if step == 1:
        for part, word in zip(g.tensor_split(len(words)), words, strict=True):
            if word != "ordinary":
                part[::3] = torch.where(part[::3] < 0, -1.0, 1.0) * SPECIAL[word]
    return g


def cells(variant: Variant, sizes: tuple[int, ...]) -> Iterator[list[tuple[int, tuple[str, ...]]]]:
    """Lists of tensors that one optimizer steps: (size, kinds of gradients in it).

    A rule that looks at one element at a time has all kinds in one tensor of a large size.
    """
    alone = "max_norm" in variant.options or "nonfinite" in variant.options
    mixed = not alone and dependence(variant.rule) == "elementwise"
    large = [n for n in sizes if n in LARGE]
    small = [(n, (word,)) for n, word in product(sizes, SPECIAL) if n not in LARGE]
    if alone:
        yield from ([(n, (word,)) for n in sizes] for word in SPECIAL)
        return
    if small:
        yield small
    yield from (
        ([(n, tuple(SPECIAL))] for n in large)
        if mixed
        else ([(n, (w,))] for n, w in product(large, SPECIAL))
    )


# ---- what is compared


class End(NamedTuple):
    """What some steps leave."""

    # of each parameter: itself before and after each step, its state after each
    tensors: list[dict[str, Tensor]]
    error: str | None


def trained(
    variant: Variant, cell: list[tuple[int, tuple[str, ...]]], make: Callable[[list[Tensor]], Any]
) -> End:
    """Some steps of an optimizer."""
    generator = torch.Generator().manual_seed(7)
    params: list[Tensor] = [
        nn.Parameter(torch.randn(n, generator=generator).to(variant.dtype)) for n, _ in cell
    ]  # fmt: skip
    optimizer, found = make(params), [[{"x": p.detach().float().clone()} for p in params]]
    for step in range(STEPS):
        for p, (n, words) in zip(params, cell, strict=True):
            p.grad = gradient(n, words, step).to(variant.dtype)
        try:
            optimizer.step()
        except BadInput as error:
            return End([], str(error))
        found.append([_snapshot(optimizer, p) for p in params])
    merged = [
        {f"{word} {i}": value for i, one in enumerate(of) for word, value in one.items()}
        for of in zip(*found, strict=True)
    ]
    return End(merged, None)


def _snapshot(optimizer: Any, p: Tensor) -> dict[str, Tensor]:
    held = {
        word: value
        for word, value in optimizer.state[p].items()
        if isinstance(value, Tensor) and value.dim()
    }
    kept = {
        word: value
        for word, value in held.items()
        if value.dtype != torch.uint8 and not word.endswith("_scale")
    }
    return {word: value.detach().float().clone() for word, value in {"x": p, **kept}.items()}


def disagreement(variant: Variant, ours: End, reference: End) -> str | None:
    """Where two ends differ, if they do by more than the stated rounding.

    inf and nan are at the same places. Finite values differ by at most 32 roundings of the largest
    value that the element has had (of m^2, too, for AdaBelief's v, which averages (g - m)^2), and
    by 1e-5 of it in rules with means over the tensor, whose sums are taken in another order. In
    states that are rounded to 16 or 8 bits, one element in 1,000 may be rounded to the other side.
    """
    if ours.error != reference.error:
        return f"{ours.error} and {reference.error}"
    eps = torch.finfo(variant.dtype).eps
    tolerance = 32 * eps if dependence(variant.rule) == "elementwise" else max(32 * eps, 1e-5)
    for j, (mine, theirs) in enumerate(zip(ours.tensors, reference.tensors, strict=True)):
        largest: dict[str, Tensor] = {}
        for word, b in theirs.items():
            a, name = mine[word], KIN.get(word.split()[0], word.split()[0])
            finite = b.isfinite() & a.isfinite()
            size = torch.where(finite, b.abs(), 0.0)
            if variant.kind is AdaBelief and name == "exp_avg_sq":
                square = theirs[word.replace("_sq", "")].square()  # v averages (g - m)^2
                size = torch.maximum(size, torch.where(square.isfinite(), square, 0.0))
            largest[name] = torch.maximum(largest.get(name, size), size)
            near = (a - b).abs() <= tolerance * largest[name] + 1e-44
            special = (a.isnan() == b.isnan()) & ((a == b) | a.isnan())
            same = torch.where(finite, near, special)
            wrong = (~same).sum().item()
            lossy = (
                variant.options.get("storage") in LOSSY
                or variant.options.get("rounding") is not None
            )
            if wrong and not (
                lossy and bool((same | finite).all()) and wrong <= max(1, a.numel() / 1000)
            ):
                i = int((~same).flatten().nonzero()[0])
                return f"tensor {j}, {word}, {wrong} elements, first {i}: {a.flatten()[i]} and {b.flatten()[i]}"
    return None


def compared(variant: Variant, sizes: tuple[int, ...]) -> tuple[int, list[str]]:
    """Step by machine code and operation by operation; the number of combinations, and the
    disagreements.
    """
    combinations, wrong = 0, []
    options = {"lr": 0.01, **arguments(variant)}
    for cell in cells(variant, sizes):
        eager, compiled = (
            trained(
                variant,
                cell,
                lambda params, how=how: optimizer_class(variant.kind)(params, path=how, **options),
            )
            for how in ("eager", "compiled")
        )
        combinations += sum(len(words) for _, words in cell)
        found = disagreement(variant, compiled, eager)
        wrong += [f"{variant} {cell if len(cell) == 1 else ''}: {found}"] if found else []
    return combinations, wrong


def stacked(variant: Variant) -> tuple[int, list[str]]:
    """Step as replicas do, hyperparameters in tensors, and by the rule itself."""
    rule, wrong = variant.rule, []
    names = [name for name in rule.hyperparameters() if getattr(rule, name) not in (0, INF)]
    hyper = {
        name: torch.full((2,), float(getattr(rule, name)), dtype=torch.float64) for name in names
    }
    lr = torch.full((2,), 0.01, dtype=torch.float64)
    for word in SPECIAL:
        x = torch.randn(255, generator=torch.Generator().manual_seed(7))
        alone, many = x, x.expand(2, -1).clone()
        s, all_s = rule.init(x), vmap(lambda one: rule.init(one))(many)
        step = vmap(lambda x, g, s, h, lr: replace(rule, **h).step(x, g, s, lr))
        steps: tuple[list, list] = ([{"x": x}], [{"x": x}])
        for i in range(STEPS):
            g = gradient(255, (word,), i)
            alone, s = rule.step(alone, g, s, 0.01)
            many, all_s = step(many, g.expand(2, -1).clone(), all_s, hyper, lr)
            pairs = zip(s._fields, s, all_s, strict=True)
            known = {"x": (alone, many)} | {name: (a, b) for name, a, b in pairs if a.dim()}
            for kept, place in zip(steps, (0, 1), strict=True):
                kept.append(
                    {
                        f"{name} {i}": pair[0] if not place else pair[1][1]
                        for name, pair in known.items()
                    }
                )
        plain, vmapped = (
            End([{k: v for one in kept for k, v in one.items()}], None) for kept in steps
        )
        found = disagreement(variant, vmapped, plain)
        wrong += [f"{variant} stacked {word}: {found}"] if found else []
    return len(SPECIAL), wrong
