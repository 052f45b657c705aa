"""Build the rule from the options of a param group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from betaplane.errors import BadInput
from betaplane.rules import Rule

BETAS = ("beta1", "beta2", "beta3")  # the fields that an optimizer takes as one tuple, betas


def build(
    kind: type[Rule], group: Mapping[str, Any], torch_options: Mapping[str, str] = {}
) -> Rule:
    """Build a rule from the options of a group.

    Args:
        kind: the rule's class.
        group: a param group: `betas`, and options by the rule's names or torch's.
        torch_options: the rule's field -> torch's option, if they differ.

    Raises:
        BadInput: for an option out of range, too many or too few betas, or decay under which weights would grow.

    Example:
        >>> from betaplane.rules import AdamW
        >>> build(AdamW, {"lr": 0.1, "betas": (0.9, 0.95), "weight_decay": 0.0})
        AdamW(beta1=0.9, beta2=0.95, eps=1e-08, weight_decay=0.0)
    """
    names = [f.name for f in fields(kind)]
    keys = {name: torch_options.get(name, name) for name in names}
    values = {name: group[key] for name, key in keys.items() if key in group}
    betas = [name for name in BETAS if name in names]
    if "betas" in group:
        if not isinstance(group["betas"], tuple | list) or len(group["betas"]) != len(betas):
            defaults = tuple(f.default for f in fields(kind) if f.name in betas)
            allowed, where = f"{len(betas)} numbers in [0, 1)", kind.__name__
            raise BadInput(
                "betas do not fit",
                value=group["betas"],
                allowed=allowed,
                where=where,
                instead=f"betas={defaults}",
            )
        values |= dict(zip(betas, group["betas"], strict=True))
    rule = kind(**values)
    if getattr(rule, "reads_peak", False) and "lr" in group:
        check_decay(rule, _float(group["lr"]))
    return rule


def set_peak(group: dict[str, Any]) -> None:
    """Set a peak_lr that is None to the lr that the group starts with.

    That is its lr, or `initial_lr` if an earlier schedule has changed lr.

    Example:
        >>> group = {"lr": 0.1, "peak_lr": None}
        >>> set_peak(group)
        >>> group["peak_lr"]
        0.1
    """
    reads = "peak_lr" in group or group.get("decay") == "independent"
    if reads and group.get("peak_lr") is None:
        group["peak_lr"] = _float(group.get("initial_lr", group["lr"])) or None


def check_decay(rule: Any, lr: float) -> None:
    """Raise BadInput if decay is relative to the peak of lr, and that is unknown, or weights would
    grow or change sign.

    Decay by lr times weight_decay is not checked, as in torch.
    """
    where, peak = type(rule).__name__, rule.peak_lr
    if lr == 0:
        return
    if peak is None:
        text = "peak_lr is unknown, since the group was made with lr=0"
        raise BadInput(text, allowed="(0, inf)", where=where, instead=f"peak_lr={lr}")
    share = float(rule.decay_factor(lr))
    if not 0 < share <= 1:
        raise BadInput(
            f"Weight decay would multiply every weight by {share:.6g}",
            value={"lr": lr, "peak_lr": peak, "weight_decay": rule.weight_decay},
            allowed="a factor in (0, 1]",
            where=where,
            instead=f"peak_lr={lr}" if lr > peak else "weight_decay=0.01",
        )


def _float(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)
