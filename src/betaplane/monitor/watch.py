"""Watch a run: one call, after which each alarm names step, layer, cause, evidence and remedy."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.monitor.capture.adam_state import check, unwrapped
from betaplane.monitor.sinks import Console, JsonLines, Sink, chosen
from betaplane.monitor.sinks.resolve import To
from betaplane.monitor.watcher import Watcher


def watch(
    optimizer: Optimizer,
    path: str | os.PathLike[str] | None = None,
    every: int = 10,
    budget: float = 0.02,
    console: bool = True,
    to: To = (),
    model: torch.nn.Module | None = None,
) -> Watcher:
    """Watch a torch optimizer that keeps Adam's moments: each alarm names step, layer, cause,
    evidence and remedy.

    Nothing that is trained is changed. Large tensors are read at up to 4,096 evenly spaced coordinates. Where several
    processes train one model, call it in each of them: they read at the same steps, figures are those of the whole
    tensors, and the first process tells.

    Args:
        optimizer: torch's, ours, or any other with exp_avg and exp_avg_sq in its state.
        path: a file of JSON lines for readings and alarms; None for none.
        every: steps from one reading to the next, >= 1; a step whose loss is far above those before is read as well.
        budget: the share of the run's time that watching may take, in (0, inf]; it measures itself and leaves readings
            out where they do not fit, as most do of steps of a millisecond. inf for every one.
        console: whether alarms are written to standard error.
        to: "tensorboard", "wandb", "trackio", "mlflow", a Sink, or several of them.
        model: whose names the parameters are told by; the optimizer's own where None, or a
            parameter's place.

    Returns:
        A Watcher: `loss(value)` before each step, `alerts`, `report()`, `close()`.

    Raises:
        BadInput: for an optimizer without moments, a number out of range, a file that cannot be written, or a package
            that `to` needs and that is not installed.

    Source: each detector's own; see `betaplane.monitor.detectors.ALL`.

    Example:
        >>> p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = torch.optim.Adam([p], betas=(0.9, 0.8))
        >>> with watch(optimizer, every=1, budget=float("inf"), console=False) as watcher:
        ...     p.square().sum().backward()
        ...     optimizer.step()
        >>> alert = watcher.alerts[0]
        >>> alert.cause, alert.change
        ('beta1^2 >= beta2', 'beta2=0.95, or beta1 < 0.8944')
    """
    optimizer = unwrapped(optimizer)
    check(optimizer)
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise BadInput(
            "every is out of range",
            value=every,
            allowed="1, 2, 3, ...",
            where="watch",
            instead="every=10",
        )
    if not (isinstance(budget, (int, float)) and budget > 0):
        raise BadInput(
            "budget is out of range",
            value=budget,
            allowed="(0, inf]",
            where="watch",
            instead="budget=0.02",
        )
    _check_kinds(path, to, model)

    def sinks() -> list[Sink]:
        others, shown = chosen(() if to is None else to), [Console()] if console else []
        files = [JsonLines(path)] if path is not None else []
        return [*shown, *files, *others]

    names: dict[Tensor, str] = (
        {p: name for name, p in model.named_parameters()} if model is not None else {}
    )
    return Watcher(optimizer, every, budget, sinks, names)


def _check_kinds(path: object, to: object, model: object) -> None:
    for name, value, kinds, allowed, instead in (
        ("path", path, (str, os.PathLike), "a file", 'path="run.jsonl"'),
        ("model", model, torch.nn.Module, "a torch.nn.Module", "model=None"),
        ("to", to, (str, Sink, Iterable), "names and sinks", 'to="tensorboard"'),
    ):
        if value is not None and not isinstance(value, kinds):
            raise BadInput(
                f"{name} is of a wrong kind",
                value=value,
                allowed=allowed,
                where="watch",
                instead=instead,
            )
