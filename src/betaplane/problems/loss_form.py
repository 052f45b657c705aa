"""Decide how a loss is called: loss(output, target), loss(model, batch), or the model's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems.batch import own_loss, split_target

# names of parameters that identify the form of a loss
MODEL = {"model", "module", "net", "network"}
BATCH = {"batch", "minibatch"}
OUTPUT = {"output", "outputs", "out", "logits", "input", "prediction", "predictions", "pred",
          "preds", "y_hat", "yhat", "y_pred"}  # fmt: skip
TARGET = {"target", "targets", "label", "labels", "y", "y_true", "t"}


class LossForm(Enum):
    """How a loss is called.

    ```
    the loss                                                    form
    None                                                        OWN
    the first parameter is a model or the second is the batch   MODEL
    the first is an output or the second is the target          OUTPUT
    other names; inputs and targets are tensors                 OUTPUT
    other names, or names of both forms                         an error
    ```
    """

    OUTPUT = "loss(output, target)"
    MODEL = "loss(model, batch)"
    OWN = "model(batch).loss"

    def value_of(self, loss: Any, module: nn.Module, batch: Any) -> Tensor:
        """The loss of a batch."""
        if self is LossForm.OWN:
            return own_loss(module, batch)
        if self is LossForm.MODEL:
            return loss(module, batch)
        arguments, target = split_target(batch)
        return loss(module(*arguments), target)


def loss_form(loss: Callable | None, tensors: bool, where: str, name: str = "loss") -> LossForm:
    """The form of a loss or metric.

    Args:
        loss: the function, or None.
        tensors: the data are inputs and targets in memory.
        where: the problem, for errors.
        name: what the function is, for errors.

    Raises:
        BadInput: the names of its parameters do not identify its form.

    Example:
        >>> loss_form(nn.functional.mse_loss, False, "here")
        <LossForm.OUTPUT: 'loss(output, target)'>
        >>> loss_form(lambda model, batch: model(batch).mean(), False, "here")
        <LossForm.MODEL: 'loss(model, batch)'>
    """
    if loss is None:
        return LossForm.OWN
    if isinstance(loss, nn.Module) and type(loss).__module__.startswith("torch."):
        return LossForm.OUTPUT
    first, second, takes_module = _parameters(loss)
    is_model = takes_module or first in MODEL or second in BATCH
    is_output = first in OUTPUT or second in TARGET
    if is_model != is_output:
        return LossForm.MODEL if is_model else LossForm.OUTPUT
    if tensors and not is_model:
        return LossForm.OUTPUT
    raise BadInput(
        f"The parameter names of the {name} do not say how to call it",
        value=f"{name}({first}, {second})",
        allowed=f"{name}(model, batch) or {name}(output, target)",
        where=where,
        instead=f"def {name}(model, batch): ...",
    )


def _parameters(loss: Callable) -> tuple[str, str, bool]:
    """The names of the first two parameters, and whether the first is annotated as a module."""
    function = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        parameters = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):  # a function in C, such as those of torch
        return "input", "target", False
    annotation = parameters[0].annotation if parameters else None
    is_class = isinstance(annotation, type) and issubclass(annotation, nn.Module)
    names = [p.name.lower() for p in parameters[:2]] + ["", ""]
    return names[0], names[1], is_class or annotation in ("nn.Module", "torch.nn.Module")
