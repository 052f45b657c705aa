"""Convert a name, a class, an instance or an optimizer to the update rule it stands for."""

from __future__ import annotations

import inspect
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

import torch
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, nearest, unknown
from betaplane.optim.torch_classes import TORCH_CLASSES
from betaplane.rules import NAMES, Rule, by_name

ALLOWED = "a name of `betaplane rules`, a rule, an optimizer class or an optimizer"


def as_rule(given: object) -> Rule:
    """The update rule that `given` stands for.

    Args:
        given: a name, with options after a colon ("adam", "adam:debias=none,beta2=0.95"; capitals do not matter), a
            rule or its class (`betaplane.rules.Adam`), an optimizer class (`betaplane.AdamW`, `torch.optim.AdamW`:
            with torch's defaults), or an optimizer whose groups have the same options.

    Raises:
        BadInput: there is no such rule or option, or the optimizer computes none of the rules or several.

    Example:
        >>> as_rule("adam:debias=none")
        Adam(debias='none', beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.0)
        >>> as_rule(torch.optim.AdamW)
        AdamW(beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.01)
    """
    if isinstance(given, Rule):
        return given
    if isinstance(given, str):
        return _named(given)
    if isinstance(given, Optimizer):
        return _of_optimizer(given)
    if isinstance(given, type):
        return _of_class(given)
    raise _unknown(given)


def _named(text: str) -> Rule:
    name, _, options = text.partition(":")
    if name.strip().lower() not in NAMES:
        raise unknown("rule", name, NAMES, where="rule", instead='rule="{}"')
    kind = by_name(name.strip().lower())
    return kind(**_options(options, kind))


def _options(text: str, kind: type[Rule]) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    given: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or name not in names:
            raise _unknown_option(name, value, kind)
        given[name] = _value(value)
    return given


def _unknown_option(name: str, value: str, kind: type[Rule]) -> BadInput:
    """The error for an option that a rule does not have, or that has no value."""
    names = [field.name for field in fields(kind)]
    close = nearest(name, names, names[0])
    example = f'rule="{kind.__name__.lower()}:{close}={value or getattr(kind, close)}"'
    if name in names:
        return BadInput(f"The option {name} has no value", where="rule", instead=example)
    return unknown(f"option of {kind.__name__}", name, names, where="rule", instead=example)


def _value(text: str) -> object:
    """A number, a truth value or None if it reads as one, else the text."""
    word = {"true": "True", "false": "False", "none": "none"}.get(text.lower(), text)
    try:
        return literal_eval(word)
    except (ValueError, SyntaxError):
        return text


def _of_class(kind: type) -> Rule:
    if issubclass(kind, Rule) and not inspect.isabstract(kind) and kind is not Rule:
        return kind()
    for ours in TORCH_CLASSES:
        if kind is ours.torch_class:
            return _of_class(ours)
    if not issubclass(kind, Optimizer) or not isinstance(getattr(kind, "rule", None), type):
        raise _unknown(kind)
    # its own defaults decide the variant
    probe = cast(Any, kind)([torch.nn.Parameter(torch.zeros(1))])
    return _of_optimizer(probe)


def _of_optimizer(optimizer: Optimizer) -> Rule:
    for ours in TORCH_CLASSES:
        if type(optimizer) is ours.torch_class:
            return _of_groups(ours([torch.nn.Parameter(torch.zeros(1))]), optimizer.param_groups)
    if not hasattr(optimizer, "rule_of"):
        raise _unknown(optimizer)
    return _of_groups(optimizer, optimizer.param_groups)


def _of_groups(optimizer: Any, groups: list[dict[str, Any]]) -> Rule:
    rules = [optimizer.rule_of(_as_made(group)) for group in groups]
    if any(rule != rules[0] for rule in rules[1:]):
        raise BadInput(
            "The groups of the optimizer have different options",
            value=len(rules),
            allowed="one rule for all parameters",
            where="rule",
            instead=f"rule={rules[0]!r}",
        )
    return rules[0]


def _as_made(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group; a peak_lr that is only the group's own lr is removed."""
    options = {**group, "params": list(group["params"])}
    if options.get("peak_lr") == options.get("initial_lr", options["lr"]):
        options["peak_lr"] = None
    return options


def _unknown(given: object) -> BadInput:
    what = given.__qualname__ if isinstance(given, type) else given
    what = type(given).__name__ if isinstance(given, Optimizer) else what
    close = nearest(str(getattr(given, "__name__", given)), NAMES, "adam")
    return BadInput(
        "This is no update rule",
        value=what,
        allowed=ALLOWED,
        where="rule",
        instead=f'rule="{close}"',
    )
