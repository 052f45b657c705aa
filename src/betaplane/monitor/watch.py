"""The function `watch`: argument checks, sinks and parameter names of a Watcher."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, unknown
from betaplane.monitor.actions import Act, check_act
from betaplane.monitor.capture.adam_state import check_watchable, unwrap
from betaplane.monitor.detectors import ALL
from betaplane.monitor.sinks import Console, JsonLines, Sink, resolve_sinks
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
    mute: Iterable[str] = (),
    start: int = 0,
    act: Act = None,
) -> Watcher:
    """Watch an optimizer: each alert names step, layer, cause, evidence and remedy.

    Watching is bitwise neutral: without `act`, it never changes the run. Losses are judged as they come, and
    gradient norms at as many steps as the budget allows. The moments of an Adam-type optimizer are
    read every few steps; of others, such as SGD, only losses and gradients are judged. Large
    tensors are read at up to 4,096 evenly spaced elements. If several ranks train one model, call
    `watch` on each of them: they read at the same steps, quantities are those of the whole tensors,
    and rank 0 reports.

    Args:
        optimizer: torch's, this package's, or any other with exp_avg and exp_avg_sq in its state.
        path: a file of JSON lines for readings and alerts; None for no file.
        every: steps between readings, >= 1; a step whose loss is far above earlier ones is read
            immediately.
        budget: the share of the run's time that watching may take, in (0, inf]. The watcher
            measures itself, and skips readings that do not fit; for steps of a millisecond these
            are most of them. Set inf to take every reading.
        console: whether to write alerts to standard error.
        to: "tensorboard", "wandb", "trackio", "mlflow", a Sink, or several of them.
        model: supplies the names of the parameters, which otherwise come from the optimizer, or are
            positions. Two mistakes can only be found if it is given: training in evaluation mode,
            and parameters that are not in the optimizer.
        mute: ids of rules that are not to run, such as "dead-rows"; see `betaplane report --rules`.
        start: steps that the run took before, >= 0; of a resumed run, so that alerts and the file
            have its step numbers.
        act: what to do about alerts: a dict of actions by rule id, or a function of an `Alert` that
            returns an action or None. "skip" leaves parameters and state as they are at this step,
            if the alert is raised before it, by a loss or a gradient norm; "clip" limits the norm
            of all gradients from then on; "stop" sets `stop_requested`, which the callbacks of
            Hugging Face and Lightning obey.

    Returns:
        A Watcher: `loss(value)` and `batch(indices)` before each step, `alerts`, `report()`,
        `stop_requested`, `close()`.

    Raises:
        BadInput: not an optimizer, a number is out of range, an unknown rule, the file cannot be
            written, or `to` needs a package that is not installed.

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
    optimizer = unwrap(optimizer)
    check_watchable(optimizer)
    _check_numbers(every, budget)
    _check_types(path, to, model, mute)
    _check_start(start)
    check_act(act)

    def make_sinks() -> list[Sink]:
        trackers = resolve_sinks(() if to is None else to)
        sinks: list[Sink] = [Console()] if console else []
        if path is not None:
            sinks.append(JsonLines(path))
        return [*sinks, *trackers]

    names: dict[Tensor, str] = {}
    if model is not None:
        names = {p: name for name, p in model.named_parameters()}
    return Watcher(
        optimizer, every, budget, make_sinks, names, _checked_ids(mute), model, start, act
    )


def _checked_ids(mute: Iterable[str]) -> list[str]:
    known = [detector.id for detector in ALL]
    ids = [mute] if isinstance(mute, str) else list(mute)
    for name in ids:
        if name not in known:
            raise unknown("rule", name, known, where="watch", instead='mute=["{}"]')
    return ids


def _check_numbers(every: object, budget: object) -> None:
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


def _check_start(start: object) -> None:
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        raise BadInput(
            "start is out of range",
            value=start,
            allowed="0, 1, 2, ...",
            where="watch",
            instead="start=0",
        )


def _check_types(path: object, to: object, model: object, mute: object) -> None:
    for name, value, types, allowed, instead in (
        ("path", path, (str, os.PathLike), "a file", 'path="run.jsonl"'),
        ("model", model, torch.nn.Module, "a torch.nn.Module", "model=None"),
        ("to", to, (str, Sink, Iterable), "names and sinks", 'to="tensorboard"'),
        ("mute", mute, (str, Iterable), "ids of rules", 'mute=["dead-rows"]'),
    ):
        if value is not None and not isinstance(value, types):
            raise BadInput(
                f"{name} is of the wrong type",
                value=value,
                allowed=allowed,
                where="watch",
                instead=instead,
            )
