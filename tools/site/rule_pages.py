"""One page for each rule of `betaplane.rules.ALL`, and their overview: nothing here names a rule."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from betaplane.docstrings import arguments, sections
from betaplane.rules import ALL, Rule, state_size
from betaplane.theory import state_bytes
from tools.site import rule_picture
from tools.site.fields import fields_of
from tools.site.markdown import example, prose, table

FORMATS = ("float32", "bfloat16", "8bit")
PICTURE = """\
![The update of {name} for gradients of three sizes](../pictures/rule-{key}.svg)

The left panel shows the gradients: steady, ten times as large for one step, then of the opposite sign, then zero. Three
rows of a matrix get them at three scales. The right panel shows the update of each row at the default settings. Lines
that coincide mean that the rule does not depend on the scale of the gradient.
"""
OVERVIEW = """\
# Optimizers

Every rule is a `torch.optim.Optimizer` of the same name: `betaplane.AdamW(model.parameters(), lr=3e-4)`. The state is
counted from the tensors that the rule makes for a 1024 x 1024 matrix, at its default settings; `betaplane rules` prints
the same numbers.

{rules}

## Memory of a model

`betaplane rules --params 70e9 --ranks 64` prints the memory per device under each stage of ZeRO, for weights, gradients
and states. The formulas are on the page of [memory](../theory/memory.md).
"""


def generate() -> dict[str, str]:
    """The pages and the pictures, by their path in docs/."""
    files = {
        "optimizers/index.md": OVERVIEW.format(rules=table(_HEAD, [_row(kind) for kind in ALL]))
    }
    for kind in ALL:
        files[f"optimizers/{_key(kind)}.md"] = page(kind)
        files[f"pictures/rule-{_key(kind)}.svg"] = rule_picture.draw(kind)
    for options in sorted(
        {options for kind in ALL for options in _inherited(kind)}, key=lambda kind: kind.__name__
    ):
        files[f"optimizers/{_key(options)}.md"] = options_page(options)
    return files


def page(kind: type[Rule]) -> str:
    """The page of one rule."""
    doc = sections(inspect.getdoc(kind) or "")
    parts = [
        f"# {kind.__name__}",
        prose(doc[""]),
        "## Update",
        PICTURE.format(name=kind.__name__, key=_key(kind)),
        "## Settings",
        _settings(kind, kind),
        *(f"\nAlso all [{options.__name__}]({_key(options)}.md)." for options in _inherited(kind)),
        "## State",
        _state(kind),
        "## Source",
        prose(doc.get("Source", kind.source)),
        "## Worked example",
        example(doc.get("Example", "")),
    ]
    return "\n\n".join(parts) + "\n"


def options_page(options: type[Rule]) -> str:
    """The page of options that several rules share."""
    doc = sections(inspect.getdoc(options) or "")
    users = [f"[{kind.__name__}]({_key(kind)}.md)" for kind in ALL if options in kind.__mro__]
    parts = [f"# {options.__name__}", prose(doc[""]), "## Settings", _settings(options, options)]
    return "\n\n".join([*parts, "## Rules that have them", ", ".join(users)]) + "\n"


def _key(kind: type) -> str:
    return kind.__name__.lower()


def _inherited(kind: type[Rule]) -> list[type[Rule]]:
    return [base for base in kind.__mro__[1:] if issubclass(base, Rule) and base is not Rule]


def _settings(kind: type[Rule], owner: type) -> str:
    meanings = arguments(inspect.getdoc(owner) or "")
    rows = [_setting(kind, field.name, meanings) for field in fields_of(owner)]
    if not rows:
        return "This rule has no settings of its own."
    return table(("setting", "default", "allowed", "meaning"), rows)


def _setting(kind: type[Rule], name: str, meanings: Mapping[str, str]) -> list[str]:
    default, meaning = getattr(kind, name), meanings.get(name, "")
    return [f"`{name}`", f"`{default!r}`", _allowed(kind, name), prose(meaning.removesuffix("."))]


def _allowed(kind: type[Rule], name: str) -> str:
    if name in kind.ranges:
        return f"`{kind.ranges[name].text}`"
    return ", ".join(f"`{choice!r}`" for choice in kind.choices.get(name, ()))


def _state(kind: type[Rule]) -> str:
    state_class = inspect.signature(kind.init, eval_str=True).return_annotation
    contents = kind().contents()
    rows = [
        (f"`{each.name}`", contents.get(each.name, ""), prose(each.comment))
        for each in fields_of(state_class)
    ]
    size = ", ".join(
        f"{value:.2f} in {form}" for form, value in zip(FORMATS, _bytes(kind), strict=True)
    )
    return f"{table(('tensor', 'contents', 'shape and unit'), rows)}\n\nBytes of state per parameter: {size}."


def _bytes(kind: type[Rule]) -> list[float]:
    tensors, rest = state_size(kind())
    return [state_bytes(tensors, form, rest) for form in FORMATS]


_HEAD = ("rule", "state, bytes per parameter: float32", "bfloat16", "8bit", "source")


def _row(kind: type[Rule]) -> list[str]:
    return [
        f"[{kind.__name__}]({_key(kind)}.md)",
        *(f"{value:.2f}" for value in _bytes(kind)),
        kind.source,
    ]
