"""Write what makes the optimizers visible to editors and type checkers, from the registry of rules.

    python -m tools.stubs

Run it after a change of `betaplane.rules.ALL` or of an optimizer's arguments or docstrings.
Written are `src/betaplane/_optimizers.py`, the names, and `src/betaplane/optim/__init__.pyi`,
the classes with their signatures and docstrings.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from betaplane import optim
from betaplane.optim.rule_from_group import BETAS
from betaplane.optim.storage_formats import STORAGES
from betaplane.rules import ALL

ROOT = Path(__file__).resolve().parents[1]
NAMES_PATH = "src/betaplane/_optimizers.py"
STUB_PATH = "src/betaplane/optim/__init__.pyi"
COMMAND = "python -m tools.stubs"

SHARED_TYPES = {
    "params": "ParamsT",
    "lr": "float | Tensor",
    "maximize": "bool",
    "storage": f"Literal[{', '.join(map(repr, STORAGES))}]",
    "rounding": "Literal['nearest', 'stochastic', 'kahan']",
    "average": "float | None",
    "max_norm": "float | None",
    "zero": "bool",
    "nonfinite": "Literal['pass', 'raise', 'skip']",
    "path": "Literal['auto', 'eager', 'compiled']",
}
NAMES = '''\
"""Names of the optimizers: written by `{command}`, not by hand."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
{imports}

__all__ = [
{names}
]
'''
STUB = '''\
"""Optimizers with their arguments: written by `{command}`, not by hand."""

from math import inf
from typing import ClassVar, Literal

import torch.optim
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from betaplane import rules
from betaplane.optim.torch_compatible import TorchCompatible
from betaplane.rules import Rule
{imports}

__all__ = [
{names}
]

{classes}
'''


def generate() -> dict[str, str]:
    """The text of each generated file, by its path in the repository."""
    optimizers = sorted(kind.__name__ for kind in ALL)
    others = sorted(set(optim.__all__) - set(optimizers))
    names = NAMES.format(
        command=COMMAND,
        imports=_lines(f"from betaplane.optim import {name} as {name}" for name in optimizers),
        names=_lines(f'"{name}",' for name in optimizers),
    )
    stub = STUB.format(
        command=COMMAND,
        imports="\n".join(_import(name) for name in others),
        names=_lines(f'"{name}",' for name in sorted([*optimizers, *others])),
        classes="\n".join(_class(getattr(optim, kind.__name__)) for kind in ALL),
    )
    return {NAMES_PATH: names, STUB_PATH: stub}


def _lines(lines: Any) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _import(name: str) -> str:
    return f"from {getattr(optim, name).__module__} import {name} as {name}"


def _class(kind: Any) -> str:
    bases = ", ".join(map(_base, kind.__bases__))
    doc = textwrap.indent(_escaped(kind.__doc__), "    ", lambda line: bool(line.strip()))
    return f'''class {kind.__name__}({bases}):
    r"""{doc.strip()}
    """

    rule: ClassVar[type[Rule]] = rules.{kind.rule.__name__}

    def __init__(
        self,
{_arguments(kind)}
    ) -> None: ...
'''


def _escaped(doc: str) -> str:
    return doc.replace('"""', "'''")


def _base(kind: type) -> str:
    return f"torch.optim.{kind.__name__}" if kind.__module__.startswith("torch.") else kind.__name__


def _arguments(kind: Any) -> str:
    lines, keyword_only = [], False
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            lines.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{name}: {_type(kind, name, parameter)}{default}")
    return "\n".join(f"        {line}," for line in lines)


def _type(kind: Any, name: str, parameter: inspect.Parameter) -> str:
    if name in SHARED_TYPES:
        return SHARED_TYPES[name]
    if parameter.annotation is not parameter.empty:
        return _annotation(parameter.annotation)
    own = {field.name: _annotation(field.type) for field in fields(kind.rule)}
    if name == "betas":
        return f"tuple[{', '.join('float' for field in own if field in BETAS)}]"
    return own[name]


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    text = inspect.formatannotation(annotation, base_module=Tensor.__module__)
    return re.sub(r"typing\.|torch\.(_tensor\.)?(?=Tensor)", "", text)


def main() -> None:
    """Write the files."""
    for path, text in generate().items():
        (ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
