"""Enumerate the mutants of a source file: one changed expression or statement each.

Messages decide nothing: f-strings, what is raised, docstrings, annotations and decorators are not
mutated. Nor is the `strict` of zip, which guards lengths that are equal."""

from __future__ import annotations

import ast
import copy
import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple

COMPARES = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
PAIRS = [
    ("min", "max"), ("any", "all"), ("floor", "ceil"), ("argmin", "argmax"), ("minimum", "maximum"), ("amin", "amax"),
]  # fmt: skip
NEIGHBORS = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
SILENT_CALLS = {"field", "TypeVar", "BadInput", "expect", "wraps"}


class Mutant(NamedTuple):
    """One change of one file."""

    file: str  # relative to the root
    line: int
    function: str  # "Judge.ask"; "" at module or class level
    names: tuple[str, ...]  # assigned at module level by the changed statement
    text: str  # the source line
    change: str  # "a < b -> a <= b"
    number: int  # among equal changes of equal lines in the file
    span: tuple[int, int]  # bytes of the source that change
    new: str  # what replaces them

    @property
    def key(self) -> str:
        """What identifies the mutant when other lines of the file change."""
        return f"{self.file} | {self.text} | {self.change} | {self.number}"

    def applied(self, source: str) -> str | None:
        """The mutated source; None if it is no Python, or the same program."""
        data, (begin, end) = source.encode(), self.span
        mutated = (data[:begin] + self.new.encode() + data[end:]).decode()
        try:
            return mutated if ast.dump(ast.parse(source)) != ast.dump(ast.parse(mutated)) else None
        except SyntaxError:
            return None

    def diff(self, source: str) -> str:
        """The change as a unified diff without context."""
        mutated = self.applied(source) or source
        lines = difflib.unified_diff(
            source.splitlines(), mutated.splitlines(), self.file, self.file, "", "", 0
        )
        return "\n".join(line.rstrip() for line in lines)


def mutants(file: str, source: str) -> list[Mutant]:
    """All mutants of a file, in source order."""
    found: list[Mutant] = []
    counts: dict[tuple[str, str], int] = {}
    lines, starts = source.splitlines(), _starts(source)
    for where, node, new in _walk(ast.parse(source), ("", ())):
        span = _span(starts, node)
        old = source.encode()[slice(*span)].decode()
        text, change = lines[node.lineno - 1].strip(), f"{' '.join(old.split())} -> {new}"
        number = counts[text, change] = counts.get((text, change), -1) + 1
        found.append(Mutant(file, node.lineno, *where, text, change, number, span, new))
    return found


