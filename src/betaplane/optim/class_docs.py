"""Docstrings of the optimizers' classes: equations, and every argument with range and default."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields

from betaplane.docstrings import arguments, sections
from betaplane.optim.rule_from_group import BETAS
from betaplane.rules import Rule

WIDTH = 92  # columns; 100 in the stubs, which indent by up to 8

# arguments of torch's classes, and of all optimizers
TORCH_ARGUMENTS = {
    "params": "Parameters, (name, parameter) pairs, or groups as dicts with the key params.",
    "lr": "Learning rate. In [0, inf).",
    "maximize": "Whether to step up the gradient instead of down.",
    "foreach": "Whether torch's loops over tensors are batched. None lets torch or the rule choose.",
    "fused": "Whether to use torch's fused kernel. None uses it if there is one and it is safe.",
    "capturable": "Whether a step can be captured in a CUDA graph.",
    "differentiable": "Whether autograd can differentiate through the step, which is slower.",
    "amsgrad": "Whether the denominator takes the running maximum of v, as in AMSGrad.",
    "decoupled_weight_decay": "Whether weight decay shrinks x by lr weight_decay, as in AdamW, "
    "instead of an L2 term in the gradient.",
    "beta2_decay": "Exponent in beta2 = 1 - t^beta2_decay; closer to 0 remembers less. "
    "In (-inf, 0].",
}


def class_docstring(cls: type, host: type, shared: type) -> str:
    """The docstring of an optimizer's class.

    Args:
        cls: the optimizer's class, with `rule` and a signature.
        host: the class whose docstring says how it steps.
        shared: the class whose docstring has the arguments that all optimizers share.
    """
    rule = sections(inspect.getdoc(cls.rule) or "")  # pyright: ignore[reportAttributeAccessIssue]
    how = sections(inspect.getdoc(host) or "")
    summary = [vars(cls)["__doc__"]] if vars(cls).get("__doc__") else []
    parts = [*summary, rule[""], how[""], _section("Args", argument_lines(cls, host, shared))]
    if "Raises" in how:
        parts.append(_section("Raises", [how["Raises"]]))
    return "\n\n".join([*parts, f"Source: {rule['Source']}" if "Source" in rule else ""]).rstrip()


def _section(title: str, lines: Iterator[str] | list[str]) -> str:
    return f"{title}:\n" + "\n".join(textwrap.indent(line, "    ") for line in lines)


def argument_lines(cls: type, host: type, shared: type) -> Iterator[str]:
    """One wrapped text per argument of a class: name, meaning, range, default."""
    known = arguments(inspect.getdoc(host) or "") | arguments(inspect.getdoc(shared) or "")
    for name, parameter in inspect.signature(cls).parameters.items():
        text = TORCH_ARGUMENTS.get(name) or _rule_text(cls, name) or _sentence(known.get(name, ""))
        if parameter.default is not parameter.empty:
            text = f"{text} Default: {parameter.default!r}.".lstrip()
        yield textwrap.fill(
            f"{name}: {text}",
            WIDTH - 4,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _rule_text(cls: type, name: str) -> str:
    """What the rule says of an argument; empty if the rule does not have it."""
    kind: type[Rule] = cls.rule  # pyright: ignore[reportAttributeAccessIssue]
    own = _fields_of(kind, name, getattr(cls, "torch_options", {}))
    meanings = option_meanings(kind)
    texts = [
        f"{_sentence(meanings.get(field, ''))} {_allowed(kind, field)}".strip() for field in own
    ]
    if len(own) < 2:
        return "".join(texts)
    pairs = zip(own, texts, strict=True)
    return f"The tuple ({', '.join(own)}). " + " ".join(f"{field}: {text}" for field, text in pairs)


def _fields_of(kind: type[Rule], name: str, torch_options: Mapping[str, str]) -> list[str]:
    """The rule's fields that an argument sets."""
    known = [field.name for field in fields(kind)]
    if name == "betas":
        return [field for field in known if field in BETAS]
    return [field for field in known if torch_options.get(field, field) == name]


def option_meanings(kind: type[Rule]) -> dict[str, str]:
    """What each option of a rule means, from the docstrings of its class and of those it inherits.

    Example:
        >>> from betaplane.rules import AdamW
        >>> option_meanings(AdamW)["weight_decay"]
        'coefficient of weight decay; `decay` selects how it enters the step.'
    """
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        meanings |= arguments(inspect.cleandoc(vars(base).get("__doc__") or ""))
    return meanings


def _allowed(kind: type[Rule], name: str) -> str:
    if name in kind.ranges:
        return f"In {kind.ranges[name].text}."
    choices = kind.choices.get(name, ())
    if all(isinstance(choice, bool) for choice in choices):
        return ""
    return f"One of {', '.join(map(repr, choices))}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
