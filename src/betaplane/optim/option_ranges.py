"""Ranges of the options that all optimizers share: storage, rounding, average, max_norm."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from betaplane.errors import BadInput, BadType, one_of
from betaplane.optim.step.step_spec import ROUNDINGS
from betaplane.optim.storage_formats import STORAGES


def check_group_options(group: Mapping[str, Any]) -> None:
    """Raise BadInput if one of a group's options is unknown or out of range."""
    storage = group.get("storage", "parameter")
    one_of(STORAGES, "the optimizer", storage=storage)
    one_of(ROUNDINGS, "the optimizer", rounding=group.get("rounding", "nearest"))
    check_number("average", group.get("average"), 0, 1)
    if storage == "parameter":
        return
    for p in group["params"]:
        if p.is_complex():
            raise BadInput(
                "The state of complex parameters is kept in their own dtype only",
                value=storage,
                allowed="'parameter'",
                where=f"a {p.dtype} parameter of shape {tuple(p.shape)}",
                instead='storage="parameter"',
            )


def check_number(name: str, value: float | None, low: float, high: float) -> float | None:
    """Return `value` if it is None or a number in the range: [0, 1) for high = 1, else (low, high)."""
    if value is None:
        return None
    is_vector = isinstance(value, Tensor) and value.numel() != 1
    if is_vector or not isinstance(value, Real | Tensor):
        raise BadType(
            f"{name} is not a number",
            value=value,
            allowed="a number or None",
            where="the optimizer",
        )
    if not (low < value < high or (value == low == 0 and high == 1)):
        raise BadInput(
            f"{name} is out of range",
            value=value,
            allowed="[0, 1)" if high == 1 else f"({low}, {high})",
            where="the optimizer",
            instead="average=0.999" if name == "average" else "max_norm=1.0",
        )
    return value
