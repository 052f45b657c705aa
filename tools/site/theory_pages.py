"""One page for each module of `betaplane.theory`: its closed forms, each with its plot, and their overview."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from betaplane import theory
from tools.site.markdown import prose, table
from tools.site.theory_plots import closed_forms, draw, plot_of
from tools.site.theory_special import SPECIAL

OVERVIEW = """\
# Theory

Closed forms with their sources, all in `betaplane.theory`. Each takes numbers or arrays, and each is checked by
simulation in the tests. `make docs` draws the plots from the functions themselves.

{modules}
"""
FORM = """\
::: {path}

![{name} over its arguments](../pictures/theory-{name}.svg)
"""
RESULT = """\
::: {path}
"""


def generate() -> dict[str, str]:
    """The pages and the plots, by their path in docs/."""
    modules = {_module(value).__name__: _module(value) for value in _public()}
    sections = "\n\n".join(_section(module) for _, module in sorted(modules.items()))
    files = {"theory/index.md": OVERVIEW.format(modules=sections)}
    files |= {f"theory/{_page(module)}.md": page(module) for _, module in sorted(modules.items())}
    for function in closed_forms():
        plot = SPECIAL.get(function.__name__) or plot_of(function)
        files[f"pictures/theory-{function.__name__}.svg"] = draw(function, plot)
    return files


def page(module: ModuleType) -> str:
    """The page of one module."""
    parts = [f"# {_title(module)}", prose(inspect.getdoc(module) or "")]
    for value in (value for value in _public() if _module(value) is module):
        form = FORM if inspect.isfunction(value) else RESULT
        parts.append(form.format(path=f"{module.__name__}.{value.__name__}", name=value.__name__))
    return "\n\n".join(parts)


def _section(module: ModuleType) -> str:
    rows = [_row(function) for function in closed_forms() if _module(function) is module]
    return f"## {_title(module)}\n\n{prose(inspect.getdoc(module) or '')}\n\n{table(('formula', 'result'), rows)}"


def _public() -> list[Any]:
    """Functions first, then the classes of their results."""
    values = [getattr(theory, name) for name in theory.__all__]
    return sorted(values, key=lambda value: not inspect.isfunction(value))


def _module(value: Any) -> ModuleType:
    return sys.modules[value.__module__]


def _page(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _title(module: ModuleType) -> str:
    title = _page(module).replace("_", " ").capitalize()
    return re.sub(r"\brms\b", "RMS", title)


def _row(function: Callable[..., Any]) -> list[str]:
    first = (inspect.getdoc(function) or "").split("\n")[0]
    path = f"{_page(_module(function))}.md#{function.__module__}.{function.__name__}"
    return [f"[{function.__name__}]({path})", prose(first)]