def _starts(source: str) -> list[int]:
    """The byte at which each line starts; columns of ast count bytes."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _span(starts: list[int], node: Any) -> tuple[int, int]:
    return starts[node.lineno - 1] + node.col_offset, starts[
        node.end_lineno - 1
    ] + node.end_col_offset


Where = tuple[str, tuple[str, ...]]  # function; names assigned at module level


def _walk(node: ast.AST, where: Where, inside: str = "") -> Iterator[tuple[Where, Any, str]]:
    """Every mutation below a node, with the outermost function it lies in."""
    for name, child in _children(node):
        here, path = where, inside
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not where[0]:
            here = (f"{inside}{child.name}", ())
        elif isinstance(child, ast.ClassDef):
            here, path = (where[0], (child.name,)), f"{inside}{child.name}."
        elif not where[0] and not inside and isinstance(child, ast.Assign | ast.AnnAssign):
            here = ("", tuple(_assigned(child)))
        if _silent(name, child):
            continue
        for new in _mutations(child):
            yield here, child, new
        yield from _walk(child, here, path)


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child


def _silent(name: str, child: ast.AST) -> bool:
    """Whether a part of the tree decides nothing."""
    if name in ("annotation", "returns", "decorator_list", "bases") or isinstance(
        child, ast.JoinedStr | ast.Raise
    ):
        return True
    if (
        isinstance(child, ast.keyword)
        and child.arg == "strict"
        and isinstance(child.value, ast.Constant)
    ):
        return True
    if isinstance(child, ast.Call) and _called(child) in SILENT_CALLS:
        return True
    return isinstance(child, ast.FunctionDef) and child.name in (
        "__repr__",
        "__str__",
        "_repr_html_",
    )


def _assigned(statement: ast.AST) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]  # type: ignore[attr-defined]
    for target in targets:
        yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _mutations(node: ast.AST) -> Iterator[str]:
    """Texts to put in the place of a node."""
    maker = MAKERS.get(type(node))
    for new in maker(node) if maker else ():
        ast.fix_missing_locations(new)
        text = ast.unparse(new)
        simple = isinstance(
            new,
            ast.Name
            | ast.Call
            | ast.Constant
            | ast.Subscript
            | ast.Attribute
            | ast.stmt
            | ast.Slice,
        )
        yield text if simple else f"({text})"


def _with(node: ast.AST, **changes: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def _compares(node: ast.Compare) -> Iterator[ast.AST]:
    for i, op in enumerate(node.ops):
        for other in COMPARES[type(op)]:
            yield _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    sides = node.left, node.right
    textual = any(
        isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str))
        for s in sides
    )
    types = isinstance(node.op, ast.BitOr) and any(
        isinstance(s, ast.Constant | ast.Name) for s in sides
    )
    if textual or types or type(node.op) not in ARITHMETIC:
        return
    yield _with(node, op=ARITHMETIC[type(node.op)]())
    if (
        isinstance(node.op, ast.FloorDiv)
        and _is_length(node.left)
        and isinstance(node.right, ast.Constant)
    ):
        yield _with(node, left=ast.BinOp(node.left, ast.Sub(), ast.Constant(1)))  # the lower median


def _is_length(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _called(node) == "len"


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        if value:
            yield ast.Constant(value * 10)
    elif isinstance(value, float):
        changed = [value * 1.01, value * 10] if value else [1.0]
        yield from map(ast.Constant, [*changed, value + 1] if 0.01 < abs(value) < 100 else changed)


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    name = _called(node)
    if name in NEIGHBORS:
        other = NEIGHBORS[name]
        func = ast.Name(other) if isinstance(node.func, ast.Name) else _with(node.func, attr=other)
        yield _with(node, func=func)
    if name == "sorted":
        yield ast.Subscript(node, ast.Slice(step=ast.UnaryOp(ast.USub(), ast.Constant(1))))
    if len(node.args) > 1 and name not in (
        "isinstance",
        "min",
        "max",
        "hypot",
        "minimum",
        "maximum",
        "cast",
    ):
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])


def _booleans(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for i in range(len(node.values)):
        kept = [*node.values[:i], *node.values[i + 1 :]]
        yield _with(node, values=kept) if len(kept) > 1 else kept[0]


def _slices(node: ast.Slice) -> Iterator[ast.AST]:
    for end in ("lower", "upper"):
        value = getattr(node, end)
        if value is not None:
            yield _with(node, **{end: ast.BinOp(value, ast.Add(), ast.Constant(1))})
    if node.step is None and node.upper is None and node.lower is not None:
        yield _with(node, upper=ast.UnaryOp(ast.USub(), ast.Constant(1)))


def _returns(node: ast.Return) -> Iterator[ast.AST]:
    if isinstance(node.value, ast.Tuple) and len(node.value.elts) > 1:
        first, second, *rest = node.value.elts
        yield _with(node, value=_with(node.value, elts=[second, first, *rest]))


def _steps(node: ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in ARITHMETIC:
        yield _with(node, op=ARITHMETIC[type(node.op)]())


def _choices(node: ast.IfExp) -> Iterator[ast.AST]:
    yield _with(node, body=node.orelse, orelse=node.body)


MAKERS = {
    ast.Compare: _compares,
    ast.BinOp: _arithmetic,
    ast.UnaryOp: _unary,
    ast.Constant: _constants,
    ast.Call: _calls,
    ast.BoolOp: _booleans,
    ast.Slice: _slices,
    ast.Return: _returns,
    ast.AugAssign: _steps,
    ast.IfExp: _choices,
    ast.Continue: lambda node: [ast.Break()],
    ast.Break: lambda node: [ast.Continue()],
}
