"""The reference of the public names of `betaplane`, one page per package."""

from __future__ import annotations

import sys

import betaplane
from betaplane._optimizers import __all__ as OPTIMIZERS
from tools.site.markdown import prose, table

HEAD = """\
# Reference

The public names of `betaplane`, by the package that they come from. Those of `betaplane.theory` are under
[Theory](../theory/index.md), and what each optimizer computes is under [Optimizers](../optimizers/index.md).

{names}
"""


def generate() -> dict[str, str]:
    """The pages, by their path in docs/."""
    groups: dict[str, list[type]] = {}
    for name in sorted(betaplane.__all__):
        value = getattr(betaplane, name)
        groups.setdefault(value.__module__.split(".")[1], []).append(value)
    names = table(
        ("package", "names"),
        [(f"[{key}]({key}.md)", _links(key, groups[key])) for key in sorted(groups)],
    )
    pages = {f"reference/{key}.md": _page(key, groups[key]) for key in sorted(groups)}
    return {"reference/index.md": HEAD.format(names=names), **pages}


def _links(package: str, values: list[type]) -> str:
    return ", ".join(f"[{value.__name__}]({package}.md#{_path(value)})" for value in values)


def _path(value: type) -> str:
    """Where the documentation of a name is; that of optimizers is in the stub of their package."""
    if value.__name__ in OPTIMIZERS:
        return f"betaplane.optim.{value.__name__}"
    return f"{value.__module__}.{value.__qualname__}"


def _page(package: str, values: list[type]) -> str:
    about = (sys.modules[f"betaplane.{package}"].__doc__ or "").split("\n")[0]
    return "\n\n".join(
        [f"# betaplane.{package}", prose(about), *(f"::: {_path(value)}" for value in values)]
    )
