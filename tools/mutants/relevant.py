"""Choose the tests that may notice a mutant, the most specific first."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from tools.mutants.executions import PACKAGE, ROOT
from tools.mutants.mutations import Mutant

SECONDS = 20.0  # of recorded CPU time at most; a mutant that survives them counts as survived


def relevant(
    mutant: Mutant, tests: dict[str, dict[str, Any]], killer: str = ""
) -> tuple[list[str], float]:
    """Tests in the order to run them, and their recorded seconds.

    Tests of the mutant's own package come first, then those that enter the fewest functions. The test that killed the
    mutant before comes before all.
    """
    functions = _functions(mutant)
    package = mutant.file.split("/")[2]
    hit = [
        n
        for n, test in tests.items()
        if not functions.isdisjoint(test["functions"]) or _reads(n, mutant.names)
    ]
    hit.sort(
        key=lambda n: (
            n != killer,
            f"/{package}/" not in n,
            tests[n]["seconds"] > 1,
            len(tests[n]["functions"]),
        )
    )
    chosen, seconds = [], 0.0
    for name in hit:
        if seconds + tests[name]["seconds"] <= SECONDS:
            chosen.append(name)
            seconds += tests[name]["seconds"]
    return chosen, seconds


def _reads(test: str, names: tuple[str, ...]) -> bool:
    """Whether a test's file mentions one of the changed module-level names."""
    return any(re.search(rf"\b{name}\b", _text(test.partition("::")[0])) for name in names)


@cache
def _text(file: str) -> str:
    return (ROOT / file).read_text() if file.startswith("tests/") else ""


def _functions(mutant: Mutant) -> set[str]:
    """The function that is changed; of a module-level name all that use it, and all beside it."""
    file = mutant.file.removeprefix("src/betaplane/")
    if mutant.function:
        return {f"{file}:{mutant.function}"}
    found = {f"{file}:{owner}" for kind, owner, _ in _mentions(file) if kind == "function"}
    seen: set[tuple[str, str]] = set()
    queue = [(file, name) for name in mutant.names]
    while queue:
        place = queue.pop()
        if place in seen:
            continue
        seen.add(place)
        for user, functions, names in _users(*place):
            found |= {f"{user}:{function}" for function in functions}
            queue += [(user, name) for name in names]
    return found


def _users(file: str, name: str) -> list[tuple[str, set[str], set[str]]]:
    """Files that use a name: (file, functions that mention it, module-level names made of it)."""
    module = "betaplane." + file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    found = []
    for other in _files():
        if other == file or (module, name) in _imports(other):
            functions, names = set(), set()
            for kind, owner, mentioned in _mentions(other):
                if name in mentioned:
                    (functions if kind == "function" else names).add(owner)
            found.append((other, functions, names - {name}))
    return found


@cache
def _files() -> list[str]:
    return [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse((ROOT / "src" / "betaplane" / file).read_text())


@cache
def _imports(file: str) -> set[tuple[str, str]]:
    nodes = [node for node in ast.walk(_tree(file)) if isinstance(node, ast.ImportFrom)]
    return {(node.module or "", alias.name) for node in nodes for alias in node.names}


@cache
def _mentions(file: str) -> list[tuple[str, str, set[str]]]:
    """Functions and module-level statements, with the names they mention."""
    found = []
    for node in _tree(file).body:
        if isinstance(node, ast.FunctionDef):
            found.append(("function", node.name, _named(node)))
        elif isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            found += [
                ("function", f"{node.name}.{method.name}", _named(method)) for method in methods
            ]
            rest = set().union(*(_named(part) for part in node.body if part not in methods))
            found += [("function", f"{node.name}.{method.name}", {node.name}) for method in methods]
            found.append(("name", node.name, rest))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name)
            ]
            found += [("name", name, _named(node)) for name in names]
    return found


def _named(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
