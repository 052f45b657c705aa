"""Checks of the model and the numbers before gradients are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from betaplane.errors import BadInput
from betaplane.theory._validation import check_integers


def check_model(model: Any) -> None:
    """Raise BadInput for an object that is not a model, or whose parameters cannot be recorded."""
    if not isinstance(model, nn.Module):
        raise BadInput(
            "model is of the wrong type",
            value=type(model).__name__,
            allowed="a torch.nn.Module",
            where="record_gradients",
            instead="record_gradients(model)",
        )
    for name, p in model.named_parameters():
        if is_lazy(p):
            raise BadInput(
                "The model's parameters have no shape yet",
                value=name,
                allowed="parameters with a shape",
                where="record_gradients",
                instead="model(batch)  # once, before recording",
            )
        if p.requires_grad and p.is_complex():
            raise BadInput(
                "The model's parameters are complex",
                value=name,
                allowed="real parameters",
                where="record_gradients",
                instead="torch.nn.Parameter(torch.view_as_real(p))  # and view_as_complex at its uses",
            )


def check_numbers(
    named: Mapping[str, nn.Parameter],
    coordinates: int,
    steps: int,
    batch_size: int | None,
    step: int,
    seed: int,
) -> None:
    """Raise BadInput if there is nothing to record, or a number is out of range."""
    if not named:
        raise BadInput(
            "The model has no parameters to train",
            value=0,
            allowed="at least 1",
            where="record_gradients",
            instead="model.requires_grad_(True)",
        )
    check_integers(
        "record_gradients",
        steps=(steps, 2),
        coordinates=(coordinates, 1),
        step=(step, 0),
        seed=(seed, -(2**63)),
    )
    if batch_size is not None:
        check_integers("record_gradients", batch_size=(batch_size, 1))


def allocate_rows(steps: int, columns: int, device: torch.device) -> Tensor:
    """Zeros for the gradients, (steps, columns).

    Raises:
        BadInput: there is not enough memory.
    """
    try:
        return torch.zeros(steps, columns, device=device)
    except (RuntimeError, TypeError, OverflowError):  # torch raises each, depending on the size
        raise BadInput(
            "There is not enough memory for so many gradients",
            value=f"{steps} of {columns} coordinates",
            allowed=f"less than {4 * steps * columns:.3g} bytes",
            where="record_gradients",
            instead="steps=512",
        ) from None


def check_rows(taken: int, finite: int) -> None:
    """Raise BadInput for a recording with fewer than two finite rows."""
    if taken < 2:
        raise BadInput(
            "Nothing was recorded: no optimizer took two steps on this model",
            value=taken,
            allowed="at least 2 rows",
            where="record_gradients",
            instead="record.take()  # after each backward(), if no torch optimizer steps",
        )
    if finite < 2:
        affected = f"{taken - finite} of {taken}" if finite else f"All {taken}"
        raise BadInput(
            f"{affected} gradients are not finite",
            value=finite,
            allowed="at least 2 finite ones",
            where="record_gradients",
            instead="a recording from before the loss diverged",
        )
