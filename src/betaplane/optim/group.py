"""From a param group to its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from betaplane.errors import BadInput
from betaplane.rules import Rule

BETAS = ("beta1", "beta2", "beta3")  # the fields that an optimizer takes as one tuple, betas


def build(kind: type[Rule], group: Mapping[str, Any], hyper: Mapping[str, str] = {}) -> Rule:
    """The rule with the options of a group.

    Args:
        kind: the rule's class.
        group: a param group: `betas`, and options by the rule's names or torch's.
        hyper: the rule's field -> torch's option, where they differ.

    Raises:
        BadInput: for an option out of range, or too many or too few betas.

    Example:
        >>> from betaplane.rules import AdamW
        >>> build(AdamW, {"lr": 0.1, "betas": (0.9, 0.95), "weight_decay": 0.0})
        AdamW(beta1=0.9, beta2=0.95, eps=1e-08, weight_decay=0.0)
    """
    names = [f.name for f in fields(kind)]
    given = {name: group[hyper.get(name, name)] for name in names if hyper.get(name, name) in group}
    betas = [name for name in BETAS if name in names]
    if "betas" in group:
        if len(group["betas"]) != len(betas):
            usual = tuple(f.default for f in fields(kind) if f.name in betas)
            allowed, where = f"{len(betas)} numbers in [0, 1)", kind.__name__
            raise BadInput(
                "betas do not fit", value=group["betas"], allowed=allowed, where=where, instead=f"betas={usual}"
            )
        given |= dict(zip(betas, group["betas"], strict=True))
    return kind(**given)
